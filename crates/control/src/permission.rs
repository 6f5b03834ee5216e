//! AddPermission, GetPolicy and RemovePermission: statements of the policies of functions, versions and aliases.
//!
//! Must not decide what a policy allows.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        AddPermissionRequest, AddPermissionResponse, FunctionUrlAuthType, GetPolicyRequest,
        GetPolicyResponse, RemovePermissionRequest,
    },
    name::{self, AliasName, Qualifier},
};
use uuid::Uuid;

use crate::{
    control::Control,
    error::{self, invalid_parameter, not_found},
    policy::{self, Conditions, Grant, Principal, RevisionFrom},
    state::{
        Event, Setting, SettingKind, State,
        model::{Alias, Function, Version, policy::Policy},
    },
    target::Target,
};

pub(crate) async fn add(
    control: &Control,
    context: RequestContext,
    input: AddPermissionRequest,
) -> Result<AddPermissionResponse, ApiError> {
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    if target.qualifier == Some(Qualifier::Latest) {
        return Err(latest_has_none());
    }
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                let guarded = Guarded::find(state, &target)?;
                let principal = Principal::parse(&input.principal, &context.region)?;
                if input.function_url_auth_type.is_some() && input.action != "lambda:InvokeFunctionUrl" {
                    return Err(invalid_parameter(
                        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
                    ));
                }
                guarded.check_revision(input.revision_id.as_deref(), RevisionFrom::GetPolicy)?;
                let statement = Grant {
                    conditions: conditions(&input),
                    id: input.statement_id,
                    principal,
                    action: input.action,
                    resource: target.arn().to_string(),
                }
                .into();
                let policy = policy::with(guarded.policy, statement)?;
                let added = policy.statements.last().map(|statement| statement.document.clone());
                Ok((guarded.changed(Some(policy)), AddPermissionResponse { statement: added }))
            })
            .await
        })
        .await
}

pub(crate) async fn remove(
    control: &Control,
    context: RequestContext,
    input: RemovePermissionRequest,
) -> Result<(), ApiError> {
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&target.key, |state| {
                if state.function(&target.key).is_none() {
                    return Err(not_found(format!("No policy found for: {}", target.arn())));
                }
                let guarded = Guarded::find(state, &target)?;
                let before = guarded.policy.ok_or_else(no_policy)?;
                let policy = policy::without(before, &input.statement_id)?;
                guarded.check_revision(input.revision_id.as_deref(), RevisionFrom::GetPolicy)?;
                Ok((guarded.changed(policy), ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetPolicyRequest,
) -> Result<GetPolicyResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    let state = control.state();
    let policy = state.function(&target.key).and_then(|function| of(function, target.qualifier.as_ref()));
    let policy = policy.ok_or_else(|| not_found("The resource you requested does not exist."))?;
    Ok(GetPolicyResponse {
        policy: Some(policy::document(policy)),
        revision_id: Some(policy.revision_id.to_string()),
    })
}

/// The policy of a function, or of one of its versions or aliases.
pub(crate) fn of<'a>(function: &'a Function, qualifier: Option<&Qualifier>) -> Option<&'a Policy> {
    match function.setting(SettingKind::Policy, qualifier.cloned()) {
        Some(Setting::Policy(policy)) => Some(policy),
        _ => None,
    }
}

pub(crate) fn latest_has_none() -> ApiError {
    invalid_parameter("We currently do not support adding policies for $LATEST.")
}

pub(crate) fn no_policy() -> ApiError {
    not_found("No policy is associated with the given resource.")
}

/// What a policy is put on.
#[derive(Debug)]
pub(crate) struct Guarded<'a> {
    /// Its policy, if it has one.
    pub(crate) policy: Option<&'a Policy>,
    qualifier: Option<Qualifier>,
    resource: Resource<'a>,
}

#[derive(Debug)]
enum Resource<'a> {
    Version(&'a Version),
    Alias(&'a AliasName, &'a Alias),
}

impl<'a> Guarded<'a> {
    /// # Errors
    /// If it is not there.
    pub(crate) fn find(state: &'a State, target: &Target) -> Result<Self, ApiError> {
        let missing = || error::function_not_found(target.arn());
        let function = state.function(&target.key).ok_or_else(missing)?;
        let version = |version| function.version(version).map(|version| Resource::Version(version));
        let resource = match &target.qualifier {
            None | Some(Qualifier::Latest) => version(name::Version::Latest).ok_or_else(missing)?,
            Some(Qualifier::Version(number)) => {
                version(name::Version::Number(*number)).ok_or_else(missing)?
            }
            Some(Qualifier::LatestPublished) => {
                version(name::Version::LatestPublished).ok_or_else(missing)?
            }
            Some(Qualifier::Alias(name)) => {
                let alias = function.aliases.get_key_value(name);
                let (name, alias) = alias.ok_or_else(|| error::alias_not_found(&target.arn()))?;
                Resource::Alias(name, alias)
            }
        };
        let qualifier = target.qualifier.clone();
        Ok(Self { policy: of(function, qualifier.as_ref()), qualifier, resource })
    }

    /// Until there is a policy, the revision of the resource itself stands for it. A policy's own revision outlives
    /// other changes of the resource: AWS accepts it after a version was published.
    pub(crate) fn check_revision(&self, known: Option<&str>, from: RevisionFrom) -> Result<(), ApiError> {
        let now = match (self.policy, &self.resource) {
            (Some(policy), _) => policy.revision_id,
            (None, Resource::Version(version)) => version.revision_id,
            (None, Resource::Alias(_, alias)) => alias.revision_id,
        };
        policy::check_revision(&[now], known, from)
    }

    /// What happens when the policy becomes another, or goes: the resource gets the policy's new revision.
    pub(crate) fn changed(&self, policy: Option<Policy>) -> Vec<Event> {
        let revision_id = policy.as_ref().map_or_else(Uuid::new_v4, |policy| policy.revision_id);
        let qualifier = self.qualifier.clone();
        let changed = match policy {
            Some(policy) => Event::SettingPut { qualifier, setting: Arc::new(Setting::Policy(policy)) },
            None => Event::SettingRemoved { qualifier, kind: SettingKind::Policy },
        };
        let amended = match self.resource {
            Resource::Alias(name, alias) => {
                let alias = Alias { revision_id, ..alias.clone() };
                Event::AliasPut { name: name.clone(), alias: Arc::new(alias) }
            }
            Resource::Version(version) => {
                Event::Amended { version: version.version, status: version.status, revision_id }
            }
        };
        vec![changed, amended]
    }
}

/// The conditions that AWS writes for each member. Unverified: in which order, where several have one operator.
fn conditions(input: &AddPermissionRequest) -> Conditions {
    Conditions::default()
        .and("StringEquals", "AWS:SourceAccount", input.source_account.as_deref())
        .and("StringEquals", "lambda:EventSourceToken", input.event_source_token.as_deref())
        .and("StringEquals", "aws:PrincipalOrgID", input.principal_org_id.as_deref())
        .and(
            "StringEquals",
            "lambda:FunctionUrlAuthType",
            input.function_url_auth_type.map(FunctionUrlAuthType::as_str),
        )
        .and("ArnLike", "AWS:SourceArn", input.source_arn.as_deref())
        .and(
            "Bool",
            "lambda:InvokedViaFunctionUrl",
            input.invoked_via_function_url.map(|via| via.to_string()),
        )
}
