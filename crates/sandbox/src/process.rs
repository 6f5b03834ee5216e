//! One process tree, as the service sees it.
//!
//! Must not block but where its name says so ([`Process::wait`]) and when it is dropped while running.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use crate::{
    control_group::{Group, Tree},
    error::{ExecError, ExecErrorKind, SpawnError, Step},
    launch::Errand,
    parcel::Parcel,
    syscall,
};

/// A running program with everything that it started.
///
/// Its descriptor is readable once the whole tree has ended. Dropping it ends the tree, and waits until it is gone.
pub struct Process {
    init: OwnedFd,
    control: OwnedFd,
    /// Of the programs, by their number.
    paths: Vec<PathBuf>,
    group: Option<Arc<Group>>,
    pub(crate) tree: Option<Tree>,
    memory_kills_before: u64,
    pub(crate) init_pid: libc::pid_t,
    program: OnceLock<u32>,
    tree_ends_with_init: bool,
    reaped: bool,
    /// The process, if this is a copy of a program. Then `init` is where its end is told, and `control` its descriptor.
    copy: Option<u32>,
}

/// How a process tree ended.
#[derive(Debug)]
pub struct Exit {
    /// What became of the program.
    pub ending: Ending,
    /// Whether something was killed because the sandbox reached its memory limit.
    pub out_of_memory: bool,
    /// Most memory in use at one time, in bytes: of the sandbox if it has a control group, else of the program itself.
    pub peak_memory: Option<u64>,
}

