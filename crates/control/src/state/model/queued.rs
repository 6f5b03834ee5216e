//! Events that were accepted for asynchronous invocation and are not done with.
//!
//! Must not do anything but hold and compare.

use bytes::Bytes;
use hothouse_api::name::Qualifier;

/// One event, under its request id.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedEvent {
    /// The version or alias that it is for, as the caller wrote it.
    pub qualifier: Option<Qualifier>,
    /// The tenant that it is for, if the function keeps tenants apart.
    pub tenant_id: Option<String>,
    /// The event: valid JSON, exactly as it came.
    pub payload: Bytes,
    /// The trace header that every attempt sees.
    pub trace: String,
    /// Milliseconds since the epoch.
    pub accepted: i64,
    /// How often the function failed with it.
    pub attempts: u32,
    /// When the next attempt may be, in milliseconds since the epoch.
    pub due: i64,
}
