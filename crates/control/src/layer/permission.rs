//! Policies of layer versions: which other accounts may use them.
//!
//! Must not let an account do more than see and use a version.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyRequest,
        GetLayerVersionPolicyResponse, RemoveLayerVersionPermissionRequest,
    },
};

use super::{LayerKey, LayerVersionKey};
use crate::{
    control::{Control, Subject},
    error::{invalid_parameter, not_found},
    policy::{self, Conditions, Grant, Principal, RevisionFrom},
    state::{
        Change, Resource, ResourceEvent, State,
        model::{layer::LayerVersion, policy::Policy},
    },
};

pub(crate) async fn add(
    control: &Control,
    context: RequestContext,
    input: AddLayerVersionPermissionRequest,
) -> Result<AddLayerVersionPermissionResponse, ApiError> {
    let key = find(&context, &input.layer_name, input.version_number)?;
    let principal = Principal::parse(&input.principal, &key.layer.scope.region)?;
    if input.organization_id.is_some() && principal != Principal::Everyone {
        // Unverified wording.
        return Err(invalid_parameter("OrganizationId can only be provided when Principal is \"*\"."));
    }
    let conditions =
        Conditions::default().and("StringEquals", "aws:PrincipalOrgID", input.organization_id.as_deref());
    let grant = Grant {
        id: input.statement_id,
        principal,
        action: input.action,
        resource: key.arn().to_string(),
        conditions,
    };
    change(control, context, key, input.revision_id, move |before| {
        let policy = policy::with(before, grant.into())?;
        let answer = AddLayerVersionPermissionResponse {
            statement: policy.statements.last().map(|statement| statement.document.clone()),
            revision_id: Some(policy.revision_id.to_string()),
        };
        Ok((Some(policy), answer))
    })
    .await
}

pub(crate) async fn remove(
    control: &Control,
    context: RequestContext,
    input: RemoveLayerVersionPermissionRequest,
) -> Result<(), ApiError> {
    let key = find(&context, &input.layer_name, input.version_number)?;
    change(control, context, key, input.revision_id, move |before| {
        let id = &input.statement_id;
        let before = before.ok_or_else(|| policy::statement_not_found(id))?;
        Ok((policy::without(before, id)?, ()))
    })
    .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetLayerVersionPolicyRequest,
) -> Result<GetLayerVersionPolicyResponse, ApiError> {
    let key = find(context, &input.layer_name, input.version_number)?;
    let state = control.state();
    let policy = version(&state, context, &key)?.policy.as_ref();
    let policy = policy.ok_or_else(|| not_found("No policy is associated with the given resource."))?;
    Ok(GetLayerVersionPolicyResponse {
        policy: Some(policy::document(policy)),
        revision_id: Some(policy.revision_id.to_string()),
    })
}

/// A layer version, for its owner.
fn find(context: &RequestContext, layer_name: &str, number: i64) -> Result<LayerVersionKey, ApiError> {
    let key = LayerKey::find(context, layer_name)?.sent_version(number)?;
    key.layer.check_owner(context)?;
    Ok(key)
}

/// Changes a version's policy: `decide` is handed what it is, and returns what it becomes, and the answer.
async fn change<T: Send + 'static>(
    control: &Control,
    context: RequestContext,
    key: LayerVersionKey,
    revision_id: Option<String>,
    decide: impl FnOnce(Option<&Policy>) -> Result<(Option<Policy>, T), ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let this = control.clone();
    control
        .run(async move {
            let (scope, id) = (&key.layer.scope, key.id());
            this.change_all(&[Subject::Resource(scope, &id)], |state| {
                let before = version(state, &context, &key)?;
                let revisions: Vec<_> = before.policy.iter().map(|policy| policy.revision_id).collect();
                policy::check_revision(&revisions, revision_id.as_deref(), RevisionFrom::GetLayerPolicy)?;
                let (policy, answer) = decide(before.policy.as_ref())?;
                let resource = Arc::new(Resource::LayerVersion(LayerVersion { policy, ..before.clone() }));
                let event = ResourceEvent::Put { id: id.clone(), resource };
                Ok((vec![Change::Resource { scope: scope.clone(), event }], answer))
            })
            .await
        })
        .await
}

fn version<'a>(
    state: &'a State,
    context: &RequestContext,
    key: &LayerVersionKey,
) -> Result<&'a LayerVersion, ApiError> {
    key.get(state)
        .filter(|_| key.layer.is_here(context))
        .ok_or_else(|| not_found(format!("Layer version {} does not exist.", key.arn())))
}
