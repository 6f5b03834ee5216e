//! InvokeWithResponseStream: an invocation whose answer is a stream of events.
//!
//! Must not decide anything about the invocation: that is [`invoke`]'s.

use std::sync::{Arc, OnceLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hothouse_api::{
    ApiError, RequestContext,
    event_stream::EventStream,
    generated::{
        InvocationRequest, InvocationType, InvokeResponseStreamUpdate, InvokeWithResponseStreamCompleteEvent,
        InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponse,
        InvokeWithResponseStreamResponseEvent as Event, LogType, ResponseStreamingInvocationType,
    },
};
use hothouse_execution::response::{End, Failure, Part};

use crate::{
    control::Control,
    invoke::{self, StreamedInvocation},
    target::Target,
};

/// The most that one event carries. Unverified: how AWS cuts what a function answers in one piece. SDKs refuse messages
/// of more than 16 MiB.
const CHUNK: usize = 1024 * 1024;

/// The response begins when the function's does; its events come as the function makes them.
///
/// Unverified: that AWS's limit for answers of functions that do not stream holds here too.
pub(crate) async fn invoke_with_response_stream(
    control: &Control,
    context: RequestContext,
    input: InvokeWithResponseStreamRequest,
) -> Result<InvokeWithResponseStreamResponse, ApiError> {
    if input.invocation_type == Some(ResponseStreamingInvocationType::DryRun) {
        let invocation = InvocationRequest {
            function_name: input.function_name,
            invocation_type: Some(InvocationType::DryRun),
            payload: input.payload,
            qualifier: input.qualifier,
            tenant_id: input.tenant_id,
            ..InvocationRequest::default()
        };
        let answer = invoke::invoke(control, context, invocation).await?;
        return Ok(InvokeWithResponseStreamResponse {
            status_code: answer.status_code,
            ..InvokeWithResponseStreamResponse::default()
        });
    }
    let payload = invoke::checked_payload(control, &context, input.payload)?;
    let target = Target::find(control, &context, &input.function_name, input.qualifier.as_deref())?;
    let invocation = StreamedInvocation {
        payload,
        client_context: input.client_context.as_deref().map(invoke::decode_client_context).transpose()?,
        tenant_id: input.tenant_id.map(Into::into),
        tail: input.log_type == Some(LogType::Tail),
    };
    let answer = invoke::stream(control, &context, &target, invocation).await?;
    Ok(InvokeWithResponseStreamResponse {
        status_code: Some(200),
        executed_version: Some(answer.executed_version().to_owned()),
        event_stream: Some(EventStream::new(events(answer, context.failed))),
        // The header has the content type of the events; nothing tells that of what they carry.
        response_stream_content_type: None,
    })
}

fn events(parts: impl Stream<Item = Part>, failed: Arc<OnceLock<()>>) -> impl Stream<Item = Event> {
    parts.flat_map(move |part| {
        let (chunk, end) = match part {
            Part::Chunk(chunk) => (chunk, None),
            Part::End(end) => {
                if end.failure.is_some() {
                    failed.get_or_init(|| ());
                }
                (Bytes::new(), Some(Event::InvokeComplete(complete(end))))
            }
        };
        stream::iter(chunks(chunk).chain(end))
    })
}

fn chunks(payload: Bytes) -> impl Iterator<Item = Event> {
    (0..payload.len()).step_by(CHUNK).map(move |begin| {
        let chunk = payload.slice(begin..payload.len().min(begin + CHUNK));
        Event::PayloadChunk(InvokeResponseStreamUpdate { payload: Some(chunk) })
    })
}

/// The last event: the error with its document as text, the log's tail. Users of AWS report `Runtime.TruncatedResponse`
/// without details for a process that ended midway. Unverified: other codes, and that AWS does not send the document of
/// a function that failed at once as a chunk as well.
fn complete(end: End) -> InvokeWithResponseStreamCompleteEvent {
    let (error_code, error_details) = match end.failure {
        None => (None, None),
        Some(Failure { error_type, document }) => {
            // A type that the platform does not know stands in the document.
            let code = if error_type.ends_with(".Unknown") { "Unhandled".to_owned() } else { error_type };
            // As JSON text it may be six times as long, and must still be a message that SDKs accept.
            let shown = &document[..document.len().min(CHUNK)];
            (Some(code), (!shown.is_empty()).then(|| String::from_utf8_lossy(shown).into_owned()))
        }
    };
    let log_result = end.log_tail.map(|tail| BASE64_STANDARD.encode(tail));
    InvokeWithResponseStreamCompleteEvent { error_code, error_details, log_result }
}
