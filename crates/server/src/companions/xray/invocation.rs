//! The segment of an invocation, as AWS's Lambda sends one for a function with `Active` tracing.
//!
//! Must not decide whether an invocation is sampled: its trace header says that.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant, UNIX_EPOCH},
};

use hothouse_api::name::{FunctionName, FunctionRef, RequestId};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Scope, Xray, seconds};

/// An invocation that was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invoked<'a> {
    /// The function.
    pub(super) function: &'a FunctionName,
    /// The request.
    pub(super) request_id: RequestId,
    /// The trace header that the caller sent.
    pub(super) sent: Option<&'a str>,
    /// The trace header that the function saw.
    pub(super) header: &'a str,
    /// How long it took.
    pub(super) took: Duration,
    /// Status of the answer.
    pub(super) status: StatusCode,
    /// Whether it is the function that failed.
    pub(super) failed: bool,
}

/// An invocation that is being answered. Its segment is kept when this is dropped: with the answer, or with the stream
/// of it.
#[derive(Debug)]
pub(crate) struct Answering {
    /// Where the segment goes.
    pub(crate) xray: Xray,
    /// Whose it is.
    pub(crate) scope: Scope,
    /// The function.
    pub(crate) function: FunctionName,
    /// The request.
    pub(crate) request_id: RequestId,
    /// The trace header that the caller sent.
    pub(crate) sent: Option<String>,
    /// The trace header that the function saw.
    pub(crate) header: String,
    /// When the request came.
    pub(crate) begun: Instant,
    /// Status of the answer.
    pub(crate) status: StatusCode,
    /// Set if it is the function that failed.
    pub(crate) failed: Arc<OnceLock<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let invoked = Invoked {
            function: &self.function,
            request_id: self.request_id,
            sent: self.sent.as_deref(),
            header: &self.header,
            took: self.begun.elapsed(),
            status: self.status,
            failed: self.failed.get().is_some(),
        };
        self.xray.invoked(self.scope.clone(), &invoked);
    }
}

/// The function in the path of an Invoke.
pub(crate) fn function_in(path: &str) -> Option<FunctionName> {
    let function = percent_decode_str(path.split('/').nth(3)?).decode_utf8().ok()?;
    let function: FunctionRef = function.parse().ok()?;
    Some(function.name().clone())
}

impl Xray {
    /// Keeps the segment of an invocation, if it has one: the function's own parent in the trace.
    pub(super) fn invoked(&self, scope: Scope, invoked: &Invoked<'_>) {
        let Some(document) = document(&scope, invoked, seconds(self.inner.clock.now())) else { return };
        if let Err(error) = self.keep(&document.to_string(), Some(scope)) {
            tracing::debug!(request_id = %invoked.request_id, %error, "an invocation has no segment");
        }
    }
}

fn document(scope: &Scope, invoked: &Invoked<'_>, ended: f64) -> Option<Value> {
    if !is_sampled(invoked.header) {
        return None;
    }
    let id = part(invoked.header, "Parent")?;
    let callers = invoked.sent.and_then(|sent| part(sent, "Parent"));
    // The caller's segment is the caller's to send.
    if callers == Some(id) {
        return None;
    }
    let mut document = json!({
        "id": id,
        "trace_id": part(invoked.header, "Root")?,
        "name": invoked.function.as_str(),
        "origin": "AWS::Lambda",
        "start_time": (ended - invoked.took.as_secs_f64()).max(seconds(UNIX_EPOCH)),
        "end_time": ended,
        "http": { "response": { "status": invoked.status.as_u16() } },
        "aws": {
            "account_id": scope.account.to_string(),
            "request_id": invoked.request_id.to_string(),
        },
        "resource_arn": format!(
            "arn:{}:lambda:{}:{}:function:{}",
            scope.region.partition(),
            scope.region,
            scope.account,
            invoked.function
        ),
        "fault": invoked.failed || invoked.status.is_server_error(),
        "error": invoked.status.is_client_error(),
        "throttle": invoked.status == StatusCode::TOO_MANY_REQUESTS,
    });
    if let Some(parent) = callers {
        document["parent_id"] = parent.into();
    }
    Some(document)
}

/// Whether what this trace header belongs to is recorded.
pub(crate) fn is_sampled(header: &str) -> bool {
    part(header, "Sampled") == Some("1")
}

fn part<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
}
