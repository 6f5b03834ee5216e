//! `DurableConfig`: what makes a function a durable one.
//!
//! Must not make a durable function of one that is there already: AWS decides at creation.

use hothouse_api::{ApiError, generated::DurableConfig};

use crate::{error::invalid_parameter, state::model::Version, target::Target};

/// What a new function gets, with defaults filled in. AWS has a list of runtimes that have the libraries, but what it
/// answers for others is not known: here all are accepted.
///
/// # Errors
/// If something that AWS wants to be said is not.
pub(crate) fn chosen(sent: Option<&DurableConfig>) -> Result<Option<DurableConfig>, ApiError> {
    let Some(sent) = sent else { return Ok(None) };
    if sent.execution_timeout.is_none() {
        return Err(invalid_parameter(
            "You cannot create a function with a durable configuration without an executionTimeout",
        ));
    }
    Ok(Some(DurableConfig {
        kms_key_arn: sent.kms_key_arn.clone().filter(|arn| !arn.is_empty()),
        retention_period_in_days: sent.retention_period_in_days.or(Some(14)),
        execution_timeout: sent.execution_timeout,
    }))
}

/// What a function has after an update: members that were not sent stay.
///
/// # Errors
/// If it had none.
pub(crate) fn rechosen(
    before: Option<DurableConfig>,
    sent: Option<&DurableConfig>,
) -> Result<Option<DurableConfig>, ApiError> {
    let Some(sent) = sent else { return Ok(before) };
    let Some(before) = before else {
        // Unverified: the wording.
        return Err(invalid_parameter("You cannot add a durable configuration to an existing function."));
    };
    Ok(Some(DurableConfig {
        kms_key_arn: match &sent.kms_key_arn {
            None => before.kms_key_arn,
            Some(arn) => Some(arn.clone()).filter(|arn| !arn.is_empty()),
        },
        retention_period_in_days: sent.retention_period_in_days.or(before.retention_period_in_days),
        execution_timeout: sent.execution_timeout.or(before.execution_timeout),
    }))
}

/// Refuses to invoke a durable function for which nobody says which version is meant.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check_target(version: &Version, target: &Target) -> Result<(), ApiError> {
    if version.configuration.is_durable() && target.qualifier.is_none() {
        return Err(invalid_parameter("You cannot invoke a durable function using an unqualified ARN."));
    }
    Ok(())
}
