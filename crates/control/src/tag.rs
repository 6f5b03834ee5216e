//! Tags of everything that can have them.
//!
//! Must not tag versions or aliases: AWS tags functions as a whole.

use std::{collections::BTreeMap, sync::Arc};

use hothouse_api::{
    ApiError, RequestContext,
    arn::ResourceArn,
    generated::{ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest},
    name,
};
use uuid::Uuid;

use crate::{
    config::ControlConfig,
    control::{Control, Subject},
    error::{invalid_parameter, not_found},
    policy::Access,
    state::{
        Change, Event, ResourceEvent, ResourceId, State,
        model::{FunctionKey, Scope},
    },
    target::{action, scope},
};

type Tags = BTreeMap<String, String>;

pub(crate) async fn tag(
    control: &Control,
    context: RequestContext,
    input: TagResourceRequest,
) -> Result<(), ApiError> {
    let this = control.clone();
    control
        .run(async move {
            let tagged = Tagged::find(&this, &context, &input.resource)?;
            this.change_all(&[tagged.subject()], |state| {
                let mut tags = tagged.tags(state)?.clone();
                if input.tags.is_empty() {
                    return Err(invalid_parameter("An error occurred and the request cannot be processed."));
                }
                tags.extend(input.tags);
                check(this.config(), &tags)?;
                Ok((tagged.retag(state, tags), ()))
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
    let this = control.clone();
    control
        .run(async move {
            let tagged = Tagged::find(&this, &context, &input.resource)?;
            this.change_all(&[tagged.subject()], |state| {
                let before = tagged.tags(state)?;
                let mut tags = before.clone();
                tags.retain(|key, _| !input.tag_keys.contains(key));
                Ok((if tags == *before { Vec::new() } else { tagged.retag(state, tags) }, ()))
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
    let tagged = Tagged::find(control, context, &input.resource)?;
    let state = control.state();
    Ok(ListTagsResponse { tags: Some(tagged.tags(&state)?.clone()) })
}

/// Refuses tags that a resource may not have.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check(config: &ControlConfig, tags: &Tags) -> Result<(), ApiError> {
    let reserved = |key: &&String| key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
    if let Some(key) = tags.keys().find(reserved) {
        // Unverified: the wording.
        return Err(invalid_parameter(format!(
            "The tag key {key} is not valid. Tag keys starting with 'aws:' are reserved for internal use."
        )));
    }
    if tags.len() > config.limits.tags {
        return Err(invalid_parameter("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

/// What an ARN says has the tags.
struct Tagged<'a> {
    /// As it was sent, for messages.
    arn: &'a str,
    what: What,
}

enum What {
    Function(FunctionKey),
    Resource(Scope, ResourceId),
}

impl<'a> Tagged<'a> {
    fn find(control: &Control, context: &RequestContext, arn: &'a str) -> Result<Self, ApiError> {
        let scope = scope(context);
        let Ok(parsed) = arn.parse::<ResourceArn>() else { return Err(missing("Function", arn)) };
        if let ResourceArn::Function(function) = &parsed
            && function.qualifier().is_some()
        {
            return Err(invalid_parameter(
                "Tags on function aliases and versions are not supported. Please specify a function ARN.",
            ));
        }
        // No policy can allow this to other accounts, so none is asked, nor whether the resource is there.
        let access = Access {
            context,
            action: format!("lambda:{}", context.operation.map_or("ListTags", action)),
            resource: arn.to_owned(),
            owner: parsed.account(),
            now: control.now(),
            url: None,
        };
        access.check(None, false)?;
        // Unverified: what is in another region is not found.
        let here = *parsed.region() == scope.region;
        let what = match &parsed {
            ResourceArn::Function(function) => {
                Some(What::Function(FunctionKey { scope, name: function.name().clone() }))
            }
            ResourceArn::EventSourceMapping(located) => {
                located.name.parse().ok().map(|id| What::Resource(scope, ResourceId::EventSourceMapping(id)))
            }
            ResourceArn::CodeSigningConfig(located) => {
                Some(What::Resource(scope, ResourceId::CodeSigningConfig(located.name.as_ref().to_owned())))
            }
            ResourceArn::CapacityProvider(located) => {
                Some(What::Resource(scope, ResourceId::CapacityProvider(located.name.as_ref().to_owned())))
            }
            // The first are in the pattern that AWS prints, but cannot be tagged; of the last there are none here.
            ResourceArn::Layer(_) | ResourceArn::LayerVersion(..) | ResourceArn::NetworkConnector(_) => None,
        };
        match what {
            Some(what) if here => Ok(Self { arn, what }),
            _ => Err(missing(kind(&parsed), arn)),
        }
    }

    fn subject(&self) -> Subject<'_> {
        match &self.what {
            What::Function(key) => Subject::Function(key),
            What::Resource(scope, id) => Subject::Resource(scope, id),
        }
    }

    fn tags<'s>(&self, state: &'s State) -> Result<&'s Tags, ApiError> {
        match &self.what {
            What::Function(key) => state.function(key).map(|function| &function.tags),
            What::Resource(scope, id) => state.resource(scope, id).and_then(|resource| resource.tags()),
        }
        .ok_or_else(|| missing(self.arn.parse().as_ref().map_or("Function", kind), self.arn))
    }

    fn retag(&self, state: &State, tags: Tags) -> Vec<Change> {
        match &self.what {
            What::Function(key) => {
                let change = |event| Change::Function { key: key.clone(), event };
                // Tagging counts as a change of `$LATEST`.
                let amended = state.function(key).map(|function| Event::Amended {
                    version: name::Version::Latest,
                    status: function.latest.status,
                    revision_id: Uuid::new_v4(),
                });
                std::iter::once(Event::Tagged { tags }).chain(amended).map(change).collect()
            }
            What::Resource(scope, id) => {
                let retagged = state.resource(scope, id).and_then(|resource| resource.with_tags(tags));
                let put = |resource| ResourceEvent::Put { id: id.clone(), resource: Arc::new(resource) };
                retagged
                    .map(|resource| Change::Resource { scope: scope.clone(), event: put(resource) })
                    .into_iter()
                    .collect()
            }
        }
    }
}

fn kind(arn: &ResourceArn) -> &'static str {
    match arn {
        ResourceArn::Function(_) => "Function",
        ResourceArn::EventSourceMapping(_) => "Event source mapping",
        ResourceArn::CodeSigningConfig(_) => "Code signing config",
        ResourceArn::CapacityProvider(_) => "Capacity provider",
        ResourceArn::Layer(_) | ResourceArn::LayerVersion(..) => "Layer",
        ResourceArn::NetworkConnector(_) => "Network connector",
    }
}

fn missing(kind: &str, arn: &str) -> ApiError {
    not_found(format!("{kind} not found: {arn}"))
}
