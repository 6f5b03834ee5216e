//! What is told about provisioned concurrency.
//!
//! Must not change it.

use crate::{executor::StartError, invocation::InvokeError};

/// How far provisioned concurrency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionedConcurrency {
    /// Environments that are wanted.
    pub requested: usize,
    /// Environments that exist.
    pub allocated: usize,
    /// Environments whose INIT is done.
    pub available: usize,
    /// Why one could not be started; there will be no more of them.
    pub failure: Option<StartFailure>,
}

/// Why a provisioned environment could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// The function's INIT failed, or took too long.
    Init(String),
    /// Something else did.
    Other(String),
}

impl StartFailure {
    pub(super) fn of(error: &InvokeError) -> Self {
        let text = crate::chain(error);
        match error {
            InvokeError::Start(start)
                if matches!(
                    **start,
                    StartError::Function(_) | StartError::Restore(_) | StartError::TimedOut { .. }
                ) =>
            {
                Self::Init(text)
            }
            InvokeError::Start(_)
            | InvokeError::Throttled { .. }
            | InvokeError::ScalingTooFast { .. }
            | InvokeError::Retired
            | InvokeError::Lost
            | InvokeError::ShuttingDown => Self::Other(text),
        }
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        match self {
            Self::Init(text) | Self::Other(text) => text,
        }
    }
}
