//! Which settings an event source may have, and which go together.
//!
//! Must not look at anything but the request and the mapping: see `create` for what depends on functions and queues.
//!
//! AWS has two texts for a setting that a source does not have, since one part of it serves queues and streams and
//! another the brokers.

use hothouse_api::{
    ApiError,
    generated::{
        CreateEventSourceMappingRequest, DestinationConfig, EventSourceMappingMetric, EventSourcePosition,
        ProvisionedPollerConfig, SourceAccessConfiguration, SourceAccessType,
        UpdateEventSourceMappingRequest,
    },
};

use super::{
    filter::Pattern,
    settings::{is_share_group, on_failure},
    source::{self, Parts},
};
use crate::{
    error::invalid_parameter,
    state::model::mapping::{Settings, Source, Start},
};

/// Filters of one mapping.
const FILTERS: usize = 5;

/// Refuses members that the source does not have.
///
/// # Errors
/// With AWS's message.
pub(super) fn check_members(source: &Source, sent: &UpdateEventSourceMappingRequest) -> Result<(), ApiError> {
    let queue = matches!(source, Source::Sqs { .. });
    let stream = is_stream(source);
    let kafka = is_kafka(source);
    // Unlike structures, an empty list says nothing.
    let types = sent.function_response_types.as_ref().is_some_and(|types| !types.is_empty());
    let access = sent.source_access_configurations.as_ref().is_some_and(|access| !access.is_empty());
    let members = [
        ("DestinationConfig", sent.destination_config.is_some(), stream || kafka),
        ("ParallelizationFactor", sent.parallelization_factor.is_some(), stream),
        ("TumblingWindowInSeconds", sent.tumbling_window_in_seconds.is_some(), stream),
        ("BisectBatchOnFunctionError", sent.bisect_batch_on_function_error.is_some(), stream || kafka),
        ("MaximumRecordAgeInSeconds", sent.maximum_record_age_in_seconds.is_some(), stream || kafka),
        ("MaximumRetryAttempts", sent.maximum_retry_attempts.is_some(), stream || kafka),
        ("FunctionResponseTypes", types, queue || stream || kafka),
        ("ScalingConfig", sent.scaling_config.is_some(), queue),
        ("ProvisionedPollerConfig", sent.provisioned_poller_config.is_some(), queue || kafka),
        ("SourceAccessConfigurations", access, !queue && !stream),
        (
            "AmazonManagedKafkaEventSourceConfig",
            sent.amazon_managed_kafka_event_source_config.is_some(),
            matches!(source, Source::ManagedKafka { .. }),
        ),
        (
            "SelfManagedKafkaEventSourceConfig",
            sent.self_managed_kafka_event_source_config.is_some(),
            matches!(source, Source::SelfManagedKafka { .. }),
        ),
        (
            "DocumentDBEventSourceConfig",
            sent.document_db_event_source_config.is_some(),
            matches!(source, Source::DocumentDb { .. }),
        ),
        ("LoggingConfig", sent.logging_config.is_some(), kafka),
    ];
    match members.iter().find(|(_, sent, allowed)| *sent && !allowed) {
        Some((member, ..)) => Err(unsupported(source, member)),
        None => Ok(()),
    }
}

/// What a new mapping needs beside its settings: where to start, and what to read within the source.
///
/// # Errors
/// With AWS's message.
pub(super) fn check_new(
    source: &Source,
    settings: &Settings,
    input: &CreateEventSourceMappingRequest,
    now: i64,
) -> Result<Option<Start>, ApiError> {
    if input.topics.is_some() && !is_kafka(source) {
        return Err(unsupported(source, "Topics"));
    }
    if input.queues.is_some() && !matches!(source, Source::Mq { .. }) {
        return Err(unsupported(source, "Queues"));
    }
    let missing = |member: &str| Err(invalid_parameter(format!("Required '{member}' parameter is missing.")));
    match source {
        Source::ManagedKafka { topics, .. } | Source::SelfManagedKafka { topics, .. }
            if topics.is_empty() =>
        {
            return missing("topics");
        }
        Source::Mq { queues, .. } if queues.is_empty() => return missing("queues"),
        Source::DocumentDb { .. } if settings.document_db.is_none() => {
            return missing("documentDBEventSourceConfig");
        }
        Source::SelfManagedKafka { .. } | Source::Mq { .. } | Source::DocumentDb { .. }
            if settings.source_access.is_none() =>
        {
            return missing("sourceAccessConfigurations");
        }
        _ => {}
    }
    start(source, settings, input, now)
}

