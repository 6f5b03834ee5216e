//! Splits what a process tree writes into records: raw lines, and the frames of the telemetry descriptor.
//!
//! Must not interpret a record. Both kinds share one pipe, so that their order is kept; a frame begins with bytes
//! that no UTF-8 text contains (`A5 5A 00 …`). Nothing is lost, whatever the bytes are, and no more is held than one
//! event.

use super::filter::Level;

/// An event of CloudWatch Logs from a function: 256 KB, 26 bytes of them bookkeeping. Lambda cuts longer records.
/// (`PutLogEvents` takes 1 MB since April 2025; that Lambda cuts at 256 KB still is unverified.)
pub(crate) const EVENT_BYTES: usize = 262_144 - 26;

/// Type, length and time of a frame, big-endian.
const FRAME_HEADER: usize = 16;

/// What says that it is longer is no frame.
const LONGEST_FRAME: usize = 64 << 20;

/// A buffer that grew beyond this for one record is not kept for the next.
const KEPT: usize = 16 << 10;

/// The beginning of a record whose end has not been written yet.
#[derive(Debug, Default)]
pub(crate) struct Records {
    place: Place,
    pending: Vec<u8>,
    /// Part of the present record has been given out.
    cut: bool,
}

/// Where in the stream of bytes the last one was.
#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// Between records; what is pending begins like a frame's header.
    #[default]
    Between,
    Line,
    Frame {
        level: Option<Level>,
        remaining: usize,
    },
}

/// A record, or a part of one that is too large for one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// A raw line with its newline, or what was in a frame.
    pub(crate) bytes: &'a [u8],
    /// What the frame's type says, if it was one and says something.
    pub(crate) level: Option<Level>,
    /// Another part of the record that the last piece began.
    pub(crate) continued: bool,
}

