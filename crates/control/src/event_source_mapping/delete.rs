//! DeleteEventSourceMapping.
//!
//! Must not care for the function: mappings outlive theirs.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{DeleteEventSourceMappingRequest, EventSourceMappingConfiguration},
};

use super::{check_settled, find, transition};
use crate::{
    control::{Control, Subject},
    state::{
        ResourceId,
        model::mapping::{EventSourceMapping, Transition},
    },
    target,
};

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteEventSourceMappingRequest,
) -> Result<EventSourceMappingConfiguration, ApiError> {
    let this = control.clone();
    let scope = target::scope(&context);
    let (id, _) = find(&control.state(), &scope, &input.uuid)?;
    let resource = ResourceId::EventSourceMapping(id);
    control
        .run(async move {
            let shown = this
                .change_all(&[Subject::Resource(&scope, &resource)], |state| {
                    let (_, before) = find(state, &scope, &input.uuid)?;
                    check_settled(before, "delete")?;
                    let mapping = EventSourceMapping {
                        transition: Some(Transition::Deleting),
                        last_modified: this.now(),
                        ..before.clone()
                    };
                    Ok(transition::begin(&this, &scope, id, mapping))
                })
                .await?;
            transition::settle_later(&this, scope, id);
            Ok(shown)
        })
        .await
}
