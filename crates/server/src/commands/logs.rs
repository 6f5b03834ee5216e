//! `hothouse logs`: a function's log, from CloudWatch Logs.
//!
//! Must not order or join records: the service's order is the order.

use std::{collections::HashSet, process::ExitCode, time::Duration};

use hothouse_execution::ports::{Clock as _, SystemClock};
use http::Method;
use serde::Deserialize;
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

/// Prints a log, and with `--follow` whatever comes.
pub(super) async fn run(args: &LogsArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.client.0)?.client()?);
    let failed = |error| {
        CommandError::client(format!("failed to read the log of `{}`", args.function), error, client.config())
    };
    let group = group(&client, &args.function).await.map_err(failed)?;
    let mut since_ms = now_ms() - i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX / 2);
    let mut printed = HashSet::new();
    loop {
        let events = match events_since(&client, &group, since_ms).await {
            // The group appears with the first invocation.
            Err(error) if error.is_not_found() => Vec::new(),
            other => other.map_err(failed)?,
        };
        for event in &events {
            if printed.insert(event.event_id.clone()) {
                print(readable(event.message.as_bytes()).trim_end())?;
            }
        }
        if !args.follow {
            if printed.is_empty() {
                say(format_args!(
                    "no log events of `{}` in this time; --since looks further back",
                    args.function
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    events: Vec<Event>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_id: String,
    timestamp: i64,
    message: String,
}

async fn events_since(client: &Client, group: &str, since_ms: i64) -> Result<Vec<Event>, ClientError> {
    let mut events = Vec::new();
    let mut input = json!({ "logGroupName": group, "startTime": since_ms });
    loop {
        let page: Page = client.logs("FilterLogEvents", &input).await?;
        events.extend(page.events);
        match page.next_token {
            Some(token) => input["nextToken"] = Value::String(token),
            None => return Ok(events),
        }
    }
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

fn now_ms() -> i64 {
    jiff::Timestamp::try_from(SystemClock.now()).expect("the present is within the calendar").as_millisecond()
}
