//! CreateEventSourceMapping, and what it shares with updates: the function and the source must fit each other.
//!
//! Must not hold the function's turn while a source is looked up.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{CreateEventSourceMappingRequest, EventSourceMappingConfiguration},
    name::Qualifier,
};
use uuid::Uuid;

use super::{
    all,
    lookup::{Existing, LookupError},
    rules, settings, source, transition,
};
use crate::{
    control::{Control, Subject},
    error::{conflict, invalid_parameter},
    state::{
        ResourceId, State,
        model::{
            Function, Version,
            mapping::{EventSourceMapping, Source, Transition},
        },
    },
    tag,
    target::{self, Target},
    tenancy,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let this = control.clone();
    control.run(async move { run(&this, &context, input).await }).await
}

async fn run(
    control: &Control,
    context: &RequestContext,
    input: CreateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let id = Uuid::new_v4();
    let now = control.now();
    let scope = target::scope(context);
    let source = source::of(&input, &scope.region)?;
    let sent = settings::sent(&input);
    rules::check_members(&source, &sent)?;
    let settings = settings::changed(&settings::defaults(&source, id), &source, &sent);
    let start = rules::check_new(&source, &settings, &input, now)?;
    rules::check_settings(&source, &settings)?;
    let tags = input.tags.unwrap_or_default();
    tag::check(control.config(), &tags)?;
    let target = Target::find(control, context, &input.function_name, None)?;
    // Early, so that a request that is refused anyway asks nobody; decided below.
    check_target(&control.state(), &target, &source, id)?;
    let existing = look_up(control, &source).await?;

    let enabled = input.enabled.unwrap_or(true);
    let mapping = EventSourceMapping {
        function: target.key.name.clone(),
        qualifier: target.qualifier.clone(),
        source,
        start,
        settings,
        enabled,
        // Recorded for queues: one that is not to be read is `Disabled` at once. Unverified for other sources.
        transition: enabled.then_some(Transition::Creating),
        last_modified: now,
        tags,
    };
    let resource = ResourceId::EventSourceMapping(id);
    // Whoever gives a function another mapping has its turn, so that no two are the same.
    let subjects = [Subject::Function(&target.key), Subject::Resource(&scope, &resource)];
    let shown = control
        .change_all(&subjects, |state| {
            let version = check_target(state, &target, &mapping.source, id)?;
            check_visibility(version, existing)?;
            Ok(transition::begin(control, &scope, id, mapping))
        })
        .await?;
    transition::settle_later(control, scope, id);
    if enabled {
        tracing::warn!(mapping = %id, "event source mappings are kept and shown, but their sources are not polled yet");
    }
    Ok(shown)
}

/// The version that a mapping invokes now, if there is one and it is not fed by this source already.
///
/// # Errors
/// With AWS's message.
pub(super) fn check_target<'a>(
    state: &'a State,
    target: &Target,
    source: &Source,
    id: Uuid,
) -> Result<&'a Version, ApiError> {
    let version = state
        .function(&target.key)
        .and_then(|function| version(function, target.qualifier.as_ref()))
        .ok_or_else(|| invalid_parameter("Function does not exist"))?;
    let same = |(other, mapping): &(Uuid, &EventSourceMapping)| {
        *other != id
            && mapping.function == target.key.name
            && effective(mapping.qualifier.as_ref()) == effective(target.qualifier.as_ref())
            && overlap(&mapping.source, source)
    };
    match all(state, &target.key.scope, None).find(same) {
        Some((other, _)) => Err(duplicate(target, source, other)),
        None => {
            tenancy::check_none(&version.configuration, "Event source mapping")?;
            Ok(version)
        }
    }
}

/// What a qualifier stands for: no qualifier means `$LATEST`, though replies tell them apart.
///
/// Unverified: that AWS takes the two for the same when it compares mappings.
pub(super) fn effective(qualifier: Option<&Qualifier>) -> Option<&Qualifier> {
    qualifier.filter(|qualifier| !matches!(qualifier, Qualifier::Latest))
}

