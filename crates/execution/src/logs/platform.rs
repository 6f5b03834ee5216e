//! What the platform itself says of an environment and its invocations: START, END, REPORT, INIT_START, EXTENSION and
//! their like, as text, as JSON, and as the records that subscribers of telemetry get.
//!
//! Must not know where lines go. Formats: AWS's "Lambda log formats", its telemetry schema, and recordings of real
//! functions.

mod records;

use std::{fmt::Write, sync::Arc, time::Duration};

use hothouse_api::{
    generated::{LogFormat, SystemLogLevel},
    name::RequestId,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    environment::InitializationType,
    fault::Fault,
    invocation::Invocation,
    spec::FunctionSpec,
    telemetry::{Api, Category},
};

pub(crate) use records::Record;

/// Something about the life of an environment or an invocation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    InitStart {
        phase: Phase,
    },
    /// The runtime asked for its first event, or will not. Logs show it as JSON at level DEBUG only.
    InitRuntimeDone {
        phase: Phase,
        status: Status,
    },
    /// INIT ended. For an on-demand environment that came up, only JSON at level DEBUG says so.
    InitReport {
        phase: Phase,
        duration: Duration,
        status: Status,
    },
    /// What became of an extension in INIT.
    Extension(Extension),
    /// An extension subscribed to telemetry or logs.
    Subscription {
        api: Api,
        name: String,
        types: Vec<Category>,
    },
    Start(About),
    /// The runtime is done with its event, or was ended over it. Logs show it as JSON at level DEBUG only.
    RuntimeDone {
        about: About,
        status: Status,
        timing: Timing,
        /// Size of the response.
        produced_bytes: u64,
    },
    End {
        request: RequestId,
    },
    Report {
        about: About,
        duration: Duration,
        startup: Option<Startup>,
        status: Status,
        /// How long extensions took after the runtime was done, and how long ago that began.
        extensions: Option<Span>,
    },
}

/// Whether INIT runs before any invocation, or inside one that found no process; or whether there is a snapshot, so that
/// it has run long ago, and what starts is a RESTORE: lines and records of that have names of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Init,
    Invoke,
    Restore,
}

/// How long it took to start an environment, which its first REPORT tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Startup {
    /// INIT.
    Init(Duration),
    /// RESTORE, and what of it the function's owner pays for: from the moment at which the runtime goes on.
    Restore { duration: Duration, billed: Duration },
}

/// The invocation that a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) request: RequestId,
    pub(crate) trace: Option<String>,
    pub(crate) tenant: Option<Arc<str>>,
}

/// An extension, as INIT left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) name: String,
    /// `Ready`, `LaunchError` and the like: AWS's names of its states.
    pub(crate) state: &'static str,
    /// `INVOKE` and `SHUTDOWN`, if it wants them.
    pub(crate) events: Vec<&'static str>,
    pub(crate) error_type: Option<String>,
}

/// What the runtime's part of an invocation was made of. It ended when the line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// All of it.
    pub(crate) duration: Duration,
    /// Its parts, if the runtime answered at all.
    pub(crate) response: Option<ResponseTiming>,
}

/// The parts of an invocation that was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ResponseTiming {
    /// From the event to the beginning of the response.
    pub(crate) latency: Duration,
    /// From there to its end.
    pub(crate) duration: Duration,
    /// From there until the runtime asked for the next event.
    pub(crate) overhead: Duration,
}

/// A part of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// It began so long before the line is written.
    pub(crate) ago: Duration,
    pub(crate) duration: Duration,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Init => "init",
            Phase::Invoke => "invoke",
            Phase::Restore => "restore",
        }
    }
}

impl Startup {
    /// How long INIT took, if it was one.
    pub(crate) fn init(self) -> Option<Duration> {
        match self {
            Startup::Init(duration) => Some(duration),
            Startup::Restore { .. } => None,
        }
    }

