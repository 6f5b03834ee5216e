//! `hothouse invoke`: one invocation; result on stdout, log on stderr.
//!
//! Must not change the payload: it is sent as it was given.

use std::{io::Read as _, process::ExitCode};

use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use super::{CommandError, configuration, print_bytes, say};
use crate::{cli::InvokeArgs, client::Client};

/// Invokes a function; exit code 1 if it failed.
pub(super) async fn run(args: &InvokeArgs) -> Result<ExitCode, CommandError> {
    let config = configuration(&args.client.0)?.client()?;
    let payload = payload(&args.payload)?;
    let client = Client::new(config);
    let name = &args.function;
    let answer =
        client.invoke(name, args.qualifier.as_deref(), payload, !args.no_logs).await.map_err(|error| {
            let not_found = error.is_not_found();
            let this = CommandError::client(format!("failed to invoke `{name}`"), error, client.config());
            if not_found {
                this.hint("`hothouse ls` lists the functions of this account and region")
            } else {
                this
            }
        })?;
    if let Some(tail) = &answer.log_tail {
        say(readable(tail).trim_end());
    }
    let mut result = answer.payload.to_vec();
    result.push(b'\n');
    print_bytes(&result)?;
    let Some(kind) = answer.function_error else { return Ok(ExitCode::SUCCESS) };
    Err(CommandError::new(format!("function `{name}` failed ({kind}): {}", describe(&answer.payload))))
}

/// Log text as people read it: some runtimes separate the lines of one record by carriage returns.
pub(super) fn readable(log: &[u8]) -> String {
    String::from_utf8_lossy(log).replace("\r\n", "\n").replace('\r', "\n")
}

fn payload(argument: &str) -> Result<Bytes, CommandError> {
    let bytes = if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| CommandError::new("failed to read the payload from stdin").because(error))?;
        bytes
    } else if let Some(path) = argument.strip_prefix('@') {
        std::fs::read(path).map_err(|error| {
            CommandError::new(format!("failed to read the payload from `{path}`")).because(error)
        })?
    } else {
        argument.as_bytes().to_vec()
    };
    match serde_json::from_slice::<&RawValue>(&bytes) {
        Ok(_) => Ok(bytes.into()),
        Err(error) => Err(CommandError::new("failed to read the payload as JSON")
            .because(error)
            .hint("quote it for the shell, as in -p '{\"name\":\"World\"}', or use -p @FILE")),
    }
}

fn describe(document: &[u8]) -> String {
    let document: Value = serde_json::from_slice(document).unwrap_or(Value::Null);
    let text = |name| document.get(name).and_then(Value::as_str);
    match (text("errorType"), text("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(text)) | (Some(text), None) => text.to_owned(),
        (None, None) => "no error document".to_owned(),
    }
}
