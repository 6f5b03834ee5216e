//! `TenancyConfig`: functions that run each tenant's invocations in environments of its own.
//!
//! Must not run anything: the engine keeps tenants apart.

use hothouse_api::ApiError;

use crate::{error::invalid_parameter, state::model::Configuration};

/// Refuses an invocation that names no tenant where one is due, or one where none is.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check_tenant(configuration: &Configuration, tenant: Option<&str>) -> Result<(), ApiError> {
    match (configuration.isolates_tenants(), tenant) {
        (true, Some(_)) | (false, None) => Ok(()),
        (true, None) => Err(invalid_parameter(
            "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try \
             again.",
        )),
        // Unverified: the wording.
        (false, Some(_)) => Err(invalid_parameter(
            "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request \
             and try again.",
        )),
    }
}

/// Refuses what could not name a tenant when it invokes the function, or would have to know tenants beforehand.
///
/// # Errors
/// If the function keeps tenants apart.
pub(crate) fn check_none(configuration: &Configuration, what: &str) -> Result<(), ApiError> {
    if configuration.isolates_tenants() {
        // Unverified: the wording.
        return Err(invalid_parameter(format!(
            "{what} is not supported for functions enabled with tenancy configuration."
        )));
    }
    Ok(())
}