    fn billed(self) -> Duration {
        match self {
            Startup::Init(duration) => duration,
            Startup::Restore { billed, .. } => billed,
        }
    }
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
    /// Name of the log stream, by which AWS names environments.
    pub(crate) instance: &'a str,
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

impl About {
    pub(crate) fn of(invocation: &Invocation) -> About {
        About {
            request: invocation.request_id,
            trace: invocation.trace_id.clone(),
            tenant: invocation.tenant_id.clone(),
        }
    }
}

impl From<Invocation> for About {
    fn from(invocation: Invocation) -> About {
        About { request: invocation.request_id, trace: invocation.trace_id, tenant: invocation.tenant_id }
    }
}

impl Line {
    pub(crate) fn start(invocation: &Invocation) -> Line {
        Line::Start(About::of(invocation))
    }

    pub(crate) fn runtime_done(
        invocation: &Invocation,
        status: Status,
        timing: Timing,
        produced_bytes: u64,
    ) -> Line {
        Line::RuntimeDone { about: About::of(invocation), status, timing, produced_bytes }
    }

    pub(crate) fn end(invocation: &Invocation) -> Line {
        Line::End { request: invocation.request_id }
    }

    /// The last line of an invocation.
    pub(crate) fn report(
        invocation: Invocation,
        duration: Duration,
        startup: Option<Startup>,
        status: Status,
        extensions: Option<Span>,
    ) -> Line {
        Line::Report { about: invocation.into(), duration, startup, status, extensions }
    }

    pub(crate) fn init_runtime_done(phase: Phase, status: Status) -> Line {
        Line::InitRuntimeDone { phase, status }
    }

    pub(crate) fn init_report(phase: Phase, duration: Duration, status: Status) -> Line {
        Line::InitReport { phase, duration, status }
    }

    /// Gives the record that says this in the log, without final newline, if the function's log format and system log
    /// level have one.
    pub(crate) fn say(&self, context: &Context<'_>) -> Option<String> {
        match context.spec.logging.format {
            LogFormat::Text => self.text(context),
            LogFormat::Json => {
                let least = detail(context.spec.logging.system_level.unwrap_or(SystemLogLevel::Info));
                // Building a record costs more than an invocation's other lines: first whether it is wanted.
                if detail(self.level(context.initialization)?) > least {
                    return None;
                }
                let record = self.record(context);
                Some(json_line(context, record.kind, &record.content))
            }
        }
    }

    fn text(&self, context: &Context<'_>) -> Option<String> {
        let Context { spec, initialization, max_memory_mb, .. } = *context;
        Some(match self {
            // INIT inside an invocation is not shown (AWS: "suppressed init").
            Line::InitStart { phase: Phase::Invoke } | Line::InitReport { phase: Phase::Invoke, .. } => {
                return None;
            }
            Line::InitRuntimeDone { .. } | Line::RuntimeDone { .. } => return None,
            Line::InitStart { phase: Phase::Init } => format!(
                "INIT_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(spec),
                spec.runtime_version_arn
            ),
            Line::InitStart { phase: Phase::Restore } => format!(
                "RESTORE_START Runtime Version: {}\tRuntime Version ARN: {}",
                runtime_version(spec),
                spec.runtime_version_arn
            ),
            Line::InitReport { phase: Phase::Restore, duration, status } => {
                let mut line = format!("RESTORE_REPORT Restore Duration: {:.2} ms", millis(*duration));
                push_status(&mut line, "\t", status);
                line
            }
            Line::InitReport { status: Status::Success, .. }
                if initialization == InitializationType::OnDemand =>
            {
                return None;
            }
            Line::InitReport { duration, status, .. } => {
                let mut line = format!("INIT_REPORT Init Duration: {:.2} ms\tPhase: init", millis(*duration));
                push_status(&mut line, "\t", status);
                line
            }
            Line::Extension(Extension { name, state, events, error_type }) => {
                let events = events.join(", ");
                let mut line = format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{events}]");
                if let Some(error_type) = error_type {
                    write!(line, "\tError Type: {error_type}").expect("writing to a string");
                }
                line
            }
            Line::Subscription { api, name, types } => {
                let types: Vec<_> = types.iter().map(|category| category.title()).collect();
                let what = match api {
                    Api::Telemetry => "TELEMETRY",
                    Api::Logs => "LOGS",
                };
                format!("{what}\tName: {name}\tState: Subscribed\tTypes: [{}]", types.join(", "))
            }
            Line::Start(about) => {
                format!("START RequestId: {} Version: {}", about.request, spec.version)
            }
            Line::End { request } => format!("END RequestId: {request}"),
            Line::Report { about, duration, startup, status, .. } => {
                let mut line = format!(
                    "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {max_memory_mb} MB\t",
                    about.request,
                    millis(*duration),
                    billed_ms(*duration, *startup),
                    spec.memory_mb,
                );
                match startup {
                    None => {}
                    Some(Startup::Init(init)) => {
                        write!(line, "Init Duration: {:.2} ms\t", millis(*init))
                            .expect("writing to a string");
                    }
                    Some(Startup::Restore { duration, billed }) => {
                        let (restore, billed) = (millis(*duration), millis(*billed).ceil());
                        write!(
                            line,
                            "Restore Duration: {restore:.2} ms\tBilled Restore Duration: {billed} ms\t"
                        )
                        .expect("writing to a string");
                    }
                }
                if !matches!(status, Status::HandlerError { .. }) && push_status(&mut line, "", status) {
                    line.push('\t');
                }
                if let Some((root, parent)) = about.trace.as_deref().and_then(sampled_segment) {
                    write!(line, "\nXRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t")
                        .expect("writing to a string");
                }
                line
            }
        })
    }

