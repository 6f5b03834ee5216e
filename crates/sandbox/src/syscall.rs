//! System calls that `libc` has no function for, and small safe faces of others.
//!
//! Everything here is async-signal-safe: no allocation, no lock, no panic. Must not decide anything.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use libc::{c_int, c_long, c_uint, pid_t};

/// An error number. Unlike `io::Error` it is plain data that can be sent through a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Errno>;

/// The error number of the last call of this thread.
pub(crate) fn last_error() -> Errno {
    // SAFETY: the location is this thread's own and always valid.
    Errno(unsafe { *libc::__errno_location() })
}

pub(crate) fn check(value: c_long) -> Result<c_long> {
    if value < 0 { Err(last_error()) } else { Ok(value) }
}

fn check_int(value: c_int) -> Result<c_int> {
    if value < 0 { Err(last_error()) } else { Ok(value) }
}

/// `struct clone_args`, version 2.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// As `fork` with flags. The exit signal is none, so that a service that reaps its own children by SIGCHLD
/// does not meet ours.
///
/// # Safety
/// As for `fork` in a process with threads: the child may only use async-signal-safe functions.
pub(crate) unsafe fn clone(
    flags: c_int,
    pidfd: Option<&mut RawFd>,
    control_group: Option<RawFd>,
) -> Result<pid_t> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut arguments = CloneArguments { flags: flags as u32 as u64, ..Default::default() };
    if let Some(pidfd) = pidfd {
        arguments.flags |= libc::CLONE_PIDFD as u64;
        arguments.pidfd = std::ptr::from_mut(pidfd) as u64;
    }
    if let Some(group) = control_group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group as u64;
    }
    // SAFETY: the structure has the size that is said; the caller keeps the child's promise.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    check(pid).map(|pid| pid as pid_t)
}

/// Runs `body` in a child that borrows the caller's memory, on a stack of its own, while the caller waits for its end
/// or its exec: what `vfork` does, for those who must not return from it.
///
/// # Safety
/// `body` must be async-signal-safe and not return but by its value; `stack` must be large enough for it.
pub(crate) unsafe fn clone_on_stack(
    flags: c_int,
    stack: &mut [std::mem::MaybeUninit<u8>],
    body: extern "C" fn(*mut libc::c_void) -> c_int,
    argument: *mut libc::c_void,
) -> Result<pid_t> {
    let top = (stack.as_mut_ptr_range().end as usize & !0xf) as *mut libc::c_void;
    // SAFETY: the stack is exclusively ours while the child runs, because the caller is suspended (CLONE_VFORK).
    check_int(unsafe { libc::clone(body, top, flags | libc::CLONE_VFORK, argument) })
}

pub(crate) fn unshare(flags: c_int) -> Result {
    // SAFETY: takes no pointers.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

pub(crate) fn setns(namespace: RawFd, kind: c_int) -> Result {
    // SAFETY: takes no pointers.
    check_int(unsafe { libc::setns(namespace, kind) }).map(drop)
}

pub(crate) fn open(path: &CStr, flags: c_int, mode: c_uint) -> Result<RawFd> {
    // SAFETY: `path` is a C string.
    check_int(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

pub(crate) fn open_at(directory: RawFd, path: &CStr, flags: c_int) -> Result<RawFd> {
    // SAFETY: `path` is a C string.
    check_int(unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC) })
}

pub(crate) fn close(descriptor: RawFd) {
    // SAFETY: takes no pointers; callers own the descriptor.
    unsafe { libc::close(descriptor) };
}

/// New memory, zeroed, of this size at least.
pub(crate) fn map_memory(bytes: usize) -> Result<*mut libc::c_void> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping touches no memory of ours.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
    if memory == libc::MAP_FAILED { Err(last_error()) } else { Ok(memory) }
}

/// Writes all of `bytes`.
pub(crate) fn write_all(descriptor: RawFd, mut bytes: &[u8]) -> Result {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are of one slice.
        let count = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        if count < 0 {
            let error = last_error();
            if error.0 != libc::EINTR {
                return Err(error);
            }
        } else {
            bytes = bytes.get(count as usize..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Writes a short text to a file of `/proc` or a like place.
pub(crate) fn write_file(path: &CStr, text: &[u8]) -> Result {
    let file = open(path, libc::O_WRONLY, 0)?;
    let result = write_all(file, text);
    close(file);
    result
}

pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) -> Result {
    // SAFETY: all are C strings.
    check_int(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast())
    })
    .map(drop)
}

