//! The SHUTDOWN phase: how the processes of an environment are ended.
//!
//! ```text
//!  begin ──▶ Runtime ──runtime ended, its share passed──▶ Extensions ──time passed──▶ Killed
//!     └─────────── without extensions, or with internal ones whose time passed ──────────▲
//! ```
//!
//! Pure, as the machine that it is a part of. Must not know which processes there are: the task says when all are gone.

use tokio::time::Instant;

use super::Action;
use crate::{environment::limits::ShutdownTime, extensions::ShutdownReason};

/// How far the end of the processes has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The runtime was asked to end. What is left until `all` is the extensions' time.
    Runtime { reason: ShutdownReason, until: Instant, all: Instant },
    /// The extensions were told.
    Extensions { until: Instant },
    /// All were killed.
    Killed,
}

impl Ending {
    /// Ends the processes: at once, or with the time that extensions have.
    pub(crate) fn begin(
        frozen: bool,
        reason: ShutdownReason,
        time: ShutdownTime,
        now: Instant,
    ) -> (Ending, Vec<Action>) {
        if time.total.is_zero() {
            return (Ending::Killed, vec![Action::Kill]);
        }
        let mut actions = vec![Action::Terminate];
        if frozen {
            actions.insert(0, Action::Thaw);
        }
        (Ending::Runtime { reason, until: now + time.runtime, all: now + time.total }, actions)
    }

    /// When [`Ending::tick`] has something to do.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Ending::Runtime { until, .. } | Ending::Extensions { until } => Some(until),
            Ending::Killed => None,
        }
    }

    /// The runtime's process is gone, or there was none; others are left.
    pub(crate) fn runtime_ended(self) -> (Ending, Vec<Action>) {
        match self {
            Ending::Runtime { reason, all, .. } => {
                (Ending::Extensions { until: all }, vec![Action::ShutDownExtensions { reason, until: all }])
            }
            Ending::Extensions { .. } | Ending::Killed => (self, vec![]),
        }
    }

    /// A deadline may have passed.
    pub(crate) fn tick(self, now: Instant) -> (Ending, Vec<Action>) {
        match self {
            Ending::Runtime { until, all, .. } if now >= until && until < all => {
                let (ending, mut actions) = self.runtime_ended();
                actions.insert(0, Action::KillRuntime);
                (ending, actions)
            }
            Ending::Runtime { until, .. } | Ending::Extensions { until } if now >= until => {
                (Ending::Killed, vec![Action::Kill])
            }
            Ending::Runtime { .. } | Ending::Extensions { .. } | Ending::Killed => (self, vec![]),
        }
    }
}
