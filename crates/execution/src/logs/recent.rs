//! The ends of a log that are kept beside it: an invocation's for `LogType=Tail`, and a starting environment's.
//!
//! Must not grow.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;

/// `LogType=Tail` returns this much of the end of the log.
const TAIL: usize = 4 * 1024;

/// Lines and bytes of a start that are shown when it fails.
const START_LINES: usize = 200;
const START_BYTES: usize = 64 * 1024;

/// The end of one invocation's log.
#[derive(Debug, Default)]
pub(super) struct Tail(Recent);

impl Tail {
    pub(super) fn push(&mut self, record: Bytes) {
        self.0.push(record);
        // Whole records, as many as are needed for the last bytes.
        while self.0.records.front().is_some_and(|first| self.0.bytes - first.len() >= TAIL) {
            self.0.drop_first();
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        let mut text = Vec::with_capacity(self.0.bytes + 1);
        for record in &self.0.records {
            text.extend_from_slice(record);
            if !record.ends_with(b"\n") {
                text.push(b'\n');
            }
        }
        Bytes::from(text.split_off(text.len().saturating_sub(TAIL)))
    }
}

/// What an environment that has not come up yet has written last.
#[derive(Debug, Default)]
pub(super) struct Start(Recent);

impl Start {
    pub(super) fn push(&mut self, record: Bytes) {
        self.0.push(record);
        while self.0.records.len() > START_LINES || (self.0.bytes > START_BYTES && self.0.records.len() > 1) {
            self.0.drop_first();
        }
    }

    /// Line by line; a record of many lines is many.
    pub(super) fn lines(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let lines = self.0.records.iter().flat_map(|record| {
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            record.split(|byte| matches!(byte, b'\n' | b'\r'))
        });
        lines.map(String::from_utf8_lossy)
    }
}

#[derive(Debug, Default)]
struct Recent {
    records: VecDeque<Bytes>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, record: Bytes) {
        self.bytes += record.len();
        self.records.push_back(record);
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.records.pop_front() {
            self.bytes -= first.len();
        }
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
        assert!(tail.0.bytes < TAIL + 11);
        let text = tail.into_bytes();
        assert_eq!(text.len(), TAIL);
        assert!(text.ends_with(b"line 01999\n"));
    }

    #[test]
    fn a_start_keeps_its_last_lines() {
        let mut start = Start::default();
        for n in 0..1000 {
            start.push(Bytes::from(format!("line {n}\n")));
        }
        start.push(Bytes::from_static(b"Traceback\r  File\xff\n"));
        let lines: Vec<_> = start.lines().collect();
        assert_eq!(lines.len(), START_LINES + 1);
        assert_eq!(lines[0], "line 801");
        assert_eq!(lines[START_LINES - 1..], ["Traceback", "  File\u{fffd}"]);
        for _ in 0..10 {
            start.push(Bytes::from(vec![b'x'; START_BYTES / 2]));
        }
        assert!(start.0.bytes <= START_BYTES);
    }
}
