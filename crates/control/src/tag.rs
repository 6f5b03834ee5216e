//! Tags of functions.
//!
//! Must not tag versions or aliases: AWS tags functions as a whole.

use std::collections::BTreeMap;

use hothouse_api::{
    ApiError, RequestContext,
    arn::ResourceArn,
    generated::{ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest},
    name,
};
use uuid::Uuid;

use crate::{
    config::ControlConfig,
    control::Control,
    error::{self, invalid_parameter, not_found},
    state::{
        Event, State,
        model::{Function, FunctionKey, Scope},
    },
};

pub(crate) async fn tag(
    control: &Control,
    context: RequestContext,
    input: TagResourceRequest,
) -> Result<(), ApiError> {
    let key = taggable(&context, &input.resource)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let function = find(state, &key)?;
                if input.tags.is_empty() {
                    return Err(invalid_parameter("An error occurred and the request cannot be processed."));
                }
                let mut tags = function.tags.clone();
                tags.extend(input.tags);
                check(this.config(), &tags)?;
                Ok((retagged(function, tags), ()))
            })
            .await
        })
        .await
}

pub(crate) async fn untag(
    control: &Control,
    context: RequestContext,
    input: UntagResourceRequest,
) -> Result<(), ApiError> {
    let key = taggable(&context, &input.resource)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let function = find(state, &key)?;
                let mut tags = function.tags.clone();
                tags.retain(|key, _| !input.tag_keys.contains(key));
                let events = if tags == function.tags { Vec::new() } else { retagged(function, tags) };
                Ok((events, ()))
            })
            .await
        })
        .await
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListTagsRequest,
) -> Result<ListTagsResponse, ApiError> {
    let key = taggable(context, &input.resource)?;
    let state = control.state();
    Ok(ListTagsResponse { tags: Some(find(&state, &key)?.tags.clone()) })
}

/// Refuses more tags than a resource may have.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check(config: &ControlConfig, tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > config.limits.tags {
        return Err(invalid_parameter("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

/// Tagging counts as a change of `$LATEST`.
fn retagged(function: &Function, tags: BTreeMap<String, String>) -> Vec<Event> {
    let amended = Event::Amended {
        version: name::Version::Latest,
        status: function.latest.status,
        revision_id: Uuid::new_v4(),
    };
    vec![Event::Tagged { tags }, amended]
}

fn find<'a>(state: &'a State, key: &FunctionKey) -> Result<&'a Function, ApiError> {
    state.function(key).ok_or_else(|| error::function_not_found(key.arn()))
}

/// The function that an ARN names.
fn taggable(context: &RequestContext, resource: &str) -> Result<FunctionKey, ApiError> {
    let missing = |kind: &str| not_found(format!("{kind} not found: {resource}"));
    let arn = match resource.parse() {
        Ok(ResourceArn::Function(arn)) => arn,
        Ok(ResourceArn::EventSourceMapping(_)) => return Err(missing("Event source mapping")),
        Ok(ResourceArn::CapacityProvider(_)) => return Err(missing("Capacity provider")),
        Ok(ResourceArn::CodeSigningConfig(_)) => return Err(missing("Code signing config")),
        Ok(ResourceArn::Layer(_) | ResourceArn::LayerVersion(..)) => return Err(missing("Layer")),
        Ok(ResourceArn::NetworkConnector(_)) => return Err(missing("Network connector")),
        Err(_) => return Err(missing("Function")),
    };
    if arn.qualifier().is_some() {
        return Err(invalid_parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    if arn.account() != context.account || *arn.region() != context.region {
        return Err(missing("Function"));
    }
    let scope = Scope { account: arn.account(), region: arn.region().clone() };
    Ok(FunctionKey { scope, name: arn.name().clone() })
}