/// What became of a program.
#[derive(Debug)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It could not be executed.
    NotExecuted(ExecError),
    /// The sandbox could not be entered; the program did not run.
    NotSetUp {
        /// The step that failed.
        step: Step,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Process {
    pub(crate) fn new(
        init: OwnedFd,
        init_pid: libc::pid_t,
        control: OwnedFd,
        path: PathBuf,
        group: Option<Arc<Group>>,
        tree: Option<Tree>,
        tree_ends_with_init: bool,
    ) -> Self {
        let memory_kills_before = group.as_deref().map_or(0, Group::memory_kills);
        let program = OnceLock::new();
        Self {
            init,
            control,
            paths: vec![path],
            group,
            tree,
            memory_kills_before,
            init_pid,
            program,
            tree_ends_with_init,
            reaped: false,
            copy: None,
        }
    }

    /// A copy of a program: its process, its descriptor, where its end is told, and its groups.
    pub(crate) fn copy(
        process: libc::pid_t,
        descriptor: OwnedFd,
        end: OwnedFd,
        group: Option<Arc<Group>>,
        tree: Tree,
    ) -> Self {
        let mut made = Self::new(end, process, descriptor, PathBuf::new(), group, Some(tree), false);
        made.copy = Some(process as u32);
        made
    }

    /// Tells an init that waits what to run.
    pub(crate) fn run(&mut self, errand: &Errand) -> io::Result<()> {
        self.paths = vec![errand.path.clone()];
        self.send(&errand.parcel)
    }

    /// Tells an init that waits that its program runs already: this process of its tree, which is its child.
    pub(crate) fn adopt(&mut self, program: libc::pid_t, path: PathBuf) -> io::Result<()> {
        self.paths = vec![path];
        self.send(&Parcel::new(OrderKind::ADOPT, &[program as u64], &[], Vec::new()))
    }

    /// The control group by which the tree is frozen.
    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// Tells the init of a tree for several programs to start one more.
    pub(crate) fn add(&mut self, errand: &Errand) -> io::Result<()> {
        self.paths.push(errand.path.clone());
        self.send(&errand.parcel)
    }

    /// The next program of a tree for several programs that has ended: its number, and how it was. `None` if nobody will
    /// tell any more; an error of the kind [`io::ErrorKind::WouldBlock`] if there is no news, for which to wait is to wait
    /// until [`Process::news`] is readable.
    pub fn program_ended(&mut self) -> io::Result<Option<(usize, Exit)>> {
        let mut report = Report::default();
        // SAFETY: pointer and size are of one value of plain data, for which any bytes are valid.
        let count = unsafe {
            let place = (&raw mut report).cast();
            libc::recv(self.control.as_raw_fd(), place, size_of::<Report>(), libc::MSG_DONTWAIT)
        };
        match count {
            0 => Ok(None),
            count if count == size_of::<Report>() as isize => {
                Ok(Some((report.program as usize, self.exit(Some(report)))))
            }
            count if count > 0 => Err(io::ErrorKind::InvalidData.into()),
            _ => match io::Error::last_os_error() {
                // Init ended with an order unread.
                error if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Readable when [`Process::program_ended`] has something to tell.
    pub fn news(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// How it ended, if it has. The answer comes once: afterwards it is `None` again.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        if self.reaped || !self.reap(false)? {
            return Ok(None);
        }
        Ok(Some(self.reaped()))
    }

    /// Whether it has ended.
    fn reap(&self, block: bool) -> io::Result<bool> {
        if self.copy.is_none() {
            return Ok(syscall::reap(self.init.as_fd(), block)?);
        }
        if block {
            poll(&self.init, -1);
        }
        Ok(!self.is_alive())
    }

    /// Waits until it has ended. Blocks.
    pub fn wait(mut self) -> io::Result<Exit> {
        if !self.reaped {
            self.reap(true)?;
        }
        Ok(self.reaped())
    }

    /// Sends a signal to the program, not to what it started. One that has ended is no error.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.signal_program(0, signal)
    }

    /// Sends a signal to the program of this number, not to what it started; `SIGKILL` to its process group. One that has
    /// ended is no error.
    pub fn signal_program(&self, program: usize, signal: i32) -> io::Result<()> {
        self.order(OrderKind::SIGNAL, signal, u32::try_from(program).unwrap_or(u32::MAX))
    }

    /// Sends a signal to the program and everything that it started (`SIGSTOP`, `SIGCONT`).
    ///
    /// Without isolation this is the program's process group: who has left it does not hear of the signal.
    pub fn signal_all(&self, signal: i32) -> io::Result<()> {
        self.order(OrderKind::SIGNAL_ALL, signal, 0)
    }

    /// Stops the clock for the program and everything that it started: nothing of it runs until [`Process::thaw`].
    /// It can be ended at once all the same, and ends with the service. Signals to it wait until it is thawed.
    ///
    /// Where no control group can be frozen, init stops everyone with `SIGSTOP`, as [`Process::signal_all`] does.
    /// Does not wait until everything has come to rest, which is a matter of microseconds.
    pub fn freeze(&self) -> io::Result<()> {
        match &self.tree {
            Some(tree) => tree.freeze(true),
            None => self.signal_all(libc::SIGSTOP),
        }
    }

    /// Lets a frozen program go on. One that was not frozen, or has ended, is no error.
    pub fn thaw(&self) -> io::Result<()> {
        match &self.tree {
            Some(tree) => tree.freeze(false),
            None => self.signal_all(libc::SIGCONT),
        }
    }

    /// Ends the whole tree at once. Does not wait for it.
    pub fn kill(&self) -> io::Result<()> {
        if self.reaped {
            return Ok(());
        }
        if let (Some(_), Some(tree)) = (self.copy, &self.tree) {
            tree.kill_copy();
            return Ok(());
        }
        if self.tree_ends_with_init {
            syscall::signal_process(self.init.as_fd(), libc::SIGKILL)?;
            return Ok(());
        }
        self.order(OrderKind::END, 0, 0)
    }

    /// Most memory in use at one time until now, in bytes: resident memory of the program itself, or what its control
    /// group counts (children and `/tmp` included, what it shares with others not), whichever is more.
    pub fn peak_memory(&self) -> Option<u64> {
        let group =
            self.group.as_ref().filter(|group| group.limits_memory()).and_then(|group| group.memory_peak());
        self.program_peak_memory().max(group)
    }

    /// The program's id as the service's own process tree sees it, as long as it runs.
    pub fn id(&self) -> Option<u32> {
        if self.reaped {
            return None;
        }
        if self.copy.is_some() {
            return self.copy;
        }
        if let Some(program) = self.program.get() {
            return Some(*program);
        }
        let pid = self.init_pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        // In the order of their birth or adoption: the program is the first.
        let program = children.split(' ').next()?.parse().ok()?;
        Some(*self.program.get_or_init(|| program))
    }

    /// Memory in use by the program that is nobody else's, in bytes.
    pub(crate) fn program_memory(&self) -> Option<u64> {
        kilobytes_of(self.id()?, "RssAnon:")
    }

    fn program_peak_memory(&self) -> Option<u64> {
        if self.paths.len() < 2 {
            return peak_memory_of(self.id()?);
        }
        let pid = self.init_pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        Some(children.split(' ').filter_map(|child| peak_memory_of(child.parse().ok()?)).sum())
    }
}

impl Process {
    pub(crate) fn send(&self, parcel: &Parcel) -> io::Result<()> {
        parcel.send(self.control.as_fd())
    }

    /// Whether its descriptor says that it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        poll(&self.init, 0) == 0
    }

    fn order(&self, kind: OrderKind, signal: i32, program: u32) -> io::Result<()> {
        if self.copy.is_some() {
            return match (signal, &self.tree) {
                (libc::SIGKILL, Some(tree)) => {
                    tree.kill_copy();
                    Ok(())
                }
                _ => match syscall::signal_process(self.control.as_fd(), signal) {
                    Ok(()) | Err(syscall::Errno(libc::ESRCH)) => Ok(()),
                    Err(error) => Err(error.into()),
                },
            };
        }
        let order = Order { kind, signal, program };
        // SAFETY: pointer and size are of one value of plain data.
        let sent = unsafe {
            libc::send(
                self.control.as_raw_fd(),
                (&raw const order).cast(),
                size_of::<Order>(),
                libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
            )
        };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // Its end is closed: it has ended, or is about to.
        let ended = matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN));
        if ended { Ok(()) } else { Err(error) }
    }

    fn reaped(&mut self) -> Exit {
        self.reaped = true;
        let report = self.report();
        if self.copy.is_some() {
            // The kernel ends only the program; what it started is left.
            self.tree.iter().for_each(Tree::kill_copy);
        } else if report.is_none() && !self.tree_ends_with_init {
            // Init was killed before it could end the others; the kernel ends only the program with it.
            self.kill_remains();
        }
        self.exit(report)
    }

    fn kill_remains(&self) {
        if let Some(tree) = &self.tree {
            tree.kill();
        }
    }

    fn exit(&self, report: Option<Report>) -> Exit {
        let out_of_memory =
            self.group.as_deref().is_some_and(|group| group.memory_kills() > self.memory_kills_before);
        let group_peak = self.group.as_deref().and_then(Group::memory_peak);
        // Without a word from init, it was killed itself, by us or for memory.
        let Some(report) = report else {
            return Exit { ending: Ending::Signaled(libc::SIGKILL), out_of_memory, peak_memory: group_peak };
        };
        let ending = match report.kind {
            ReportKind::ENDED if libc::WIFSIGNALED(report.value) => {
                Ending::Signaled(libc::WTERMSIG(report.value))
            }
            ReportKind::ENDED => Ending::Exited(libc::WEXITSTATUS(report.value)),
            ReportKind::NOT_EXECUTED => {
                let path = self.paths.get(report.program as usize).cloned().unwrap_or_default();
                Ending::NotExecuted(exec_error(path, report.value))
            }
            _ => Ending::NotSetUp {
                step: Step::from_number(report.step),
                source: io::Error::from_raw_os_error(report.value),
            },
        };
        let peak_memory = group_peak.or((report.peak_memory > 0).then_some(report.peak_memory));
        Exit { ending, out_of_memory, peak_memory }
    }

    /// Init's last words, if it had any.
    fn report(&self) -> Option<Report> {
        let socket = if self.copy.is_some() { &self.init } else { &self.control };
        receive(socket, libc::MSG_DONTWAIT)
    }

    /// Waits until an init that was made ahead has done as it was told, or the error why it does not.
    pub(crate) fn waits(&self) -> Result<(), SpawnError> {
        let failed = |step, errno| SpawnError::Step { step, source: io::Error::from_raw_os_error(errno) };
        match receive(&self.control, 0) {
            Some(Report { kind: ReportKind::WAITING, .. }) => Ok(()),
            Some(report) => Err(failed(Step::from_number(report.step), report.value)),
            None => Err(failed(Step::Init, libc::ECHILD)),
        }
    }
}

