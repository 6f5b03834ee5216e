//! `hothouse ps`: execution environments and their states.
//!
//! Must not change anything.

use std::{error::Error, process::ExitCode};

use serde::Deserialize;
use serde_json::Value;

use super::{CommandError, configuration, print, say, table};
use crate::{cli::PsArgs, client::Client};

/// The members of the admin API's answer that people want to see.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    id: String,
    function_name: String,
    version: String,
    status: String,
    frozen: bool,
    debugger_port: Option<u16>,
    age_ms: u64,
    invocations: u64,
}

/// How full the machine is.
#[derive(Debug, Deserialize)]
struct Budget {
    limit: usize,
    environments: usize,
    evicted: u64,
}

/// Lists environments.
pub(super) async fn run(args: &PsArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.list.client.0)?.client()?);
    let mut answer = client
        .admin("/_hothouse/environments")
        .await
        .map_err(|error| CommandError::client("failed to list environments", error, client.config()))?;
    let mut list = |name: &str| match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(environments)) => Ok(environments),
        _ => Err(failed("the answer has no list of them".into())),
    };
    let mut environments = if args.all { list("ended")? } else { Vec::new() };
    environments.append(&mut list("environments")?);
    if args.list.json {
        print(Value::Array(environments))?;
        return Ok(ExitCode::SUCCESS);
    }
    if environments.is_empty() {
        say("no environments: they start with the first invocation and leave when idle");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> =
        environments.into_iter().map(row).collect::<Result<_, _>>().map_err(|error| failed(error.into()))?;
    for line in table::lines(&["ENVIRONMENT", "FUNCTION", "VERSION", "STATE", "AGE", "INVOCATIONS"], &rows) {
        print(line)?;
    }
    if let Some(Ok(budget)) = answer.get_mut("budget").map(Value::take).map(serde_json::from_value) {
        say(full(budget));
    }
    Ok(ExitCode::SUCCESS)
}

fn full(Budget { limit, environments, evicted }: Budget) -> String {
    let evicted = match evicted {
        0 => String::new(),
        evicted => format!("; {evicted} idle ones made room for others so far"),
    };
    format!("{environments} of {limit} environments{evicted}")
}

fn row(environment: Value) -> Result<Vec<String>, serde_json::Error> {
    let environment: Environment = serde_json::from_value(environment)?;
    let Environment { id, function_name, version, status, frozen, debugger_port, age_ms, invocations } =
        environment;
    let status = match debugger_port {
        Some(port) => format!("{status} (debugger: 127.0.0.1:{port})"),
        None if frozen => format!("{status} (frozen)"),
        None => status,
    };
    Ok(vec![id, function_name, version, status, age(age_ms / 1_000), invocations.to_string()])
}

fn failed(cause: Box<dyn Error + Send + Sync>) -> CommandError {
    CommandError::new("failed to list environments").because(cause)
}

/// Two units are enough to compare ages.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}
