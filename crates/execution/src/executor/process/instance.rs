//! One environment's sandbox, and the processes that run in it one after another.
//!
//! Must not decide when they start or end.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd, RawFd},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use hothouse_sandbox::{Command, Ending, Entrance, ExecError, ExecErrorKind, Process, Sandbox};
use tokio::{
    io::unix::AsyncFd,
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::spawn_blocking,
    time::Instant,
};
use tokio_util::sync::DropGuard;

use super::{
    Copies, Original, Prepared, ProcessExecutor, early::Waiting, lock, megabytes, programs::Programs,
    ready::Starting, snapshot::ANSWER, turns::Turns, zygotes::Birth,
};
use crate::{
    debug::Debugging,
    executor::{
        Connection, Dialer, ExtensionProcess, HostLoopback, Instance, Runtime, SnapshotTemplate, StartError,
        debugger::{Debugger, Ports},
        local::LocalSocket,
        network::Relays,
    },
    extensions,
    fault::{Exit, ExitStatus, Fault},
    runtimes::{Plan, TELEMETRY_DESCRIPTOR},
    spec::FunctionSpec,
};

/// Our own clients' connection to the Runtime API.
const CONNECTION: RawFd = 3;

const TERMINATE: i32 = rustix::process::Signal::TERM.as_raw();
pub(super) const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// Memory is looked at this often at most: reading it costs as much as an invocation.
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);

/// One sandbox and the process that runs in it.
pub(super) struct ProcessInstance {
    spec: Arc<FunctionSpec>,
    prepared: Arc<Prepared>,
    environments: Environments,
    /// Absent only while a process is being started elsewhere, and at the end.
    sandbox: Option<Sandbox>,
    /// Of an interpreter that waits in the sandbox for the first start.
    early: Option<Waiting>,
    process: Option<Arc<Mutex<Process>>>,
    /// Where there are extensions: the programs of the tree.
    programs: Option<Programs>,
    turns: Arc<Turns>,
    /// What its runtime is a copy of.
    original: Option<Arc<Original>>,
    /// Whether the runtime that was started last is one.
    is_copy: bool,
    /// Who makes places for copies, if its runtime is to be their original.
    copier: Option<ProcessExecutor>,
    /// Its runtime, if that is the original of copies.
    resting: Option<Arc<Original>>,
    /// Tells who watches the process that it counts as ended.
    given_up: Option<oneshot::Sender<()>>,
    /// Until the end of the first INIT.
    starting: Option<Starting>,
    /// Until then, too: how its interpreter may come about.
    birth: Option<Birth>,
    peak: u64,
    looked: Option<Instant>,
    /// Ends the service's door into this environment.
    pub(super) door: Option<DropGuard>,
    /// What passes between this environment's network and the host's.
    pub(super) relays: Option<Relays>,
    /// Where a debugger of this environment connects to.
    debugger: Option<Debugger>,
}

/// Where a runtime is to be, and how it may come about there.
pub(super) struct Place {
    pub(super) sandbox: Sandbox,
    pub(super) early: Option<Waiting>,
    pub(super) starting: Option<Starting>,
    pub(super) birth: Option<Birth>,
    pub(super) original: Option<Arc<Original>>,
    pub(super) copier: Option<ProcessExecutor>,
}

/// The variables of the processes.
pub(super) struct Environments {
    pub(super) runtime: Vec<(String, String)>,
    pub(super) extensions: Vec<(String, String)>,
}

impl fmt::Debug for ProcessInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessInstance").field("function", &self.spec.function_name).finish_non_exhaustive()
    }
}

