//! One environment's log: reads what its processes write, keeps what its level lets through, and hands it to the sink.
//!
//! Must not block and must not grow. When the sink has no room, records of the function are dropped and counted for a
//! while, which costs hardly more than reading them; the log itself says how many. The platform's lines wait instead.

use std::{borrow::Cow, cell::RefCell, io, mem, sync::Arc, time::Duration, time::UNIX_EPOCH};

use bytes::Bytes;
use hothouse_api::generated::LogFormat;
use jiff::Timestamp;
use tokio::{net::unix::pipe::Receiver, time::Instant};

use super::{
    filter::Filter,
    platform::{Context, Line, LogsDropped},
    recent::{Start, Tail},
    records::{Piece, Records},
};
use crate::{
    environment::InitializationType,
    executor::Dialer,
    ports::{Clock, LogAppender, LogEvent, LogSink, LogStream},
    runtime_api::Refusal,
    spec::FunctionSpec,
    telemetry::{Category, Subscription, Telemetry},
};

/// Events are handed on at the latest when this many have come together.
const BATCH: usize = 256;

/// Function records of one invocation that an observer is told, and their bytes.
const OBSERVED: usize = 1000;
const OBSERVED_BYTES: usize = 1 << 20;

/// After the sink had no room, records of the function are dropped for so long. Short of that, whatever the sink has
/// just worked off would be filled again at once, and a flood would keep it busy for good.
const SPELL: Duration = Duration::from_secs(1);

/// Lines of the platform that wait for room.
const WAITING: usize = 256;

/// Read at once; a pipe holds four of them.
const CHUNK: usize = 16 * 1024;

thread_local! {
    /// Where output is read to, before it is known how much it is.
    static SCRATCH: RefCell<Box<[u8; CHUNK]>> = RefCell::new(Box::new([0; CHUNK]));
}

/// How the log pipe is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    /// The reactor said that there is something; it learns from the read when there is no more.
    Announced,
    /// Without asking the reactor: at the time of a Runtime API call the pipe may have data that it has not heard of.
    Unannounced,
}

/// Whose output it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Runtime,
    /// The external extension of this number.
    Extension(usize),
}

/// What a read left in the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing, for now.
    Empty,
    /// Perhaps something: the limit was reached.
    More,
    /// Nothing, and every writer is gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct EnvironmentLog {
    spec: Arc<FunctionSpec>,
    initialization: InitializationType,
    /// Name of the stream.
    instance: String,
    appender: Box<dyn LogAppender>,
    clock: Arc<dyn Clock>,
    runtime: Stream,
    /// By number. Grows with the extensions that write.
    extensions: Vec<Stream>,
    keep: Keep,
}

/// What one pipe has given of records that are not complete.
#[derive(Debug, Default)]
struct Stream {
    records: Records,
    /// The present record is hidden, and so is the rest of it.
    hidden: bool,
}

/// What becomes of a record.
#[derive(Debug)]
struct Keep {
    filter: Filter,
    batch: Vec<LogEvent>,
    /// Where in the batch the platform's lines are.
    lines: Vec<usize>,
    tail: Option<Tail>,
    observed: Option<Observed>,
    start: Option<Start>,
    /// While someone listens to what is said here, or still may.
    telemetry: Option<Box<Telemetry>>,
    /// Since the sink had no room, until it is asked again.
    full_until: Option<Instant>,
    dropped: LogsDropped,
}

#[derive(Debug, Default)]
struct Observed {
    records: Vec<Bytes>,
    bytes: usize,
}

impl EnvironmentLog {
    pub(crate) fn new(
        spec: Arc<FunctionSpec>,
        initialization: InitializationType,
        stream: LogStream,
        sink: &dyn LogSink,
        clock: Arc<dyn Clock>,
    ) -> EnvironmentLog {
        let keep = Keep {
            filter: Filter::new(&spec.logging),
            batch: Vec::new(),
            lines: Vec::new(),
            tail: None,
            observed: None,
            start: Some(Start::default()),
            telemetry: None,
            full_until: None,
            dropped: LogsDropped::default(),
        };
        let instance = stream.name.clone();
        let appender = sink.open(stream);
        EnvironmentLog {
            spec,
            initialization,
            instance,
            appender,
            clock,
            runtime: Stream::default(),
            extensions: Vec::new(),
            keep,
        }
    }

    /// An invocation begins: keep its tail, if the caller wants it, and its records, if someone watches.
    pub(crate) fn begin(&mut self, tail: bool, observed: bool) {
        self.keep.tail = tail.then(Tail::default);
        self.keep.observed = observed.then(Observed::default);
    }

