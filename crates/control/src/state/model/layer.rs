//! Layers and their versions.
//!
//! Must not do anything but hold and compare.

use hothouse_api::generated::{Architecture, ResolvedS3Object, Runtime};
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::code::CodeHash;

/// What is remembered of a layer, also when no version of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The number that the next version gets. Never goes back.
    pub next_version: u64,
}

/// One version of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerVersion {
    /// Its archive in the code store.
    pub hash: CodeHash,
    /// The archive's size, in bytes.
    pub size: u64,
    /// The size of its content, in bytes.
    pub unzipped_size: u64,
    /// The object that is referred to, if `S3ObjectStorageMode` said so. The archive is kept here all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ResolvedS3Object>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it says that it is for; absent if nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatible_runtimes: Option<Vec<Runtime>>,
    /// What it says that it is for; absent if nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatible_architectures: Option<Vec<Architecture>>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_info: Option<String>,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// Who else may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

impl LayerVersion {
    /// What it counts towards the account's `TotalCodeSize`, in bytes: nothing if it stays in the customer's bucket.
    pub fn counted_size(&self) -> u64 {
        if self.object.is_some() { 0 } else { self.size }
    }
}

/// A layer version as a function uses it: it works on when the layer version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedLayer {
    /// The layer version's ARN.
    pub arn: String,
    /// Its archive in the code store.
    pub hash: CodeHash,
    /// The archive's size, in bytes.
    pub size: u64,
    /// The size of its content, in bytes.
    pub unzipped_size: u64,
}
