//! The function's side of capacity providers: `CapacityProviderConfig`, and which versions are on a provider.
//!
//! Must not let a function be on a provider that is not there.

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    arn::FunctionArn,
    generated::{
        CapacityProviderConfig, CapacityProviderState, FunctionVersionsByCapacityProviderListItem,
        LambdaManagedInstancesCapacityProviderConfig, ListFunctionVersionsByCapacityProviderRequest,
        ListFunctionVersionsByCapacityProviderResponse, LogFormat, Runtime, SnapStartApplyOn,
    },
    name::{self, Qualifier},
};

use super::provider::Named;
use crate::{
    control::Control,
    describe,
    error::{conflict, invalid_parameter},
    page::{self, Page},
    runtime,
    state::{
        ResourceId, State,
        model::{Configuration, FunctionKey, Scope, Version},
    },
};

/// MB of memory that a function on a provider has at least, and if it does not say.
pub(crate) const MEMORY_SIZE: u32 = 2048;

/// What a new function is on, with defaults filled in.
///
/// # Errors
/// If functions of its runtime cannot be.
pub(crate) fn chosen(
    sent: Option<&CapacityProviderConfig>,
    runtime: Option<Runtime>,
) -> Result<Option<LambdaManagedInstancesCapacityProviderConfig>, ApiError> {
    let Some(sent) = sent.and_then(|sent| sent.lambda_managed_instances_capacity_provider_config.as_ref())
    else {
        return Ok(None);
    };
    if let Some(runtime) = runtime.filter(|runtime| !runtime::has_managed_instances(*runtime)) {
        return Err(invalid_parameter(format!(
            "Runtime Enum {runtime} does not support specified feature: Lambda Managed Instances"
        )));
    }
    Ok(Some(LambdaManagedInstancesCapacityProviderConfig {
        capacity_provider_arn: sent.capacity_provider_arn.clone(),
        per_execution_environment_max_concurrency: sent
            .per_execution_environment_max_concurrency
            .or(Some(16)),
        execution_environment_memory_gib_per_vcpu: sent
            .execution_environment_memory_gib_per_vcpu
            .or(Some(2.0)),
    }))
}

/// What a function is on after an update.
///
/// # Errors
/// If it was on none: functions cannot be moved from or to Lambda's own machines.
pub(crate) fn rechosen(
    before: Option<LambdaManagedInstancesCapacityProviderConfig>,
    sent: Option<&CapacityProviderConfig>,
    runtime: Option<Runtime>,
) -> Result<Option<LambdaManagedInstancesCapacityProviderConfig>, ApiError> {
    match (before, sent) {
        (None, Some(_)) => {
            Err(invalid_parameter("CapacityProviderConfig isn't supported for Lambda Default functions."))
        }
        (before, None) => Ok(before),
        (Some(_), sent) => chosen(sent, runtime),
    }
}

/// The rules for the whole of a configuration on a provider, in place of those for others.
///
/// # Errors
/// If AWS would refuse it.
pub(crate) fn check_configuration(configuration: &Configuration) -> Result<(), ApiError> {
    if configuration.memory_size < MEMORY_SIZE {
        // Unverified: the wording, after the one for too much memory.
        return Err(invalid_parameter(format!(
            "'MemorySize' value failed to satisfy constraint: Member must have value greater than or equal to \
             {MEMORY_SIZE}"
        )));
    }
    if configuration.logging.format == LogFormat::Text {
        return Err(invalid_parameter(
            "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request or change \
             the LogFormat to \"JSON\" and try again.",
        ));
    }
    if configuration.snap_start == SnapStartApplyOn::PublishedVersions {
        // Unverified: the wording.
        return Err(invalid_parameter("SnapStart is not supported for Lambda Managed Instances functions."));
    }
    Ok(())
}

/// The provider that a request puts a function on, if any: what a decision about it depends on.
///
/// # Errors
/// If it is not here.
pub(crate) fn dependency(
    scope: &Scope,
    sent: Option<&CapacityProviderConfig>,
) -> Result<Option<(Scope, ResourceId)>, ApiError> {
    let arn = sent
        .and_then(|sent| sent.lambda_managed_instances_capacity_provider_config.as_ref())
        .and_then(|sent| sent.capacity_provider_arn.as_deref());
    arn.map(|arn| Ok((scope.clone(), Named::within(scope.clone(), arn)?.id))).transpose()
}

