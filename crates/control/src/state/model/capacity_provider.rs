//! Capacity providers.
//!
//! Must not do anything but hold and compare.

use std::collections::BTreeMap;

use hothouse_api::generated;
use serde::{Deserialize, Serialize};

/// A capacity provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityProvider {
    /// Everything that replies show.
    pub shown: generated::CapacityProvider,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}
