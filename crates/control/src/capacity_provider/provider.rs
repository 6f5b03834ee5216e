//! Capacity providers themselves: create, get, update, delete, list.
//!
//! ```text
//! CreateCapacityProvider ──> Pending ── delay ──> Active ── DeleteCapacityProvider ──> Deleting ── delay ──> gone
//! ```
//!
//! Nothing here makes one `Failed`. Must not delete a provider that a function is on.

use std::sync::Arc;

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    arn::{Located, ResourceArn},
    generated::{
        Architecture, CapacityProvider as Shown, CapacityProviderScalingConfig, CapacityProviderScalingMode,
        CapacityProviderState, CreateCapacityProviderRequest, CreateCapacityProviderResponse,
        DeleteCapacityProviderRequest, DeleteCapacityProviderResponse, GetCapacityProviderRequest,
        GetCapacityProviderResponse, InstanceRequirements, ListCapacityProvidersRequest,
        ListCapacityProvidersResponse, UpdateCapacityProviderRequest, UpdateCapacityProviderResponse,
    },
};

use super::function;
use crate::{
    control::{Control, Subject},
    describe,
    error::{conflict, invalid_parameter, not_found},
    page::{self, Page},
    state::{
        Change, Resource, ResourceEvent, ResourceId, State,
        model::{Scope, capacity_provider::CapacityProvider},
    },
    tag,
    target::scope,
};

pub(crate) async fn create(
    control: &Control,
    context: RequestContext,
    input: CreateCapacityProviderRequest,
) -> Result<CreateCapacityProviderResponse, ApiError> {
    let named = Named::find(&context, &input.capacity_provider_name).map_err(|_| {
        // Unverified: the wording.
        invalid_parameter("The capacity provider's ARN is not of this account and region.")
    })?;
    let tags = input.tags.unwrap_or_default();
    tag::check(control.config(), &tags)?;
    let provider = CapacityProvider {
        state: CapacityProviderState::Pending,
        last_modified: control.now(),
        vpc: input.vpc_config,
        permissions: input.permissions_config,
        instances: instances(input.instance_requirements)?,
        scaling: scaling(None, input.capacity_provider_scaling_config)?,
        kms_key_arn: input.kms_key_arn,
        propagate_tags: input.propagate_tags,
        telemetry: input.telemetry_config,
        tags,
    };
    let this = control.clone();
    let shown = control
        .run(async move {
            let delay = this.config().capacity_provider_delay;
            let shown = this
                .change_all(&[named.subject()], |state| {
                    if state.resource(&named.scope, &named.id).is_some() {
                        // Unverified: the wording.
                        return Err(conflict(format!("Capacity provider already exists: {}", named.arn())));
                    }
                    // Requests for others that are about to be committed are not counted: they may overrun the limit.
                    if all(state, &named.scope, None).count() >= this.config().limits.capacity_providers {
                        return Err(ApiError::new(
                            ErrorKind::CapacityProviderLimitExceeded,
                            // Unverified: the wording.
                            "The maximum number of capacity providers for your account has been exceeded.",
                        ));
                    }
                    let shown = named.show(&provider);
                    let state = if delay.is_zero() { CapacityProviderState::Active } else { provider.state };
                    Ok((vec![named.put(CapacityProvider { state, ..provider })], shown))
                })
                .await?;
            settle_later(&this, named);
            Ok(shown)
        })
        .await?;
    Ok(CreateCapacityProviderResponse { capacity_provider: Some(shown) })
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetCapacityProviderRequest,
) -> Result<GetCapacityProviderResponse, ApiError> {
    let named = Named::find(context, &input.capacity_provider_name)?;
    let state = control.state();
    Ok(GetCapacityProviderResponse { capacity_provider: Some(named.show(named.provider(&state)?)) })
}

