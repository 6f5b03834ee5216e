//! Splits what a process tree writes into records: raw lines, and the frames of the telemetry descriptor.
//!
//! Must not interpret a record. Both kinds share one pipe, so that their order is kept; a frame begins with bytes
//! that no UTF-8 text contains (`A5 5A 00 …`).

use bytes::{Buf, Bytes, BytesMut};

/// CloudWatch Logs takes events up to this size; longer records are split.
const MAX_RECORD: usize = 256 * 1024;

/// Type, length and time of a frame, big-endian.
const FRAME_HEADER: usize = 16;

/// The bytes read so far that are not a whole record yet.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pending: BytesMut,
}

impl Records {
    /// Room to read into.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.pending
    }

    /// The next whole record: a raw line with its newline, or a frame as it was sent.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if let Some(length) = frame_length(&self.pending)? {
            if self.pending.len() < FRAME_HEADER + length {
                return None;
            }
            self.pending.advance(FRAME_HEADER);
            return Some(self.pending.split_to(length).freeze());
        }
        let end = self.pending.iter().position(|byte| *byte == b'\n').map(|newline| newline + 1);
        match end {
            Some(end) if end <= MAX_RECORD => Some(self.pending.split_to(end).freeze()),
            _ if self.pending.len() > MAX_RECORD => Some(self.pending.split_to(MAX_RECORD).freeze()),
            _ => None,
        }
    }

    /// Everything that is left, once nothing more can come.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| self.pending.split().freeze())
    }
}

/// `Some(Some(n))`: a frame of `n` bytes begins here. `Some(None)`: a raw line. `None`: too little to tell.
#[expect(clippy::option_option, reason = "undecided, raw and framed are three different answers")]
fn frame_length(bytes: &[u8]) -> Option<Option<usize>> {
    const TEXT: u32 = 0xA55A_0003;
    const JSON: u32 = 0xA55A_0002;
    const LEVELS: u32 = 0x1C;
    let first = bytes.first()?;
    if *first != 0xA5 {
        return Some(None);
    }
    let Some(header) = bytes.get(..FRAME_HEADER) else {
        // A raw line that begins like a frame and ends early is a raw line.
        return if bytes.contains(&b'\n') && bytes.get(1).is_some_and(|byte| *byte != 0x5A) {
            Some(None)
        } else {
            None
        };
    };
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let kind = word(0) & !LEVELS;
    let length = word(4) as usize;
    if (kind == TEXT & !LEVELS || kind == JSON & !LEVELS) && length <= 16 * MAX_RECORD {
        Some(Some(length))
    } else {
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut records = Records::default();
        let mut out = Vec::new();
        for chunk in chunks {
            records.buffer().extend_from_slice(chunk);
            while let Some(record) = records.next() {
                out.push(record.to_vec());
            }
        }
        out.extend(records.rest().map(|rest| rest.to_vec()));
        out
    }

    fn frame(text: &[u8]) -> Vec<u8> {
        let mut frame = 0xA55A_0013_u32.to_be_bytes().to_vec();
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(7_u64.to_be_bytes());
        frame.extend(text);
        frame
    }

    #[test]
    fn lines_and_frames_keep_their_order() {
        let mut input = b"one\n\ntwo\r2\n".to_vec();
        input.extend(frame(b"[ERROR] x\nTraceback\n"));
        input.extend(b"three\nrest");
        let expected: Vec<Vec<u8>> =
            [&b"one\n"[..], b"\n", b"two\r2\n", b"[ERROR] x\nTraceback\n", b"three\n", b"rest"]
                .iter()
                .map(|record| record.to_vec())
                .collect();
        assert_eq!(records(&[&input]), expected);
        // However the pipe cuts it.
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(records(&bytes), expected);
    }

    #[test]
    fn long_lines_are_split_and_nothing_is_lost() {
        let long = vec![b'x'; MAX_RECORD + 10];
        let got = records(&[&long, b"\n"]);
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_RECORD, 11]);
    }

    #[test]
    fn binary_output_survives() {
        let input = [&[0xA5, 0x5A, 0xFF, 0xFF, b'\n', 0xFF, b'\n'][..], b"a longer line\n"].concat();
        assert_eq!(
            records(&[&input]),
            [vec![0xA5, 0x5A, 0xFF, 0xFF, b'\n'], vec![0xFF, b'\n'], b"a longer line\n".to_vec()]
        );
    }
}
