//! A mapping's settings: defaults by source, and what a request changes in them.
//!
//! Must not refuse anything: see `rules`.

use hothouse_api::generated::{
    CreateEventSourceMappingRequest, DestinationConfig, FilterCriteria,
    KafkaEventSourceMappingConsumptionMode, OnFailure, ProvisionedPollerConfig,
    UpdateEventSourceMappingRequest,
};
use uuid::Uuid;

use crate::state::model::mapping::{Settings, Source};

/// The members of a request for a new mapping that an update may have as well.
pub(super) fn sent(input: &CreateEventSourceMappingRequest) -> UpdateEventSourceMappingRequest {
    let input = input.clone();
    UpdateEventSourceMappingRequest {
        uuid: String::new(),
        function_name: Some(input.function_name),
        enabled: input.enabled,
        batch_size: input.batch_size,
        filter_criteria: input.filter_criteria,
        kms_key_arn: input.kms_key_arn,
        metrics_config: input.metrics_config,
        logging_config: input.logging_config,
        scaling_config: input.scaling_config,
        maximum_batching_window_in_seconds: input.maximum_batching_window_in_seconds,
        parallelization_factor: input.parallelization_factor,
        destination_config: input.destination_config,
        maximum_record_age_in_seconds: input.maximum_record_age_in_seconds,
        bisect_batch_on_function_error: input.bisect_batch_on_function_error,
        maximum_retry_attempts: input.maximum_retry_attempts,
        tumbling_window_in_seconds: input.tumbling_window_in_seconds,
        source_access_configurations: input.source_access_configurations,
        function_response_types: input.function_response_types,
        amazon_managed_kafka_event_source_config: input.amazon_managed_kafka_event_source_config,
        self_managed_kafka_event_source_config: input.self_managed_kafka_event_source_config,
        document_db_event_source_config: input.document_db_event_source_config,
        provisioned_poller_config: input.provisioned_poller_config,
    }
}

/// What a new mapping has if its request says nothing. A Kafka consumer group is named after the mapping.
pub(super) fn defaults(source: &Source, id: Uuid) -> Settings {
    let group = || Some(id.to_string());
    match source {
        Source::Sqs { .. } => Settings {
            batch_size: 10,
            batching_window: Some(0),
            response_types: Some(Vec::new()),
            ..Settings::default()
        },
        Source::Kinesis { .. } | Source::DynamoDb { .. } => Settings {
            batch_size: 100,
            batching_window: Some(0),
            response_types: Some(Vec::new()),
            parallelization_factor: Some(1),
            tumbling_window: Some(0),
            bisect_batch: Some(false),
            maximum_record_age: Some(-1),
            maximum_retry_attempts: Some(-1),
            destinations: Some(nowhere()),
            ..Settings::default()
        },
        Source::ManagedKafka { .. } => {
            let mut settings = Settings { batch_size: 100, ..Settings::default() };
            settings.managed_kafka.get_or_insert_default().consumer_group_id = group();
            settings
        }
        Source::SelfManagedKafka { .. } => {
            let mut settings = Settings { batch_size: 100, ..Settings::default() };
            settings.self_managed_kafka.get_or_insert_default().consumer_group_id = group();
            settings
        }
        Source::Mq { .. } | Source::DocumentDb { .. } => Settings { batch_size: 100, ..Settings::default() },
    }
}

