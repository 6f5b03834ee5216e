//! CloudWatch Logs' operations: input, one call of the store, output.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html>.
//! Must not know SQL.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    database::{Group, LogsError, NewEvent, Scope, StoredEvent, Stream, StreamOrder},
    events::{Direction, Page, Position, Range, Selection},
    filter::FilterPattern,
    input::{Input, check_group_name, check_stream_name, constraint, group_of_arn, missing},
    store::LogStore,
};
use crate::companions::awsjson;

/// Events of a group that one step of a search looks at. Between steps, other requests have their turn.
const SEARCH_STEP: usize = 20_000;
/// Steps of one request; a search that needs more answers with a token.
const SEARCH_STEPS: usize = 50;
const HOUR_MS: i64 = 3_600_000;
/// The answer of AWS since sequence tokens have no meaning any more.
const SEQUENCE_TOKEN: &str = "49590302938740892348978923489234897823489723489723489723";

/// An error as clients see it.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl ApiError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        ApiError::new("InvalidParameterException", message)
    }

    pub(super) fn serialization(message: &str) -> Self {
        ApiError::new("SerializationException", message)
    }

    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        ApiError { status: StatusCode::BAD_REQUEST, kind, message: message.into() }
    }
}

impl From<LogsError> for ApiError {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::GroupMissing => {
                ApiError::new("ResourceNotFoundException", "The specified log group does not exist.")
            }
            LogsError::StreamMissing => {
                ApiError::new("ResourceNotFoundException", "The specified log stream does not exist.")
            }
            LogsError::GroupExists => {
                ApiError::new("ResourceAlreadyExistsException", "The specified log group already exists")
            }
            LogsError::StreamExists => {
                ApiError::new("ResourceAlreadyExistsException", "The specified log stream already exists")
            }
            LogsError::Store(error) => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                tracing::error!("failed to {error}{}", source.unwrap_or_default());
                ApiError {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    kind: "ServiceUnavailableException",
                    message: "The service cannot complete the request.".into(),
                }
            }
        }
    }
}

/// Answers a request to CloudWatch Logs. `target` is the header `X-Amz-Target`.
pub(crate) async fn handle(store: &LogStore, scope: Scope, target: &str, body: &[u8]) -> Response<Bytes> {
    let operation = target.split_once('.').map_or(target, |(_, operation)| operation);
    match perform(store, scope, operation, body).await {
        Ok(output) => awsjson::ok(&output),
        Err(error) => awsjson::error(error.status, error.kind, &error.message),
    }
}

async fn perform(store: &LogStore, scope: Scope, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
    let input = Input::parse(body)?;
    match operation {
        "CreateLogGroup" => create_log_group(store, scope, &input).await,
        "DeleteLogGroup" => delete_log_group(store, scope, &input).await,
        "DescribeLogGroups" => describe_log_groups(store, scope, &input).await,
        "CreateLogStream" => create_log_stream(store, scope, &input).await,
        "DeleteLogStream" => delete_log_stream(store, scope, &input).await,
        "DescribeLogStreams" => describe_log_streams(store, scope, &input).await,
        "PutLogEvents" => put_log_events(store, scope, &input).await,
        "GetLogEvents" => get_log_events(store, scope, &input).await,
        "FilterLogEvents" => filter_log_events(store, scope, &input).await,
        "PutRetentionPolicy" => {
            let days = input.retention_days()?;
            set_retention(store, scope, &input, Some(days)).await
        }
        "DeleteRetentionPolicy" => set_retention(store, scope, &input, None).await,
        "TagLogGroup" => {
            let group = input.group_name()?.to_owned();
            tag(store, scope, group, input.tags()?).await
        }
        "UntagLogGroup" => {
            let group = input.group_name()?.to_owned();
            untag(store, scope, group, &input.texts("tags")?).await
        }
        "ListTagsLogGroup" => {
            let group = input.group_name()?.to_owned();
            list_tags(store, scope, group).await
        }
        "TagResource" => tag(store, scope, resource(&input)?, input.tags()?).await,
        "UntagResource" => untag(store, scope, resource(&input)?, &input.texts("tagKeys")?).await,
        "ListTagsForResource" => list_tags(store, scope, resource(&input)?).await,
        _ => Err(ApiError {
            status: StatusCode::NOT_IMPLEMENTED,
            kind: "NotImplementedException",
            message: format!("Hothouse's CloudWatch Logs does not implement the operation {operation}."),
        }),
    }
}

