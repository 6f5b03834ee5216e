//! Event sources by what a request says of them.
//!
//! Must not decide which settings a source may have.

use std::collections::BTreeMap;

use hothouse_api::{
    ApiError,
    generated::{CreateEventSourceMappingRequest, EndPointType, SelfManagedEventSource},
    name::Region,
};

use super::lookup::{EventSourceId, EventSourceService};
use crate::{error::invalid_parameter, state::model::mapping::Source};

/// What a request for a new mapping is to read.
///
/// # Errors
/// If it names no source, or none that there is in this region.
pub(super) fn of(input: &CreateEventSourceMappingRequest, region: &Region) -> Result<Source, ApiError> {
    let unrecognized = || invalid_parameter("Unrecognized event source.");
    let topics = || input.topics.clone().unwrap_or_default();
    let Some(arn) = &input.event_source_arn else {
        let servers = input.self_managed_event_source.as_ref().and_then(|source| source.endpoints.as_ref());
        let servers = servers.and_then(|servers| servers.get(&EndPointType::KafkaBootstrapServers));
        let bootstrap_servers = servers.ok_or_else(unrecognized)?.clone();
        return Ok(Source::SelfManagedKafka { bootstrap_servers, topics: topics() });
    };
    let parts = Parts::of(arn).ok_or_else(unrecognized)?;
    if input.self_managed_event_source.is_some() {
        // Unverified wording.
        return Err(invalid_parameter("Only one of EventSourceArn and SelfManagedEventSource can be given."));
    }
    if parts.region != region.as_str() {
        return Err(invalid_parameter(format!("Event source region must match Lambda region {region}")));
    }
    let (name, arn) = (parts.name, arn.clone());
    match parts.service {
        "sqs" if !name.contains([':', '/']) => Ok(Source::Sqs { arn }),
        "kinesis" if name.starts_with("stream/") => Ok(Source::Kinesis { arn }),
        "dynamodb" if name.starts_with("table/") && name.contains("/stream/") => Ok(Source::DynamoDb { arn }),
        "kafka" if name.starts_with("cluster/") || name.starts_with("vpc-connection/") => {
            Ok(Source::ManagedKafka { arn, topics: topics() })
        }
        "mq" if name.starts_with("broker:") => {
            Ok(Source::Mq { arn, queues: input.queues.clone().unwrap_or_default() })
        }
        "rds" if name.starts_with("cluster:") => Ok(Source::DocumentDb { arn }),
        _ => Err(unrecognized()),
    }
}

/// What to look a source up by; none for kinds that cannot be looked up.
pub(super) fn id(source: &Source) -> Option<EventSourceId> {
    let service = match source {
        Source::Sqs { .. } => EventSourceService::Sqs,
        Source::Kinesis { .. } => EventSourceService::Kinesis,
        Source::DynamoDb { .. } => EventSourceService::DynamoDbStreams,
        Source::ManagedKafka { .. }
        | Source::SelfManagedKafka { .. }
        | Source::Mq { .. }
        | Source::DocumentDb { .. } => return None,
    };
    let arn = source.arn()?;
    let parts = Parts::of(arn)?;
    Some(EventSourceId {
        service,
        account: parts.account.parse().ok()?,
        region: parts.region.parse().ok()?,
        name: parts.name.to_owned(),
        arn: arn.to_owned(),
    })
}

pub(super) fn is_fifo(source: &Source) -> bool {
    matches!(source, Source::Sqs { arn } if arn.ends_with(".fifo"))
}

pub(super) fn self_managed(bootstrap_servers: &[String]) -> SelfManagedEventSource {
    let servers = bootstrap_servers.to_vec();
    SelfManagedEventSource {
        endpoints: Some(BTreeMap::from([(EndPointType::KafkaBootstrapServers, servers)])),
    }
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:NAME`.
pub(super) struct Parts<'a> {
    pub(super) service: &'a str,
    region: &'a str,
    account: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':').skip(2);
        let mut next = || parts.next();
        let (service, region, account, name) = (next()?, next()?, next()?, next()?);
        (!name.is_empty()).then_some(Self { service, region, account, name })
    }
}