fn start(
    source: &Source,
    settings: &Settings,
    input: &CreateEventSourceMappingRequest,
    now: i64,
) -> Result<Option<Start>, ApiError> {
    let timestamp = input.starting_position_timestamp.map(|timestamp| timestamp.as_millis());
    let share_group = is_share_group(settings);
    if input.starting_position.is_some() || timestamp.is_some() {
        match source {
            Source::Sqs { .. } => {
                return Err(invalid_parameter("StartingPosition is not valid for SQS event sources."));
            }
            Source::Mq { .. } => return Err(unsupported(source, "StartingPosition")),
            Source::SelfManagedKafka { .. } if share_group => {
                return Err(unsupported(source, "StartingPosition"));
            }
            _ => {}
        }
    }
    let position = match (source, input.starting_position) {
        (_, Some(position)) => position,
        (Source::Sqs { .. } | Source::Mq { .. }, None) => return Ok(None),
        (Source::SelfManagedKafka { .. }, None) if share_group => return Ok(None),
        (Source::ManagedKafka { .. } | Source::SelfManagedKafka { .. }, None) => {
            EventSourcePosition::TrimHorizon
        }
        // Unverified for DocumentDB.
        (Source::Kinesis { .. } | Source::DynamoDb { .. } | Source::DocumentDb { .. }, None) => {
            return Err(invalid_parameter(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member \
                 must not be null.",
            ));
        }
    };
    match (position, timestamp) {
        (EventSourcePosition::AtTimestamp, _) if matches!(source, Source::DynamoDb { .. }) => {
            let arn = source.arn().unwrap_or_default();
            Err(invalid_parameter(format!("Unsupported starting position for arn type: {arn}")))
        }
        (EventSourcePosition::AtTimestamp, None) => Err(invalid_parameter("Need to specify a timestamp")),
        // Unverified wording.
        (EventSourcePosition::AtTimestamp, Some(timestamp)) if timestamp > now => {
            Err(invalid_parameter("StartingPositionTimestamp cannot be in the future."))
        }
        // Unverified wording.
        (EventSourcePosition::TrimHorizon | EventSourcePosition::Latest, Some(_)) => Err(invalid_parameter(
            "StartingPositionTimestamp is only valid with a StartingPosition of AT_TIMESTAMP.",
        )),
        (_, timestamp) => Ok(Some(Start { position, timestamp })),
    }
}

/// Refuses settings that are out of the source's range or contradict each other.
///
/// # Errors
/// With AWS's message.
pub(super) fn check_settings(source: &Source, settings: &Settings) -> Result<(), ApiError> {
    check_batches(source, settings)?;
    if settings.maximum_record_age.is_some_and(|age| (0..60).contains(&age)) {
        return Err(invalid_parameter(
            "MaximumRecordAgeInSeconds must be either -1 (forever) or between 60 and 604800 (inclusive)",
        ));
    }
    if settings.tumbling_window.unwrap_or(0) > 0 && settings.parallelization_factor.unwrap_or(1) > 1 {
        // Unverified wording.
        return Err(invalid_parameter(
            "TumblingWindowInSeconds cannot be specified with a ParallelizationFactor greater than 1.",
        ));
    }
    check_filters(source, settings)?;
    if let Some(destinations) = &settings.destinations {
        check_destinations(source, destinations)?;
    }
    if let Some(pollers) = &settings.provisioned_pollers {
        if settings.maximum_concurrency.is_some() {
            // Unverified wording.
            return Err(invalid_parameter(
                "ScalingConfig and ProvisionedPollerConfig cannot be specified at the same time.",
            ));
        }
        check_pollers(source, pollers)?;
    }
    for access in settings.source_access.iter().flatten() {
        check_access(source, access)?;
    }
    let metrics = settings.metrics.iter().flat_map(|config| config.metrics.iter().flatten());
    for metric in metrics {
        match metric {
            EventSourceMappingMetric::EventCount => {}
            EventSourceMappingMetric::ErrorCount | EventSourceMappingMetric::KafkaMetrics => {
                if !is_kafka(source) {
                    return Err(unsupported(source, "MetricsConfig"));
                }
            }
        }
    }
    if matches!(source, Source::DocumentDb { .. })
        && settings.document_db.as_ref().is_none_or(|config| config.database_name.is_none())
    {
        // Unverified wording.
        return Err(invalid_parameter("Required 'databaseName' parameter is missing."));
    }
    Ok(())
}

