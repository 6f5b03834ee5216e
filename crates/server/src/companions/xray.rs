//! X-Ray: takes the segments that functions send, keeps the latest of them, and shows them as traces.
//!
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>.
//! Must not sample: whoever sends a segment has decided that it is wanted.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hothouse_api::name::{AccountId, Region};
use hothouse_execution::ports::{Clock, SegmentOrigin, SegmentSink};
use http::{Response, StatusCode, request::Parts};
use serde_json::{Value, json};

pub(crate) use self::{
    daemon::{Daemon, DaemonError},
    invocation::{Answering, function_in, is_sampled},
};
use self::{
    operations::Operation,
    segment::{Segment, SegmentError, datagram_document},
    store::{Limits, Store},
};

mod daemon;
mod invocation;
mod operations;
mod segment;
mod store;

/// Whose traces a request sees, and whose segments it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Account.
    pub(crate) account: AccountId,
    /// Region.
    pub(crate) region: Region,
}

/// All traces of the service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Xray {
    inner: Arc<Inner>,
}

struct Inner {
    store: Mutex<Store>,
    clock: Arc<dyn Clock>,
}

impl Xray {
    /// An empty store. What it keeps is bounded, and gone with the service.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Xray { inner: Arc::new(Inner { store: Mutex::new(Store::new(Limits::default())), clock }) }
    }

    /// Answers a request to the X-Ray API.
    pub(super) fn handle(&self, scope: &Scope, parts: &Parts, body: &[u8]) -> Response<Bytes> {
        operations::handle(self, scope, Operation::of(parts), body)
    }

    /// The latest traces of all accounts, newest first, as the admin API lists them.
    pub(crate) fn list(&self) -> Value {
        let store = self.store();
        let traces: Vec<Value> = store.newest().map(|trace| trace.summary()).collect();
        let counts = store.counts();
        json!({ "traces": traces, "malformed": counts.malformed, "dropped": counts.dropped })
    }

    /// One trace with its segments as they were sent, as the admin API shows it.
    pub(crate) fn get(&self, id: &str) -> Option<Value> {
        let id = segment::trace_id(id)?;
        let store = self.store();
        let trace = store.trace(&id)?;
        let segments: Vec<Value> =
            trace.segments().filter_map(|segment| serde_json::from_str(segment.document()).ok()).collect();
        Some(json!({ "id": id, "segments": segments }))
    }

    fn keep(&self, document: &str, scope: Option<Scope>) -> Result<(), SegmentError> {
        let parsed = Segment::parse(document, scope);
        let now = self.inner.clock.now();
        let mut store = self.store();
        match parsed {
            Ok(segment) => store.keep(segment, now),
            Err(error) => {
                store.malformed();
                return Err(error);
            }
        }
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic in between could lose a count, nothing else.
        self.inner.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the epoch.
    fn now(&self) -> f64 {
        seconds(self.inner.clock.now())
    }
}

impl SegmentSink for Xray {
    fn datagram(&self, from: Option<&SegmentOrigin>, datagram: Bytes) {
        let scope = from.map(|from| Scope { account: from.account, region: from.region.clone() });
        let kept = match datagram_document(&datagram) {
            Ok(document) => self.keep(document, scope),
            Err(error) => {
                self.store().malformed();
                Err(error)
            }
        };
        if let Err(error) = kept {
            tracing::debug!(environment = ?from.map(|from| from.environment), %error, "a trace segment was dropped");
        }
    }
}

impl fmt::Debug for Xray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xray").finish_non_exhaustive()
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn respond(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert("x-amzn-requestid", super::request_id());
    response
}

#[cfg(test)]
mod tests;
