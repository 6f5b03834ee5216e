//! The state in an SQLite database: a row for each function, version, alias, setting and other resource.
//!
//! One thread owns the connection and commits what waits together, so that one flush serves all who wait for it.
//! Must not be used by two processes at once: it locks the database for as long as it lives.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use futures_util::future::BoxFuture;
use hothouse_api::name::{self, Qualifier};
use rusqlite::{Connection, ErrorCode, Transaction, named_params};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

use super::{
    Change, Event, Resource, ResourceEvent, Setting, SettingKey, State, Store, StoreError,
    model::{AdditionalVersion, Alias, Function, FunctionKey, Scope, Version},
};
use crate::environments::Environments;

/// The format that this program writes. A change of tables or of what is in them appends a step to [`UPGRADES`].
const FORMAT: u32 = UPGRADES.len() as u32;

/// Step `n` turns format `n` into format `n + 1`; an empty database has format 0.
const UPGRADES: [&str; 2] = [
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
    Commit { changes: Arc<[Change]>, reply: oneshot::Sender<Result<(), StoreError>> },
    Load { reply: std::sync::mpsc::SyncSender<Result<State, StoreError>> },
}

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
        let mut loads = Vec::new();
        for request in batch.drain(..) {
            match request {
                Request::Commit { changes, reply } => waiting.push((changes, reply)),
                Request::Load { reply } => loads.push(reply),
            }
        }
        if !waiting.is_empty() {
            let result = write(&mut connection, waiting.iter().flat_map(|(changes, _)| changes.iter()));
            let result = result.map_err(|error| StoreError::Write(Arc::new(error)));
            for (_, reply) in waiting {
                // Whoever stopped waiting does not need to know.
                let _ = reply.send(result.clone());
            }
        }
        for reply in loads {
            let _ = reply.send(read(&connection));
        }
    }
}

// === Writing ===

fn write<'a>(connection: &mut Connection, changes: impl Iterator<Item = &'a Change>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        write_change(&transaction, change)?;
    }
    // An error here, as any before, rolls back the whole.
    transaction.commit()
}

fn write_change(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Function { key, event } => write_event(transaction, key, event),
        Change::Resource { scope, event } => write_resource(transaction, scope, event),
    }
}

fn write_resource(
    transaction: &Transaction<'_>,
    scope: &Scope,
    event: &ResourceEvent,
) -> rusqlite::Result<()> {
    let (account, region) = (scope.account.to_string(), scope.region.as_str());
    match event {
        ResourceEvent::Put { id, resource } => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO resource (account, region, id, value) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((account, region, json(id)?, json(&**resource)?)),
        ResourceEvent::Deleted { id } => transaction
            .prepare_cached("DELETE FROM resource WHERE account = ?1 AND region = ?2 AND id = ?3")?
            .execute((account, region, json(id)?)),
    }
    .map(drop)
}

fn write_event(transaction: &Transaction<'_>, key: &FunctionKey, event: &Event) -> rusqlite::Result<()> {
    let (account, region, name) =
        (key.scope.account.to_string(), key.scope.region.as_str(), key.name.as_str());
    let run = |sql: &str, values: &[(&str, &dyn rusqlite::ToSql)]| {
        let mut all: Vec<(&str, &dyn rusqlite::ToSql)> =
            vec![(":account", &account), (":region", &region), (":name", &name)];
        all.extend_from_slice(values);
        transaction.prepare_cached(sql)?.execute(&*all).map(drop)
    };
    match event {
        Event::Created { latest, tags } => {
            run(DELETE_FUNCTION, &[])?;
            run(
                "INSERT INTO function (account, region, name, next_version, tags)
                 VALUES (:account, :region, :name, 1, :tags)",
                named_params! { ":tags": json(tags)? },
            )?;
            write_version(run, latest)
        }
        Event::Updated { latest } => write_version(run, latest),
        Event::Published { version } => {
            write_version(run, version)?;
            run(
                "UPDATE function SET next_version = :next
                 WHERE account = :account AND region = :region AND name = :name",
                named_params! { ":next": row_number(version.version) + 1 },
            )
        }
        Event::Amended { version, status, revision_id } => run(
            "UPDATE version SET status = :status, revision_id = :revision WHERE number = :number AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! {
                ":status": json(status)?,
                ":revision": revision_id.to_string(),
                ":number": row_number(*version),
            },
        ),
        Event::VersionDeleted { number } => {
            delete_settings(run, &Qualifier::Version(*number))?;
            run(
            "DELETE FROM version WHERE number = :number AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":number": number.cast_signed() },
            )
        }
        Event::Deleted => run(DELETE_FUNCTION, &[]),
        Event::AliasPut { name, alias } => run(
            "INSERT OR REPLACE INTO alias
                 (function, name, version, description, additional_version, weight, revision_id)
             SELECT id, :alias, :version, :description, :additional, :weight, :revision FROM function
             WHERE account = :account AND region = :region AND name = :name",
            named_params! {
                ":alias": name.as_str(),
                ":version": row_number(alias.version),
                ":description": alias.description,
                ":additional": alias.additional.map(|additional| additional.number.cast_signed()),
                ":weight": alias.additional.map(|additional| additional.weight),
                ":revision": alias.revision_id.to_string(),
            },
        ),
        Event::AliasDeleted { name } => {
            delete_settings(run, &Qualifier::Alias(name.clone()))?;
            run(
            "DELETE FROM alias WHERE name = :alias AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":alias": name.as_str() },
            )
        }
        Event::Tagged { tags } => run(
            "UPDATE function SET tags = :tags WHERE account = :account AND region = :region AND name = :name",
            named_params! { ":tags": json(tags)? },
        ),
        Event::SettingPut { qualifier, setting } => run(
            "INSERT OR REPLACE INTO setting (function, kind, qualifier, value)
             SELECT id, :kind, :qualifier, :value FROM function
             WHERE account = :account AND region = :region AND name = :name",
            named_params! {
                ":kind": json(&setting.kind())?,
                ":qualifier": qualifier_text(qualifier.as_ref()),
                ":value": json(&**setting)?,
            },
        ),
        Event::SettingRemoved { qualifier, kind } => run(
            "DELETE FROM setting WHERE kind = :kind AND qualifier = :qualifier AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":kind": json(kind)?, ":qualifier": qualifier_text(qualifier.as_ref()) },
        ),
        Event::ConcurrencyReserved { executions } => run(
            "UPDATE function SET reserved_concurrency = :executions
             WHERE account = :account AND region = :region AND name = :name",
            named_params! { ":executions": executions },
        ),
    }
}

