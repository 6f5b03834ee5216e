//! What can go wrong, step by step.
//!
//! Must not hold policy: whether a failed step costs a feature is decided in `isolation`.

use std::{fmt, io, path::PathBuf};

/// A sandbox or a process could not be made; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A string of the request holds a zero byte, which no path, argument or variable can.
    #[error("failed to use {what}: it contains a zero byte")]
    ZeroByte {
        /// Which string.
        what: &'static str,
    },
    /// The command names no program.
    #[error("failed to find a program in an empty argument list")]
    NoProgram,
    /// A path must be absolute and without `..`.
    #[error("failed to use `{path}`: not a plain absolute path")]
    Path {
        /// What was given.
        path: PathBuf,
    },
    /// A file or directory could not be shown inside.
    #[error("failed to mount `{target}`")]
    Mount {
        /// Where it should have been, inside.
        target: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another step failed.
    #[error("failed to {step}")]
    Step {
        /// Which one.
        step: Step,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The machine does not give the isolation that was asked for.
    #[error("failed to isolate as asked: {missing}")]
    Level {
        /// What is missing.
        missing: String,
    },
}

impl SpawnError {
    pub(crate) fn step(step: Step) -> impl Fn(io::Error) -> Self {
        move |source| Self::Step { step, source }
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One step of setting up; its `Display` reads after "failed to".
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Step { $($(#[$doc])* $name,)* }

        impl Step {
            const ALL: &[Self] = &[$(Self::$name,)*];

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// Memory, pipes and threads of our own.
    Prepare = "prepare the set-up",
    /// `clone3`.
    Clone = "clone a process",
    /// The ordinary user's namespace in which we may mount.
    OuterUserNamespace = "create a user namespace",
    /// `unshare` or `setns` of a mount namespace.
    MountNamespace = "enter a mount namespace",
    /// Making or attaching a mount.
    Mount = "mount",
    /// `pivot_root`.
    Pivot = "change the root directory",
    /// `unshare` or `setns` of a network namespace.
    NetworkNamespace = "enter a network namespace",
    /// Bringing `lo` up.
    Loopback = "bring up the loopback interface",
    /// The rules and sockets for what leaves the network namespace.
    Egress = "prepare the way out of the network namespace",
    /// A listening socket inside.
    Listen = "listen inside the network namespace",
    /// A connection to what listens inside.
    Connect = "connect into the network namespace",
    /// Making a control group, or setting its limits.
    ControlGroup = "create a control group",
    /// Moving the tree into its control group.
    JoinControlGroup = "join the control group",
    /// Moving the program into the group that is frozen.
    JoinFreezer = "join the freezer",
    /// `/proc` of the tree.
    Proc = "mount `/proc`",
    /// `sethostname`.
    Hostname = "set the host name",
    /// `setrlimit`.
    Limits = "set resource limits",
    /// `setgroups`, `setresgid`, `setresuid`.
    Identity = "change user and group",
    /// The user namespace that the program runs in.
    UserNamespace = "enter a user namespace",
    /// Dropping capabilities.
    Capabilities = "drop capabilities",
    /// Loading the filter of system calls.
    Filter = "load the system call filter",
    /// Placing the program's descriptors.
    Descriptors = "arrange file descriptors",
    /// The working directory.
    Directory = "enter the working directory",
    /// Init's own preparations.
    Init = "prepare the init process",
    /// Copying a program that has come to rest.
    Copy = "copy a program",
    /// The program itself.
    Exec = "execute the program",
}

impl Step {
    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Init)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The program could not be executed. It never ran.
#[derive(Debug, thiserror::Error)]
#[error("failed to execute `{path}`: {kind}")]
pub struct ExecError {
    /// The program, as seen inside.
    pub path: PathBuf,
    /// Why, in the terms of a caller.
    pub kind: ExecErrorKind,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Why a program could not be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecErrorKind {
    /// There is no such file.
    NotFound,
    /// The file is there, but not the interpreter or loader that it names.
    InterpreterNotFound,
    /// Its permissions do not allow it, or it is no file.
    NotExecutable,
    /// It is of no format that this machine executes (another architecture, a script without `#!`).
    WrongFormat,
    /// Anything else; see the source.
    Other,
}

impl fmt::Display for ExecErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::InterpreterNotFound => "its interpreter was not found",
            Self::NotExecutable => "not executable",
            Self::WrongFormat => "not of an executable format",
            Self::Other => "refused by the system",
        })
    }
}
