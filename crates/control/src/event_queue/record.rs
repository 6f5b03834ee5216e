//! What recipients hear of an outcome: records, and events as dead letters.
//!
//! Must not send anything.

use std::str;

use bytes::Bytes;
use hothouse_api::{
    arn::FunctionArn,
    name::{self, Qualifier, RequestId},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    delivery::{Attribute, Delivery},
    state::{
        EventContent,
        model::{
            FunctionKey,
            queued::{Condition, Outcome, QueuedEvent, Recipient},
        },
    },
};

/// The most that a queue takes as one message, in bytes.
const QUEUE_LIMIT: usize = 1_048_576;
/// The most that a topic takes as one message, in bytes.
const TOPIC_LIMIT: usize = 262_144;
/// The most that an event bus takes as one event, less than what is around the record.
const BUS_LIMIT: usize = 262_144 - 2_048;
/// The most that a function takes as one event for an asynchronous invocation.
const FUNCTION_LIMIT: usize = 1_048_576;
/// Bytes of an error's message that go with a dead letter.
const MESSAGE_LIMIT: usize = 1024;

/// An event with its outcome.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) key: &'a FunctionKey,
    pub(crate) id: RequestId,
    pub(crate) event: &'a QueuedEvent,
    pub(crate) outcome: &'a Outcome,
    pub(crate) content: &'a EventContent,
}

/// What goes out, and how.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// To another service.
    Delivery(Delivery),
    /// To a function, as an event.
    Event { function: FunctionArn, payload: Bytes },
    /// Nowhere: nothing here knows what this ARN stands for.
    Unknown,
}

