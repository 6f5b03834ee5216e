//! The handle of the log store, and the one thread that owns its database.
//!
//! Each request takes along what was appended before it, so a read sees all events that were accepted before. Must not
//! know the API's wire format.
//!
//! Many environments share its memory: a stream that floods gets a part of what is free, and never what a quiet one needs.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use hothouse_execution::{
    chain,
    ports::{Clock, LogAppender, LogEvent, LogSink, LogStream},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::database::{Database, StoreError};

/// Requests that may wait for the thread.
const QUEUE_LENGTH: usize = 4096;
/// Bytes of events that may wait for the thread, or be with it.
const QUEUE_BYTES: usize = 32 << 20;
/// A stream may have this part of what the others leave free. However many streams flood, some room is always left.
const STREAM_SHARE: usize = 4;
/// What an event costs besides its message.
const EVENT_OVERHEAD: usize = 64;
/// After the first event of a batch, others may join it for so long.
const GATHER: Duration = Duration::from_millis(10);
/// How often expired events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often at most the user is told that events are lost.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Where the log events live, and how many.
#[derive(Debug, Clone)]
pub(crate) struct LogStoreConfig {
    /// Directory of `logs.db`; nothing is written to disk without one.
    pub(crate) directory: Option<PathBuf>,
    /// Bytes that the database may use; the oldest events of the largest group make room.
    pub(crate) maximum_bytes: u64,
}

/// Cheap handle of the log store. All clones must be gone, or [`LogStore::close`] called, for its thread to end.
#[derive(Clone)]
pub(crate) struct LogStore {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

struct Shared {
    appended: Mutex<Appended>,
    dropped: AtomicU64,
    evicted: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

/// Events that have not been stored yet. The next request, or a moment, takes them along.
#[derive(Default)]
struct Appended {
    batches: Vec<Batch>,
    /// Of these batches, and of those that are being stored.
    bytes: usize,
    /// The thread has ended: nobody takes anything any more.
    closed: bool,
}

/// Events of one stream.
struct Batch {
    stream: Arc<LogStream>,
    events: Vec<LogEvent>,
    bytes: usize,
    /// What the stream has waiting, this batch included.
    waiting: Arc<AtomicUsize>,
}

type Work = Box<dyn FnOnce(&mut Database) + Send>;

enum Request {
    /// There are events of functions' environments.
    Appended,
    /// A call of the API; it answers by itself.
    Run(Work),
    /// The service stops: commit what came before, then end.
    Close(oneshot::Sender<()>),
}

impl LogStore {
    /// Opens or creates the store and starts its thread.
    ///
    /// # Errors
    /// The database cannot be opened, or a newer Hothouse wrote it.
    pub(crate) fn open(config: LogStoreConfig, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let database = Database::open(config.directory.as_deref(), config.maximum_bytes)?;
        let (requests, queue) = mpsc::channel(QUEUE_LENGTH);
        let shared = Arc::new(Shared {
            appended: Mutex::default(),
            dropped: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            warned: Mutex::default(),
        });
        let writer = Writer { database, queue, shared: shared.clone(), clock: clock.clone() };
        thread::Builder::new().name("logs".into()).spawn(move || writer.run()).map_err(StoreError::Thread)?;
        Ok(LogStore { requests, shared, clock })
    }

    /// Commits everything that was accepted and ends the thread. Later calls fail with [`StoreError::Closed`].
    pub(crate) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // An error means that the thread ended already, which is what was asked for.
            let _ = wait.await;
        }
        let (dropped, evicted) = (self.dropped(), self.evicted());
        if dropped + evicted > 0 {
            tracing::warn!(dropped, evicted, "log events were lost");
        }
    }

    /// How many events of functions were dropped because the queue was full or the database failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How many events made room for newer ones.
    fn evicted(&self) -> u64 {
        self.shared.evicted.load(Ordering::Relaxed)
    }

    /// Milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        milliseconds(&*self.clock)
    }

    /// Runs `work` on the thread, after everything that was accepted before it.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let work: Work = Box::new(move |database| {
            // The caller may have gone away; the work is done all the same.
            let _ = answer.send(work(database));
        });
        self.requests.send(Request::Run(work)).await.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
    }
}

impl LogSink for LogStore {
    fn open(&self, stream: LogStream) -> Box<dyn LogAppender> {
        Box::new(Appender {
            stream: Arc::new(stream),
            waiting: Arc::default(),
            requests: self.requests.clone(),
            shared: self.shared.clone(),
        })
    }
}

