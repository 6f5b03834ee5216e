//! User namespaces: who is who in them, and how root makes one.
//!
//! Must not decide whom a sandbox shows.

use std::{
    ffi::{CStr, CString, c_int, c_void},
    fs::File,
    io::{self, Write},
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::{
    helper,
    spec::Identity,
    syscall::{self, Errno, SignalsBlocked},
};

/// Whom programs are outside that see themselves as root, where they have no user namespace of ours.
const UNPRIVILEGED: (u32, u32) = (993, 990);

/// Users and groups that no system gives to anyone else ("Users, groups, UIDs and GIDs on systemd systems").
const UNUSED: Range<u32> = 0x7000_0000..0x7fff_0000;

/// Where the users of copies are in the namespace of the program that they are copies of.
const COPIES: u32 = 0x1_0000;

/// Users for the copies of one program. A number comes again after so many copies.
const COPIES_OF_A_PROGRAM: u32 = 4096;

impl Identity {
    /// User and group id outside, where root has power: never root's.
    pub(crate) fn outside(&self) -> (u32, u32) {
        let outside = |id: u32, unprivileged: u32| if id == 0 { unprivileged } else { id };
        (outside(self.uid, UNPRIVILEGED.0), outside(self.gid, UNPRIVILEGED.1))
    }
}

/// Whom the programs of the next sandbox are outside. The kernel counts much by user (watches on files, timers,
/// message queues), so each sandbox has one of its own. Numbers come again after millions of sandboxes.
pub(crate) fn outsider() -> (u32, u32) {
    outsiders(1)
}

/// The first of so many.
fn outsiders(count: u32) -> (u32, u32) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    // Services that run beside each other begin far apart.
    let first = std::process::id().wrapping_mul(0x9e37_79b1);
    let number = first.wrapping_add(MADE.fetch_add(count, Relaxed)) % (UNUSED.end - UNUSED.start - count);
    (UNUSED.start + number, UNUSED.start + number)
}

/// The users and groups of a user namespace, and who they are outside.
#[derive(Debug)]
pub(crate) struct UserMap {
    users: CString,
    groups: CString,
}

impl UserMap {
    /// One user and one group: all that somebody without power may map.
    pub(crate) fn single(uid: u32, outer_uid: u32, gid: u32, outer_gid: u32) -> Self {
        Self { users: lines(&[(uid, outer_uid)]), groups: lines(&[(gid, outer_gid)]) }
    }

    /// For a program of this identity. The host's root is seen as root, so that files are whose they are on AWS, unless
    /// the program itself is root: then nobody else is.
    fn with_root(identity: &Identity, (uid, gid): (u32, u32)) -> Self {
        let pairs = |inner: u32, outer: u32| match inner {
            0 => lines(&[(0, outer)]),
            _ => lines(&[(0, 0), (inner, outer)]),
        };
        Self { users: pairs(identity.uid, uid), groups: pairs(identity.gid, gid) }
    }

    /// As [`UserMap::with_root`], with users for copies of the program.
    fn with_copies(identity: &Identity, outside: (u32, u32), first: (u32, u32)) -> Self {
        let Self { users, groups } = Self::with_root(identity, outside);
        let and_copies = |lines: CString, first: u32| {
            let mut lines = lines.into_bytes();
            lines.extend(format!("{COPIES} {first} {COPIES_OF_A_PROGRAM}\n").bytes());
            CString::new(lines).expect("numbers hold no zero byte")
        };
        Self { users: and_copies(users, first.0), groups: and_copies(groups, first.1) }
    }

