//! DeleteFunction: the whole function, or one published version.
//!
//! Must not end invocations that are running.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{DeleteFunctionRequest, DeleteFunctionResponse},
    name::{self, Qualifier},
};

use crate::{
    control::Control,
    error::{self, invalid_parameter},
    lifecycle,
    state::{
        Event,
        model::{Function, FunctionKey, Status, Version},
    },
    target::Target,
};

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteFunctionRequest,
) -> Result<DeleteFunctionResponse, ApiError> {
    // A qualifier that nothing can have is only worth a word if there is a function at all, so it comes second.
    let given = input.qualifier.as_deref();
    let unqualified = Target::find(control, &context, &input.function_name, None)?;
    if given.is_some_and(|given| given.parse::<Qualifier>().is_err())
        && control.state().function(&unqualified.key).is_none()
    {
        return Err(error::function_not_found(unqualified.key.arn()));
    }
    let Target { key, qualifier } = Target::find(control, &context, &input.function_name, given)?;
    let version = match qualifier {
        None => None,
        Some(Qualifier::Version(number)) => Some(name::Version::Number(number)),
        Some(Qualifier::LatestPublished) => Some(name::Version::LatestPublished),
        Some(Qualifier::Latest) => {
            return Err(invalid_parameter(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        Some(Qualifier::Alias(_)) => {
            return Err(invalid_parameter("Deletion of aliases is not currently supported."));
        }
    };
    let this = control.clone();
    control
        .run(async move {
            let delay = this.config().capacity_provider_delay;
            let leaving = this
                .change(&key, |state| {
                    let function =
                        state.function(&key).ok_or_else(|| error::function_not_found(key.arn()))?;
                    let leaving = match version {
                        None => function.all_versions().cloned().collect(),
                        Some(version) => {
                            let leaving = function.version(version).ok_or_else(|| {
                                error::function_not_found(key.arn().with_qualifier(version))
                            })?;
                            check_unreferenced(function, version)?;
                            vec![Arc::clone(leaving)]
                        }
                    };
                    // What is on a capacity provider leaves it first, unless it does already.
                    let managed = leaving[0].configuration.capacity_provider().is_some();
                    if delay.is_zero() || !managed {
                        return Ok((vec![deleted(version)], None));
                    }
                    let staying = leaving.iter().filter(|leaving| leaving.status != Status::Deleting);
                    let events = staying.map(|leaving| lifecycle::amended(leaving.version, Status::Deleting));
                    Ok((events.collect(), Some(leaving)))
                })
                .await?;
            Ok(match leaving {
                None => 204,
                Some(leaving) => {
                    delete_later(&this, key, version, leaving);
                    // Unverified: that the answer differs.
                    202
                }
            })
        })
        .await
        .map(|status| DeleteFunctionResponse { status_code: Some(status) })
}

fn deleted(version: Option<name::Version>) -> Event {
    version.map_or(Event::Deleted, |version| Event::VersionDeleted { version })
}

/// Ends a deletion when the delay is over. If the service ends before, the next start does.
fn delete_later(
    control: &Control,
    key: FunctionKey,
    version: Option<name::Version>,
    leaving: Vec<Arc<Version>>,
) {
    let this = control.clone();
    control.later(control.config().capacity_provider_delay, async move {
        let ended = this
            .change(&key, |state| {
                let still = state
                    .function(&key)
                    .and_then(|function| function.version(leaving[0].version))
                    .is_some_and(|now| {
                        now.status == Status::Deleting && now.environments.are(&leaving[0].environments)
                    });
                Ok((if still { vec![deleted(version)] } else { Vec::new() }, ()))
            })
            .await;
        if let Err(error) = ended {
            tracing::error!(
                function = %key.name,
                error = &error as &dyn std::error::Error,
                "failed to record that a version is gone"
            );
        }
    });
}

fn check_unreferenced(function: &Function, version: name::Version) -> Result<(), ApiError> {
    let aliases: Vec<_> = function
        .aliases
        .iter()
        .filter(|(_, alias)| {
            let additional = alias.additional.map(|additional| name::Version::Number(additional.number));
            alias.version == version || additional == Some(version)
        })
        .map(|(name, _)| name)
        .collect();
    if aliases.is_empty() { Ok(()) } else { Err(error::version_has_aliases(&aliases)) }
}
