//! The network of one environment: its sockets, and what is relayed between them and the host's network.
//!
//! An environment with a network of its own reaches the outside by relays of ours, which run in the host's network and
//! connect as any program there does. Everything of them ends with the environment. Must not look into what passes.

mod datagrams;
mod names;
mod policy;
mod streams;

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener as StdListener, UdpSocket as StdDatagrams},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hothouse_sandbox::{Egress, GATEWAY, Sandbox, SandboxSpec};
use tokio::{
    net::{TcpListener, UdpSocket},
    task::coop::consume_budget,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::ServiceAddress;
use crate::ports::{SegmentOrigin, SegmentSink};
use names::Names;

/// Port of the Runtime API in an environment with a network of its own.
const RUNTIME_API: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001);

/// The X-Ray daemon's address there, as on AWS.
pub(super) const XRAY_DAEMON: SocketAddrV4 = SocketAddrV4::new(GATEWAY, 2000);

/// Name servers are asked at this port.
const DNS_PORT: u16 = 53;

/// Where the host's name servers are told.
const RESOLVER_CONFIGURATION: &str = "/etc/resolv.conf";

/// After a socket failed (no descriptors left, for example) it is tried again so much later.
const PAUSE: Duration = Duration::from_millis(100);

/// The largest datagram.
const DATAGRAM_BYTES: usize = 65536;

/// The sockets of an environment, before a reactor has them.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Where runtimes connect to the Runtime API.
    pub(super) runtime_api: StdListener,
    /// Where functions connect to the service, in a network of their own.
    pub(super) door: Option<StdListener>,
    segments: Option<StdDatagrams>,
    egress: Option<Egress>,
}

impl Sockets {
    /// Asks for the sockets of an environment.
    pub(super) fn want(spec: &mut SandboxSpec, service: Option<&ServiceAddress>) {
        spec.listeners.push(RUNTIME_API);
        spec.listeners.extend(service.map(|service| SocketAddrV4::new(Ipv4Addr::LOCALHOST, service.port)));
        spec.datagrams.push(XRAY_DAEMON);
    }

    /// Those of this sandbox. On the host's network the Runtime API listens at a free port of loopback, and the service
    /// is there already.
    pub(super) fn take(sandbox: &mut Sandbox) -> io::Result<Sockets> {
        let inside = sandbox.take_sockets();
        let mut listeners = inside.listeners.into_iter();
        let runtime_api = match listeners.next() {
            Some(listener) => listener,
            None => {
                let listener = StdListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
                listener.set_nonblocking(true)?;
                listener
            }
        };
        Ok(Sockets {
            runtime_api,
            door: listeners.next(),
            segments: inside.datagrams.into_iter().next(),
            egress: inside.egress,
        })
    }
}

/// All that is relayed for one environment. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Relays {
    tasks: TaskTracker,
    gone: DropGuard,
}

#[cfg(test)]
impl Relays {
    /// Nothing is relayed yet.
    fn empty() -> Relays {
        Relays { tasks: TaskTracker::new(), gone: CancellationToken::new().drop_guard() }
    }

    fn tasks(&self) -> Tasks {
        Tasks { tasks: self.tasks.clone(), gone: self.gone.token().clone() }
    }
}

impl Relays {
    /// Starts to relay between these sockets and the host's network, and to hand over segments.
    pub(super) fn start(
        sockets: (Option<StdDatagrams>, Option<Egress>),
        origin: SegmentOrigin,
        sink: Arc<dyn SegmentSink>,
    ) -> io::Result<Relays> {
        let gone = CancellationToken::new();
        let relays = Relays { tasks: TaskTracker::new(), gone: gone.clone().drop_guard() };
        let tasks = Tasks { tasks: relays.tasks.clone(), gone };
        let (segments, egress) = sockets;
        if let Some(socket) = segments {
            tasks.spawn(take_segments(UdpSocket::from_std(socket)?, origin, sink));
        }
        if let Some(Egress { streams, datagrams, replies }) = egress {
            let names = Arc::new(Names::new(Path::new(RESOLVER_CONFIGURATION)));
            let streams = TcpListener::from_std(streams)?;
            let datagrams = UdpSocket::from_std(datagrams)?;
            tasks.spawn(streams::relay(streams, names.clone(), tasks.clone()));
            tasks.spawn(datagrams::relay(datagrams, Arc::new(replies), names, tasks.clone()));
        }
        Ok(relays)
    }

    /// Ends all; returns when no socket is left.
    pub(super) async fn close(self) {
        let Relays { tasks, gone } = self;
        drop(gone);
        tasks.close();
        tasks.wait().await;
    }
}

impl Sockets {
    /// What [`Relays`] serve; the rest is for others.
    pub(super) fn relayed(&mut self) -> (Option<StdDatagrams>, Option<Egress>) {
        (self.segments.take(), self.egress.take())
    }
}

/// Tasks of one environment.
#[derive(Debug, Clone)]
struct Tasks {
    tasks: TaskTracker,
    gone: CancellationToken,
}

impl Tasks {
    /// Runs this until it ends or the environment does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.gone.clone().run_until_cancelled_owned(task));
    }
}

/// Hands over what is sent to the X-Ray daemon.
async fn take_segments(socket: UdpSocket, origin: SegmentOrigin, sink: Arc<dyn SegmentSink>) {
    while socket.readable().await.is_ok() {
        // Only while there is something to receive: most environments never send any.
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while let Ok(length) = socket.try_recv(&mut buffer) {
            sink.datagram(Some(&origin), Bytes::copy_from_slice(&buffer[..length]));
            // Others share the thread.
            consume_budget().await;
        }
    }
}
