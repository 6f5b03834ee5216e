//! Archives of Java's classes are made here, beside what is served: a virtual machine without a function answers one event in a
//! sandbox, and writes what it has loaded when it ends.
//!
//! Must not be waited for by any environment: until there is an archive, and where none can be made, Java starts without one.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use hothouse_sandbox::{Command, Ending, Limits, Mount, Network, Process, Sandbox, SandboxSpec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    Inner, Prepared, XRAY_DAEMON,
    instance::{log_descriptors, readiness, variables},
    lock, megabytes,
};
use crate::{
    environment::env_vars::{self, Inputs},
    executor::{StartError, network::Sockets},
    ports::Credentials,
    runtimes::{Making, Plan, Training},
};

/// Installations of Java that may wait for their turn: there are only a few on a machine.
const MOST: usize = 8;

/// So long may one take, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(120);

const SIGTERM: i32 = 15;

/// How a virtual machine ends that was asked to.
const TERMINATED: i32 = 128 + SIGTERM;

const MEMORY_MB: u32 = 1024;

/// With all kinds of values, so that what reads and writes them is loaded.
const EVENT: &str = r#"{"text":"","number":1,"fraction":1.5,"flag":true,"none":null,"list":[{}]}"#;

/// What the service knows of archives.
#[derive(Debug)]
pub(super) struct Archives {
    wanted: mpsc::Sender<Arc<Prepared>>,
    waiting: Mutex<Option<mpsc::Receiver<Arc<Prepared>>>>,
    /// Those that were asked for. A failure is not tried again: it would be the same.
    asked: Mutex<HashSet<PathBuf>>,
}

impl Archives {
    pub(super) fn new() -> Archives {
        let (wanted, waiting) = mpsc::channel(MOST);
        Archives { wanted, waiting: Mutex::new(Some(waiting)), asked: Mutex::default() }
    }

    /// Asks for what would make these environments start sooner, once.
    pub(super) fn want(&self, prepared: &Arc<Prepared>) {
        let Some(training) = &prepared.plan.training else { return };
        if lock(&self.asked).insert(training.archive.directory().to_owned()) {
            let _ = self.wanted.try_send(prepared.clone());
        }
    }
}

/// Makes what is asked for, one after another, until the service stops.
pub(super) async fn tend(inner: &Arc<Inner>, stop: &CancellationToken) {
    let Some(mut waiting) = lock(&inner.archives.waiting).take() else { return };
    while let Some(Some(prepared)) = stop.run_until_cancelled(waiting.recv()).await {
        let Some(training) = &prepared.plan.training else { continue };
        match make(inner, &prepared, training, stop).await {
            Ok(false) => return,
            Ok(true) => {
                tracing::debug!(path = %training.archive.directory().display(), "made an archive of Java's classes");
                // Environments from now on use it, those of versions that are known included.
                lock(&inner.prepared).retain(|_, (_, known)| known.plan.training.is_none());
            }
            Err(error) => {
                let reason = crate::chain(&error);
                tracing::warn!(%reason, "no archive of Java's classes could be made, so Java functions start slower");
            }
        }
    }
}

/// Whether it was made; not if the service stops.
async fn make(
    inner: &Arc<Inner>,
    prepared: &Arc<Prepared>,
    training: &Training,
    stop: &CancellationToken,
) -> Result<bool, StartError> {
    let place = {
        let (prepared, training) = (prepared.clone(), training.clone());
        inner.turns.make(move || Place::create(&prepared, &training)).await
    };
    let mut place = place.map_err(StartError::machine("start a thread"))??;
    let trained = stop.run_until_cancelled(tokio::time::timeout(LIMIT, place.train())).await;
    // Ending processes blocks, and so does the disk.
    let end = move || {
        let making = place.end();
        match trained {
            None => Ok(false),
            Some(trained) => trained
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .and_then(|()| making.finish())
                .map(|()| true)
                .map_err(StartError::machine("make an archive of Java's classes")),
        }
    };
    inner.turns.end(end).await.map_err(StartError::machine("start a thread"))?
}

/// A virtual machine that is trained.
struct Place {
    process: Process,
    sandbox: Sandbox,
    listener: Option<std::net::TcpListener>,
    making: Making,
}