    /// Maps the calling process, which has just entered a user namespace that it created. Async-signal-safe.
    pub(crate) fn write(&self) -> syscall::Result {
        let process = syscall::open(c"/proc/self", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let result = self.write_at(process);
        syscall::close(process);
        result
    }

    /// Maps the user namespace of a process, by its directory in `/proc`.
    fn write_at(&self, process: RawFd) -> syscall::Result {
        // Without this the kernel lets nobody unprivileged map a group: dropping a group could widen access.
        write_file_at(process, c"setgroups", b"deny")?;
        write_file_at(process, c"uid_map", self.users.to_bytes())?;
        write_file_at(process, c"gid_map", self.groups.to_bytes())
    }
}

fn lines(pairs: &[(u32, u32)]) -> CString {
    let text: String = pairs.iter().map(|(inner, outer)| format!("{inner} {outer} 1\n")).collect();
    CString::new(text).expect("numbers hold no zero byte")
}

fn write_file_at(directory: RawFd, name: &CStr, text: &[u8]) -> syscall::Result {
    let file = syscall::open_at(directory, name, libc::O_WRONLY)?;
    let result = syscall::write_all(file, text);
    syscall::close(file);
    result
}

/// As root: a new user namespace for programs of this identity, which belongs to whom they are `outside`.
///
/// To whom it belongs, the kernel charges what is used up in it (watches on files, pending signals): root must not be
/// short of them because of a function. Only who is outside may map more than himself, so a process is born in the
/// namespace and waits until it is mapped and held by a descriptor. It does nothing else, and has ended when this returns.
pub(crate) fn create(identity: &Identity, outside: (u32, u32)) -> io::Result<OwnedFd> {
    born_in(None, outside, &UserMap::with_root(identity, outside))
}

/// The like for a program that will be copied, and the first of the users that its copies are outside.
pub(crate) fn create_for_copies(
    identity: &Identity,
    outside: (u32, u32),
) -> io::Result<(OwnedFd, (u32, u32))> {
    let first = outsiders(COPIES_OF_A_PROGRAM);
    let made = born_in(None, outside, &UserMap::with_copies(identity, outside, first))?;
    Ok((made, first))
}

/// A user namespace for the copy of this number: in that of the program, whose user it belongs to, which is why the
/// kernel lets the copy in. Also says whom the copy is outside.
pub(crate) fn create_for_copy(
    parent: BorrowedFd<'_>,
    identity: &Identity,
    first: (u32, u32),
    number: u32,
) -> io::Result<(OwnedFd, (u32, u32))> {
    let number = number % COPIES_OF_A_PROGRAM;
    let map = UserMap::with_root(identity, (COPIES + number, COPIES + number));
    let made = born_in(Some(parent), (identity.uid, identity.gid), &map)?;
    Ok((made, (first.0 + number, first.1 + number)))
}

/// A new user namespace, in this one or in ours, which belongs to an owner who is in the outer one.
fn born_in(parent: Option<BorrowedFd<'_>>, owner: (u32, u32), map: &UserMap) -> io::Result<OwnedFd> {
    const STACK_BYTES: usize = 16 * 1024;

    let mut stacks: [Vec<u8>; 2] = std::array::from_fn(|_| Vec::with_capacity(STACK_BYTES));
    let [first, second] = &mut stacks;
    let top = (second.spare_capacity_mut().as_mut_ptr_range().end as usize & !0xf) as *mut c_void;
    let parent = parent.map(|parent| parent.as_raw_fd());
    let service = std::process::id();
    let mut birth = Birth { owner, stack: top, service, parent, map, born: Err(Errno(0)), mapped: Ok(()) };
    let inspectable = Inspectable::now();
    let blocked = SignalsBlocked::new();
    // Both share our memory, which spares copying page tables, and our descriptors, so that they keep none open.
    // SAFETY: `give_birth` is async-signal-safe, stack and argument outlive it, for which we wait.
    let parent = unsafe {
        let stack: &mut [MaybeUninit<u8>] = first.spare_capacity_mut();
        syscall::clone_on_stack(SHARED, stack, give_birth, (&raw mut birth).cast())
    };
    drop(blocked);
    let reaped = parent.map_err(io::Error::from).and_then(helper::wait);
    inspectable.restore();
    reaped?;
    let pid = birth.born?;
    let made = match birth.parent {
        Some(_) => birth.mapped.map_err(io::Error::from).and_then(|()| hold(pid)),
        None => map_and_hold(pid, map),
    };
    // SAFETY: takes no pointers. It is our child, and only we reap it.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    if let Err(error) = helper::wait(pid) {
        // It may be running still.
        std::mem::forget(stacks);
        return Err(error);
    }
    made
}

