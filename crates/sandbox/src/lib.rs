//! Linux isolation of one process tree: the cage that an execution environment runs in.
//!
//! A [`Template`] is made once: the read-only root that many sandboxes share. A [`Sandbox`] is one environment's
//! part: its mounts, its `/tmp`, its network namespace, its control group. It outlives the processes that run in it,
//! one after another. A [`Process`] is one process tree under an init of ours.
//!
//! Nothing here knows Lambda, HTTP or an async runtime; a [`Process`] is waited for by polling its descriptor.
//!
//! ```text
//! service ── clone3 ──▶ init (pid 1: joins mounts and network, drops privileges) ── vfork, exec ──▶ program
//!    │ ▲                  │ reaps orphans; dies when the service does; its death is the tree's death
//!    │ └── status ────────┘
//!    └──── what to run, signals ───▶
//! ```

mod control_group;
mod entry;
mod error;
mod filter;
mod forget;
mod helper;
mod init;
mod isolation;
mod landlock;
mod launch;
mod mounts;
mod network;
mod nursery;
mod parcel;
mod process;
mod ready;
mod sandbox;
mod snapshot;
mod spec;
mod syscall;
mod template;
mod user_namespace;
mod zygote;

pub use error::{ExecError, ExecErrorKind, SpawnError, Step};
pub use isolation::{Isolation, Level, Missing, probe};
pub use network::{Arrival, Egress, Entrance, GATEWAY, Replies, Sockets};
pub use process::{Ending, Exit, Process};
pub use ready::Ready;
pub use sandbox::Sandbox;
pub use snapshot::{Snapshot, Unfit};
pub use spec::{Command, Identity, Limit, Limits, Mount, Network, SandboxSpec, TemplateSpec};
pub use template::Template;
pub use zygote::Zygote;
