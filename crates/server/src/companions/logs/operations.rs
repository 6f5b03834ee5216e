//! CloudWatch Logs' operations: input, one call of the store, output.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html>.
//! Must not know SQL.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    database::{Group, LogsError, Scope, Stream, StreamOrder},
    event_operations::{
        SEQUENCE_TOKEN, filter_log_events, get_log_events, invalid_token, put_log_events, text_of_token,
        token_of_text,
    },
    input::{Input, check_group_name, check_stream_name, group_of_arn, missing},
    store::LogStore,
};
use crate::companions::awsjson;

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
