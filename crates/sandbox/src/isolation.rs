//! How much isolation was asked for, how much the machine gives, and how we find out: by trying.
//!
//! Must not guess from versions or files.

use std::fmt;

use crate::{Network, Template, TemplateSpec};

/// How much isolation is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// As much as the machine gives.
    #[default]
    Best,
    /// Everything; less is an error.
    Full,
    /// A process tree and a root directory of its own at least; less is an error.
    Partial,
    /// Plain processes.
    None,
}

/// How much isolation there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// Everything.
    Full,
    /// A process tree and a root directory of its own, but not these.
    Partial(Vec<Missing>),
    /// Plain processes: they are kept together and ended together, nothing else.
    None,
}

/// A part of full isolation that the machine does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// A user namespace for each environment; processes are counted per user of the host instead.
    UserNamespace,
    /// A network namespace for each environment.
    NetworkNamespace,
    /// A way out of that namespace (nftables with TPROXY).
    Egress,
    /// The filter of system calls.
    SystemCallFilter,
    /// A ceiling on the memory of all processes together, and the measure of it.
    MemoryLimit,
    /// A ceiling on the number of processes that holds for all of them together.
    ProcessLimit,
    /// A ceiling on the use of CPUs.
    CpuLimit,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserNamespace => "user namespace",
            Self::NetworkNamespace => "network namespace",
            Self::Egress => "way out of the network namespace",
            Self::SystemCallFilter => "system call filter",
            Self::MemoryLimit => "memory limit",
            Self::ProcessLimit => "process limit",
            Self::CpuLimit => "CPU limit",
        })
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Partial(missing) => write!(f, "partial (without {})", list(missing)),
            Self::None => f.write_str("none"),
        }
    }
}

pub(crate) fn list(missing: &[Missing]) -> String {
    missing.iter().map(Missing::to_string).collect::<Vec<_>>().join(", ")
}

/// What a sandbox of this level would have here, and which network if it wanted this one. Really makes one, and takes
/// some milliseconds.
pub fn probe(level: Level, network: Network) -> (Isolation, Network) {
    let wanted = if level == Level::None { Level::None } else { Level::Best };
    let spec = TemplateSpec { level: wanted, network, ..TemplateSpec::default() };
    match Template::create(spec) {
        Ok(template) => (template.isolation().clone(), template.network(network)),
        Err(_) => (Isolation::None, Network::Host),
    }
}

/// What the machine gives, as code that sets up asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) mode: Mode,
    pub(crate) user_namespace: bool,
    pub(crate) network_namespace: bool,
    /// Not even tried if no sandbox will want it.
    pub(crate) egress: bool,
    pub(crate) filter: bool,
    /// Control groups by which process trees are frozen.
    pub(crate) freezer: bool,
}

impl Features {
    /// Which network there is for who wants this one.
    pub(crate) fn network(self, wanted: Network) -> Network {
        match wanted {
            Network::Own if self.network_namespace => Network::Own,
            Network::Relayed if self.network_namespace && self.egress => Network::Relayed,
            Network::Host | Network::Own | Network::Relayed => Network::Host,
        }
    }

    /// Whether `RLIMIT_NPROC` counts the processes of one sandbox. It does in a user namespace, but the kernel exempts
    /// root, which the program stays, seen from outside, if we are root and had to make a namespace to mount.
    pub(crate) fn count_processes(self) -> bool {
        // SAFETY: takes no arguments and cannot fail.
        self.user_namespace && (self.mode == Mode::Privileged || unsafe { libc::geteuid() } != 0)
    }
}

/// With whose power mounts and namespaces are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Our own: we are root, or as good.
    Privileged,
    /// That of a user namespace which we made.
    Unprivileged,
    /// Nobody's: there are none.
    Plain,
}
