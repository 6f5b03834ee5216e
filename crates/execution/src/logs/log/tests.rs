//! The log over a real pipe and a sink whose room the test decides.

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hothouse_api::generated::{ApplicationLogLevel, LogFormat};

use super::*;
use crate::{
    logs::{
        platform::{Phase, Status},
        records::EVENT_BYTES,
    },
    ports::SystemClock,
};

#[derive(Debug, Default, Clone)]
struct Sink(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    full: AtomicBool,
    events: Mutex<Vec<LogEvent>>,
    dropped: Mutex<(u64, u64)>,
}

impl Sink {
    fn set_full(&self, full: bool) {
        self.0.full.store(full, Ordering::Relaxed);
    }

    /// The messages so far, as text.
    fn take(&self) -> Vec<String> {
        let events = mem::take(&mut *self.0.events.lock().unwrap());
        events.iter().map(|event| String::from_utf8_lossy(&event.message).into_owned()).collect()
    }
}

impl LogSink for Sink {
    fn open(&self, _: LogStream) -> Box<dyn LogAppender> {
        Box::new(self.clone())
    }
}

impl LogAppender for Sink {
    fn append(&mut self, events: Vec<LogEvent>) -> Result<(), Vec<LogEvent>> {
        if self.0.full.load(Ordering::Relaxed) {
            return Err(events);
        }
        self.0.events.lock().unwrap().extend(events);
        Ok(())
    }

    fn dropped(&mut self, records: u64, bytes: u64) {
        let mut dropped = self.0.dropped.lock().unwrap();
        *dropped = (dropped.0 + records, dropped.1 + bytes);
    }
}

fn log(format: LogFormat, level: Option<ApplicationLogLevel>) -> (EnvironmentLog, Sink) {
    let mut spec = crate::logs::platform::tests::spec(format, None);
    spec.logging.application_level = level;
    let stream = LogStream {
        account: spec.account,
        region: spec.region.clone(),
        group: spec.logging.group.clone(),
        name: "s".to_owned(),
    };
    let sink = Sink::default();
    let clock = Arc::new(SystemClock);
    let mut log = EnvironmentLog::new(Arc::new(spec), InitializationType::OnDemand, stream, &sink, clock);
    log.started();
    (log, sink)
}

fn text() -> (EnvironmentLog, Sink) {
    log(LogFormat::Text, None)
}

fn end() -> Line {
    Line::End { request: REQUEST.parse().unwrap() }
}

const REQUEST: &str = "8d3e4a25-9c43-4c8f-8d43-0d7d4b1b2f6a";
const END: &str = "END RequestId: 8d3e4a25-9c43-4c8f-8d43-0d7d4b1b2f6a\n";

#[tokio::test]
async fn a_pipe_is_read_up_to_the_limit_and_to_its_end() {
    let (mut log, sink) = text();
    let (reader, writer) = io::pipe().unwrap();
    let pipe = Receiver::from_owned_fd(reader.into()).unwrap();
    let mut writer = writer;
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Unannounced, 1 << 20), Drained::Empty);
    writer.write_all(&[b'\n'; 40_000]).unwrap();
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Unannounced, CHUNK), Drained::More);
    pipe.readable().await.unwrap();
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Announced, 1 << 20), Drained::More);
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Announced, 1 << 20), Drained::Empty);
    writer.write_all(b"last").unwrap();
    drop(writer);
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Unannounced, 1 << 20), Drained::Empty);
    assert_eq!(log.read(Source::Runtime, &pipe, Read::Unannounced, 1 << 20), Drained::Closed);
    log.processes_ended();
    log.flush();
    let found = sink.take();
    assert_eq!((found.len(), found[40_000].as_str()), (40_001, "last"));
}

#[tokio::test]
async fn half_a_line_belongs_to_its_invocation() {
    let (mut log, sink) = text();
    log.begin(true, false);
    log.feed(Source::Runtime, b"whole\nhalf");
    log.line(&end(), 0);
    assert_eq!(log.tail().unwrap(), "whole\nhalf\nEND RequestId: 8d3e4a25-9c43-4c8f-8d43-0d7d4b1b2f6a\n");
    log.feed(Source::Runtime, b" of the next\n");
    log.flush();
    assert_eq!(sink.take(), ["whole\n", "half", END, " of the next\n"]);
}

