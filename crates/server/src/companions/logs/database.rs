//! The log store's SQLite database: groups, streams, appends, retention and size.
//!
//! Must not be used but from the store's own thread. Queries for events are in `events`.

use std::{collections::HashMap, fs, io, path::Path, path::PathBuf};

use hothouse_api::name::{AccountId, Region};
use hothouse_execution::ports::{LogEvent, LogStream};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::schema;

/// Events that one step of a sweep or of an eviction deletes.
const STEP: i64 = 10_000;
/// Streams whose rows are remembered between appends.
const CACHED_STREAMS: usize = 4096;
/// What an event is counted for besides its message, as by AWS. Statements that count have the number, too.
const OVERHEAD: i64 = 26;
const DAY_MS: i64 = 86_400_000;

/// Whose groups: accounts and regions do not see one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The caller's account.
    pub(crate) account: AccountId,
    /// The region that the request was signed for.
    pub(crate) region: Region,
}

/// The store failed; the API answers 500 or 503.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file could not be made.
    #[error("create `{path}`")]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no database, or is locked.
    #[error("open the log database `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer Hothouse wrote the file.
    #[error("open the log database: it has version {found}, this Hothouse knows {}", schema::VERSION)]
    Newer {
        /// The file's version.
        found: i64,
    },
    /// The store's thread did not start.
    #[error("start the log store's thread")]
    Thread(#[source] io::Error),
    /// A statement failed.
    #[error("query the log database")]
    Query(#[from] rusqlite::Error),
    /// The store was closed.
    #[error("reach the log store: it is closed")]
    Closed,
}

/// What a call to the store found wrong, besides failures.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogsError {
    #[error("the log group does not exist")]
    GroupMissing,
    #[error("the log stream does not exist")]
    StreamMissing,
    #[error("the log group exists")]
    GroupExists,
    #[error("the log stream exists")]
    StreamExists,
    #[error("failed to use the log store")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for LogsError {
    fn from(error: rusqlite::Error) -> Self {
        LogsError::Store(error.into())
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredEvent {
    /// Grows with every event that is stored.
    pub(crate) id: i64,
    /// The stream's name.
    pub(crate) stream: String,
    /// When it happened, in milliseconds since the epoch.
    pub(crate) timestamp_ms: i64,
    /// When it was stored, in milliseconds since the epoch.
    pub(crate) ingested_ms: i64,
    /// Not necessarily UTF-8.
    pub(crate) message: Vec<u8>,
}

/// A row of `log_group`.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) created_ms: i64,
    pub(super) retention_days: Option<i64>,
    pub(super) class: String,
    pub(super) stored_bytes: i64,
}

impl Group {
    /// Events before this time count as deleted.
    pub(super) fn expired_before(&self, now_ms: i64) -> i64 {
        self.retention_days.map_or(0, |days| now_ms - days * DAY_MS)
    }
}

/// A row of `log_stream`.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) created_ms: i64,
    pub(super) first_ms: Option<i64>,
    pub(super) last_ms: Option<i64>,
    pub(super) ingested_ms: Option<i64>,
}

