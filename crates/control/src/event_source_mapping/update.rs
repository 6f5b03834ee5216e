//! UpdateEventSourceMapping.
//!
//! Must not change what a mapping reads: AWS has it deleted and made anew for that.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{EventSourceMappingConfiguration, UpdateEventSourceMappingRequest},
};

use super::{check_settled, create, find, rules, settings, transition};
use crate::{
    control::{Control, Subject},
    error::invalid_parameter,
    state::{
        ResourceId,
        model::{
            FunctionKey,
            mapping::{EventSourceMapping, Settings, Transition},
        },
    },
    target::{self, Target},
};

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let this = control.clone();
    control.run(async move { run(&this, &context, input).await }).await
}

async fn run(
    control: &Control,
    context: &RequestContext,
    input: UpdateEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let scope = target::scope(context);
    let (id, before) = {
        let state = control.state();
        let (id, mapping) = find(&state, &scope, &input.uuid)?;
        (id, mapping.clone())
    };
    // What can be told without the function is told first, as by CreateEventSourceMapping.
    changed(&before, &input)?;
    let moved = match &input.function_name {
        Some(name) => Some(Target::find(control, context, name, None)?),
        None => None,
    };
    let existing = match &moved {
        Some(target) => {
            create::check_target(&control.state(), target, &before.source, id)?;
            Some(create::look_up(control, &before.source).await?)
        }
        None => None,
    };
    let key = match &moved {
        Some(target) => target.key.clone(),
        None => FunctionKey { scope: scope.clone(), name: before.function },
    };
    let resource = ResourceId::EventSourceMapping(id);
    let subjects = [Subject::Function(&key), Subject::Resource(&scope, &resource)];
    let shown = control
        .change_all(&subjects, |state| {
            let (_, before) = find(state, &scope, &input.uuid)?;
            check_settled(before, "update")?;
            let settings = changed(before, &input)?;
            let mut mapping = EventSourceMapping { settings, ..before.clone() };
            if let Some(target) = &moved {
                let version = create::check_target(state, target, &before.source, id)?;
                create::check_visibility(version, existing.unwrap_or_default())?;
                mapping.function = target.key.name.clone();
                mapping.qualifier.clone_from(&target.qualifier);
            }
            mapping.enabled = input.enabled.unwrap_or(before.enabled);
            mapping.transition = Some(match (before.enabled, mapping.enabled) {
                (false, true) => Transition::Enabling,
                (true, false) => Transition::Disabling,
                (true, true) | (false, false) => Transition::Updating,
            });
            mapping.last_modified = control.now();
            Ok(transition::begin(control, &scope, id, mapping))
        })
        .await?;
    transition::settle_later(control, scope, id);
    Ok(shown)
}

/// The settings after the update.
fn changed(
    before: &EventSourceMapping,
    input: &UpdateEventSourceMappingRequest,
) -> Result<Settings, ApiError> {
    rules::check_members(&before.source, input)?;
    let settings = settings::changed(&before.settings, &before.source, input);
    if consumer_group(&settings) != consumer_group(&before.settings) {
        // Unverified wording.
        return Err(invalid_parameter(
            "ConsumerGroupId cannot be updated after the event source mapping was created.",
        ));
    }
    rules::check_settings(&before.source, &settings)?;
    Ok(settings)
}

fn consumer_group(settings: &Settings) -> Option<&str> {
    let managed = settings.managed_kafka.as_ref().and_then(|kafka| kafka.consumer_group_id.as_deref());
    let other = settings.self_managed_kafka.as_ref().and_then(|kafka| kafka.consumer_group_id.as_deref());
    managed.or(other)
}
