//! The platform's own log lines: START, END, REPORT, INIT_START, INIT_REPORT, as text or JSON.
//!
//! Must not know where lines go. Formats: AWS's "Lambda log formats", its telemetry schema, and recordings of real
//! functions.

use std::{fmt::Write, sync::Arc, time::Duration};

use hothouse_api::generated::{LogFormat, SystemLogLevel};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{environment::InitializationType, fault::Fault, invocation::Invocation, spec::FunctionSpec};

/// A line about the life of an environment or an invocation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    InitStart,
    /// INIT ended. For an on-demand environment that came up, only JSON at level DEBUG says so.
    InitReport {
        duration: Duration,
        status: Status,
    },
    Start {
        request: String,
        trace: Option<String>,
        tenant: Option<Arc<str>>,
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
        tenant: Option<Arc<str>>,
    },
}

/// Records of the function that came faster than they could be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogsDropped {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
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

/// Whose line it is, and when it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a FunctionSpec,
    pub(crate) initialization: InitializationType,
    pub(crate) max_memory_mb: u32,
    pub(crate) now: Timestamp,
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

    fn error_type(&self) -> Option<&str> {
        match self {
            Status::Error { error_type } | Status::HandlerError { error_type } => Some(error_type),
            Status::Success | Status::Timeout => None,
        }
    }
}

impl Line {
    pub(crate) fn start(invocation: &Invocation) -> Line {
        Line::Start {
            request: invocation.request_id.to_string(),
            trace: invocation.trace_id.clone(),
            tenant: invocation.tenant_id.clone(),
        }
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
            tenant: invocation.tenant_id.clone(),
        }
    }

    pub(crate) fn init_report(duration: Duration, status: Status) -> Line {
        Line::InitReport { duration, status }
    }

    /// Gives the records that say this, each without final newline: none, one or two, as the function's log format
    /// and system log level have it.
    pub(crate) fn say(&self, context: &Context<'_>, mut give: impl FnMut(String)) {
        match context.spec.logging.format {
            LogFormat::Text => {
                if let Some(text) = self.text(context) {
                    give(text);
                }
            }
            LogFormat::Json => {
                let least = detail(context.spec.logging.system_level.unwrap_or(SystemLogLevel::Info));
                self.json(context, |level, kind, record| {
                    if detail(level) <= least {
                        give(json_line(context, kind, &record));
                    }
                });
            }
        }
    }

    fn text(&self, context: &Context<'_>) -> Option<String> {
        let Context { spec, initialization, max_memory_mb, .. } = *context;
        Some(match self {
            Line::InitStart => format!(
                "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(spec),
                spec.runtime_version_arn
            ),
            Line::InitReport { status: Status::Success, .. }
                if initialization == InitializationType::OnDemand =>
            {
                return None;
            }
            Line::InitReport { duration, status } => {
                let mut line = format!("INIT_REPORT Init Duration: {:.2} ms\tPhase: init", millis(*duration));
                push_status(&mut line, "\t", status);
                line
            }
            Line::Start { request, .. } => format!("START RequestId: {request} Version: {}", spec.version),
            Line::End { request } => format!("END RequestId: {request}"),
            Line::Report { request, duration, init, status, trace, .. } => {
                let mut line = format!(
                    "REPORT RequestId: {request}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {max_memory_mb} MB\t",
                    millis(*duration),
                    billed_ms(*duration, *init),
                    spec.memory_mb,
                );
                if let Some(init) = init {
                    write!(line, "Init Duration: {:.2} ms\t", millis(*init)).expect("writing to a string");
                }
                if !matches!(status, Status::HandlerError { .. }) && push_status(&mut line, "", status) {
                    line.push('\t');
                }
                if let Some((root, parent)) = trace.as_deref().and_then(sampled_segment) {
                    write!(line, "\nXRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t")
                        .expect("writing to a string");
                }
                line
            }
        })
    }

    /// The records with their levels, after AWS's "System log level event mapping". Unverified in its details: which
    /// records stand beside a failed report, for one.
    fn json(&self, context: &Context<'_>, mut give: impl FnMut(SystemLogLevel, &'static str, Value)) {
        use SystemLogLevel::{Debug, Info, Warn};
        let Context { spec, initialization, max_memory_mb, .. } = *context;
        match self {
            // DEBUG where no runtime version is known; we always name one.
            Line::InitStart => give(
                Info,
                "platform.initStart",
                json!({
                    "initializationType": initialization.as_str(),
                    "phase": "init",
                    "runtimeVersion": runtime_version(spec),
                    "runtimeVersionArn": spec.runtime_version_arn,
                    "functionName": spec.function_name.to_string(),
                    "functionVersion": spec.version.to_string(),
                }),
            ),
            Line::InitReport { duration, status } => {
                let mut record = json!({
                    "initializationType": initialization.as_str(),
                    "phase": "init",
                    "status": status.name(),
                });
                add_error_type(&mut record, status);
                let level = if *status == Status::Success { Debug } else { Warn };
                give(level, "platform.initRuntimeDone", record.clone());
                record["metrics"] = json!({ "durationMs": rounded(*duration) });
                // AWS lists "any but on-demand: INFO" before the status; a failure is told at WARN here all the same.
                let level = match (initialization, status) {
                    (InitializationType::ProvisionedConcurrency, Status::Success) => Info,
                    (InitializationType::OnDemand, Status::Success) => Debug,
                    (_, Status::HandlerError { .. } | Status::Timeout | Status::Error { .. }) => Warn,
                };
                give(level, "platform.initReport", record);
            }
            Line::Start { request, trace, tenant } => {
                let mut record = json!({ "requestId": request, "version": spec.version.to_string() });
                add_tenant(&mut record, tenant.as_deref());
                add_tracing(&mut record, trace.as_deref());
                give(Info, "platform.start", record);
            }
            // There is no `platform.end` in JSON logs.
            Line::End { .. } => {}
            Line::Report { request, duration, init, status, trace, tenant } => {
                let succeeded = *status == Status::Success;
                let mut record = json!({ "requestId": request, "status": status.name() });
                add_error_type(&mut record, status);
                record["metrics"] = json!({ "durationMs": rounded(*duration) });
                add_tracing(&mut record, trace.as_deref());
                add_tenant(&mut record, tenant.as_deref());
                give(if succeeded { Debug } else { Warn }, "platform.runtimeDone", record);

                let mut metrics = json!({
                    "durationMs": rounded(*duration),
                    "billedDurationMs": billed_ms(*duration, *init),
                    "memorySizeMB": spec.memory_mb,
                    "maxMemoryUsedMB": max_memory_mb,
                });
                if let Some(init) = init {
                    metrics["initDurationMs"] = json!(rounded(*init));
                }
                let mut record = json!({ "requestId": request, "metrics": metrics });
                // Where between the others is unverified.
                add_tracing(&mut record, trace.as_deref());
                record["status"] = json!(status.name());
                add_error_type(&mut record, status);
                add_tenant(&mut record, tenant.as_deref());
                give(if succeeded { Info } else { Warn }, "platform.report", record);
            }
        }
    }
}

