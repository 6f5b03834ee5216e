//! Delivery to one subscriber: batches by HTTP or TCP, one at a time, again until they have arrived.
//!
//! Runs apart from the environment's task, which only puts events into the [`Outbox`]. Must not decide what is sent.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Category,
    buffer::{Batch, Buffer},
    event::{Content, Event},
    subscription::{Destination, Schema, Subscription},
};
use crate::{
    executor::Dialer,
    logs::platform::{LogsDropped, Record},
};

/// Pauses between attempts grow from the first to the second.
const BACK_OFF: Duration = Duration::from_millis(10);
const BACK_OFF_MOST: Duration = Duration::from_secs(1);

/// A batch that a listener refuses as often as this is lost: it would keep all others back for ever. One for which there is
/// no listener waits. Unverified: AWS says that it tries again, not how often.
const REFUSALS: u32 = 5;

/// Of an answer, only its status matters.
const ANSWER: usize = 64 * 1024;

/// What is to be sent to one subscriber. The environment's task fills it, [`run`] empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    schema: Schema,
    platform: bool,
    content: Mutex<Inside>,
    changed: Notify,
}

#[derive(Debug)]
struct Inside {
    buffer: Buffer,
    awake: bool,
}

impl Outbox {
    pub(crate) fn new(subscription: &Subscription, awake: bool) -> Outbox {
        let buffer = Buffer::new(subscription.buffering, &subscription.destination);
        Outbox {
            schema: subscription.schema,
            platform: subscription.types.contains(&Category::Platform),
            content: Mutex::new(Inside { buffer, awake }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn push(&self, event: &Event<'_>, schema: Schema, now: Instant) {
        let mut inside = self.inside();
        let before = inside.buffer.due();
        let platform = event.category() == Category::Platform;
        inside.buffer.push(platform, event.size(), now, |body| event.write(schema, body));
        let news = inside.buffer.due() != before;
        drop(inside);
        if news {
            self.changed.notify_one();
        }
    }

    pub(crate) fn set_awake(&self, awake: bool) {
        self.change(|inside| inside.awake = awake);
    }

    pub(crate) fn drain(&self) {
        self.change(|inside| inside.buffer.drain());
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        change(&mut self.inside());
        self.changed.notify_one();
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing that is done under this lock can leave it half-changed.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch.
    async fn batch(&self) -> Batch {
        loop {
            let now = Instant::now();
            let due = {
                let mut inside = self.inside();
                let due = inside.buffer.due().filter(|_| inside.awake);
                if due.is_some_and(|due| due <= now)
                    && let Some(batch) =
                        inside.buffer.take(now, |dropped, body| self.say_dropped(dropped, body))
                {
                    return batch;
                }
                due
            };
            match due {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Waits until the environment's processes run.
    async fn awake(&self) {
        while !self.inside().awake {
            self.changed.notified().await;
        }
    }

    fn say_dropped(&self, dropped: LogsDropped, body: &mut Vec<u8>) -> bool {
        let record = Record { kind: "platform.logsDropped", content: dropped.record() };
        let event = Event { time: Timestamp::now(), content: Content::Platform(&record) };
        self.platform && event.write(self.schema, body)
    }
}

/// Delivers what comes into the outbox, for ever.
pub(crate) async fn run(outbox: Arc<Outbox>, destination: Destination, dialer: Arc<dyn Dialer>) {
    let mut listener = Listener::new(destination, dialer);
    loop {
        let batch = outbox.batch().await;
        let (mut pause, mut refusals) = (BACK_OFF, 0);
        loop {
            match listener.send(&batch.body).await {
                Ok(()) => break,
                Err(Problem::Refused(status)) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        tracing::debug!(%status, "a listener for telemetry does not want {} events", batch.items);
                        outbox.inside().buffer.lose(&batch);
                        break;
                    }
                }
                Err(Problem::Io(error)) => {
                    tracing::trace!(%error, "failed to deliver telemetry; it is tried again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF_MOST);
            outbox.awake().await;
        }
    }
}

/// Why a batch has not arrived.
#[derive(Debug)]
enum Problem {
    Io(io::Error),
    Refused(StatusCode),
}

/// Who listens, and the connection to it that served last.
enum Listener {
    Http { target: Target, dialer: Arc<dyn Dialer>, open: Option<HttpConnection> },
    Tcp { port: u16, dialer: Arc<dyn Dialer>, open: Option<TcpStream> },
}

/// Where requests go.
struct Target {
    put: bool,
    host: String,
    port: u16,
    path: String,
}

struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    /// Makes progress only while there is a request.
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Listener {
    fn new(destination: Destination, dialer: Arc<dyn Dialer>) -> Listener {
        match destination {
            Destination::Http { put, host, port, path } => {
                Listener::Http { target: Target { put, host, port, path }, dialer, open: None }
            }
            Destination::Tcp { port } => Listener::Tcp { port, dialer, open: None },
        }
    }

    async fn send(&mut self, body: &Bytes) -> Result<(), Problem> {
        let reused = match self {
            Listener::Http { open, .. } => open.is_some(),
            Listener::Tcp { open, .. } => open.is_some(),
        };
        match self.try_send(body).await {
            // The listener may have closed it since; that alone is no reason to pause.
            Err(Problem::Io(_)) if reused => self.try_send(body).await,
            result => result,
        }
    }

    async fn try_send(&mut self, body: &Bytes) -> Result<(), Problem> {
        match self {
            Listener::Http { target, dialer, open } => {
                let connection = match open.take() {
                    Some(connection) => connection,
                    None => HttpConnection::open(&**dialer, target.port).await.map_err(Problem::Io)?,
                };
                let (status, connection) =
                    connection.exchange(target.request(body)?).await.map_err(Problem::Io)?;
                *open = connection;
                if status.is_client_error() || status.is_server_error() {
                    return Err(Problem::Refused(status));
                }
            }
            Listener::Tcp { port, dialer, open } => {
                let mut stream = match open.take() {
                    Some(stream) => stream,
                    None => dialer.connect(*port).await.map_err(Problem::Io)?,
                };
                stream.write_all(body).await.map_err(Problem::Io)?;
                *open = Some(stream);
            }
        }
        Ok(())
    }
}

impl Target {
    fn request(&self, body: &Bytes) -> Result<Request<Full<Bytes>>, Problem> {
        Request::builder()
            .method(if self.put { Method::PUT } else { Method::POST })
            .uri(self.path.as_str())
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|error| Problem::Io(io::Error::other(error)))
    }
}

impl HttpConnection {
    async fn open(dialer: &dyn Dialer, port: u16) -> io::Result<HttpConnection> {
        let stream = dialer.connect(port).await?;
        // Small batches must not wait for more.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(HttpConnection { sender, connection: Box::pin(connection) })
    }

    /// Sends a request; gives the status of its answer, and the connection back if it serves again.
    async fn exchange(
        self,
        request: Request<Full<Bytes>>,
    ) -> io::Result<(StatusCode, Option<HttpConnection>)> {
        let HttpConnection { mut sender, mut connection } = self;
        let (status, alive) = {
            let mut exchange = pin!(async {
                sender.ready().await?;
                let (parts, answer) = sender.send_request(request).await?.into_parts();
                // Read to its end, so that the connection serves again; whatever it says.
                let whole = Limited::new(answer, ANSWER).collect().await.is_ok();
                Ok::<_, hyper::Error>((parts.status, whole))
            });
            let answered = tokio::select! {
                biased;
                answer = &mut exchange => answer,
                // It ends after the last answer, which is there then.
                _ = connection.as_mut() => exchange.await.map(|(status, _)| (status, false)),
            };
            answered.map_err(io::Error::other)?
        };
        let again = alive && !sender.is_closed();
        Ok((status, again.then_some(HttpConnection { sender, connection })))
    }
}

#[cfg(test)]
mod tests;