#[tokio::test]
async fn levels_filter_in_json_only() {
    const LINES: &[u8] = b"plain\n{\"level\":\"DEBUG\",\"time\":\"2024-11-02T16:51:31Z\"}\n";
    let (mut log, sink) = text();
    log.feed(Source::Runtime, LINES);
    log.flush();
    assert_eq!(sink.take().len(), 2);

    let (mut log, sink) = self::log(LogFormat::Json, None);
    log.begin(true, true);
    log.feed(Source::Runtime, LINES);
    log.flush();
    assert_eq!(sink.take(), ["plain\n"]);
    assert_eq!(log.tail().unwrap(), "plain\n");
    assert_eq!(log.observed(), ["plain\n"]);

    let (mut log, sink) = self::log(LogFormat::Json, Some(ApplicationLogLevel::Warn));
    // A hidden record stays hidden to its end, however long it is.
    log.feed(Source::Runtime, &[b'x'; EVENT_BYTES + 100]);
    log.feed(Source::Runtime, b"\n");
    log.flush();
    assert_eq!(sink.take(), [""; 0]);
    let hidden = self::log(LogFormat::Json, Some(ApplicationLogLevel::Trace));
    assert!(!hidden.0.keep.filter.hides(&Piece { bytes: b"{}", level: None, continued: false }));
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_dropped_counted_and_said() {
    let (mut log, sink) = text();
    sink.set_full(true);
    log.feed(Source::Runtime, b"one\ntwo\n");
    log.flush();
    log.feed(Source::Runtime, b"three\n");
    log.flush();
    log.line(&end(), 0);
    log.flush();
    assert_eq!(sink.take(), [""; 0]);

    // The platform's lines come through as soon as there is room, the function's when the spell is over.
    sink.set_full(false);
    log.feed(Source::Runtime, b"four\n");
    log.flush();
    let said = |records: u32, bytes: u32| {
        format!(
            "LOGS_DROPPED Records: {records}\tBytes: {bytes}\tReason: Some logs were dropped because the downstream consumer is slower than the logs production rate\n"
        )
    };
    assert_eq!(sink.take(), [said(3, 14), END.to_owned()]);
    tokio::time::advance(SPELL).await;
    log.feed(Source::Runtime, b"five\n");
    log.flush();
    assert_eq!(sink.take(), [said(1, 5), "five\n".to_owned()]);
    assert_eq!(*sink.0.dropped.lock().unwrap(), (4, 19));
}

#[tokio::test(start_paused = true)]
async fn the_tail_misses_nothing_while_there_is_no_room() {
    let (mut log, sink) = text();
    sink.set_full(true);
    log.feed(Source::Runtime, b"one\n");
    log.flush();
    log.begin(true, true);
    log.feed(Source::Runtime, b"two\n");
    assert_eq!(log.tail().unwrap(), "two\n");
    assert_eq!(log.observed(), ["two\n"]);
}

#[tokio::test]
async fn what_an_observer_is_told_is_bounded() {
    let (mut log, _sink) = text();
    log.begin(false, true);
    log.feed(Source::Runtime, &b"\n".repeat(2 * OBSERVED));
    assert_eq!(log.observed().len(), OBSERVED);
    log.begin(false, true);
    for _ in 0..100 {
        log.feed(Source::Runtime, &[b'x'; EVENT_BYTES]);
    }
    let told: usize = log.observed().iter().map(Bytes::len).sum();
    assert!(told < OBSERVED_BYTES + EVENT_BYTES, "{told}");
}

#[tokio::test(start_paused = true)]
async fn nothing_grows_while_there_is_no_room() {
    let (mut log, sink) = text();
    sink.set_full(true);
    for _ in 0..10 * WAITING {
        log.feed(Source::Runtime, b"flood\n");
        log.line(&end(), 0);
        log.flush();
        assert!(log.keep.batch.len() <= WAITING + 2);
    }
    assert_eq!(log.keep.batch.iter().filter(|event| event.message.starts_with(b"flood")).count(), 0);
    // Whatever was lost, the count says it.
    sink.set_full(false);
    tokio::time::advance(SPELL).await;
    log.feed(Source::Runtime, b"end\n");
    log.flush();
    let found = sink.take();
    assert_eq!(found.last().unwrap(), "end\n");
    let ends = found.iter().filter(|line| *line == END).count();
    assert!(ends > 0 && ends < 10 * WAITING, "{ends}");
}

#[tokio::test]
async fn a_failed_start_shows_its_log() {
    let (mut log, _sink) = text();
    log.keep.start = Some(Start::default());
    log.line(&Line::InitStart { phase: Phase::Init }, 0);
    log.feed(Source::Runtime, b"cannot import\n");
    log.line(&Line::init_report(Phase::Init, Duration::ZERO, Status::Timeout), 0);
    let lines: Vec<_> = log.start_lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], "cannot import");
    log.started();
    assert_eq!(log.start_lines().count(), 0);
}
