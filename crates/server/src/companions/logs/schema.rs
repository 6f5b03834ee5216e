//! The tables of the log store.
//!
//! Must not know what is asked of them.

use rusqlite::Connection;

use super::database::StoreError;

/// Version of the schema, `user_version` of the file.
pub(super) const VERSION: i64 = 1;

/// Makes the tables, or finds them.
pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    // Must come before the first table. The rest is per connection.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // Logs may lose their last moments when the machine fails, not when the process does.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -4096)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::Newer { found });
    }
    if found == 0 {
        connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    Ok(())
}

const SCHEMA: &str = "
    CREATE TABLE log_group (
        id INTEGER PRIMARY KEY,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        retention_days INTEGER,
        class TEXT NOT NULL,
        tags TEXT NOT NULL,
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        UNIQUE (account, region, name)
    );
    CREATE TABLE log_stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        first_ms INTEGER,
        last_ms INTEGER,
        ingested_ms INTEGER,
        UNIQUE (group_id, name)
    );
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_id INTEGER NOT NULL,
        stream_id INTEGER NOT NULL,
        timestamp_ms INTEGER NOT NULL,
        ingested_ms INTEGER NOT NULL,
        message BLOB NOT NULL
    );
    CREATE INDEX event_of_group ON event (group_id, timestamp_ms);
    CREATE INDEX event_of_stream ON event (stream_id, timestamp_ms);
";