const DELETE_FUNCTION: &str =
    "DELETE FROM function WHERE account = :account AND region = :region AND name = :name";

/// Deletes what was set for a version or an alias.
fn delete_settings(
    run: impl Fn(&str, &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<()>,
    of: &Qualifier,
) -> rusqlite::Result<()> {
    run(
        "DELETE FROM setting WHERE qualifier = :qualifier AND function =
             (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
        named_params! { ":qualifier": of.to_string() },
    )
}

fn qualifier_text(qualifier: Option<&Qualifier>) -> String {
    qualifier.map(Qualifier::to_string).unwrap_or_default()
}

fn write_version(
    run: impl Fn(&str, &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<()>,
    version: &Version,
) -> rusqlite::Result<()> {
    run(
        "INSERT OR REPLACE INTO version
             (function, number, revision_id, last_modified, status, description, code, configuration)
         SELECT id, :number, :revision, :modified, :status, :description, :code, :configuration FROM function
         WHERE account = :account AND region = :region AND name = :name",
        named_params! {
            ":number": row_number(version.version),
            ":revision": version.revision_id.to_string(),
            ":modified": version.last_modified,
            ":status": json(&version.status)?,
            ":description": version.description,
            ":code": json(&version.code)?,
            ":configuration": json(&version.configuration)?,
        },
    )
}

fn row_number(version: name::Version) -> i64 {
    match version {
        name::Version::Latest => 0,
        name::Version::Number(number) => number.cast_signed(),
    }
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

// === Reading ===

fn read(connection: &Connection) -> Result<State, StoreError> {
    let mut functions = read_functions(connection)?;
    read_versions(connection, &mut functions)?;
    read_aliases(connection, &mut functions)?;
    read_settings(connection, &mut functions)?;
    let mut state = State::default();
    for StoredFunction { key, function, .. } in functions {
        state.restore(&key, function.ok_or_else(|| corrupt("function", "it has no $LATEST"))?);
    }
    read_resources(connection, &mut state)?;
    Ok(state)
}

/// A row of `function`; its versions are read later.
struct StoredFunction {
    id: i64,
    key: FunctionKey,
    next_version: u64,
    tags: String,
    reserved_concurrency: Option<u32>,
    function: Option<Function>,
}

/// In the order of ids, as the other tables are read.
fn read_functions(connection: &Connection) -> Result<Vec<StoredFunction>, StoreError> {
    let mut statement = connection
        .prepare(
            "SELECT id, account, region, name, next_version, tags, reserved_concurrency FROM function ORDER BY id",
        )
        .map_err(read_error)?;
    let mut rows = statement.query([]).map_err(read_error)?;
    let mut functions = Vec::new();
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        functions.push(StoredFunction {
            id: row.get(0).map_err(read_error)?,
            key: FunctionKey {
                scope: Scope {
                    account: parse("account", text(1).map_err(read_error)?)?,
                    region: parse("region", text(2).map_err(read_error)?)?,
                },
                name: parse("function name", text(3).map_err(read_error)?)?,
            },
            next_version: row.get::<_, i64>(4).map_err(read_error)?.cast_unsigned(),
            tags: row.get(5).map_err(read_error)?,
            reserved_concurrency: row.get(6).map_err(read_error)?,
            function: None,
        });
    }
    Ok(functions)
}

fn read_versions(connection: &Connection, functions: &mut [StoredFunction]) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare(
            "SELECT function, number, revision_id, last_modified, status, description, code, configuration
             FROM version ORDER BY function, number",
        )
        .map_err(read_error)?;
    let mut rows = statement.query([]).map_err(read_error)?;
    let mut functions = functions.iter_mut().peekable();
    // Most versions of a function have one configuration: it is parsed, and kept, once.
    let mut before: (String, Option<Arc<_>>) = Default::default();
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let id: i64 = row.get(0).map_err(read_error)?;
        let number: i64 = row.get(1).map_err(read_error)?;
        let configuration = text(7).map_err(read_error)?;
        let configuration = match &before {
            (same, Some(parsed)) if same == configuration => Arc::clone(parsed),
            _ => {
                let parsed = Arc::new(from_json("configuration", configuration)?);
                before = (configuration.to_owned(), Some(Arc::clone(&parsed)));
                parsed
            }
        };
        let version = Arc::new(Version {
            version: if number == 0 {
                name::Version::Latest
            } else {
                name::Version::Number(number.cast_unsigned())
            },
            revision_id: parse("revision", text(2).map_err(read_error)?)?,
            last_modified: row.get(3).map_err(read_error)?,
            status: from_json("status", text(4).map_err(read_error)?)?,
            description: row.get(5).map_err(read_error)?,
            configuration,
            code: from_json("code", text(6).map_err(read_error)?)?,
            environments: Environments::default(),
        });
        while functions.peek().is_some_and(|function| function.id < id) {
            functions.next();
        }
        let stored = functions.peek_mut().ok_or_else(|| corrupt("version", "it belongs to no function"))?;
        match &mut stored.function {
            None => {
                stored.function = Some(Function {
                    latest: version,
                    versions: Default::default(),
                    next_version: stored.next_version,
                    aliases: Default::default(),
                    tags: from_json("tags", &stored.tags)?,
                    reserved_concurrency: stored.reserved_concurrency,
                    settings: Default::default(),
                    running: Default::default(),
                });
            }
            Some(function) => drop(function.versions.insert(number.cast_unsigned(), version)),
        }
    }
    Ok(())
}

fn read_aliases(connection: &Connection, functions: &mut [StoredFunction]) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare(
            "SELECT function, name, version, description, additional_version, weight, revision_id
             FROM alias ORDER BY function",
        )
        .map_err(read_error)?;
    let mut rows = statement.query([]).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let id: i64 = row.get(0).map_err(read_error)?;
        let version: i64 = row.get(2).map_err(read_error)?;
        let additional = (row.get::<_, Option<i64>>(4), row.get::<_, Option<f64>>(5));
        let alias = Alias {
            version: if version == 0 {
                name::Version::Latest
            } else {
                name::Version::Number(version.cast_unsigned())
            },
            description: row.get(3).map_err(read_error)?,
            additional: match (additional.0.map_err(read_error)?, additional.1.map_err(read_error)?) {
                (Some(number), Some(weight)) => {
                    Some(AdditionalVersion { number: number.cast_unsigned(), weight })
                }
                _ => None,
            },
            revision_id: parse("revision", text(6).map_err(read_error)?)?,
        };
        let function = function_of(functions, id, "alias")?;
        function.aliases.insert(parse("alias", text(1).map_err(read_error)?)?, Arc::new(alias));
    }
    Ok(())
}

