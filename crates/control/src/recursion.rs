//! Functions that invoke themselves in circles: whether they may, and stopping those that may not.
//!
//! Must not look for circles: the trace header's lineage tells of them.

use std::sync::Arc;

use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    generated::{
        GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse,
        PutFunctionRecursionConfigRequest, PutFunctionRecursionConfigResponse, RecursiveLoop,
    },
};

use crate::{
    control::Control,
    error,
    metrics::Metric,
    state::{Event, Setting, SettingKind, model::Function},
    target::Target,
};

pub(crate) async fn put(
    control: &Control,
    context: RequestContext,
    input: PutFunctionRecursionConfigRequest,
) -> Result<PutFunctionRecursionConfigResponse, ApiError> {
    let key = Target::function(control, &context, &input.function_name)?;
    let recursive_loop = input.recursive_loop;
    let this = control.clone();
    control
        .run(async move {
            this.change(&key, |state| {
                state.function(&key).ok_or_else(|| error::function_not_found(key.arn()))?;
                let setting = Arc::new(Setting::Recursion(recursive_loop));
                Ok((vec![Event::SettingPut { qualifier: None, setting }], ()))
            })
            .await
        })
        .await?;
    Ok(PutFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop) })
}

pub(crate) fn get(
    control: &Control,
    context: &RequestContext,
    input: &GetFunctionRecursionConfigRequest,
) -> Result<GetFunctionRecursionConfigResponse, ApiError> {
    let key = Target::function(control, context, &input.function_name)?;
    let state = control.state();
    let function = state.function(&key).ok_or_else(|| error::function_not_found(key.arn()))?;
    Ok(GetFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop(function)) })
}

/// Stops a function that was invoked so often before in one chain of invocations, unless it is allowed to go on.
///
/// # Errors
/// If it is stopped.
pub(crate) fn check(control: &Control, target: &Target, repetitions: u32) -> Result<(), ApiError> {
    if repetitions < MOST {
        return Ok(());
    }
    let Target { key, qualifier } = target;
    // The state is not looked at while something is counted.
    let Some(wish) = control.state().function(key).map(recursive_loop) else { return Ok(()) };
    match wish {
        RecursiveLoop::Allow => Ok(()),
        RecursiveLoop::Terminate => {
            let dropped = control.count(key, qualifier, Metric::RecursiveInvocationsDropped, 1.0);
            tracing::warn!(
                function = %key.arn(),
                dropped,
                "stopped a function that invokes itself in circles (hint: PutFunctionRecursionConfig can allow it)"
            );
            Err(ApiError::new(ErrorKind::RecursiveInvocation, STOPPED))
        }
    }
}

/// A function runs so often in one chain of invocations. AWS says about 16 times.
const MOST: u32 = 16;

/// Unverified: AWS's documents describe the error so.
const STOPPED: &str = "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services \
                       resources and stopped your function's invocation.";

fn recursive_loop(function: &Function) -> RecursiveLoop {
    match function.setting(SettingKind::Recursion, None) {
        Some(Setting::Recursion(recursive_loop)) => *recursive_loop,
        _ => RecursiveLoop::Terminate,
    }
}
