//! The state in an SQLite database: a row for each function, version, alias, setting, queued event and other
//! resource.
//!
//! One thread owns the connection and commits what waits together, so that one flush serves all who wait for it.
//! Must not be used by two processes at once: it locks the database for as long as it lives.

mod read;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use futures_util::future::BoxFuture;
use hothouse_api::name::RequestId;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::{Change, EventContent, State, Store, StoreError, model::FunctionKey};

/// The format that this program writes. A change of tables or of what is in them appends a step to [`UPGRADES`].
const FORMAT: u32 = UPGRADES.len() as u32;

/// Step `n` turns format `n` into format `n + 1`; an empty database has format 0.
const UPGRADES: [&str; 6] = [
    "
    CREATE TABLE function (
        id INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        next_version INTEGER NOT NULL,
        tags TEXT NOT NULL,
        reserved_concurrency INTEGER,
        UNIQUE (account, region, name)
    ) STRICT;
    -- Number 0 is $LATEST.
    CREATE TABLE version (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        number INTEGER NOT NULL,
        revision_id TEXT NOT NULL,
        last_modified INTEGER NOT NULL,
        status TEXT NOT NULL,
        description TEXT,
        code TEXT NOT NULL,
        configuration TEXT NOT NULL,
        PRIMARY KEY (function, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alias (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        description TEXT NOT NULL,
        additional_version INTEGER,
        weight REAL,
        revision_id TEXT NOT NULL,
        PRIMARY KEY (function, name)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE setting (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        kind TEXT NOT NULL,
        -- Empty if it is the function's as a whole.
        qualifier TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (function, kind, qualifier)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE resource (
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        id TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (account, region, id)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE event (
        function INTEGER NOT NULL REFERENCES function ON DELETE CASCADE,
        request_id TEXT NOT NULL,
        -- Empty if the caller gave none.
        qualifier TEXT NOT NULL,
        payload BLOB NOT NULL,
        trace TEXT NOT NULL,
        accepted INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due INTEGER NOT NULL,
        UNIQUE (function, request_id)
    ) STRICT;
",
    "
    -- NULL if the caller named none.
    ALTER TABLE event ADD COLUMN tenant_id TEXT;
",
    "
    -- The tables stay. From here on number 9223372036854775807, the highest, is $LATEST.PUBLISHED, and a version's status
    -- may be Idle, Restoring, Deactivating, Deactivated or Deleting.
",
    "
    -- What the function answered last: all three or none.
    ALTER TABLE event ADD COLUMN answer_version INTEGER;
    ALTER TABLE event ADD COLUMN answer_failed INTEGER;
    ALTER TABLE event ADD COLUMN answer BLOB;
    -- NULL as long as it is attempted.
    ALTER TABLE event ADD COLUMN outcome TEXT;
    ALTER TABLE event ADD COLUMN recipients TEXT NOT NULL DEFAULT '[]';
",
];

/// So many commits may wait; more wait to be let in.
const QUEUE: usize = 1024;

/// Keeps the state in an SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Commit { changes: Arc<[Change]>, reply: oneshot::Sender<Committed> },
    EventContent { key: FunctionKey, id: RequestId, reply: oneshot::Sender<ContentResult> },
    Load { reply: std::sync::mpsc::SyncSender<Result<State, StoreError>> },
}

/// How a transaction ended. Waking a task of another thread costs more than the rest of a commit does: the first who
/// waits is woken, and tells the others that their changes were in the same one, also if it does not wait any more.
#[derive(Debug)]
struct Committed {
    result: Result<(), StoreError>,
    others: Vec<oneshot::Sender<Committed>>,
}

impl Drop for Committed {
    fn drop(&mut self) {
        for other in self.others.drain(..) {
            // Whoever stopped waiting does not need to know.
            let _ = other.send(Committed { result: self.result.clone(), others: Vec::new() });
        }
    }
}

type ContentResult = Result<Option<EventContent>, StoreError>;

impl SqliteStore {
    /// Opens a database, making it if need be, and brings it to the newest format. Blocks.
    ///
    /// # Errors
    /// If it is in use, was written by a newer program, or does not work.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, |_| Ok(()))
    }

    /// `adjust` sees the connection before it is used.
    pub(super) fn open_with(
        path: &Path,
        adjust: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Self, StoreError> {
        let connection = connect(path)?;
        adjust(&connection)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) })?;
        let (requests, inbox) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || serve(connection, inbox))
            .map_err(|error| StoreError::Thread(Arc::new(error)))?;
        Ok(Self { path: path.to_owned(), requests: Some(requests), thread: Some(thread) })
    }

    /// The database.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store for SqliteStore {
    fn load(&self) -> Result<State, StoreError> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        // At start nothing else waits, so there is room.
        requests.try_send(Request::Load { reply }).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    fn commit(&self, changes: Arc<[Change]>) -> BoxFuture<'static, Result<(), StoreError>> {
        let requests = self.requests.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let requests = requests.ok_or(StoreError::Closed)?;
            requests.send(Request::Commit { changes, reply }).await.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?.result.clone()
        })
    }

    fn event_content(&self, key: FunctionKey, id: RequestId) -> BoxFuture<'static, ContentResult> {
        let requests = self.requests.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let requests = requests.ok_or(StoreError::Closed)?;
            let request = Request::EventContent { key, id, reply };
            requests.send(request).await.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Without senders the thread ends after the last request, and the database is unlocked.
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open_error = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::InUse { path: path.to_owned() }
        }
        _ => StoreError::Open { path: path.to_owned(), source: Arc::new(source) },
    };
    make_private(path)
        .map_err(|source| StoreError::Create { path: path.to_owned(), source: Arc::new(source) })?;
    let mut connection = Connection::open(path).map_err(open_error)?;
    // Whoever holds the lock holds it for long: waiting would not help. Exclusive from the first access on, so that
    // the write-ahead log needs no shared memory file.
    connection.busy_timeout(std::time::Duration::ZERO).map_err(open_error)?;
    connection
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
             COMMIT;",
        )
        .map_err(open_error)?;
    connection.set_prepared_statement_cache_capacity(32);

    let found: u32 = connection
        .query_row(
            "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE name = 'format'",
            [],
            |row| row.get(0),
        )
        .map_err(open_error)?;
    if found > FORMAT {
        return Err(StoreError::Format { path: path.to_owned(), found, known: FORMAT });
    }
    // One transaction for all steps: a crash leaves the old format or the new one.
    let transaction = connection.transaction().map_err(open_error)?;
    for step in &UPGRADES[found as usize..] {
        transaction.execute_batch(step).map_err(open_error)?;
    }
    transaction
        .execute("INSERT OR REPLACE INTO meta VALUES ('format', ?1)", [FORMAT.to_string()])
        .map_err(open_error)?;
    transaction.commit().map_err(open_error)?;
    Ok(connection)
}

