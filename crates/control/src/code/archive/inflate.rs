//! Unpacks the content of single entries.
//!
//! Must not believe an entry: it ends where it is found to be more than the archive says, or something else.

use std::io;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{
    ArchiveError, Flaw,
    central::{Archive, Record},
    shown,
};

/// Unpacks one entry after the other, with memory that all of them share.
pub(super) struct Inflater {
    state: Decompress,
    buffer: Box<[u8]>,
}

impl Inflater {
    /// What is unpacked at once: most files are smaller, and so are written by one call.
    const BUFFER: usize = 256 * 1024;

    pub(super) fn new() -> Self {
        Self { state: Decompress::new(false), buffer: vec![0; Self::BUFFER].into() }
    }

    /// Unpacks an entry's content: exactly as many bytes as the archive says, and never more. The inner error is that of
    /// `write`.
    pub(super) fn unpack(
        &mut self,
        archive: &Archive<'_>,
        record: &Record<'_>,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, ArchiveError> {
        let damaged = |source| ArchiveError::from(Flaw::Entry { name: shown(&record.name), source });
        let stored = archive.content(record).ok_or_else(|| damaged(None))?;
        let mut left = record.size;
        let mut checksum = Crc::new();
        let mut take = |bytes: &[u8]| {
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| damaged(None))?;
            checksum.update(bytes);
            Ok::<_, ArchiveError>(if bytes.is_empty() { Ok(()) } else { write(bytes) })
        };
        match record.method {
            0 => {
                if let Err(error) = take(stored)? {
                    return Ok(Err(error));
                }
            }
            8 => {
                self.state.reset(false);
                loop {
                    let (read, unpacked) = (self.state.total_in(), self.state.total_out());
                    let status = self
                        .state
                        .decompress(&stored[read as usize..], &mut self.buffer, FlushDecompress::None)
                        .map_err(|error| damaged(Some(error.into())))?;
                    let count = (self.state.total_out() - unpacked) as usize;
                    if let Err(error) = take(&self.buffer[..count])? {
                        return Ok(Err(error));
                    }
                    // One that breaks off makes no progress any more; its checksum tells.
                    let stuck = count == 0 && self.state.total_in() == read;
                    if status == Status::StreamEnd || stuck {
                        break;
                    }
                }
            }
            method => return Err(Flaw::Method { name: shown(&record.name), method }.into()),
        }
        if left == 0 && checksum.sum() == record.checksum { Ok(Ok(())) } else { Err(damaged(None)) }
    }
}
