//! Collects an environment's records, hands them to the sink in batches, and keeps the tail of the invocation.
//!
//! Must not block and must not grow: the sink decides what to drop.

use std::{collections::VecDeque, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;

use crate::ports::{Clock, LogAppender, LogEvent, LogSink, LogStream};

/// `LogType=Tail` returns this much of the end of the log.
const TAIL: usize = 4 * 1024;

/// Events are handed on at the latest when this many have come together.
const BATCH: usize = 256;

/// Function records of one invocation that an observer is told.
const OBSERVED: usize = 1000;

#[derive(Debug)]
pub(crate) struct LogWriter {
    appender: Box<dyn LogAppender>,
    clock: Arc<dyn Clock>,
    batch: Vec<LogEvent>,
    tail: Option<Tail>,
    observed: Option<Vec<Bytes>>,
}

#[derive(Debug, Default)]
struct Tail {
    records: VecDeque<Bytes>,
    bytes: usize,
}

impl LogWriter {
    pub(crate) fn new(stream: LogStream, sink: Arc<dyn LogSink>, clock: Arc<dyn Clock>) -> LogWriter {
        LogWriter { appender: sink.open(stream), clock, batch: Vec::new(), tail: None, observed: None }
    }

    /// An invocation begins: keep its tail, if the caller wants it, and its records, if someone watches.
    pub(crate) fn begin(&mut self, tail: bool, observed: bool) {
        self.tail = tail.then(Tail::default);
        self.observed = observed.then(Vec::new);
    }

    /// A record of the function.
    pub(crate) fn record(&mut self, message: Bytes) {
        if let Some(observed) = &mut self.observed
            && observed.len() < OBSERVED
        {
            observed.push(message.clone());
        }
        self.push(message);
    }

    /// A line of the platform, which gets its newline here.
    pub(crate) fn platform(&mut self, mut line: String) {
        line.push('\n');
        self.push(Bytes::from(line));
    }

    fn push(&mut self, message: Bytes) {
        if let Some(tail) = &mut self.tail {
            tail.push(message.clone());
        }
        let since_epoch = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.batch.push(LogEvent { timestamp_ms: since_epoch.as_millis() as i64, message });
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Hands the collected events to the sink.
    pub(crate) fn flush(&mut self) {
        if !self.batch.is_empty() {
            let refused = self.appender.append(std::mem::take(&mut self.batch)).err().unwrap_or_default();
            if !refused.is_empty() {
                self.appender.dropped(refused.len() as u64, 0);
            }
        }
    }

    /// The last 4 KB of the invocation's log, if it was asked for.
    pub(crate) fn tail(&mut self) -> Option<Bytes> {
        self.tail.take().map(Tail::into_bytes)
    }

    /// The function's records of the invocation, if someone watches.
    pub(crate) fn observed(&mut self) -> Vec<Bytes> {
        self.observed.take().unwrap_or_default()
    }
}

impl Tail {
    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push_back(record);
        while self.records.front().is_some_and(|first| self.bytes - first.len() >= TAIL) {
            let first = self.records.pop_front().expect("there is a front");
            self.bytes -= first.len();
        }
    }

    fn into_bytes(self) -> Bytes {
        let mut text = Vec::with_capacity(self.bytes);
        for record in &self.records {
            text.extend_from_slice(record);
            if !record.ends_with(b"\n") {
                text.push(b'\n');
            }
        }
        Bytes::from(text.split_off(text.len().saturating_sub(TAIL)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_4_kilobytes() {
        let mut tail = Tail::default();
        for n in 0..2000 {
            tail.push(Bytes::from(format!("line {n:05}\n")));
        }
        let text = tail.into_bytes();
        assert_eq!(text.len(), TAIL);
        assert!(text.ends_with(b"line 01999\n"));
    }
}
