//! Event source mappings.
//!
//! Must not do anything but hold and compare.

use std::collections::BTreeMap;

use hothouse_api::{
    generated::EventSourceMappingConfiguration,
    name::{FunctionName, Qualifier},
};
use serde::{Deserialize, Serialize};

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventSourceMapping {
    /// The function, in the mapping's own account and region.
    #[serde(with = "crate::state::text")]
    pub function: FunctionName,
    /// The version or alias, if one is meant.
    #[serde(with = "crate::state::text::option", default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<Qualifier>,
    /// Everything that replies show, but what can be told from the rest.
    pub shown: EventSourceMappingConfiguration,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}