impl Instance for ProcessInstance {
    fn start(&mut self) -> BoxFuture<'_, Result<Runtime, StartError>> {
        Box::pin(async move {
            self.is_copy = false;
            if let Some(original) = self.original.clone() {
                match self.restore(original).await {
                    Ok(runtime) => return Ok(runtime),
                    Err(error) => {
                        tracing::debug!(function = %self.spec.function_name, error = crate::chain(&error), "failed to copy a runtime");
                        self.original = None;
                    }
                }
            }
            let mut sandbox = self.take_sandbox()?;
            if let Some(runtime) = self.assign(&mut sandbox)? {
                self.sandbox = Some(sandbox);
                return Ok(runtime);
            }
            if let Some((early, birth)) =
                self.prepared.early.clone().zip(self.birth.take_if(|birth| birth.is_in_burst()))
            {
                let (command, waiting) = early.command()?;
                // Told before it is there, so that it need not wait.
                if waiting.assign(&self.environments.runtime).is_ok() {
                    let started = self.turns.start(move || {
                        let process = birth.spawn(&mut sandbox, command);
                        (sandbox, birth, process)
                    });
                    let (sandbox, birth, process) =
                        started.await.map_err(StartError::machine("start a thread"))?;
                    (self.sandbox, self.birth) = (Some(sandbox), Some(birth));
                    let exited = self.follow(process.map_err(StartError::Sandbox)?)?;
                    let connection = Some(registered(waiting.connection)?);
                    return Ok(Runtime { connection, output: waiting.output, exited });
                }
            }
            let (output, written) = log_pipe()?;
            let mut command = self.command(&written)?;
            let mut connection = None;
            if self.prepared.plan.own_client {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()
                    .map_err(StartError::machine("make a socket pair"))?;
                ours.set_nonblocking(true).map_err(StartError::machine("make a socket non-blocking"))?;
                command.descriptors.push((theirs.into(), CONNECTION));
                connection = Some(registered(ours)?);
            }
            drop(written);
            if let (Some(programs), Some(process)) = (&mut self.programs, &self.process) {
                let exited = programs.add_runtime();
                let added = sandbox.add(&mut lock(process), command);
                self.sandbox = Some(sandbox);
                added.map_err(StartError::Sandbox)?;
                return Ok(Runtime { connection, output, exited });
            }
            // If this future is dropped meanwhile, sandbox and process end with the closure's result.
            let started = self.turns.start(move || {
                let process = sandbox.spawn(command);
                (sandbox, process)
            });
            let (sandbox, process) = started.await.map_err(StartError::machine("start a thread"))?;
            self.sandbox = Some(sandbox);
            let exited = self.follow(process.map_err(StartError::Sandbox)?)?;
            Ok(Runtime { connection, output, exited })
        })
    }

    fn template(&mut self) -> BoxFuture<'_, Option<Arc<dyn SnapshotTemplate>>> {
        Box::pin(async move {
            let executor = self.copier.take()?;
            if !self.prepared.plan.own_client || self.programs.is_some() {
                return None;
            }
            let (sandbox, process) = (self.sandbox.take()?, self.process.clone()?);
            let given_up = self.given_up.take()?;
            let mut given = vec![1, 2, CONNECTION];
            given.extend(self.prepared.plan.telemetry.then_some(TELEMETRY_DESCRIPTOR));
            // If this future is dropped meanwhile, all of it ends with the closure's result.
            let taken =
                spawn_blocking(move || Original::take(sandbox, process, &given, CONNECTION, given_up)).await;
            match taken.ok()? {
                Ok(original) => {
                    let original = Arc::new(original);
                    self.resting = Some(original.clone());
                    let inner = &executor.inner;
                    inner.places.want(&original, inner.sandbox_spec(&self.spec, &self.prepared, false));
                    Some(Arc::new(Copies { original, executor }) as Arc<dyn SnapshotTemplate>)
                }
                Err(refused) => {
                    let (sandbox, unfit) = *refused;
                    tracing::info!(function = %self.spec.function_name, version = %self.spec.version, "environments are initialised each for itself: of the one in the snapshot no copies can be made: {unfit}");
                    self.sandbox = Some(sandbox);
                    None
                }
            }
        })
    }

    fn is_forked(&self) -> bool {
        self.is_copy
    }

    fn extensions(&self) -> Vec<String> {
        self.prepared.extensions.clone()
    }

    fn start_extension(&mut self, index: usize) -> BoxFuture<'_, Result<ExtensionProcess, StartError>> {
        Box::pin(async move {
            let mut sandbox = self.take_sandbox()?;
            let (output, written) = log_pipe()?;
            let command = self.extension_command(index, &written);
            drop(written);
            let command = command?;
            if index == 0 {
                let started = self.turns.start(move || {
                    let process = sandbox.spawn_shared(command);
                    (sandbox, process)
                });
                let (sandbox, process) = started.await.map_err(StartError::machine("start a thread"))?;
                self.sandbox = Some(sandbox);
                let process = Arc::new(Mutex::new(process.map_err(StartError::Sandbox)?));
                self.programs = Some(Programs::watch(&process)?);
                self.process = Some(process);
                self.looked = None;
            } else {
                let added = match &self.process {
                    Some(process) => sandbox.add(&mut lock(process), command).map_err(StartError::Sandbox),
                    None => Err(StartError::machine("find the process tree")(io::ErrorKind::NotFound.into())),
                };
                self.sandbox = Some(sandbox);
                added?;
            }
            let programs = self.programs.as_mut().expect("it was made with the first extension");
            Ok(ExtensionProcess { connection: None, output, exited: programs.add_extension() })
        })
    }

    fn kill_runtime(&mut self) {
        self.signal_runtime(KILL);
    }

    fn kill_extension(&mut self, index: usize) {
        self.order("end an extension", |process| process.signal_program(index, KILL));
    }

    fn freeze(&mut self) {
        self.order("freeze a process tree", Process::freeze);
    }

    fn thaw(&mut self) {
        self.order("thaw a process tree", Process::thaw);
    }

    fn limit_cpu(&mut self) {
        self.share_cpu(true);
        (self.starting, self.birth) = (None, None);
    }

    fn terminate(&mut self) {
        self.signal_runtime(TERMINATE);
    }

    fn kill(&mut self) {
        (self.starting, self.birth) = (None, None);
        // Older kernels let nobody end who has used up his share.
        self.share_cpu(false);
        match &self.resting {
            // Copies of it live in its tree.
            Some(original) => original.give_up(),
            None => self.order("end a process tree", Process::kill),
        }
    }

    fn peak_memory(&mut self) -> u64 {
        let fresh = self.looked.is_some_and(|looked| looked.elapsed() < MEMORY_INTERVAL);
        if !fresh && let Some(process) = &self.process {
            // What is in `/tmp` and in the page cache is counted too, but is not the function's memory.
            let limit = megabytes(self.spec.memory_mb);
            self.peak = lock(process).peak_memory().unwrap_or(0).clamp(self.peak, limit.max(self.peak));
            self.looked = Some(Instant::now());
        }
        self.peak
    }

    fn dialer(&self) -> Arc<dyn Dialer> {
        match self.sandbox.as_ref().and_then(Sandbox::entrance) {
            Some(entrance) => Arc::new(Inside(entrance)),
            None => Arc::new(HostLoopback),
        }
    }

    fn debugger_port(&self) -> Option<u16> {
        self.debugger.as_ref().map(Debugger::port)
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(debugger) = self.debugger.take() {
                debugger.close().await;
            }
            if let Some(relays) = self.relays.take() {
                relays.close().await;
            }
            // Waiting for the last process and removing its place blocks.
            let turns = self.turns.clone();
            let _ = turns.end(move || drop(self)).await;
        })
    }
}