/// The settings with what a request sent in place of what they had. Structures are replaced as a whole; an empty one
/// takes the setting away.
pub(super) fn changed(
    before: &Settings,
    source: &Source,
    sent: &UpdateEventSourceMappingRequest,
) -> Settings {
    let mut settings = before.clone();
    fn set<T: Clone>(setting: &mut Option<T>, sent: &Option<T>) {
        if sent.is_some() {
            setting.clone_from(sent);
        }
    }
    if let Some(size) = sent.batch_size {
        settings.batch_size = size;
    }
    set(&mut settings.batching_window, &sent.maximum_batching_window_in_seconds);
    if let Some(criteria) = &sent.filter_criteria {
        settings.filters = patterns(criteria).map(str::to_owned).collect();
    }
    set(&mut settings.kms_key_arn, &sent.kms_key_arn);
    settings.kms_key_arn = settings.kms_key_arn.filter(|arn| !arn.is_empty());
    set(&mut settings.response_types, &sent.function_response_types);
    if let Some(scaling) = &sent.scaling_config {
        settings.maximum_concurrency = scaling.maximum_concurrency;
    }
    set(&mut settings.parallelization_factor, &sent.parallelization_factor);
    set(&mut settings.tumbling_window, &sent.tumbling_window_in_seconds);
    set(&mut settings.bisect_batch, &sent.bisect_batch_on_function_error);
    set(&mut settings.maximum_record_age, &sent.maximum_record_age_in_seconds);
    set(&mut settings.maximum_retry_attempts, &sent.maximum_retry_attempts);
    if let Some(destinations) = &sent.destination_config {
        settings.destinations = if on_failure(destinations).is_some() {
            Some(destinations.clone())
        } else {
            defaults(source, Uuid::nil()).destinations
        };
    }
    set(&mut settings.source_access, &sent.source_access_configurations);
    settings.source_access = settings.source_access.filter(|access| !access.is_empty());
    if let Some(config) = &sent.amazon_managed_kafka_event_source_config {
        let kafka = settings.managed_kafka.get_or_insert_default();
        set(&mut kafka.consumer_group_id, &config.consumer_group_id);
        kafka.schema_registry_config.clone_from(&config.schema_registry_config);
    }
    if let Some(config) = &sent.self_managed_kafka_event_source_config {
        let kafka = settings.self_managed_kafka.get_or_insert_default();
        set(&mut kafka.consumer_group_id, &config.consumer_group_id);
        kafka.schema_registry_config.clone_from(&config.schema_registry_config);
        set(&mut kafka.consumption_mode, &config.consumption_mode);
    }
    if is_share_group(&settings) {
        // Failed records go back to the broker, which has a limit of its own for them.
        settings.maximum_retry_attempts.get_or_insert(0);
    }
    set(&mut settings.document_db, &sent.document_db_event_source_config);
    if let Some(pollers) = &sent.provisioned_poller_config {
        settings.provisioned_pollers = provisioned(source, pollers);
    }
    set(&mut settings.metrics, &sent.metrics_config);
    settings.metrics =
        settings.metrics.filter(|config| config.metrics.as_ref().is_some_and(|metrics| !metrics.is_empty()));
    set(&mut settings.logging, &sent.logging_config);
    settings.logging = settings.logging.filter(|config| config.system_log_level.is_some());
    settings
}

/// The patterns of a request. One that is absent is an empty text, which no pattern is.
fn patterns(criteria: &FilterCriteria) -> impl Iterator<Item = &str> {
    criteria.filters.iter().flatten().map(|filter| filter.pattern.as_deref().unwrap_or_default())
}

/// Where a failed batch goes.
pub(super) fn on_failure(destinations: &DestinationConfig) -> Option<&str> {
    destinations.on_failure.as_ref()?.destination.as_deref().filter(|arn| !arn.is_empty())
}

/// Whether records are taken from a Kafka queue, not read from a position on.
pub(super) fn is_share_group(settings: &Settings) -> bool {
    let kafka = settings.self_managed_kafka.as_ref();
    kafka.and_then(|kafka| kafka.consumption_mode) == Some(KafkaEventSourceMappingConsumptionMode::Queue)
}

fn nowhere() -> DestinationConfig {
    DestinationConfig { on_success: None, on_failure: Some(OnFailure { destination: None }) }
}

/// Provisioned pollers with defaults; none if the request has none.
fn provisioned(source: &Source, sent: &ProvisionedPollerConfig) -> Option<ProvisionedPollerConfig> {
    const MOST: i32 = 200;
    if *sent == ProvisionedPollerConfig::default() {
        return None;
    }
    let least = if matches!(source, Source::Sqs { .. }) { 2 } else { 1 };
    Some(ProvisionedPollerConfig {
        minimum_pollers: Some(sent.minimum_pollers.unwrap_or(least)),
        maximum_pollers: Some(sent.maximum_pollers.unwrap_or(MOST)),
        poller_group_name: sent.poller_group_name.clone().filter(|name| !name.is_empty()),
    })
}