/// Makes the database if it is not there. It holds functions' environment variables, which are its owner's alone; SQLite
/// gives the files beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// The store's thread.
fn serve(mut connection: Connection, mut inbox: mpsc::Receiver<Request>) {
    let mut batch = Vec::new();
    while inbox.blocking_recv_many(&mut batch, QUEUE) > 0 {
        let mut waiting = Vec::new();
        let mut reads = Vec::new();
        let mut loads = Vec::new();
        for request in batch.drain(..) {
            match request {
                Request::Commit { changes, reply } => waiting.push((changes, reply)),
                Request::EventContent { key, id, reply } => reads.push((key, id, reply)),
                Request::Load { reply } => loads.push(reply),
            }
        }
        if !waiting.is_empty() {
            let result =
                write::write(&mut connection, waiting.iter().flat_map(|(changes, _)| changes.iter()));
            let result = result.map_err(|error| StoreError::Write(Arc::new(error)));
            let mut replies = waiting.into_iter().map(|(_, reply)| reply);
            if let Some(first) = replies.next() {
                // Nobody takes what it cannot be sent: it tells the others as it is dropped.
                let _ = first.send(Committed { result, others: replies.collect() });
            }
        }
        for (key, id, reply) in reads {
            let _ = reply.send(read::event_content(&connection, &key, id));
        }
        for reply in loads {
            let _ = reply.send(read::read(&connection));
        }
    }
}
