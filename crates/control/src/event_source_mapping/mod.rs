//! Event source mappings: which queue or stream feeds which function, and how.
//!
//! They are stored, validated and taken through their states here. Must not read from an event source.

pub(crate) mod create;
pub(crate) mod delete;
pub mod filter;
mod lookup;
pub(crate) mod read;
mod rules;
mod settings;
mod show;
mod source;
pub(crate) mod transition;
pub(crate) mod update;

pub use lookup::{EventSourceId, EventSourceService, EventSources, Existing, LookupError};

use hothouse_api::{ApiError, ErrorKind};
use uuid::Uuid;

use crate::{
    error::not_found,
    state::{
        Resource, ResourceId, State,
        model::{Scope, mapping::EventSourceMapping},
    },
};

/// A mapping by the text of its id.
fn find<'a>(state: &'a State, scope: &Scope, id: &str) -> Result<(Uuid, &'a EventSourceMapping), ApiError> {
    let missing = || not_found("The resource you requested does not exist.");
    let id = Uuid::try_parse(id).map_err(|_| missing())?;
    let resource = state.resource(scope, &ResourceId::EventSourceMapping(id));
    let mapping = resource.and_then(|resource| mapping(resource)).ok_or_else(missing)?;
    Ok((id, mapping))
}

/// The mappings of a region, in the order of their ids; only those after `after`, if given.
fn all<'a>(
    state: &'a State,
    scope: &Scope,
    after: Option<Uuid>,
) -> impl Iterator<Item = (Uuid, &'a EventSourceMapping)> {
    use std::ops::Bound::{Excluded, Included};
    let from = match after {
        Some(after) => Excluded(ResourceId::EventSourceMapping(after)),
        None => Included(ResourceId::EventSourceMapping(Uuid::nil())),
    };
    let to = Included(ResourceId::EventSourceMapping(Uuid::max()));
    state.resources(scope, (from, to)).filter_map(|(id, resource)| match id {
        ResourceId::EventSourceMapping(id) => Some((*id, mapping(resource)?)),
        _ => None,
    })
}

fn mapping(resource: &Resource) -> Option<&EventSourceMapping> {
    match resource {
        Resource::EventSourceMapping(mapping) => Some(mapping),
        _ => None,
    }
}

/// While something is under way, nothing else may begin.
fn check_settled(mapping: &EventSourceMapping, verb: &str) -> Result<(), ApiError> {
    match mapping.transition {
        None => Ok(()),
        Some(_) => Err(ApiError::new(
            ErrorKind::ResourceInUse,
            format!("Cannot {verb} the event source mapping because it is in use."),
        )),
    }
}
