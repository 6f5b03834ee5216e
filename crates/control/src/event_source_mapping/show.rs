//! A mapping as replies show it.
//!
//! Must not know where a reply goes.

use hothouse_api::{
    arn::{Located, ResourceArn},
    generated::{EventSourceMappingConfiguration, Filter, FilterCriteria, ScalingConfig},
    timestamp::Timestamp,
};
use uuid::Uuid;

use super::source;
use crate::state::model::{
    FunctionKey, Scope,
    mapping::{EventSourceMapping, Source, Transition},
};

/// How far a reply goes into detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All that there is.
    Full,
    /// Without what is encrypted.
    Listed,
}

pub(super) fn mapping(
    scope: &Scope,
    id: Uuid,
    mapping: &EventSourceMapping,
    detail: Detail,
) -> EventSourceMappingConfiguration {
    let EventSourceMapping { source, settings, .. } = mapping;
    let arn = FunctionKey { scope: scope.clone(), name: mapping.function.clone() }.arn();
    let arn = match &mapping.qualifier {
        Some(qualifier) => arn.with_qualifier(qualifier.clone()),
        None => arn,
    };
    let hidden = settings.kms_key_arn.is_some() && detail == Detail::Listed;
    let filters = Some(&settings.filters).filter(|filters| !filters.is_empty() && !hidden);
    let (mut topics, mut queues, mut self_managed) = (None, None, None);
    match source {
        Source::ManagedKafka { topics: names, .. } => topics = Some(names.clone()),
        Source::SelfManagedKafka { bootstrap_servers, topics: names } => {
            topics = Some(names.clone());
            self_managed = Some(source::self_managed(bootstrap_servers));
        }
        Source::Mq { queues: names, .. } => queues = Some(names.clone()),
        Source::Sqs { .. } | Source::Kinesis { .. } | Source::DynamoDb { .. } | Source::DocumentDb { .. } => {
        }
    }
    EventSourceMappingConfiguration {
        uuid: Some(id.to_string()),
        starting_position: mapping.start.as_ref().map(|start| start.position),
        starting_position_timestamp: mapping
            .start
            .as_ref()
            .and_then(|start| Some(Timestamp::from_millis(start.timestamp?))),
        batch_size: Some(settings.batch_size),
        maximum_batching_window_in_seconds: settings.batching_window,
        parallelization_factor: settings.parallelization_factor,
        event_source_arn: source.arn().map(str::to_owned),
        filter_criteria: filters.map(|filters| FilterCriteria {
            filters: Some(filters.iter().map(|pattern| Filter { pattern: Some(pattern.clone()) }).collect()),
        }),
        filter_criteria_error: None,
        kms_key_arn: settings.kms_key_arn.clone(),
        metrics_config: settings.metrics.clone(),
        logging_config: settings.logging.clone(),
        scaling_config: settings
            .maximum_concurrency
            .map(|most| ScalingConfig { maximum_concurrency: Some(most) }),
        function_arn: Some(arn.to_string()),
        last_modified: Some(Timestamp::from_millis(mapping.last_modified)),
        last_processing_result: (!matches!(source, Source::Sqs { .. }))
            .then(|| "No records processed".to_owned()),
        state: Some(state(mapping).to_owned()),
        state_transition_reason: Some(reason(source).to_owned()),
        destination_config: settings.destinations.clone(),
        topics,
        queues,
        source_access_configurations: settings.source_access.clone(),
        self_managed_event_source: self_managed,
        maximum_record_age_in_seconds: settings.maximum_record_age,
        bisect_batch_on_function_error: settings.bisect_batch,
        maximum_retry_attempts: settings.maximum_retry_attempts,
        tumbling_window_in_seconds: settings.tumbling_window,
        function_response_types: settings.response_types.clone(),
        amazon_managed_kafka_event_source_config: settings.managed_kafka.clone(),
        self_managed_kafka_event_source_config: settings.self_managed_kafka.clone(),
        document_db_event_source_config: settings.document_db.clone(),
        event_source_mapping_arn: Some(
            ResourceArn::EventSourceMapping(Located {
                account: scope.account,
                region: scope.region.clone(),
                name: id.to_string().into(),
            })
            .to_string(),
        ),
        provisioned_poller_config: settings.provisioned_pollers.clone(),
    }
}

fn state(mapping: &EventSourceMapping) -> &'static str {
    match mapping.transition {
        Some(Transition::Creating) => "Creating",
        Some(Transition::Enabling) => "Enabling",
        Some(Transition::Disabling) => "Disabling",
        Some(Transition::Updating) => "Updating",
        Some(Transition::Deleting) => "Deleting",
        None if mapping.enabled => "Enabled",
        None => "Disabled",
    }
}

/// Two parts of AWS tell the same in two ways.
fn reason(source: &Source) -> &'static str {
    match source {
        Source::Kinesis { .. } | Source::DynamoDb { .. } | Source::DocumentDb { .. } => "User action",
        Source::Sqs { .. }
        | Source::ManagedKafka { .. }
        | Source::SelfManagedKafka { .. }
        | Source::Mq { .. } => "USER_INITIATED",
    }
}