impl ProcessInstance {
    /// A place without a process.
    pub(super) fn new(
        spec: Arc<FunctionSpec>,
        prepared: Arc<Prepared>,
        environments: Environments,
        place: Place,
        turns: Arc<Turns>,
    ) -> ProcessInstance {
        let Place { sandbox, early, starting, birth, original, copier } = place;
        ProcessInstance {
            spec,
            prepared,
            environments,
            sandbox: Some(sandbox),
            early,
            process: None,
            programs: None,
            turns,
            original,
            is_copy: false,
            copier,
            resting: None,
            given_up: None,
            starting,
            birth,
            peak: 0,
            looked: None,
            door: None,
            relays: None,
            debugger: None,
        }
    }

    fn take_sandbox(&mut self) -> Result<Sandbox, StartError> {
        let Some(sandbox) = self.sandbox.take() else {
            return Err(StartError::machine("find the sandbox")(io::ErrorKind::NotFound.into()));
        };
        // INIT has all the CPU that it can get.
        sandbox.limit_cpu(false).map_err(StartError::machine("lift the limit of CPU use"))?;
        Ok(sandbox)
    }

    /// Assigns the interpreter to the function that was started before it was known, if there is one that can still be
    /// told.
    fn assign(&mut self, sandbox: &mut Sandbox) -> Result<Option<Runtime>, StartError> {
        let Some((early, process)) = self.early.take().zip(sandbox.take_program()) else { return Ok(None) };
        if early.assign(&self.environments.runtime).is_err() {
            return Ok(None);
        }
        let connection = Some(registered(early.connection)?);
        Ok(Some(Runtime { connection, output: early.output, exited: self.follow(process)? }))
    }

