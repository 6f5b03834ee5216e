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
    /// The service that calls, if one does.
    pub service: Option<Box<ServiceCaller>>,
    /// The caller's `X-Amzn-Trace-Id`.
    pub trace_id: Option<String>,
    /// The trace header that the invoked function sees, as soon as that is decided.
    pub trace: Arc<OnceLock<String>>,
    /// Set when a function that was invoked has failed, which a stream tells at its end only.
    pub failed: Arc<OnceLock<()>>,
}

/// A service that calls on behalf of a resource, as S3 does for a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCaller {
    /// Such as `s3.amazonaws.com`.
    pub principal: String,
    /// The resource.
    pub source_arn: Option<String>,
    /// The resource's account.
    pub source_account: Option<AccountId>,
}

impl RequestContext {
    /// The caller's ARN: that of the account's root user, if none is known.
    pub fn caller(&self) -> String {
        let root = || format!("arn:{}:iam::{}:root", self.region.partition(), self.account);
        self.caller_arn.clone().unwrap_or_else(root)
    }
}
