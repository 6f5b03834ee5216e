//! Whether a queue or a stream is there.
//!
//! Must not ask anyone itself: the server implements [`EventSources`].

use futures_util::future::BoxFuture;
use hothouse_api::name::{AccountId, Region};

/// A queue or a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSourceId {
    /// The service that it is one of.
    pub service: EventSourceService,
    /// Its account.
    pub account: AccountId,
    /// Its region.
    pub region: Region,
    /// Its name within the service: the last part of the ARN.
    pub name: String,
    /// The whole ARN.
    pub arn: String,
}

/// Services whose event sources can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSourceService {
    /// Amazon SQS; names are names of queues.
    Sqs,
    /// Amazon Kinesis Data Streams; names are `stream/NAME`, perhaps with a consumer behind.
    Kinesis,
    /// DynamoDB Streams; names are `table/NAME/stream/LABEL`.
    DynamoDbStreams,
}

/// Knows the event sources of other services.
pub trait EventSources: Send + Sync {
    /// Looks an event source up.
    fn look_up<'a>(&'a self, source: &'a EventSourceId) -> BoxFuture<'a, Result<Existing, LookupError>>;
}

/// An event source that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Existing {
    /// Seconds that a message stays hidden once it was received; for queues.
    pub visibility_timeout: Option<u32>,
}

/// Why nothing is told about an event source.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// It does not exist.
    #[error("there is no such event source")]
    Missing,
    /// No endpoint for other AWS services is configured.
    #[error("no endpoint for event sources is configured")]
    NoEndpoint,
    /// The endpoint could not be reached or did not answer as the service does.
    #[error("failed to look the event source up")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
}
