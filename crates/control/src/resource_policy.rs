//! PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy: the whole policy of a function, version or alias,
//! the same that AddPermission and its kin work on.
//!
//! Must not decide what a policy allows.

use hothouse_api::{
    ApiError, RequestContext,
    arn::FunctionArn,
    generated::{
        DeleteResourcePolicyRequest, GetResourcePolicyRequest, GetResourcePolicyResponse,
        PutResourcePolicyRequest, PutResourcePolicyResponse,
    },
    name::Qualifier,
};

use crate::{
    control::Control,
    error::{invalid_parameter, not_found},
    permission::{self, Guarded},
    policy::{self, RevisionFrom},
    state::model::policy::Policy,
    target::Target,
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, ApiError> {
    let target = find(control, &context, &input.resource_arn)?;
    if target.qualifier == Some(Qualifier::Latest) {
        return Err(permission::latest_has_none());
    }
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                let guarded = Guarded::find(state, &target)?;
                // Unverified wording: AWS tells where the document is wrong, but nobody has published how.
                let wrong = |reason| invalid_parameter(format!("The policy document is not valid: {reason}"));
                let statements = policy::read(&input.policy, &target.arn().to_string()).map_err(wrong)?;
                guarded.check_revision(input.revision_id.as_deref(), RevisionFrom::GetResourcePolicy)?;
                let policy = policy::checked(statements)?;
                let shown = PutResourcePolicyResponse {
                    policy: Some(policy::document(&policy)),
                    revision_id: Some(policy.revision_id.to_string()),
                };
                Ok((guarded.changed(Some(policy)), shown))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetResourcePolicyRequest,
) -> Result<GetResourcePolicyResponse, ApiError> {
    let target = find(control, context, &input.resource_arn)?;
    let state = control.state();
    let function = state.function(&target.key);
    let policy: Option<&Policy> =
        function.and_then(|function| permission::of(function, target.qualifier.as_ref()));
    let policy = policy.ok_or_else(missing)?;
    Ok(GetResourcePolicyResponse {
        policy: Some(policy::document(policy)),
        revision_id: Some(policy.revision_id.to_string()),
    })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteResourcePolicyRequest,
) -> Result<(), ApiError> {
    let target = find(control, &context, &input.resource_arn)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                let guarded = Guarded::find(state, &target)?;
                if guarded.policy.is_none() {
                    return Err(permission::no_policy());
                }
                guarded.check_revision(input.revision_id.as_deref(), RevisionFrom::GetResourcePolicy)?;
                Ok((guarded.changed(None), ()))
            })
            .await
        })
        .await
}

/// The function, version or alias of an ARN. Other resources that the ARN may be of are not there: Hothouse has no
/// runtimes of customers.
fn find(control: &Control, context: &RequestContext, arn: &str) -> Result<Target, ApiError> {
    let arn: FunctionArn = arn.parse().map_err(|_| missing())?;
    Target::find(control, context, &arn.to_string(), None)
}

fn missing() -> ApiError {
    not_found("The resource you requested does not exist.")
}
