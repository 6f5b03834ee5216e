//! `hothouse ls`: the functions of an account and region.
//!
//! Must not change anything.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::{CommandError, configuration, print, say_hint, table};
use crate::{
    cli::ListArgs,
    client::{Client, ClientError, encode},
};

/// Lists functions.
pub(super) async fn run(args: &ListArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.client.0)?.client()?);
    let functions = functions(&client)
        .await
        .map_err(|error| CommandError::client("failed to list functions", error, client.config()))?;
    if args.json {
        print(Value::Array(functions))?;
        return Ok(ExitCode::SUCCESS);
    }
    if functions.is_empty() {
        say_hint("there are no functions yet: `hothouse dev DIR` deploys a folder");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<Vec<String>> = functions.iter().map(row).collect();
    rows.sort();
    for line in table::lines(&["NAME", "RUNTIME", "MEMORY", "TIMEOUT", "MODIFIED"], &rows) {
        print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn functions(client: &Client) -> Result<Vec<Value>, ClientError> {
    let mut functions = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let query = marker.map(|marker| format!("?Marker={}", encode(&marker))).unwrap_or_default();
        let mut page = client.lambda(Method::GET, &format!("/2015-03-31/functions/{query}"), None).await?;
        if let Some(Value::Array(found)) = page.get_mut("Functions").map(Value::take) {
            functions.extend(found);
        }
        marker = page
            .get("NextMarker")
            .and_then(Value::as_str)
            .filter(|marker| !marker.is_empty())
            .map(str::to_owned);
        if marker.is_none() {
            return Ok(functions);
        }
    }
}

fn row(function: &Value) -> Vec<String> {
    let text = |name: &str| function.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |name: &str, unit: &str| match function.get(name).and_then(Value::as_u64) {
        Some(number) => format!("{number} {unit}"),
        None => "-".to_owned(),
    };
    vec![
        text("FunctionName"),
        text("Runtime"),
        number("MemorySize", "MB"),
        number("Timeout", "s"),
        text("LastModified"),
    ]
}