/// How `DescribeLogStreams` sorts and where it goes on.
#[derive(Debug, Clone)]
pub(super) struct StreamOrder {
    pub(super) by_last_event: bool,
    pub(super) descending: bool,
    /// Sort key and name of the last stream of the previous page.
    pub(super) after: Option<(i64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StreamKey {
    group: i64,
    stream: i64,
}

/// The connection and what is remembered beside it.
pub(super) struct Database {
    pub(super) connection: Connection,
    maximum_bytes: u64,
    streams: HashMap<LogStream, StreamKey>,
}

impl Database {
    pub(super) fn open(directory: Option<&Path>, maximum_bytes: u64) -> Result<Self, StoreError> {
        let connection = match directory {
            None => Connection::open_in_memory()?,
            Some(directory) => {
                fs::create_dir_all(directory)
                    .map_err(|source| StoreError::Create { path: directory.to_owned(), source })?;
                let path = directory.join("logs.db");
                Connection::open(&path)
                    .and_then(|connection| {
                        // The first read tells whether the file is a database at all.
                        connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
                        Ok(connection)
                    })
                    .map_err(|source| StoreError::Open { path, source })?
            }
        };
        schema::prepare(&connection)?;
        let database = Database { connection, maximum_bytes, streams: HashMap::new() };
        Ok(database)
    }

    // === groups ===

    pub(super) fn create_group(
        &mut self,
        scope: &Scope,
        name: &str,
        class: &str,
        tags: &str,
        now_ms: i64,
    ) -> Result<(), LogsError> {
        let inserted = self.connection.execute(
            "INSERT INTO log_group (account, region, name, created_ms, class, tags) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
            params![scope.account.to_string(), scope.region.to_string(), name, now_ms, class, tags],
        )?;
        if inserted == 0 { Err(LogsError::GroupExists) } else { Ok(()) }
    }

    pub(super) fn group(&self, scope: &Scope, name: &str) -> Result<Group, LogsError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT id, name, created_ms, retention_days, class, stored_bytes FROM log_group
                 WHERE account = ? AND region = ? AND name = ?",
            )?
            .query_row(params![scope.account.to_string(), scope.region.to_string(), name], group_row)
            .optional()?;
        found.ok_or(LogsError::GroupMissing)
    }

    /// Groups in the order of their names, after `after`.
    pub(super) fn groups(
        &self,
        scope: &Scope,
        accept: impl Fn(&Group) -> bool,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Group>, LogsError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, name, created_ms, retention_days, class, stored_bytes FROM log_group
             WHERE account = ? AND region = ? AND name > ? ORDER BY name",
        )?;
        let mut rows =
            statement.query(params![scope.account.to_string(), scope.region.to_string(), after])?;
        let mut groups = Vec::new();
        while groups.len() < limit
            && let Some(row) = rows.next()?
        {
            let group = group_row(row)?;
            if accept(&group) {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    pub(super) fn delete_group(&mut self, scope: &Scope, name: &str) -> Result<(), LogsError> {
        let group = self.group(scope, name)?;
        self.streams.clear();
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM event WHERE group_id = ?", [group.id])?;
        transaction.execute("DELETE FROM log_stream WHERE group_id = ?", [group.id])?;
        transaction.execute("DELETE FROM log_group WHERE id = ?", [group.id])?;
        transaction.commit()?;
        self.give_back_pages()?;
        Ok(())
    }

    pub(super) fn set_retention(
        &mut self,
        scope: &Scope,
        name: &str,
        days: Option<i64>,
        now_ms: i64,
    ) -> Result<(), LogsError> {
        let group = self.group(scope, name)?;
        self.connection
            .execute("UPDATE log_group SET retention_days = ? WHERE id = ?", params![days, group.id])?;
        self.delete_expired(now_ms)?;
        Ok(())
    }

    pub(super) fn tags(&self, scope: &Scope, name: &str) -> Result<String, LogsError> {
        let group = self.group(scope, name)?;
        Ok(self
            .connection
            .query_row("SELECT tags FROM log_group WHERE id = ?", [group.id], |row| row.get(0))?)
    }

    pub(super) fn set_tags(&mut self, scope: &Scope, name: &str, tags: &str) -> Result<(), LogsError> {
        let group = self.group(scope, name)?;
        self.connection.execute("UPDATE log_group SET tags = ? WHERE id = ?", params![tags, group.id])?;
        Ok(())
    }

    // === streams ===

    pub(super) fn create_stream(
        &mut self,
        scope: &Scope,
        group: &str,
        name: &str,
        now_ms: i64,
    ) -> Result<(), LogsError> {
        let group = self.group(scope, group)?;
        let inserted = self.connection.execute(
            "INSERT INTO log_stream (group_id, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            params![group.id, name, now_ms],
        )?;
        if inserted == 0 { Err(LogsError::StreamExists) } else { Ok(()) }
    }

    pub(super) fn stream(&self, group: &Group, name: &str) -> Result<Stream, LogsError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT id, name, created_ms, first_ms, last_ms, ingested_ms FROM log_stream
                 WHERE group_id = ? AND name = ?",
            )?
            .query_row(params![group.id, name], stream_row)
            .optional()?;
        found.ok_or(LogsError::StreamMissing)
    }

