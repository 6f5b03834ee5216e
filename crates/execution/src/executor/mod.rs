//! Executors make processes. They know nothing of invocations: those travel by the Runtime API.

mod debugger;
mod descriptors;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod local;
mod memory;
mod network;
mod process;

use std::{fmt, io, net::Ipv4Addr, os::fd::OwnedFd, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use crate::{
    debug::Debugging,
    environment::{EnvironmentId, InitializationType},
    fault::{Exit, Fault},
    ports::Credentials,
    spec::FunctionSpec,
};

pub use hothouse_sandbox::{Identity, Isolation, Level, Network};
pub use memory::fitting_environments;
pub use process::{InnerDoor, ProcessExecutor, ProcessExecutorConfig, ServiceAddress};

/// Makes the place in which an environment's processes run.
pub trait Executor: Send + Sync + fmt::Debug {
    /// Makes the place; no process runs in it yet.
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>>;
    /// Whether the machine has little memory left, so that idle environments are to give way. Must not block.
    fn is_short_of_memory(&self) -> bool {
        false
    }
    /// An environment of this version may be asked for soon. Costs nothing now, and nobody is promised anything.
    fn expect(&self, spec: Arc<FunctionSpec>) {
        drop(spec);
    }
    /// What there is to do between starts, until `stop`. Returns when nothing of it is left.
    fn tend(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        drop(stop);
        Box::pin(std::future::ready(()))
    }
}

/// What one environment needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The version.
    pub spec: Arc<FunctionSpec>,
    /// The environment's id.
    pub environment: EnvironmentId,
    /// The execution role's credentials.
    pub credentials: Credentials,
    /// Name of the log stream.
    pub log_stream: String,
    /// Time limit of an invocation: the function's own, or the longer one of debugging.
    pub timeout: Duration,
    /// What `AWS_LAMBDA_INITIALIZATION_TYPE` says.
    pub initialization: InitializationType,
    /// Set if the function is being debugged.
    pub debug: Option<Debugging>,
    /// Where there is a snapshot: what the processes ask for credentials with, and so do those that are forked from them.
    pub credentials_token: Option<Arc<str>>,
    /// Whether the runtime is to become a template of others once its INIT is done ([`Instance::template`]).
    pub template: bool,
}

/// A place for processes.
#[derive(Debug)]
pub struct Created {
    /// Starts and ends the processes.
    pub instance: Box<dyn Instance>,
    /// Where runtimes connect to the Runtime API, as bound for this environment alone.
    pub runtime_api: Option<TcpListener>,
}

/// The place of one environment. Dropping it ends every process and removes every trace.
pub trait Instance: Send + fmt::Debug {
    /// Starts the runtime process. Between two starts the file system of the environment (`/tmp`) stays.
    fn start(&mut self) -> BoxFuture<'_, Result<Runtime, StartError>>;
    /// Makes the runtime, which waits in `restore/next`, the template of others. `None` if others cannot be forked from it:
    /// they are initialised each for itself. The template lasts as long as this instance's processes do.
    fn template(&mut self) -> BoxFuture<'_, Option<Arc<dyn SnapshotTemplate>>> {
        Box::pin(std::future::ready(None))
    }
    /// Whether the runtime that was started last goes on where a template waited: as if `restore/next`, which it has not
    /// asked for itself, had just been answered.
    fn is_forked(&self) -> bool {
        false
    }
    /// Stops the clock for the whole process tree: nothing in it runs until [`Instance::thaw`].
    fn freeze(&mut self) {}
    /// Lets a frozen process tree go on.
    fn thaw(&mut self) {}
    /// INIT, which has all the CPU it can get, is over: from now on the function has the share that its memory buys.
    fn limit_cpu(&mut self) {}
    /// Names of the external extensions that are to be started before the runtime, in this order.
    fn extensions(&self) -> Vec<String> {
        Vec::new()
    }
    /// Starts the external extension of this number, where the runtime will run, too.
    fn start_extension(&mut self, index: usize) -> BoxFuture<'_, Result<ExtensionProcess, StartError>> {
        let source = io::Error::other(format!("there is no extension {index}"));
        let none = StartError::Machine { step: "start an extension", source };
        Box::pin(std::future::ready(Err(none)))
    }
    /// Asks the runtime process to end (`SIGTERM`): the SHUTDOWN phase of environments with extensions.
    fn terminate(&mut self) {}
    /// Ends the runtime process, and not the extensions.
    fn kill_runtime(&mut self) {}
    /// Ends the external extension of this number, and nobody else.
    fn kill_extension(&mut self, index: usize) {
        let _ = index;
    }
    /// Ends the whole process tree at once, frozen or not.
    fn kill(&mut self);
    /// Peak memory of the process tree, in bytes, as far as it is known.
    fn peak_memory(&mut self) -> u64;
    /// The way to what listens inside. By default, for processes that share the host's network, it is plain loopback.
    fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::new(HostLoopback)
    }
    /// The port of the host's loopback at which a debugger attaches, if there is one.
    fn debugger_port(&self) -> Option<u16> {
        None
    }
    /// Ends every process and removes every trace; returns when all is gone.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// An initialised runtime of which copies can be made.
