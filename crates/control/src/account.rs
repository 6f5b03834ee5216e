//! GetAccountSettings: quotas of a region of an account, and what of them is used.
//!
//! Must not enforce quotas: each operation does for itself.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{AccountLimit, AccountUsage, GetAccountSettingsRequest, GetAccountSettingsResponse},
};

use crate::{
    control::Control,
    state::{State, model::Scope},
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
    let unreserved = limits.concurrent_executions.saturating_sub(reserved_concurrency(&state, &scope));
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

/// What functions have reserved of the account's concurrency.
pub(crate) fn reserved_concurrency(state: &State, scope: &Scope) -> u32 {
    state.functions(scope, None).filter_map(|(_, function)| function.reserved_concurrency).sum()
}
