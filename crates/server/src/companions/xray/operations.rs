//! The operations of the X-Ray API that need no more than the traces themselves.
//!
//! <https://docs.aws.amazon.com/xray/latest/api/API_Operations.html>.
//! Must not evaluate filter expressions: asking for one is refused rather than ignored.

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Scope, Xray, respond,
    segment::{Segment, trace_id},
    store::Trace,
};

/// Traces of one answer.
const PAGE: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    PutTraceSegments,
    BatchGetTraces,
    GetTraceSummaries,
    GetSamplingRules,
    GetSamplingTargets,
    PutTelemetryRecords,
    Unknown,
}

impl Operation {
    pub(super) fn of(parts: &Parts) -> Self {
        if parts.method != Method::POST {
            return Operation::Unknown;
        }
        match parts.uri.path() {
            "/TraceSegments" => Operation::PutTraceSegments,
            "/Traces" => Operation::BatchGetTraces,
            "/TraceSummaries" => Operation::GetTraceSummaries,
            "/GetSamplingRules" => Operation::GetSamplingRules,
            "/SamplingTargets" => Operation::GetSamplingTargets,
            "/TelemetryRecords" => Operation::PutTelemetryRecords,
            _ => Operation::Unknown,
        }
    }

    /// Whether SDKs ask the daemon for it, over TCP and unsigned.
    pub(super) fn is_daemons(self) -> bool {
        match self {
            Operation::GetSamplingRules | Operation::GetSamplingTargets => true,
            Operation::PutTraceSegments
            | Operation::BatchGetTraces
            | Operation::GetTraceSummaries
            | Operation::PutTelemetryRecords
            | Operation::Unknown => false,
        }
    }
}

pub(super) fn handle(xray: &Xray, scope: &Scope, operation: Operation, body: &[u8]) -> Response<Bytes> {
    let answer = match operation {
        Operation::PutTraceSegments => input(body).map(|input| put(xray, scope, &input)),
        Operation::BatchGetTraces => input(body).map(|input| batch_get(xray, scope, &input)),
        Operation::GetTraceSummaries => input(body).and_then(|input| summaries(xray, scope, &input)),
        // No rules: clients then go by their own, which by default are AWS's (one a second, and 5 %).
        Operation::GetSamplingRules => Ok(json!({ "SamplingRuleRecords": [] })),
        Operation::GetSamplingTargets => Ok(json!({
            "SamplingTargetDocuments": [],
            "LastRuleModification": 0,
            "UnprocessedStatistics": [],
        })),
        Operation::PutTelemetryRecords => Ok(json!({})),
        Operation::Unknown => {
            let message = "Hothouse's X-Ray does not implement this operation.";
            return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message);
        }
    };
    match answer {
        Ok(answer) => respond(StatusCode::OK, &answer),
        Err(message) => error(StatusCode::BAD_REQUEST, "InvalidRequestException", &message),
    }
}

fn error(status: StatusCode, code: &'static str, message: &str) -> Response<Bytes> {
    let mut response = respond(status, &json!({ "Message": message }));
    response.headers_mut().insert("x-amzn-errortype", http::HeaderValue::from_static(code));
    response
}