    /// A page of a group's streams, at most `limit`.
    pub(super) fn streams(
        &self,
        group: &Group,
        prefix: &str,
        order: &StreamOrder,
        limit: usize,
    ) -> Result<Vec<Stream>, LogsError> {
        let (direction, comparison) = if order.descending { ("DESC", "<") } else { ("ASC", ">") };
        let (behind, sorting) = if order.by_last_event {
            let key = "COALESCE(last_ms, created_ms)";
            (format!("({key}, name) {comparison} (?3, ?4)"), format!("{key} {direction}, name {direction}"))
        } else {
            (format!("name {comparison} ?4"), format!("name {direction}"))
        };
        let sql = format!(
            "SELECT id, name, created_ms, first_ms, last_ms, ingested_ms FROM log_stream
             WHERE group_id = ?1 AND substr(name, 1, length(?2)) = ?2 AND (?3 IS NULL OR {behind})
             ORDER BY {sorting} LIMIT ?5"
        );
        let (after_key, after_name) = match &order.after {
            Some((key, name)) => (Some(*key), name.as_str()),
            None => (None, ""),
        };
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement
            .query_map(params![group.id, prefix, after_key, after_name, limit as i64], stream_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn delete_stream(&mut self, scope: &Scope, group: &str, name: &str) -> Result<(), LogsError> {
        let group = self.group(scope, group)?;
        let stream = self.stream(&group, name)?;
        self.streams.clear();
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "UPDATE log_group SET stored_bytes = stored_bytes - COALESCE(
               (SELECT SUM(length(message) + 26) FROM event WHERE stream_id = ?1), 0) WHERE id = ?2",
            [stream.id, group.id],
        )?;
        transaction.execute("DELETE FROM event WHERE stream_id = ?", [stream.id])?;
        transaction.execute("DELETE FROM log_stream WHERE id = ?", [stream.id])?;
        transaction.commit()?;
        Ok(())
    }

    // === events in ===

