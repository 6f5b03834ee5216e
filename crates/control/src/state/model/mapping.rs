//! Event source mappings: what a function is to be fed with, and how.
//!
//! Must not do anything but hold and compare.

use std::collections::BTreeMap;

use hothouse_api::{
    generated::{
        AmazonManagedKafkaEventSourceConfig, DestinationConfig, DocumentDBEventSourceConfig,
        EventSourceMappingLoggingConfig, EventSourceMappingMetricsConfig, EventSourcePosition,
        FunctionResponseType, ProvisionedPollerConfig, SelfManagedKafkaEventSourceConfig,
        SourceAccessConfiguration,
    },
    name::{FunctionName, Qualifier},
};
use serde::{Deserialize, Serialize};

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventSourceMapping {
    /// The function, in the mapping's own account and region. It may have been deleted since.
    #[serde(with = "crate::state::text")]
    pub function: FunctionName,
    /// The version or alias, if one is meant.
    #[serde(with = "crate::state::text::option", default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<Qualifier>,
    /// What is read.
    pub source: Source,
    /// Where reading starts; none where the source has no positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// How it is read.
    pub settings: Settings,
    /// Whether it is to be read.
    pub enabled: bool,
    /// What is under way; none if the mapping is as it is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// What a mapping reads: it stays the same for as long as the mapping exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A queue of Amazon SQS.
    Sqs {
        /// Its ARN; that of a FIFO queue ends in `.fifo`.
        arn: String,
    },
    /// A Kinesis data stream.
    Kinesis {
        /// Its ARN, or that of one of its consumers.
        arn: String,
    },
    /// A stream of a DynamoDB table.
    DynamoDb {
        /// The stream's ARN.
        arn: String,
    },
    /// A cluster of Amazon MSK.
    ManagedKafka {
        /// Its ARN, or that of a VPC connection.
        arn: String,
        /// `Topics`.
        topics: Vec<String>,
    },
    /// Any other Apache Kafka.
    SelfManagedKafka {
        /// `HOST:PORT` each.
        bootstrap_servers: Vec<String>,
        /// `Topics`.
        topics: Vec<String>,
    },
    /// A broker of Amazon MQ.
    Mq {
        /// Its ARN.
        arn: String,
        /// `Queues`.
        queues: Vec<String>,
    },
    /// The change stream of an Amazon DocumentDB cluster.
    DocumentDb {
        /// The cluster's ARN.
        arn: String,
    },
}

impl Source {
    /// `EventSourceArn`; none for a self-managed Kafka.
    pub fn arn(&self) -> Option<&str> {
        match self {
            Self::Sqs { arn }
            | Self::Kinesis { arn }
            | Self::DynamoDb { arn }
            | Self::ManagedKafka { arn, .. }
            | Self::Mq { arn, .. }
            | Self::DocumentDb { arn } => Some(arn),
            Self::SelfManagedKafka { .. } => None,
        }
    }
}

/// Where reading of a source starts for which no position is known yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// `StartingPosition`.
    pub position: EventSourcePosition,
    /// `StartingPositionTimestamp`, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
}

/// What UpdateEventSourceMapping changes. Defaults are filled in; what a source does not have is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Records in a batch.
    pub batch_size: i32,
    /// Seconds to gather a batch; none for half a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batching_window: Option<i32>,
    /// Patterns of which a record must match one; none if every record is wanted. All of them were parsed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// The key that `filters` are encrypted with on AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// `FunctionResponseTypes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_types: Option<Vec<FunctionResponseType>>,
    /// Concurrent invocations; none for as many as there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_concurrency: Option<i32>,
    /// `ParallelizationFactor`: batches of one shard at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelization_factor: Option<i32>,
    /// `TumblingWindowInSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tumbling_window: Option<i32>,
    /// `BisectBatchOnFunctionError`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bisect_batch: Option<bool>,
    /// `MaximumRecordAgeInSeconds`; -1 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_record_age: Option<i32>,
    /// `MaximumRetryAttempts`; -1 for as long as the record is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<i32>,
    /// Where records of failed batches go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<DestinationConfig>,
    /// How to get at the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_access: Option<Vec<SourceAccessConfiguration>>,
    /// For Amazon MSK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_kafka: Option<AmazonManagedKafkaEventSourceConfig>,
    /// For any other Kafka.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_managed_kafka: Option<SelfManagedKafkaEventSourceConfig>,
    /// For DocumentDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_db: Option<DocumentDBEventSourceConfig>,
    /// `ProvisionedPollerConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioned_pollers: Option<ProvisionedPollerConfig>,
    /// `MetricsConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<EventSourceMappingMetricsConfig>,
    /// `LoggingConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<EventSourceMappingLoggingConfig>,
}

/// What is under way with a mapping.
///
/// ```text
/// Creating, Enabling, Updating ── settled ──> Enabled, or Disabled if `enabled` is false
/// Disabling                    ── settled ──> Disabled
/// Deleting                     ── settled ──> gone
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transition {
    /// It was made to be read from.
    Creating,
    /// It is to be read again.
    Enabling,
    /// It is to be read no more.
    Disabling,
    /// Something else was changed.
    Updating,
    /// It was deleted.
    Deleting,
}
