//! Where a debugger finds a function: a port of the host's loopback, and the way from there to the function's process.
//!
//! Must not speak a debugger's protocol: bytes pass as they are.

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener as StdListener, TcpStream as StdStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use crate::{debug::Debugging, runtimes::Plan, spec::FunctionSpec};

/// An environment that makes room for this one has its port for so long.
const PORT_LIMIT: Duration = Duration::from_secs(5);

/// Between two attempts at a port: nobody tells when it becomes free.
const PORT_INTERVAL: Duration = Duration::from_millis(20);

/// Connections of one debugger at once: one for each of its sessions.
const CONNECTIONS: usize = 64;

/// Ports that were given to environments. Where a process listens by itself, its port is free until it does, and must
/// not be given to another meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports {
    given: Arc<Mutex<HashSet<u16>>>,
}

/// A port of the host's loopback that is an environment's until it is dropped.
#[derive(Debug)]
struct Port {
    number: u16,
    ports: Ports,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.given.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Ports {
    /// Takes the port, or any with `None`, if nobody has it; the listener shows that it is free.
    fn take(&self, number: Option<u16>) -> io::Result<(Port, StdListener)> {
        let listener = StdListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, number.unwrap_or(0)))?;
        let number = listener.local_addr()?.port();
        if self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
            Ok((Port { number, ports: self.clone() }, listener))
        } else {
            Err(io::ErrorKind::AddrInUse.into())
        }
    }

    /// The port that is configured, else the preferred one if it is free, else any.
    async fn choose(
        &self,
        configured: Option<u16>,
        preferred: Option<u16>,
    ) -> io::Result<(Port, StdListener)> {
        let deadline = Instant::now() + PORT_LIMIT;
        loop {
            let taken = match (configured, preferred) {
                (Some(_), _) => self.take(configured),
                (None, Some(_)) => self.take(preferred).or_else(|_| self.take(None)),
                (None, None) => self.take(None),
            };
            match taken {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(PORT_INTERVAL).await;
                }
                taken => return taken,
            }
        }
    }
}

/// Where the debugger of one environment connects to. Dropping it ends all that it relays.
#[derive(Debug)]
pub(super) struct Debugger {
    port: Port,
    relay: JoinSet<()>,
}

impl Debugger {
    /// Opens a port, and relays what connects to it by `enter`, the way into the environment. Without one, its
    /// processes are on the host's network and listen there themselves.
    ///
    /// Where there is no port the function runs without a debugger, as its invocations are someone's work, too.
    pub(super) async fn open<E>(
        ports: &Ports,
        spec: &FunctionSpec,
        debugging: Debugging,
        preferred: Option<u16>,
        enter: Option<E>,
    ) -> Option<Debugger>
    where
        E: Fn(u16) -> io::Result<StdStream> + Send + Sync + 'static,
    {
        let opened = async {
            let (port, listener) = ports.choose(debugging.port, preferred).await?;
            let mut relay = JoinSet::new();
            if let Some(enter) = enter {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                relay.spawn(serve(listener, Arc::new(enter), port.number));
            }
            Ok(Debugger { port, relay })
        };
        opened
            .await
            .inspect_err(|error: &io::Error| {
                let port = debugging.port.map(|port| format!(" {port}")).unwrap_or_default();
                tracing::warn!(
                    function = %spec.function_name, %error,
                    "failed to open port{port} for a debugger: the function runs without one"
                );
            })
            .ok()
    }

    /// Says where and how to attach.
    pub(super) fn tell(&self, spec: &FunctionSpec, plan: &Plan) {
        tracing::info!(
            target: "hothouse::debugger",
            "debugger of function {}: 127.0.0.1:{} ({}); whoever waits for its answer needs a long read timeout \
             (`aws --cli-read-timeout 0`)",
            spec.function_name, self.port(), plan.debugger.instructions(&plan.roots.task),
        );
    }

    /// The port, on the host and inside.
    pub(super) fn port(&self) -> u16 {
        self.port.number
    }

    /// Ends all that is relayed; returns when it has ended.
    pub(super) async fn close(mut self) {
        self.relay.shutdown().await;
    }
}

