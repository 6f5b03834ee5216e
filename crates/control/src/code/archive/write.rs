//! Writes a planned package to the disk.
//!
//! Must not follow a link, nor use a path: each thing is made in its directory, which is open.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::PathBuf,
};

use flate2::{Crc, bufread::DeflateDecoder};
use rustix::{
    fs::{self, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{
    ArchiveError, Flaw,
    central::{Archive, Record},
    shown,
    tree::{Directory, Node},
};

/// Writes one package.
pub(super) struct Writer<'a> {
    pub(super) archive: &'a Archive<'a>,
    pub(super) records: &'a [Record<'a>],
    /// Whether each thing is made durable as soon as it is written.
    pub(super) flush: bool,
    /// Where it is, for errors.
    pub(super) path: PathBuf,
    pub(super) buffer: Box<[u8]>,
}

impl Writer<'_> {
    /// Fills a directory.
    pub(super) fn fill(
        &mut self,
        directory: BorrowedFd<'_>,
        content: &Directory<'_>,
    ) -> Result<(), ArchiveError> {
        for (name, node) in &content.children {
            let name = OsStr::from_bytes(name);
            self.path.push(name);
            match node {
                Node::Directory(content) => self.directory(directory, name, content)?,
                Node::File(index) => self.file(directory, name, &self.records[*index])?,
                Node::Link(index) => self.link(directory, name, &self.records[*index])?,
            }
            self.path.pop();
        }
        if self.flush { fs::fsync(directory).map_err(|error| self.unflushable(error)) } else { Ok(()) }
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        content: &Directory<'_>,
    ) -> Result<(), ArchiveError> {
        const HOW: OFlags =
            OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

        let made = fs::mkdirat(parent, name, Mode::RWXU)
            .and_then(|()| fs::openat(parent, name, HOW, Mode::empty()))
            .map_err(|error| self.unwritable(error))?;
        let record = content.record.map(|index| &self.records[index]);
        // Its owner has to be able to remove it again. It has its mode before it is flushed.
        let mode = permissions(record, 0o755) | 0o700;
        fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(|error| self.unwritable(error))?;
        self.fill(made.as_fd(), content)?;
        match record {
            Some(record) => self.date(made.as_fd(), record),
            None => Ok(()),
        }
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        record: &Record<'_>,
    ) -> Result<(), ArchiveError> {
        const HOW: OFlags = OFlags::WRONLY
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);

        let file =
            fs::openat(parent, name, HOW, Mode::RUSR | Mode::WUSR).map_err(|error| self.unwritable(error))?;
        let mut file = File::from(file);
        self.copy(record, &mut |bytes| file.write_all(bytes))?;
        // Its owner has to be able to read it, because that may be the one whom functions run as.
        let mode = permissions(Some(record), 0o644) | 0o400;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(|source| ArchiveError::Write { path: self.path.clone(), source })?;
        self.date(file.as_fd(), record)?;
        if self.flush {
            file.sync_all().map_err(|source| ArchiveError::Flush { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    /// Where a link leads is for the function to find out, in its own root: AWS's layers are reached by links to `/opt`.
    /// Nothing here follows it.
    fn link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        record: &Record<'_>,
    ) -> Result<(), ArchiveError> {
        let mut target = Vec::new();
        self.copy(record, &mut |bytes| {
            target.extend_from_slice(bytes);
            Ok(())
        })?;
        if target.is_empty() || target.contains(&0) {
            return Err(ArchiveError::Misplaced { name: shown(&record.name) });
        }
        fs::symlinkat(OsStr::from_bytes(&target), parent, name).map_err(|error| self.unwritable(error))
    }

    /// Unpacks an entry's content: exactly as many bytes as the archive says, and never more.
    fn copy(
        &mut self,
        record: &Record<'_>,
        write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ArchiveError> {
        let damaged = |source| ArchiveError::from(Flaw::Entry { name: shown(&record.name), source });
        let mut stored = self.archive.content(record).ok_or_else(|| damaged(None))?;
        let mut inflated;
        let content: &mut dyn Read = match record.method {
            0 => &mut stored,
            8 => {
                inflated = DeflateDecoder::new(stored);
                &mut inflated
            }
            method => return Err(Flaw::Method { name: shown(&record.name), method }.into()),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut left = record.size;
        let mut checksum = Crc::new();
        loop {
            let count = content.read(&mut buffer).map_err(|source| damaged(Some(source)))?;
            if count == 0 {
                break;
            }
            left = left.checked_sub(count as u64).ok_or_else(|| damaged(None))?;
            checksum.update(&buffer[..count]);
            write(&buffer[..count])
                .map_err(|source| ArchiveError::Write { path: self.path.clone(), source })?;
        }
        self.buffer = buffer;
        if left == 0 && checksum.sum() == record.checksum { Ok(()) } else { Err(damaged(None)) }
    }

    /// Gives it the archive's date. Python compares it with that in the compiled modules of a package.
    fn date(&self, made: BorrowedFd<'_>, record: &Record<'_>) -> Result<(), ArchiveError> {
        let time = Timespec { tv_sec: record.modified, tv_nsec: 0 };
        fs::futimens(made, &Timestamps { last_access: time, last_modification: time })
            .map_err(|error| self.unwritable(error))
    }

    fn unflushable(&self, error: Errno) -> ArchiveError {
        ArchiveError::Flush { path: self.path.clone(), source: error.into() }
    }

    /// Tells a name that this file system does not take, though others do, from a disk that fails.
    fn unwritable(&self, error: Errno) -> ArchiveError {
        match error {
            Errno::EXIST | Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => {
                ArchiveError::Misplaced { name: shown(self.path.as_os_str().as_bytes()) }
            }
            _ => ArchiveError::Write { path: self.path.clone(), source: error.into() },
        }
    }
}

/// An entry's permissions, as AWS has them: those of the archive, which may well keep a function from reading a file.
/// Archives that are not made on Unix have none.
fn permissions(record: Option<&Record<'_>>, default: u32) -> u32 {
    // Neither set-user-ID, set-group-ID nor the sticky bit.
    record.map(|record| record.mode).filter(|&mode| mode != 0).map_or(default, |mode| mode & 0o777)
}