/// The next report of an init, if there is one.
pub(crate) fn receive(socket: &OwnedFd, flags: libc::c_int) -> Option<Report> {
    let mut report = Report::default();
    let mut receive = || {
        // SAFETY: pointer and size are of one value of plain data, for which any bytes are valid.
        unsafe { libc::recv(socket.as_raw_fd(), (&raw mut report).cast(), size_of::<Report>(), flags) }
    };
    let mut count = receive();
    if count < 0 && io::Error::last_os_error().kind() == io::ErrorKind::ConnectionReset {
        // Init ended with an order unread, which is told first, and once.
        count = receive();
    }
    (count == size_of::<Report>() as isize).then_some(report)
}

/// How many of one descriptor are readable within so many milliseconds.
pub(crate) fn poll(descriptor: &OwnedFd, milliseconds: libc::c_int) -> libc::c_int {
    let mut readable = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: pointer and count are of one value.
    unsafe { libc::poll(&raw mut readable, 1, milliseconds) }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> i32 {
        self.init.as_raw_fd()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("paths", &self.paths)
            .field("init", &self.init_pid)
            .finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            // If init is gone already, reaping is all there is to do.
            let _ = self.kill();
            let _ = self.reap(true);
            self.reaped();
        }
    }
}

fn peak_memory_of(process: u32) -> Option<u64> {
    kilobytes_of(process, "VmHWM:")
}

