//! Where the state is kept.
//!
//! Must not interpret changes beyond writing them down.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::name::RequestId;

use super::{Change, Event, State, model::FunctionKey};

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

    /// The bytes of a queued event, some of which the state may not have; none if there is no such event.
    ///
    /// # Errors
    /// If they cannot be read.
    fn event_content(
        &self,
        key: FunctionKey,
        id: RequestId,
    ) -> BoxFuture<'static, Result<Option<EventContent>, StoreError>>;
}

/// The bytes of a queued event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventContent {
    /// The event.
    pub payload: Bytes,
    /// What the function answered last, if that is kept.
    pub answer: Option<Bytes>,
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

/// Keeps what the state leaves to it, and ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Mutex<HashMap<FunctionKey, HashMap<RequestId, EventContent>>>,
}

impl Store for MemoryStore {
    fn load(&self) -> Result<State, StoreError> {
        Ok(State::default())
    }

    fn commit(&self, changes: Arc<[Change]>) -> BoxFuture<'static, Result<(), StoreError>> {
        let mut contents = self.contents();
        for change in &*changes {
            let Change::Function { key, event } = change else { continue };
            match event {
                Event::Queued { id, event } => {
                    let payload = event.payload.bytes().cloned().unwrap_or_default();
                    let content = EventContent { payload, answer: None };
                    contents.entry(key.clone()).or_default().insert(*id, content);
                }
                Event::Postponed { id, answer, .. } | Event::Concluded { id, answer: Some(answer), .. } => {
                    if let Some(content) = contents.get_mut(key).and_then(|events| events.get_mut(id)) {
                        content.answer = answer.payload.bytes().cloned();
                    }
                }
                Event::Dequeued { id } => {
                    if let Some(events) = contents.get_mut(key) {
                        events.remove(id);
                    }
                }
                Event::Created { .. } | Event::Deleted => drop(contents.remove(key)),
                _ => {}
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn event_content(
        &self,
        key: FunctionKey,
        id: RequestId,
    ) -> BoxFuture<'static, Result<Option<EventContent>, StoreError>> {
        let content = self.contents().get(&key).and_then(|events| events.get(&id)).cloned();
        Box::pin(std::future::ready(Ok(content)))
    }
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, HashMap<FunctionKey, HashMap<RequestId, EventContent>>> {
        // Nothing that is done under this lock can leave the map half-changed.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
