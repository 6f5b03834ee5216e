//! Code signing configurations themselves: create, get, update, delete, list.
//!
//! Must not delete a configuration that a function has.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    arn::{Located, ResourceArn},
    generated::{
        AllowedPublishers, CodeSigningConfig as Shown, CodeSigningPolicies, CodeSigningPolicy,
        CreateCodeSigningConfigRequest, CreateCodeSigningConfigResponse, DeleteCodeSigningConfigRequest,
        DeleteCodeSigningConfigResponse, GetCodeSigningConfigRequest, GetCodeSigningConfigResponse,
        ListCodeSigningConfigsRequest, ListCodeSigningConfigsResponse, UpdateCodeSigningConfigRequest,
        UpdateCodeSigningConfigResponse,
    },
};

use super::function;
use crate::{
    control::{Control, Subject},
    describe,
    error::{conflict, not_found},
    page::{self, Page},
    state::{
        Change, Resource, ResourceEvent, ResourceId, State,
        model::{Scope, code_signing::CodeSigningConfig},
    },
    tag,
    target::scope,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateCodeSigningConfigRequest,
) -> Result<CreateCodeSigningConfigResponse, ApiError> {
    let tags = input.tags.unwrap_or_default();
    tag::check(control.config(), &tags)?;
    let scope = scope(&context);
    // Seventeen characters, as AWS's.
    let id = format!("csc-{:017x}", fastrand::u64(..));
    let config = CodeSigningConfig {
        description: input.description,
        publishers: input.allowed_publishers.signing_profile_version_arns.unwrap_or_default(),
        untrusted: policy(input.code_signing_policies.as_ref()).unwrap_or(CodeSigningPolicy::Warn),
        last_modified: control.now(),
        tags,
    };
    let this = control.clone();
    let shown = control
        .run(async move {
            let name = ResourceId::CodeSigningConfig(id.clone());
            this.change_all(&[Subject::Resource(&scope, &name)], |_| {
                let shown = show(&scope, &id, &config);
                Ok((vec![put(&scope, &id, config)], shown))
            })
            .await
        })
        .await?;
    Ok(CreateCodeSigningConfigResponse { code_signing_config: Some(shown) })
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetCodeSigningConfigRequest,
) -> Result<GetCodeSigningConfigResponse, ApiError> {
    let scope = scope(context);
    let arn = &input.code_signing_config_arn;
    let state = control.state();
    let (id, config) = find(&state, &scope, arn).ok_or_else(|| missing(arn))?;
    Ok(GetCodeSigningConfigResponse { code_signing_config: Some(show(&scope, &id, config)) })
}

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateCodeSigningConfigRequest,
) -> Result<UpdateCodeSigningConfigResponse, ApiError> {
    let scope = scope(&context);
    let name = name_of(&scope, &input.code_signing_config_arn)?;
    let this = control.clone();
    let shown = control
        .run(async move {
            this.change_all(&[Subject::Resource(&scope, &name)], |state| {
                let arn = &input.code_signing_config_arn;
                let (id, before) = find(state, &scope, arn).ok_or_else(|| missing(arn))?;
                let publishers =
                    input.allowed_publishers.and_then(|publishers| publishers.signing_profile_version_arns);
                let config = CodeSigningConfig {
                    description: input.description.or_else(|| before.description.clone()),
                    publishers: publishers.unwrap_or_else(|| before.publishers.clone()),
                    untrusted: policy(input.code_signing_policies.as_ref()).unwrap_or(before.untrusted),
                    last_modified: this.now(),
                    tags: before.tags.clone(),
                };
                let shown = show(&scope, &id, &config);
                Ok((vec![put(&scope, &id, config)], shown))
            })
            .await
        })
        .await?;
    Ok(UpdateCodeSigningConfigResponse { code_signing_config: Some(shown) })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteCodeSigningConfigRequest,
) -> Result<DeleteCodeSigningConfigResponse, ApiError> {
    let scope = scope(&context);
    let name = name_of(&scope, &input.code_signing_config_arn)?;
    let this = control.clone();
    control
        .run(async move {
            // Functions take this turn, too, before they come to have the configuration.
            this.change_all(&[Subject::Resource(&scope, &name)], |state| {
                let arn = &input.code_signing_config_arn;
                find(state, &scope, arn).ok_or_else(|| missing(arn))?;
                if function::users(state, &scope, arn, None).next().is_some() {
                    // Unverified: the wording.
                    return Err(conflict(format!(
                        "The code signing configuration {arn} cannot be deleted because functions are using it."
                    )));
                }
                let event = ResourceEvent::Deleted { id: name.clone() };
                Ok((vec![Change::Resource { scope: scope.clone(), event }], ()))
            })
            .await
        })
        .await?;
    Ok(DeleteCodeSigningConfigResponse {})
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListCodeSigningConfigsRequest,
) -> Result<ListCodeSigningConfigsResponse, ApiError> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    /// The model's limit.
    const MOST: usize = 10_000;
    let scope = scope(context);
    let first = match page::marker(input.marker.as_deref())? {
        None => Included(ResourceId::CodeSigningConfig(String::new())),
        Some(after) => Excluded(ResourceId::CodeSigningConfig(after)),
    };
    let state = control.state();
    let configs = state.resources(&scope, (first, Unbounded)).map_while(|(id, resource)| {
        match (id, &**resource) {
            (ResourceId::CodeSigningConfig(id), Resource::CodeSigningConfig(config)) => Some((id, config)),
            // The kinds follow each other.
            _ => None,
        }
    });
    let page =
        Page::collect(configs, input.max_items, MOST, |(id, config)| (id.clone(), show(&scope, id, config)));
    Ok(ListCodeSigningConfigsResponse {
        next_marker: page.next_marker,
        code_signing_configs: Some(page.items),
    })
}

