//! Settings: what may be set for a function, or for one of its versions or aliases, beside its configuration.
//!
//! Must not know what a setting means.

use hothouse_api::{generated::RecursiveLoop, name::Qualifier};
use serde::{Deserialize, Serialize};

use super::model::{
    policy::Policy,
    settings::{EventInvoke, FunctionScaling, FunctionUrl, ProvisionedConcurrency, RuntimeManagement},
};

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Setting {
    /// The resource-based policy.
    Policy(Policy),
    /// `…EventInvokeConfig`.
    EventInvoke(EventInvoke),
    /// `…FunctionUrlConfig`.
    Url(FunctionUrl),
    /// `…ProvisionedConcurrencyConfig`.
    ProvisionedConcurrency(ProvisionedConcurrency),
    /// `…RuntimeManagementConfig`.
    RuntimeManagement(RuntimeManagement),
    /// `…FunctionRecursionConfig`.
    Recursion(RecursiveLoop),
    /// `…FunctionScalingConfig`.
    Scaling(FunctionScaling),
    /// The ARN of the function's code signing configuration.
    CodeSigning(String),
}

/// Which setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SettingKind {
    /// [`Setting::Policy`].
    Policy,
    /// [`Setting::EventInvoke`].
    EventInvoke,
    /// [`Setting::Url`].
    Url,
    /// [`Setting::ProvisionedConcurrency`].
    ProvisionedConcurrency,
    /// [`Setting::RuntimeManagement`].
    RuntimeManagement,
    /// [`Setting::Recursion`].
    Recursion,
    /// [`Setting::Scaling`].
    Scaling,
    /// [`Setting::CodeSigning`].
    CodeSigning,
}

/// Names a setting of a function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingKey {
    /// Which setting.
    pub kind: SettingKind,
    /// Of which version or alias; none if it is the function's as a whole.
    pub qualifier: Option<Qualifier>,
}

impl Setting {
    /// Which setting it is.
    pub fn kind(&self) -> SettingKind {
        match self {
            Self::Policy(_) => SettingKind::Policy,
            Self::EventInvoke(_) => SettingKind::EventInvoke,
            Self::Url(_) => SettingKind::Url,
            Self::ProvisionedConcurrency(_) => SettingKind::ProvisionedConcurrency,
            Self::RuntimeManagement(_) => SettingKind::RuntimeManagement,
            Self::Recursion(_) => SettingKind::Recursion,
            Self::Scaling(_) => SettingKind::Scaling,
            Self::CodeSigning(_) => SettingKind::CodeSigning,
        }
    }
}