/// Attributes of `mount_setattr`.
pub(crate) mod attribute {
    pub(crate) const READ_ONLY: u64 = 1;
    pub(crate) const NO_SET_USER: u64 = 2;
    pub(crate) const NO_DEVICES: u64 = 4;
    pub(crate) const NO_EXECUTE: u64 = 8;
}

/// A detached copy of the mount at `source`.
pub(crate) fn open_tree(source: &CStr, recursive: bool) -> Result<RawFd> {
    const OPEN_TREE_CLONE: c_uint = 1;
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: `source` is a C string.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    check(tree).map(|descriptor| descriptor as RawFd)
}

/// Adds attributes to a detached tree and makes it private, so that nothing mounted on the host later appears in it.
pub(crate) fn restrict_tree(tree: RawFd, path: &CStr, attributes: u64, recursive: bool) -> Result {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let value =
        MountAttributes { set: attributes, clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` is a C string and the structure has the size that is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree,
            path.as_ptr(),
            flags,
            &raw const value,
            size_of::<MountAttributes>(),
        )
    };
    check(result).map(drop)
}

/// Attaches a detached tree at `target`.
pub(crate) fn move_mount(tree: RawFd, target: &CStr) -> Result {
    const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 4;
    // SAFETY: both are C strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree,
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}

/// Makes the working directory the root and detaches the old root.
pub(crate) fn pivot_to_working_directory() -> Result {
    // SAFETY: all are C strings.
    unsafe {
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check_int(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
    }
    change_directory(c"/")
}

pub(crate) fn change_directory(path: &CStr) -> Result {
    // SAFETY: `path` is a C string.
    check_int(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// Closes descriptors `first..=last`, or marks them to be closed on exec. An empty range is no error.
pub(crate) fn close_range(first: RawFd, last: RawFd, only_on_exec: bool) -> Result {
    const CLOSE_RANGE_CLOEXEC: c_uint = 4;
    if first > last {
        return Ok(());
    }
    let flags = if only_on_exec { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: takes no pointers; what is closed is a child's own copy.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as c_uint, last as c_uint, flags) }).map(drop)
}

/// Closes everything but `kept`, which must be sorted.
pub(crate) fn close_all_but(kept: &[RawFd]) -> Result {
    let mut first = 0;
    for &descriptor in kept {
        close_range(first, descriptor - 1, false)?;
        first = descriptor + 1;
    }
    close_range(first, RawFd::MAX, false)
}

/// Whether there is a capability of this number.
pub(crate) fn knows_capability(capability: u64) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) >= 0 }
}

/// A signal to a process by its descriptor.
pub(crate) fn signal_process(pidfd: BorrowedFd<'_>, signal: c_int) -> Result {
    // SAFETY: the optional structure is absent.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result).map(drop)
}

/// A descriptor for a process, a child of ours that was not reaped yet.
pub(crate) fn open_process(pid: pid_t) -> Result<OwnedFd> {
    // SAFETY: takes no pointers; the result is a new descriptor.
    unsafe { check(libc::syscall(libc::SYS_pidfd_open, pid, 0)).map(|fd| OwnedFd::from_raw_fd(fd as RawFd)) }
}

/// Reaps a child by its descriptor: whether it had ended.
pub(crate) fn reap(pidfd: BorrowedFd<'_>, block: bool) -> Result<bool> {
    const P_PIDFD: libc::idtype_t = 3;
    let mut flags = libc::WEXITED | libc::__WALL;
    if !block {
        flags |= libc::WNOHANG;
    }
    loop {
        // SAFETY: an all-zero siginfo_t is valid, and the call fills it in.
        let (result, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let result = libc::waitid(P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, flags);
            (result, info.si_pid())
        };
        match check_int(result) {
            Ok(_) => return Ok(pid != 0),
            Err(Errno(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// All signals blocked for this thread, until dropped. A child that is cloned meanwhile starts with them blocked, so
/// that no handler of the service ever runs in it.
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(crate) fn new() -> Self {
        // SAFETY: both sets are valid to be written; the calls cannot fail with these arguments.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by `new`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