    /// Appends in one transaction. Groups and streams come into being with their first event.
    pub(super) fn append<'a>(
        &mut self,
        batches: impl Iterator<Item = (&'a LogStream, &'a [LogEvent])>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let Database { connection, streams, .. } = self;
        if streams.len() > CACHED_STREAMS {
            streams.clear();
        }
        let transaction = connection.transaction()?;
        // Keys made in this transaction join the cache only once it is committed.
        let mut made = HashMap::new();
        let mut grown: HashMap<StreamKey, Growth> = HashMap::new();
        for (stream, events) in batches {
            let key = match streams.get(stream).or_else(|| made.get(stream)) {
                Some(key) => *key,
                None => {
                    let key = ensure_stream(&transaction, stream, now_ms)?;
                    made.insert(stream.clone(), key);
                    key
                }
            };
            grown.entry(key).or_default().add(insert(&transaction, key, events, now_ms)?);
        }
        for (key, growth) in grown {
            growth.note(&transaction, key, now_ms)?;
        }
        transaction.commit()?;
        streams.extend(made);
        Ok(())
    }

    /// `PutLogEvents`: group and stream must exist.
    pub(super) fn put(
        &mut self,
        group: &Group,
        stream: &Stream,
        events: &[LogEvent],
        now_ms: i64,
    ) -> Result<(), LogsError> {
        let transaction = self.connection.transaction()?;
        let key = StreamKey { group: group.id, stream: stream.id };
        insert(&transaction, key, events, now_ms)?.note(&transaction, key, now_ms)?;
        transaction.commit()?;
        Ok(())
    }

    // === events out of the store ===

    /// Deletes a portion of the events that are older than their group's retention; `true` if there may be more.
    pub(super) fn delete_expired(&mut self, now_ms: i64) -> Result<bool, StoreError> {
        let transaction = self.connection.transaction()?;
        let groups: Vec<(i64, i64)> = transaction
            .prepare_cached("SELECT id, retention_days FROM log_group WHERE retention_days IS NOT NULL")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut more = false;
        for (group, days) in groups {
            let expired = "SELECT id FROM event WHERE group_id = ?1 AND timestamp_ms < ?2
                           ORDER BY timestamp_ms, id LIMIT ?3";
            let before = now_ms - days * DAY_MS;
            transaction.execute(
                &format!(
                    "UPDATE log_group SET stored_bytes = stored_bytes - COALESCE(
                       (SELECT SUM(length(message) + 26) FROM event WHERE id IN ({expired})), 0) WHERE id = ?1"
                ),
                [group, before, STEP],
            )?;
            let deleted = transaction
                .execute(&format!("DELETE FROM event WHERE id IN ({expired})"), [group, before, STEP])?;
            more |= deleted as i64 == STEP;
        }
        transaction.commit()?;
        self.give_back_pages()?;
        Ok(more)
    }

    /// Deletes old events until the database is a tenth below its limit, if it is above; says how many went.
    pub(super) fn evict(&mut self) -> Result<u64, StoreError> {
        if self.used_bytes()? <= self.maximum_bytes {
            return Ok(0);
        }
        let target = self.maximum_bytes / 10 * 9;
        let mut evicted = 0;
        while self.used_bytes()? > target {
            let deleted = self.evict_step()?;
            if deleted == 0 {
                break;
            }
            evicted += deleted;
        }
        self.streams.clear();
        self.connection.execute(
            "DELETE FROM log_stream WHERE ingested_ms IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM event WHERE event.stream_id = log_stream.id)",
            [],
        )?;
        self.give_back_pages()?;
        Ok(evicted)
    }

    /// Deletes the oldest events of the largest group: whoever floods pays for it, and what others logged stays.
    fn evict_step(&mut self) -> Result<u64, StoreError> {
        let transaction = self.connection.transaction()?;
        let largest = transaction
            .prepare_cached("SELECT id, stored_bytes FROM log_group ORDER BY stored_bytes DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((group, stored)) = largest else { return Ok(0) };
        let oldest = "FROM event WHERE group_id = ?1 ORDER BY timestamp_ms, id LIMIT ?2";
        let (mut events, mut bytes) = (0, 0);
        {
            let mut statement =
                transaction.prepare_cached(&format!("SELECT length(message) + 26 {oldest}"))?;
            let mut rows = statement.query([group, STEP])?;
            // A tenth at a time: large events must not all go because small ones come in thousands.
            while bytes < stored / 10 + 1
                && let Some(row) = rows.next()?
            {
                events += 1;
                bytes += row.get::<_, i64>(0)?;
            }
        }
        let deleted = transaction
            .prepare_cached(&format!("DELETE FROM event WHERE id IN (SELECT id {oldest})"))?
            .execute([group, events])?;
        transaction
            .prepare_cached("UPDATE log_group SET stored_bytes = stored_bytes - ? WHERE id = ?")?
            .execute([bytes, group])?;
        transaction.commit()?;
        Ok(deleted as u64)
    }

    /// Bytes of the pages in use: what the file shrinks to when the free pages are given back.
    pub(super) fn used_bytes(&self) -> Result<u64, StoreError> {
        let value = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = value("page_count")? - value("freelist_count")?;
        Ok(u64::try_from(pages * value("page_size")?).unwrap_or(0))
    }

    fn give_back_pages(&self) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        // Every step gives back one page.
        while rows.next()?.is_some() {}
        Ok(())
    }
}