impl Place {
    /// Starts it. Blocks.
    fn create(prepared: &Prepared, training: &Training) -> Result<Place, StartError> {
        let plan = &prepared.plan;
        let making = training.archive.begin().map_err(StartError::machine("write to the data directory"))?;
        let mut spec = SandboxSpec {
            mounts: vec![Mount {
                source: making.work().to_owned(),
                target: plan.roots.task.clone(),
                writable: true,
            }],
            tmp_bytes: megabytes(MEMORY_MB / 4),
            limits: Limits { memory_bytes: Some(megabytes(MEMORY_MB)), ..Limits::default() },
            network: Network::Own,
            ..SandboxSpec::default()
        };
        Sockets::want(&mut spec, None);
        let mut sandbox = Sandbox::create(&prepared.template, spec).map_err(StartError::Sandbox)?;
        let Sockets { runtime_api, .. } =
            Sockets::take(&mut sandbox).map_err(StartError::machine("listen for the Runtime API"))?;
        let address = runtime_api.local_addr().map_err(StartError::machine("read a socket's address"))?;
        let process = sandbox.spawn(command(plan, training, &address.to_string())?);
        let process = process.map_err(StartError::Sandbox)?;
        Ok(Place { process, sandbox, listener: Some(runtime_api), making })
    }

    /// Has it load what functions load, and ends it.
    async fn train(&mut self) -> io::Result<()> {
        let ended = readiness(self.process.as_fd().try_clone_to_owned()?).map_err(io::Error::other)?;
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        let listener = TcpListener::from_std(listener)?;
        let exit = {
            let conversation = async {
                // Who hears nothing more would report an error.
                let _open = converse(&listener).await?;
                self.process.signal(SIGTERM)?;
                std::future::pending::<io::Result<()>>().await
            };
            tokio::select! {
                failed = conversation => failed.err(),
                _ = ended.readable() => None,
            }
        };
        if let Some(error) = exit {
            return Err(error);
        }
        loop {
            let mut guard = ended.readable().await?;
            match self.process.try_wait()? {
                None => guard.clear_ready(),
                Some(exit) => {
                    return match exit.ending {
                        Ending::Exited(TERMINATED) => Ok(()),
                        other => Err(io::Error::other(format!("the virtual machine ended as {other:?}"))),
                    };
                }
            }
        }
    }

    /// Ends what still runs. Blocks.
    fn end(self) -> Making {
        let Place { process, sandbox, making, .. } = self;
        drop(process);
        drop(sandbox);
        making
    }
}

fn command(plan: &Plan, training: &Training, runtime_api: &str) -> Result<Command, StartError> {
    let nobody = Credentials {
        access_key_id: String::new(),
        secret_access_key: String::new(),
        session_token: String::new(),
    };
    let environment = env_vars::variables(
        &training.spec,
        &Inputs {
            plan,
            credentials: &nobody,
            log_stream: "",
            runtime_api,
            xray_daemon: &XRAY_DAEMON.to_string(),
            service: None,
            initialization_type: "on-demand",
            credentials_token: None,
            timeout: training.spec.timeout,
        },
    );
    let nowhere =
        File::options().write(true).open("/dev/null").map_err(StartError::machine("open `/dev/null`"))?;
    Ok(Command {
        arguments: training.argv.clone(),
        environment: variables(&environment).collect(),
        directory: plan.roots.task.clone(),
        descriptors: log_descriptors(&OwnedFd::from(nowhere), plan.telemetry)?,
    })
}

/// Serves the Runtime API until the second event is asked for; the connection on which that was.
async fn converse(listener: &TcpListener) -> io::Result<TcpStream> {
    let mut has_answered = false;
    loop {
        let (mut connection, _) = listener.accept().await?;
        let request = read_request(&mut connection).await?;
        let answer = if request.starts_with("GET ") && request.contains("/invocation/next ") {
            if has_answered {
                return Ok(connection);
            }
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Lambda-Runtime-Aws-Request-Id: 00000000-0000-0000-0000-000000000000\r\n\
                 Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                 Lambda-Runtime-Trace-Id: Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:none\r\n\
                 Content-Length: {}\r\n\r\n{EVENT}",
                EVENT.len()
            )
        } else if request.contains("/response ") {
            has_answered = true;
            "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            return Err(io::Error::other(format!("AWS's client did not run: {request}")));
        };
        connection.write_all(answer.as_bytes()).await?;
        connection.shutdown().await?;
    }
}

/// A request with its body.
async fn read_request(connection: &mut TcpStream) -> io::Result<String> {
    const LONGEST: usize = 64 * 1024;
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().filter_map(|line| line.split_once(':'));
            let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.filter_map(|(_, value)| value.trim().parse().ok()).next_back().unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        if request.len() > LONGEST || connection.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