    /// Starts the runtime as a copy.
    async fn restore(&mut self, original: Arc<Original>) -> Result<Runtime, StartError> {
        let mut sandbox = self.take_sandbox()?;
        let (output, written) = log_pipe()?;
        let mut descriptors = self.command(&written)?.descriptors;
        drop(written);
        let (mut ours, theirs) =
            std::os::unix::net::UnixStream::pair().map_err(StartError::machine("make a socket pair"))?;
        ours.write_all(ANSWER).map_err(StartError::machine("answer a copy"))?;
        ours.set_nonblocking(true).map_err(StartError::machine("make a socket non-blocking"))?;
        descriptors.push((theirs.into(), CONNECTION));
        let started = self.turns.start(move || {
            let process = original.restore(&mut sandbox, descriptors);
            (sandbox, process)
        });
        let (sandbox, process) = started.await.map_err(StartError::machine("start a thread"))?;
        self.sandbox = Some(sandbox);
        let exited = self.follow(process.map_err(StartError::Sandbox)?)?;
        self.is_copy = true;
        Ok(Runtime { connection: Some(registered(ours)?), output, exited })
    }

    /// Watches a process from now on.
    fn follow(&mut self, process: Process) -> Result<oneshot::Receiver<Exit>, StartError> {
        let ended = process.as_fd().try_clone_to_owned().map_err(StartError::machine("watch a process"))?;
        let ended = readiness(ended)?;
        let process = Arc::new(Mutex::new(process));
        let (exit, exited) = oneshot::channel();
        let (given_up, gone) = oneshot::channel();
        // Owned by the process: it ends when that does.
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the process, whose owner is the environment"
        )]
        tokio::spawn(watch(ended, gone, process.clone(), exit));
        self.given_up = Some(given_up);
        self.process = Some(process);
        self.looked = None;
        Ok(exited)
    }

    fn signal_runtime(&self, signal: i32) {
        let number = self.programs.as_ref().and_then(Programs::runtime).unwrap_or(0);
        self.order("signal a runtime", |process| process.signal_program(number, signal));
    }

    fn extension_command(&self, index: usize, output: &OwnedFd) -> Result<Command, StartError> {
        let duplicate =
            || output.try_clone().map_err(StartError::machine("duplicate an extension's log pipe"));
        let roots = &self.prepared.plan.roots;
        let name = self.prepared.extensions.get(index).map(String::as_str).unwrap_or_default();
        let path = roots.opt.join(extensions::DIRECTORY).join(name);
        Ok(Command {
            arguments: vec![path.into_os_string()],
            environment: variables(&self.environments.extensions).collect(),
            // Unverified: where extensions start on AWS.
            directory: roots.task.clone(),
            descriptors: vec![(duplicate()?, 1), (duplicate()?, 2)],
        })
    }

    /// Puts the function's share of CPUs into force, or gives it all.
    fn share_cpu(&self, limited: bool) {
        if let Some(Err(error)) = self.sandbox.as_ref().map(|sandbox| sandbox.limit_cpu(limited)) {
            tracing::error!(function = %self.spec.function_name, %error, "failed to limit the use of CPUs");
        }
    }

    fn order(&self, what: &str, order: impl FnOnce(&Process) -> io::Result<()>) {
        if let Some(process) = &self.process
            && let Err(error) = order(&lock(process))
        {
            tracing::error!(function = %self.spec.function_name, %error, "failed to {what}");
        }
    }

    /// Opens the port for a debugger, and says where.
    pub(super) async fn open_debugger(&mut self, ports: &Ports, debugging: Debugging) {
        let entrance = self.sandbox.as_ref().and_then(Sandbox::entrance);
        let enter = entrance.map(|entrance| move |port| entrance.connect(port).map_err(io::Error::other));
        let preferred = self.prepared.plan.debugger.preferred_port();
        self.debugger = Debugger::open(ports, &self.spec, debugging, preferred, enter).await;
        if let Some(debugger) = &self.debugger {
            debugger.tell(&self.spec, &self.prepared.plan);
        }
    }

    fn command(&self, output: &OwnedFd) -> Result<Command, StartError> {
        let descriptors = log_descriptors(output, self.prepared.plan.telemetry)?;
        let Plan { argv, debugger, .. } = &self.prepared.plan;
        let port = self.debugger.as_ref().map(Debugger::port);
        Ok(Command {
            arguments: port.map_or_else(|| argv.clone(), |port| debugger.arguments(argv, port)),
            environment: variables(&self.environments.runtime)
                .chain(port.and_then(|port| debugger.variable(port)))
                .collect(),
            directory: self.prepared.plan.roots.task.clone(),
            descriptors,
        })
    }
}