impl Report<'_> {
    /// What a recipient gets.
    pub(crate) fn parcel(&self, recipient: &Recipient) -> Parcel {
        let trace = Some(self.event.trace.clone());
        match recipient {
            Recipient::DeadLetter(arn) => {
                let (arn, body) = (arn.clone(), String::from_utf8_lossy(&self.content.payload).into_owned());
                let attributes = self.attributes();
                match service(&arn) {
                    "sqs" => Parcel::Delivery(Delivery::Queue { arn, body, attributes, trace }),
                    "sns" => Parcel::Delivery(Delivery::Topic { arn, message: body, attributes }),
                    _ => Parcel::Unknown,
                }
            }
            Recipient::Destination(arn) => {
                let (arn, attributes) = (arn.clone(), Vec::new());
                match service(&arn) {
                    "sqs" => {
                        let body = self.record(QUEUE_LIMIT);
                        Parcel::Delivery(Delivery::Queue { arn, body, attributes, trace })
                    }
                    "sns" => {
                        let message = self.record(TOPIC_LIMIT);
                        Parcel::Delivery(Delivery::Topic { arn, message, attributes })
                    }
                    "events" => Parcel::Delivery(Delivery::EventBus {
                        source: "lambda".into(),
                        detail_type: format!("Lambda Function Invocation Result - {}", self.result()),
                        resources: vec![arn.clone(), self.function_arn().to_string()],
                        detail: self.record(BUS_LIMIT),
                        trace,
                        arn,
                    }),
                    "s3" => Parcel::Delivery(Delivery::Bucket {
                        arn,
                        key: self.object_key(),
                        body: self.record(usize::MAX).into(),
                    }),
                    "lambda" => match arn.parse() {
                        Ok(function) => {
                            Parcel::Event { function, payload: self.record(FUNCTION_LIMIT).into() }
                        }
                        Err(_) => Parcel::Unknown,
                    },
                    _ => Parcel::Unknown,
                }
            }
        }
    }

    fn result(&self) -> &'static str {
        match self.outcome.condition {
            Condition::Success => "Success",
            Condition::RetriesExhausted
            | Condition::EventAgeExceeded
            | Condition::ZeroReservedConcurrency
            | Condition::LoopDetected
            | Condition::TargetDeleted => "Failure",
        }
    }

    /// With a qualifier, whether or not the caller gave one.
    fn function_arn(&self) -> FunctionArn {
        let qualifier = self.event.qualifier.clone().unwrap_or(Qualifier::Latest);
        self.key.arn().with_qualifier(qualifier)
    }

    /// The record of version 1.0. If it is larger than `limit`, it goes without what the function answered, and if that
    /// is not enough, without the event.
    ///
    /// Unverified: AWS documents for topics that payloads are dropped then, not which first, nor that it is so elsewhere.
    fn record(&self, limit: usize) -> String {
        let request =
            str::from_utf8(&self.content.payload).ok().and_then(|text| serde_json::from_str(text).ok());
        let answer = self.event.answer.as_ref();
        let response = answer.and_then(|_| raw(self.content.answer.as_ref()?));
        let mut record = Record {
            version: "1.0",
            timestamp: self.time("%Y-%m-%dT%H:%M:%S%.3fZ"),
            request_context: RequestContext {
                request_id: self.id.to_string(),
                function_arn: self.function_arn().to_string(),
                condition: self.outcome.condition,
                approximate_invoke_count: self.event.attempts,
            },
            request_payload: request,
            response_context: answer.map(|answer| ResponseContext {
                status_code: 200,
                executed_version: answer.version,
                function_error: answer.failed.then_some("Unhandled"),
            }),
            response_payload: response.as_deref(),
        };
        let text = record.text();
        if text.len() <= limit {
            return text;
        }
        record.response_payload = None;
        let text = record.text();
        if text.len() <= limit {
            return text;
        }
        record.request_payload = None;
        record.text()
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
    fn object_key(&self) -> String {
        let (day, second) = (self.time("%Y/%m/%d"), self.time("%Y-%m-%dT%H.%M.%S"));
        format!("aws/lambda/async/{}/{day}/{second}-{}", self.key.name, self.outcome.record)
    }

    fn time(&self, format: &str) -> String {
        let time = Timestamp::from_millisecond(self.outcome.at).unwrap_or_default();
        time.to_zoned(TimeZone::UTC).strftime(format).to_string()
    }

    /// What a dead letter says about its failure.
    ///
    /// Unverified: status and message of one that the function did not run with, or did not say anything about.
    fn attributes(&self) -> Vec<Attribute> {
        let failed = self.event.answer.as_ref().is_some_and(|answer| answer.failed);
        let (status, message) = match &self.outcome.refusal {
            _ if failed => (200, self.content.answer.as_deref().and_then(error_message)),
            Some(refusal) => (refusal.status, Some(refusal.message.clone())),
            None => (429, Some(EXPIRED.to_owned())),
        };
        let attribute = |name, data_type, value| Attribute { name, data_type, value };
        let mut attributes = vec![
            attribute("RequestID", "String", self.id.to_string()),
            attribute("ErrorCode", "Number", status.to_string()),
        ];
        // A message attribute must not be empty.
        if let Some(mut message) = message.filter(|message| !message.is_empty()) {
            let end = (0..=MESSAGE_LIMIT.min(message.len())).rfind(|end| message.is_char_boundary(*end));
            message.truncate(end.unwrap_or_default());
            attributes.push(attribute("ErrorMessage", "String", message));
        }
        attributes
    }
}

/// Of an event that became too old before anything was tried with it.
const EXPIRED: &str = "Event age exceeded.";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<&'a RawValue>,
}

impl Record<'_> {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and JSON can be written as JSON")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    function_arn: String,
    condition: Condition,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    #[serde(serialize_with = "shown")]
    executed_version: name::Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

fn shown<S: serde::Serializer>(version: &name::Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

/// What a function answered, as JSON. Unverified: of an answer that is none, its text.
fn raw(answer: &Bytes) -> Option<Box<RawValue>> {
    let text = String::from_utf8_lossy(answer);
    match serde_json::from_str::<Box<RawValue>>(&text) {
        Ok(raw) => Some(raw),
        Err(_) => to_raw_value(&text).ok(),
    }
}

/// What an error's document says happened.
fn error_message(document: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(document).ok()?;
    document.get("errorMessage")?.as_str().map(str::to_owned)
}

/// The service that an ARN names.
fn service(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or_default()
}
