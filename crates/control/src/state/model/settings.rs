//! What may be set for a function, a version or an alias beside its configuration.
//!
//! Must not do anything but hold and compare.

use hothouse_api::generated::{
    Cors, DestinationConfig, FunctionScalingConfig, FunctionUrlAuthType, InvokeMode,
    ProvisionedConcurrencyStatusEnum, UpdateRuntimeOn,
};
use serde::{Deserialize, Serialize};

/// A function URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionUrl {
    /// The first label of its host name.
    pub id: String,
    /// Who may call it.
    pub auth_type: FunctionUrlAuthType,
    /// Cross-origin settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Absent if never sent, which means buffered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<InvokeMode>,
    /// Milliseconds since the epoch.
    pub created: i64,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
}

/// What happens to asynchronous invocations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventInvoke {
    /// Retries after the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<i32>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_event_age: Option<i32>,
    /// Where records of what happened go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destinations: Option<DestinationConfig>,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
}

/// Provisioned concurrency of a version or an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionedConcurrency {
    /// Environments that were asked for.
    pub requested: u32,
    /// How far they are.
    pub status: ProvisionedConcurrencyStatusEnum,
    /// Why they are not there, if they failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
}

/// When a function's runtime is updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeManagement {
    /// The mode.
    pub update_on: UpdateRuntimeOn,
    /// The runtime's version, if it is chosen by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_version_arn: Option<String>,
}

/// Scaling limits of a version on a capacity provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionScaling {
    /// What was asked for.
    pub requested: FunctionScalingConfig,
    /// What holds; absent until something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<FunctionScalingConfig>,
}
