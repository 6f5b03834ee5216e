//! The environments of one version: its handle into the engine, made when first needed.
//!
//! Must not outlive the version's life in the state: a retired one never comes back.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use hothouse_execution::VersionHandle;

/// A version's place for its [`VersionHandle`]. Clones share it: they are the same version seen at other moments.
#[derive(Clone, Default)]
pub struct Environments(
    // Holds `None` once the version is retired, so that whoever still has it cannot start environments that nobody
    // would ever stop.
    Arc<OnceLock<Option<VersionHandle>>>,
);

impl Environments {
    /// The version's handle, made by `make` if there is none yet; nothing once the version is retired.
    pub(crate) fn handle(&self, make: impl FnOnce() -> VersionHandle) -> Option<&VersionHandle> {
        self.0.get_or_init(|| Some(make())).as_ref()
    }

    /// Whether these are the same version's: not another's in its place.
    pub(crate) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes no more invocations. Tells whether there ever were any.
    pub(crate) fn retire(&self) -> bool {
        let handle = self.0.get_or_init(|| None);
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
        f.write_str(match self.0.get() {
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
