//! Hands records to queues, topics, event buses and buckets at the other endpoint, by AWS's own SDK.
//!
//! Must not try for long: whoever keeps the record tries again. Nor make up message groups: AWS's Lambda sends to standard
//! queues and topics only.

mod clients;
mod failure;
mod transport;

use std::{sync::Arc, time::Duration};

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_sns::types::MessageAttributeValue as TopicAttribute;
use aws_sdk_sqs::types::{
    MessageAttributeValue as QueueAttribute, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue as QueueSystemAttribute,
};
use futures_util::future::BoxFuture;
use hothouse_api::name::{AccountId, Region};
use hothouse_control::{
    delivery::{Attribute, Delivery, DeliveryError},
    state::model::Scope,
};
use hothouse_execution::ports::Clock;

use self::clients::Clients;
use super::forward::Forwarder;

/// Sends through the forwarder's connections, to its endpoint and with its keys.
#[derive(Debug)]
pub(crate) struct Deliveries {
    clients: Clients,
    clock: Arc<dyn Clock>,
}

/// How long a service may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For one request and its answer.
    request: Duration,
    /// For all requests of one delivery.
    delivery: Duration,
}

const PATIENCE: Patience = Patience { request: Duration::from_secs(10), delivery: Duration::from_secs(25) };

/// What an ARN says about where its resource is.
struct Place<'a> {
    scope: Scope,
    resource: &'a str,
}

impl Deliveries {
    /// Connects to nothing yet.
    pub(crate) fn new(forwarder: Arc<Forwarder>, clock: Arc<dyn Clock>) -> Self {
        Deliveries { clients: Clients::new(forwarder, PATIENCE), clock }
    }

    async fn send(&self, scope: &Scope, delivery: Delivery) -> Result<(), DeliveryError> {
        let service = delivery.service();
        match delivery {
            Delivery::Queue { arn, body, attributes, trace } => {
                let place = Place::of(service, &arn)?;
                let (client, url) = self.clients.queues(&place.scope)?;
                // The last two parts name a queue wherever it is: this one spares a request for its URL.
                let url = format!("{url}/{}/{}", place.scope.account, place.resource);
                let mut request = client.send_message().queue_url(url).message_body(body);
                for Attribute { name, data_type, value } in attributes {
                    let value = QueueAttribute::builder().data_type(data_type).string_value(value).build();
                    request = request.message_attributes(name, value.map_err(failure::unbuilt(service))?);
                }
                if let Some(trace) = trace {
                    let value =
                        QueueSystemAttribute::builder().data_type("String").string_value(trace).build();
                    request = request.message_system_attributes(
                        MessageSystemAttributeNameForSends::AwsTraceHeader,
                        value.map_err(failure::unbuilt(service))?,
                    );
                }
                request.send().await.map_err(|error| failure::of(service, error))?;
            }
            Delivery::Topic { arn, message, attributes } => {
                let client = self.clients.topics(&Place::of(service, &arn)?.scope)?;
                let mut request = client.publish().topic_arn(arn).message(message);
                for Attribute { name, data_type, value } in attributes {
                    let value = TopicAttribute::builder().data_type(data_type).string_value(value).build();
                    request = request.message_attributes(name, value.map_err(failure::unbuilt(service))?);
                }
                request.send().await.map_err(|error| failure::of(service, error))?;
            }
            Delivery::EventBus { arn, source, detail_type, resources, detail, trace } => {
                let client = self.clients.buses(&Place::of(service, &arn)?.scope)?;
                let entry = PutEventsRequestEntry::builder()
                    .event_bus_name(arn)
                    .time(self.clock.now().into())
                    .source(source)
                    .detail_type(detail_type)
                    .set_resources(Some(resources))
                    .detail(detail)
                    .set_trace_header(trace)
                    .build();
                let answer = client.put_events().entries(entry).send().await;
                let answer = answer.map_err(|error| failure::of(service, error))?;
                // The request may succeed without its only entry.
                if answer.failed_entry_count() > 0 {
                    let entry = answer.entries().first();
                    return Err(failure::named(
                        service,
                        entry.and_then(|entry| entry.error_code()).unwrap_or("InternalFailure"),
                        entry.and_then(|entry| entry.error_message()).unwrap_or_default(),
                    ));
                }
            }
            Delivery::Bucket { arn, key, body } => {
                // Buckets' ARNs name neither account nor region.
                let bucket = arn.rsplit(':').next().unwrap_or_default();
                let client = self.clients.buckets(scope)?;
                let request = client.put_object().bucket(bucket).key(key).body(ByteStream::from(body));
                request.send().await.map_err(|error| failure::of(service, error))?;
            }
        }
        Ok(())
    }
}

impl hothouse_control::delivery::Deliveries for Deliveries {
    fn deliver<'a>(
        &'a self,
        scope: &'a Scope,
        delivery: Delivery,
    ) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.send(scope, delivery))
    }
}

impl<'a> Place<'a> {
    /// Who owns the resource signs for it: emulators take the account from the key, and look nowhere else.
    fn of(service: &'static str, arn: &'a str) -> Result<Self, DeliveryError> {
        let mut parts = arn.splitn(6, ':').skip(3);
        let place = (|| {
            let region: Region = parts.next()?.parse().ok()?;
            let account: AccountId = parts.next()?.parse().ok()?;
            Some(Place { scope: Scope { account, region }, resource: parts.next()? })
        })();
        place.ok_or_else(|| failure::named(service, "InvalidArn", &format!("`{arn}` names no place")))
    }
}

#[cfg(test)]
mod tests;
