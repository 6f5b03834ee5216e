//! DeleteFunction: the whole function, or one published version.
//!
//! Must not end invocations that are running.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{DeleteFunctionRequest, DeleteFunctionResponse},
    name::{self, Qualifier},
};

use crate::{
    control::Control,
    error::{self, invalid_parameter},
    state::{Event, model::Function},
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
            this.change(&key, |state| {
                let function = state.function(&key);
                let event = match (function, version) {
                    (None, _) => return Err(error::function_not_found(key.arn())),
                    (Some(_), None) => Event::Deleted,
                    (Some(function), Some(version)) => {
                        if function.version(version).is_none() {
                            return Err(error::function_not_found(key.arn().with_qualifier(version)));
                        }
                        check_unreferenced(function, version)?;
                        Event::VersionDeleted { version }
                    }
                };
                Ok((vec![event], ()))
            })
            .await
        })
        .await?;
    Ok(DeleteFunctionResponse { status_code: Some(204) })
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
