//! What `dev` prints: how to invoke each function, and each invocation as it happens.
//!
//! Must not slow an invocation down: when the terminal cannot keep up, records are dropped and counted.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use anstyle::{AnsiColor, Style};
use hothouse_execution::ports::{InvocationRecord, Observer};
use serde_json::Value;
use tokio::sync::mpsc;

use super::plan::FunctionPlan;
use crate::{
    client::access_key,
    commands::{CommandError, invoke::readable, print},
    config::ClientConfig,
};

/// Invocations that may wait to be printed.
const BACKLOG: usize = 1024;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// The service's end: hears of invocations.
pub(super) struct Reporter {
    records: mpsc::Sender<InvocationRecord>,
    dropped: AtomicU64,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter, and the end that prints.
    pub(super) fn new() -> (Self, mpsc::Receiver<InvocationRecord>) {
        let (records, receiver) = mpsc::channel(BACKLOG);
        (Self { records, dropped: AtomicU64::new(0) }, receiver)
    }
}

impl Observer for Reporter {
    fn finished(&self, record: InvocationRecord) {
        if self.records.try_send(record).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::debug!(dropped, "an invocation was not shown");
        }
    }
}

/// Prints how to invoke a function.
pub(super) fn how_to_invoke(
    function: &FunctionPlan,
    config: &ClientConfig,
    program: &str,
) -> Result<(), CommandError> {
    let ClientConfig { endpoint, region, account, .. } = config;
    let FunctionPlan { name, runtime, handler, .. } = function;
    let key = access_key(account);
    let mut own = format!("{program} invoke {name}");
    let defaults = [
        ("endpoint", endpoint, "http://127.0.0.1:4566"),
        ("region", region, "us-east-1"),
        ("account", account, "000000000000"),
    ];
    for (option, value, default) in defaults {
        if value != default {
            own.push_str(&format!(" --{option} {value}"));
        }
    }
    print(format_args!("\n{STRONG}{name}{STRONG:#}  {FAINT}{runtime}, {handler}{FAINT:#}"))?;
    print(format_args!("  {own} -p '{EVENT}'"))?;
    // Version 1 of the AWS CLI does not know `--cli-binary-format`, version 2 needs it for plain JSON; both read
    // the bytes of a `fileb://` as they are.
    print(format_args!(
        "  echo '{EVENT}' | AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY=test aws --endpoint-url {endpoint} \
         --region {region} lambda invoke --function-name {name} --payload fileb:///dev/stdin /dev/stdout"
    ))
}

/// The event of the printed commands.
const EVENT: &str = r#"{"name":"World"}"#;

/// Prints a finished invocation and what the function logged.
pub(super) fn invocation(record: &InvocationRecord) -> Result<(), CommandError> {
    let InvocationRecord { function_name, version, request_id, status, duration_ms, max_memory_mb, .. } =
        record;
    let style = if *status == "success" { GOOD } else { BAD };
    let version = if version == "$LATEST" { String::new() } else { format!(":{version}") };
    let init = record.init_duration_ms.map(|init| format!(" + {init:.1} ms init")).unwrap_or_default();
    print(format_args!(
        "\n{STRONG}{function_name}{version}{STRONG:#} {style}{status}{style:#} {duration_ms:.1} ms{init}, \
         {max_memory_mb} MB {FAINT}{request_id}{FAINT:#}"
    ))?;
    for record in &record.log {
        let text = readable(record);
        for line in text.trim_end().lines().flat_map(unfolded) {
            print(format_args!("  {FAINT}|{FAINT:#} {line}"))?;
        }
    }
    Ok(())
}

/// A line as it is; but the stack of an error that a runtime logged as JSON gets lines of its own.
fn unfolded(line: &str) -> Vec<String> {
    let document = line.rfind("\t{").and_then(|at| {
        let document: Value = serde_json::from_str(&line[at + 1..]).ok()?;
        let stack = document.get("stack")?.as_array()?;
        let frames = stack.iter().filter_map(|frame| frame.as_str().map(str::to_owned));
        Some(std::iter::once(line[..at].trim_end().to_owned()).chain(frames).collect())
    });
    document.unwrap_or_else(|| vec![line.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::unfolded;

    #[test]
    fn a_stack_gets_lines_of_its_own() {
        let line = "2026-01-01T00:00:00Z\tid\tERROR\tInvoke Error \t{\"errorType\":\"Error\",\"stack\":[\"Error: no\",\"    at f\"]}";
        assert_eq!(
            unfolded(line),
            ["2026-01-01T00:00:00Z\tid\tERROR\tInvoke Error", "Error: no", "    at f"]
        );
        assert_eq!(unfolded("a\t{\"b\":1}"), ["a\t{\"b\":1}"]);
    }
}