    /// Reads from the log pipe what is there, up to about `limit` bytes. What nobody waits for is read in smaller
    /// portions: a flood of short lines is much work, and others have their turn between two portions.
    pub(crate) fn read(&mut self, from: Source, pipe: &Receiver, how: Read, limit: usize) -> Drained {
        let limit = match how {
            Read::Announced => limit.min(CHUNK),
            Read::Unannounced => limit,
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut total = 0;
            while total < limit {
                let read = match how {
                    Read::Announced => pipe.try_read(&mut scratch[..]),
                    Read::Unannounced => rustix::io::read(pipe, &mut scratch[..]).map_err(io::Error::from),
                };
                match read {
                    Ok(0) => return Drained::Closed,
                    Ok(count) => {
                        total += count;
                        self.feed(from, &scratch[..count]);
                        if count < CHUNK && matches!(how, Read::Unannounced) {
                            return Drained::Empty;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Drained::Empty,
                }
            }
            Drained::More
        })
    }

    fn feed(&mut self, from: Source, bytes: &[u8]) {
        if self.keep.full_until.is_some_and(|until| until <= Instant::now()) {
            self.keep.full_until = None;
            self.say_drops();
        }
        let timestamp_ms = self.now_ms();
        let EnvironmentLog { runtime, extensions, keep, appender, .. } = self;
        let (Stream { records, hidden }, category) = match from {
            Source::Runtime => (runtime, Category::Function),
            Source::Extension(number) => {
                if extensions.len() <= number {
                    extensions.resize_with(number + 1, Stream::default);
                }
                (&mut extensions[number], Category::Extension)
            }
        };
        records.feed(bytes, &mut |piece| {
            keep.record(&piece, category, hidden, timestamp_ms);
            if keep.batch.len() >= BATCH {
                keep.flush(&mut **appender);
            }
        });
    }

    /// Half a line, or what there is of a frame: its writer waits for the next invocation, or is gone.
    fn finish_records(&mut self) {
        let timestamp_ms = self.now_ms();
        let EnvironmentLog { runtime, extensions, keep, .. } = self;
        let runtime = std::iter::once((runtime, Category::Function));
        let extensions = extensions.iter_mut().map(|stream| (stream, Category::Extension));
        for (Stream { records, hidden }, category) in runtime.chain(extensions) {
            records.finish(&mut |piece| keep.record(&piece, category, hidden, timestamp_ms));
        }
    }

    /// The processes are gone and their output has been read.
    pub(crate) fn processes_ended(&mut self) {
        self.finish_records();
        self.say_drops();
    }

    /// A line of the platform.
    pub(crate) fn line(&mut self, line: &Line, max_memory_mb: u32) {
        if matches!(line, Line::End { .. }) {
            // What the function wrote belongs to the invocation, with a newline or without.
            self.finish_records();
        }
        self.say_drops();
        self.say(line, max_memory_mb);
    }

    fn say(&mut self, line: &Line, max_memory_mb: u32) {
        let timestamp_ms = self.now_ms();
        let (keep, context) = self.speaker(timestamp_ms, max_memory_mb);
        if let Some(text) = line.say(&context) {
            keep.platform(text, timestamp_ms);
        }
        if matches!(line, Line::InitStart { .. }) {
            // Whoever listened before is gone with the processes before.
            keep.telemetry = Some(Box::new(Telemetry::new(context.spec.logging.format == LogFormat::Json)));
        }
        if let Some(telemetry) = &mut keep.telemetry {
            telemetry.platform(context.now, &line.record(&context));
            if let Some(fault) = line.fault() {
                telemetry.platform(context.now, &fault);
            }
            if matches!(line, Line::InitReport { .. }) && !telemetry.close() {
                keep.telemetry = None;
            }
        }
    }

    /// The log tells what is not in it.
    fn say_drops(&mut self) {
        let dropped = mem::take(&mut self.keep.dropped);
        if dropped.records > 0 {
            self.appender.dropped(dropped.records, dropped.bytes);
            let timestamp_ms = self.now_ms();
            let (keep, context) = self.speaker(timestamp_ms, 0);
            keep.platform(dropped.say(&context), timestamp_ms);
        }
    }

    fn speaker(&mut self, timestamp_ms: i64, max_memory_mb: u32) -> (&mut Keep, Context<'_>) {
        let EnvironmentLog { spec, initialization, instance, keep, .. } = self;
        let now = moment(timestamp_ms);
        (keep, Context { spec, initialization: *initialization, instance, max_memory_mb, now })
    }

    // === telemetry ===

    /// An extension subscribes, as long as INIT lasts. Gives the line that says so, unless it was known.
    pub(crate) fn subscribe(
        &mut self,
        extension: &str,
        subscription: Subscription,
        dialer: Arc<dyn Dialer>,
    ) -> Result<Option<Line>, Refusal> {
        let Some(telemetry) = &mut self.keep.telemetry else { return Err(subscription.api.closed()) };
        let (api, types) = (subscription.api, subscription.types.clone());
        let news = telemetry.subscribe(extension, subscription, dialer)?;
        Ok(news.then(|| Line::Subscription { api, name: extension.to_owned(), types }))
    }

    /// Whether the environment's processes run, and can listen.
    pub(crate) fn set_awake(&mut self, awake: bool) {
        if let Some(telemetry) = &mut self.keep.telemetry {
            telemetry.set_awake(awake);
        }
    }

    /// The environment's processes are asked to end: whoever listens hears at once what there is to hear.
    pub(crate) fn drain(&self) {
        if let Some(telemetry) = &self.keep.telemetry {
            telemetry.drain();
        }
    }

    /// Hands the collected events to the sink.
    pub(crate) fn flush(&mut self) {
        self.keep.flush(&mut *self.appender);
    }

    /// The last 4 KB of the invocation's log, if it was asked for.
    pub(crate) fn tail(&mut self) -> Option<Bytes> {
        self.keep.tail.take().map(Tail::into_bytes)
    }

    /// The function's records of the invocation, if someone watches.
    pub(crate) fn observed(&mut self) -> Vec<Bytes> {
        self.keep.observed.take().unwrap_or_default().records
    }

    /// INIT succeeded: its log is not needed beside the sink any more.
    pub(crate) fn started(&mut self) {
        self.keep.start = None;
    }

    /// The last lines of an environment that has not come up yet.
    pub(crate) fn start_lines(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.keep.start.iter().flat_map(Start::lines)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
    }
}

fn moment(timestamp_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(timestamp_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Keep {
    /// A record of a process, or a part of one.
    fn record(&mut self, piece: &Piece<'_>, category: Category, hidden: &mut bool, timestamp_ms: i64) {
        if let Some(telemetry) = &mut self.telemetry {
            // Unverified: levels are about what reaches the log, whoever listens gets all.
            telemetry.output(moment(timestamp_ms), category, piece.bytes);
        }
        if !piece.continued {
            *hidden = self.filter.hides(piece);
        }
        if *hidden {
            return;
        }
        let full = self.full_until.is_some();
        if full {
            self.count_dropped(piece.bytes.len());
            // The flood's own speed: nothing is made of a record that nobody sees.
            if self.tail.is_none() && self.observed.is_none() && self.start.is_none() {
                return;
            }
        }
        let message = Bytes::copy_from_slice(piece.bytes);
        if let Some(observed) = &mut self.observed
            && observed.records.len() < OBSERVED
            && observed.bytes < OBSERVED_BYTES
        {
            observed.bytes += message.len();
            observed.records.push(message.clone());
        }
        self.show(&message);
        if !full {
            self.batch.push(LogEvent { timestamp_ms, message });
        }
    }

    /// A record of the platform, which gets its newline here.
    fn platform(&mut self, mut text: String, timestamp_ms: i64) {
        text.push('\n');
        let message = Bytes::from(text);
        self.show(&message);
        self.lines.push(self.batch.len());
        self.batch.push(LogEvent { timestamp_ms, message });
    }

    fn show(&mut self, message: &Bytes) {
        if let Some(tail) = &mut self.tail {
            tail.push(message.clone());
        }
        if let Some(start) = &mut self.start {
            start.push(message.clone());
        }
    }

    fn count_dropped(&mut self, bytes: usize) {
        self.dropped.records += 1;
        self.dropped.bytes += bytes as u64;
    }

    fn flush(&mut self, appender: &mut dyn LogAppender) {
        if self.batch.is_empty() {
            return;
        }
        match appender.append(mem::take(&mut self.batch)) {
            Ok(()) => self.lines.clear(),
            Err(refused) => self.wait_for_room(refused),
        }
    }

    /// There is no room: what the platform says waits, what the function says is dropped.
    fn wait_for_room(&mut self, refused: Vec<LogEvent>) {
        self.full_until = Some(Instant::now() + SPELL);
        let lines = mem::take(&mut self.lines);
        let mut waiting = lines.iter().copied().peekable();
        for (at, event) in refused.into_iter().enumerate() {
            let platform = waiting.next_if_eq(&at).is_some();
            if platform && self.batch.len() < WAITING {
                self.lines.push(self.batch.len());
                self.batch.push(event);
            } else {
                self.count_dropped(event.message.len());
            }
        }
    }
}

#[cfg(test)]
mod tests;