const SHARED: c_int = libc::CLONE_VM | libc::CLONE_FILES;

/// What the process that makes the namespace needs to know, and what it answers.
struct Birth<'a> {
    owner: (u32, u32),
    stack: *mut c_void,
    service: u32,
    /// The outer namespace, if it is not ours: then only who is in it may map users of it.
    parent: Option<RawFd>,
    map: &'a UserMap,
    born: syscall::Result<libc::pid_t>,
    mapped: syscall::Result,
}

/// Becomes the owner, with root's power still, and clones the process that is in the namespace.
extern "C" fn give_birth(birth: *mut c_void) -> c_int {
    // SAFETY: `create` passes one, and waits for our end.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    let (uid, gid) = birth.owner;
    let service = birth.service as usize as *mut c_void;
    if let Some(parent) = birth.parent
        && let Err(error) = syscall::setns(parent, libc::CLONE_NEWUSER)
    {
        birth.born = Err(error);
        return 0;
    }
    // SAFETY: the stack is that child's alone until it has been reaped. Raw system calls, because the C library's would
    // signal the service's other threads.
    let result = unsafe {
        syscall::check(libc::prctl(libc::PR_SET_SECUREBITS, libc::SECBIT_NO_SETUID_FIXUP, 0, 0, 0).into())
            .and_then(|_| syscall::check(libc::syscall(libc::SYS_setresgid, gid, gid, gid)))
            .and_then(|_| syscall::check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)))
            .and_then(|_| {
                let flags = SHARED | libc::CLONE_NEWUSER | libc::CLONE_PARENT;
                syscall::check(libc::clone(wait, birth.stack, flags, service).into())
            })
    };
    birth.born = result.map(|pid| pid as libc::pid_t);
    if let (Some(_), Ok(pid)) = (birth.parent, birth.born) {
        birth.mapped = map_from_outside(birth.map, pid);
    }
    0
}

/// In the outer namespace, as the owner of the inner one. Async-signal-safe.
fn map_from_outside(map: &UserMap, pid: libc::pid_t) -> syscall::Result {
    // Who changed user sees the files of his own processes as root's, unless they are dumpable.
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    let mut path = [0_u8; 32];
    let _ = write!(&mut path[..], "/proc/{pid}\0");
    let path = CStr::from_bytes_until_nul(&path).unwrap_or_default();
    let process = syscall::open(path, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let result = map.write_at(process);
    syscall::close(process);
    result
}

/// Ends with the service, should that be killed right now.
extern "C" fn wait(service: *mut c_void) -> c_int {
    // SAFETY: none of these calls takes a pointer.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        while libc::getppid() == service as usize as libc::pid_t {
            libc::pause();
        }
        libc::_exit(0)
    }
}

/// Whether our memory may be inspected. A child that shares it and becomes another user takes that from it.
pub(crate) struct Inspectable(bool);

impl Inspectable {
    pub(crate) fn now() -> Self {
        /// As it was in the beginning: now another thread may be where we are.
        static BEFORE: OnceLock<bool> = OnceLock::new();
        // SAFETY: takes no pointers.
        Self(*BEFORE.get_or_init(|| unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) } == 1))
    }

    pub(crate) fn restore(self) {
        if self.0 {
            // SAFETY: takes no pointers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
        }
    }
}

fn map_and_hold(pid: libc::pid_t, map: &UserMap) -> io::Result<OwnedFd> {
    let process = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(format!("/proc/{pid}"))?;
    map.write_at(process.as_raw_fd())?;
    hold(pid)
}

fn hold(pid: libc::pid_t) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_root_outside() {
        let map = |uid, gid| {
            let map = UserMap::with_root(&Identity { uid, gid, ..Identity::default() }, (7000, 8000));
            [map.users, map.groups].map(|lines| lines.into_string().unwrap())
        };
        assert_eq!(map(1000, 100), ["0 0 1\n1000 7000 1\n", "0 0 1\n100 8000 1\n"]);
        assert_eq!(map(0, 0), ["0 7000 1\n", "0 8000 1\n"]);
    }
}
