//! Follows the file of `--debug-config`: what it says holds for environments that are made after it was saved.
//!
//! Must not decide what a file may say; `config::debug` does.

use std::path::{Path, PathBuf};

use hothouse_execution::debug::DebugFunctions;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};

use crate::config::debug::{self, Functions};

/// Follows the file until it is dropped.
#[derive(Debug)]
pub(crate) struct DebugFile {
    _watch: RecommendedWatcher,
    /// The one task that reads; it ends with this.
    _reader: JoinSet<()>,
}

impl DebugFile {
    /// Follows the file at `path`, which said `before`.
    ///
    /// # Errors
    /// The system does not tell of changes; a restart is then the way to have one noticed.
    pub(crate) fn follow(
        path: PathBuf,
        before: Functions,
        functions: DebugFunctions,
    ) -> notify::Result<DebugFile> {
        // One waiting message says everything: look again.
        let (sender, changes) = mpsc::channel(1);
        let mut watch = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let kind = event.map(|event| event.kind);
            if matches!(kind, Ok(EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_))) {
                let _ = sender.try_send(());
            }
        })?;
        // Editors put another file in the place of the old one, so the folder is what tells.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        watch.watch(folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
        let mut reader = JoinSet::new();
        reader.spawn(read_changes(path, before, functions, changes));
        Ok(DebugFile { _watch: watch, _reader: reader })
    }
}

async fn read_changes(
    path: PathBuf,
    before: Functions,
    functions: DebugFunctions,
    mut changes: mpsc::Receiver<()>,
) {
    // A file that is being written is wrong for a moment; whatever is wrong is told once.
    let (mut current, mut told) = (before, String::new());
    while changes.recv().await.is_some() {
        let file = path.clone();
        match spawn_blocking(move || debug::read(&file)).await {
            Ok(Ok(read)) => {
                told.clear();
                if read != current {
                    functions.replace(read.clone());
                    current = read;
                    tracing::info!(target: "hothouse::debugger", "functions to debug: {}", current.len());
                }
            }
            Ok(Err(error)) => {
                let error = hothouse_execution::chain(&error);
                if error != told {
                    tracing::warn!(error, "the debug configuration that was read before stays in force");
                    told = error;
                }
            }
            // The service ends.
            Err(_) => return,
        }
    }
}
