//! Code signing configurations.
//!
//! Must not do anything but hold and compare.

use std::collections::BTreeMap;

use hothouse_api::generated::CodeSigningPolicy;
use serde::{Deserialize, Serialize};

/// A code signing configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSigningConfig {
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// ARNs of the signing profiles' versions that are trusted.
    pub publishers: Vec<String>,
    /// What happens to code that nobody trusted has signed.
    pub untrusted: CodeSigningPolicy,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}