fn input<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("The request is not understood: {error}"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutTraceSegments {
    trace_segment_documents: Vec<String>,
}

fn put(xray: &Xray, scope: &Scope, input: &PutTraceSegments) -> Value {
    let mut unprocessed = Vec::new();
    for document in &input.trace_segment_documents {
        if let Err(error) = xray.keep(document, Some(scope.clone())) {
            #[derive(Deserialize)]
            struct Named {
                id: String,
            }
            let named: Option<Named> = serde_json::from_str(document).ok();
            unprocessed.push(json!({
                "Id": named.map(|named| named.id),
                "ErrorCode": error.code(),
                "Message": hothouse_execution::chain(&error),
            }));
        }
    }
    json!({ "UnprocessedTraceSegments": unprocessed })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchGetTraces {
    trace_ids: Vec<String>,
}

fn batch_get(xray: &Xray, scope: &Scope, input: &BatchGetTraces) -> Value {
    let store = xray.store();
    let found: Vec<Value> = input
        .trace_ids
        .iter()
        .filter_map(|id| store.trace(&trace_id(id)?))
        .filter(|trace| trace.is_visible_to(scope))
        .map(|trace| {
            let segments: Vec<Value> = trace
                .segments()
                .filter(|segment| segment.is_visible_to(scope))
                .map(|segment| json!({ "Id": segment.id(), "Document": segment.document() }))
                .collect();
            json!({
                "Id": trace.id(),
                "Duration": trace.duration(),
                "LimitExceeded": false,
                "Segments": segments,
            })
        })
        .collect();
    json!({ "Traces": found, "UnprocessedTraceIds": [] })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetTraceSummaries {
    /// Seconds since the epoch.
    start_time: f64,
    end_time: f64,
    filter_expression: Option<String>,
    /// How many traces were answered before.
    next_token: Option<String>,
}

fn summaries(xray: &Xray, scope: &Scope, input: &GetTraceSummaries) -> Result<Value, String> {
    if input.filter_expression.as_deref().is_some_and(|expression| !expression.is_empty()) {
        return Err("Hothouse does not evaluate filter expressions. Leave FilterExpression out.".to_owned());
    }
    let before: usize = match &input.next_token {
        Some(token) => token.parse().map_err(|_| "NextToken is invalid.".to_owned())?,
        None => 0,
    };
    let now = xray.now();
    let store = xray.store();
    let mut found = store
        .newest()
        .filter(|trace| (input.start_time..=input.end_time).contains(&trace.start()))
        .filter(|trace| trace.is_visible_to(scope))
        .skip(before);
    let page: Vec<Value> = found.by_ref().take(PAGE).map(|trace| summary(trace, scope)).collect();
    let next = found.next().map(|_| (before + PAGE).to_string());
    Ok(json!({
        "TracesProcessedCount": page.len(),
        "TraceSummaries": page,
        "ApproximateTime": now,
        "NextToken": next,
    }))
}

fn summary(trace: &Trace, scope: &Scope) -> Value {
    let mut annotations = serde_json::Map::new();
    for (key, value) in trace.segments().flat_map(Segment::annotations) {
        let typed = match value {
            Value::Bool(value) => json!({ "BooleanValue": value }),
            Value::Number(value) => json!({ "NumberValue": value }),
            Value::String(value) => json!({ "StringValue": value }),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        let entry = json!({ "AnnotationValue": typed, "ServiceIds": [] });
        let values = annotations.entry(key.clone()).or_insert_with(|| json!([]));
        if let Value::Array(values) = values
            && !values.contains(&entry)
        {
            values.push(entry);
        }
    }
    let service = |segment: &Segment| {
        json!({
            "Name": segment.name(),
            "Names": [segment.name()],
            "AccountId": scope.account.to_string(),
            "Type": segment.origin(),
        })
    };
    let services: Vec<Value> =
        trace.segments().filter(|segment| !segment.is_subsegment()).map(service).collect();
    let root = trace.root();
    let member = |pointer: &str| root.and_then(Segment::http).and_then(|http| http.pointer(pointer));
    json!({
        "Id": trace.id(),
        "StartTime": trace.start(),
        "Duration": trace.duration(),
        "ResponseTime": root.map(|root| (root.end() - root.start()).max(0.0)),
        "HasFault": trace.any(Segment::fault),
        "HasError": trace.any(Segment::error),
        "HasThrottle": trace.any(Segment::throttle),
        "IsPartial": trace.any(Segment::in_progress),
        "Http": {
            "HttpURL": member("/request/url"),
            "HttpMethod": member("/request/method"),
            "HttpStatus": member("/response/status"),
        },
        "Annotations": annotations,
        "Users": [],
        "ServiceIds": services,
        "EntryPoint": root.map(service),
    })
}
