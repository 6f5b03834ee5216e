//! The answer of an invocation on its way to the caller: whole, or as a stream that begins before the function is done.
//!
//! Must not read from the runtime: `runtime_api` puts chunks in, the environment's task says how the answer ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::invocation::{Completed, InvokeError, Outcome};

/// Chunks that wait for the caller. Each is at most what the Runtime API reads at once, some 400 KB; behind them the
/// runtime's own writing waits.
const CHUNKS: usize = 2;

/// The answer to [`crate::VersionHandle::stream`]: chunks of payload, then one [`Part::End`]. Dropping it does not end
/// the function's run: what it still answers is read and dropped.
#[derive(Debug)]
pub struct ResponseStream {
    content_type: Option<String>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The function answered in one piece.
    Whole { payload: Option<Bytes>, end: End },
    /// The function is still answering.
    Streamed(Streamed),
    /// The end has been told.
    Over,
}

#[derive(Debug)]
struct Streamed {
    chunks: mpsc::Receiver<Bytes>,
    end: oneshot::Receiver<End>,
    /// The end is known, but not all chunks before it have been told.
    known: Option<End>,
}

/// What a [`ResponseStream`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// More of the payload.
    Chunk(Bytes),
    /// Nothing follows.
    End(End),
}

/// How an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// Last 4 KB of the invocation's log, if it was asked for.
    pub log_tail: Option<Bytes>,
}

/// Why a function failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The platform's type, such as `Sandbox.Timedout`, or the runtime's own.
    pub error_type: String,
    /// The error document; empty where AWS tells none.
    pub document: Bytes,
}

impl ResponseStream {
    /// A stream to be filled: where its chunks go, and where its end does.
    pub(crate) fn begin(
        content_type: Option<String>,
    ) -> (ResponseStream, mpsc::Sender<Bytes>, oneshot::Sender<End>) {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (ending, end) = oneshot::channel();
        let streamed = Streamed { chunks, end, known: None };
        (ResponseStream { content_type, source: Source::Streamed(streamed) }, sender, ending)
    }

    fn whole(payload: Option<Bytes>, end: End) -> ResponseStream {
        let payload = payload.filter(|payload| !payload.is_empty());
        ResponseStream { content_type: None, source: Source::Whole { payload, end } }
    }

    /// Whether the function streams. Of one that does not, everything is at hand.
    pub fn is_streamed(&self) -> bool {
        matches!(self.source, Source::Streamed(_))
    }

    /// `Content-Type` that a function which streams gave its response.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Of a function that answered in one piece, how it ended.
    pub fn end(&self) -> Option<&End> {
        match &self.source {
            Source::Whole { end, .. } => Some(end),
            Source::Streamed(_) | Source::Over => None,
        }
    }
}

impl Stream for ResponseStream {
    type Item = Part;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
        let end = match &mut self.source {
            Source::Whole { payload, end } => match payload.take() {
                Some(payload) => return Poll::Ready(Some(Part::Chunk(payload))),
                None => std::mem::take(end),
            },
            Source::Streamed(streamed) => match std::task::ready!(streamed.poll(context)) {
                Part::End(end) => end,
                chunk @ Part::Chunk(_) => return Poll::Ready(Some(chunk)),
            },
            Source::Over => return Poll::Ready(None),
        };
        self.source = Source::Over;
        Poll::Ready(Some(Part::End(end)))
    }
}

impl Streamed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        loop {
            match (self.chunks.poll_recv(context), &mut self.known) {
                (Poll::Ready(Some(chunk)), _) => return Poll::Ready(Part::Chunk(chunk)),
                (Poll::Ready(None), Some(end)) => return Poll::Ready(Part::End(std::mem::take(end))),
                // Whoever still holds the other end has nothing to add.
                (Poll::Pending, Some(_)) => return Poll::Pending,
                (Poll::Ready(None) | Poll::Pending, known @ None) => {
                    let end = std::task::ready!(Pin::new(&mut self.end).poll(context));
                    *known = Some(end.unwrap_or_else(|_| End::lost(None)));
                    self.chunks.close();
                }
            }
        }
    }
}

