//! From a request to the operation's method and back to a response.
//!
//! Must not know what an operation does.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, request::Parts};

use crate::{
    bind,
    body::Body,
    context::RequestContext,
    error::ApiError,
    generated::{ErrorKind, Lambda, Operation, call, render_invoke, route},
    respond::Reply,
    validate,
};

const REMAPPED_LENGTH: HeaderName = HeaderName::from_static("x-amzn-remapped-content-length");

/// Routes, binds, validates, calls and renders.
///
/// The response's extensions tell its [`Operation`] and, if there was one, the `Arc<ApiError>`: whoever serves logs it.
pub async fn dispatch<S: Lambda + ?Sized>(
    service: &S,
    mut context: RequestContext,
    limits: &BodyLimits,
    parts: &Parts,
    body: Bytes,
) -> Response<Body> {
    let request_id = context.request_id;
    let path = Path::new(parts.uri.path());
    let operation = path.operation(&parts.method, &parts.uri);
    context.operation = operation;
    let result = match operation {
        Some(operation) => answer(service, operation, context, limits, &path, parts, body).await,
        None => Err(unknown_operation()),
    };
    let mut response = match result.and_then(|reply| reply.finish(request_id)) {
        Ok(response) => response,
        Err(error) => {
            let mut response = error.respond(request_id).map(Body::Whole);
            response.extensions_mut().insert(Arc::new(error));
            response
        }
    };
    if let Some(operation) = operation {
        // On every answer of a synchronous invocation, for a reason of AWS's gateway.
        if operation == Operation::Invoke && response.status() == StatusCode::OK {
            response.headers_mut().insert(REMAPPED_LENGTH, HeaderValue::from_static("0"));
        }
        response.extensions_mut().insert(operation);
    }
    response
}

/// The operation that a request is for.
pub fn operation(method: &Method, uri: &Uri) -> Option<Operation> {
    Path::new(uri.path()).operation(method, uri)
}

/// The sizes from which bodies are refused, in bytes. AWS's own by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyLimits {
    /// Operations that carry a deployment package: 50 MB of archive in base64, and what is around it.
    pub package: usize,
    /// Everything else, a synchronous invocation's event above all.
    pub other: usize,
    /// An asynchronous invocation's event.
    pub event: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { package: 70_167_211, other: 6_291_456, event: 1_048_576 }
    }
}

impl BodyLimits {
    /// The limit of an operation.
    pub fn of(&self, operation: Operation) -> usize {
        match operation {
            Operation::CreateFunction | Operation::UpdateFunctionCode | Operation::PublishLayerVersion => {
                self.package
            }
            Operation::InvokeAsync => self.event,
            _ => self.other,
        }
    }

    /// What AWS answers to a body beyond the limit.
    pub fn refusal(&self, operation: Operation) -> ApiError {
        request_too_large(operation, self.of(operation))
    }
}

async fn answer<S: Lambda + ?Sized>(
    service: &S,
    operation: Operation,
    context: RequestContext,
    limits: &BodyLimits,
    path: &Path<'_>,
    parts: &Parts,
    body: Bytes,
) -> Result<Reply, ApiError> {
    let is_event = operation == Operation::Invoke
        && parts.headers.get("x-amz-invocation-type").is_some_and(|kind| kind.as_bytes() == b"Event");
    let limit = limits.of(if is_event { Operation::InvokeAsync } else { operation });
    if body.len() > limit {
        return Err(request_too_large(operation, limit));
    }
    if operation == Operation::Invoke
        && let Some(mut input) = bind::usual_invocation(path.segments(), parts)
    {
        input.payload = Some(bind::payload_document(&body)?);
        return service.invoke(context, input).await.map(render_invoke);
    }
    let bound = bind::bind(operation, path.segments(), parts, body)?;
    validate::validate(operation, &bound)?;
    // Boxed, because the largest operation's state would else lie in every connection.
    Box::pin(call(service, operation, context, bound)).await
}

/// AWS authorizes before it routes, so a path that belongs to no operation is forbidden rather than not found.
///
/// Unverified: the message is from a user's report of Lambda that did not show the status.
fn unknown_operation() -> ApiError {
    ApiError::new(ErrorKind::AccessDenied, "Unable to determine service/operation name to be authorized")
}

/// What AWS answers to a request that is larger than `limit`.
pub fn request_too_large(operation: Operation, limit: usize) -> ApiError {
    // The operation's own name inside of AWS. Unverified: that of InvokeWithResponseStream.
    let name = match operation {
        Operation::Invoke => "InvokeFunction",
        other => other.as_str(),
    };
    ApiError::new(
        ErrorKind::RequestTooLarge,
        format!("Request must be smaller than {limit} bytes for the {name} operation"),
    )
}

/// More than any operation has, with room for the slashes of an ARN.
const MAX_SEGMENTS: usize = 16;

/// A path's segments, still percent-encoded.
struct Path<'a> {
    segments: [&'a str; MAX_SEGMENTS],
    count: usize,
}

impl<'a> Path<'a> {
    fn new(path: &'a str) -> Self {
        let mut segments = [""; MAX_SEGMENTS];
        let mut count = 0;
        let path = path.strip_prefix('/').unwrap_or(path);
        // Clients of old put a slash behind some paths.
        let path = path.strip_suffix('/').unwrap_or(path);
        for segment in path.split('/') {
            if count == MAX_SEGMENTS {
                // Too long to be any operation's.
                return Self { segments, count: 0 };
            }
            segments[count] = segment;
            count += 1;
        }
        Self { segments, count }
    }

    fn segments(&self) -> &[&'a str] {
        &self.segments[..self.count]
    }

    fn operation(&self, method: &Method, uri: &Uri) -> Option<Operation> {
        let query = |name: &str, value: &str| bind::query_has(uri.query().unwrap_or_default(), name, value);
        route(method.as_str(), self.segments(), query)
    }
}

#[cfg(test)]
mod tests;
