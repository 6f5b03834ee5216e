//! The platform's own log lines: START, END, REPORT, INIT_START, INIT_REPORT, as text or JSON.
//!
//! Must not know where lines go. Formats: AWS's "Lambda log formats" and recordings of real functions.

use std::{fmt::Write, time::Duration};

use hothouse_api::generated::{LogFormat, SystemLogLevel};
use jiff::Timestamp;
use serde_json::json;

use crate::{fault::Fault, invocation::Invocation, spec::FunctionSpec};

/// A line about the life of an environment or an invocation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    InitStart,
    InitReport {
        duration: Duration,
        status: Status,
    },
    Start {
        request: String,
        trace: Option<String>,
    },
    End {
        request: String,
    },
    Report {
        request: String,
        duration: Duration,
        init: Option<Duration>,
        status: Status,
        trace: Option<String>,
    },
}

/// How a phase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Success,
    /// The handler reported an error; the environment stays warm.
    HandlerError {
        error_type: String,
    },
    Timeout,
    /// The runtime died or could not start.
    Error {
        error_type: String,
    },
}

impl Status {
    pub(crate) fn of(fault: &Fault) -> Status {
        match fault.error_type.as_str() {
            "Sandbox.Timedout" => Status::Timeout,
            error_type => Status::Error { error_type: error_type.to_owned() },
        }
    }

    /// `success`, `error` or `timeout`: AWS's telemetry vocabulary.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Status::Success => "success",
            Status::Timeout => "timeout",
            Status::HandlerError { .. } | Status::Error { .. } => "error",
        }
    }
}

impl Line {
    pub(crate) fn start(invocation: &Invocation) -> Line {
        Line::Start { request: invocation.request_id.to_string(), trace: invocation.trace_id.clone() }
    }

    pub(crate) fn end(invocation: &Invocation) -> Line {
        Line::End { request: invocation.request_id.to_string() }
    }

    pub(crate) fn report(
        invocation: &Invocation,
        duration: Duration,
        init: Option<Duration>,
        status: Status,
    ) -> Line {
        Line::Report {
            request: invocation.request_id.to_string(),
            duration,
            init,
            status,
            trace: invocation.trace_id.clone(),
        }
    }

    pub(crate) fn init_report(duration: Duration, status: Status) -> Line {
        Line::InitReport { duration, status }
    }

    /// The record as it enters the log, without final newline; `None` if the function's system log level hides it.
    pub(crate) fn render(&self, spec: &FunctionSpec, max_memory_mb: u32, now: Timestamp) -> Option<String> {
        match spec.logging.format {
            LogFormat::Text => Some(self.text(spec, max_memory_mb)),
            LogFormat::Json => self.json(spec, max_memory_mb, now),
        }
    }

    fn text(&self, spec: &FunctionSpec, max_memory_mb: u32) -> String {
        match self {
            Line::InitStart => format!(
                "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(spec),
                spec.runtime_version_arn
            ),
            Line::InitReport { duration, status } => {
                format!(
                    "INIT_REPORT Init Duration: {:.2} ms\tPhase: init{}",
                    millis(*duration),
                    status_text(status)
                )
            }
            Line::Start { request, .. } => format!("START RequestId: {request} Version: {}", spec.version),
            Line::End { request } => format!("END RequestId: {request}"),
            Line::Report { request, duration, init, status, trace } => {
                let mut line = format!(
                    "REPORT RequestId: {request}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {max_memory_mb} MB\t",
                    millis(*duration),
                    billed_ms(*duration, *init),
                    spec.memory_mb,
                );
                if let Some(init) = init {
                    write!(line, "Init Duration: {:.2} ms\t", millis(*init)).expect("writing to a string");
                }
                if !matches!(status, Status::Success | Status::HandlerError { .. }) {
                    line.push_str(status_text(status).trim_start());
                    line.push('\t');
                }
                if let Some(segment) = trace.as_deref().and_then(sampled_segment) {
                    write!(line, "\nXRAY TraceId: {}\tSegmentId: {}\tSampled: true\t", segment.0, segment.1)
                        .expect("writing to a string");
                }
                line
            }
        }
    }

