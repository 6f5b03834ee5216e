//! Writes of a Runtime API connection: what a runtime does not wait for goes out with what it waits for.
//!
//! A client that asks for the next event together with its answer reads the acknowledgement only when the event is
//! there. Told at once, it would be woken for nothing, once for every invocation. Must not hold anything back from a
//! client that has not asked for the next event.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Writes of no more than this are put together.
const SMALL: usize = 1024;

/// Pieces of one write to the system; those that are left over follow in the next.
const PIECES: usize = 16;

/// What whoever answers requests tells the connection. Both belong to one task.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    shared: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The runtime waits for an event.
    waits_for_event: AtomicBool,
    /// What was answered is no news: whether the runtime has asked for more is to be seen first.
    may_be_last: AtomicBool,
}

impl Patience {
    /// From now on until it has an event the runtime waits for nothing else.
    pub(super) fn set_waiting_for_event(&self, waits: bool) {
        self.shared.waits_for_event.store(waits, Ordering::Relaxed);
    }

    /// The next answer is an acknowledgement, behind which a request may already stand.
    pub(super) fn acknowledges(&self) {
        self.shared.may_be_last.store(true, Ordering::Relaxed);
    }
}

/// A connection with what has been written to it and not been sent.
#[derive(Debug)]
pub(super) struct Held<C> {
    connection: C,
    patience: Patience,
    bytes: Vec<u8>,
}

impl<C> Held<C> {
    pub(super) fn new(connection: C, patience: Patience) -> Self {
        Self { connection, patience, bytes: Vec::new() }
    }
}

impl<C: AsyncWrite + Unpin> Held<C> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let sent = ready!(Pin::new(&mut self.connection).poll_write(context, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.bytes.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Held<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Held<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + length <= SMALL {
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
            return Poll::Ready(Ok(length));
        }
        let Self { connection, bytes, .. } = &mut *self;
        let mut all = [IoSlice::new(&[]); PIECES];
        let count = (parts.len() + 1).min(PIECES);
        all[0] = IoSlice::new(bytes);
        all[1..count].copy_from_slice(&parts[..count - 1]);
        let sent = ready!(Pin::new(connection).poll_write_vectored(context, &all[..count]))?;
        let (ours, theirs) = (sent.min(bytes.len()), sent.saturating_sub(bytes.len()));
        bytes.drain(..ours);
        if theirs > 0 || sent == 0 {
            return Poll::Ready(Ok(theirs));
        }
        // Only what had been held was sent, or a part of it: zero would say that no more can be.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.bytes.is_empty() {
            let Told { waits_for_event, may_be_last } = &*self.patience.shared;
            if waits_for_event.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            if may_be_last.swap(false, Ordering::Relaxed) {
                // The next request may have been read already; if it has not, this is sent then.
                context.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Response;
    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::mpsc,
        task::JoinSet,
        time::timeout,
    };

    use super::super::{Body, BodyLimits, Call, accepted, serve};

    const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: a\r\n\r\n";
    const ANSWER: &[u8] =
        b"POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";

    struct Client {
        connection: DuplexStream,
        calls: mpsc::Receiver<Call>,
        _server: JoinSet<()>,
    }

    impl Client {
        fn new() -> Self {
            let (connection, theirs) = duplex(1 << 20);
            let (calls_in, calls) = mpsc::channel(8);
            let limits = BodyLimits { buffered: 1 << 20, streamed: 1 << 20, shaped: false };
            let mut server = JoinSet::new();
            server.spawn(serve(Box::new(theirs), calls_in, limits));
            Self { connection, calls, _server: server }
        }

        async fn answered(&mut self, requests: &[&[u8]]) {
            self.connection.write_all(&requests.concat()).await.unwrap();
            let Some(Call::Response { body: Body::Whole(body), reply, .. }) = self.calls.recv().await else {
                panic!("a response was sent");
            };
            assert_eq!(body, "{}");
            reply.send(accepted()).unwrap();
        }

        /// What comes until nothing more does. The clock is paused: no time is lost with waiting.
        async fn read(&mut self) -> String {
            let mut read = Vec::new();
            let mut part = [0; 4096];
            while let Ok(count) = timeout(Duration::from_secs(1), self.connection.read(&mut part)).await {
                read.extend_from_slice(&part[..count.unwrap()]);
            }
            String::from_utf8(read).unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn acknowledgement_comes_with_the_event_that_was_asked_for() {
        let mut client = Client::new();
        for _ in 0..3 {
            client.answered(&[ANSWER, NEXT]).await;
            let Some(Call::Next(next)) = client.calls.recv().await else { panic!("an event was asked for") };
            assert_eq!(client.read().await, "");
            next.send(Response::new(Full::new(Bytes::from_static(b"the event")))).unwrap();
            let read = client.read().await;
            let (accepted, event) = (read.find("202 Accepted").unwrap(), read.find("200 OK").unwrap());
            assert!(accepted < event && read.ends_with("the event"), "{read}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn acknowledgement_that_is_waited_for_comes_at_once() {
        let mut client = Client::new();
        client.answered(&[ANSWER]).await;
        assert!(client.read().await.starts_with("HTTP/1.1 202 Accepted"));
    }

    #[tokio::test(start_paused = true)]
    async fn large_event_follows_what_was_held() {
        let mut client = Client::new();
        client.answered(&[ANSWER, NEXT]).await;
        let Some(Call::Next(next)) = client.calls.recv().await else { panic!("an event was asked for") };
        assert_eq!(client.read().await, "");
        let event: Vec<u8> = (0..300_000_u32).map(|number| b'a' + (number % 26) as u8).collect();
        next.send(Response::new(Full::new(event.clone().into()))).unwrap();
        let read = client.read().await;
        assert!(read.starts_with("HTTP/1.1 202 Accepted"));
        assert!(read.as_bytes().ends_with(&event));
    }
}
