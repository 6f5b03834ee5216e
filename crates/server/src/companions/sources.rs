//! Looks queues and streams up at the other endpoint: what event source mappings are to read from.
//!
//! Must not read from them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_control::event_source_mapping::{
    EventSourceId, EventSourceService, EventSources, Existing, LookupError,
};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{
    body::{self, BoxError},
    forward::{ForwardError, Forwarder},
};

/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 1 << 20;
/// How long the endpoint may take. Whoever creates a mapping waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks through the forwarder.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    forwarder: Arc<Forwarder>,
}

/// The endpoint did not answer as the service does.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the endpoint took longer than {} s", PATIENCE.as_secs())]
    Late,
    #[error("`{target}` was answered with {status} {code}")]
    Refused { target: &'static str, status: StatusCode, code: String },
    #[error("the answer to `{0}` lacks what was asked for")]
    Incomplete(&'static str),
}

impl Sources {
    /// Uses the forwarder's endpoint and keys.
    pub(crate) fn new(forwarder: Arc<Forwarder>) -> Self {
        Sources { forwarder }
    }

    async fn find(&self, source: &EventSourceId) -> Result<Existing, LookupError> {
        match source.service {
            EventSourceService::Sqs => {
                const ATTRIBUTES: &str = "AmazonSQS.GetQueueAttributes";
                let queue =
                    json!({ "QueueName": source.name, "QueueOwnerAWSAccountId": source.account.to_string() });
                let found = self.ask(source, "AmazonSQS.GetQueueUrl", &queue).await?;
                let wanted =
                    json!({ "QueueUrl": found["QueueUrl"], "AttributeNames": ["VisibilityTimeout"] });
                let found = self.ask(source, ATTRIBUTES, &wanted).await?;
                let timeout = found["Attributes"]["VisibilityTimeout"].as_str();
                match timeout.and_then(|seconds| seconds.parse().ok()) {
                    Some(timeout) => Ok(Existing { visibility_timeout: Some(timeout) }),
                    None => Err(transport(AnswerError::Incomplete(ATTRIBUTES))),
                }
            }
            EventSourceService::Kinesis => {
                // Of `stream/NAME/consumer/…`, too.
                let name = source.name.split('/').nth(1).unwrap_or_default();
                let stream = json!({ "StreamName": name });
                self.ask(source, "Kinesis_20131202.DescribeStreamSummary", &stream).await?;
                Ok(Existing::default())
            }
            EventSourceService::DynamoDbStreams => {
                let stream = json!({ "StreamArn": source.arn, "Limit": 1 });
                self.ask(source, "DynamoDBStreams_20120810.DescribeStream", &stream).await?;
                Ok(Existing::default())
            }
        }
    }

    async fn ask(
        &self,
        source: &EventSourceId,
        target: &'static str,
        input: &Value,
    ) -> Result<Value, LookupError> {
        let (service, version) = match source.service {
            EventSourceService::Sqs => ("sqs", "application/x-amz-json-1.0"),
            EventSourceService::Kinesis => ("kinesis", "application/x-amz-json-1.1"),
            EventSourceService::DynamoDbStreams => ("dynamodb", "application/x-amz-json-1.0"),
        };
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, version)
            .header("x-amz-target", target)
            .body(body::whole(Bytes::from(input.to_string())))
            .map_err(transport)?;
        let answer = self.forwarder.ask(request, service, &source.region, source.account).await;
        let (parts, body) = match answer {
            Ok(response) => response.into_parts(),
            Err(ForwardError::NoEndpoint) => return Err(LookupError::NoEndpoint),
            Err(error) => return Err(transport(error)),
        };
        let body = body::read(body, ANSWER_BYTES).await.map_err(transport)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if parts.status == StatusCode::OK {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or("without an error code");
        if is_missing(code) {
            return Err(LookupError::Missing);
        }
        let code = code.to_owned();
        Err(transport(AnswerError::Refused { target, status: parts.status, code }))
    }
}

impl EventSources for Sources {
    fn look_up<'a>(&'a self, source: &'a EventSourceId) -> BoxFuture<'a, Result<Existing, LookupError>> {
        Box::pin(async {
            match tokio::time::timeout(PATIENCE, self.find(source)).await {
                Ok(found) => found,
                Err(_) => Err(transport(AnswerError::Late)),
            }
        })
    }
}

/// `NAMESPACE#CODE`, as services say that something is not there.
fn is_missing(code: &str) -> bool {
    matches!(
        code.rsplit('#').next(),
        Some(
            "ResourceNotFoundException"
                | "QueueDoesNotExist"
                | "NonExistentQueue"
                | "AWS.SimpleQueueService.NonExistentQueue"
        )
    )
}

fn transport(error: impl Into<BoxError>) -> LookupError {
    LookupError::Transport(error.into())
}