// === groups ===

async fn create_log_group(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let name = input.group_name()?.to_owned();
    let class = input
        .one_of("logGroupClass", &["STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"])?
        .unwrap_or("STANDARD")
        .to_owned();
    if input.boolean("deletionProtectionEnabled")? == Some(true) {
        return Err(ApiError::invalid("Hothouse does not protect log groups from deletion."));
    }
    let tags = Value::Object(input.tags()?).to_string();
    let now = store.now_ms();
    store.run(move |database| database.create_group(&scope, &name, &class, &tags, now)).await?;
    Ok(json!({}))
}

async fn delete_log_group(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let name = input.group_name()?.to_owned();
    store.run(move |database| database.delete_group(&scope, &name)).await?;
    Ok(json!({}))
}

async fn describe_log_groups(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let limit = input.limit(50)?;
    let prefix = input.text("logGroupNamePrefix")?.unwrap_or_default().to_owned();
    let pattern = input.text("logGroupNamePattern")?.unwrap_or_default().to_lowercase();
    if !prefix.is_empty() {
        check_group_name("logGroupNamePrefix", &prefix)?;
        if !pattern.is_empty() {
            return Err(ApiError::invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
    }
    let class = input.text("logGroupClass")?.map(str::to_owned);
    let identifiers: Vec<String> = input
        .texts("logGroupIdentifiers")?
        .into_iter()
        .map(|identifier| group_of_arn(identifier).unwrap_or(identifier).to_owned())
        .collect();
    let after = match input.text("nextToken")? {
        Some(token) => text_of_token(token)?,
        None => String::new(),
    };
    let asked = scope.clone();
    let mut groups = store
        .run(move |database| {
            let accept = |group: &Group| {
                group.name.starts_with(&prefix)
                    && (pattern.is_empty() || group.name.to_lowercase().contains(&pattern))
                    && class.as_ref().is_none_or(|class| *class == group.class)
                    && (identifiers.is_empty() || identifiers.contains(&group.name))
            };
            database.groups(&asked, accept, &after, limit + 1)
        })
        .await?;
    let more = groups.len() > limit;
    groups.truncate(limit);
    let mut output =
        json!({ "logGroups": groups.iter().map(|group| describe_group(&scope, group)).collect::<Vec<_>>() });
    if let (true, Some(last)) = (more, groups.last()) {
        output["nextToken"] = token_of_text(&last.name).into();
    }
    Ok(output)
}

fn describe_group(scope: &Scope, group: &Group) -> Value {
    let arn = group_arn(scope, &group.name);
    let mut value = json!({
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "storedBytes": group.stored_bytes,
        "logGroupClass": group.class,
        "logGroupArn": arn,
    });
    if let Some(days) = group.retention_days {
        value["retentionInDays"] = days.into();
    }
    value
}

fn group_arn(scope: &Scope, name: &str) -> String {
    format!("arn:{}:logs:{}:{}:log-group:{name}", scope.region.partition(), scope.region, scope.account)
}

async fn set_retention(
    store: &LogStore,
    scope: Scope,
    input: &Input,
    days: Option<i64>,
) -> Result<Value, ApiError> {
    let name = input.group_name()?.to_owned();
    let now = store.now_ms();
    store.run(move |database| database.set_retention(&scope, &name, days, now)).await?;
    Ok(json!({}))
}

// === tags ===

fn resource(input: &Input) -> Result<String, ApiError> {
    let arn = input.text("resourceArn")?.ok_or_else(|| missing("resourceArn"))?;
    group_of_arn(arn).map(str::to_owned).ok_or_else(|| LogsError::GroupMissing.into())
}

async fn tag(
    store: &LogStore,
    scope: Scope,
    group: String,
    added: Map<String, Value>,
) -> Result<Value, ApiError> {
    change_tags(store, scope, group, move |tags| tags.extend(added)).await
}

async fn untag(store: &LogStore, scope: Scope, group: String, keys: &[&str]) -> Result<Value, ApiError> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    change_tags(store, scope, group, move |tags| {
        for key in &keys {
            tags.remove(key);
        }
    })
    .await
}

async fn change_tags(
    store: &LogStore,
    scope: Scope,
    group: String,
    change: impl FnOnce(&mut Map<String, Value>) + Send + 'static,
) -> Result<Value, ApiError> {
    store
        .run(move |database| -> Result<(), LogsError> {
            let mut tags = parse_tags(&database.tags(&scope, &group)?);
            change(&mut tags);
            database.set_tags(&scope, &group, &Value::Object(tags).to_string())
        })
        .await?;
    Ok(json!({}))
}

async fn list_tags(store: &LogStore, scope: Scope, group: String) -> Result<Value, ApiError> {
    let tags = store.run(move |database| database.tags(&scope, &group)).await?;
    Ok(json!({ "tags": parse_tags(&tags) }))
}

fn parse_tags(text: &str) -> Map<String, Value> {
    // Only this file writes the column.
    serde_json::from_str(text).unwrap_or_default()
}

// === streams ===

async fn create_log_stream(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let (group, name) = (input.group_name()?.to_owned(), input.stream_name()?.to_owned());
    let now = store.now_ms();
    store.run(move |database| database.create_stream(&scope, &group, &name, now)).await?;
    Ok(json!({}))
}

async fn delete_log_stream(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let (group, name) = (input.group_name()?.to_owned(), input.stream_name()?.to_owned());
    store.run(move |database| database.delete_stream(&scope, &group, &name)).await?;
    Ok(json!({}))
}

async fn describe_log_streams(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
    let group = input.group()?.to_owned();
    let limit = input.limit(50)?;
    let by_last_event =
        input.one_of("orderBy", &["LogStreamName", "LastEventTime"])? == Some("LastEventTime");
    let prefix = input.text("logStreamNamePrefix")?.unwrap_or_default().to_owned();
    if !prefix.is_empty() {
        check_stream_name("logStreamNamePrefix", &prefix)?;
        if by_last_event {
            return Err(ApiError::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
    }
    let after = match input.text("nextToken")? {
        Some(token) => {
            let text = text_of_token(token)?;
            let (key, name) = text.split_once(' ').ok_or_else(invalid_token)?;
            Some((key.parse().map_err(|_| invalid_token())?, name.to_owned()))
        }
        None => None,
    };
    let descending = input.boolean("descending")?.unwrap_or(false);
    let order = StreamOrder { by_last_event, descending, after };
    let asked = scope.clone();
    let (group, mut streams) = store
        .run(move |database| -> Result<_, LogsError> {
            let group = database.group(&asked, &group)?;
            let streams = database.streams(&group, &prefix, &order, limit + 1)?;
            Ok((group, streams))
        })
        .await?;
    let more = streams.len() > limit;
    streams.truncate(limit);
    let arn = group_arn(&scope, &group.name);
    let described: Vec<Value> = streams.iter().map(|stream| describe_stream(&arn, stream)).collect();
    let mut output = json!({ "logStreams": described });
    if let (true, Some(last)) = (more, streams.last()) {
        let key = if by_last_event { last.last_ms.unwrap_or(last.created_ms) } else { 0 };
        output["nextToken"] = token_of_text(&format!("{key} {}", last.name)).into();
    }
    Ok(output)
}

fn describe_stream(group_arn: &str, stream: &Stream) -> Value {
    let mut value = json!({
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": format!("{group_arn}:log-stream:{}", stream.name),
        // AWS has not counted a stream's bytes since 2019.
        "storedBytes": 0,
    });
    let times = [
        ("firstEventTimestamp", stream.first_ms),
        ("lastEventTimestamp", stream.last_ms),
        ("lastIngestionTime", stream.ingested_ms),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            value[key] = time.into();
        }
    }
    if stream.ingested_ms.is_some() {
        value["uploadSequenceToken"] = SEQUENCE_TOKEN.into();
    }
    value
}

// === events in ===

async fn put_log_events(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
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

fn new_events(input: &Input) -> Result<Vec<NewEvent>, ApiError> {
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
        events.push(NewEvent { timestamp_ms, message: Bytes::copy_from_slice(message.as_bytes()) });
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
fn sort_out(events: &[NewEvent], expired_before: i64, now: i64) -> (&[NewEvent], Map<String, Value>) {
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

async fn get_log_events(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
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

async fn filter_log_events(store: &LogStore, scope: Scope, input: &Input) -> Result<Value, ApiError> {
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

fn token_of_text(text: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn text_of_token(token: &str) -> Result<String, ApiError> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid_token())?;
    String::from_utf8(bytes).map_err(|_| invalid_token())
}

fn invalid_token() -> ApiError {
    ApiError::invalid("The specified nextToken is invalid.")
}
