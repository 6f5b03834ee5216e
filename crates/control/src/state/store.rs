//! Where the state is kept.
//!
//! Must not interpret changes beyond writing them down.

use std::{fmt, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Change, State};

/// Keeps the state across restarts.
pub trait Store: Send + Sync + fmt::Debug {
    /// The state as of the last commit.
    ///
    /// # Errors
    /// If it cannot be read. Blocks.
    fn load(&self) -> Result<State, StoreError>;

    /// Keeps changes, all or none. They are durable when this returns. Commits that wait at the same time are made
    /// in the order of the calls, and cost one flush together.
    ///
    /// # Errors
    /// If they could not be kept; then they did not happen.
    fn commit(&self, changes: Arc<[Change]>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// Why the state could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("`{path}` is in use by another process")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error("`{path}` has format {found}, but this program knows formats up to {known}")]
    Format {
        /// The database.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// The database cannot be made.
    #[error("failed to create `{path}`")]
    Create {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The database cannot be opened.
    #[error("failed to open `{path}`")]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The writer's thread cannot be started.
    #[error("failed to start the store's thread")]
    Thread(#[source] Arc<std::io::Error>),
    /// The database cannot be read.
    #[error("failed to read the state")]
    Read(#[source] Arc<rusqlite::Error>),
    /// The database holds something that this program never writes.
    #[error("failed to understand the stored {what}")]
    Corrupt {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A change could not be written.
    #[error("failed to write the state")]
    Write(#[source] Arc<rusqlite::Error>),
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

/// Keeps nothing: the state ends with the process.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn load(&self) -> Result<State, StoreError> {
        Ok(State::default())
    }

    fn commit(&self, _: Arc<[Change]>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
