//! InvokeWithResponseStream: an invocation whose answer is a stream of events.
//!
//! Must not decide anything about the invocation: that is [`invoke`]'s.

use bytes::Bytes;
use hothouse_api::{
    ApiError, RequestContext,
    generated::{
        InvocationRequest, InvocationResponse, InvocationType, InvokeResponseStreamUpdate,
        InvokeWithResponseStreamCompleteEvent, InvokeWithResponseStreamRequest,
        InvokeWithResponseStreamResponse, InvokeWithResponseStreamResponseEvent as Event,
        ResponseStreamingInvocationType,
    },
};

use crate::{control::Control, invoke};

/// The most that one event carries. Unverified: how AWS cuts what a function answers in one piece. SDKs refuse messages
/// of more than 16 MiB.
const CHUNK: usize = 1024 * 1024;

/// The events come when the function is done, all at once. That is AWS's answer for a function that does not stream.
/// What a function streams is collected whole by the Runtime API, so its events are right but not early, it may be no
/// larger than what other functions answer, and of one that fails midway only the error is told.
///
/// Unverified: that AWS's limit for answers of functions that do not stream holds here too.
pub(crate) async fn invoke_with_response_stream(
    control: &Control,
    context: RequestContext,
    input: InvokeWithResponseStreamRequest,
) -> Result<InvokeWithResponseStreamResponse, ApiError> {
    let invocation_type = input.invocation_type.map(|invocation_type| match invocation_type {
        ResponseStreamingInvocationType::RequestResponse => InvocationType::RequestResponse,
        ResponseStreamingInvocationType::DryRun => InvocationType::DryRun,
    });
    let invocation = InvocationRequest {
        function_name: input.function_name,
        invocation_type,
        log_type: input.log_type,
        client_context: input.client_context,
        durable_execution_name: None,
        payload: input.payload,
        qualifier: input.qualifier,
        tenant_id: input.tenant_id,
    };
    let is_dry_run = invocation.invocation_type == Some(InvocationType::DryRun);
    let answer = invoke::invoke(control, context, invocation).await?;
    Ok(InvokeWithResponseStreamResponse {
        status_code: answer.status_code,
        executed_version: answer.executed_version.clone(),
        event_stream: (!is_dry_run).then(|| events(answer)),
        response_stream_content_type: None,
    })
}

/// The payload of a success in chunks, or the error with its document as text. Unverified: the code, which callers of AWS
/// compare with `Unhandled`, and that AWS does not send the document as a chunk as well.
fn events(answer: InvocationResponse) -> Vec<Event> {
    let payload = answer.payload.unwrap_or_default();
    let mut complete = InvokeWithResponseStreamCompleteEvent {
        error_code: answer.function_error,
        error_details: None,
        log_result: answer.log_result,
    };
    let mut events = Vec::with_capacity(payload.len().div_ceil(CHUNK) + 1);
    if complete.error_code.is_some() {
        // As JSON text it may be six times as long, and must still be a message that SDKs accept.
        let shown = &payload[..payload.len().min(CHUNK)];
        complete.error_details = Some(String::from_utf8_lossy(shown).into_owned());
    } else {
        events.extend(chunks(&payload));
    }
    events.push(Event::InvokeComplete(complete));
    events
}

fn chunks(payload: &Bytes) -> impl Iterator<Item = Event> {
    (0..payload.len()).step_by(CHUNK).map(|begin| {
        let chunk = payload.slice(begin..payload.len().min(begin + CHUNK));
        Event::PayloadChunk(InvokeResponseStreamUpdate { payload: Some(chunk) })
    })
}
