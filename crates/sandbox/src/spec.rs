//! What a caller asks for: immutable input of templates, sandboxes and processes.
//!
//! Must not hold anything that the kernel gave us.

use std::{
    ffi::OsString,
    net::SocketAddrV4,
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
};

use crate::Level;

/// What all sandboxes of one kind have in common.
#[derive(Debug, Clone, Default)]
pub struct TemplateSpec {
    /// How much isolation is wanted.
    pub level: Level,
    /// Which network sandboxes will ask for: whether the machine can give it is found out once, here.
    pub network: Network,
    /// Whom programs run as.
    pub identity: Identity,
    /// Host files and directories to show besides the system's own (`/usr` and its like): interpreters, for example.
    pub mounts: Vec<Mount>,
    /// Directories to exist, empty, so that sandboxes can mount something there (`/var/task`).
    pub directories: Vec<PathBuf>,
    /// Files to exist with this content, in addition to or instead of ours (`/etc/hosts`, `/etc/resolv.conf`).
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The like, executable.
    pub programs: Vec<(PathBuf, Vec<u8>)>,
}

/// A host file or directory, shown inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
    /// Whether programs may write to it, as far as its permissions allow.
    pub writable: bool,
}

impl Mount {
    /// `source` seen read-only at `target`.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: false }
    }
}

/// The user that programs run as. Whatever its number, it has no privilege: who is root to himself is an unprivileged user
/// of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id, as programs see it.
    pub uid: u32,
    /// Group id, as programs see it.
    pub gid: u32,
    /// Name of user and group.
    pub name: String,
    /// Home directory, as `/etc/passwd` says.
    pub home: PathBuf,
}

impl Default for Identity {
    fn default() -> Self {
        Self { uid: 65534, gid: 65534, name: "nobody".into(), home: PathBuf::from("/") }
    }
}

/// What one sandbox has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Host directories to show at directories of the template.
    pub mounts: Vec<Mount>,
    /// Size of `/tmp`, in bytes. It lives as long as the sandbox.
    pub tmp_bytes: u64,
    /// What `gethostname` answers.
    pub hostname: String,
    /// Ceilings.
    pub limits: Limits,
    /// Which network programs see.
    pub network: Network,
    /// Where connections are accepted in a network of its own; see [`crate::Sandbox::take_sockets`]. At most three.
    pub listeners: Vec<SocketAddrV4>,
    /// Where datagrams are received in a network of its own. At most two.
    pub datagrams: Vec<SocketAddrV4>,
    /// Whether its program is to be copied into other sandboxes, by [`crate::Snapshot`]: users are kept for the copies, each
    /// of which sees its own processes only in `/proc`. Landlock restricts the copies, not the program.
    pub copied: bool,
}

/// Ceilings of one sandbox. `None` leaves a value as the service has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors of a process (`RLIMIT_NOFILE`).
    pub open_files: Option<Limit>,
    /// Processes and threads of the sandbox: `RLIMIT_NPROC`, counted in its user namespace, or without one its control
    /// group's count.
    pub processes: Option<u64>,
    /// Size of a core file, in bytes (`RLIMIT_CORE`).
    pub core_bytes: Option<Limit>,
    /// Memory that may be locked, in bytes (`RLIMIT_MEMLOCK`).
    pub locked_bytes: Option<Limit>,
    /// Stack of a main thread, in bytes (`RLIMIT_STACK`).
    pub stack_bytes: Option<Limit>,
    /// Memory of all processes together, in bytes. Needs a control group. The kernel counts what is in `/tmp` (page
    /// cache too, but that it can give up), so a ceiling for the processes alone must have room for `tmp_bytes` on top.
    pub memory_bytes: Option<u64>,
    /// Thousandths of one CPU that all processes together may use, as soon as [`crate::Sandbox::limit_cpu`] puts it into
    /// force. Needs a control group.
    pub cpu_millis: Option<u32>,
}

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// In force now.
    pub soft: u64,
    /// What a program may raise the soft limit to.
    pub hard: u64,
}

impl Limit {
    /// No limit.
    pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

    /// The same for both.
    pub const fn both(value: u64) -> Self {
        Self { soft: value, hard: value }
    }
}

/// Which network programs see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Their own: nothing but a loopback interface, with 127.0.0.1 and [`crate::GATEWAY`], and what listens there.
    Own,
    /// Their own, and what they send to the outside goes to [`crate::Egress`], whose owner relays it.
    Relayed,
}

/// A program to run. Its arguments and variables reach it by a message, which holds some 200 KB.
#[derive(Debug, Default)]
pub struct Command {
    /// The program, an absolute path as seen inside, and its arguments. The first entry is both.
    pub arguments: Vec<OsString>,
    /// The whole environment, `NAME` and value; nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Working directory, as seen inside.
    pub directory: PathBuf,
    /// Descriptors that the program gets, and under which number. Of 0, 1 and 2, those that are not
    /// named here are `/dev/null`.
    pub descriptors: Vec<(OwnedFd, RawFd)>,
}
