//! Answers that reach callers while the function makes them.
//!
//! Must not hold an answer back: what has come is sent, and no more is asked for before it is.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hothouse_control::StreamedAnswer;
use hothouse_execution::response::Part;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{
    answer,
    prelude::{Reader, Step},
    whole,
};
use crate::companions::{self, BoxError, xray::Answering};

/// What a function that writes HTTP responses itself says its stream is.
const INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

const STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An answer whose beginning is known.
#[derive(Debug)]
pub(super) enum Begun {
    /// All of it is.
    Whole(Response<Bytes>),
    /// The function is still answering: the head, what there is of the body, and where the rest comes from.
    Streamed { head: Response<()>, first: Bytes, rest: StreamedAnswer },
    /// The function failed before there was anything to send.
    Failed,
}

/// The function has failed in the middle of its answer.
#[derive(Debug, thiserror::Error)]
#[error("the function failed after its response had begun")]
struct BrokenOff;

/// Waits until it is known how the response begins.
pub(super) async fn begin(mut answer: StreamedAnswer) -> Begun {
    if !answer.response().is_streamed() {
        // Not read as an integration's response, even if it looks like one.
        return match answer.next().await {
            Some(Part::Chunk(body)) => Begun::Whole(typed(Response::new(body), None)),
            other => ended(other),
        };
    }
    let kind = answer.response().content_type().map(str::to_owned);
    if !kind.as_deref().is_some_and(is_integration) {
        return match answer.next().await {
            Some(Part::Chunk(first)) => {
                Begun::Streamed { head: typed(Response::new(()), kind.as_deref()), first, rest: answer }
            }
            other => ended(other),
        };
    }
    let mut reader = Reader::default();
    let mut is_empty = true;
    loop {
        match answer.next().await {
            Some(Part::Chunk(chunk)) => match reader.push(&chunk) {
                Step::Incomplete => is_empty = false,
                Step::Begun(head, first) => {
                    return Begun::Streamed { head: typed(head, None), first, rest: answer };
                }
                Step::Invalid => return Begun::Whole(answer::bad_gateway()),
            },
            // AWS's runtime for Node writes no prelude if there is no body, and callers see an empty answer.
            other if is_empty => return ended(other),
            Some(Part::End(end)) if end.failure.is_some() => return Begun::Failed,
            Some(Part::End(_)) | None => return Begun::Whole(answer::bad_gateway()),
        }
    }
}

/// What is sent of it. The segment stays with the body for as long as it lasts.
pub(super) fn respond(begun: Begun, segment: Answering) -> Response<companions::Body> {
    match begun {
        Begun::Whole(response) => whole(response),
        Begun::Failed => whole(answer::bad_gateway()),
        Begun::Streamed { head, first, rest } => head.map(|()| {
            let frames = pieces(first, rest, segment).map_ok(Frame::data);
            StreamBody::new(frames).boxed_unsync()
        }),
    }
}

/// The status of what will be sent.
impl Begun {
    pub(super) fn status(&self) -> http::StatusCode {
        match self {
            Self::Whole(response) => response.status(),
            Self::Failed => http::StatusCode::BAD_GATEWAY,
            Self::Streamed { head, .. } => head.status(),
        }
    }
}

fn pieces(
    first: Bytes,
    rest: impl Stream<Item = Part> + Send + Unpin,
    segment: Answering,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let rest = stream::unfold(Some((rest, segment)), async |state| {
        let (mut rest, segment) = state?;
        match rest.next().await {
            Some(Part::Chunk(chunk)) => Some((Ok(chunk), Some((rest, segment)))),
            Some(Part::End(end)) if end.failure.is_none() => None,
            Some(Part::End(_)) | None => {
                segment.failed.get_or_init(|| ());
                drop(segment);
                // What was written before is sent before the connection is cut.
                tokio::task::yield_now().await;
                Some((Err(BrokenOff.into()), None))
            }
        }
    });
    first.chain(rest)
}

/// An answer that has ended before it had a body.
fn ended(part: Option<Part>) -> Begun {
    match part {
        Some(Part::End(end)) if end.failure.is_none() => {
            Begun::Whole(typed(Response::new(Bytes::new()), None))
        }
        Some(_) | None => Begun::Failed,
    }
}

fn is_integration(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(INTEGRATION)
}

/// Unverified: the content type of a response whose prelude tells none.
fn typed<B>(mut response: Response<B>, kind: Option<&str>) -> Response<B> {
    let kind = kind.and_then(|kind| HeaderValue::from_str(kind).ok()).unwrap_or(STREAM);
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(kind);
    response
}
