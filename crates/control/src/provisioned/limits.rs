//! How much provisioned concurrency there may be: it counts against what is reserved for the function, or else against
//! what the account has for functions without a reservation.
//!
//! Must not know what a configuration is for.

use hothouse_api::ApiError;

use super::{Of, config, total};
use crate::{
    account,
    config::Limits,
    error::invalid_parameter,
    state::{State, model::Function},
};

/// Refuses more than there may be.
pub(super) fn check(
    limits: &Limits,
    state: &State,
    of: &Of,
    function: &Function,
    requested: u32,
) -> Result<(), ApiError> {
    let before = config(function, &of.qualifier).map_or(0, |config| config.requested);
    let others = total(function).saturating_sub(before);
    if let Some(reserved) = function.reserved_concurrency {
        if others.saturating_add(requested) > reserved {
            return Err(invalid_parameter(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for \
                 function",
            ));
        }
        return Ok(());
    }
    let claimed = account::claimed_concurrency(state, &of.key.scope).saturating_sub(before);
    let unreserved = limits.concurrent_executions.saturating_sub(claimed);
    if requested > unreserved {
        return Err(invalid_parameter(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency \
             [{unreserved}]."
        ))
        .without_type());
    }
    let minimum = limits.minimum_unreserved_concurrency;
    if unreserved - requested < minimum {
        return Err(invalid_parameter(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
             minimum value of [{minimum}]."
        ))
        .without_type());
    }
    Ok(())
}
