//! PublishVersion and ListVersionsByFunction.
//!
//! Must not change what was published.

use std::{slice::from_ref, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        FunctionConfiguration, FunctionVersionLatestPublished, ListVersionsByFunctionRequest,
        ListVersionsByFunctionResponse, PublishVersionRequest, SnapStartApplyOn, State as Shown,
        StateReasonCode,
    },
    name,
};
use uuid::Uuid;

use crate::{
    capacity_provider::function as managed,
    control::Control,
    describe::{self, Detail, code_sha256},
    environments::Environments,
    error::{self, invalid_parameter},
    function::{create::check_code_size, update::updatable},
    lifecycle,
    page::{self, Page},
    state::{
        Event,
        model::{Configuration, Function, FunctionKey, Status, Version},
    },
    target::Target,
};

pub(crate) async fn publish(
    control: &Control,
    context: RequestContext,
    input: PublishVersionRequest,
) -> Result<FunctionConfiguration, ApiError> {
    let this = control.clone();
    control
        .run(async move {
            let key = Target::function(&this, &context, &input.function_name)?;
            let delay = this.config().create_delay;
            let (shown, made) = this
                .change(&key, |state| {
                    let function = updatable(state, &key, input.revision_id.as_deref())?;
                    let to = input.publish_to;
                    check_publish_to(&function.latest.configuration, to)?;
                    check_code_sha256(&function.latest, input.code_sha256.as_deref())?;
                    if let Some(same) = unchanged(function, &function.latest, to) {
                        return Ok((Vec::new(), (Version::clone(same), None)));
                    }
                    let replaced = replaced(&key, function, to)?;
                    let more = function.latest.code.counted_size();
                    let less = replaced.map_or(0, |replaced| replaced.code.counted_size());
                    check_code_size(&this, state, &key.scope, more.saturating_sub(less))?;
                    let configuration = &function.latest.configuration;
                    managed::check(&this, state, &key.scope, configuration, usize::from(replaced.is_none()))?;
                    // A snapshot is taken, or instances are made ready, before the version can be used.
                    let status = match configuration.snap_start {
                        SnapStartApplyOn::PublishedVersions => Status::Creating,
                        SnapStartApplyOn::None if configuration.capacity_provider().is_some() => {
                            Status::Creating
                        }
                        SnapStartApplyOn::None => Status::Ready,
                    };
                    let version = Version {
                        description: input.description.clone().filter(|description| !description.is_empty()),
                        ..next(function, &function.latest, status, to)
                    };
                    let mut events = vec![
                        Event::Published { version: Arc::new(version.clone()) },
                        // `$LATEST` gets another revision, too.
                        lifecycle::ready(name::Version::Latest),
                    ];
                    let made = (version.status != Status::Ready).then(|| version.clone());
                    events
                        .extend(made.iter().flat_map(|made| lifecycle::ready_at_once(from_ref(made), delay)));
                    Ok((events, (version, made)))
                })
                .await?;
            if let Some(made) = made {
                lifecycle::settle(&this, &key, from_ref(&made), delay).await?;
            }
            let shown = lifecycle::answered(&this, &key, shown);
            Ok(describe::version(&key.arn().with_qualifier(shown.version), &shown, Detail::Full))
        })
        .await
}

/// Refuses what only functions on a capacity provider have: a published version that changes, `$LATEST.PUBLISHED`.
pub(crate) fn check_publish_to(
    configuration: &Configuration,
    sent: Option<FunctionVersionLatestPublished>,
) -> Result<(), ApiError> {
    match sent {
        None => Ok(()),
        Some(FunctionVersionLatestPublished::LatestPublished) => {
            managed::check_managed(configuration, "PublishTo")
        }
    }
}

/// Under which version a function is published that has `next` as its next number.
pub(crate) fn place(next: u64, to: Option<FunctionVersionLatestPublished>) -> name::Version {
    match to {
        None => name::Version::Number(next),
        Some(FunctionVersionLatestPublished::LatestPublished) => name::Version::LatestPublished,
    }
}

/// What is published next: `latest`, as it is then. What takes the place of another can be invoked all the while.
pub(crate) fn next(
    function: &Function,
    latest: &Version,
    status: Status,
    to: Option<FunctionVersionLatestPublished>,
) -> Version {
    let version = place(function.next_version, to);
    Version {
        version,
        revision_id: Uuid::new_v4(),
        // Unverified: that AWS tells a new `$LATEST.PUBLISHED` as it tells an update, and gives it no environments if
        // the last one was to have none.
        status: match function.version(version).map(|replaced| replaced.status) {
            None => status,
            Some(Status::Deactivated) => Status::Deactivated,
            Some(_) => Status::Updating,
        },
        environments: Environments::default(),
        ..latest.clone()
    }
}

/// The version that a publication takes the place of, if it does.
///
/// # Errors
/// If that is not done with the last one.
pub(crate) fn replaced<'a>(
    key: &FunctionKey,
    function: &'a Function,
    to: Option<FunctionVersionLatestPublished>,
) -> Result<Option<&'a Arc<Version>>, ApiError> {
    let place = place(function.next_version, to);
    let replaced = function.version(place);
    let arn = || key.arn().with_qualifier(place);
    match replaced.map(|replaced| replaced.status) {
        Some(Status::Creating) => Err(error::wrong_state(&arn(), Shown::Pending, StateReasonCode::Creating)),
        Some(Status::Updating) => Err(error::update_in_progress(&arn())),
        Some(Status::Restoring) => {
            Err(error::wrong_state(&arn(), Shown::Pending, StateReasonCode::Restoring))
        }
        Some(Status::Deactivating) => Err(error::passing(&arn(), Shown::Deactivating)),
        Some(Status::Deleting) => Err(error::passing(&arn(), Shown::Deleting)),
        Some(Status::Ready | Status::Failed | Status::InitFailed | Status::Idle | Status::Deactivated)
        | None => Ok(replaced),
    }
}

/// What was published last, if `latest` is no other.
pub(crate) fn unchanged<'a>(
    function: &'a Function,
    latest: &Version,
    to: Option<FunctionVersionLatestPublished>,
) -> Option<&'a Arc<Version>> {
    let newest = function.version(place(function.next_version - 1, to))?;
    (newest.configuration == latest.configuration && newest.code.is_same(&latest.code)).then_some(newest)
}

fn check_code_sha256(latest: &Version, known: Option<&str>) -> Result<(), ApiError> {
    let now = code_sha256(&latest.code.package);
    match known {
        Some(known) if known != now => Err(invalid_parameter(format!(
            "CodeSHA256 ({known}) is different from current CodeSHA256 in $LATEST ({now}). Please try again with the \
             CodeSHA256 in $LATEST."
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListVersionsByFunctionRequest,
) -> Result<ListVersionsByFunctionResponse, ApiError> {
    /// Whatever `MaxItems` says.
    const MOST: usize = 50;
    let target = Target::find(control, context, &input.function_name, None)?;
    let after: Option<name::Version> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let function = state.function(&target.key).ok_or_else(|| error::function_not_found(target.key.arn()))?;
    let page = Page::collect(function.versions_after(after), input.max_items, MOST, |version| {
        let arn = target.key.arn().with_qualifier(version.version);
        (version.version.to_string(), describe::version(&arn, version, Detail::Listed))
    });
    Ok(ListVersionsByFunctionResponse { next_marker: page.next_marker, versions: Some(page.items) })
}