    /// The level of its JSON record, after AWS's "System log level event mapping"; `None` for what JSON logs do not have.
    /// Unverified in its details: which records stand beside a failed report, for one.
    fn level(&self, initialization: InitializationType) -> Option<SystemLogLevel> {
        use SystemLogLevel::{Debug, Info, Warn};
        let unless_failed = |status: &Status, level| if *status == Status::Success { level } else { Warn };
        Some(match self {
            // As in text.
            Line::InitStart { phase: Phase::Invoke }
            | Line::InitRuntimeDone { phase: Phase::Invoke, .. }
            | Line::InitReport { phase: Phase::Invoke, .. } => return None,
            // DEBUG where no runtime version is known; we always name one.
            Line::InitStart { phase: Phase::Init | Phase::Restore } | Line::Start(_) => Info,
            Line::InitRuntimeDone { status, .. } | Line::RuntimeDone { status, .. } => {
                unless_failed(status, Debug)
            }
            // AWS lists "any but on-demand: INFO" before the status; a failure is told at WARN here all the same.
            Line::InitReport { status, .. } => match initialization {
                InitializationType::ProvisionedConcurrency | InitializationType::SnapStart => {
                    unless_failed(status, Info)
                }
                InitializationType::OnDemand => unless_failed(status, Debug),
            },
            Line::Extension(extension) => {
                if extension.error_type.is_none() {
                    Debug
                } else {
                    Warn
                }
            }
            Line::Subscription { .. } => Debug,
            Line::End { .. } => return None,
            Line::Report { status, .. } => unless_failed(status, Info),
        })
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
            LogFormat::Json => json_line(context, "platform.logsDropped", &self.record()),
        }
    }

    /// `platform.logsDropped`.
    pub(crate) fn record(self) -> Value {
        json!({ "droppedBytes": self.bytes, "droppedRecords": self.records, "reason": DROP_REASON })
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

/// Since August 2025 INIT of on-demand environments is billed too; RESTORE always was, each part rounded by itself.
fn billed_ms(duration: Duration, startup: Option<Startup>) -> u64 {
    let billed = startup.map(Startup::billed).unwrap_or_default();
    match startup {
        Some(Startup::Restore { .. }) => (millis(duration).ceil() + millis(billed).ceil()) as u64,
        Some(Startup::Init(_)) | None => millis(duration + billed).ceil() as u64,
    }
}

#[cfg(test)]
pub(super) mod tests;
