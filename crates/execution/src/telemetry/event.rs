//! Events as subscribers get them: time, type, record; what each schema version has of them.
//!
//! Must not know who subscribes, nor how events travel.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Category, subscription::Schema};
use crate::logs::platform::Record;

/// Something that was said, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) time: Timestamp,
    pub(crate) content: Content<'a>,
}

/// What was said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    Platform(&'a Record),
    /// What a process wrote: one record, or a part of a long one.
    Output {
        category: Category,
        bytes: &'a [u8],
        /// The function's log format is JSON.
        json: bool,
    },
}

impl Event<'_> {
    pub(crate) fn category(&self) -> Category {
        match self.content {
            Content::Platform(_) => Category::Platform,
            Content::Output { category, .. } => category,
        }
    }

    /// Its size, roughly, before it is written.
    pub(crate) fn size(&self) -> usize {
        match self.content {
            Content::Platform(record) => record.kind.len(),
            Content::Output { bytes, .. } => bytes.len(),
        }
    }

    /// Writes it as this schema has it; says whether it has.
    pub(crate) fn write(&self, schema: Schema, out: &mut Vec<u8>) -> bool {
        let (kind, record) = match self.content {
            Content::Platform(record) => match schema.record(record) {
                Some(content) => (record.kind, content),
                None => return false,
            },
            Content::Output { category, bytes, json } => {
                (category.name(), Cow::Owned(output(bytes, json && schema.has_objects())))
            }
        };
        out.extend_from_slice(format!(r#"{{"time":"{:.3}","type":"{kind}","record":"#, self.time).as_bytes());
        serde_json::to_writer(&mut *out, &*record).expect("values are valid JSON, and vectors take all");
        out.push(b'}');
        true
    }
}

/// A record of a process: an object if it is one and they are wanted, else text as it came, newline and all.
fn output(bytes: &[u8], objects: bool) -> Value {
    let object = || serde_json::from_slice::<Map<String, Value>>(bytes).ok().map(Value::Object);
    let object = if objects && bytes.first() == Some(&b'{') { object() } else { None };
    object.unwrap_or_else(|| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

impl Schema {
    /// What processes write in JSON is JSON.
    fn has_objects(self) -> bool {
        match self {
            Schema::Telemetry20221213 | Schema::Telemetry20250129 => true,
            Schema::Telemetry20220701 | Schema::Logs20200815 | Schema::Logs20210318 => false,
        }
    }

    /// A record of the platform as it is in this schema, if it is.
    fn record(self, record: &Record) -> Option<Cow<'_, Value>> {
        let same = Some(Cow::Borrowed(&record.content));
        let only = |names: &[&str]| {
            let mut content = record.content.clone();
            if let Some(content) = content.as_object_mut() {
                content.retain(|name, _| names.contains(&name.as_str()));
            }
            content
        };
        match self {
            Schema::Telemetry20220701 | Schema::Telemetry20221213 | Schema::Telemetry20250129 => {
                match record.kind {
                    "platform.end" | "platform.fault" | "platform.logsSubscription" => None,
                    _ => same,
                }
            }
            // What the Logs API tells is what its documentation and AWS's own crate for extensions know.
            Schema::Logs20200815 | Schema::Logs20210318 => match record.kind {
                "platform.start"
                | "platform.end"
                | "platform.fault"
                | "platform.extension"
                | "platform.logsSubscription"
                | "platform.logsDropped" => same,
                "platform.report" => Some(Cow::Owned(only(&["requestId", "tenantId", "metrics", "tracing"]))),
                "platform.runtimeDone" if self == Schema::Logs20210318 => {
                    let mut content = only(&["requestId", "tenantId", "status"]);
                    // Its statuses are three.
                    if content["status"] == "error" {
                        content["status"] = json!("failure");
                    }
                    Some(Cow::Owned(content))
                }
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Schema; 5] = [
        Schema::Logs20200815,
        Schema::Logs20210318,
        Schema::Telemetry20220701,
        Schema::Telemetry20221213,
        Schema::Telemetry20250129,
    ];

    fn time() -> Timestamp {
        "2024-06-17T17:23:55.8Z".parse().unwrap()
    }

    fn written(content: Content<'_>, schema: Schema) -> Option<String> {
        let mut out = b">".to_vec();
        let written = Event { time: time(), content }.write(schema, &mut out);
        written.then(|| String::from_utf8(out).unwrap().split_off(1))
    }

    fn record(kind: &'static str, content: Value, schema: Schema) -> Option<Value> {
        let record = Record { kind, content };
        let text = written(Content::Platform(&record), schema)?;
        Some(serde_json::from_str::<Value>(&text).unwrap()["record"].take())
    }

    #[test]
    fn the_envelope() {
        let record = Record { kind: "platform.start", content: json!({ "requestId": "r" }) };
        assert_eq!(
            written(Content::Platform(&record), Schema::Telemetry20220701).unwrap(),
            r#"{"time":"2024-06-17T17:23:55.800Z","type":"platform.start","record":{"requestId":"r"}}"#
        );
    }

    /// The platform's events that each schema has.
    #[test]
    fn schemas_have_their_events() {
        const TELEMETRY: &str = "initStart initRuntimeDone initReport restoreStart restoreRuntimeDone restoreReport start runtimeDone report extension telemetrySubscription logsDropped";
        const LOGS: &str = "start end report fault extension logsSubscription logsDropped";
        for schema in ALL {
            let expected: Vec<&str> = match schema {
                Schema::Logs20200815 => LOGS.split(' ').collect(),
                Schema::Logs20210318 => LOGS.split(' ').chain(["runtimeDone"]).collect(),
                _ => TELEMETRY.split(' ').collect(),
            };
            for kind in [
                "platform.initStart",
                "platform.initRuntimeDone",
                "platform.initReport",
                "platform.restoreStart",
                "platform.restoreRuntimeDone",
                "platform.restoreReport",
                "platform.start",
                "platform.runtimeDone",
                "platform.end",
                "platform.report",
                "platform.fault",
                "platform.extension",
                "platform.telemetrySubscription",
                "platform.logsSubscription",
                "platform.logsDropped",
            ] {
                let name = kind.trim_start_matches("platform.");
                let found = record(kind, json!({ "status": "success" }), schema).is_some();
                assert_eq!(found, expected.contains(&name), "{schema:?} {kind}");
            }
        }
    }

    #[test]
    fn the_logs_api_tells_less() {
        let report = json!({
            "requestId": "r",
            "metrics": { "durationMs": 1.5 },
            "spans": [],
            "status": "error",
            "errorType": "Runtime.ExitError",
        });
        assert_eq!(
            record("platform.report", report.clone(), Schema::Logs20200815).unwrap(),
            json!({ "requestId": "r", "metrics": { "durationMs": 1.5 } })
        );
        assert_eq!(record("platform.report", report.clone(), Schema::Telemetry20220701).unwrap(), report);
        for (status, told) in [("success", "success"), ("error", "failure"), ("timeout", "timeout")] {
            let done = json!({ "requestId": "r", "status": status, "spans": [], "metrics": {} });
            assert_eq!(
                record("platform.runtimeDone", done, Schema::Logs20210318).unwrap(),
                json!({ "requestId": "r", "status": told })
            );
        }
    }

    #[test]
    fn output_is_text_unless_it_is_json_and_may_be() {
        let record = |bytes: &[u8], json, schema| {
            let category = Category::Function;
            let text = written(Content::Output { category, bytes, json }, schema).unwrap();
            let mut event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(event["type"], "function");
            event["record"].take()
        };
        let object = br#"{"level":"INFO", "message":"x"}"#;
        for schema in ALL {
            let objects = matches!(schema, Schema::Telemetry20221213 | Schema::Telemetry20250129);
            let text = json!(r#"{"level":"INFO", "message":"x"}"#);
            let expected = if objects { json!({ "level": "INFO", "message": "x" }) } else { text.clone() };
            assert_eq!(record(object, true, schema), expected, "{schema:?}");
            assert_eq!(record(object, false, schema), text);
            assert_eq!(record(b"plain\n", true, schema), "plain\n");
            assert_eq!(record(b"{broken\n", true, schema), "{broken\n");
            assert_eq!(record(b"\xff\"\x00\n", false, schema), "\u{fffd}\"\u{0}\n");
        }
        // Pretty or not, it fits on a line.
        let event = written(
            Content::Output { category: Category::Extension, bytes: b"{\n \"a\": 1\n}\n", json: true },
            Schema::Telemetry20250129,
        );
        assert_eq!(
            event.unwrap(),
            r#"{"time":"2024-06-17T17:23:55.800Z","type":"extension","record":{"a":1}}"#
        );
    }
}
