//! GetFunction, GetFunctionConfiguration, ListFunctions.
//!
//! Must not wait for anything.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        Concurrency, FunctionCodeLocation, FunctionConfiguration, FunctionVersion,
        GetFunctionConfigurationRequest, GetFunctionRequest, GetFunctionResponse, ListFunctionsRequest,
        ListFunctionsResponse, RuntimeVersionConfig,
    },
    name::{self, FunctionName, Qualifier},
};

use crate::{
    control::Control,
    describe::{self, Detail, image_digest},
    error::{self, invalid_parameter},
    package,
    page::{self, Page},
    runtime_management,
    state::model::{Function, FunctionKey, Package, Version},
    target::{Target, scope},
};

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionRequest,
) -> Result<GetFunctionResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let not_found = || error::function_not_found(target.arn());
    let function = state.function(&target.key).ok_or_else(not_found)?;
    let version = resolve(function, target.qualifier.as_ref()).ok_or_else(not_found)?;
    let tags = Some(function.tags.clone()).filter(|tags| !tags.is_empty());
    let reserved = function.reserved_concurrency;
    Ok(GetFunctionResponse {
        configuration: Some(show(&target, function, version)),
        code: Some(location(control, version)),
        tags,
        tags_error: None,
        concurrency: reserved
            .map(|executions| Concurrency { reserved_concurrent_executions: Some(executions.cast_signed()) }),
    })
}

fn location(control: &Control, version: &Version) -> FunctionCodeLocation {
    let origin = version.code.origin.as_deref().cloned().unwrap_or_default();
    match &version.code.package {
        Package::Zip { hash, .. } => FunctionCodeLocation {
            repository_type: Some("S3".into()),
            location: Some(package::url(control, hash)),
            resolved_s3_object: origin.object,
            source_kms_key_arn: origin.kms_key_arn,
            ..FunctionCodeLocation::default()
        },
        Package::Image { uri } => FunctionCodeLocation {
            repository_type: Some("ECR".into()),
            image_uri: Some(uri.clone()),
            resolved_image_uri: Some(format!("{}@sha256:{}", repository(uri), image_digest(uri))),
            ..FunctionCodeLocation::default()
        },
    }
}

/// An image's URI without tag or digest.
fn repository(uri: &str) -> &str {
    let uri = uri.split_once('@').map_or(uri, |(repository, _)| repository);
    match uri.rsplit_once(':') {
        // A colon before the last slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => uri,
    }
}

pub(crate) fn get_configuration(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionConfigurationRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let target = Target::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let not_found = || error::function_not_found(target.arn());
    let function = state.function(&target.key).ok_or_else(not_found)?;
    let version = resolve(function, target.qualifier.as_ref()).ok_or_else(not_found)?;
    Ok(show(&target, function, version))
}

/// A version, with the runtime version that was chosen for it by hand, if one was.
fn show(target: &Target, function: &Function, version: &Version) -> FunctionConfiguration {
    let shown = describe::version(&target.arn(), version, Detail::Full);
    match runtime_management::pinned(function, version.version) {
        None => shown,
        Some(arn) => {
            let runtime = RuntimeVersionConfig { runtime_version_arn: Some(arn.to_owned()), error: None };
            FunctionConfiguration { runtime_version_config: Some(runtime), ..shown }
        }
    }
}

/// Whether only replicas of functions in another region are asked for, as those of Lambda@Edge are.
fn replicas_only(input: &ListFunctionsRequest) -> Result<bool, ApiError> {
    let replicas = input.master_region.as_deref().is_some_and(|region| region != "ALL");
    if replicas && input.function_version.is_none() {
        // Unverified wording.
        return Err(invalid_parameter("FunctionVersion must be set to ALL when MasterRegion is specified."));
    }
    Ok(replicas)
}

/// The version that a qualifier stands for. An alias of two versions stands for its first.
pub(crate) fn resolve<'a>(function: &'a Function, qualifier: Option<&Qualifier>) -> Option<&'a Arc<Version>> {
    match qualifier {
        None | Some(Qualifier::Latest) => Some(&function.latest),
        Some(Qualifier::LatestPublished) => function.latest_published.as_ref(),
        Some(Qualifier::Version(number)) => function.versions.get(number),
        Some(Qualifier::Alias(name)) => function.version(function.aliases.get(name)?.version),
    }
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListFunctionsRequest,
) -> Result<ListFunctionsResponse, ApiError> {
    /// Whatever `MaxItems` says.
    const MOST: usize = 50;
    if replicas_only(input)? {
        // No function here is one.
        return Ok(ListFunctionsResponse { next_marker: None, functions: Some(Vec::new()) });
    }
    let scope = scope(context);
    let state = control.state();
    let page = match input.function_version {
        None => {
            let after: Option<FunctionName> = page::marker(input.marker.as_deref())?;
            let functions = state.functions(&scope, after.as_ref());
            Page::collect(functions, input.max_items, MOST, |(name, function)| {
                let arn = FunctionArn::new(scope.account, scope.region.clone(), name.clone());
                (name.to_string(), describe::version(&arn, &function.latest, Detail::Listed))
            })
        }
        Some(FunctionVersion::All) => {
            let after: Option<FunctionArn> = page::marker(input.marker.as_deref())?;
            // From the function of the marker on, as more of its versions may follow.
            let first = after.as_ref().and_then(|after| {
                let key = FunctionKey { scope: scope.clone(), name: after.name().clone() };
                state.function(&key).map(|function| (after.name(), function))
            });
            let seen = after.as_ref().and_then(|after| match after.qualifier() {
                Some(Qualifier::Version(number)) => Some(name::Version::Number(*number)),
                Some(Qualifier::Latest) => Some(name::Version::Latest),
                Some(Qualifier::LatestPublished) => Some(name::Version::LatestPublished),
                _ => None,
            });
            let rest = state.functions(&scope, after.as_ref().map(FunctionArn::name));
            let versions = first.into_iter().flat_map(move |(name, function)| {
                function.versions_after(seen).map(move |version| (name, version))
            });
            let versions =
                versions.chain(rest.flat_map(|(name, function)| {
                    function.all_versions().map(move |version| (name, version))
                }));
            Page::collect(versions, input.max_items, MOST, |(name, version)| {
                let arn = FunctionArn::new(scope.account, scope.region.clone(), name.clone())
                    .with_qualifier(version.version);
                (arn.to_string(), describe::version(&arn, version, Detail::Listed))
            })
        }
    };
    Ok(ListFunctionsResponse { next_marker: page.next_marker, functions: Some(page.items) })
}