    fn json(&self, spec: &FunctionSpec, max_memory_mb: u32, now: Timestamp) -> Option<String> {
        let failed = match self {
            Line::InitReport { status, .. } | Line::Report { status, .. } => *status != Status::Success,
            Line::InitStart | Line::Start { .. } | Line::End { .. } => false,
        };
        if spec.logging.system_level == Some(SystemLogLevel::Warn) && !failed {
            return None;
        }
        let (kind, record) = match self {
            Line::InitStart => (
                "platform.initStart",
                json!({
                    "initializationType": "on-demand",
                    "phase": "init",
                    "runtimeVersion": runtime_version(spec),
                    "runtimeVersionArn": spec.runtime_version_arn,
                    "functionName": spec.function_name.to_string(),
                    "functionVersion": spec.version.to_string(),
                }),
            ),
            Line::InitReport { duration, status } => {
                let mut record = json!({
                    "initializationType": "on-demand",
                    "phase": "init",
                    "status": status.name(),
                    "metrics": { "durationMs": rounded(*duration) },
                });
                add_error_type(&mut record, status);
                ("platform.initReport", record)
            }
            Line::Start { request, .. } => {
                ("platform.start", json!({ "requestId": request, "version": spec.version.to_string() }))
            }
            // There is no `platform.end` in JSON logs.
            Line::End { .. } => return None,
            Line::Report { request, duration, init, status, .. } => {
                let mut metrics = json!({
                    "durationMs": rounded(*duration),
                    "billedDurationMs": billed_ms(*duration, *init),
                    "memorySizeMB": spec.memory_mb,
                    "maxMemoryUsedMB": max_memory_mb,
                });
                if let Some(init) = init {
                    metrics["initDurationMs"] = json!(rounded(*init));
                }
                let mut record = json!({ "requestId": request, "metrics": metrics, "status": status.name() });
                add_error_type(&mut record, status);
                ("platform.report", record)
            }
        };
        Some(json!({ "time": format!("{now:.3}"), "type": kind, "record": record }).to_string())
    }
}

fn add_error_type(record: &mut serde_json::Value, status: &Status) {
    match status {
        Status::Error { error_type } | Status::HandlerError { error_type } => {
            record["errorType"] = json!(error_type)
        }
        Status::Success | Status::Timeout => {}
    }
}

fn status_text(status: &Status) -> String {
    match status {
        Status::Success => String::new(),
        Status::Timeout => "\tStatus: timeout".to_owned(),
        Status::Error { error_type } | Status::HandlerError { error_type } => {
            format!("\tStatus: error\tError Type: {error_type}")
        }
    }
}

/// `python:3.13.v1`: AWS numbers its builds; ours is always the first.
fn runtime_version(spec: &FunctionSpec) -> String {
    let name = spec.runtime.as_str();
    if let Some(system) = name.strip_prefix("provided.") {
        return format!("provided:{system}.v1");
    }
    match name.find(|c: char| c.is_ascii_digit()) {
        Some(at) => format!("{}:{}.v1", name[..at].trim_end_matches('.'), name[at..].trim_end_matches(".x")),
        None => format!("{name}.v1"),
    }
}

/// Root and parent of a sampled trace header.
fn sampled_segment(header: &str) -> Option<(&str, &str)> {
    let field =
        |name: &str| header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    (field("Sampled")? == "1").then_some((field("Root")?, field("Parent")?))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Milliseconds with microsecond precision, as telemetry has them.
fn rounded(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Since August 2025 INIT of on-demand environments is billed too.
fn billed_ms(duration: Duration, init: Option<Duration>) -> u64 {
    millis(duration + init.unwrap_or_default()).ceil() as u64
}
