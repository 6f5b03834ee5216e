//! Who asks, and where: what every operation is told beside its input.
//!
//! Must not hold anything of a single operation.

use std::sync::{Arc, OnceLock};

use crate::{
    generated::Operation,
    name::{AccountId, Region, RequestId},
};

/// The surroundings of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// The account that the caller works in.
    pub account: AccountId,
    /// The region that the caller works in.
    pub region: Region,
    /// What is asked for, filled in by [`crate::dispatch()`]: the action that policies are about.
    pub operation: Option<Operation>,
    /// The request's id, which an invoked function sees as its own.
    pub request_id: RequestId,
    /// The caller, if an ARN is known for it.
    pub caller_arn: Option<String>,
    /// The caller's `X-Amzn-Trace-Id`.
    pub trace_id: Option<String>,
    /// The trace header that the invoked function sees, as soon as that is decided.
    pub trace: Arc<OnceLock<String>>,
}
