//! Durable executions and their callbacks, as long as there can be none: requests are checked, and what they are about
//! is not there.
//!
//! Must not change anything.

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        DeleteDurableExecutionRequest, GetDurableExecutionHistoryRequest, GetDurableExecutionRequest,
        ListDurableExecutionsByFunctionRequest, ListDurableExecutionsByFunctionResponse,
        PauseDurableExecutionRequest, ResumeDurableExecutionRequest,
        SendDurableExecutionCallbackFailureRequest, SendDurableExecutionCallbackHeartbeatRequest,
        SendDurableExecutionCallbackSuccessRequest, StopDurableExecutionRequest,
    },
};

use crate::{
    control::Control,
    error::{self, invalid_parameter, not_found},
    function::read::resolve,
    target::Target,
};

pub(crate) fn list(
    control: &Control,
    context: &RequestContext,
    input: &ListDurableExecutionsByFunctionRequest,
) -> Result<ListDurableExecutionsByFunctionResponse, ApiError> {
    let target = Target::find(control, context, &input.function_name, input.qualifier.as_deref())?;
    // A page of nothing has no next one, so no marker can be ours.
    if input.marker.is_some() {
        return Err(invalid_parameter("Marker is invalid"));
    }
    let state = control.state();
    state
        .function(&target.key)
        .filter(|function| resolve(function, target.qualifier.as_ref()).is_some())
        .ok_or_else(|| error::function_not_found(target.arn()))?;
    Ok(ListDurableExecutionsByFunctionResponse { durable_executions: Some(Vec::new()), next_marker: None })
}

/// Finds the execution that a request names.
pub(crate) fn find<I: OfExecution, O>(_: &Control, _: &RequestContext, input: &I) -> Result<O, ApiError> {
    // Unverified: the wording.
    Err(not_found(format!("Durable execution not found: {}", input.arn())))
}

/// Finds the execution that a token was made for. Who runs an execution is told of the token, not that the execution is
/// not there: AWS's library for Node tells this error from others by how its message begins.
pub(crate) fn find_by_token<I, O>(_: &Control, _: &RequestContext, _: &I) -> Result<O, ApiError> {
    Err(invalid_parameter("Invalid Checkpoint Token"))
}

/// Finds the callback that a request names.
pub(crate) fn find_callback<I: OfCallback, O>(
    _: &Control,
    _: &RequestContext,
    input: &I,
) -> Result<O, ApiError> {
    // Unverified: the wording.
    Err(not_found(format!("Callback not found: {}", input.id())))
}

/// What names an execution.
pub(crate) trait OfExecution {
    fn arn(&self) -> &str;
}

macro_rules! of_execution {
    ($($input:ty),*) => {
        $(impl OfExecution for $input {
            fn arn(&self) -> &str {
                &self.durable_execution_arn
            }
        })*
    };
}

of_execution!(
    DeleteDurableExecutionRequest,
    GetDurableExecutionHistoryRequest,
    GetDurableExecutionRequest,
    PauseDurableExecutionRequest,
    ResumeDurableExecutionRequest,
    StopDurableExecutionRequest
);

/// What names a callback.
pub(crate) trait OfCallback {
    fn id(&self) -> &str;
}

macro_rules! of_callback {
    ($($input:ty),*) => {
        $(impl OfCallback for $input {
            fn id(&self) -> &str {
                &self.callback_id
            }
        })*
    };
}

of_callback!(
    SendDurableExecutionCallbackFailureRequest,
    SendDurableExecutionCallbackHeartbeatRequest,
    SendDurableExecutionCallbackSuccessRequest
);