fn read_settings(connection: &Connection, functions: &mut [StoredFunction]) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare("SELECT function, qualifier, value FROM setting ORDER BY function")
        .map_err(read_error)?;
    let mut rows = statement.query([]).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let function = function_of(functions, row.get(0).map_err(read_error)?, "setting")?;
        let qualifier = match text(1).map_err(read_error)? {
            "" => None,
            text => Some(parse("qualifier", text)?),
        };
        let setting: Setting = from_json("setting", text(2).map_err(read_error)?)?;
        function.settings.insert(SettingKey { kind: setting.kind(), qualifier }, Arc::new(setting));
    }
    Ok(())
}

fn read_resources(connection: &Connection, state: &mut State) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare("SELECT account, region, id, value FROM resource").map_err(read_error)?;
    let mut rows = statement.query([]).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let scope = Scope {
            account: parse("account", text(0).map_err(read_error)?)?,
            region: parse("region", text(1).map_err(read_error)?)?,
        };
        let id = from_json("resource's name", text(2).map_err(read_error)?)?;
        let resource: Resource = from_json("resource", text(3).map_err(read_error)?)?;
        state.put_resource(&scope, id, Arc::new(resource));
    }
    Ok(())
}

/// The function that a row belongs to.
fn function_of<'a>(
    functions: &'a mut [StoredFunction],
    id: i64,
    what: &'static str,
) -> Result<&'a mut Function, StoreError> {
    functions
        .binary_search_by_key(&id, |function| function.id)
        .ok()
        .and_then(|index| functions[index].function.as_mut())
        .ok_or_else(|| corrupt(what, "it belongs to no function"))
}

fn read_error(error: rusqlite::Error) -> StoreError {
    StoreError::Read(Arc::new(error))
}

fn corrupt(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Corrupt { what, source: source.into().into() }
}

fn parse<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error| corrupt(what, error))
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(what, error))
}
