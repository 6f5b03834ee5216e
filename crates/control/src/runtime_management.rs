//! When a version's runtime is updated. There is one version of each runtime here, so it is said and not done.
//!
//! Must not choose the interpreter that a function runs in.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        GetRuntimeManagementConfigRequest, GetRuntimeManagementConfigResponse,
        PutRuntimeManagementConfigRequest, PutRuntimeManagementConfigResponse, UpdateRuntimeOn,
    },
    name::Qualifier,
};

use crate::{
    control::Control,
    error::{self, invalid_parameter},
    function::read::resolve,
    state::{
        Event, Setting, SettingKind, State,
        model::{Function, settings::RuntimeManagement},
    },
    target::Target,
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutRuntimeManagementConfigRequest,
) -> Result<PutRuntimeManagementConfigResponse, ApiError> {
    let target = find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let config = RuntimeManagement {
        update_on: input.update_runtime_on,
        runtime_version_arn: input.runtime_version_arn,
    };
    check(&context, &config)?;
    let answer = PutRuntimeManagementConfigResponse {
        update_runtime_on: Some(config.update_on),
        function_arn: Some(qualified(&target).to_string()),
        runtime_version_arn: config.runtime_version_arn.clone(),
    };
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                existing(state, &target)?;
                let setting = Arc::new(Setting::RuntimeManagement(config));
                Ok((vec![Event::SettingPut { qualifier: Some(qualifier(&target)), setting }], ()))
            })
            .await
        })
        .await?;
    Ok(answer)
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetRuntimeManagementConfigRequest,
) -> Result<GetRuntimeManagementConfigResponse, ApiError> {
    let target = find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let function = existing(&state, &target)?;
    let config = of(function, qualifier(&target));
    Ok(GetRuntimeManagementConfigResponse {
        update_runtime_on: Some(config.map_or(UpdateRuntimeOn::Auto, |config| config.update_on)),
        function_arn: Some(qualified(&target).to_string()),
        runtime_version_arn: config.and_then(|config| config.runtime_version_arn.clone()),
    })
}

/// The runtime version that was chosen by hand for a version of a function.
pub(crate) fn pinned(function: &Function, version: impl Into<Qualifier>) -> Option<&str> {
    of(function, version.into())?.runtime_version_arn.as_deref()
}

fn of(function: &Function, qualifier: Qualifier) -> Option<&RuntimeManagement> {
    match function.setting(SettingKind::RuntimeManagement, Some(qualifier)) {
        Some(Setting::RuntimeManagement(config)) => Some(config),
        _ => None,
    }
}

/// As [`Target::find`], but refuses aliases.
fn find(
    control: &Control,
    context: &RequestContext,
    function_name: &str,
    qualifier: Option<&str>,
) -> Result<Target, ApiError> {
    let target = Target::find(control, context, function_name, qualifier)?;
    match target.qualifier {
        Some(Qualifier::Alias(_)) => Err(invalid_parameter(format!(
            "The provided function name {} is invalid. Aliases are not allowed.",
            target.arn()
        ))),
        None | Some(Qualifier::Latest | Qualifier::LatestPublished | Qualifier::Version(_)) => Ok(target),
    }
}

fn qualifier(target: &Target) -> Qualifier {
    target.qualifier.clone().unwrap_or(Qualifier::Latest)
}

fn qualified(target: &Target) -> FunctionArn {
    target.key.arn().with_qualifier(qualifier(target))
}

fn existing<'a>(state: &'a State, target: &Target) -> Result<&'a Function, ApiError> {
    let function = state.function(&target.key);
    function
        .filter(|function| resolve(function, target.qualifier.as_ref()).is_some())
        .ok_or_else(|| error::function_not_found(target.arn()))
}

fn check(context: &RequestContext, config: &RuntimeManagement) -> Result<(), ApiError> {
    match (config.update_on, &config.runtime_version_arn) {
        // Unverified wording, as of all that follows.
        (UpdateRuntimeOn::Manual, None) => {
            Err(invalid_parameter("RuntimeVersionArn is required when UpdateRuntimeOn is Manual."))
        }
        (UpdateRuntimeOn::Auto | UpdateRuntimeOn::FunctionUpdate, Some(_)) => {
            Err(invalid_parameter("RuntimeVersionArn can only be specified when UpdateRuntimeOn is Manual."))
        }
        (_, Some(arn)) if arn.split(':').nth(3) != Some(context.region.as_str()) => {
            Err(invalid_parameter(format!("The runtime version {arn} does not exist in {}.", context.region)))
        }
        (UpdateRuntimeOn::Manual, Some(_))
        | (UpdateRuntimeOn::Auto | UpdateRuntimeOn::FunctionUpdate, None) => Ok(()),
    }
}