pub trait SnapshotTemplate: Send + Sync + fmt::Debug {
    /// Makes the place of another environment of the same version, as [`Executor::create`] does. Its runtime is forked
    /// from the template when it is started, or is started as any other where that fails; [`Instance::is_forked`]
    /// tells which it was.
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>>;
}

/// Connects to what listens inside an environment.
pub trait Dialer: Send + Sync + fmt::Debug {
    /// A connection to this port of its loopback.
    fn connect(&self, port: u16) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// The way to processes that share the host's network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostLoopback;

impl Dialer for HostLoopback {
    fn connect(&self, port: u16) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
    }
}

/// A started runtime process, as its environment sees it.
pub struct Runtime {
    /// A connection to the Runtime API that the process was given, for clients that understand it.
    pub connection: Option<Connection>,
    /// The reading end of the pipe that the process writes its output to; non-blocking.
    pub output: OwnedFd,
    /// Says how the process ended.
    pub exited: oneshot::Receiver<Exit>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("connected", &self.connection.is_some()).finish_non_exhaustive()
    }
}

/// A started external extension, as its environment sees it.
pub struct ExtensionProcess {
    /// A connection to the Runtime API that the process was given, if it does not make one.
    pub connection: Option<Connection>,
    /// The reading end of the pipe that the process writes its output to; non-blocking.
    pub output: OwnedFd,
    /// Says how the process ended.
    pub exited: oneshot::Receiver<Exit>,
}

impl fmt::Debug for ExtensionProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtensionProcess")
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

/// One end of a Runtime API connection.
pub type Connection = Box<dyn Duplex>;

/// Reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An environment could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The function's own fault: this is the result of its invocations.
    #[error("{}", .0.message)]
    Function(Fault),
    /// The runtime that the function needs is not on this machine.
    #[error("{message}")]
    Runtime {
        /// What is missing, and how to get it.
        message: String,
    },
    /// The role could not be assumed.
    #[error(transparent)]
    Credentials(#[from] crate::ports::CredentialError),
    /// The machine refused something.
    #[error("failed to {step}")]
    Machine {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The isolated place could not be made.
    #[error("failed to make the sandbox")]
    Sandbox(#[source] hothouse_sandbox::SpawnError),
    /// It could not be restored from its version's snapshot, by the function's own fault.
    #[error("the environment could not be restored: {}", .0.message)]
    Restore(Fault),
    /// The function took too long to go on after its environment was restored.
    #[error("the environment was not restored in time")]
    RestoreTimedOut,
    /// It took longer than the environment start-up limit.
    #[error(
        "the environment timed out during start-up (limit {} s; hint: look at the function's start-up, or raise --environment-startup-timeout)",
        .limit.as_secs()
    )]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}
