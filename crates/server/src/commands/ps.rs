//! `hothouse ps`: execution environments and their states.
//!
//! Must not change anything.

use std::process::ExitCode;

use serde_json::Value;

use super::{CommandError, configuration, print, say, table};
use crate::{cli::ListArgs, client::Client};

/// Columns: heading, and member of the admin API's answer.
const COLUMNS: &[(&str, &str)] = &[
    ("ENVIRONMENT", "id"),
    ("FUNCTION", "functionName"),
    ("VERSION", "version"),
    ("STATE", "state"),
    ("PID", "pid"),
    ("ISOLATION", "isolation"),
];

/// Lists environments.
pub(super) async fn run(args: &ListArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.client.0)?.client()?);
    let mut answer = client
        .admin("/_hothouse/environments")
        .await
        .map_err(|error| CommandError::client("failed to list environments", error, client.config()))?;
    let environments = match answer.get_mut("environments").map(Value::take) {
        Some(Value::Array(environments)) => environments,
        _ => {
            return Err(
                CommandError::new("failed to list environments").because("the answer has no list of them")
            );
        }
    };
    if args.json {
        print(Value::Array(environments))?;
        return Ok(ExitCode::SUCCESS);
    }
    if environments.is_empty() {
        say("no environments: they start with the first invocation and leave when idle");
        return Ok(ExitCode::SUCCESS);
    }
    let present: Vec<_> = COLUMNS
        .iter()
        .filter(|(_, member)| environments.iter().any(|environment| environment.get(member).is_some()))
        .collect();
    let rows: Vec<Vec<String>> = environments
        .iter()
        .map(|environment| present.iter().map(|(_, member)| cell(environment.get(member))).collect())
        .collect();
    let header: Vec<&str> = present.iter().map(|(heading, _)| *heading).collect();
    for line in table::lines(&header, &rows) {
        print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
