//! Answers that leave while they are made.
//!
//! Must not look at what is in them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use hothouse_api::{self as api, body::Pieces};

use crate::companions::{self, xray::Answering};

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

/// Keeps a segment with a body for as long as the body lasts.
pub(super) fn with_segment(body: api::Body, segment: Answering) -> api::Body {
    match body {
        api::Body::Whole(_) => body,
        api::Body::Stream(pieces) => api::Body::Stream(Box::pin(Observed { pieces, segment: Some(segment) })),
    }
}

/// A body that somebody wants to know the end of.
struct Observed {
    pieces: Pieces,
    segment: Option<Answering>,
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
