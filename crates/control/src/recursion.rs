//! Whether a function may invoke itself in circles.
//!
//! Must not look for circles.

use std::sync::Arc;

use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse,
        PutFunctionRecursionConfigRequest, PutFunctionRecursionConfigResponse, RecursiveLoop,
    },
};

use crate::{
    control::Control,
    error,
    state::{Event, Setting, SettingKind},
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
    let recursive_loop = match function.setting(SettingKind::Recursion, None) {
        Some(Setting::Recursion(recursive_loop)) => *recursive_loop,
        _ => RecursiveLoop::Terminate,
    };
    Ok(GetFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop) })
}
