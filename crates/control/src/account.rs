//! GetAccountSettings: quotas of a region of an account, and what of them is used.
//!
//! Must not enforce quotas: each operation does for itself.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{AccountLimit, AccountUsage, GetAccountSettingsRequest, GetAccountSettingsResponse},
};

use crate::{
    control::Control,
    provisioned,
    state::{
        State,
        model::{Function, Scope},
    },
    target::scope,
};

pub(crate) fn settings(
    control: &Control,
    context: &RequestContext,
    _: &GetAccountSettingsRequest,
) -> Result<GetAccountSettingsResponse, ApiError> {
    let scope = scope(context);
    let limits = &control.config().limits;
    let state = control.state();
    let (functions, code_size) = state.usage(&scope);
    let unreserved = limits.concurrent_executions.saturating_sub(claimed_concurrency(&state, &scope));
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Ok(GetAccountSettingsResponse {
        account_limit: Some(AccountLimit {
            total_code_size: Some(signed(limits.total_code_size)),
            code_size_unzipped: Some(signed(limits.code_size_unzipped)),
            code_size_zipped: Some(signed(limits.code_size_zipped)),
            concurrent_executions: Some(limits.concurrent_executions.cast_signed()),
            unreserved_concurrent_executions: Some(unreserved.cast_signed()),
        }),
        account_usage: Some(AccountUsage {
            total_code_size: Some(signed(code_size)),
            function_count: Some(signed(functions as u64)),
        }),
    })
}

/// What functions take from the concurrency that all functions of the account share.
pub(crate) fn claimed_concurrency(state: &State, scope: &Scope) -> u32 {
    state.functions(scope, None).fold(0, |sum, (_, function)| sum.saturating_add(claim(function)))
}

/// What one function takes: its reservation, which what is provisioned for it is a part of; without one, what is
/// provisioned for it.
pub(crate) fn claim(function: &Function) -> u32 {
    function.reserved_concurrency.unwrap_or_else(|| provisioned::total(function))
}