/// A configuration, if this ARN names one here.
pub(super) fn find<'a>(
    state: &'a State,
    scope: &Scope,
    arn: &str,
) -> Option<(String, &'a CodeSigningConfig)> {
    let id = id_of(scope, arn)?;
    match &**state.resource(scope, &ResourceId::CodeSigningConfig(id.clone()))? {
        Resource::CodeSigningConfig(config) => Some((id, config)),
        _ => None,
    }
}

/// The id in an ARN of this account and region.
pub(super) fn id_of(scope: &Scope, arn: &str) -> Option<String> {
    match arn.parse() {
        Ok(ResourceArn::CodeSigningConfig(Located { account, region, name }))
            if account == scope.account && region == scope.region =>
        {
            Some(name.as_ref().to_owned())
        }
        _ => None,
    }
}

fn name_of(scope: &Scope, arn: &str) -> Result<ResourceId, ApiError> {
    id_of(scope, arn).map(ResourceId::CodeSigningConfig).ok_or_else(|| missing(arn))
}

/// As the operations on configurations say it; those on functions have another kind and another text.
pub(super) fn missing(arn: &str) -> ApiError {
    not_found(format!("The Lambda code signing configuration {arn} can not be found."))
}

fn policy(policies: Option<&CodeSigningPolicies>) -> Option<CodeSigningPolicy> {
    policies.and_then(|policies| policies.untrusted_artifact_on_deployment)
}

fn put(scope: &Scope, id: &str, config: CodeSigningConfig) -> Change {
    let event = ResourceEvent::Put {
        id: ResourceId::CodeSigningConfig(id.to_owned()),
        resource: Arc::new(Resource::CodeSigningConfig(config)),
    };
    Change::Resource { scope: scope.clone(), event }
}

fn show(scope: &Scope, id: &str, config: &CodeSigningConfig) -> Shown {
    let located = Located { account: scope.account, region: scope.region.clone(), name: id.into() };
    Shown {
        code_signing_config_id: Some(id.to_owned()),
        code_signing_config_arn: Some(ResourceArn::CodeSigningConfig(located).to_string()),
        description: config.description.clone(),
        allowed_publishers: Some(AllowedPublishers {
            signing_profile_version_arns: Some(config.publishers.clone()),
        }),
        code_signing_policies: Some(CodeSigningPolicies {
            untrusted_artifact_on_deployment: Some(config.untrusted),
        }),
        last_modified: Some(describe::last_modified(config.last_modified)),
    }
}
