//! The events that extensions are told, as `event/next` answers them.
//!
//! Must not decide who is told: the registry does.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::invocation::Invocation;

/// Why an environment's processes are ended, as SHUTDOWN events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    /// Nobody needs the environment any more.
    Spindown,
    /// An invocation, or INIT, took too long.
    Timeout,
    /// A process crashed, or INIT failed.
    Failure,
}

impl ShutdownReason {
    /// Lower case, as real functions see it; AWS's guide has it in upper case.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ShutdownReason::Spindown => "spindown",
            ShutdownReason::Timeout => "timeout",
            ShutdownReason::Failure => "failure",
        }
    }
}

/// The INVOKE event. `deadline` is a time since the epoch.
pub(crate) fn invoke_event(invocation: &Invocation, deadline: Duration) -> Bytes {
    let mut event = json!({
        "eventType": "INVOKE",
        "deadlineMs": milliseconds(deadline),
        "requestId": invocation.request_id.to_string(),
        "invokedFunctionArn": invocation.invoked_arn.to_string(),
    });
    if let Some(trace) = &invocation.trace_id {
        event["tracing"] = json!({ "type": "X-Amzn-Trace-Id", "value": trace });
    }
    Bytes::from(event.to_string())
}

/// The SHUTDOWN event. `deadline` is a time since the epoch.
pub(crate) fn shutdown_event(reason: ShutdownReason, deadline: Duration) -> Bytes {
    let event = json!({
        "eventType": "SHUTDOWN",
        "deadlineMs": milliseconds(deadline),
        "shutdownReason": reason.as_str(),
    });
    Bytes::from(event.to_string())
}

fn milliseconds(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)
}
