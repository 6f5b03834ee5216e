//! The handle of the log store, and the one thread that owns its database.
//!
//! Each request takes along what was appended before it, so a read sees all events that were accepted before. Must not
//! know the API's wire format.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use hothouse_execution::{
    chain,
    ports::{Clock, LogEvent, LogSink, LogStream},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::database::{Database, NewEvent, StoreError};

/// Requests that may wait for the thread.
const QUEUE_LENGTH: usize = 4096;
/// Bytes of messages that may wait for the thread.
const QUEUE_BYTES: usize = 32 << 20;
/// What an event costs besides its message.
const EVENT_OVERHEAD: usize = 64;
/// After the first event of a batch, others may join it for so long.
const GATHER: Duration = Duration::from_millis(10);
/// An event of CloudWatch Logs is at most 256 KB, 26 of them bookkeeping.
const EVENT_BYTES: usize = 262_144 - 26;
/// How often expired events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Where the log events live, and how many.
#[derive(Debug, Clone)]
pub(crate) struct LogStoreConfig {
    /// Directory of `logs.db`; nothing is written to disk without one.
    pub(crate) directory: Option<PathBuf>,
    /// Bytes that the database may use; the oldest events make room.
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
    drop_reported: AtomicBool,
}

/// Events that have not been stored yet. The next request, or a moment, takes them along.
#[derive(Default)]
struct Appended {
    batch: Vec<(LogStream, Vec<LogEvent>)>,
    bytes: usize,
    /// The thread has ended: nobody takes anything any more.
    closed: bool,
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
            drop_reported: AtomicBool::new(false),
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
    fn dropped(&self) -> u64 {
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
    fn append(&self, stream: &LogStream, events: Vec<LogEvent>) {
        let bytes =
            events.iter().map(|event| event.message.len()).sum::<usize>() + EVENT_OVERHEAD * events.len();
        let mut appended = self.shared.appended();
        if appended.closed || appended.bytes + bytes > QUEUE_BYTES {
            let why = if appended.closed {
                "the store is closed"
            } else {
                "they come faster than the store takes them"
            };
            drop(appended);
            self.shared.count_dropped(events.len() as u64, why);
            return;
        }
        // Waking the thread costs more than an invocation may: it is told of the first events only, and waits a
        // little for those that follow.
        let first = appended.batch.is_empty();
        appended.bytes += bytes;
        appended.batch.push((stream.clone(), events));
        drop(appended);
        if first {
            // A full queue is being worked on: whatever is in it takes the events along.
            let _ = self.requests.try_send(Request::Appended);
        }
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

    fn count_dropped(&self, count: u64, reason: &str) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        if !self.drop_reported.swap(true, Ordering::Relaxed) {
            tracing::warn!("dropping log events: {reason}; further drops are only counted");
        }
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
        let batch = {
            let mut appended = self.shared.appended();
            appended.bytes = 0;
            appended.closed = matches!(request, Request::Close(_));
            std::mem::take(&mut appended.batch)
        };
        self.commit(batch);
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

    fn commit(&mut self, batch: Vec<(LogStream, Vec<LogEvent>)>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.iter().map(|(_, events)| events.len() as u64).sum();
        let now = milliseconds(&*self.clock);
        if let Err(error) = self.database.append(batch.into_iter().map(split_large), now) {
            self.shared.count_dropped(count, &chain(&error));
        }
        self.settle();
    }

    /// After a change: keeps the size.
    fn settle(&mut self) {
        match self.database.evict() {
            Ok(0) => {}
            Ok(evicted) => {
                if self.shared.evicted.fetch_add(evicted, Ordering::Relaxed) == 0 {
                    tracing::warn!("the log store is full: the oldest events make room for new ones");
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

/// Cuts records that are too large for one event, at a character's start where the text is UTF-8.
fn split_large((stream, events): (LogStream, Vec<LogEvent>)) -> (LogStream, Vec<NewEvent>) {
    let mut split = Vec::with_capacity(events.len());
    for LogEvent { timestamp_ms, mut message } in events {
        while message.len() > EVENT_BYTES {
            let is_start = |&at: &usize| message[at] & 0b1100_0000 != 0b1000_0000;
            let end = (EVENT_BYTES - 3..=EVENT_BYTES).rev().find(is_start).unwrap_or(EVENT_BYTES);
            split.push(NewEvent { timestamp_ms, message: message.split_to(end) });
        }
        split.push(NewEvent { timestamp_ms, message });
    }
    (stream, split)
}

#[cfg(test)]
mod tests;
