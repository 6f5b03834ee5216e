//! Landlock: a second lock on the file system, for a program that finds a way around its mounts.
//!
//! Where the kernel has it, a program can write below a few directories only, whatever it mounts or reaches, and neither
//! connect to abstract sockets nor send signals to anyone outside. It must not be what a promise depends on: without it
//! isolation is complete, so it is never reported as missing, and no failure of it keeps a program from running.
//! Async-signal-safe but for [`Rules::new`].

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::RawFd,
};

use libc::c_long;

use crate::syscall::{self, Errno};

pub(crate) const CREATE_RULESET: c_long = 444;
pub(crate) const ADD_RULE: c_long = 445;
pub(crate) const RESTRICT_SELF: c_long = 446;

const ASK_VERSION: u32 = 1;
pub(crate) const PATH_BENEATH: u32 = 1;

/// Versions of the interface: before this one, truncating could not be restricted.
const TRUNCATING: c_long = 3;
/// Since this one, sockets and signals can.
const SCOPES: c_long = 6;

/// Rights to a file system, in the kernel's order of bits.
mod right {
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const REMOVE_DIRECTORY: u64 = 1 << 4;
    pub(super) const REMOVE_FILE: u64 = 1 << 5;
    pub(super) const MAKE_CHARACTER_DEVICE: u64 = 1 << 6;
    pub(super) const MAKE_DIRECTORY: u64 = 1 << 7;
    pub(super) const MAKE_FILE: u64 = 1 << 8;
    pub(super) const MAKE_SOCKET: u64 = 1 << 9;
    pub(super) const MAKE_PIPE: u64 = 1 << 10;
    pub(super) const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
    pub(super) const MAKE_LINK: u64 = 1 << 12;
    /// Renaming and linking across directories. Unlike the others it is refused everywhere unless it is handled.
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
}

/// All that changes something. Reading, executing and requests to devices stay as they are.
const WRITING: u64 = right::WRITE_FILE
    | right::REMOVE_DIRECTORY
    | right::REMOVE_FILE
    | right::MAKE_CHARACTER_DEVICE
    | right::MAKE_DIRECTORY
    | right::MAKE_FILE
    | right::MAKE_SOCKET
    | right::MAKE_PIPE
    | right::MAKE_BLOCK_DEVICE
    | right::MAKE_LINK
    | right::REFER
    | right::TRUNCATE;

/// What a rule for something that is no directory may grant.
const WRITING_FILES: u64 = right::WRITE_FILE | right::TRUNCATE;

/// Abstract sockets, and signals.
const SCOPED: u64 = 1 | 1 << 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

impl Ruleset {
    /// As it is in memory.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.files, self.network, self.scoped].map(u64::to_ne_bytes).concat()
    }

    /// How much of it this kernel knows.
    pub(crate) fn size(&self) -> usize {
        if self.scoped == 0 { size_of::<u64>() } else { size_of::<Self>() }
    }
}

/// A rule that a directory, opened as `parent`, may be written below, as it is in memory.
pub(crate) fn beneath(parent: RawFd) -> Vec<u8> {
    [&WRITING.to_ne_bytes()[..], &parent.to_ne_bytes()].concat()
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

/// Directories below which every program may write: the memory file systems, and what the kernel shows of the program.
const ALWAYS: [&CStr; 3] = [c"/tmp", c"/dev", c"/proc"];

/// Below which directories a program may write, as it sees them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    writable: Vec<CString>,
}

impl Rules {
    /// Where every program may write, and these.
    pub(crate) fn new(also: Vec<CString>) -> Self {
        let mut writable: Vec<CString> = ALWAYS.map(CString::from).into();
        writable.extend(also);
        Self { writable }
    }

    /// The paths, if all are known to be directories.
    pub(crate) fn directories(&self) -> Option<impl Iterator<Item = &CStr>> {
        (self.writable.len() == ALWAYS.len()).then(|| self.writable.iter().map(CString::as_c_str))
    }

    /// Where they are in memory.
    pub(crate) fn memory(&self) -> impl Iterator<Item = usize> {
        let paths = self.writable.iter().map(|path| path.as_ptr() as usize);
        paths.chain([self.writable.as_ptr() as usize])
    }

    /// Restricts the calling thread and what it becomes, if the kernel can and everything succeeds; whether it did.
    /// Needs `no_new_privs`, and must come before a filter that knows nothing of Landlock.
    pub(crate) fn enforce(&self) -> bool {
        let Some(ruleset) = ruleset() else { return false };
        // SAFETY: the structure is at least as large as is said.
        let made = unsafe { libc::syscall(CREATE_RULESET, &raw const ruleset, ruleset.size(), 0_u32) };
        let Ok(made) = syscall::check(made) else { return false };
        let made = made as RawFd;
        let enforced = self.writable.iter().try_for_each(|path| allow(made, path)).and_then(|()| {
            // SAFETY: takes no pointers.
            syscall::check(unsafe { libc::syscall(RESTRICT_SELF, made, 0_u32) }).map(drop)
        });
        syscall::close(made);
        enforced.is_ok()
    }
}

