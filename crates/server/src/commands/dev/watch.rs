//! Notices changes in the folders that functions come from.
//!
//! Must not say what changed: deploying compares, and leaves alone what is as it was.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::mpsc, time::Instant};

use super::{package::SKIPPED, plan::Plan};

/// Editors and build tools write several files, or one in several steps.
const QUIET: Duration = Duration::from_millis(150);

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    changes: mpsc::Receiver<()>,
    /// When something changed last that [`Watcher::changed`] has not told yet.
    pending: Option<Instant>,
    /// Ends the watch when it is dropped.
    _watch: RecommendedWatcher,
}

impl Watcher {
    /// Watches the folder, and code that the plan takes from elsewhere.
    pub(super) fn start(folder: &Path, plan: &Plan) -> notify::Result<Self> {
        // One waiting message says everything: look again.
        let (sender, changes) = mpsc::channel(1);
        let mut watch = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event)) {
                let _ = sender.try_send(());
            }
        })?;
        let outside = plan.functions.iter().filter_map(|function| function.code.folder());
        let folders: BTreeSet<&Path> = outside.map(PathBuf::as_path).chain([folder]).collect();
        for folder in folders {
            watch.watch(folder, RecursiveMode::Recursive)?;
        }
        Ok(Self { changes, pending: None, _watch: watch })
    }

    /// Returns when something changed and no more changes come. May be dropped and called again: nothing is lost, and
    /// the wait goes on where it was.
    pub(super) async fn changed(&mut self) {
        loop {
            let change = match self.pending {
                None => self.changes.recv().await,
                Some(last) => match tokio::time::timeout_at(last + QUIET, self.changes.recv()).await {
                    Ok(change) => change,
                    Err(_) => {
                        self.pending = None;
                        return;
                    }
                },
            };
            match change {
                Some(()) => self.pending = Some(Instant::now()),
                None => return std::future::pending().await,
            }
        }
    }
}

fn matters(event: &Event) -> bool {
    let is_change = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
    let is_packed = |path: &PathBuf| {
        !path.components().any(|part| SKIPPED.iter().any(|&skipped| part.as_os_str() == skipped))
    };
    is_change && event.paths.iter().any(is_packed)
}
