//! How many environments a version on a capacity provider is to have: PutFunctionScalingConfig and its counterpart.
//!
//! Kept and shown; there are no instances here to which it could apply. What was asked for applies after the delay of
//! capacity providers. Who asks for none gets none: the version is `Deactivated` and cannot be invoked. Must not change
//! how many environments a function really has.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        FunctionScalingConfig, GetFunctionScalingConfigRequest, GetFunctionScalingConfigResponse,
        PutFunctionScalingConfigRequest, PutFunctionScalingConfigResponse, State as Shown, StateReasonCode,
    },
    name::Qualifier,
};

use crate::{
    capacity_provider::function::check_managed,
    control::Control,
    describe,
    error::{self, invalid_parameter},
    lifecycle,
    state::{
        Change, Event, Setting, SettingKind, State,
        model::{Function, FunctionKey, Status, Version, settings::FunctionScaling},
    },
    target::Target,
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutFunctionScalingConfigRequest,
) -> Result<PutFunctionScalingConfigResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, Some(&input.qualifier))?;
    let requested = input.function_scaling_config.unwrap_or_default();
    if let (Some(least), Some(most)) =
        (requested.min_execution_environments, requested.max_execution_environments)
        && least > most
    {
        // Unverified: the wording.
        return Err(invalid_parameter(
            "MinExecutionEnvironments cannot be greater than MaxExecutionEnvironments.",
        ));
    }
    let this = control.clone();
    control
        .run(async move {
            let delay = this.config().capacity_provider_delay;
            let function_state = this
                .change(&target.key, |state| {
                    let (function, version) = find(state, &target)?;
                    let arn = target.arn();
                    let none = requested.max_execution_environments == Some(0);
                    let status = match version.status {
                        Status::Creating | Status::Restoring => {
                            return Err(error::wrong_state(&arn, Shown::Pending, StateReasonCode::Creating));
                        }
                        Status::Deactivating | Status::Deleting => {
                            return Err(error::passing(&arn, describe::state(version)));
                        }
                        Status::Deactivated if !none => Some(Status::Creating),
                        Status::Deactivated => None,
                        Status::Ready
                        | Status::Updating
                        | Status::Failed
                        | Status::InitFailed
                        | Status::Idle => none.then_some(Status::Deactivating),
                    };
                    let applied = match delay.is_zero() {
                        true => Some(requested.clone()),
                        false => now(function, &target.qualifier).and_then(|before| before.applied.clone()),
                    };
                    let mut events =
                        vec![put_event(target.qualifier.clone(), FunctionScaling { requested, applied })];
                    let mut passing = version.clone();
                    if let Some(status) = status {
                        passing.status = status;
                        events.push(lifecycle::amended(version.version, status));
                        events.extend(ended(&passing).filter(|_| delay.is_zero()));
                    }
                    Ok((events, describe::state(&passing)))
                })
                .await?;
            if !delay.is_zero() {
                apply_later(&this, target);
            }
            Ok(PutFunctionScalingConfigResponse { function_state: Some(function_state) })
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionScalingConfigRequest,
) -> Result<GetFunctionScalingConfigResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, Some(&input.qualifier))?;
    let state = control.state();
    let (function, _) = find(&state, &target)?;
    let scaling = now(function, &target.qualifier);
    Ok(GetFunctionScalingConfigResponse {
        function_arn: Some(target.arn().to_string()),
        applied_function_scaling_config: scaling.and_then(|scaling| scaling.applied.clone()),
        requested_function_scaling_config: scaling.map(|scaling| scaling.requested.clone()),
    })
}

/// What a crash may have left: configurations that were about to apply.
pub(crate) fn pending(state: &State) -> Vec<Change> {
    let apply = |(key, function): (FunctionKey, &Function)| {
        let events = function.settings.iter().filter_map(|(setting, value)| match &**value {
            Setting::Scaling(scaling) => applied(setting.qualifier.clone(), scaling),
            _ => None,
        });
        let changes = events.map(|event| Change::Function { key: key.clone(), event });
        changes.collect::<Vec<_>>()
    };
    state.all_functions().flat_map(apply).collect()
}

/// Lets what was asked for apply when the delay is over. If the service ends before, the next start does.
fn apply_later(control: &Control, target: Target) {
    let this = control.clone();
    control.later(control.config().capacity_provider_delay, async move {
        let applied = this
            .change(&target.key, |state| {
                let scaling =
                    state.function(&target.key).and_then(|function| now(function, &target.qualifier));
                let event = scaling.and_then(|scaling| applied(target.qualifier.clone(), scaling));
                let ended = find(state, &target).ok().and_then(|(_, version)| ended(version));
                Ok((event.into_iter().chain(ended).collect(), ()))
            })
            .await;
        if let Err(error) = applied {
            tracing::error!(
                function = %target.key.name,
                error = &error as &dyn std::error::Error,
                "failed to record that a scaling configuration applies"
            );
        }
    });
}

/// What ends the state that a version has while it gets or gives up its environments.
fn ended(version: &Version) -> Option<Event> {
    let status = match version.status {
        Status::Deactivating => Status::Deactivated,
        Status::Creating => Status::Ready,
        _ => return None,
    };
    Some(lifecycle::amended(version.version, status))
}

fn applied(qualifier: Option<Qualifier>, scaling: &FunctionScaling) -> Option<Event> {
    let requested: &FunctionScalingConfig = &scaling.requested;
    (scaling.applied.as_ref() != Some(requested)).then(|| {
        let scaling = FunctionScaling { requested: requested.clone(), applied: Some(requested.clone()) };
        put_event(qualifier, scaling)
    })
}

fn now<'a>(function: &'a Function, qualifier: &Option<Qualifier>) -> Option<&'a FunctionScaling> {
    match function.setting(SettingKind::Scaling, qualifier.clone()) {
        Some(Setting::Scaling(scaling)) => Some(scaling),
        _ => None,
    }
}

fn put_event(qualifier: Option<Qualifier>, scaling: FunctionScaling) -> Event {
    Event::SettingPut { qualifier, setting: Arc::new(Setting::Scaling(scaling)) }
}

/// The version that is meant, if it is one that can have a configuration.
fn find<'a>(state: &'a State, target: &Target) -> Result<(&'a Function, &'a Version), ApiError> {
    let function = state.function(&target.key);
    let version = function.and_then(|function| match &target.qualifier {
        Some(Qualifier::Version(number)) => function.versions.get(number),
        Some(Qualifier::LatestPublished) => function.latest_published.as_ref(),
        // The model's pattern has neither.
        None | Some(Qualifier::Latest | Qualifier::Alias(_)) => None,
    });
    let found = function.zip(version).map(|(function, version)| (function, &**version));
    let (function, version) = found.ok_or_else(|| error::function_not_found(target.arn()))?;
    check_managed(&version.configuration, "FunctionScalingConfig")?;
    Ok((function, version))
}
