//! Layers: archives that functions share, in numbered versions.
//!
//! Must not show another account what no policy lets it see, nor another region's layers.

pub(crate) mod permission;
pub(crate) mod publish;
pub(crate) mod read;
pub(crate) mod used;

use hothouse_api::{
    ApiError, RequestContext,
    arn::{Located, ResourceArn},
};

use crate::{
    error::{invalid_parameter, not_found},
    policy::Access,
    state::{
        Resource, ResourceId, State,
        model::{
            Scope,
            layer::{Layer, LayerVersion},
            policy::Policy,
        },
    },
    target::scope,
};

/// Names one layer among all accounts and regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerKey {
    scope: Scope,
    name: String,
}

impl LayerKey {
    /// What a caller means by a layer's name or ARN.
    ///
    /// # Errors
    /// If no layer can have this ARN.
    fn find(context: &RequestContext, name: &str) -> Result<Self, ApiError> {
        if !name.contains(':') {
            return Ok(Self { scope: scope(context), name: name.to_owned() });
        }
        match name.parse() {
            Ok(ResourceArn::Layer(located)) => Ok(Self::from(&located)),
            _ => Err(no_such_resource()),
        }
    }

    /// Refuses to do something for another account with a layer.
    ///
    /// # Errors
    /// With AWS's message.
    fn check_owner(&self, context: &RequestContext) -> Result<(), ApiError> {
        let action = context.operation.map_or("*", |operation| operation.as_str());
        self.check_access(context, action, self.arn(), None)
    }

    fn check_access(
        &self,
        context: &RequestContext,
        action: &str,
        resource: ResourceArn,
        policy: Option<&Policy>,
    ) -> Result<(), ApiError> {
        let access = Access {
            context,
            action: format!("lambda:{action}"),
            resource: resource.to_string(),
            owner: self.scope.account,
            // AddLayerVersionPermission writes no conditions about it, and nothing else writes these policies.
            now: 0,
            url: None,
        };
        access.check(policy, false)
    }

    fn is_here(&self, context: &RequestContext) -> bool {
        self.scope.region == context.region
    }

    fn version(self, number: u64) -> LayerVersionKey {
        LayerVersionKey { layer: self, number }
    }

    /// A version by the number that a caller sent.
    ///
    /// # Errors
    /// If there can be no such version.
    fn sent_version(self, number: i64) -> Result<LayerVersionKey, ApiError> {
        match u64::try_from(number) {
            Ok(number @ 1..) => Ok(self.version(number)),
            _ => Err(invalid_parameter("Layer Version Cannot be less than 1")),
        }
    }

    fn id(&self) -> ResourceId {
        ResourceId::Layer(self.name.clone())
    }

    fn get<'a>(&self, state: &'a State) -> Option<&'a Layer> {
        match &**state.resource(&self.scope, &self.id())? {
            Resource::Layer(layer) => Some(layer),
            _ => None,
        }
    }

    /// The layer's versions that are there, newest first; only those before `before`, if given.
    fn versions<'a>(
        &self,
        state: &'a State,
        before: Option<u64>,
    ) -> impl Iterator<Item = (u64, &'a LayerVersion)> {
        let id = |number| ResourceId::LayerVersion(self.name.clone(), number);
        let range = id(0)..id(before.unwrap_or(u64::MAX));
        state.resources(&self.scope, range).rev().filter_map(|(id, resource)| match (id, &**resource) {
            (ResourceId::LayerVersion(_, number), Resource::LayerVersion(version)) => {
                Some((*number, version))
            }
            _ => None,
        })
    }

    fn arn(&self) -> ResourceArn {
        ResourceArn::Layer(self.located())
    }

    fn located(&self) -> Located {
        let Scope { account, region } = self.scope.clone();
        Located { account, region, name: self.name.as_str().into() }
    }
}

impl From<&Located> for LayerKey {
    fn from(located: &Located) -> Self {
        let scope = Scope { account: located.account, region: located.region.clone() };
        Self { scope, name: (*located.name).to_owned() }
    }
}

/// Names one version of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerVersionKey {
    layer: LayerKey,
    number: u64,
}

impl LayerVersionKey {
    /// The version that an ARN names, unless no layer of a customer can have it.
    fn parse(arn: &str) -> Option<Self> {
        match arn.parse() {
            Ok(ResourceArn::LayerVersion(located, number)) => Some(LayerKey::from(&located).version(number)),
            _ => None,
        }
    }

    fn id(&self) -> ResourceId {
        ResourceId::LayerVersion(self.layer.name.clone(), self.number)
    }

    fn get<'a>(&self, state: &'a State) -> Option<&'a LayerVersion> {
        match &**state.resource(&self.layer.scope, &self.id())? {
            Resource::LayerVersion(version) => Some(version),
            _ => None,
        }
    }

    /// The version, if the caller may see it.
    ///
    /// # Errors
    /// If it is another account's that does not let the caller see it, which may also mean that it is not there.
    fn readable<'a>(
        &self,
        state: &'a State,
        context: &RequestContext,
    ) -> Result<Option<&'a LayerVersion>, ApiError> {
        let version = self.get(state);
        let policy = version.and_then(|version| version.policy.as_ref());
        self.layer.check_access(context, "GetLayerVersion", self.arn(), policy)?;
        Ok(version)
    }

    fn arn(&self) -> ResourceArn {
        ResourceArn::LayerVersion(self.layer.located(), self.number)
    }
}

fn no_such_resource() -> ApiError {
    not_found("The resource you requested does not exist.")
}