fn version<'a>(function: &'a Function, qualifier: Option<&Qualifier>) -> Option<&'a Version> {
    let version = match qualifier {
        None | Some(Qualifier::Latest) => Some(&function.latest),
        Some(Qualifier::LatestPublished) => function.latest_published.as_ref(),
        Some(Qualifier::Version(number)) => function.versions.get(number),
        Some(Qualifier::Alias(name)) => {
            function.aliases.get(name).and_then(|alias| function.version(alias.version))
        }
    };
    version.map(|version| &**version)
}

/// Whether two mappings of one function would bring it the same records.
fn overlap(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (
            Source::SelfManagedKafka { bootstrap_servers, topics },
            Source::SelfManagedKafka { bootstrap_servers: servers, topics: names },
        ) => bootstrap_servers.iter().any(|server| servers.contains(server)) && topics == names,
        (Source::ManagedKafka { .. } | Source::Mq { .. }, _) => one == other,
        _ => one.arn().is_some() && one.arn() == other.arn(),
    }
}

fn duplicate(target: &Target, source: &Source, other: Uuid) -> ApiError {
    let name = &target.key.name;
    let advice = format!("Please update or delete the existing mapping with UUID {other}");
    let of_brokers = |source: &str, kind: &str, names: &[String]| {
        let (function, names) = (target.arn(), names.join(","));
        format!(
            "An event source mapping with event source (\"{source}\"), function (\"{function}\"), {kind} (\"{names}\") \
             already exists. {advice}"
        )
    };
    conflict(match source {
        Source::Sqs { arn } => format!(
            "An event source mapping with SQS arn (\" {arn} \") and function (\" {name} \") already exists. {advice}"
        ),
        Source::Kinesis { arn } | Source::DynamoDb { arn } | Source::DocumentDb { arn } => format!(
            "The event source arn (\" {arn} \") and function (\" {name} \") provided mapping already exists. {advice}"
        ),
        Source::SelfManagedKafka { bootstrap_servers, topics } => {
            of_brokers(&bootstrap_servers.join(","), "topics", topics)
        }
        // Unverified for these two.
        Source::ManagedKafka { arn, topics } => of_brokers(arn, "topics", topics),
        Source::Mq { arn, queues } => of_brokers(arn, "queues", queues),
    })
}

/// Looks a queue or stream up where that is possible. Without an endpoint for other services, or if it does not
/// answer, the source is taken to be there: who sets up a function should not have to start everything else first.
///
/// # Errors
/// If it is known not to be there, with AWS's message.
pub(super) async fn look_up(control: &Control, source: &Source) -> Result<Existing, ApiError> {
    let Some(id) = source::id(source) else { return Ok(Existing::default()) };
    match control.sources().look_up(&id).await {
        Ok(existing) => Ok(existing),
        Err(LookupError::Missing) => Err(invalid_parameter(match source {
            Source::Sqs { .. } => {
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS \
                 Error Message: The specified queue does not exist."
                    .to_owned()
            }
            _ => format!("Stream not found: {}", id.arn),
        })),
        Err(LookupError::NoEndpoint) => Ok(Existing::default()),
        Err(error @ LookupError::Transport(_)) => {
            tracing::warn!(
                source = id.arn,
                error = &error as &dyn std::error::Error,
                "accepted an event source that could not be looked up"
            );
            Ok(Existing::default())
        }
    }
}

/// A message must stay hidden for as long as a function may work on it.
///
/// # Errors
/// If it does not, with AWS's message.
pub(super) fn check_visibility(version: &Version, existing: Existing) -> Result<(), ApiError> {
    let timeout = version.configuration.timeout;
    match existing.visibility_timeout {
        Some(visibility) if visibility < timeout => Err(invalid_parameter(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        ))),
        _ => Ok(()),
    }
}
