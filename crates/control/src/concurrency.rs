//! Reserved concurrency: the three operations on it.
//!
//! Must not decide what may run: `admission` does.

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
    state::{Event, model::FunctionKey},
    target::Target,
};

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