fn kilobytes_of(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn exec_error(path: PathBuf, errno: i32) -> ExecError {
    let (kind, errno) = match errno {
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG => (ExecErrorKind::NotFound, errno),
        // What init says for an interpreter that is missing; the kernel says as much of the program.
        libc::ELIBACC => (ExecErrorKind::InterpreterNotFound, libc::ENOENT),
        libc::EACCES | libc::EPERM | libc::EISDIR => (ExecErrorKind::NotExecutable, errno),
        libc::ENOEXEC | libc::EINVAL | libc::ELIBBAD => (ExecErrorKind::WrongFormat, errno),
        _ => (ExecErrorKind::Other, errno),
    };
    ExecError { path, kind, source: io::Error::from_raw_os_error(errno) }
}

// === what service and init say to each other ===

/// An order to init.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) kind: OrderKind,
    pub(crate) signal: i32,
    /// Whom the signal is for, if it is for one.
    pub(crate) program: u32,
}

/// Plain data that came through a socket, so not an enum.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderKind(pub(crate) u32);

impl OrderKind {
    pub(crate) const SIGNAL: Self = Self(1);
    pub(crate) const SIGNAL_ALL: Self = Self(2);
    pub(crate) const END: Self = Self(3);
    /// What is shown in a sandbox that was made ahead.
    pub(crate) const FIT: Self = Self(4);
    /// What to run.
    pub(crate) const RUN: Self = Self(5);
    /// What runs already.
    pub(crate) const ADOPT: Self = Self(6);
    /// A copy of a program is in this tree, too.
    pub(crate) const NOTE_COPY: Self = Self(7);
    /// To a nursery: an init is to be made.
    pub(crate) const BEAR: Self = Self(8);
}

/// Init's last words, and its answers before it runs anything.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) kind: ReportKind,
    /// Wait status, or error number.
    pub(crate) value: i32,
    pub(crate) step: u32,
    /// Number of the program.
    pub(crate) program: u32,
    pub(crate) peak_memory: u64,
}

/// Plain data that came through a socket, so not an enum.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReportKind(u32);

impl ReportKind {
    pub(crate) const ENDED: Self = Self(1);
    pub(crate) const NOT_EXECUTED: Self = Self(2);
    pub(crate) const NOT_SET_UP: Self = Self(3);
    /// An init that was made ahead has done what there was to do, and waits for the next order.
    pub(crate) const WAITING: Self = Self(4);
}

impl Report {
    pub(crate) fn end(program: u32, status: i32, peak_memory: u64) -> Self {
        Self { kind: ReportKind::ENDED, value: status, program, peak_memory, ..Self::default() }
    }

    pub(crate) fn waiting() -> Self {
        Self { kind: ReportKind::WAITING, ..Self::default() }
    }

    pub(crate) fn failure(kind: ReportKind, program: u32, step: Step, errno: i32) -> Self {
        Self { kind, value: errno, program, step: step as u32, ..Self::default() }
    }
}