fn ensure_stream(
    transaction: &Transaction<'_>,
    stream: &LogStream,
    now_ms: i64,
) -> Result<StreamKey, rusqlite::Error> {
    let (account, region) = (stream.account.to_string(), stream.region.to_string());
    transaction
        .prepare_cached(
            "INSERT INTO log_group (account, region, name, created_ms, class, tags)
             VALUES (?, ?, ?, ?, 'STANDARD', '{}') ON CONFLICT DO NOTHING",
        )?
        .execute(params![account, region, stream.group, now_ms])?;
    let group = transaction
        .prepare_cached("SELECT id FROM log_group WHERE account = ? AND region = ? AND name = ?")?
        .query_row(params![account, region, stream.group], |row| row.get(0))?;
    transaction
        .prepare_cached(
            "INSERT INTO log_stream (group_id, name, created_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![group, stream.name, now_ms])?;
    let stream = transaction
        .prepare_cached("SELECT id FROM log_stream WHERE group_id = ? AND name = ?")?
        .query_row(params![group, stream.name], |row| row.get(0))?;
    Ok(StreamKey { group, stream })
}

/// Inserts events of one stream.
fn insert(
    transaction: &Transaction<'_>,
    key: StreamKey,
    events: &[LogEvent],
    now_ms: i64,
) -> Result<Growth, rusqlite::Error> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO event (group_id, stream_id, timestamp_ms, ingested_ms, message) VALUES (?, ?, ?, ?, ?)",
    )?;
    let mut growth = Growth::default();
    for event in events {
        let timestamp = event.timestamp_ms.max(0);
        growth
            .add(Growth { span: Some((timestamp, timestamp)), bytes: event.message.len() as i64 + OVERHEAD });
        statement.execute(params![key.group, key.stream, timestamp, now_ms, &event.message[..]])?;
    }
    Ok(growth)
}

/// What events add to their stream, and to its group: told once for all of them, which costs as much as one of them does.
#[derive(Debug, Default)]
struct Growth {
    /// The earliest and the latest event's time; none if there are no events.
    span: Option<(i64, i64)>,
    bytes: i64,
}

impl Growth {
    fn add(&mut self, other: Growth) {
        self.bytes += other.bytes;
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (one, other) => one.or(other),
        };
    }

    fn note(self, transaction: &Transaction<'_>, key: StreamKey, now_ms: i64) -> Result<(), rusqlite::Error> {
        let Some((first, last)) = self.span else { return Ok(()) };
        transaction
            .prepare_cached(
                "UPDATE log_stream SET first_ms = MIN(COALESCE(first_ms, ?1), ?1),
                   last_ms = MAX(COALESCE(last_ms, ?2), ?2), ingested_ms = ?3 WHERE id = ?4",
            )?
            .execute([first, last, now_ms, key.stream])?;
        transaction
            .prepare_cached("UPDATE log_group SET stored_bytes = stored_bytes + ? WHERE id = ?")?
            .execute([self.bytes, key.group])?;
        Ok(())
    }
}

fn group_row(row: &rusqlite::Row<'_>) -> Result<Group, rusqlite::Error> {
    Ok(Group {
        id: row.get(0)?,
        name: row.get(1)?,
        created_ms: row.get(2)?,
        retention_days: row.get(3)?,
        class: row.get(4)?,
        stored_bytes: row.get(5)?,
    })
}

fn stream_row(row: &rusqlite::Row<'_>) -> Result<Stream, rusqlite::Error> {
    Ok(Stream {
        id: row.get(0)?,
        name: row.get(1)?,
        created_ms: row.get(2)?,
        first_ms: row.get(3)?,
        last_ms: row.get(4)?,
        ingested_ms: row.get(5)?,
    })
}
