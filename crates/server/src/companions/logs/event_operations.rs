//! The operations that write and read log events.
//!
//! Must not know SQL.

use bytes::Bytes;
use hothouse_execution::ports::LogEvent;
use serde_json::{Map, Value, json};

use super::{
    database::{Group, LogsError, Scope, StoredEvent, StreamOrder},
    events::{Direction, Page, Position, Range, Selection},
    filter::FilterPattern,
    input::{Input, constraint, missing},
    operations::ApiError,
    store::LogStore,
};

/// Events of a group that one step of a search looks at. Between steps, other requests have their turn.
const SEARCH_STEP: usize = 20_000;
/// Steps of one request; a search that needs more answers with a token.
const SEARCH_STEPS: usize = 50;
const HOUR_MS: i64 = 3_600_000;
/// The answer of AWS since sequence tokens have no meaning any more.
pub(super) const SEQUENCE_TOKEN: &str = "49590302938740892348978923489234897823489723489723489723";

// === events in ===

pub(super) async fn put_log_events(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let (group, stream) = (input.group_name()?.to_owned(), input.stream_name()?.to_owned());
    let events = new_events(input)?;
    let now = store.now_ms();
    let rejected = store
        .run(move |database| -> Result<_, LogsError> {
            let group = database.group(&scope, &group)?;
            let stream = database.stream(&group, &stream)?;
            let (accepted, rejected) = sort_out(&events, group.expired_before(now), now);
            database.put(&group, &stream, accepted, now)?;
            Ok(rejected)
        })
        .await?;
    let mut output = json!({ "nextSequenceToken": SEQUENCE_TOKEN });
    if !rejected.is_empty() {
        output["rejectedLogEventsInfo"] = Value::Object(rejected);
    }
    Ok(output)
}

