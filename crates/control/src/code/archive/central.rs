//! A zip archive's central directory: what the archive says is in it.
//!
//! Read by hand, because archives come from anyone. The directory is looked for once, in the last 64 KB; it is held
//! against the archive's own length and a limit of entries; nothing in it can make this take more memory or time than
//! its bytes deserve. It is also all that is believed: local headers only tell where content begins.
//!
//! Must not write anything, nor decompress.

use std::borrow::Cow;

use jiff::civil;

use super::{Flaw, name, name::Encoding};

/// How many entries an archive may have: twice of what fits without the zip64 extension, and many times of what a
/// package within AWS's size limit has. AWS documents no limit; a file costs more of the machine than its bytes.
pub(super) const ENTRIES: usize = 1 << 17;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_LENGTH: u64 = 56;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LENGTH: usize = 20;
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// An archive whose central directory was found.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    directory: &'a [u8],
    /// How many entries there should be.
    count: u64,
    /// What precedes the archive in its file, such as a program that unzips it: offsets do not count it.
    prefix: u64,
}

/// An entry of the central directory.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// Directories are separated by slashes, whatever the archive used.
    pub(super) name: Cow<'a, [u8]>,
    /// `st_mode` of the file on the machine that made the archive, or 0 if it had none.
    pub(super) mode: u32,
    pub(super) encrypted: bool,
    pub(super) method: u16,
    pub(super) checksum: u32,
    /// Seconds since 1970.
    pub(super) modified: i64,
    pub(super) compressed_size: u64,
    pub(super) size: u64,
    local_header: u64,
}

impl<'a> Archive<'a> {
    /// Finds the central directory.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Flaw> {
        // The record at the end may be followed by a comment of up to 64 KB, in which its signature may occur again.
        // Most likely is one whose comment reaches to the end; other archives have something behind them.
        let last = bytes.len().checked_sub(END_LENGTH).ok_or(Flaw::NoDirectory)?;
        let first = last.saturating_sub(usize::from(u16::MAX));
        let candidates = || (first..=last).rev().filter(|&end| bytes[end..].starts_with(END));
        let is_last = |end: &usize| {
            let comment = Fields(&bytes[end + END_LENGTH - 2..]).u16().map(usize::from);
            comment == Some(last - end)
        };
        let mut otherwise = Err(Flaw::NoDirectory);
        for end in candidates().filter(is_last).chain(candidates().filter(|end| !is_last(end))) {
            match Self::at(bytes, end) {
                Ok(archive) if !archive.directory.is_empty() => return Ok(archive),
                found if matches!(otherwise, Err(Flaw::NoDirectory)) => otherwise = found,
                _ => {}
            }
        }
        otherwise
    }

    /// Reads the record at `end`.
    fn at(bytes: &'a [u8], end: usize) -> Result<Self, Flaw> {
        let end_record = EndRecord::read(&bytes[end..]).ok_or(Flaw::NoDirectory)?;
        let (end, end_record) = EndRecord::read_64(bytes, end).unwrap_or((end as u64, end_record));
        if end_record.disk != 0 || end_record.directory_disk != 0 || end_record.here != end_record.count {
            return Err(Flaw::Split);
        }
        // The directory precedes this record, wherever the archive itself begins. Where something is in between, the
        // recorded offset is right.
        [end.checked_sub(end_record.size), Some(end_record.offset)]
            .into_iter()
            .flatten()
            .find_map(|start| {
                let length = usize::try_from(end_record.size).ok()?;
                let (directory, _) = bytes.get(usize::try_from(start).ok()?..)?.split_at_checked(length)?;
                let prefix = start.checked_sub(end_record.offset)?;
                (directory.is_empty() || directory.starts_with(CENTRAL)).then_some(Self {
                    bytes,
                    directory,
                    count: end_record.count,
                    prefix,
                })
            })
            .ok_or(Flaw::NoDirectory)
    }

    /// Reads the whole directory.
    pub(super) fn records(&self) -> Result<Vec<Record<'a>>, Flaw> {
        let mut fields = Fields(self.directory);
        let mut records = Vec::new();
        while !fields.0.is_empty() {
            if records.len() == ENTRIES {
                return Err(Flaw::TooMany { limit: ENTRIES });
            }
            records.push(Record::read(&mut fields).ok_or(Flaw::Directory)?);
        }
        // Writers that do not know zip64 count modulo 65,536.
        let counted = records.len() as u64;
        let right = counted == self.count || counted % (1 << 16) == self.count;
        if right { Ok(records) } else { Err(Flaw::Directory) }
    }

    /// An entry's content, as it is stored.
    pub(super) fn content(&self, record: &Record<'_>) -> Option<&'a [u8]> {
        let start = usize::try_from(self.prefix.checked_add(record.local_header)?).ok()?;
        let mut fields = Fields(self.bytes.get(start..)?);
        fields.signature(LOCAL)?;
        // What the directory has told already.
        fields.bytes(22)?;
        let (name, extra) = (fields.u16()?, fields.u16()?);
        fields.bytes(usize::from(name) + usize::from(extra))?;
        fields.bytes(usize::try_from(record.compressed_size).ok()?)
    }

    /// Length of the archive, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What the end of an archive says of its directory.
struct EndRecord {
    disk: u64,
    directory_disk: u64,
    /// Entries on this disk.
    here: u64,
    count: u64,
    size: u64,
    offset: u64,
}

impl EndRecord {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        fields.signature(END)?;
        let mut short = || fields.u16().map(u64::from);
        let (disk, directory_disk, here, count) = (short()?, short()?, short()?, short()?);
        let (size, offset) = (fields.u32()?.into(), fields.u32()?.into());
        Some(Self { disk, directory_disk, here, count, size, offset })
    }

    /// The record of the zip64 extension, and where it is. A locator in front of the plain record leads to it.
    fn read_64(bytes: &[u8], end: usize) -> Option<(u64, Self)> {
        let locator = end.checked_sub(LOCATOR_LENGTH)?;
        let mut fields = Fields(&bytes[locator..]);
        fields.signature(LOCATOR)?;
        fields.u32()?;
        let offset = fields.u64()?;
        // The offset does not count what precedes the archive, but usually nothing is between record and locator.
        [Some(offset), (locator as u64).checked_sub(END_64_LENGTH)].into_iter().flatten().find_map(|start| {
            let mut fields = Fields(bytes.get(usize::try_from(start).ok()?..)?);
            fields.signature(END_64)?;
            // Its length, and two versions.
            fields.bytes(12)?;
            let (disk, directory_disk) = (fields.u32()?.into(), fields.u32()?.into());
            let (here, count, size, offset) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
            Some((start, Self { disk, directory_disk, here, count, size, offset }))
        })
    }
}

