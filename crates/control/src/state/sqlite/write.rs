//! Changes on their way into the database.
//!
//! Must not look at what is there: an event that fits nothing changes nothing.

use hothouse_api::name::{self, Qualifier, RequestId};
use rusqlite::{Connection, Transaction, named_params};
use serde::Serialize;

use crate::state::{
    Change, Event, ResourceEvent, SettingKind,
    model::{
        FunctionKey, Scope, Version,
        queued::{Answer, Content},
    },
};

/// Writes changes down, all or none.
pub(super) fn write<'a>(
    connection: &mut Connection,
    changes: impl Iterator<Item = &'a Change>,
) -> rusqlite::Result<()> {
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
            let name::Version::Number(number) = version.version else { return Ok(()) };
            run(
                "UPDATE function SET next_version = :next
                 WHERE account = :account AND region = :region AND name = :name",
                named_params! { ":next": number.cast_signed() + 1 },
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
        Event::VersionDeleted { version } => {
            delete_settings(run, &Qualifier::from(*version))?;
            run(
            "DELETE FROM version WHERE number = :number AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":number": row_number(*version) },
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
        Event::Queued { id, event } => run(
            "INSERT OR REPLACE INTO event
                 (function, request_id, qualifier, tenant_id, payload, trace, accepted, attempts, due)
             SELECT id, :id, :qualifier, :tenant, :payload, :trace, :accepted, :attempts, :due FROM function
             WHERE account = :account AND region = :region AND name = :name",
            named_params! {
                ":id": id.to_string(),
                ":qualifier": qualifier_text(event.qualifier.as_ref()),
                ":tenant": event.tenant_id,
                ":payload": content(&event.payload)?,
                ":trace": event.trace,
                ":accepted": event.accepted,
                ":attempts": event.attempts,
                ":due": event.due,
            },
        ),
        Event::Postponed { id, attempts, answer, due } => {
            run(
                "UPDATE event SET attempts = :attempts, due = :due WHERE request_id = :id AND function =
                     (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
                named_params! { ":id": id.to_string(), ":attempts": attempts, ":due": due },
            )?;
            write_answer(run, *id, answer)
        }
        Event::Concluded { id, attempts, answer, outcome, recipients } => {
            run(
                "UPDATE event SET attempts = :attempts, outcome = :outcome, recipients = :recipients
                 WHERE request_id = :id AND function =
                     (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
                named_params! {
                    ":id": id.to_string(),
                    ":attempts": attempts,
                    ":outcome": json(outcome)?,
                    ":recipients": json(recipients)?,
                },
            )?;
            answer.as_ref().map_or(Ok(()), |answer| write_answer(run, *id, answer))
        }
        Event::Reported { id, left } => run(
            "UPDATE event SET recipients = :recipients WHERE request_id = :id AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":id": id.to_string(), ":recipients": json(left)? },
        ),
        Event::Dequeued { id } => run(
            "DELETE FROM event WHERE request_id = :id AND function =
                 (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
            named_params! { ":id": id.to_string() },
        ),
    }
}

const DELETE_FUNCTION: &str =
    "DELETE FROM function WHERE account = :account AND region = :region AND name = :name";

/// Deletes what was set for a version or an alias. A URL stays known beyond its alias; versions have none.
fn delete_settings(
    run: impl Fn(&str, &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<()>,
    of: &Qualifier,
) -> rusqlite::Result<()> {
    run(
        "DELETE FROM setting WHERE qualifier = :qualifier AND kind <> :url AND function =
             (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
        named_params! { ":qualifier": of.to_string(), ":url": json(&SettingKind::Url)? },
    )
}

/// Writes down what the function answered to an event.
fn write_answer(
    run: impl Fn(&str, &[(&str, &dyn rusqlite::ToSql)]) -> rusqlite::Result<()>,
    id: RequestId,
    answer: &Answer,
) -> rusqlite::Result<()> {
    run(
        "UPDATE event SET answer_version = :version, answer_failed = :failed, answer = :answer
         WHERE request_id = :id AND function =
             (SELECT id FROM function WHERE account = :account AND region = :region AND name = :name)",
        named_params! {
            ":id": id.to_string(),
            ":version": row_number(answer.version),
            ":failed": answer.failed,
            ":answer": content(&answer.payload)?,
        },
    )
}

/// The bytes. A change that is written has them.
fn content(content: &Content) -> rusqlite::Result<&[u8]> {
    let missing = || rusqlite::Error::ToSqlConversionFailure("an event without its bytes".into());
    content.bytes().map(|bytes| &bytes[..]).ok_or_else(missing)
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

/// `$LATEST.PUBLISHED` in tables: `$LATEST` is to come first of all.
pub(super) const LATEST_PUBLISHED: i64 = i64::MAX;

fn row_number(version: name::Version) -> i64 {
    match version {
        name::Version::Latest => 0,
        name::Version::LatestPublished => LATEST_PUBLISHED,
        name::Version::Number(number) => number.cast_signed(),
    }
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
