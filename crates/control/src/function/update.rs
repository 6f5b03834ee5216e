//! UpdateFunctionCode and UpdateFunctionConfiguration.
//!
//! Must not change a published version.

use std::{slice::from_ref, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        FunctionCode, FunctionConfiguration, State as Shown, StateReasonCode, UpdateFunctionCodeRequest,
        UpdateFunctionConfigurationRequest,
    },
    name,
};
use uuid::Uuid;

use super::create::{check_code_size, only};
use crate::{
    capacity_provider::function as managed,
    code_signing::function as code_signing,
    configuration,
    control::Control,
    describe::{self, Detail},
    environments::Environments,
    error::{self, invalid_parameter},
    layer, lifecycle, network,
    package::{self, Source},
    state::{
        Event, State,
        model::{Function, FunctionKey, Package, Status, Version},
    },
    target::Target,
    version,
};

pub(crate) async fn configuration(
    control: &Control,
    context: RequestContext,
    input: UpdateFunctionConfigurationRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let this = control.clone();
    control
        .run(async move {
            let key = Target::function(&this, &context, &input.function_name)?;
            let provider = managed::dependency(&key.scope, input.capacity_provider_config.as_ref())?;
            let delay = this.config().update_delay;
            // Early, so that EC2 is not asked for nothing; decided below.
            updatable(&this.state(), &key, input.revision_id.as_deref())?;
            let vpc_id = network::vpc_of(&this, &context, input.vpc_config.as_ref()).await?;
            let update = |state: &State| {
                let function = updatable(state, &key, input.revision_id.as_deref())?;
                if let Some(layer) = input.layers.iter().flatten().next() {
                    code_signing::check_deployment(state, &key, function, layer)?;
                }
                let latest = &function.latest;
                let before = &latest.configuration;
                let mut configuration =
                    configuration::update(this.config(), &context, state, before, &input)?;
                if input.vpc_config.is_some() {
                    configuration.set_vpc_id(vpc_id.clone());
                }
                managed::check(&this, state, &key.scope, &configuration, 0)?;
                if input.layers.is_some() {
                    layer::used::check_size(this.config(), &latest.code.package, configuration.layers())?;
                }
                Ok(Version { configuration: Arc::new(configuration), ..successor(&this, latest) })
            };
            let layers = input.layers.as_deref().unwrap_or_default();
            // Early, as they have to be kept before it is decided.
            let used = if layers.is_empty() { None } else { Some(update(&this.state())?.configuration) };
            let mut others = layer::used::subjects(layers);
            others.extend(provider);
            let change = this.change_with(&key, &others, |state| {
                let new = update(state)?;
                let mut events = vec![Event::Updated { latest: Arc::new(new.clone()) }];
                events.extend(lifecycle::ready_at_once(from_ref(&new), delay));
                Ok((events, new))
            });
            let used = used.as_ref().map_or(&[][..], |configuration| configuration.layers());
            let new = layer::used::keeping(&this, used, change).await?;
            lifecycle::settle(&this, &key, from_ref(&new), delay).await?;
            let shown = lifecycle::answered(&this, &key, new);
            Ok(describe::version(&key.arn(), &shown, Detail::Full))
        })
        .await
}

pub(crate) async fn code(
    control: &Control,
    context: RequestContext,
    input: UpdateFunctionCodeRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let this = control.clone();
    control.run(async move { update_code(&this, &context, input).await }).await
}