/// Decides whether a function may be as configured, and `more` versions of it be published.
///
/// # Errors
/// If their provider is not there, not fit, or full.
pub(crate) fn check(
    control: &Control,
    state: &State,
    scope: &Scope,
    configuration: &Configuration,
    more: usize,
) -> Result<(), ApiError> {
    let Some(arn) = configuration.capacity_provider() else { return Ok(()) };
    let provider = Named::within(scope.clone(), arn)?;
    match provider.provider(state)?.state {
        CapacityProviderState::Pending | CapacityProviderState::Active => {}
        unfit @ (CapacityProviderState::Failed | CapacityProviderState::Deleting) => {
            // Unverified: the wording.
            return Err(conflict(format!("The capacity provider {arn} is in the following state: {unfit}")));
        }
    }
    let limit = control.config().limits.function_versions_per_capacity_provider;
    // Only published versions get instances.
    let published = |(_, version): &(FunctionKey, &Version)| version.version != name::Version::Latest;
    if more > 0 && users(state, scope, arn, None).filter(published).take(limit).count() + more > limit {
        return Err(ApiError::new(
            ErrorKind::FunctionVersionsPerCapacityProviderLimitExceeded,
            // Unverified: the wording.
            "The maximum number of function versions that can be associated with a single capacity provider has been \
             exceeded.",
        ));
    }
    Ok(())
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListFunctionVersionsByCapacityProviderRequest,
) -> Result<ListFunctionVersionsByCapacityProviderResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 50;
    let named = Named::find(context, &input.capacity_provider_name)?;
    let after: Option<FunctionArn> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    named.provider(&state)?;
    let arn = named.arn();
    let versions = users(&state, &named.scope, &arn, after.as_ref());
    let page = Page::collect(versions, input.max_items, MOST, |(key, version)| {
        let arn = key.arn().with_qualifier(version.version);
        let item = FunctionVersionsByCapacityProviderListItem {
            function_arn: Some(arn.to_string()),
            state: Some(describe::state(version)),
        };
        (arn.to_string(), item)
    });
    Ok(ListFunctionVersionsByCapacityProviderResponse {
        next_marker: page.next_marker,
        capacity_provider_arn: Some(arn),
        function_versions: Some(page.items),
    })
}

/// The versions that are on a provider, by function and number; only those after `after`, if given.
pub(super) fn users<'a>(
    state: &'a State,
    scope: &'a Scope,
    arn: &'a str,
    after: Option<&'a FunctionArn>,
) -> impl Iterator<Item = (FunctionKey, &'a Version)> {
    let key = |name: &name::FunctionName| FunctionKey { scope: scope.clone(), name: name.clone() };
    // From the function of the marker on, as more of its versions may follow.
    let first = after.and_then(|after| Some((after.name(), state.function(&key(after.name()))?)));
    let seen = after.and_then(|after| match after.qualifier()? {
        Qualifier::Latest => Some(name::Version::Latest),
        Qualifier::Version(number) => Some(name::Version::Number(*number)),
        Qualifier::LatestPublished => Some(name::Version::LatestPublished),
        Qualifier::Alias(_) => None,
    });
    first
        .into_iter()
        .chain(state.functions(scope, after.map(FunctionArn::name)))
        .flat_map(|(name, function)| function.all_versions().map(move |version| (name, &**version)))
        .filter(move |(name, version)| {
            after.is_none_or(|after| *name != after.name() || Some(version.version) > seen)
        })
        .filter(move |(_, version)| version.configuration.capacity_provider() == Some(arn))
        .map(move |(name, version)| (key(name), version))
}

/// How a reply shows what a version is on.
pub(crate) fn show(managed: LambdaManagedInstancesCapacityProviderConfig) -> CapacityProviderConfig {
    CapacityProviderConfig { lambda_managed_instances_capacity_provider_config: Some(managed) }
}

/// Refuses what only functions on a provider have.
///
/// # Errors
/// If the version is on none.
pub(crate) fn check_managed(configuration: &Configuration, what: &str) -> Result<(), ApiError> {
    match configuration.capacity_provider() {
        Some(_) => Ok(()),
        // Unverified: the wording, after the one for `CapacityProviderConfig`.
        None => Err(invalid_parameter(format!("{what} isn't supported for Lambda Default functions."))),
    }
}
