//! The code signing configuration of a function, and what it means for deployments.
//!
//! Must not let a function have a configuration that is not there.

use std::{fmt, sync::Arc};

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    generated::{
        CodeSigningPolicy, DeleteFunctionCodeSigningConfigRequest, GetFunctionCodeSigningConfigRequest,
        GetFunctionCodeSigningConfigResponse, ListFunctionsByCodeSigningConfigRequest,
        ListFunctionsByCodeSigningConfigResponse, PutFunctionCodeSigningConfigRequest,
        PutFunctionCodeSigningConfigResponse,
    },
    name::FunctionName,
};

use super::config;
use crate::{
    control::Control,
    error::{self, invalid_parameter},
    function::update::replaceable,
    page::{self, Page},
    state::{
        Event, ResourceId, Setting, SettingKind, State,
        model::{Function, FunctionKey, Package, Scope},
    },
    target::{Target, scope},
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutFunctionCodeSigningConfigRequest,
) -> Result<PutFunctionCodeSigningConfigResponse, ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let arn = input.code_signing_config_arn;
    let this = control.clone();
    control
        .run(async move {
            let name = name_of(&key.scope, &arn)?;
            this.change_with(&key, &[(key.scope.clone(), name)], |state| {
                zipped(state, &key)?;
                replaceable(state, &key, None)?;
                config::find(state, &key.scope, &arn).ok_or_else(|| missing(&arn))?;
                let answer = PutFunctionCodeSigningConfigResponse {
                    code_signing_config_arn: Some(arn.clone()),
                    function_name: Some(key.name.to_string()),
                };
                Ok((vec![given(arn)], answer))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionCodeSigningConfigRequest,
) -> Result<GetFunctionCodeSigningConfigResponse, ApiError> {
    let key = Target::function(control, context, &input.function_name)?;
    let state = control.state();
    let function = zipped(&state, &key)?;
    Ok(GetFunctionCodeSigningConfigResponse {
        // Absent without a configuration, whatever the model says.
        code_signing_config_arn: config_of(function).map(str::to_owned),
        function_name: Some(key.name.to_string()),
    })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteFunctionCodeSigningConfigRequest,
) -> Result<(), ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                zipped(state, &key)?;
                let function = replaceable(state, &key, None)?;
                let event = Event::SettingRemoved { qualifier: None, kind: SettingKind::CodeSigning };
                // Unverified: that there is nothing wrong with taking away what is not there.
                Ok((if config_of(function).is_some() { vec![event] } else { Vec::new() }, ()))
            })
            .await
        })
        .await
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListFunctionsByCodeSigningConfigRequest,
) -> Result<ListFunctionsByCodeSigningConfigResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 10_000;
    let scope = scope(context);
    let arn = &input.code_signing_config_arn;
    let after: Option<FunctionName> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    config::find(&state, &scope, arn).ok_or_else(|| config::missing(arn))?;
    let users = users(&state, &scope, arn, after.as_ref());
    let page = Page::collect(users, input.max_items, MOST, |name| {
        let key = FunctionKey { scope: scope.clone(), name: name.clone() };
        (name.to_string(), key.arn().to_string())
    });
    Ok(ListFunctionsByCodeSigningConfigResponse {
        next_marker: page.next_marker,
        function_arns: Some(page.items),
    })
}

/// The functions that have a configuration, by name; only those after `after`, if given.
pub(super) fn users<'a>(
    state: &'a State,
    scope: &'a Scope,
    arn: &'a str,
    after: Option<&FunctionName>,
) -> impl Iterator<Item = &'a FunctionName> {
    state
        .functions(scope, after)
        .filter(move |(_, function)| config_of(function) == Some(arn))
        .map(|(name, _)| name)
}

/// The configuration that a function is to be created with.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// What the decision to create the function depends on.
    pub(crate) id: ResourceId,
    arn: String,
}

impl Chosen {
    /// Reads what a request says.
    ///
    /// # Errors
    /// If a function of this kind cannot have it, or if it is not there.
    pub(crate) fn of(scope: &Scope, arn: Option<String>, image: bool) -> Result<Option<Self>, ApiError> {
        let Some(arn) = arn else { return Ok(None) };
        if image {
            return Err(images_are_not_signed());
        }
        Ok(Some(Self { id: name_of(scope, &arn)?, arn }))
    }

    /// Decides whether the function may be created with it: what is to happen to the new function.
    ///
    /// # Errors
    /// If it is not there, or refuses the package.
    pub(crate) fn decide(&self, state: &State, key: &FunctionKey) -> Result<Event, ApiError> {
        let (_, found) = config::find(state, &key.scope, &self.arn).ok_or_else(|| missing(&self.arn))?;
        check_policy(found.untrusted, &key.name)?;
        Ok(given(self.arn.clone()))
    }
}

/// Refuses to deploy a package, or layers, to a function whose configuration wants them signed.
///
/// # Errors
/// If it does.
pub(crate) fn check_deployment(
    state: &State,
    key: &FunctionKey,
    function: &Function,
    what: impl fmt::Display,
) -> Result<(), ApiError> {
    // A configuration of a function cannot be deleted.
    match config_of(function).and_then(|arn| config::find(state, &key.scope, arn)) {
        Some((_, config)) => check_policy(config.untrusted, what),
        None => Ok(()),
    }
}

fn check_policy(policy: CodeSigningPolicy, what: impl fmt::Display) -> Result<(), ApiError> {
    match policy {
        CodeSigningPolicy::Warn => Ok(()),
        CodeSigningPolicy::Enforce => Err(ApiError::new(
            ErrorKind::CodeVerificationFailed,
            format!(
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the \
                 client is not configured to accept. Check the provided signature for {what}."
            ),
        )),
    }
}

fn config_of(function: &Function) -> Option<&str> {
    match function.setting(SettingKind::CodeSigning, None) {
        Some(Setting::CodeSigning(arn)) => Some(arn),
        _ => None,
    }
}

fn given(arn: String) -> Event {
    Event::SettingPut { qualifier: None, setting: Arc::new(Setting::CodeSigning(arn)) }
}

/// A function that can have a configuration.
fn zipped<'a>(state: &'a State, key: &FunctionKey) -> Result<&'a Function, ApiError> {
    let function = state.function(key).ok_or_else(|| error::function_not_found(key.arn()))?;
    match function.latest.code.package {
        Package::Zip { .. } => Ok(function),
        Package::Image { .. } => Err(images_are_not_signed()),
    }
}

fn images_are_not_signed() -> ApiError {
    invalid_parameter("Code signing is not supported for functions created with container images.")
}

fn name_of(scope: &Scope, arn: &str) -> Result<ResourceId, ApiError> {
    config::id_of(scope, arn).map(ResourceId::CodeSigningConfig).ok_or_else(|| missing(arn))
}

/// As operations on functions say it.
fn missing(arn: &str) -> ApiError {
    ApiError::new(
        ErrorKind::CodeSigningConfigNotFound,
        format!(
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: \
             {arn}."
        ),
    )
}
