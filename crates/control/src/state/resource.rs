//! Resources: what lies in a region of an account beside its functions.
//!
//! Must not know what a resource means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::model::{
    capacity_provider::CapacityProvider,
    code_signing::CodeSigningConfig,
    layer::{Layer, LayerVersion},
    mapping::EventSourceMapping,
};
use crate::code::CodeHash;

/// A resource's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Resource {
    /// What holds for all versions of a layer.
    Layer(Layer),
    /// A version of a layer.
    LayerVersion(LayerVersion),
    /// A code signing configuration.
    CodeSigningConfig(CodeSigningConfig),
    /// An event source mapping.
    EventSourceMapping(Box<EventSourceMapping>),
    /// A capacity provider.
    CapacityProvider(CapacityProvider),
}

/// Names a resource in its region. Resources are listed in this order: kind by kind, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ResourceId {
    /// A layer, by its name.
    Layer(String),
    /// A layer version, by the layer's name and its number.
    LayerVersion(String, u64),
    /// A code signing configuration, by its id: `csc-…`.
    CodeSigningConfig(String),
    /// An event source mapping.
    EventSourceMapping(Uuid),
    /// A capacity provider, by its name.
    CapacityProvider(String),
}

impl Resource {
    /// The archive that it keeps in the code store, and what that counts towards `TotalCodeSize`, in bytes.
    pub fn code(&self) -> Option<(CodeHash, u64)> {
        match self {
            Self::LayerVersion(version) => Some((version.hash, version.counted_size())),
            _ => None,
        }
    }

    /// Its tags, if it is of a kind that has any.
    pub fn tags(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::CodeSigningConfig(config) => Some(&config.tags),
            Self::EventSourceMapping(mapping) => Some(&mapping.tags),
            Self::CapacityProvider(provider) => Some(&provider.tags),
            Self::Layer(_) | Self::LayerVersion(_) => None,
        }
    }

    /// The same with other tags, if it is of a kind that has any.
    pub fn with_tags(&self, tags: BTreeMap<String, String>) -> Option<Self> {
        let mut tagged = self.clone();
        match &mut tagged {
            Self::CodeSigningConfig(config) => config.tags = tags,
            Self::EventSourceMapping(mapping) => mapping.tags = tags,
            Self::CapacityProvider(provider) => provider.tags = tags,
            Self::Layer(_) | Self::LayerVersion(_) => return None,
        }
        Some(tagged)
    }
}