pub(crate) async fn update(
    control: &Control,
    context: RequestContext,
    input: UpdateCapacityProviderRequest,
) -> Result<UpdateCapacityProviderResponse, ApiError> {
    let named = Named::find(&context, &input.capacity_provider_name)?;
    let this = control.clone();
    let shown = control
        .run(async move {
            this.change_all(&[named.subject()], |state| {
                let before = named.settled(state)?;
                let provider = CapacityProvider {
                    last_modified: this.now(),
                    scaling: scaling(Some(&before.scaling), input.capacity_provider_scaling_config)?,
                    propagate_tags: input.propagate_tags.or_else(|| before.propagate_tags.clone()),
                    telemetry: input.telemetry_config.or_else(|| before.telemetry.clone()),
                    ..before.clone()
                };
                let shown = named.show(&provider);
                Ok((vec![named.put(provider)], shown))
            })
            .await
        })
        .await?;
    Ok(UpdateCapacityProviderResponse { capacity_provider: Some(shown) })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteCapacityProviderRequest,
) -> Result<DeleteCapacityProviderResponse, ApiError> {
    let named = Named::find(&context, &input.capacity_provider_name)?;
    let this = control.clone();
    let shown = control
        .run(async move {
            let delay = this.config().capacity_provider_delay;
            let shown = this
                // Functions take this turn, too, before they come to be on the provider.
                .change_all(&[named.subject()], |state| {
                    let before = named.settled(state)?;
                    if function::users(state, &named.scope, &named.arn(), None).next().is_some() {
                        // Unverified: the wording.
                        return Err(conflict(format!(
                            "The capacity provider {} cannot be deleted because functions are using it.",
                            named.arn()
                        )));
                    }
                    let leaving =
                        CapacityProvider { state: CapacityProviderState::Deleting, ..before.clone() };
                    let shown = named.show(&leaving);
                    let change = if delay.is_zero() { named.deleted() } else { named.put(leaving) };
                    Ok((vec![change], shown))
                })
                .await?;
            settle_later(&this, named);
            Ok(shown)
        })
        .await?;
    Ok(DeleteCapacityProviderResponse { capacity_provider: Some(shown) })
}

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListCapacityProvidersRequest,
) -> Result<ListCapacityProvidersResponse, ApiError> {
    /// The model's limit.
    const MOST: usize = 50;
    let scope = scope(context);
    let after: Option<String> = page::marker(input.marker.as_deref())?;
    let state = control.state();
    let providers = all(&state, &scope, after)
        .filter(|(_, provider)| input.state.is_none_or(|wanted| provider.state == wanted));
    let page = Page::collect(providers, input.max_items, MOST, |(name, provider)| {
        (name.clone(), Named::new(scope.clone(), name.clone()).show(provider))
    });
    Ok(ListCapacityProvidersResponse { next_marker: page.next_marker, capacity_providers: Some(page.items) })
}

/// What a crash may have left: providers whose passing state has no task any more that would end it.
pub(crate) fn pending(state: &State) -> Vec<Change> {
    let settle = |(scope, id, resource): (&Scope, &ResourceId, &Arc<Resource>)| match (id, &**resource) {
        (ResourceId::CapacityProvider(name), Resource::CapacityProvider(provider)) => {
            Named::new(scope.clone(), name.clone()).settle(provider)
        }
        _ => None,
    };
    state.all_resources().filter_map(settle).collect()
}

/// The capacity providers of a region by name; only those after `after`, if given.
fn all<'a>(
    state: &'a State,
    scope: &Scope,
    after: Option<String>,
) -> impl Iterator<Item = (&'a String, &'a CapacityProvider)> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let first = match after {
        None => Included(ResourceId::CapacityProvider(String::new())),
        Some(after) => Excluded(ResourceId::CapacityProvider(after)),
    };
    state.resources(scope, (first, Unbounded)).map_while(|(id, resource)| match (id, &**resource) {
        (ResourceId::CapacityProvider(name), Resource::CapacityProvider(provider)) => Some((name, provider)),
        // The kinds follow each other.
        _ => None,
    })
}

/// Ends a passing state when its delay is over, if there is one. If the service ends before, the next start does.
fn settle_later(control: &Control, named: Named) {
    let delay = control.config().capacity_provider_delay;
    if delay.is_zero() {
        return;
    }
    let this = control.clone();
    control.later(delay, async move {
        let settled = this
            .change_all(&[named.subject()], |state| {
                let change = named.provider(state).ok().and_then(|provider| named.settle(provider));
                Ok((change.into_iter().collect(), ()))
            })
            .await;
        if let Err(error) = settled {
            tracing::error!(
                provider = named.name,
                error = &error as &dyn std::error::Error,
                "failed to record a capacity provider's state"
            );
        }
    });
}

/// A capacity provider's place and name, whether it is there or not.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) scope: Scope,
    pub(super) id: ResourceId,
    name: String,
}

impl Named {
    fn new(scope: Scope, name: String) -> Self {
        Self { scope, id: ResourceId::CapacityProvider(name.clone()), name }
    }

    /// From a name, or from the ARN of one in the caller's account and region.
    pub(super) fn find(context: &RequestContext, name: &str) -> Result<Self, ApiError> {
        Self::within(scope(context), name)
    }

    /// The same, for those who only know where.
    pub(super) fn within(scope: Scope, name: &str) -> Result<Self, ApiError> {
        match name.parse() {
            Ok(ResourceArn::CapacityProvider(Located { account, region, name: own }))
                if account == scope.account && region == scope.region =>
            {
                Ok(Self::new(scope, own.as_ref().to_owned()))
            }
            _ if name.contains(':') => Err(missing(name)),
            _ => Ok(Self::new(scope, name.to_owned())),
        }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject::Resource(&self.scope, &self.id)
    }

