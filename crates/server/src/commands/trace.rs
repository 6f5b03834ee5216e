//! `hothouse trace`: what functions told X-Ray, as a tree.
//!
//! Must not change anything.

use std::{collections::HashMap, error::Error, process::ExitCode};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{CommandError, configuration, print, say, table};
use crate::{
    cli::TraceArgs,
    client::{Client, encode},
};

/// Prints one trace, or lists the latest.
pub(super) async fn run(args: &TraceArgs) -> Result<ExitCode, CommandError> {
    let client = Client::new(configuration(&args.client.0)?.client()?);
    match &args.id {
        Some(id) => one(&client, id, args.json).await,
        None => all(&client, args.json).await,
    }
}

async fn one(client: &Client, id: &str, json: bool) -> Result<ExitCode, CommandError> {
    let attempted = format!("failed to read the trace `{id}`");
    let answer = client.admin(&format!("/_hothouse/traces/{}", encode(id))).await.map_err(|error| {
        let unknown = error.is_not_found();
        let error = CommandError::client(attempted.clone(), error, client.config());
        if unknown {
            error.hint("`hothouse trace` lists the latest; only sampled traces are kept")
        } else {
            error
        }
    })?;
    let trace: Trace =
        serde_json::from_value(answer).map_err(|error| CommandError::new(attempted).because(error))?;
    if json {
        print(Value::Array(trace.segments))?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in tree(&trace) {
        print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn all(client: &Client, json: bool) -> Result<ExitCode, CommandError> {
    let failed =
        |cause: Box<dyn Error + Send + Sync>| CommandError::new("failed to list traces").because(cause);
    let mut answer = client
        .admin("/_hothouse/traces")
        .await
        .map_err(|error| CommandError::client("failed to list traces", error, client.config()))?;
    let traces = match answer.get_mut("traces").map(Value::take) {
        Some(Value::Array(traces)) => traces,
        _ => return Err(failed("the answer has no list of them".into())),
    };
    if json {
        print(Value::Array(traces))?;
        return Ok(ExitCode::SUCCESS);
    }
    if traces.is_empty() {
        say(
            "no traces: they come from functions that send segments with an X-Ray SDK, when the trace is sampled",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = traces
        .into_iter()
        .map(|trace| serde_json::from_value(trace).map(Listed::row))
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.into()))?;
    for line in table::lines(&["TRACE", "BEGAN", "DURATION", "SEGMENTS", "STATUS", "NAME"], &rows) {
        print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: Option<String>,
    start_time: f64,
    duration: f64,
    segments: usize,
    in_progress: bool,
    fault: bool,
    error: bool,
    throttle: bool,
}

impl Listed {
    fn row(self) -> Vec<String> {
        let began = jiff::Timestamp::from_millisecond((self.start_time * 1000.0) as i64);
        let began =
            began.map_or_else(|_| "-".to_owned(), |began| began.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
        let status = status(self.fault, self.error, self.throttle, self.in_progress).unwrap_or("ok");
        vec![
            self.id,
            began,
            duration(self.duration),
            self.segments.to_string(),
            status.to_owned(),
            self.name.unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

#[derive(Debug, Deserialize)]
struct Trace {
    id: String,
    segments: Vec<Value>,
}

/// What of a segment or subsegment people want to see. Programs send what they like, so nothing is demanded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Segment {
    id: String,
    name: String,
    start_time: f64,
    end_time: Option<f64>,
    parent_id: Option<String>,
    origin: Option<String>,
    namespace: Option<String>,
    fault: bool,
    error: bool,
    throttle: bool,
    in_progress: bool,
    http: Value,
    annotations: Map<String, Value>,
    cause: Value,
    subsegments: Vec<Segment>,
}

/// The trace's lines: each segment below its parent, with its subsegments, in the order of their starts.
fn tree(trace: &Trace) -> Vec<String> {
    let mut segments: Vec<Segment> =
        trace.segments.iter().filter_map(|document| serde_json::from_value(document.clone()).ok()).collect();
    segments.iter_mut().for_each(adopt);
    let known: std::collections::HashSet<String> = segments.iter().flat_map(ids).collect();
    let mut children: HashMap<String, Vec<Segment>> = HashMap::new();
    let mut roots = Vec::new();
    for segment in segments {
        match &segment.parent_id {
            Some(parent) if known.contains(parent) && *parent != segment.id => {
                children.entry(parent.clone()).or_default().push(segment);
            }
            Some(_) | None => roots.push(segment),
        }
    }
    in_order(&mut roots);
    let mut lines = vec![trace.id.clone()];
    let count = roots.len();
    for (at, root) in roots.into_iter().enumerate() {
        draw(root, "", at + 1 == count, &mut children, &mut lines);
    }
    // A circle of parents has no root; it is shown nevertheless.
    let mut lost: Vec<Segment> = children.into_values().flatten().collect();
    in_order(&mut lost);
    lines.extend(lost.iter().map(|segment| format!("?─ {}", describe(segment))));
    lines
}

/// Subsegments inside a document need not name their parent.
fn adopt(segment: &mut Segment) {
    for inner in &mut segment.subsegments {
        inner.parent_id = Some(segment.id.clone());
        adopt(inner);
    }
}

fn ids(segment: &Segment) -> Vec<String> {
    let inner = segment.subsegments.iter().flat_map(ids);
    std::iter::once(segment.id.clone()).chain(inner).collect()
}

fn in_order(segments: &mut [Segment]) {
    segments.sort_by(|a, b| a.start_time.total_cmp(&b.start_time).then_with(|| a.id.cmp(&b.id)));
}

fn draw(
    mut segment: Segment,
    indent: &str,
    last: bool,
    children: &mut HashMap<String, Vec<Segment>>,
    lines: &mut Vec<String>,
) {
    let (branch, stem) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    lines.push(format!("{indent}{branch}{}", describe(&segment)));
    let mut below = std::mem::take(&mut segment.subsegments);
    below.extend(children.remove(&segment.id).unwrap_or_default());
    in_order(&mut below);
    let indent = format!("{indent}{stem}");
    let bar = if below.is_empty() { "  " } else { "│ " };
    for note in notes(&segment) {
        lines.push(format!("{indent}{bar}{note}"));
    }
    let count = below.len();
    for (at, inner) in below.into_iter().enumerate() {
        draw(inner, &indent, at + 1 == count, children, lines);
    }
}

fn describe(segment: &Segment) -> String {
    let mut line = segment.name.clone();
    if let Some(kind) = segment.origin.as_ref().or(segment.namespace.as_ref()) {
        line.push_str(&format!(" ({kind})"));
    }
    if let Some(end) = segment.end_time {
        line.push_str(&format!("  {}", duration(end - segment.start_time)));
    }
    if let Some(code) = segment.http.pointer("/response/status").filter(|code| code.is_number()) {
        line.push_str(&format!("  {code}"));
    }
    let in_progress = segment.in_progress || segment.end_time.is_none();
    if let Some(status) = status(segment.fault, segment.error, segment.throttle, in_progress) {
        line.push_str(&format!("  {status}"));
    }
    line
}

/// Annotations, then exceptions.
fn notes(segment: &Segment) -> Vec<String> {
    let annotations = segment.annotations.iter().map(|(key, value)| format!("{key} = {value}"));
    let exceptions = segment.cause.pointer("/exceptions").and_then(Value::as_array);
    let exceptions = exceptions.into_iter().flatten().map(|exception| {
        let text = |key| exception.get(key).and_then(Value::as_str).unwrap_or_default();
        format!("! {}: {}", text("type"), text("message").lines().next().unwrap_or_default())
    });
    annotations.chain(exceptions).collect()
}

fn status(fault: bool, error: bool, throttle: bool, in_progress: bool) -> Option<&'static str> {
    match (fault, throttle, error, in_progress) {
        (true, ..) => Some("fault"),
        (_, true, ..) => Some("throttle"),
        (_, _, true, _) => Some("error"),
        (.., true) => Some("in progress"),
        (false, false, false, false) => None,
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 1.0 { format!("{:.1}ms", seconds * 1000.0) } else { format!("{seconds:.2}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(segments: Value) -> String {
        let Value::Array(segments) = segments else { panic!("a list") };
        tree(&Trace { id: "1-58406520-a006649127e371903a2de979".into(), segments }).join("\n")
    }

    #[test]
    fn segments_hang_below_their_parents() {
        insta::assert_snapshot!(drawn(json!([
            { "id": "b", "name": "work", "start_time": 10.0005, "end_time": 10.2, "parent_id": "a", "type": "subsegment",
              "annotations": { "color": "red", "count": 2 },
              "subsegments": [{ "id": "d", "name": "inner", "start_time": 10.1, "end_time": 10.15, "error": true }] },
            { "id": "a", "name": "front", "origin": "AWS::Lambda", "start_time": 10.0, "end_time": 11.5,
              "http": { "response": { "status": 200 } } },
            { "id": "c", "name": "s3", "namespace": "aws", "start_time": 10.3, "parent_id": "a", "fault": true,
              "cause": { "exceptions": [{ "type": "KeyError", "message": "'x'\nmore" }] } },
            { "id": "e", "name": "below the inner one", "start_time": 10.12, "end_time": 10.13, "parent_id": "d" },
            { "id": "f", "name": "alone", "start_time": 12.0, "in_progress": true, "parent_id": "unknown" },
        ])), @r#"
        1-58406520-a006649127e371903a2de979
        ├─ front (AWS::Lambda)  1.50s  200
        │  ├─ work  199.5ms
        │  │  │ color = "red"
        │  │  │ count = 2
        │  │  └─ inner  50.0ms  error
        │  │     └─ below the inner one  10.0ms
        │  └─ s3 (aws)  fault
        │       ! KeyError: 'x'
        └─ alone  in progress
        "#);
    }

    #[test]
    fn a_circle_of_parents_is_shown_once() {
        insta::assert_snapshot!(drawn(json!([
            { "id": "a", "name": "one", "start_time": 1.0, "end_time": 1.1, "parent_id": "b" },
            { "id": "b", "name": "two", "start_time": 1.0, "end_time": 1.2, "parent_id": "a" },
            { "id": "c", "name": "own", "start_time": 1.0, "end_time": 1.2, "parent_id": "c" },
        ])), @r"
        1-58406520-a006649127e371903a2de979
        └─ own  200.0ms
        ?─ one  100.0ms
        ?─ two  200.0ms
        ");
    }
}