/// Bits of an entry's flags.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
const UTF_8: u16 = 1 << 11;

/// Kinds of extra fields.
const ZIP_64: u16 = 0x0001;
const TIMESTAMP: u16 = 0x5455;
const UNICODE_PATH: u16 = 0x7075;

impl<'a> Record<'a> {
    fn read(fields: &mut Fields<'a>) -> Option<Self> {
        fields.signature(CENTRAL)?;
        let made_by = fields.u16()?;
        let _version_needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let (time, date) = (fields.u16()?, fields.u16()?);
        let checksum = fields.u32()?;
        let (compressed_size, size) = (fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let _disk = fields.u16()?;
        let _internal_attributes = fields.u16()?;
        let attributes = fields.u32()?;
        let local_header = fields.u32()?;
        let raw_name = fields.bytes(name.into())?;
        let extra = Extra(fields.bytes(extra.into())?);
        fields.bytes(comment.into())?;

        let encoding = Encoding { made_on: (made_by >> 8) as u8, utf_8: flags & UTF_8 != 0 };
        // Each of these three is in an extra field if, and only if, it has no room here. Some writers have a first
        // such field that says no more than that, and then another.
        let mut wide = [size, compressed_size, local_header].map(u64::from);
        for (_, content) in extra.clone().filter(|(kind, _)| *kind == ZIP_64) {
            let mut content = Fields(content);
            for value in wide.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
                *value = content.u64()?;
            }
        }
        let [size, compressed_size, local_header] = wide;
        Some(Self {
            name: name::decode(raw_name, extra.clone().find(UNICODE_PATH), encoding),
            mode: attributes >> 16,
            encrypted: flags & ENCRYPTED != 0,
            method,
            checksum,
            modified: extra
                .clone()
                .find(TIMESTAMP)
                .and_then(timestamp)
                .unwrap_or_else(|| dos_time(date, time)),
            compressed_size,
            size,
            local_header,
        })
    }
}

/// Info-ZIP's time of modification, in seconds since 1970.
fn timestamp(field: &[u8]) -> Option<i64> {
    let (flags, rest) = field.split_first()?;
    let seconds = rest.first_chunk()?;
    (flags & 1 != 0).then(|| i32::from_le_bytes(*seconds).into())
}

/// A time as MS-DOS has it, taken for UTC. Impossible ones are 1980's first moment, so that they, too, are always the same.
fn dos_time(date: u16, time: u16) -> i64 {
    const FIRST: i64 = 315_532_800;

    let part = |value: u16, shift: u16, bits: u16| (value >> shift & ((1 << bits) - 1)) as i8;
    let civil = civil::DateTime::new(
        1980 + i16::from(part(date, 9, 7)),
        part(date, 5, 4),
        part(date, 0, 5),
        part(time, 11, 5),
        part(time, 5, 6),
        part(time, 0, 5) * 2,
        0,
    );
    civil
        .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
        .map_or(FIRST, |zoned| zoned.timestamp().as_second())
}

/// An entry's extra fields. What follows a damaged one is not looked at.
#[derive(Clone)]
struct Extra<'a>(&'a [u8]);

impl<'a> Extra<'a> {
    fn find(mut self, wanted: u16) -> Option<&'a [u8]> {
        self.find_map(|(kind, content)| (kind == wanted).then_some(content))
    }
}

impl<'a> Iterator for Extra<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields(self.0);
        let (kind, length) = (fields.u16()?, fields.u16()?);
        let content = fields.bytes(length.into())?;
        self.0 = fields.0;
        Some((kind, content))
    }
}

/// Little-endian fields, one after the other. There are none beyond the end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn signature(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
