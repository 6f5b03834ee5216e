//! Answers that leave while they are made.
//!
//! Must not look at what is in them.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use hothouse_api::{
    self as api,
    body::Pieces,
    name::{FunctionName, RequestId},
};

use crate::companions::{
    self,
    xray::{self, Invoked, Xray},
};

/// An answer as it is sent.
pub(super) fn sent(response: Response<api::Body>) -> Response<companions::Body> {
    let (parts, body) = response.into_parts();
    match body {
        api::Body::Whole(body) => super::whole(Response::from_parts(parts, body)),
        api::Body::Stream(pieces) => {
            let frames = pieces.map_ok(Frame::data).map_err(|error| Box::new(error) as companions::BoxError);
            Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
        }
    }
}

/// The segment of an invocation, which is kept when this is dropped: with its answer, or with the stream of it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) xray: Xray,
    pub(super) scope: xray::Scope,
    pub(super) function: FunctionName,
    pub(super) request_id: RequestId,
    pub(super) sent: Option<String>,
    pub(super) header: String,
    pub(super) begun: Instant,
    pub(super) status: StatusCode,
    pub(super) failed: Arc<OnceLock<()>>,
}

impl Drop for Segment {
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

/// Keeps a segment with a body for as long as the body lasts.
pub(super) fn with_segment(body: api::Body, segment: Segment) -> api::Body {
    match body {
        api::Body::Whole(_) => body,
        api::Body::Stream(pieces) => api::Body::Stream(Box::pin(Observed { pieces, segment: Some(segment) })),
    }
}

/// A body that somebody wants to know the end of.
struct Observed {
    pieces: Pieces,
    segment: Option<Segment>,
}

impl Stream for Observed {
    type Item = Result<Bytes, serde_json::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.pieces.as_mut().poll_next(context);
        if let Poll::Ready(None) = next {
            self.segment = None;
        }
        next
    }
}
