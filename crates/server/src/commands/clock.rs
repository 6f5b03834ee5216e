//! `hothouse clock`: the service's time, and moving it ahead.
//!
//! Must not move anybody else's clock: functions keep the machine's.

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};

use super::{CommandError, configuration, print, say};
use crate::{
    cli::{ClockArgs, ClockCommand},
    client::Client,
};

/// Moves the service's time, or tells it.
pub(super) async fn run(args: &ClockArgs) -> Result<ExitCode, CommandError> {
    let (client, path, body, attempted) = match &args.command {
        ClockCommand::Show { client } => (client, "/_hothouse/clock", None, "failed to ask for the time"),
        ClockCommand::Advance { by, client } => {
            let body = json!({ "by": format!("{}ms", by.as_millis()) });
            (client, "/_hothouse/clock/advance", Some(body), "failed to move time ahead")
        }
    };
    let client = Client::new(configuration(&client.0)?.client()?);
    let answer = match body {
        None => client.admin(path).await,
        Some(body) => client.admin_post(path, &body).await,
    };
    let answer = answer.map_err(|error| CommandError::client(attempted, error, client.config()))?;
    let ahead = answer.get("aheadSeconds").and_then(Value::as_f64).unwrap_or_default();
    let ahead = Duration::try_from_secs_f64(ahead).unwrap_or_default();
    match &args.command {
        ClockCommand::Show { .. } => print(format!("{ahead:?}"))?,
        ClockCommand::Advance { .. } => say(format!("the service's time is {ahead:?} ahead")),
    }
    Ok(ExitCode::SUCCESS)
}