async fn update_code(
    control: &Control,
    context: &RequestContext,
    mut input: UpdateFunctionCodeRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let key = Target::function(control, context, &input.function_name)?;
    let source = {
        let state = control.state();
        let function = replaceable(&state, &key, input.revision_id.as_deref())?;
        check_package_type(function, input.image_uri.is_some())?;
        version::check_publish_to(&function.latest.configuration, input.publish_to)?;
        Source::of(FunctionCode {
            zip_file: input.zip_file.take(),
            s3_bucket: input.s3_bucket.take(),
            s3_key: input.s3_key.take(),
            s3_object_version: input.s3_object_version.take(),
            s3_object_storage_mode: input.s3_object_storage_mode,
            image_uri: input.image_uri.take(),
            source_kms_key_arn: input.source_kms_key_arn.take(),
        })?
    };
    let image = source.is_image();
    let kept = package::keep(control, source).await?;
    // As by CreateFunction.
    let publish = input.publish.unwrap_or(false) || input.publish_to.is_some();
    let dry_run = input.dry_run.unwrap_or(false);
    let delay = control.config().update_delay;

    let result = control
        .change(&key, |state| {
            let function = replaceable(state, &key, input.revision_id.as_deref())?;
            check_package_type(function, image)?;
            code_signing::check_deployment(state, &key, function, key.arn())?;
            let latest = &function.latest;
            let new = Version {
                code: kept.code(only(input.architectures.as_deref()).unwrap_or(latest.code.architecture)),
                ..successor(control, latest)
            };
            layer::used::check_size(control.config(), &new.code.package, new.configuration.layers())?;
            if dry_run {
                // What it would be, but of the revision that it still is.
                let Version { revision_id, last_modified, .. } = **latest;
                let dry = Version { status: Status::Ready, revision_id, last_modified, ..new };
                return Ok((Vec::new(), Updated { shown: dry, made: Vec::new() }));
            }
            let mut events = vec![Event::Updated { latest: Arc::new(new.clone()) }];
            let mut made = vec![new];
            let mut more = made[0].code.counted_size();
            let mut less = latest.code.counted_size();
            let mut published = 0;
            let to = input.publish_to;
            let shown = match version::unchanged(function, &made[0], to).filter(|_| publish) {
                Some(same) => Version::clone(same),
                None if publish => {
                    let replaced = version::replaced(&key, function, to)?;
                    less += replaced.map_or(0, |replaced| replaced.code.counted_size());
                    published = usize::from(replaced.is_none());
                    let version = version::next(function, &made[0], Status::Creating, to);
                    events.push(Event::Published { version: Arc::new(version.clone()) });
                    more += version.code.counted_size();
                    made.push(version.clone());
                    version
                }
                None => made[0].clone(),
            };
            check_code_size(control, state, &key.scope, more.saturating_sub(less))?;
            managed::check(control, state, &key.scope, &latest.configuration, published)?;
            events.extend(lifecycle::ready_at_once(&made, delay));
            Ok((events, Updated { shown, made }))
        })
        .await;
    kept.release(control);
    let Updated { shown, made } = result?;
    lifecycle::settle(control, &key, &made, delay).await?;

    let arn = match shown.version {
        name::Version::Latest => key.arn(),
        published @ (name::Version::Number(_) | name::Version::LatestPublished) => {
            key.arn().with_qualifier(published)
        }
    };
    let shown = if dry_run { shown } else { lifecycle::answered(control, &key, shown) };
    Ok(describe::version(&arn, &shown, Detail::Full))
}

/// Refuses code of another kind than the function's, which stays what it was created as.
fn check_package_type(function: &Function, image: bool) -> Result<(), ApiError> {
    match (&function.latest.code.package, image) {
        (Package::Image { .. }, false) => {
            Err(invalid_parameter("Please provide ImageUri when updating a function with packageType Image."))
        }
        (Package::Zip { .. }, true) => Err(invalid_parameter(
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        )),
        (Package::Image { .. }, true) | (Package::Zip { .. }, false) => Ok(()),
    }
}

/// What an update of code came to.
struct Updated {
    /// What the answer is about.
    shown: Version,
    /// What is not ready yet.
    made: Vec<Version>,
}

/// The function, if its configuration may be updated, or a version of it be published, now.
///
/// # Errors
/// If it is not there, not of the revision that the caller knows, busy, or has no package.
pub(crate) fn updatable<'a>(
    state: &'a State,
    key: &FunctionKey,
    revision_id: Option<&str>,
) -> Result<&'a Function, ApiError> {
    let function = replaceable(state, key, revision_id)?;
    match function.latest.status {
        Status::Failed => {
            Err(error::wrong_state(&key.arn(), Shown::Failed, StateReasonCode::InvalidZipFileException))
        }
        Status::Ready
        | Status::InitFailed
        | Status::Idle
        | Status::Creating
        | Status::Updating
        | Status::Restoring
        | Status::Deactivating
        | Status::Deactivated
        | Status::Deleting => Ok(function),
    }
}

/// The function, if its code may be replaced now: also if it has none any more.
///
/// # Errors
/// If it is not there, not of the revision that the caller knows, or busy.
pub(crate) fn replaceable<'a>(
    state: &'a State,
    key: &FunctionKey,
    revision_id: Option<&str>,
) -> Result<&'a Function, ApiError> {
    let function = state.function(key).ok_or_else(|| error::function_not_found(key.arn()))?;
    check_revision(&function.latest.revision_id, revision_id)?;
    match function.latest.status {
        // AWS updates what is `Inactive`, too, which makes it `Active`. `$LATEST` has no environments to give up.
        Status::Ready
        | Status::Failed
        | Status::InitFailed
        | Status::Idle
        | Status::Deactivating
        | Status::Deactivated => Ok(function),
        Status::Restoring => Err(error::wrong_state(&key.arn(), Shown::Pending, StateReasonCode::Restoring)),
        Status::Deleting => Err(error::passing(&key.arn(), Shown::Deleting)),
        Status::Creating => Err(error::wrong_state(&key.arn(), Shown::Pending, StateReasonCode::Creating)),
        Status::Updating => Err(error::update_in_progress(&key.arn())),
    }
}

/// Refuses a caller that knows another revision.
pub(crate) fn check_revision(now: &Uuid, known: Option<&str>) -> Result<(), ApiError> {
    match known {
        Some(known) if known != now.to_string() => Err(error::revision_differs()),
        _ => Ok(()),
    }
}

/// What `$LATEST` is after an update that changes nothing.
fn successor(control: &Control, latest: &Version) -> Version {
    Version {
        revision_id: Uuid::new_v4(),
        last_modified: control.now(),
        status: Status::Updating,
        environments: Environments::default(),
        ..latest.clone()
    }
}
