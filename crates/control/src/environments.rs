//! The environments of one version: its handle into the engine, made when first needed.
//!
//! Must not outlive the version's life in the state: a retired one never comes back.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

use hothouse_execution::{ProvisionedConcurrency, VersionHandle};

use crate::admission::Running;

/// A version's place for its [`VersionHandle`]. Clones share it: they are the same version seen at other moments.
#[derive(Clone, Default)]
pub struct Environments {
    shared: Arc<Shared>,
    /// Invocations that use what is provisioned for the version.
    running: Running,
}

#[derive(Default)]
struct Shared {
    /// Holds `None` once the version is retired, so that whoever still has it cannot start environments that nobody
    /// would ever stop.
    handle: OnceLock<Option<VersionHandle>>,
    /// When it was last invoked, in milliseconds since the epoch, if someone wants to know.
    used: AtomicI64,
}

impl Environments {
    /// The version's handle, made by `make` if there is none yet; nothing once the version is retired.
    pub(crate) fn handle(&self, make: impl FnOnce() -> VersionHandle) -> Option<&VersionHandle> {
        self.shared.handle.get_or_init(|| Some(make())).as_ref()
    }

    /// Notes that the version is invoked.
    pub(crate) fn touch(&self, now: i64) {
        self.shared.used.store(now, Ordering::Relaxed);
    }

    /// When it was last noted that the version is invoked, in milliseconds since the epoch.
    pub(crate) fn used(&self) -> i64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Invocations that use what is provisioned for the version.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// How far what is provisioned for the version is; nothing if it was never started, or is retired.
    pub(crate) fn provisioned(&self) -> Option<ProvisionedConcurrency> {
        self.shared.handle.get()?.as_ref().map(VersionHandle::provisioned)
    }

    /// Gives the version's snapshot back, if it has one.
    pub(crate) fn drop_snapshot(&self) {
        if let Some(Some(handle)) = self.shared.handle.get() {
            handle.drop_snapshot();
        }
    }

    /// Whether these are the same version's: not another's in its place.
    pub(crate) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Takes no more invocations. Tells whether there ever were any.
    pub(crate) fn retire(&self) -> bool {
        let handle = self.shared.handle.get_or_init(|| None);
        if let Some(handle) = handle {
            handle.retire();
        }
        handle.is_some()
    }
}

/// Environments say nothing about what a version is.
impl PartialEq for Environments {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Environments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.shared.handle.get() {
            None => "Environments(none yet)",
            Some(Some(_)) => "Environments(started)",
            Some(None) => "Environments(retired)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_version_starts_nothing_whoever_still_has_it() {
        let environments = Environments::default();
        let held_by_an_invocation = environments.clone();
        assert!(!environments.retire(), "nothing ever ran");
        assert!(held_by_an_invocation.handle(|| unreachable!("a handle that nobody would retire")).is_none());
    }
}
