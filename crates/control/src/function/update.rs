//! UpdateFunctionCode and UpdateFunctionConfiguration.
//!
//! Must not change a published version.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        FunctionCode, FunctionConfiguration, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest,
    },
    name,
};
use uuid::Uuid;

use super::create::{check_code_size, only};
use crate::{
    code_signing::function as code_signing,
    configuration,
    control::{Control, ready},
    describe::{self, Detail},
    environments::Environments,
    error::{self, invalid_parameter},
    package::{self, Source},
    state::{
        Event, State,
        model::{Code, Function, FunctionKey, Package, Status, Version},
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
            let shown = this
                .change(&key, |state| {
                    let function = updatable(state, &key, input.revision_id.as_deref())?;
                    if let Some(layer) = input.layers.iter().flatten().next() {
                        code_signing::check_deployment(state, &key, function, layer)?;
                    }
                    let latest = &function.latest;
                    let new = Version {
                        configuration: Arc::new(configuration::update(
                            this.config(),
                            &context,
                            &latest.configuration,
                            &input,
                        )?),
                        ..successor(&this, latest)
                    };
                    let mut events = vec![Event::Updated { latest: Arc::new(new.clone()) }];
                    if this.config().update_delay.is_zero() {
                        events.push(ready(name::Version::Latest));
                    }
                    Ok((events, new))
                })
                .await?;
            let answer = describe::version(&key.arn(), &shown, Detail::Full);
            settle(&this, key, &[name::Version::Latest]);
            Ok(answer)
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
    configuration::check_built([("PublishTo", input.publish_to.is_some())])?;
    let source = {
        let state = control.state();
        let function = updatable(&state, &key, input.revision_id.as_deref())?;
        let image = matches!(function.latest.code.package, Package::Image { .. });
        if image && input.image_uri.is_none() {
            return Err(invalid_parameter(
                "Please provide ImageUri when updating a function with packageType Image.",
            ));
        }
        if !image && input.image_uri.is_some() {
            return Err(invalid_parameter(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        Source::of(FunctionCode {
            zip_file: input.zip_file.take(),
            s3_bucket: input.s3_bucket.take(),
            s3_key: input.s3_key.take(),
            s3_object_version: input.s3_object_version.take(),
            image_uri: input.image_uri.take(),
            ..FunctionCode::default()
        })?
    };
    let kept = package::keep(control, source).await?;
    let publish = input.publish.unwrap_or(false);
    let dry_run = input.dry_run.unwrap_or(false);

    let result = control
        .change(&key, |state| {
            let function = updatable(state, &key, input.revision_id.as_deref())?;
            code_signing::check_deployment(state, &key, function, key.arn())?;
            let latest = &function.latest;
            let new = Version {
                code: Code {
                    architecture: only(input.architectures.as_deref()).unwrap_or(latest.code.architecture),
                    package: kept.package.clone(),
                },
                ..successor(control, latest)
            };
            if dry_run {
                return Ok((Vec::new(), (Version { status: Status::Ready, ..new }, false)));
            }
            let size = new.code.package.size();
            let more = (size * (1 + u64::from(publish))).saturating_sub(latest.code.package.size());
            check_code_size(control, state, &key, more)?;
            let published = publish.then(|| version::next(function, &new, Status::Creating));
            let mut events = vec![Event::Updated { latest: Arc::new(new.clone()) }];
            events.extend(published.clone().map(|version| Event::Published { version: Arc::new(version) }));
            let delayed = !control.config().update_delay.is_zero();
            if !delayed {
                events.push(ready(name::Version::Latest));
                events.extend(published.as_ref().map(|version| ready(version.version)));
            }
            Ok((events, (published.unwrap_or(new), delayed)))
        })
        .await;
    kept.release(control);
    let (shown, delayed) = result?;

    let arn = match shown.version {
        name::Version::Latest => key.arn(),
        published @ name::Version::Number(_) => key.arn().with_qualifier(published),
    };
    if delayed {
        settle(control, key, &[name::Version::Latest, shown.version]);
    }
    Ok(describe::version(&arn, &shown, Detail::Full))
}

/// The function, if it may be updated now.
///
/// # Errors
/// If it is not there, not of the revision that the caller knows, or busy.
pub(crate) fn updatable<'a>(
    state: &'a State,
    key: &FunctionKey,
    revision_id: Option<&str>,
) -> Result<&'a Function, ApiError> {
    let function = state.function(key).ok_or_else(|| error::function_not_found(key.arn()))?;
    check_revision(&function.latest.revision_id, revision_id)?;
    match function.latest.status {
        Status::Ready => Ok(function),
        Status::Creating => Err(error::still_pending()),
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

/// Makes versions ready when the delay for updates is over, if there is one.
fn settle(control: &Control, key: FunctionKey, versions: &[name::Version]) {
    let delay = control.config().update_delay;
    if !delay.is_zero() {
        for version in versions {
            control.ready_later(key.clone(), *version, delay);
        }
    }
}
