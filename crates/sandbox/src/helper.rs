//! Short-lived children that make namespaces for us and leave descriptors behind.
//!
//! A thread cannot try a mount or user namespace on and take it off again without risk to the service, so a child does:
//! it shares our descriptor table, opens what it made, and ends. Must not outlive the call that started it.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed},
};

use crate::{
    error::{SpawnError, Step},
    syscall::{self, Errno, SignalsBlocked},
};

/// A step that the kernel refused, as plain data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
    /// Which action of a mount plan, if the step was one.
    pub(crate) action: Option<u32>,
}

impl Failure {
    pub(crate) fn at(step: Step) -> impl Fn(Errno) -> Self {
        move |errno| Self { step, errno, action: None }
    }
}

impl From<Failure> for SpawnError {
    fn from(failure: Failure) -> Self {
        Self::Step { step: failure.step, source: failure.errno.into() }
    }
}

/// What a helper leaves behind, in memory that both see.
#[repr(C)]
struct Shared {
    step: AtomicU32,
    errno: AtomicI32,
    action: AtomicU32,
    left: [AtomicI32; Left::COUNT],
}

/// Where a helper puts descriptors for its caller.
pub(crate) struct Left<'a>(&'a Shared);

/// Kinds of descriptors that a helper leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    User,
    Mounts,
    Network,
    /// Of System V's messages and memory, and POSIX's queues.
    Messages,
    /// The socket of this number, below [`Slot::SOCKETS`].
    Socket(usize),
}

impl Slot {
    /// Sockets that one helper can leave.
    pub(crate) const SOCKETS: usize = 8;

    fn index(self) -> usize {
        match self {
            Self::User => 0,
            Self::Mounts => 1,
            Self::Network => 2,
            Self::Messages => 3,
            Self::Socket(number) => 4 + number,
        }
    }
}

impl Left<'_> {
    const COUNT: usize = 4 + Slot::SOCKETS;

    /// Gives the descriptor to the caller.
    pub(crate) fn leave(&self, slot: Slot, descriptor: RawFd) {
        self.0.left[slot.index()].store(descriptor, Relaxed);
    }
}

/// What a helper left.
#[derive(Debug, Default)]
pub(crate) struct Made([Option<OwnedFd>; Left::COUNT]);

impl Made {
    pub(crate) fn take(&mut self, slot: Slot) -> Option<OwnedFd> {
        self.0[slot.index()].take()
    }
}

/// Runs `body` in a child, and waits for it.
///
/// `body` must be async-signal-safe. With `borrow_memory` the child runs in our memory, which spares copying page
/// tables; a child that changes its credentials must not, because that would mark *our* memory as not inspectable.
pub(crate) fn run<F>(borrow_memory: bool, body: F) -> Result<Result<Made, Failure>, SpawnError>
where
    F: Fn(&Left<'_>) -> Result<(), Failure>,
{
    const STACK_BYTES: usize = 64 * 1024;

    struct Job<'a, F> {
        body: F,
        shared: &'a Shared,
    }

    extern "C" fn enter<F: Fn(&Left<'_>) -> Result<(), Failure>>(job: *mut libc::c_void) -> c_int {
        // SAFETY: `run` passes a job of this very type, and waits until we are done.
        let job = unsafe { &*job.cast::<Job<'_, F>>() };
        match (job.body)(&Left(job.shared)) {
            Ok(()) => 0,
            Err(failure) => {
                job.shared.step.store(failure.step as u32, Relaxed);
                job.shared.errno.store(failure.errno.0, Relaxed);
                job.shared.action.store(failure.action.unwrap_or(u32::MAX), Relaxed);
                1
            }
        }
    }

    let page = SharedPage::new().map_err(SpawnError::step(Step::Prepare))?;
    let shared = page.get();
    for slot in &shared.left {
        slot.store(-1, Relaxed);
    }
    let mut stack: Vec<u8> = Vec::with_capacity(STACK_BYTES);
    let mut job = Job { body, shared };
    let flags = libc::CLONE_FILES | if borrow_memory { libc::CLONE_VM } else { 0 };
    let blocked = SignalsBlocked::new();
    // SAFETY: the body is async-signal-safe as this function demands, and job and stack outlive the child, for which
    // we wait.
    let pid = unsafe {
        let stack: &mut [MaybeUninit<u8>] = stack.spare_capacity_mut();
        syscall::clone_on_stack(flags, stack, enter::<F>, (&raw mut job).cast())
    };
    drop(blocked);
    let pid = pid.map_err(|errno| SpawnError::Step { step: Step::Clone, source: errno.into() })?;
    let status = wait(pid).map_err(SpawnError::step(Step::Clone))?;
    let mut made = Made::default();
    for (slot, descriptor) in made.0.iter_mut().zip(&shared.left) {
        let descriptor = descriptor.load(Relaxed);
        if descriptor >= 0 {
            // SAFETY: the helper opened it for us in the table that we share, and has ended.
            *slot = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        return Ok(Ok(made));
    }
    let action = shared.action.load(Relaxed);
    Ok(Err(Failure {
        step: Step::from_number(shared.step.load(Relaxed)),
        errno: Errno(if libc::WIFEXITED(status) { shared.errno.load(Relaxed) } else { libc::ECHILD }),
        action: (action != u32::MAX).then_some(action),
    }))
}

/// Waits for a child that has no exit signal.
pub(crate) fn wait(pid: libc::pid_t) -> io::Result<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid to be written.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } == pid {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// One page that stays shared even with a child that does not borrow our memory.
struct SharedPage(*mut Shared);

impl SharedPage {
    fn new() -> io::Result<Self> {
        // SAFETY: a new anonymous mapping touches no memory of ours.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(page.cast())) }
    }

    fn get(&self) -> &Shared {
        // SAFETY: the mapping is zeroed, which is valid for atomics, page-aligned, large enough, and lives as long as `self`.
        unsafe { &*self.0 }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: nobody borrows the page any more.
        unsafe { libc::munmap(self.0.cast(), size_of::<Shared>()) };
    }
}
