//! What one subscriber has not been sent yet.
//!
//! Pure: no clock, no connection. Must not grow: what finds no room is counted instead.

use std::{mem, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::subscription::{Buffering, Destination};
use crate::logs::platform::LogsDropped;

/// The platform's events find room where the function's do not: subscribers wait for some of them.
const PLATFORM: usize = 256;

/// Where events come together, already as they will be sent.
#[derive(Debug)]
pub(crate) struct Buffer {
    limits: Buffering,
    framing: Framing,
    body: Vec<u8>,
    items: usize,
    /// The first of the batch came then.
    since: Option<Instant>,
    /// What is there goes at once.
    draining: bool,
    dropped: LogsDropped,
}

/// How events stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// A JSON array.
    Array,
    /// A line each.
    Lines,
}

/// What is sent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    pub(crate) items: usize,
}

impl Buffer {
    pub(crate) fn new(limits: Buffering, destination: &Destination) -> Buffer {
        let framing = match destination {
            Destination::Http { .. } => Framing::Array,
            Destination::Tcp { .. } => Framing::Lines,
        };
        Buffer {
            limits,
            framing,
            body: Vec::new(),
            items: 0,
            since: None,
            draining: false,
            dropped: LogsDropped::default(),
        }
    }

    /// Adds the event that `write` writes, if it does and if there is room; `size` is what is lost otherwise.
    pub(crate) fn push(
        &mut self,
        platform: bool,
        size: usize,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let room = if platform { PLATFORM } else { 0 };
        let full = self.items >= self.limits.max_items + room
            || (self.body.len() >= self.limits.max_bytes
                && (!platform || self.items >= self.limits.max_items));
        if full {
            self.dropped.records += 1;
            self.dropped.bytes += size as u64;
            return;
        }
        let length = self.body.len();
        if self.framing == Framing::Array {
            self.body.push(if self.items == 0 { b'[' } else { b',' });
        }
        if !write(&mut self.body) {
            self.body.truncate(length);
            return;
        }
        if self.framing == Framing::Lines {
            self.body.push(b'\n');
        }
        self.items += 1;
        self.since.get_or_insert(now);
    }

    /// When what is there should be sent.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.is_full() || self.draining {
            since
        } else {
            since + Duration::from_millis(self.limits.timeout_ms)
        })
    }

    fn is_full(&self) -> bool {
        self.items >= self.limits.max_items || self.body.len() >= self.limits.max_bytes
    }

    /// What is there is sent now, and from now on what comes is sent as it comes.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes what is there. If something was lost, the next batch begins by saying so, which `say` writes.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        say: impl FnOnce(LogsDropped, &mut Vec<u8>) -> bool,
    ) -> Option<Batch> {
        self.since.take()?;
        let items = mem::take(&mut self.items);
        let mut body = mem::take(&mut self.body);
        if self.framing == Framing::Array {
            body.push(b']');
        }
        if self.dropped.records > 0 {
            let dropped = mem::take(&mut self.dropped);
            self.push(true, 0, now, |body| say(dropped, body));
        }
        Some(Batch { body: Bytes::from(body), items })
    }

    /// A batch could not be delivered.
    pub(crate) fn lose(&mut self, batch: &Batch) {
        self.dropped.records += batch.items as u64;
        self.dropped.bytes += batch.body.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Buffering = Buffering { max_items: 1000, max_bytes: 262_144, timeout_ms: 100 };

    fn buffer(destination: &Destination) -> Buffer {
        Buffer::new(LIMITS, destination)
    }

    fn http() -> Buffer {
        let path = "/".to_owned();
        buffer(&Destination::Http { put: false, host: "sandbox".to_owned(), port: 1, path })
    }

    fn push(buffer: &mut Buffer, text: &str, now: Instant) {
        buffer.push(false, text.len(), now, |body| {
            body.extend_from_slice(text.as_bytes());
            true
        });
    }

    fn take(buffer: &mut Buffer, now: Instant) -> Option<String> {
        let batch = buffer.take(now, |dropped, body| {
            body.extend_from_slice(format!("-{} {}", dropped.records, dropped.bytes).as_bytes());
            true
        });
        batch.map(|batch| String::from_utf8(batch.body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_more_until_its_time_has_come() {
        let mut buffer = http();
        let begun = Instant::now();
        assert_eq!((buffer.due(), take(&mut buffer, begun)), (None, None));
        push(&mut buffer, "1", begun);
        tokio::time::advance(Duration::from_millis(60)).await;
        push(&mut buffer, "2", Instant::now());
        assert_eq!(buffer.due(), Some(begun + Duration::from_millis(100)));
        assert_eq!(take(&mut buffer, Instant::now()).unwrap(), "[1,2]");
        assert_eq!((buffer.due(), take(&mut buffer, begun)), (None, None));
        // The next one begins anew.
        push(&mut buffer, "3", Instant::now());
        assert_eq!(buffer.due(), Some(begun + Duration::from_millis(160)));
        buffer.drain();
        assert!(buffer.due().unwrap() <= Instant::now());
        assert_eq!(take(&mut buffer, begun).unwrap(), "[3]");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait() {
        let now = Instant::now();
        let mut items = http();
        for _ in 0..999 {
            push(&mut items, "1", now);
        }
        assert!(items.due().unwrap() > now);
        push(&mut items, "1", now);
        assert_eq!(items.due(), Some(now));

        let mut bytes = http();
        push(&mut bytes, &"x".repeat(LIMITS.max_bytes - 2), now);
        assert!(bytes.due().unwrap() > now);
        push(&mut bytes, "x", now);
        assert_eq!(bytes.due(), Some(now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_is_counted_and_said_in_the_next_batch() {
        let now = Instant::now();
        let mut buffer = http();
        for _ in 0..1003 {
            push(&mut buffer, "12", now);
        }
        // The platform's find room still, but not without end.
        for _ in 0..PLATFORM + 1 {
            buffer.push(true, 5, now, |body| {
                body.push(b'p');
                true
            });
        }
        let first = take(&mut buffer, now).unwrap();
        assert_eq!((first.matches("12").count(), first.matches('p').count()), (1000, PLATFORM));
        assert_eq!(take(&mut buffer, now).unwrap(), format!("[-4 {}]", 3 * 2 + 5));
        assert_eq!(take(&mut buffer, now), None);

        // Bytes are bounded, too, whatever they are of.
        push(&mut buffer, &"x".repeat(LIMITS.max_bytes), now);
        push(&mut buffer, "1", now);
        assert_eq!(take(&mut buffer, now).unwrap().len(), LIMITS.max_bytes + 2);
        push(&mut buffer, "2", now);
        assert_eq!(take(&mut buffer, now).unwrap(), "[-1 1,2]");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_end_and_what_is_lost_on_the_way_counts() {
        let now = Instant::now();
        let mut buffer = buffer(&Destination::Tcp { port: 1 });
        push(&mut buffer, "1", now);
        // An event that the subscriber's schema does not have.
        buffer.push(true, 1, now, |body| {
            body.extend_from_slice(b"half");
            false
        });
        push(&mut buffer, "2", now);
        let batch = buffer.take(now, |_, _| panic!("nothing is lost")).unwrap();
        assert_eq!((&batch.body[..], batch.items), (&b"1\n2\n"[..], 2));
        buffer.lose(&batch);
        push(&mut buffer, "3", now);
        assert_eq!(take(&mut buffer, now).unwrap(), "3\n");
        assert_eq!(take(&mut buffer, now).unwrap(), "-2 4\n");
        buffer.drain();
        push(&mut buffer, "4", now);
        assert_eq!(buffer.due(), Some(now));
    }
}
