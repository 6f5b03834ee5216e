//! One invocation on its way in, and what comes back.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hothouse_api::{arn::FunctionArn, name::RequestId};

/// An event for one function version.
#[derive(Debug)]
pub struct Invocation {
    /// Also the caller's `x-amzn-RequestId`.
    pub request_id: RequestId,
    /// The event, valid JSON, exactly as it came.
    pub payload: Bytes,
    /// The ARN as invoked: with the qualifier that the caller gave, if any.
    pub invoked_arn: FunctionArn,
    /// JSON decoded from `X-Amz-Client-Context`.
    pub client_context: Option<String>,
    /// The tenant that it is for, if the function keeps tenants apart: it runs in an environment of that tenant's own.
    pub tenant_id: Option<Arc<str>>,
    /// The trace header that the function sees: [`crate::VersionHandle::trace`] decides it.
    pub trace_id: Option<String>,
    /// `LogType=Tail`: the answer waits for the REPORT line and carries the last 4 KB of this invocation's log.
    pub tail: bool,
    /// Who follows it to its end.
    pub follow: Follow,
}

/// What an invocation takes along: nothing by default.
#[derive(Debug, Default)]
pub struct Follow {
    /// Given back when the whole answer is there, whether or not the caller still is.
    pub ticket: Option<Box<dyn Any + Send>>,
    /// Hears how it ended.
    pub meter: Option<Arc<dyn Meter>>,
}

/// Hears of finished invocations. Must not block: environments wait for it.
pub trait Meter: Send + Sync + std::fmt::Debug {
    /// The invocation is over and its REPORT line is written.
    fn finished(&self, finished: Finished);
}

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// When the function got the event, in the time that can be moved ahead.
    pub begun: SystemTime,
    /// How long the function worked on it.
    pub duration: Duration,
    /// How long INIT took, if it was part of this invocation.
    pub init: Option<Duration>,
    /// Whether the function failed, timed out or crashed.
    pub failed: bool,
}

/// The answer to an [`Invocation`]. A function that failed, timed out or crashed also completed.
#[derive(Debug)]
pub struct Completed {
    /// What the function produced.
    pub outcome: Outcome,
    /// Last 4 KB of the invocation's log, if it was asked for.
    pub log_tail: Option<Bytes>,
}

/// What the function produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's bytes.
    Success(Bytes),
    /// `X-Amz-Function-Error: Unhandled`, with the error document.
    Error(Bytes),
}

/// The invocation did not reach a function: throttled, or our fault.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No environment may be started now.
    #[error("too many environments are running (limit {limit})")]
    Throttled {
        /// The limit that was met.
        limit: usize,
    },
    /// The function would get environments faster than it may.
    #[error("too many environments are being started (limit {limit} at once)")]
    ScalingTooFast {
        /// How many there may be at once.
        limit: usize,
    },
    /// The version was deleted or replaced while the invocation waited.
    #[error("the version is being removed")]
    Retired,
    /// No environment could be started.
    #[error("failed to start an environment")]
    Start(#[source] Arc<crate::executor::StartError>),
    /// The environment was lost with the invocation in it: a defect of ours.
    #[error("the environment was lost")]
    Lost,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
}
