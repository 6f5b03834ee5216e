//! What the platform says, as records: `platform.start`, `platform.report` and their like, with their fields in AWS's order.
//!
//! Must not know levels, formats or schemas: who shows a record decides about it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    About, Context, Extension, Line, Phase, ResponseTiming, Span, Startup, Status, Timing, billed_ms, millis,
    runtime_version, sampled_segment,
};
use crate::telemetry::Api;

/// A record and its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// `platform.start` and the like.
    pub(crate) kind: &'static str,
    pub(crate) content: Value,
}

impl Line {
    /// The record that says this.
    pub(crate) fn record(&self, context: &Context<'_>) -> Record {
        let Context { spec, initialization, instance, max_memory_mb, now } = *context;
        // What stands before the rest of a record about a start. RESTORE has neither type nor phase.
        let of_start = |phase: &Phase, rest: Value| match (phase, rest) {
            (Phase::Init | Phase::Invoke, Value::Object(rest)) => {
                let mut record =
                    json!({ "initializationType": initialization.as_str(), "phase": phase.name() });
                record.as_object_mut().expect("it is one").extend(rest);
                record
            }
            (_, rest) => rest,
        };
        let named = |phase: &Phase, of_init, of_restore| match phase {
            Phase::Init | Phase::Invoke => of_init,
            Phase::Restore => of_restore,
        };
        let (kind, content) = match self {
            Line::InitStart { phase } => {
                let record = json!({
                    "runtimeVersion": runtime_version(spec),
                    "runtimeVersionArn": spec.runtime_version_arn,
                    "functionName": spec.function_name.to_string(),
                    "functionVersion": spec.version.to_string(),
                    "instanceId": instance,
                    // Unverified: AWS's documentation shows megabytes, its environments were seen to tell bytes.
                    "instanceMaxMemory": u64::from(spec.memory_mb) << 20,
                });
                (named(phase, "platform.initStart", "platform.restoreStart"), of_start(phase, record))
            }
            Line::InitRuntimeDone { phase, status } => {
                let mut record = of_start(phase, json!({ "status": status.name() }));
                add_error_type(&mut record, status);
                (named(phase, "platform.initRuntimeDone", "platform.restoreRuntimeDone"), record)
            }
            Line::InitReport { phase, duration, status } => {
                let mut record = of_start(phase, json!({ "status": status.name() }));
                add_error_type(&mut record, status);
                record["metrics"] = json!({ "durationMs": rounded(*duration) });
                (named(phase, "platform.initReport", "platform.restoreReport"), record)
            }
            Line::Extension(Extension { name, state, events, error_type }) => {
                let mut record = json!({ "name": name, "state": state, "events": events });
                if let Some(error_type) = error_type {
                    record["errorType"] = json!(error_type);
                }
                ("platform.extension", record)
            }
            Line::Subscription { api, name, types } => {
                let kind = match api {
                    Api::Telemetry => "platform.telemetrySubscription",
                    Api::Logs => "platform.logsSubscription",
                };
                let types: Vec<_> = types.iter().map(|category| category.name()).collect();
                (kind, json!({ "name": name, "state": "Subscribed", "types": types }))
            }
            Line::Start(about) => {
                let mut record =
                    json!({ "requestId": about.request.to_string(), "version": spec.version.to_string() });
                add_tenant(&mut record, about);
                add_tracing(&mut record, about);
                ("platform.start", record)
            }
            Line::RuntimeDone { about, status, timing, produced_bytes } => {
                let mut record = json!({ "requestId": about.request.to_string() });
                add_tenant(&mut record, about);
                record["status"] = json!(status.name());
                add_error_type(&mut record, status);
                add_tracing(&mut record, about);
                record["spans"] = timing.spans(now);
                record["metrics"] = json!({
                    "durationMs": rounded(timing.duration),
                    "producedBytes": produced_bytes,
                });
                ("platform.runtimeDone", record)
            }
            Line::Report { about, duration, startup, status, extensions } => {
                let mut metrics = json!({
                    "durationMs": rounded(*duration),
                    "billedDurationMs": billed_ms(*duration, *startup),
                    "memorySizeMB": spec.memory_mb,
                    "maxMemoryUsedMB": max_memory_mb,
                });
                match startup {
                    None => {}
                    Some(Startup::Init(init)) => metrics["initDurationMs"] = json!(rounded(*init)),
                    Some(Startup::Restore { duration, billed }) => {
                        metrics["restoreDurationMs"] = json!(rounded(*duration));
                        metrics["billedRestoreDurationMs"] = json!(millis(*billed).ceil() as u64);
                    }
                }
                let mut record = json!({ "requestId": about.request.to_string() });
                add_tenant(&mut record, about);
                record["metrics"] = metrics;
                // Where between the others is unverified.
                add_tracing(&mut record, about);
                if let Some(Span { ago, duration }) = extensions {
                    record["spans"] = json!([span("extensionOverhead", now, *ago, *duration)]);
                }
                record["status"] = json!(status.name());
                add_error_type(&mut record, status);
                ("platform.report", record)
            }
            Line::End { request } => ("platform.end", json!({ "requestId": request.to_string() })),
        };
        Record { kind, content }
    }
}

impl Line {
    /// What the Logs API tells besides, of an invocation that ended with its process. AWS's words since 2025.
    pub(crate) fn fault(&self) -> Option<Record> {
        let Line::RuntimeDone { about, status, .. } = self else { return None };
        let text = match status {
            Status::Success | Status::HandlerError { .. } => return None,
            Status::Timeout => format!("RequestId: {} Status: timeout", about.request),
            Status::Error { error_type } => {
                format!("RequestId: {} Status: error\tErrorType: {error_type}", about.request)
            }
        };
        Some(Record { kind: "platform.fault", content: json!(text) })
    }
}

impl Timing {
    /// The parts, as far as there were any, counted back from the end.
    fn spans(&self, end: Timestamp) -> Value {
        let Some(ResponseTiming { latency, duration, overhead }) = self.response else { return json!([]) };
        json!([
            span("responseLatency", end, latency + duration + overhead, latency),
            span("responseDuration", end, duration + overhead, duration),
            span("runtimeOverhead", end, overhead, overhead),
        ])
    }
}

fn span(name: &str, now: Timestamp, ago: Duration, duration: Duration) -> Value {
    let start = now.checked_sub(ago).unwrap_or(now);
    json!({ "name": name, "start": format!("{start:.3}"), "durationMs": rounded(duration) })
}

fn add_error_type(record: &mut Value, status: &Status) {
    if let Some(error_type) = status.error_type() {
        record["errorType"] = json!(error_type);
    }
}

/// Text lines do not name tenants.
fn add_tenant(record: &mut Value, about: &About) {
    if let Some(tenant) = about.tenant.as_deref() {
        record["tenantId"] = json!(tenant);
    }
}

fn add_tracing(record: &mut Value, about: &About) {
    if let Some(trace) = about.trace.as_deref()
        && let Some((_, parent)) = sampled_segment(trace)
    {
        record["tracing"] = json!({ "spanId": parent, "type": "X-Amzn-Trace-Id", "value": trace });
    }
}

/// Milliseconds with microsecond precision.
fn rounded(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
