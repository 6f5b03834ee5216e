//! What Lambda hands on to other services: records about invocations, to queues, topics, event buses and buckets.
//!
//! Must not send anything itself: the server implements [`Deliveries`]. Functions as destinations are invoked here and
//! need no port.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::state::model::Scope;

/// Something to hand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message to an SQS queue.
    Queue {
        /// ARN of the queue.
        arn: String,
        /// The message.
        body: String,
        /// Its attributes.
        attributes: Vec<Attribute>,
        /// The system attribute `AWSTraceHeader`.
        trace: Option<String>,
    },
    /// A message to an SNS topic.
    Topic {
        /// ARN of the topic.
        arn: String,
        /// The message.
        message: String,
        /// Its attributes.
        attributes: Vec<Attribute>,
    },
    /// An event to an EventBridge bus.
    EventBus {
        /// ARN of the bus.
        arn: String,
        /// `source`.
        source: String,
        /// `detail-type`.
        detail_type: String,
        /// `resources`.
        resources: Vec<String>,
        /// `detail`, a JSON object.
        detail: String,
        /// The trace that it belongs to.
        trace: Option<String>,
    },
    /// An object in an S3 bucket.
    Bucket {
        /// ARN of the bucket.
        arn: String,
        /// Key of the object.
        key: String,
        /// The object.
        body: Bytes,
    },
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// `String` or `Number`.
    pub data_type: &'static str,
    /// Its value, as text.
    pub value: String,
}

/// Why something could not be handed on.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Nobody here knows the service.
    #[error("there is no endpoint for {service} (hint: start Hothouse with --aws-endpoint)")]
    NoEndpoint {
        /// Such as `SQS`.
        service: &'static str,
    },
    /// The service refused, and will again: there is no such queue, or nobody may send to it.
    #[error("{service} refused it with {code}: {message}")]
    Refused {
        /// Such as `SQS`.
        service: &'static str,
        /// The service's error code.
        code: String,
        /// Its message.
        message: String,
    },
    /// The service could not be asked, or has a fault: another time it may work.
    #[error("failed to reach {service}")]
    Unreachable {
        /// Such as `SQS`.
        service: &'static str,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DeliveryError {
    /// Whether another attempt may have another outcome.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Hands things on.
pub trait Deliveries: Send + Sync {
    /// Hands something on in the name of a function of this account and region. It has arrived when this returns.
    fn deliver<'a>(
        &'a self,
        scope: &'a Scope,
        delivery: Delivery,
    ) -> BoxFuture<'a, Result<(), DeliveryError>>;
}

/// The port of a service without an endpoint for others.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoDeliveries;

impl Deliveries for NoDeliveries {
    fn deliver<'a>(&'a self, _: &'a Scope, delivery: Delivery) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let service = delivery.service();
        Box::pin(std::future::ready(Err(DeliveryError::NoEndpoint { service })))
    }
}

impl Delivery {
    /// The service that takes it.
    pub fn service(&self) -> &'static str {
        match self {
            Self::Queue { .. } => "SQS",
            Self::Topic { .. } => "SNS",
            Self::EventBus { .. } => "EventBridge",
            Self::Bucket { .. } => "S3",
        }
    }
}