/// Relays connections until it is dropped.
async fn serve<E>(listener: TcpListener, enter: Arc<E>, port: u16)
where
    E: Fn(u16) -> io::Result<StdStream> + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((outside, _)) => {
                    connections.spawn(relay(outside, enter.clone(), port));
                }
                // The machine is out of descriptors for a moment, or the debugger has gone again.
                Err(error) => {
                    tracing::debug!(%error, "failed to accept a debugger");
                    sleep(PORT_INTERVAL).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay<E>(mut outside: TcpStream, enter: Arc<E>, port: u16)
where
    E: Fn(u16) -> io::Result<StdStream> + Send + Sync + 'static,
{
    // Who connects before the process listens is sent away, as it would be there.
    let Ok(Ok(inside)) = spawn_blocking(move || enter(port)).await else { return };
    let relayed = async {
        inside.set_nonblocking(true)?;
        let mut inside = TcpStream::from_std(inside)?;
        inside.set_nodelay(true)?;
        outside.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut outside, &mut inside).await
    };
    // Either side may end it in any way, which the other one sees.
    let _ = relayed.await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::runtimes::fixtures;

    fn nowhere() -> Option<fn(u16) -> io::Result<StdStream>> {
        None
    }

    fn at(port: Option<u16>) -> Debugging {
        Debugging { port, enforce_timeouts: false }
    }

    /// Asks for a free port and gives it back.
    fn free_port() -> u16 {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn what_a_debugger_sends_arrives_inside_and_back() {
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let enter = Some(move |_| StdStream::connect(address));
        let ports = Ports::default();
        let debugger =
            Debugger::open(&ports, &fixtures::spec("python3.12"), at(None), None, enter).await.unwrap();

        let mut outside = TcpStream::connect(("127.0.0.1", debugger.port())).await.unwrap();
        outside.write_all(b"threads?").await.unwrap();
        let (mut process, _) = inside.accept().await.unwrap();
        let mut heard = [0; 8];
        process.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"threads?");
        process.write_all(b"one").await.unwrap();
        drop(process);
        let mut answer = String::new();
        outside.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "one");
    }

    #[tokio::test]
    async fn closing_ends_connections_and_frees_the_port() {
        let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap();
        let enter = Some(move |_| StdStream::connect(address));
        let ports = Ports::default();
        let spec = fixtures::spec("python3.12");
        let debugger = Debugger::open(&ports, &spec, at(None), None, enter).await.unwrap();
        let port = debugger.port();
        let mut outside = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_process, _) = inside.accept().await.unwrap();

        debugger.close().await;
        assert_eq!(outside.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        assert!(ports.take(Some(port)).is_ok());
    }

    #[tokio::test]
    async fn two_processes_that_listen_themselves_are_not_told_the_same_port() {
        let (ports, spec) = (Ports::default(), fixtures::spec("nodejs22.x"));
        let preferred = Some(free_port());
        let first = Debugger::open(&ports, &spec, at(None), preferred, nowhere()).await.unwrap();
        let second = Debugger::open(&ports, &spec, at(None), preferred, nowhere()).await.unwrap();
        assert_eq!(Some(first.port()), preferred);
        assert_ne!(second.port(), first.port());
    }

    #[tokio::test]
    async fn a_configured_port_is_waited_for() {
        let (ports, spec) = (Ports::default(), fixtures::spec("nodejs22.x"));
        let port = Some(free_port());
        let first = Debugger::open(&ports, &spec, at(port), None, nowhere()).await.unwrap();
        let second = Debugger::open(&ports, &spec, at(port), None, nowhere());
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("the port is given"),
            () = tokio::task::yield_now() => {}
        }
        first.close().await;
        assert_eq!(second.await.map(|debugger| debugger.port()), port);
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_port_a_function_runs_all_the_same() {
        let occupied = StdListener::bind("127.0.0.1:0").unwrap();
        let port = Some(occupied.local_addr().unwrap().port());
        let spec = fixtures::spec("nodejs22.x");
        assert!(Debugger::open(&Ports::default(), &spec, at(port), None, nowhere()).await.is_none());
    }
}
