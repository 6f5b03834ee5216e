//! A zygote: a program that has done its slow part, and whose copies become programs of sandboxes.
//!
//! It runs with our powers, in a root made from the same template as its children's, without a network, and is told by
//! messages what a child does to get into its sandbox ([`crate::entry`]); `runtimes/python/hothouse_zygote.py` is the other
//! side. It must hold nothing of the service's, and no function ever runs in it.
//!
//! ```text
//! zygote ── clone3 into the sandbox's process tree and group ──▶ (ends) ── fork ──▶ child: joins, gives up powers, answers
//!                                                           init becomes its parent ──▲
//! ```

use std::{
    ffi::{CString, OsString, c_char, c_int, c_void},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    ptr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    Sandbox, SandboxSpec, Template,
    control_group::Tree,
    entry::Entry,
    error::{SpawnError, Step},
    init::{KILL_FIRST, control_process, reset_signals},
    isolation::Mode,
    launch::Errand,
    mounts,
    nursery::Nursery,
    parcel::send,
    process::Process,
    sandbox::{Namespaces, make_namespaces, socket_pair},
    spec::{Command, Network},
    syscall::{self, SignalsBlocked},
};

/// Where a zygote finds the socket by which it is told what to do.
const CONTROL: RawFd = 3;

/// A zygote that takes longer to start, or to fork, is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that makes others like it. Dropping it ends it, not them.
#[derive(Debug)]
pub struct Zygote {
    process: OwnedFd,
    control: OwnedFd,
    template: Template,
    /// Where its children have room for what an order points to, and how much.
    address: u64,
    bytes: u64,
    /// Where the inits of their trees are born, if there is such a place.
    nursery: OnceLock<Option<Nursery>>,
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum Refused {
    /// There is none, for sure.
    Failed(SpawnError),
    /// Nobody knows, since none has answered.
    Silent(SpawnError),
}

impl Zygote {
    /// Starts one, for sandboxes of this template. `None` where only those who have power over the host's mounts could:
    /// an ordinary user has not. The command gets no descriptors but the socket, at 3. Waits until it is ready to fork.
    pub fn start(template: &Template, command: &Command) -> Result<Option<Self>, SpawnError> {
        let Some(root) = template.mounts().filter(|_| template.features().mode == Mode::Privileged) else {
            return Ok(None);
        };
        let network = template.network(Network::Own);
        let spec = SandboxSpec { tmp_bytes: 65536, network, ..SandboxSpec::default() };
        let Namespaces { mounts, network, .. } = make_namespaces(template, root, &spec, None)?;
        let (control, theirs) = socket_pair().map_err(SpawnError::step(Step::Prepare))?;
        let birth = Birth::new(command, mounts, network, theirs)?;
        let failed = |errno: syscall::Errno| SpawnError::Step { step: Step::Clone, source: errno.into() };
        let process = birth.start().map_err(failed)?;
        drop(birth);
        // From here on it is ended if something fails.
        let mut zygote = Self {
            process,
            control,
            template: template.clone(),
            address: 0,
            bytes: 0,
            nursery: OnceLock::new(),
        };
        (zygote.address, zygote.bytes) = zygote.hear().map_err(SpawnError::step(Step::Exec))?;
        Ok(Some(zygote))
    }

    /// Whether it still runs, and with it the place where inits are born.
    pub fn is_alive(&self) -> bool {
        let nursery = self.nursery.get().and_then(Option::as_ref);
        is_running(self.process.as_fd()) && nursery.is_none_or(Nursery::is_alive)
    }

    /// Where the init of this sandbox may be born.
    pub(crate) fn nursery(&self, sandbox: &Sandbox) -> Option<&Nursery> {
        if !self.template.is(&sandbox.template) {
            return None;
        }
        let made = || sandbox.typical_launch().and_then(Nursery::start).ok();
        self.nursery.get_or_init(made).as_ref()
    }