impl LogsDropped {
    /// The record that says this, at every system log level.
    pub(crate) fn say(self, context: &Context<'_>) -> String {
        let LogsDropped { records, bytes } = self;
        match context.spec.logging.format {
            // AWS has this in JSON only; the text is ours.
            LogFormat::Text => {
                format!("LOGS_DROPPED Records: {records}\tBytes: {bytes}\tReason: {DROP_REASON}")
            }
            LogFormat::Json => {
                let record =
                    json!({ "droppedBytes": bytes, "droppedRecords": records, "reason": DROP_REASON });
                json_line(context, "platform.logsDropped", &record)
            }
        }
    }
}

/// AWS's words.
const DROP_REASON: &str =
    "Some logs were dropped because the downstream consumer is slower than the logs production rate";

/// Grows with what is told.
fn detail(level: SystemLogLevel) -> u8 {
    match level {
        SystemLogLevel::Warn => 0,
        SystemLogLevel::Info => 1,
        SystemLogLevel::Debug => 2,
    }
}

fn json_line(context: &Context<'_>, kind: &str, record: &Value) -> String {
    json!({ "time": format!("{:.3}", context.now), "type": kind, "record": record }).to_string()
}

fn add_error_type(record: &mut Value, status: &Status) {
    if let Some(error_type) = status.error_type() {
        record["errorType"] = json!(error_type);
    }
}

/// Text lines do not name tenants.
fn add_tenant(record: &mut Value, tenant: Option<&str>) {
    if let Some(tenant) = tenant {
        record["tenantId"] = json!(tenant);
    }
}

fn add_tracing(record: &mut Value, trace: Option<&str>) {
    if let Some(trace) = trace
        && let Some((_, parent)) = sampled_segment(trace)
    {
        record["tracing"] = json!({ "spanId": parent, "type": "X-Amzn-Trace-Id", "value": trace });
    }
}

/// Adds how a phase ended, if it did not end well; says whether it did.
fn push_status(line: &mut String, before: &str, status: &Status) -> bool {
    if *status == Status::Success {
        return false;
    }
    write!(line, "{before}Status: {}", status.name()).expect("writing to a string");
    if let Some(error_type) = status.error_type() {
        write!(line, "\tError Type: {error_type}").expect("writing to a string");
    }
    true
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

#[cfg(test)]
pub(super) mod tests;