impl Records {
    /// Takes what was read, and gives out the records that end in it.
    pub(crate) fn feed(&mut self, bytes: &[u8], give: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Between if self.pending.is_empty() && rest[0] != 0xA5 => {
                    self.place = Place::Line;
                    rest
                }
                Place::Between => self.header(rest, give),
                Place::Line => self.line(rest, give),
                Place::Frame { level, remaining } => self.frame(rest, level, remaining, give),
            };
        }
    }

    /// Gives out what is there of an unfinished record, as nothing more will come.
    pub(crate) fn finish(&mut self, give: &mut impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            self.give_pending(self.pending.len(), give);
        }
        self.next_record();
    }

    /// Collects a frame's header; bytes that turn out to be none begin a line.
    fn header<'a>(&mut self, bytes: &'a [u8], give: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let mut taken = 0;
        for byte in bytes {
            self.pending.push(*byte);
            taken += 1;
            if !begins_like_a_frame(&self.pending) {
                break;
            }
            if let Ok(header) = <&[u8; FRAME_HEADER]>::try_from(&self.pending[..]) {
                let (level, remaining) = parse_header(header);
                if remaining > LONGEST_FRAME {
                    break;
                }
                self.pending.clear();
                self.place = if remaining == 0 { Place::Between } else { Place::Frame { level, remaining } };
                return &bytes[taken..];
            }
        }
        if !begins_like_a_frame(&self.pending) || self.pending.len() == FRAME_HEADER {
            let line = std::mem::take(&mut self.pending);
            self.place = Place::Line;
            // At most a header's length, so this goes no deeper than that.
            self.feed(&line, give);
        }
        &bytes[taken..]
    }

    fn line<'a>(&mut self, bytes: &'a [u8], give: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let newline = memchr::memchr(b'\n', bytes);
        let length = newline.map_or(bytes.len(), |at| at + 1);
        if newline.is_some() && self.pending.is_empty() && length <= EVENT_BYTES {
            give(Piece { bytes: &bytes[..length], level: None, continued: self.cut });
            self.next_record();
            return &bytes[length..];
        }
        let taken = self.collect(&bytes[..length]);
        if newline.is_some() && taken == length {
            self.give_pending(self.pending.len(), give);
            self.next_record();
        } else {
            self.give_if_full(give);
        }
        &bytes[taken..]
    }

    fn frame<'a>(
        &mut self,
        bytes: &'a [u8],
        level: Option<Level>,
        remaining: usize,
        give: &mut impl FnMut(Piece<'_>),
    ) -> &'a [u8] {
        if self.pending.is_empty() && remaining <= bytes.len().min(EVENT_BYTES) {
            give(Piece { bytes: &bytes[..remaining], level, continued: self.cut });
            self.next_record();
            return &bytes[remaining..];
        }
        let taken = self.collect(&bytes[..remaining.min(bytes.len())]);
        let remaining = remaining - taken;
        self.place = Place::Frame { level, remaining };
        if remaining == 0 {
            self.give_pending(self.pending.len(), give);
            self.next_record();
        } else {
            self.give_if_full(give);
        }
        &bytes[taken..]
    }

    /// Adds to what is pending, up to the size of an event; says how much.
    fn collect(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(EVENT_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Cuts a record that is too large for one event, at a character's start where it is UTF-8.
    fn give_if_full(&mut self, give: &mut impl FnMut(Piece<'_>)) {
        if self.pending.len() < EVENT_BYTES {
            return;
        }
        let starts = |at: &usize| self.pending[*at] & 0b1100_0000 != 0b1000_0000;
        let last = (EVENT_BYTES - 4..EVENT_BYTES).rev().find(starts);
        let at = match last {
            Some(at) if at + width(self.pending[at]) > EVENT_BYTES => at,
            Some(_) | None => EVENT_BYTES,
        };
        self.give_pending(at, give);
        self.cut = true;
    }

    fn give_pending(&mut self, length: usize, give: &mut impl FnMut(Piece<'_>)) {
        let level = match self.place {
            Place::Frame { level, .. } => level,
            Place::Between | Place::Line => None,
        };
        give(Piece { bytes: &self.pending[..length], level, continued: self.cut });
        self.pending.drain(..length);
    }

    fn next_record(&mut self) {
        self.place = Place::Between;
        self.cut = false;
        if self.pending.capacity() > KEPT {
            self.pending = Vec::new();
        }
    }
}

/// The length of the character that this byte begins.
fn width(first: u8) -> usize {
    match first {
        0xF8.. => 1,
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

const TEXT: u32 = 0xA55A_0003;
const JSON: u32 = 0xA55A_0002;
/// The bits of a frame's type that tell the level.
const LEVELS: u32 = 0x1C;

fn begins_like_a_frame(bytes: &[u8]) -> bool {
    let magic = TEXT.to_be_bytes();
    let head = bytes.len().min(3);
    bytes[..head] == magic[..head]
        && bytes.get(3).is_none_or(|byte| {
            let byte = u32::from(*byte) & !LEVELS;
            byte == TEXT & 0xFF & !LEVELS || byte == JSON & 0xFF & !LEVELS
        })
}

/// Level and length.
fn parse_header(header: &[u8; FRAME_HEADER]) -> (Option<Level>, usize) {
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (Level::of_frame(word(0) & LEVELS), word(4) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
        let mut records = Records::default();
        let mut out = Vec::new();
        let mut give = |piece: Piece<'_>| out.push(piece.bytes.to_vec());
        for chunk in chunks {
            records.feed(chunk, &mut give);
        }
        records.finish(&mut give);
        out
    }

    fn frame(kind: u32, text: &[u8]) -> Vec<u8> {
        let mut frame = kind.to_be_bytes().to_vec();
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(7_u64.to_be_bytes());
        frame.extend(text);
        frame
    }

    #[test]
    fn lines_and_frames_keep_their_order() {
        let mut input = b"one\n\ntwo\r2\n".to_vec();
        input.extend(frame(0xA55A_0017, b"[ERROR] x\nTraceback\n"));
        input.extend(b"three\nrest");
        let expected: Vec<Vec<u8>> =
            [&b"one\n"[..], b"\n", b"two\r2\n", b"[ERROR] x\nTraceback\n", b"three\n", b"rest"]
                .iter()
                .map(|record| record.to_vec())
                .collect();
        assert_eq!(split([&input[..]]), expected);
        // However the pipe cuts it.
        assert_eq!(split(input.chunks(1)), expected);
    }

    #[test]
    fn frames_tell_their_level() {
        let mut records = Records::default();
        let mut levels = Vec::new();
        for kind in
            [0xA55A_0003, 0xA55A_0007, 0xA55A_000A, 0xA55A_000F, 0xA55A_0013, 0xA55A_0016, 0xA55A_001B]
        {
            records.feed(&frame(kind, b"x"), &mut |piece| levels.push(piece.level));
        }
        use Level::{Debug, Error, Fatal, Info, Trace, Warn};
        let named = [Trace, Debug, Info, Warn, Error, Fatal].map(Some);
        assert_eq!(levels[0], None);
        assert_eq!(levels[1..], named);
    }

    #[test]
    fn long_records_are_cut_between_characters_and_nothing_is_lost() {
        // One byte before letters of two: a cut at a fixed length would split one.
        let long = format!("x{}\n", "é".repeat(EVENT_BYTES));
        for input in [long.clone().into_bytes(), frame(TEXT, long.as_bytes())] {
            let mut records = Records::default();
            let (mut joined, mut continued) = (Vec::new(), Vec::new());
            for chunk in input.chunks(10_000) {
                records.feed(chunk, &mut |piece| {
                    assert!(piece.bytes.len() <= EVENT_BYTES);
                    assert!(std::str::from_utf8(piece.bytes).is_ok());
                    joined.extend_from_slice(piece.bytes);
                    continued.push(piece.continued);
                });
            }
            assert_eq!(joined, long.as_bytes());
            assert_eq!(continued, [false, true, true]);
            assert!(records.pending.capacity() <= KEPT);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_too() {
        let long = vec![0xFF; EVENT_BYTES + 10];
        assert_eq!(split([&long[..]]).iter().map(Vec::len).collect::<Vec<_>>(), [EVENT_BYTES, 10]);
        let long = vec![0x80; EVENT_BYTES + 10];
        assert_eq!(split([&long[..]]).iter().map(Vec::len).collect::<Vec<_>>(), [EVENT_BYTES, 10]);
    }

    #[test]
    fn what_only_begins_like_a_frame_is_a_line() {
        let input =
            [&[0xA5, 0x5A, 0xFF, 0xFF, b'\n', 0xFF, 0, b'\n', 0xA5, b'\n'][..], b"a longer line\n"].concat();
        let expected = [
            vec![0xA5, 0x5A, 0xFF, 0xFF, b'\n'],
            vec![0xFF, 0, b'\n'],
            vec![0xA5, b'\n'],
            b"a longer line\n".to_vec(),
        ];
        assert_eq!(split([&input[..]]), expected);
        assert_eq!(split(input.chunks(1)), expected);
        // A header whose length is nonsense, and one that ends early.
        let mut nonsense = TEXT.to_be_bytes().to_vec();
        nonsense.extend([0xFF; 12]);
        nonsense.extend(b"text\nmore\n");
        assert_eq!(split([&nonsense[..]]), [nonsense[..21].to_vec(), b"more\n".to_vec()]);
        assert_eq!(split([&nonsense[..7]]), [nonsense[..7].to_vec()]);
    }

    #[test]
    fn a_frame_that_ends_early_is_given_out_as_far_as_it_came() {
        let whole = frame(TEXT, b"one\ntwo\n");
        assert_eq!(split([&whole[..20]]), [b"one\n".to_vec()]);
    }

    proptest! {
        /// No byte of raw output is lost, doubled or moved, however it comes.
        #[test]
        fn raw_bytes_survive(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(0xA5), Just(0x5A), Just(0)], 0..400),
            cut in 1..50_usize,
        ) {
            // Without the fourth byte of a frame's type there are no frames.
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte & 0xE2 == 2 { 1 } else { byte }).collect();
            prop_assert_eq!(split(bytes.chunks(cut)).concat(), bytes);
        }
    }
}