fn new_events(input: &Input) -> Result<Vec<LogEvent>, ApiError> {
    let items = match input.value("logEvents") {
        None => return Err(missing("logEvents")),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ApiError::serialization("`logEvents` is not a list")),
    };
    if items.is_empty() {
        return Err(constraint("logEvents", "[]", "Member must have length greater than or equal to 1"));
    }
    if items.len() > 10_000 {
        return Err(constraint("logEvents", "[...]", "Member must have length less than or equal to 10000"));
    }
    let mut events = Vec::with_capacity(items.len());
    let mut total = 0;
    for (index, item) in items.iter().enumerate() {
        let member = |name: &str| format!("logEvents.{}.member.{name}", index + 1);
        let timestamp_ms = match item.get("timestamp").filter(|value| !value.is_null()) {
            None => return Err(missing(&member("timestamp"))),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| ApiError::serialization("`timestamp` of a log event is not an integer"))?,
        };
        if timestamp_ms < 0 {
            let value = timestamp_ms.to_string();
            let rule = "Member must have value greater than or equal to 0";
            return Err(constraint(&member("timestamp"), &value, rule));
        }
        let message = match item.get("message").filter(|value| !value.is_null()) {
            None => return Err(missing(&member("message"))),
            Some(value) => value
                .as_str()
                .ok_or_else(|| ApiError::serialization("`message` of a log event is not a string"))?,
        };
        if message.is_empty() {
            let rule = "Member must have length greater than or equal to 1";
            return Err(constraint(&member("message"), "", rule));
        }
        total += message.len() + 26;
        events.push(LogEvent { timestamp_ms, message: Bytes::copy_from_slice(message.as_bytes()) });
    }
    if total > 1 << 20 {
        return Err(ApiError::invalid(format!("Upload too large: {total} bytes exceeds limit of 1048576")));
    }
    if !events.is_sorted_by_key(|event| event.timestamp_ms) {
        return Err(ApiError::invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    if let (Some(first), Some(last)) = (events.first(), events.last())
        && last.timestamp_ms - first.timestamp_ms > 24 * HOUR_MS
    {
        return Err(ApiError::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(events)
}

/// The events that are neither too old nor expired nor too new, and AWS's report of the others.
fn sort_out(events: &[LogEvent], expired_before: i64, now: i64) -> (&[LogEvent], Map<String, Value>) {
    let mut rejected = Map::new();
    let older_than = |time: i64| events.partition_point(|event| event.timestamp_ms < time);
    let too_old = older_than(now - 14 * 24 * HOUR_MS);
    let expired = older_than(expired_before);
    let too_new = older_than(now + 2 * HOUR_MS + 1);
    if too_old > 0 {
        rejected.insert("tooOldLogEventEndIndex".into(), too_old.into());
    }
    if expired > too_old {
        rejected.insert("expiredLogEventEndIndex".into(), expired.into());
    }
    if too_new < events.len() {
        rejected.insert("tooNewLogEventStartIndex".into(), too_new.into());
    }
    let first = too_old.max(expired);
    (&events[first..too_new.max(first)], rejected)
}

// === events out ===

pub(super) async fn get_log_events(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let (group, stream) = (input.group()?.to_owned(), input.stream_name()?.to_owned());
    let limit = input.limit(10_000)?;
    let start = input.time("startTime")?.unwrap_or(0);
    let end = input.time("endTime")?.unwrap_or(i64::MAX);
    let token = input.text("nextToken")?.map(position_of_token).transpose()?;
    let from_head = input.boolean("startFromHead")?.unwrap_or(false);
    let now = store.now_ms();
    let (events, range) = store
        .run(move |database| -> Result<_, LogsError> {
            let group = database.group(&scope, &group)?;
            let stream = database.stream(&group, &stream)?;
            let low = Position::before_time(start.max(group.expired_before(now)));
            let high = Position::before_time(end);
            let range = match token {
                Some((Direction::Forward, from)) => {
                    Range { low: later(low, from), high, direction: Direction::Forward }
                }
                Some((Direction::Backward, to)) => {
                    Range { low, high: earlier(high, to), direction: Direction::Backward }
                }
                None if from_head => Range { low, high, direction: Direction::Forward },
                None => Range { low, high, direction: Direction::Backward },
            };
            Ok((database.page(&stream, range, limit)?, range))
        })
        .await?;
    // At either end of the stream AWS gives back the token that it got; an empty page stays where it is.
    let here = token.map_or(range.low, |(_, position)| position);
    let forward = events.last().map_or(here, Position::after);
    let backward = events.first().map_or(here, Position::before);
    let events: Vec<Value> = events
        .iter()
        .map(|event| {
            json!({
                "timestamp": event.timestamp_ms,
                "message": String::from_utf8_lossy(&event.message),
                "ingestionTime": event.ingested_ms,
            })
        })
        .collect();
    Ok(json!({
        "events": events,
        "nextForwardToken": token_of_position(Direction::Forward, forward),
        "nextBackwardToken": token_of_position(Direction::Backward, backward),
    }))
}

pub(super) async fn filter_log_events(
    store: &LogStore,
    scope: Scope,
    input: &Input,
) -> Result<Value, ApiError> {
    let group = input.group()?.to_owned();
    let limit = input.limit(10_000)?;
    let names: Vec<String> = input.texts("logStreamNames")?.into_iter().map(str::to_owned).collect();
    let prefix = input.text("logStreamNamePrefix")?.map(str::to_owned);
    if !names.is_empty() && prefix.is_some() {
        return Err(ApiError::invalid(
            "LogStreamNames and LogStreamNamePrefix are mutually exclusive parameters.",
        ));
    }
    if names.len() > 100 {
        return Err(constraint(
            "logStreamNames",
            "[...]",
            "Member must have length less than or equal to 100",
        ));
    }
    let pattern = input.text("filterPattern")?.unwrap_or_default();
    if pattern.chars().count() > 1024 {
        let rule = "Member must have length less than or equal to 1024";
        return Err(constraint("filterPattern", pattern, rule));
    }
    let pattern = FilterPattern::parse(pattern).map_err(|error| ApiError::invalid(error.to_string()))?;
    let start = input.time("startTime")?.unwrap_or(0);
    // Unlike GetLogEvents, this operation includes the end.
    let end = input.time("endTime")?.map_or(i64::MAX, |end| end.saturating_add(1));
    let token = input.text("nextToken")?.map(position_of_token).transpose()?;
    let direction = match (token, input.boolean("startFromHead")?) {
        (Some((direction, _)), _) => direction,
        (None, Some(false)) => Direction::Backward,
        (None, _) => Direction::Forward,
    };
    let now = store.now_ms();
    let (group, selection) = store
        .run(move |database| -> Result<_, LogsError> {
            let group = database.group(&scope, &group)?;
            let selection = select(database, &group, &names, prefix.as_deref())?;
            Ok((group, selection))
        })
        .await?;
    let mut range = Range {
        low: Position::before_time(start.max(group.expired_before(now))),
        high: Position::before_time(end),
        direction,
    };
    let mut search = Search { group, selection, pattern, page: Page::new(limit) };
    let mut next = token.map(|(_, position)| position);
    for _ in 0..SEARCH_STEPS {
        if let Some(position) = next {
            match direction {
                Direction::Forward => range.low = later(range.low, position),
                Direction::Backward => range.high = earlier(range.high, position),
            }
        }
        (search, next) = store
            .run(move |database| -> Result<_, LogsError> {
                let Search { group, selection, pattern, page } = &mut search;
                let accept = |message: &[u8]| pattern.matches(&String::from_utf8_lossy(message));
                let next = database.search(group, selection, range, SEARCH_STEP, page, accept)?;
                Ok((search, next))
            })
            .await?;
        if next.is_none() || search.page.is_full() {
            break;
        }
    }
    let events: Vec<Value> = search.page.events.iter().map(filtered_event).collect();
    // AWS has left the searched streams empty since 2020.
    let mut output = json!({ "events": events, "searchedLogStreams": [] });
    if let Some(position) = next {
        output["nextToken"] = token_of_position(direction, position).into();
    }
    Ok(output)
}

struct Search {
    group: Group,
    selection: Selection,
    pattern: FilterPattern,
    page: Page,
}

fn select(
    database: &super::database::Database,
    group: &Group,
    names: &[String],
    prefix: Option<&str>,
) -> Result<Selection, LogsError> {
    match (names, prefix) {
        ([], None) => Ok(Selection::All),
        ([], Some(prefix)) => {
            let order = StreamOrder { by_last_event: false, descending: false, after: None };
            let streams = database.streams(group, prefix, &order, i64::MAX as usize)?;
            Ok(Selection::Some(streams.into_iter().map(|stream| stream.id).collect()))
        }
        ([name], _) => Ok(Selection::One(database.stream(group, name)?)),
        (names, _) => {
            let ids = names.iter().map(|name| database.stream(group, name).map(|stream| stream.id));
            Ok(Selection::Some(ids.collect::<Result<_, _>>()?))
        }
    }
}

fn filtered_event(event: &StoredEvent) -> Value {
    json!({
        "logStreamName": event.stream,
        "timestamp": event.timestamp_ms,
        "message": String::from_utf8_lossy(&event.message),
        "ingestionTime": event.ingested_ms,
        "eventId": format!("{:056}", event.id),
    })
}

// === tokens ===

fn later(left: Position, right: Position) -> Position {
    if (left.timestamp_ms, left.id) > (right.timestamp_ms, right.id) { left } else { right }
}

fn earlier(left: Position, right: Position) -> Position {
    if (left.timestamp_ms, left.id) < (right.timestamp_ms, right.id) { left } else { right }
}

/// `f/` or `b/` and 56 digits, as AWS's look: 28 for the time, 28 for the event.
fn token_of_position(direction: Direction, position: Position) -> String {
    let letter = match direction {
        Direction::Forward => 'f',
        Direction::Backward => 'b',
    };
    format!("{letter}/{:028}{:028}", position.timestamp_ms, position.id)
}

fn position_of_token(token: &str) -> Result<(Direction, Position), ApiError> {
    let (letter, digits) = token.split_once('/').ok_or_else(invalid_token)?;
    let direction = match letter {
        "f" => Direction::Forward,
        "b" => Direction::Backward,
        _ => return Err(invalid_token()),
    };
    let number = |range| digits.get(range).and_then(|digits: &str| digits.parse::<i64>().ok());
    match (number(0..28), number(28..56), digits.len()) {
        (Some(timestamp_ms), Some(id), 56) if timestamp_ms >= 0 && id >= 0 => {
            Ok((direction, Position { timestamp_ms, id }))
        }
        _ => Err(invalid_token()),
    }
}

pub(super) fn token_of_text(text: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn text_of_token(token: &str) -> Result<String, ApiError> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid_token())?;
    String::from_utf8(bytes).map_err(|_| invalid_token())
}

pub(super) fn invalid_token() -> ApiError {
    ApiError::invalid("The specified nextToken is invalid.")
}
