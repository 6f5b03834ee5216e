//! The states of a mapping: each change that is asked for begins a transition, which settles after a while.
//!
//! Must not decide whether a change is allowed.

use std::sync::Arc;

use hothouse_api::{ApiError, generated::EventSourceMappingConfiguration};
use uuid::Uuid;

use super::{
    find, mapping,
    show::{self, Detail},
};
use crate::{
    control::{Control, Subject},
    state::{
        Change, Resource, ResourceEvent, ResourceId, State,
        model::{
            Scope,
            mapping::{EventSourceMapping, Transition},
        },
    },
};

/// What happens to a mapping that takes on this value, and how it is shown meanwhile. Without a delay it settles in
/// the same moment, though the reply still shows the transition, as on AWS.
pub(super) fn begin(
    control: &Control,
    scope: &Scope,
    id: Uuid,
    mapping: EventSourceMapping,
) -> (Vec<Change>, EventSourceMappingConfiguration) {
    let shown = show::mapping(scope, id, &mapping, Detail::Full);
    let at_once = control.config().mapping_delay.is_zero();
    let settled = settled(scope, id, &mapping, mapping.last_modified).filter(|_| at_once);
    (std::iter::once(put(scope, id, mapping)).chain(settled).collect(), shown)
}

/// Lets the transition that has begun settle after the configured delay. If the service ends before, the next start
/// does it.
pub(super) fn settle_later(control: &Control, scope: Scope, id: Uuid) {
    let delay = control.config().mapping_delay;
    if delay.is_zero() {
        return;
    }
    let this = control.clone();
    control.later(delay, async move {
        if let Err(error) = settle(&this, &scope, id).await {
            tracing::error!(
                mapping = %id,
                error = &error as &dyn std::error::Error,
                "failed to record the state of an event source mapping"
            );
        }
    });
}

/// Settles every mapping that a service left in a transition when it ended.
pub(crate) fn settle_all(state: &State, now: i64) -> Vec<Change> {
    let mappings = state.all_resources().filter_map(|(scope, id, resource)| match id {
        ResourceId::EventSourceMapping(id) => Some((scope, *id, mapping(resource)?)),
        _ => None,
    });
    mappings.filter_map(|(scope, id, mapping)| settled(scope, id, mapping, now)).collect()
}

async fn settle(control: &Control, scope: &Scope, id: Uuid) -> Result<(), ApiError> {
    let subject = ResourceId::EventSourceMapping(id);
    control
        .change_all(&[Subject::Resource(scope, &subject)], |state| {
            // Nobody else ends a transition, but nothing depends on that.
            let change = find(state, scope, &id.to_string())
                .ok()
                .and_then(|(id, mapping)| settled(scope, id, mapping, control.now()));
            Ok((change.into_iter().collect(), ()))
        })
        .await
}

/// How a transition ends, if there is one.
fn settled(scope: &Scope, id: Uuid, mapping: &EventSourceMapping, now: i64) -> Option<Change> {
    match mapping.transition? {
        Transition::Creating | Transition::Enabling | Transition::Disabling | Transition::Updating => {
            let settled = EventSourceMapping { transition: None, last_modified: now, ..mapping.clone() };
            Some(put(scope, id, settled))
        }
        Transition::Deleting => {
            let id = ResourceId::EventSourceMapping(id);
            Some(Change::Resource { scope: scope.clone(), event: ResourceEvent::Deleted { id } })
        }
    }
}

fn put(scope: &Scope, id: Uuid, mapping: EventSourceMapping) -> Change {
    let id = ResourceId::EventSourceMapping(id);
    let resource = Arc::new(Resource::EventSourceMapping(Box::new(mapping)));
    Change::Resource { scope: scope.clone(), event: ResourceEvent::Put { id, resource } }
}
