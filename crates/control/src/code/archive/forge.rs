//! Zip archives made by hand, for tests: such as no honest tool writes.
//!
//! Must not check anything: what is asked for is written.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// Numbers of the systems that archives are made on.
pub(super) const DOS: u8 = 0;
pub(super) const UNIX: u8 = 3;

/// An entry, as its two headers tell it.
#[derive(Debug, Clone)]
pub(super) struct Forged {
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) made_on: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) date: u16,
    pub(super) time: u16,
    pub(super) checksum: u32,
    pub(super) compressed_size: u32,
    pub(super) size: u32,
    pub(super) extra: Vec<u8>,
    /// What follows the local header.
    pub(super) data: Vec<u8>,
    /// Shares the local header of the entry with this index.
    pub(super) shares: Option<usize>,
}

impl Forged {
    pub(super) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::stored(name, content, 0o100_644)
    }

    pub(super) fn directory(name: impl AsRef<[u8]>) -> Self {
        Self::stored(name, "", 0o040_755)
    }

    pub(super) fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::stored(name, target, 0o120_777)
    }

    pub(super) fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content.as_ref()).unwrap();
        let data = encoder.finish().unwrap();
        Self { method: 8, compressed_size: data.len() as u32, data, ..Self::file(name, content) }
    }

    fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>, mode: u32) -> Self {
        let data = content.as_ref().to_vec();
        let mut checksum = Crc::new();
        checksum.update(&data);
        Self {
            name: name.as_ref().to_vec(),
            mode,
            made_on: UNIX,
            flags: 0,
            method: 0,
            date: 0x5a_61,
            time: 0x63_c5,
            checksum: checksum.sum(),
            compressed_size: data.len() as u32,
            size: data.len() as u32,
            extra: Vec::new(),
            data,
            shares: None,
        }
    }

    pub(super) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(super) fn extra(mut self, kind: u16, content: &[u8]) -> Self {
        self.extra.extend(kind.to_le_bytes());
        self.extra.extend((content.len() as u16).to_le_bytes());
        self.extra.extend(content);
        self
    }

    /// The fields that both headers have.
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for short in [20, self.flags, self.method, self.time, self.date] {
            bytes.extend(short.to_le_bytes());
        }
        for long in [self.checksum, self.compressed_size, self.size] {
            bytes.extend(long.to_le_bytes());
        }
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes
    }

    fn local_header(&self) -> Vec<u8> {
        [b"PK\x03\x04", &self.common()[..], &[0, 0], &self.name].concat()
    }

    fn central_header(&self, offset: u32) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02".to_vec();
        bytes.extend([30, self.made_on]);
        bytes.extend(self.common());
        bytes.extend((self.extra.len() as u16).to_le_bytes());
        // Comment, disk, internal attributes, and the lower half of the external ones.
        bytes.extend([0; 8]);
        bytes.extend((self.mode as u16).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(&self.name);
        bytes.extend(&self.extra);
        bytes
    }
}

/// The end of an archive.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    pub(super) zip_64: bool,
    pub(super) disk: u16,
    /// Added to the number of entries.
    pub(super) more: u16,
    pub(super) comment: Vec<u8>,
}

/// An archive of these entries.
pub(super) fn archive(entries: &[Forged]) -> Vec<u8> {
    archive_with(entries, &Ending::default())
}

pub(super) fn archive_with(entries: &[Forged], ending: &Ending) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::new();
    for entry in entries {
        match entry.shares.and_then(|index| offsets.get(index).copied()) {
            Some(offset) => offsets.push(offset),
            None => {
                offsets.push(bytes.len() as u32);
                bytes.extend(entry.local_header());
                bytes.extend(&entry.data);
            }
        }
    }
    let start = bytes.len();
    for (entry, offset) in entries.iter().zip(offsets) {
        bytes.extend(entry.central_header(offset));
    }
    let size = bytes.len() - start;
    let count = (entries.len() as u16).wrapping_add(ending.more);
    if ending.zip_64 {
        let record = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0");
        bytes.extend([u32::from(ending.disk); 2].map(u32::to_le_bytes).concat());
        bytes.extend([count.into(), count.into(), size as u64, start as u64].map(u64::to_le_bytes).concat());
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(record.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([0xff; 12]);
    } else {
        bytes.extend(b"PK\x05\x06");
        bytes.extend([ending.disk, ending.disk, count, count].map(u16::to_le_bytes).concat());
        bytes.extend([size as u32, start as u32].map(u32::to_le_bytes).concat());
    }
    bytes.extend((ending.comment.len() as u16).to_le_bytes());
    bytes.extend(&ending.comment);
    bytes
}
