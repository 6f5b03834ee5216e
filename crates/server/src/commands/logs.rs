//! `hothouse logs`: the log of a function, or of one environment, from CloudWatch Logs.
//!
//! Must not order or join records: the service's order is the order.

use std::{collections::HashSet, fmt, process::ExitCode, time::Duration};

use hothouse_execution::ports::{Clock as _, SystemClock};
use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{CommandError, configuration, invoke::readable, print, say};
use crate::{
    cli::LogsArgs,
    client::{Client, ClientError, encode},
};

/// How often `--follow` asks for more.
const PERIOD: Duration = Duration::from_millis(250);

/// Events may become visible a little after their time stamp, so each look goes back this far.
const OVERLAP_MS: i64 = 5_000;

/// How far back the log of a function begins.
const SINCE: Duration = Duration::from_secs(3600);

/// Environments that are named when the beginning of an id fits several.
const CANDIDATES: usize = 5;

/// Prints a log, and with `--follow` whatever comes.
pub(super) async fn run(args: &LogsArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.client.0)?.client()?);
    let failed =
        |error| CommandError::client(format!("failed to read {}", Subject(args)), error, client.config());
    let group = match &args.function {
        Some(function) => Some(group(&client, function).await.map_err(failed)?),
        None => None,
    };
    let place = match &args.environment {
        Some(id) => only(args, id, streams(&client, id, group.as_deref()).await.map_err(failed)?)?,
        None => Place { group: group.expect("the command line asks for one of both"), stream: None },
    };
    let since = args.since.or(args.environment.is_none().then_some(SINCE));
    let mut since_ms =
        since.map_or(0, |since| now_ms() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 2));
    let mut printed = HashSet::new();
    loop {
        let events = match events_since(&client, &place, since_ms).await {
            // The group appears with the first invocation.
            Err(error) if error.is_not_found() => Vec::new(),
            other => other.map_err(failed)?,
        };
        for event in &events {
            if printed.insert(event.event_id.clone()) {
                print(Shown(readable(event.message.as_bytes()).trim_end()))?;
            }
        }
        if !args.follow {
            if printed.is_empty() {
                say(format_args!(
                    "no log events of {} in this time; --since looks further back",
                    Subject(args)
                ));
            }
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(last) = events.iter().map(|event| event.timestamp).max() {
            since_ms = since_ms.max(last - OVERLAP_MS);
            printed.retain(|id| events.iter().any(|event| event.event_id == *id));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whose log it is, in words.
struct Subject<'a>(&'a LogsArgs);

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.environment, &self.0.function) {
            (Some(id), _) => write!(f, "the log of environment `{id}`"),
            (None, function) => write!(f, "the log of `{}`", function.as_deref().unwrap_or_default()),
        }
    }
}

/// A record; the platform's own recede behind the function's.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TEXT: [&str; 6] = [
            "START RequestId: ",
            "END RequestId: ",
            "REPORT RequestId: ",
            "INIT_START ",
            "INIT_REPORT ",
            "LOGS_DROPPED ",
        ];
        let Shown(text) = self;
        let json = || text.starts_with("{\"time\":") && text.contains(",\"type\":\"platform.");
        if TEXT.iter().any(|start| text.starts_with(start)) || json() {
            let faint = anstyle::Style::new().dimmed();
            write!(f, "{faint}{text}{faint:#}")
        } else {
            f.write_str(text)
        }
    }
}

// === where ===

/// Where events are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    group: String,
    stream: Option<String>,
}

/// The one environment that was meant.
fn only(args: &LogsArgs, id: &str, mut found: Vec<Place>) -> Result<Place, CommandError> {
    let attempted = format!("failed to find {}", Subject(args));
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 if !is_hex(id) => Err(CommandError::new(attempted)
            .because("an id is 32 hex digits")
            .hint("`hothouse ps --all` lists environments")),
        0 => Err(CommandError::new(attempted)
            .because("no environment of this account and region has logged anything under such an id")
            .hint("`hothouse ps --all` lists environments; --account and --region look elsewhere")),
        count => {
            let ids: Vec<_> =
                found.iter().filter_map(|place| environment_id(place.stream.as_deref()?)).collect();
            let more = if count > CANDIDATES { ", …" } else { "" };
            Err(CommandError::new(attempted)
                .because(format!("{count} ids begin so: {}{more}", ids[..count.min(CANDIDATES)].join(", ")))
                .hint("give more digits"))
        }
    }
}

/// The streams of environments whose id begins with `id`, in one group or in all.
async fn streams(client: &Client, id: &str, group: Option<&str>) -> Result<Vec<Place>, ClientError> {
    if !is_hex(id) {
        return Ok(Vec::new());
    }
    let groups = match group {
        Some(group) => vec![group.to_owned()],
        None => {
            let groups = all::<Group>(client, "DescribeLogGroups", json!({ "limit": 50 })).await?;
            groups.into_iter().map(|group| group.log_group_name).collect()
        }
    };
    let mut found = Vec::new();
    for group in groups {
        let input = json!({ "logGroupName": group, "limit": 50 });
        let streams = match all::<Stream>(client, "DescribeLogStreams", input).await {
            // Deleted meanwhile, or nobody has invoked the function.
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let fitting = streams.into_iter().filter(|stream| {
            environment_id(&stream.log_stream_name).is_some_and(|full| full.starts_with(id))
        });
        found.extend(
            fitting.map(|stream| Place { group: group.clone(), stream: Some(stream.log_stream_name) }),
        );
    }
    Ok(found)
}

/// The environment whose stream this is: `YYYY/MM/DD/[VERSION]ID`.
fn environment_id(stream: &str) -> Option<&str> {
    let id = stream.rsplit_once(']')?.1;
    (id.len() == 32 && is_hex(id)).then_some(id)
}

fn is_hex(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The function's log group; a deleted function's log can still be read under its usual name.
async fn group(client: &Client, function: &str) -> Result<String, ClientError> {
    let path = format!("/2015-03-31/functions/{}/configuration", encode(function));
    let usual = || format!("/aws/lambda/{}", function.rsplit(':').next().unwrap_or(function));
    match client.lambda(Method::GET, &path, None).await {
        Ok(configuration) => {
            let configured = configuration.pointer("/LoggingConfig/LogGroup").and_then(Value::as_str);
            Ok(configured.map_or_else(usual, str::to_owned))
        }
        Err(error) if error.is_not_found() => Ok(usual()),
        Err(error) => Err(error),
    }
}

// === pages ===

/// One answer of an operation that answers in pages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(alias = "events", alias = "logGroups", alias = "logStreams", default = "Vec::new")]
    items: Vec<T>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_id: String,
    timestamp: i64,
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    log_group_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    log_stream_name: String,
}

async fn events_since(client: &Client, place: &Place, since_ms: i64) -> Result<Vec<Event>, ClientError> {
    let mut input = json!({ "logGroupName": place.group, "startTime": since_ms });
    if let Some(stream) = &place.stream {
        input["logStreamNames"] = json!([stream]);
    }
    all(client, "FilterLogEvents", input).await
}

async fn all<T: DeserializeOwned>(
    client: &Client,
    operation: &str,
    mut input: Value,
) -> Result<Vec<T>, ClientError> {
    let mut items = Vec::new();
    loop {
        let page: Page<T> = client.logs(operation, &input).await?;
        items.extend(page.items);
        match page.next_token {
            Some(token) => input["nextToken"] = Value::String(token),
            None => return Ok(items),
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::try_from(SystemClock.now()).expect("the present is within the calendar").as_millisecond()
}