    /// Waits for its word that it is ready: where its children have room, and how much.
    fn hear(&self) -> io::Result<(u64, u64)> {
        limit_waiting(self.control.as_fd())?;
        let mut words = [0_u64; 2];
        let length = size_of_val(&words);
        // SAFETY: pointer and length are of one array of plain data.
        let count = unsafe { libc::recv(self.control.as_raw_fd(), words.as_mut_ptr().cast(), length, 0) };
        match count {
            count if count == length as isize => Ok((words[0], words[1])),
            count if count < 0 => Err(io::Error::last_os_error()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Makes a child that becomes the program of this errand, below this init, which must wait. The id that it has in its
    /// own process tree.
    pub(crate) fn fork(
        &self,
        sandbox: &Sandbox,
        init: &Process,
        errand: &Errand,
    ) -> Result<libc::pid_t, Refused> {
        let failed = |error| Refused::Failed(SpawnError::step(Step::Prepare)(error));
        if !self.template.is(&sandbox.template) {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        let (answer, answers) = io::pipe().map_err(failed)?;
        let tree = init.tree().map(Tree::entrances).transpose().map_err(failed)?;
        let entrances = sandbox.entrances(tree).map_err(Refused::Failed)?;
        let launch = sandbox.launch(answers.into(), false, &entrances).map_err(Refused::Failed)?;
        let group = entrances.directory.as_ref().map(AsRawFd::as_raw_fd);
        let entry = Entry::new(&launch, init.as_raw_fd(), group, errand, self.address)
            .filter(|entry| entry.memory_bytes() as u64 <= self.bytes)
            .ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
        send(self.control.as_fd(), &[&entry.message()], entry.descriptors(), 0).map_err(failed)?;
        // The other ends are the zygote's and the child's now: if none is left, nobody will answer.
        drop(launch);
        let silent = |kind: io::ErrorKind| Refused::Silent(SpawnError::step(Step::Clone)(kind.into()));
        if !is_readable(answer.as_fd(), PATIENCE) {
            return Err(silent(io::ErrorKind::TimedOut));
        }
        let mut words = [[0; 4]; 2];
        (&answer).read_exact(words.as_flattened_mut()).map_err(|error| silent(error.kind()))?;
        match words.map(i32::from_ne_bytes) {
            [process, _] if process > 0 => Ok(process),
            [call, errno] => {
                let source = io::Error::from_raw_os_error(errno);
                Err(Refused::Failed(SpawnError::Step { step: entry.step(call), source }))
            }
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // One that has ended already is only reaped.
        let _ = syscall::signal_process(self.process.as_fd(), libc::SIGKILL);
        let _ = syscall::reap(self.process.as_fd(), true);
    }
}

/// What a zygote's process needs to begin.
struct Birth {
    mounts: Option<OwnedFd>,
    network: Option<Arc<OwnedFd>>,
    control: OwnedFd,
    null: OwnedFd,
    directory: CString,
    arguments: Texts,
    variables: Texts,
}

impl Birth {
    fn new(
        command: &Command,
        mounts: Option<OwnedFd>,
        network: Option<Arc<OwnedFd>>,
        control: OwnedFd,
    ) -> Result<Self, SpawnError> {
        let null = File::options().read(true).write(true).open("/dev/null");
        let variable =
            |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
        Ok(Self {
            mounts,
            network,
            control,
            null: null.map_err(SpawnError::step(Step::Prepare))?.into(),
            directory: mounts::text(&command.directory, "the working directory")?,
            arguments: Texts::new(command.arguments.iter().map(|text| text.as_bytes().to_vec()))?,
            variables: Texts::new(command.environment.iter().map(variable))?,
        })
    }

    /// Returns when the program is executed, or was not.
    fn start(&self) -> syscall::Result<OwnedFd> {
        const STACK_BYTES: usize = 32 * 1024;

        let argument = ptr::from_ref(self).cast_mut().cast::<c_void>();
        let mut stack: Vec<u8> = Vec::with_capacity(STACK_BYTES);
        let blocked = SignalsBlocked::new();
        // SAFETY: the body is async-signal-safe; we are suspended until it has executed the program or ended.
        let pid = unsafe {
            syscall::clone_on_stack(libc::CLONE_VM, stack.spare_capacity_mut(), become_zygote, argument)
        };
        drop(blocked);
        syscall::open_process(pid?)
    }

    /// Returns only if it failed. Async-signal-safe.
    fn become_zygote(&self) -> syscall::Result {
        // Best effort: only who gets killed first depends on it.
        let _ = syscall::write_file(c"/proc/self/oom_score_adj", KILL_FIRST);
        if let Some(network) = &self.network {
            syscall::setns(network.as_raw_fd(), libc::CLONE_NEWNET)?;
        }
        if let Some(mounts) = &self.mounts {
            syscall::setns(mounts.as_raw_fd(), libc::CLONE_NEWNS)?;
        }
        syscall::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)?;
        control_process(libc::PR_SET_NO_NEW_PRIVS, 1)?;
        let [control, null] = [&self.control, &self.null].map(AsRawFd::as_raw_fd);
        // Out of the way first, for they may be at each other's places.
        // SAFETY: takes no pointers.
        let moved =
            [control, null].map(|source| unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, CONTROL + 1) });
        for (source, target) in [(moved[1], 0), (moved[1], 1), (moved[1], 2), (moved[0], CONTROL)] {
            // SAFETY: takes no pointers.
            syscall::check(unsafe { libc::dup2(source, target) }.into())?;
        }
        syscall::close_range(CONTROL + 1, RawFd::MAX, true)?;
        // SAFETY: take no pointers.
        unsafe {
            libc::umask(0o022);
            libc::setsid();
        }
        syscall::change_directory(&self.directory)?;
        reset_signals();
        let (arguments, variables) = (&self.arguments.pointers, &self.variables.pointers);
        // SAFETY: the lists end with a null pointer, and their texts are kept.
        unsafe { libc::execve(arguments[0], arguments.as_ptr(), variables.as_ptr()) };
        Err(syscall::last_error())
    }
}

extern "C" fn become_zygote(birth: *mut c_void) -> c_int {
    // SAFETY: `Birth::start` passes one, and is suspended while we use it.
    let _ = unsafe { &*birth.cast::<Birth>() }.become_zygote();
    127
}

/// Texts as `execve` wants them.
struct Texts {
    pointers: Vec<*const c_char>,
    _texts: Vec<CString>,
}

impl Texts {
    fn new(texts: impl Iterator<Item = Vec<u8>>) -> Result<Self, SpawnError> {
        let zero_ended =
            |text| CString::new(text).map_err(|_| SpawnError::ZeroByte { what: "a zygote's text" });
        let texts: Vec<CString> = texts.map(zero_ended).collect::<Result<_, _>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { pointers, _texts: texts })
    }
}

/// Neither sending nor receiving waits for ever.
pub(crate) fn limit_waiting(socket: BorrowedFd<'_>) -> io::Result<()> {
    let limit = libc::timeval { tv_sec: PATIENCE.as_secs() as libc::time_t, tv_usec: 0 };
    for option in [libc::SO_SNDTIMEO, libc::SO_RCVTIMEO] {
        let length = size_of_val(&limit) as libc::socklen_t;
        // SAFETY: pointer and length are of one value.
        let set = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const limit).cast(), length)
        };
        syscall::check(set.into())?;
    }
    Ok(())
}

/// Whether a process has not ended.
pub(crate) fn is_running(process: BorrowedFd<'_>) -> bool {
    !is_readable(process, Duration::ZERO)
}

/// Waits for something to read, or for an end.
fn is_readable(descriptor: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut source = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: pointer and count are of one value. All signals that interrupt are the service's, and rare: one of them costs a
    // child.
    unsafe { libc::poll(&raw mut source, 1, patience.as_millis() as c_int) == 1 }
}