    pub(super) fn arn(&self) -> String {
        let Scope { account, region } = self.scope.clone();
        ResourceArn::CapacityProvider(Located { account, region, name: self.name.as_str().into() })
            .to_string()
    }

    pub(super) fn provider<'a>(&self, state: &'a State) -> Result<&'a CapacityProvider, ApiError> {
        match state.resource(&self.scope, &self.id).map(|resource| &**resource) {
            Some(Resource::CapacityProvider(provider)) => Ok(provider),
            _ => Err(missing(&self.arn())),
        }
    }

    /// The provider, if it may be changed.
    fn settled<'a>(&self, state: &'a State) -> Result<&'a CapacityProvider, ApiError> {
        let provider = self.provider(state)?;
        match provider.state {
            CapacityProviderState::Active | CapacityProviderState::Failed => Ok(provider),
            passing @ (CapacityProviderState::Pending | CapacityProviderState::Deleting) => {
                // Unverified: the wording, after what AWS says of functions.
                Err(conflict(format!(
                    "The operation cannot be performed at this time. The capacity provider is currently in the \
                     following state: {passing}"
                )))
            }
        }
    }

    /// What ends a passing state.
    fn settle(&self, provider: &CapacityProvider) -> Option<Change> {
        match provider.state {
            CapacityProviderState::Active | CapacityProviderState::Failed => None,
            CapacityProviderState::Pending => {
                Some(self.put(CapacityProvider { state: CapacityProviderState::Active, ..provider.clone() }))
            }
            CapacityProviderState::Deleting => Some(self.deleted()),
        }
    }

    fn put(&self, provider: CapacityProvider) -> Change {
        let resource = Arc::new(Resource::CapacityProvider(provider));
        self.change(ResourceEvent::Put { id: self.id.clone(), resource })
    }

    fn deleted(&self) -> Change {
        self.change(ResourceEvent::Deleted { id: self.id.clone() })
    }

    fn change(&self, event: ResourceEvent) -> Change {
        Change::Resource { scope: self.scope.clone(), event }
    }

    fn show(&self, provider: &CapacityProvider) -> Shown {
        Shown {
            capacity_provider_arn: Some(self.arn()),
            state: Some(provider.state),
            vpc_config: Some(provider.vpc.clone()),
            permissions_config: Some(provider.permissions.clone()),
            instance_requirements: Some(provider.instances.clone()),
            capacity_provider_scaling_config: Some(provider.scaling.clone()),
            kms_key_arn: provider.kms_key_arn.clone(),
            last_modified: Some(describe::last_modified(provider.last_modified)),
            propagate_tags: provider.propagate_tags.clone(),
            telemetry_config: provider.telemetry.clone(),
        }
    }
}

fn missing(arn: &str) -> ApiError {
    not_found(format!("Capacity provider not found: {arn}"))
}

fn instances(sent: Option<InstanceRequirements>) -> Result<InstanceRequirements, ApiError> {
    let sent = sent.unwrap_or_default();
    let names = |types: &Option<Vec<String>>| types.as_ref().is_some_and(|types| !types.is_empty());
    if names(&sent.allowed_instance_types) && names(&sent.excluded_instance_types) {
        // Unverified: the wording.
        return Err(invalid_parameter(
            "AllowedInstanceTypes and ExcludedInstanceTypes cannot be specified together.",
        ));
    }
    Ok(InstanceRequirements {
        // Unverified: that the default is shown.
        architectures: sent.architectures.or_else(|| Some(vec![Architecture::X8664])),
        ..sent
    })
}

/// What a request makes of the scaling configuration before it, or of the defaults.
fn scaling(
    before: Option<&CapacityProviderScalingConfig>,
    sent: Option<CapacityProviderScalingConfig>,
) -> Result<CapacityProviderScalingConfig, ApiError> {
    let before = before.cloned().unwrap_or(CapacityProviderScalingConfig {
        // The guide's default.
        max_vcpu_count: Some(400),
        scaling_mode: Some(CapacityProviderScalingMode::Auto),
        scaling_policies: None,
    });
    let Some(sent) = sent else { return Ok(before) };
    let scaling_mode = sent.scaling_mode.or(before.scaling_mode);
    let scaling_policies = match scaling_mode {
        Some(CapacityProviderScalingMode::Manual) => sent.scaling_policies.or(before.scaling_policies),
        Some(CapacityProviderScalingMode::Auto) | None => sent.scaling_policies,
    };
    if scaling_mode == Some(CapacityProviderScalingMode::Manual) && scaling_policies.is_none() {
        // Unverified: the wording.
        return Err(invalid_parameter("ScalingPolicies are required when ScalingMode is Manual."));
    }
    Ok(CapacityProviderScalingConfig {
        max_vcpu_count: sent.max_vcpu_count.or(before.max_vcpu_count),
        scaling_mode,
        scaling_policies,
    })
}