fn check_batches(source: &Source, settings: &Settings) -> Result<(), ApiError> {
    let window = settings.batching_window.unwrap_or(0);
    if source::is_fifo(source) {
        if window > 0 {
            return Err(invalid_parameter("Batching window is not supported for FIFO queues"));
        }
        if settings.batch_size > 10 {
            return Err(invalid_parameter("Maximum batch size must be between 1 and 10 inclusive"));
        }
    } else if matches!(source, Source::Sqs { .. }) && settings.batch_size > 10 && window == 0 {
        return Err(invalid_parameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    if is_share_group(settings) {
        if settings.batching_window.is_some() {
            return Err(unsupported(source, "MaximumBatchingWindowInSeconds"));
        }
        if settings.maximum_retry_attempts == Some(-1) {
            return Err(unsupported(source, "MaximumRetryAttempts"));
        }
    }
    Ok(())
}

fn check_filters(source: &Source, settings: &Settings) -> Result<(), ApiError> {
    if settings.filters.len() > FILTERS {
        // Unverified wording.
        return Err(invalid_parameter(format!(
            "The number of filters exceeds the limit of {FILTERS} filters for an event source mapping."
        )));
    }
    for text in &settings.filters {
        let invalid = || invalid_parameter("Invalid filter pattern definition.");
        let pattern: Pattern = text.parse().map_err(|error| invalid().with_source(error))?;
        // Records of streams are JSON, so text cannot be compared with them as a whole.
        let data = match source {
            Source::Kinesis { .. } => "data",
            Source::DynamoDb { .. } => "dynamodb",
            Source::Sqs { .. }
            | Source::ManagedKafka { .. }
            | Source::SelfManagedKafka { .. }
            | Source::Mq { .. }
            | Source::DocumentDb { .. } => continue,
        };
        if pattern.has_rules_for(data) {
            return Err(invalid());
        }
    }
    Ok(())
}

fn check_destinations(source: &Source, destinations: &DestinationConfig) -> Result<(), ApiError> {
    let on_success = destinations.on_success.as_ref().and_then(|success| success.destination.as_deref());
    let failure = on_failure(destinations);
    let known = match failure {
        None => true,
        Some(topic) if topic.starts_with("kafka://") => is_kafka(source),
        Some(arn) => Parts::of(arn).is_some_and(|parts| match parts.service {
            "sqs" | "sns" => !parts.name.ends_with(".fifo"),
            "s3" => true,
            _ => false,
        }),
    };
    if known && on_success.is_none() {
        return Ok(());
    }
    // Recorded for asynchronous invocations; unverified here.
    let show = |kind: &str, destination: Option<&str>| match destination {
        Some(destination) => format!("{kind}(destination={destination})"),
        None => "null".to_owned(),
    };
    Err(invalid_parameter(format!(
        "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
        show("OnSuccess", on_success),
        show("OnFailure", failure),
    )))
}

/// Unverified wordings.
fn check_pollers(source: &Source, pollers: &ProvisionedPollerConfig) -> Result<(), ApiError> {
    let (least, most) = if matches!(source, Source::Sqs { .. }) { (2, 10_000) } else { (1, 2_000) };
    let minimum = pollers.minimum_pollers.unwrap_or(least);
    let maximum = pollers.maximum_pollers.unwrap_or(most);
    if minimum < least {
        return Err(invalid_parameter(format!("MinimumPollers must be greater than or equal to {least}.")));
    }
    if !(least..=most).contains(&maximum) {
        return Err(invalid_parameter(format!(
            "MaximumPollers must be between {least} and {most} (inclusive)."
        )));
    }
    if minimum > maximum {
        return Err(invalid_parameter("MinimumPollers must be less than or equal to MaximumPollers."));
    }
    if pollers.poller_group_name.is_some() && !is_kafka(source) {
        return Err(unsupported(source, "PollerGroupName"));
    }
    Ok(())
}

/// Unverified wording.
fn check_access(source: &Source, access: &SourceAccessConfiguration) -> Result<(), ApiError> {
    use SourceAccessType::{
        BasicAuth, SaslScram256Auth, ServerRootCaCertificate, VirtualHost, VpcSecurityGroup, VpcSubnet,
    };
    let (Some(kind), Some(_)) = (access.r#type, &access.uri) else {
        return Err(invalid_parameter("A source access configuration needs both Type and URI."));
    };
    let known = match source {
        Source::SelfManagedKafka { .. } => kind != VirtualHost,
        Source::ManagedKafka { .. } => {
            !matches!(kind, BasicAuth | VirtualHost | VpcSubnet | VpcSecurityGroup | SaslScram256Auth)
                && kind != ServerRootCaCertificate
        }
        Source::Mq { .. } => matches!(kind, BasicAuth | VirtualHost),
        Source::DocumentDb { .. } => kind == BasicAuth,
        Source::Sqs { .. } | Source::Kinesis { .. } | Source::DynamoDb { .. } => false,
    };
    if known {
        return Ok(());
    }
    Err(invalid_parameter(format!(
        "Unsupported source access configuration type {kind} for given event source mapping type."
    )))
}

fn unsupported(source: &Source, member: &str) -> ApiError {
    let brokers = !is_stream(source) && !matches!(source, Source::Sqs { .. });
    let member = if brokers { format!("'{}'", lower_camel(member)) } else { member.to_owned() };
    invalid_parameter(format!("Unsupported {member} parameter for given event source mapping type."))
}

fn lower_camel(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn is_stream(source: &Source) -> bool {
    matches!(source, Source::Kinesis { .. } | Source::DynamoDb { .. })
}

fn is_kafka(source: &Source) -> bool {
    matches!(source, Source::ManagedKafka { .. } | Source::SelfManagedKafka { .. })
}
