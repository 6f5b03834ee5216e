//! PublishVersion and ListVersionsByFunction.
//!
//! Must not change what was published.

use std::{slice::from_ref, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        FunctionConfiguration, FunctionVersionLatestPublished, ListVersionsByFunctionRequest,
        ListVersionsByFunctionResponse, PublishVersionRequest, SnapStartApplyOn,
    },
    name,
};
use uuid::Uuid;

use crate::{
    capacity_provider::function as managed,
    configuration::check_built,
    control::Control,
    describe::{self, Detail, code_sha256},
    environments::Environments,
    error::{self, invalid_parameter},
    function::{create::check_code_size, update::updatable},
    lifecycle,
    page::{self, Page},
    state::{
        Event,
        model::{Configuration, Function, Status, Version},
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
                    check_publish_to(&function.latest.configuration, input.publish_to)?;
                    check_code_sha256(&function.latest, input.code_sha256.as_deref())?;
                    if let Some(same) = unchanged(function, &function.latest) {
                        return Ok((Vec::new(), (Version::clone(same), None)));
                    }
                    check_code_size(&this, state, &key.scope, function.latest.code.counted_size())?;
                    let configuration = &function.latest.configuration;
                    managed::check(&this, state, &key.scope, configuration, 1)?;
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
                        ..next(function, &function.latest, status)
                    };
                    let mut events = vec![
                        Event::Published { version: Arc::new(version.clone()) },
                        // `$LATEST` gets another revision, too.
                        lifecycle::ready(name::Version::Latest),
                    ];
                    let made = (status == Status::Creating).then(|| version.clone());
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

/// Refuses what only functions on a capacity provider have: one published version that changes, `$LATEST.PUBLISHED`.
pub(crate) fn check_publish_to(
    configuration: &Configuration,
    sent: Option<FunctionVersionLatestPublished>,
) -> Result<(), ApiError> {
    if sent.is_none() {
        return Ok(());
    }
    managed::check_managed(configuration, "PublishTo")?;
    check_built([("PublishTo", true)])
}

/// What is published next: `latest`, as it is then.
pub(crate) fn next(function: &Function, latest: &Version, status: Status) -> Version {
    Version {
        version: name::Version::Number(function.next_version),
        revision_id: Uuid::new_v4(),
        status,
        environments: Environments::default(),
        ..latest.clone()
    }
}

/// The newest published version, if `latest` is no other.
pub(crate) fn unchanged<'a>(function: &'a Function, latest: &Version) -> Option<&'a Arc<Version>> {
    let newest = function.versions.get(&(function.next_version - 1))?;
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
