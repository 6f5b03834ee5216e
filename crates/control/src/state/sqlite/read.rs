//! The state on its way out of the database.
//!
//! Must not repair anything: what this program never writes is an error.

use std::{str::FromStr, sync::Arc};

use bytes::Bytes;
use hothouse_api::name::{self, RequestId};
use rusqlite::{Connection, OptionalExtension};
use serde::de::DeserializeOwned;

use super::write::LATEST_PUBLISHED;
use crate::{
    environments::Environments,
    state::{
        EventContent, Resource, Setting, SettingKey, State, StoreError,
        model::{
            AdditionalVersion, Alias, Function, FunctionKey, Scope, Version,
            queued::{Answer, Content, QueuedEvent},
        },
    },
};

/// The state as the database has it.
pub(super) fn read(connection: &Connection) -> Result<State, StoreError> {
    let mut functions = read_functions(connection)?;
    read_versions(connection, &mut functions)?;
    read_aliases(connection, &mut functions)?;
    read_settings(connection, &mut functions)?;
    read_events(connection, &mut functions)?;
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
            version: version_of(number),
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
                    latest_published: None,
                    versions: Default::default(),
                    next_version: stored.next_version,
                    aliases: Default::default(),
                    tags: from_json("tags", &stored.tags)?,
                    reserved_concurrency: stored.reserved_concurrency,
                    settings: Default::default(),
                    queue: Default::default(),
                    running: Default::default(),
                    slots: Default::default(),
                    meters: Default::default(),
                });
            }
            Some(function) if number == LATEST_PUBLISHED => function.latest_published = Some(version),
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
            version: version_of(version),
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

fn read_events(connection: &Connection, functions: &mut [StoredFunction]) -> Result<(), StoreError> {
    // What stays in the store is not read: a length is told without looking at the bytes.
    let mut statement = connection
        .prepare(
            "SELECT function, request_id, qualifier, tenant_id, trace, accepted, attempts, due, outcome, recipients,
                 CASE WHEN length(payload) <= ?1 THEN payload END,
                 answer_version, answer_failed, CASE WHEN length(answer) <= ?1 THEN answer END
             FROM event",
        )
        .map_err(read_error)?;
    let mut rows = statement.query([Content::LARGEST_HELD as i64]).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
        let content = |index| {
            let bytes: Option<Vec<u8>> = row.get(index).map_err(read_error)?;
            Ok::<_, StoreError>(bytes.map_or(Content::Stored, |bytes| Content::Here(bytes.into())))
        };
        let function = function_of(functions, row.get(0).map_err(read_error)?, "event")?;
        let outcome: Option<String> = row.get(8).map_err(read_error)?;
        let version: Option<i64> = row.get(11).map_err(read_error)?;
        let answer = match version {
            Some(number) => Some(Answer {
                version: version_of(number),
                failed: row.get(12).map_err(read_error)?,
                payload: content(13)?,
            }),
            None => None,
        };
        let event = QueuedEvent {
            qualifier: match text(2).map_err(read_error)? {
                "" => None,
                text => Some(parse("qualifier", text)?),
            },
            tenant_id: row.get(3).map_err(read_error)?,
            payload: content(10)?,
            trace: row.get(4).map_err(read_error)?,
            accepted: row.get(5).map_err(read_error)?,
            attempts: row.get(6).map_err(read_error)?,
            due: row.get(7).map_err(read_error)?,
            answer,
            outcome: outcome.map(|outcome| from_json("outcome", &outcome)).transpose()?,
            recipients: from_json("recipients", text(9).map_err(read_error)?)?,
        };
        function.queue.insert(parse("request id", text(1).map_err(read_error)?)?, Arc::new(event));
    }
    Ok(())
}

/// The bytes of an event and of what the function answered to it, if they are there.
pub(super) fn event_content(
    connection: &Connection,
    key: &FunctionKey,
    id: RequestId,
) -> Result<Option<EventContent>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT payload, answer FROM event WHERE request_id = ?1 AND function =
                 (SELECT id FROM function WHERE account = ?2 AND region = ?3 AND name = ?4)",
        )
        .map_err(read_error)?;
    let (account, region) = (key.scope.account.to_string(), key.scope.region.as_str());
    statement
        .query_row((id.to_string(), account, region, key.name.as_str()), |row| {
            let (payload, answer): (Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            Ok(EventContent { payload: payload.into(), answer: answer.map(Bytes::from) })
        })
        .optional()
        .map_err(read_error)
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

fn version_of(row_number: i64) -> name::Version {
    match row_number {
        0 => name::Version::Latest,
        LATEST_PUBLISHED => name::Version::LatestPublished,
        number => name::Version::Number(number.cast_unsigned()),
    }
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
