//! GetEventSourceMapping and ListEventSourceMappings.
//!
//! Must not change anything.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        EventSourceMappingConfiguration, GetEventSourceMappingRequest, ListEventSourceMappingsRequest,
        ListEventSourceMappingsResponse,
    },
};

use super::{
    all, create, find,
    show::{self, Detail},
};
use crate::{
    control::Control,
    page::{self, Page},
    target::{self, Target},
};

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let scope = target::scope(context);
    let state = control.state();
    let (id, mapping) = find(&state, &scope, &input.uuid)?;
    Ok(show::mapping(&scope, id, mapping, Detail::Full))
}

/// A filter may name what does not exist.
///
/// Unverified: that the name of a function alone does not stand for its versions and aliases as well.
pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListEventSourceMappingsRequest,
) -> Result<ListEventSourceMappingsResponse, ApiError> {
    /// AWS answers with no more, whatever is asked for.
    const MOST: usize = 100;
    let scope = target::scope(context);
    let target = match &input.function_name {
        Some(name) => Some(Target::find(control, context, name, None)?),
        None => None,
    };
    let after = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let wanted = all(&state, &scope, after).filter(|(_, mapping)| {
        let source = input.event_source_arn.as_deref();
        source.is_none_or(|arn| mapping.source.arn() == Some(arn))
            && target.as_ref().is_none_or(|target| {
                mapping.function == target.key.name
                    && create::effective(mapping.qualifier.as_ref())
                        == create::effective(target.qualifier.as_ref())
            })
    });
    let page = Page::collect(wanted, input.max_items.or(Some(100)), MOST, |(id, mapping)| {
        (id.to_string(), show::mapping(&scope, id, mapping, Detail::Listed))
    });
    Ok(ListEventSourceMappingsResponse {
        next_marker: page.next_marker,
        event_source_mappings: Some(page.items),
    })
}
