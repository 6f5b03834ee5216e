//! Reserved concurrency: the three operations on it, and the count of what runs.
//!
//! Must not throttle by the account's limit: the engine does.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        Concurrency, DeleteFunctionConcurrencyRequest, GetFunctionConcurrencyRequest,
        GetFunctionConcurrencyResponse, PutFunctionConcurrencyRequest,
    },
    name,
};

use crate::{
    account::{claim, claimed_concurrency},
    control::Control,
    error::{self, invalid_parameter},
    provisioned,
    state::{
        Event,
        model::{Function, FunctionKey, Version},
    },
    target::Target,
};

/// Invocations of one function that run now. Clones share the count.
#[derive(Clone, Default)]
pub struct Running(Arc<AtomicU32>);

/// One running invocation; counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Permit(Running);

impl Running {
    /// Counts one more, unless there are as many as reserved.
    pub(crate) fn enter(&self, reserved: Option<u32>) -> Option<Permit> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(self.clone());
        reserved.is_none_or(|reserved| before < reserved).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more invocation of a version, unless what may run is running: it takes what is provisioned for its
/// version first, then what is left for invocations on demand.
pub(crate) fn enter(function: &Function, version: &Version) -> Option<Permit> {
    let provisioned = provisioned::of_version(function, version.version);
    if provisioned > 0
        && let Some(permit) = version.environments.running().enter(Some(provisioned))
    {
        return Some(permit);
    }
    let reserved = function.reserved_concurrency;
    function.running.enter(reserved.map(|reserved| reserved.saturating_sub(provisioned::total(function))))
}

/// What runs says nothing about what a function is.
impl PartialEq for Running {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.0.load(Ordering::Relaxed))
    }
}

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutFunctionConcurrencyRequest,
) -> Result<Concurrency, ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let wanted = u32::try_from(input.reserved_concurrent_executions).unwrap_or_default();
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let function = state.function(&key).ok_or_else(|| missing(&key))?;
                let limits = &this.config().limits;
                let provisioned = provisioned::total(function);
                if wanted < provisioned {
                    // The blanks are AWS's.
                    return Err(invalid_parameter(format!(
                        " ReservedConcurrentExecutions  {wanted} should not be lower than function's total \
                         provisioned concurrency [{provisioned}]."
                    ))
                    .without_type());
                }
                let others = claimed_concurrency(state, &key.scope) - claim(function);
                let left = limits.concurrent_executions.saturating_sub(others).saturating_sub(wanted);
                // To reserve nothing is to switch a function off, which is always possible.
                if wanted > 0 && left < limits.minimum_unreserved_concurrency {
                    return Err(invalid_parameter(format!(
                        "Specified ReservedConcurrentExecutions for function decreases account's \
                         UnreservedConcurrentExecution below its minimum value of [{}].",
                        limits.minimum_unreserved_concurrency
                    ))
                    .without_type());
                }
                Ok((vec![Event::ConcurrencyReserved { executions: Some(wanted) }], ()))
            })
            .await
        })
        .await?;
    Ok(Concurrency { reserved_concurrent_executions: Some(wanted.cast_signed()) })
}

pub(crate) async fn delete(
    control: &Control,
    context: RequestContext,
    input: DeleteFunctionConcurrencyRequest,
) -> Result<(), ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                let function = state.function(&key).ok_or_else(|| missing(&key))?;
                let reserved = function.reserved_concurrency.is_some();
                let event = Event::ConcurrencyReserved { executions: None };
                Ok((if reserved { vec![event] } else { Vec::new() }, ()))
            })
            .await
        })
        .await
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionConcurrencyRequest,
) -> Result<GetFunctionConcurrencyResponse, ApiError> {
    let key = Target::function(control, context, &input.function_name)?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(|| missing(&key))?;
    Ok(GetFunctionConcurrencyResponse {
        reserved_concurrent_executions: function.reserved_concurrency.map(u32::cast_signed),
    })
}

fn missing(key: &FunctionKey) -> ApiError {
    error::function_not_found(key.arn().with_qualifier(name::Version::Latest))
}