impl End {
    /// The platform, and not the function, is why there is no more.
    fn lost(log_tail: Option<Bytes>) -> End {
        let document = Bytes::from_static(br#"{"errorType":"Sandbox.Failure"}"#);
        End { failure: Some(Failure { error_type: "Sandbox.Failure".to_owned(), document }), log_tail }
    }
}

/// How a function's part in an invocation ended.
#[derive(Debug)]
pub(crate) enum Produced {
    /// The payload.
    Success(Bytes),
    /// The payload, of so many bytes, has gone to the caller already.
    Streamed {
        bytes: u64,
    },
    Failed(Failure),
}

impl Produced {
    /// Bytes that go to the caller.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Produced::Success(payload) | Produced::Failed(Failure { document: payload, .. }) => {
                payload.len() as u64
            }
            Produced::Streamed { bytes } => *bytes,
        }
    }
}

/// Where the answer to an invocation goes. Lives in exactly one place, so answering twice cannot be written.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The caller takes the answer whole.
    Whole(oneshot::Sender<Result<Completed, InvokeError>>),
    /// The caller takes the answer as it comes, and has heard nothing yet.
    Streamed(oneshot::Sender<Result<ResponseStream, InvokeError>>),
    /// The answer is on its way; what the caller has not heard is how it ends.
    Begun(oneshot::Sender<End>),
}

impl Reply {
    /// Answers. A caller that went away does not need it.
    pub(crate) fn complete(self, produced: Produced, log_tail: Option<Bytes>) {
        match self {
            Reply::Whole(caller) => {
                let outcome = match produced {
                    Produced::Success(payload) => Outcome::Success(payload),
                    Produced::Streamed { .. } => Outcome::Success(Bytes::new()),
                    Produced::Failed(failure) => Outcome::Error(failure.document),
                };
                let _ = caller.send(Ok(Completed { outcome, log_tail }));
            }
            Reply::Streamed(caller) => {
                let (payload, failure) = match produced {
                    Produced::Success(payload) => (Some(payload), None),
                    Produced::Streamed { .. } => (None, None),
                    Produced::Failed(failure) => (None, Some(failure)),
                };
                let _ = caller.send(Ok(ResponseStream::whole(payload, End { failure, log_tail })));
            }
            Reply::Begun(caller) => {
                let failure = match produced {
                    Produced::Success(_) | Produced::Streamed { .. } => None,
                    Produced::Failed(failure) => Some(failure),
                };
                let _ = caller.send(End { failure, log_tail });
            }
        }
    }

    /// Tells that the function was not reached, or lost.
    pub(crate) fn refuse(self, error: InvokeError) {
        match self {
            Reply::Whole(caller) => drop(caller.send(Err(error))),
            Reply::Streamed(caller) => drop(caller.send(Err(error))),
            Reply::Begun(caller) => drop(caller.send(End::lost(None))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn end(error_type: &str) -> End {
        let failure = Failure { error_type: error_type.to_owned(), document: Bytes::new() };
        End { failure: Some(failure), log_tail: None }
    }

    async fn parts(stream: ResponseStream) -> Vec<Part> {
        stream.collect().await
    }

    #[tokio::test]
    async fn chunks_that_are_there_come_before_the_end_that_is_known() {
        let (stream, chunks, ending) = ResponseStream::begin(None);
        chunks.send(Bytes::from_static(b"a")).await.unwrap();
        chunks.send(Bytes::from_static(b"b")).await.unwrap();
        ending.send(end("X")).unwrap();
        let expected = [Part::Chunk("a".into()), Part::Chunk("b".into()), Part::End(end("X"))];
        assert_eq!(parts(stream).await, expected);
        assert!(chunks.is_closed(), "the runtime's side must hear of it");
    }

    #[tokio::test]
    async fn a_stream_that_nobody_ends_has_failed() {
        let (stream, chunks, ending) = ResponseStream::begin(None);
        drop((chunks, ending));
        assert_eq!(parts(stream).await, [Part::End(End::lost(None))]);
    }

    #[tokio::test]
    async fn an_answer_in_one_piece_is_a_chunk_and_an_end() {
        let whole = ResponseStream::whole(Some("a".into()), End::default());
        assert!(!whole.is_streamed());
        assert_eq!(parts(whole).await, [Part::Chunk("a".into()), Part::End(End::default())]);
        let empty = ResponseStream::whole(Some(Bytes::new()), End::default());
        assert_eq!(parts(empty).await, [Part::End(End::default())]);
    }
}