/// The way in for one environment's events.
struct Appender {
    stream: Arc<LogStream>,
    waiting: Arc<AtomicUsize>,
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

impl LogAppender for Appender {
    fn append(&mut self, events: Vec<LogEvent>) -> Result<(), Vec<LogEvent>> {
        let bytes =
            events.iter().map(|event| event.message.len()).sum::<usize>() + EVENT_OVERHEAD * events.len();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let mut appended = self.shared.appended();
        let free = QUEUE_BYTES.saturating_sub(appended.bytes);
        if appended.closed || waiting + bytes > free / STREAM_SHARE {
            return Err(events);
        }
        // Waking the thread costs more than an invocation may: it is told of the first events only, and waits a
        // little for those that follow.
        let first = appended.batches.is_empty();
        appended.bytes += bytes;
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let (stream, waiting) = (self.stream.clone(), self.waiting.clone());
        appended.batches.push(Batch { stream, events, bytes, waiting });
        drop(appended);
        if first {
            // A full queue is being worked on: whatever is in it takes the events along.
            let _ = self.requests.try_send(Request::Appended);
        }
        Ok(())
    }

    fn dropped(&mut self, records: u64, bytes: u64) {
        self.shared.dropped.fetch_add(records, Ordering::Relaxed);
        if self.shared.may_warn() {
            let (group, stream) = (&self.stream.group, &self.stream.name);
            tracing::warn!(
                group,
                stream,
                records,
                bytes,
                "a function logs faster than its log can be stored: records were dropped"
            );
        }
    }
}

impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender")
            .field("stream", &self.stream)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("dropped", &self.shared.dropped)
            .field("evicted", &self.shared.evicted)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn appended(&self) -> MutexGuard<'_, Appended> {
        // Nothing that is done under this lock can leave the data half-changed.
        self.appended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to tell the user again that events are lost. The sum is told at the end.
    fn may_warn(&self) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let may = warned.is_none_or(|last| now >= last + WARN_EVERY);
        if may {
            *warned = Some(now);
        }
        may
    }
}

// === the thread ===

struct Writer {
    database: Database,
    queue: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    fn run(self) {
        // A runtime of its own, because only a runtime can wait for the queue and for a time at once.
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => tracing::error!("failed to start the log store's timer: {error}"),
        }
    }

    async fn serve(mut self) {
        let mut sweep_at = Instant::now();
        loop {
            let request = tokio::select! {
                biased;
                () = tokio::time::sleep_until(sweep_at) => {
                    sweep_at = if self.sweep() { Instant::now() } else { Instant::now() + SWEEP_EVERY };
                    // A sweep that is not finished lets waiting requests pass.
                    match self.queue.try_recv() {
                        Ok(request) => request,
                        Err(_) => continue,
                    }
                }
                request = self.queue.recv() => match request {
                    Some(request) => request,
                    None => return,
                },
            };
            if let Some(closed) = self.perform(request).await {
                // Senders find a closed queue from here on, before the caller of `close` goes on.
                drop(self);
                let _ = closed.send(());
                return;
            }
        }
    }

    /// Performs a request. Events that were appended before it are stored first.
    async fn perform(&mut self, request: Request) -> Option<oneshot::Sender<()>> {
        let request = match request {
            Request::Appended => match tokio::time::timeout(GATHER, self.queue.recv()).await {
                Ok(Some(request)) => request,
                Ok(None) | Err(_) => Request::Appended,
            },
            other => other,
        };
        let batches = {
            let mut appended = self.shared.appended();
            appended.closed = matches!(request, Request::Close(_));
            std::mem::take(&mut appended.batches)
        };
        self.commit(batches);
        match request {
            Request::Appended => None,
            Request::Run(work) => {
                work(&mut self.database);
                self.settle();
                None
            }
            Request::Close(closed) => Some(closed),
        }
    }

    fn commit(&mut self, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        let now = milliseconds(&*self.clock);
        let events = batches.iter().map(|batch| (&*batch.stream, &batch.events[..]));
        if let Err(error) = self.database.append(events, now) {
            let count = batches.iter().map(|batch| batch.events.len() as u64).sum();
            self.shared.dropped.fetch_add(count, Ordering::Relaxed);
            if self.shared.may_warn() {
                tracing::warn!(events = count, "failed to store log events: {}", chain(&error));
            }
        }
        let mut bytes = 0;
        for batch in batches {
            bytes += batch.bytes;
            batch.waiting.fetch_sub(batch.bytes, Ordering::Relaxed);
        }
        self.shared.appended().bytes -= bytes;
        self.settle();
    }

    /// After a change: keeps the size.
    fn settle(&mut self) {
        match self.database.evict() {
            Ok(0) => {}
            Ok(evicted) => {
                if self.shared.evicted.fetch_add(evicted, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        "the log store is full: the oldest events of the largest log group make room"
                    );
                }
            }
            Err(error) => tracing::warn!("failed to make room in the log store: {}", chain(&error)),
        }
    }

    /// Deletes one portion of the expired events; `true` if there may be more.
    fn sweep(&mut self) -> bool {
        let now = milliseconds(&*self.clock);
        self.database.delete_expired(now).unwrap_or_else(|error| {
            tracing::warn!("failed to delete expired log events: {}", chain(&error));
            false
        })
    }
}

fn milliseconds(clock: &dyn Clock) -> i64 {
    let since = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
