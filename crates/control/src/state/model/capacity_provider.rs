//! Capacity providers.
//!
//! Must not do anything but hold and compare.

use std::collections::BTreeMap;

use hothouse_api::generated::{
    CapacityProviderPermissionsConfig, CapacityProviderScalingConfig, CapacityProviderState,
    CapacityProviderTelemetryConfig, CapacityProviderVpcConfig, InstanceRequirements, PropagateTags,
};
use serde::{Deserialize, Serialize};

/// A capacity provider. What is of AWS's own types is kept and shown as it was sent, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityProvider {
    /// Where it is in its life.
    pub state: CapacityProviderState,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// `VpcConfig`.
    pub vpc: CapacityProviderVpcConfig,
    /// `PermissionsConfig`.
    pub permissions: CapacityProviderPermissionsConfig,
    /// `InstanceRequirements`.
    pub instances: InstanceRequirements,
    /// `CapacityProviderScalingConfig`.
    pub scaling: CapacityProviderScalingConfig,
    /// `KmsKeyArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// `PropagateTags`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagate_tags: Option<PropagateTags>,
    /// `TelemetryConfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<CapacityProviderTelemetryConfig>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}