fn registered(connection: std::os::unix::net::UnixStream) -> Result<Connection, StartError> {
    let connection = LocalSocket::new(connection.into()).map_err(StartError::machine("register a socket"))?;
    Ok(Box::new(connection))
}

/// The way into a network namespace.
#[derive(Debug)]
struct Inside(Entrance);

impl Dialer for Inside {
    fn connect(&self, port: u16) -> BoxFuture<'_, io::Result<TcpStream>> {
        let entrance = self.0.clone();
        Box::pin(async move {
            // Making a socket there starts a process, which blocks.
            let made = spawn_blocking(move || entrance.unconnected()).await.map_err(io::Error::other)?;
            let socket = TcpSocket::from_std_stream(made.map_err(io::Error::other)?);
            socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
        })
    }
}

/// The log pipe, where a runtime process expects it.
pub(super) fn log_descriptors(output: &OwnedFd, telemetry: bool) -> Result<Vec<(OwnedFd, i32)>, StartError> {
    let targets = [1, 2].into_iter().chain(telemetry.then_some(TELEMETRY_DESCRIPTOR));
    let duplicate = || output.try_clone().map_err(StartError::machine("duplicate the log pipe"));
    targets.map(|target| Ok((duplicate()?, target))).collect()
}

pub(super) fn variables(environment: &[(String, String)]) -> impl Iterator<Item = (OsString, OsString)> {
    environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)))
}

/// A pipe for output: the end to read from, which does not block, and the other.
pub(super) fn log_pipe() -> Result<(OwnedFd, OwnedFd), StartError> {
    let (output, written) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| StartError::machine("make a log pipe")(error.into()))?;
    rustix::io::ioctl_fionbio(&output, true)
        .map_err(|error| StartError::machine("make a log pipe non-blocking")(error.into()))?;
    Ok((output, written))
}

/// The place of a version that has nothing to run.
#[derive(Debug)]
pub(super) struct NotStartable {
    pub(super) fault: Fault,
}

impl Instance for NotStartable {
    fn start(&mut self) -> BoxFuture<'_, Result<Runtime, StartError>> {
        Box::pin(std::future::ready(Err(StartError::Function(self.fault.clone()))))
    }

    fn kill(&mut self) {}

    fn peak_memory(&mut self) -> u64 {
        0
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[expect(
    deprecated,
    reason = "an `OwnedFd` stays open and the same, which is all that the successor asks for; it is unsafe to call"
)]
pub(super) fn readiness(descriptor: OwnedFd) -> Result<AsyncFd<OwnedFd>, StartError> {
    AsyncFd::new(descriptor).map_err(StartError::machine("watch a process"))
}

/// How a program ended, and in which words it is told that it was not executed.
pub(super) fn exit_of(how: hothouse_sandbox::Exit, why: impl Fn(&ExecError) -> String) -> Exit {
    let status = match how.ending {
        Ending::Exited(code) => ExitStatus::Code(code),
        Ending::Signaled(signal) => ExitStatus::Signal(signal),
        Ending::NotExecuted(error) => {
            ExitStatus::NotExecuted { why: why(&error), denied: error.kind == ExecErrorKind::NotExecutable }
        }
        Ending::NotSetUp { step, source } => {
            tracing::error!(%step, error = %source, "failed to enter a sandbox");
            ExitStatus::Signal(9)
        }
    };
    Exit { status, out_of_memory: how.out_of_memory }
}

/// Waits for the end of a process tree and says how it was. One that is given up counts as killed.
async fn watch(
    ended: AsyncFd<OwnedFd>,
    mut given_up: oneshot::Receiver<()>,
    process: Arc<Mutex<Process>>,
    exit: oneshot::Sender<Exit>,
) {
    loop {
        let guard = tokio::select! {
            biased;
            guard = ended.readable() => guard,
            Ok(()) = &mut given_up => {
                let _ = exit.send(Exit { status: ExitStatus::Signal(KILL), out_of_memory: false });
                return;
            }
        };
        let Ok(mut guard) = guard else { return };
        // Reading the last words and reaping take microseconds; the tree is gone.
        match lock(&process).try_wait() {
            Ok(Some(how)) => {
                let _ = exit.send(exit_of(how, ExecError::to_string));
                return;
            }
            Ok(None) => guard.clear_ready(),
            Err(error) => {
                tracing::error!(%error, "failed to wait for a process");
                return;
            }
        }
    }
}