/// A process that makes system calls for us.
pub(crate) trait Hands {
    /// Makes this one; its result.
    fn call(&mut self, number: c_long, arguments: &[u64]) -> io::Result<u64>;
    /// Puts these bytes in its memory until the next are put there; where they are.
    fn put(&mut self, bytes: &[u8]) -> io::Result<u64>;
}

impl Rules {
    /// As [`Rules::enforce`], for a process that makes the calls for us. An error if it is not restricted.
    pub(crate) fn enforce_by(&self, hands: &mut impl Hands) -> io::Result<()> {
        let ruleset = ruleset().ok_or(io::ErrorKind::Unsupported)?;
        let structure = hands.put(&ruleset.bytes())?;
        let made = hands.call(CREATE_RULESET, &[structure, ruleset.size() as u64, 0])?;
        for path in &self.writable {
            let path = hands.put(path.as_bytes_with_nul())?;
            let mut open = |flags: i32| {
                let flags = flags | libc::O_PATH | libc::O_CLOEXEC;
                hands.call(libc::SYS_openat, &[libc::AT_FDCWD as u64, path, flags as u64, 0])
            };
            let (parent, allowed) = match open(libc::O_DIRECTORY) {
                Ok(directory) => (directory, WRITING),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => (open(0)?, WRITING_FILES),
                Err(error) => return Err(error),
            };
            let mut rule = allowed.to_ne_bytes().to_vec();
            rule.extend((parent as i32).to_ne_bytes());
            let rule = hands.put(&rule)?;
            hands.call(ADD_RULE, &[made, PATH_BENEATH.into(), rule, 0])?;
            hands.call(libc::SYS_close, &[parent])?;
        }
        hands.call(RESTRICT_SELF, &[made, 0])?;
        hands.call(libc::SYS_close, &[made]).map(drop)
    }
}

/// What is restricted here, if the kernel can.
pub(crate) fn ruleset() -> Option<Ruleset> {
    // SAFETY: without a structure the kernel only answers its version.
    let version = unsafe { libc::syscall(CREATE_RULESET, std::ptr::null::<Ruleset>(), 0_usize, ASK_VERSION) };
    ruleset_of(version)
}

/// What is restricted with this version of the interface.
fn ruleset_of(version: c_long) -> Option<Ruleset> {
    let scoped = if version >= SCOPES { SCOPED } else { 0 };
    (version >= TRUNCATING).then_some(Ruleset { files: WRITING, network: 0, scoped })
}

fn allow(ruleset: RawFd, path: &CString) -> syscall::Result {
    let parent = syscall::open(path, libc::O_PATH, 0)?;
    let allowed = match syscall::open(path, libc::O_PATH | libc::O_DIRECTORY, 0) {
        Ok(directory) => {
            syscall::close(directory);
            WRITING
        }
        Err(Errno(libc::ENOTDIR)) => WRITING_FILES,
        Err(error) => {
            syscall::close(parent);
            return Err(error);
        }
    };
    let rule = Beneath { allowed, parent };
    // SAFETY: the structure is what this kind of rule is.
    let added = unsafe { libc::syscall(ADD_RULE, ruleset, PATH_BENEATH, &raw const rule, 0_u32) };
    syscall::close(parent);
    syscall::check(added).map(drop)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn structures_are_the_kernels() {
        assert_eq!((size_of::<Ruleset>(), size_of::<Beneath>()), (24, 12));
        assert_eq!((offset_of!(Ruleset, network), offset_of!(Ruleset, scoped)), (8, 16));
        assert_eq!((offset_of!(Beneath, allowed), offset_of!(Beneath, parent)), (0, 8));
        // Everything known to version 3 but executing, and reading files and directories.
        assert_eq!(WRITING, ((1 << 15) - 1) & !(1 | 1 << 2 | 1 << 3));
    }

    #[test]
    fn each_version_is_asked_for_what_it_knows() {
        // Errors, and versions that could be got around.
        for version in [-1, 0, 1, 2] {
            assert_eq!(ruleset_of(version), None);
        }
        let without = Ruleset { files: 0x7ff2, network: 0, scoped: 0 };
        for version in 3..6 {
            assert_eq!(ruleset_of(version).map(|ruleset| (ruleset, ruleset.size())), Some((without, 8)));
        }
        for version in 6..10 {
            let with = Ruleset { scoped: 3, ..without };
            assert_eq!(ruleset_of(version).map(|ruleset| (ruleset, ruleset.size())), Some((with, 24)));
        }
    }
}
