//! Writes a planned package to the disk, several threads at once if it is large.
//!
//! Must not follow a link, nor use a path: each thing is made in its directory, which is open.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::Write,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{self, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{
    ArchiveError,
    central::{Archive, Record},
    inflate::Inflater,
    shown,
    tree::{Directory, Node},
};

/// How many files are written by one thread before it looks for other work.
const BATCH: usize = 32;
/// How many bytes, unless one file has more.
const BATCH_BYTES: u64 = 1 << 20;

/// Writes one package.
pub(super) struct Writer<'a> {
    archive: &'a Archive<'a>,
    records: &'a [Record<'a>],
    /// What remains of the permissions that a new file or directory is to have, whatever the umask is.
    lasting: u32,
    queue: Mutex<Queue<'a>>,
    changed: Condvar,
}

/// What is yet to be done. The last is done first, so that few directories are open at a time.
#[derive(Default)]
struct Queue<'a> {
    jobs: Vec<Job<'a>>,
    /// Jobs that are being done, and may bring more.
    busy: usize,
    failed: Option<ArchiveError>,
}

enum Job<'a> {
    Directory { parent: Arc<Made>, name: &'a OsStr, content: &'a Directory<'a> },
    Files { directory: Arc<Made>, files: Vec<(&'a OsStr, &'a Node<'a>)> },
}

/// A directory that is being filled.
struct Made {
    directory: OwnedFd,
    /// Where it is, for errors.
    path: PathBuf,
    /// The time that it is given when all is in it.
    modified: Option<i64>,
}

impl<'a> Writer<'a> {
    /// Prepares to fill `root`, an existing empty directory.
    pub(super) fn new(
        archive: &'a Archive<'a>,
        records: &'a [Record<'a>],
        root: &Path,
        content: &'a Directory<'a>,
    ) -> Result<Self, ArchiveError> {
        let failed = |error: Errno| ArchiveError::Write { path: root.to_owned(), source: error.into() };
        let directory = fs::open(root, DIRECTORY, Mode::empty()).map_err(failed)?;
        let writer = Self {
            archive,
            records,
            lasting: lasting(directory.as_fd()).map_err(failed)?,
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        let root = Made { directory, path: root.to_owned(), modified: None };
        writer.lock().jobs = writer.jobs(Arc::new(root), content);
        Ok(writer)
    }

    /// Works until everything is written or something has failed. Any number of threads may.
    pub(super) fn work(&self) {
        let mut inflater = Inflater::new();
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop() {
                queue.busy += 1;
                drop(queue);
                // Also if it panics, which the others would else wait for.
                let busy = Busy(self);
                let done = self.perform(job, &mut inflater);
                queue = self.lock();
                match done {
                    Ok(more) if queue.failed.is_none() => queue.jobs.extend(more),
                    Ok(_) => {}
                    Err(error) => {
                        queue.failed.get_or_insert(error);
                        queue.jobs.clear();
                    }
                }
                drop(queue);
                drop(busy);
                queue = self.lock();
            } else if queue.busy == 0 {
                return;
            } else {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// What has failed, if something has.
    pub(super) fn finish(self) -> Result<(), ArchiveError> {
        let queue = self.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.failed.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to be done in a directory, files last: they come first.
    fn jobs(&self, made: Arc<Made>, content: &'a Directory<'a>) -> Vec<Job<'a>> {
        let (mut jobs, mut batches) = (Vec::new(), Vec::new());
        let (mut files, mut bytes) = (Vec::new(), 0);
        for (name, node) in &content.children {
            let name = OsStr::from_bytes(name);
            match node {
                Node::Directory(content) => {
                    jobs.push(Job::Directory { parent: Arc::clone(&made), name, content });
                }
                Node::File(index) | Node::Link(index) => {
                    files.push((name, node));
                    bytes += self.records[*index].size;
                    if files.len() == BATCH || bytes >= BATCH_BYTES {
                        let files = std::mem::take(&mut files);
                        batches.push(Job::Files { directory: Arc::clone(&made), files });
                        bytes = 0;
                    }
                }
            }
        }
        if !files.is_empty() || content.children.is_empty() {
            batches.push(Job::Files { directory: made, files });
        }
        jobs.append(&mut batches);
        jobs
    }

    /// Returns what there is to be done then.
    fn perform(&self, job: Job<'a>, inflater: &mut Inflater) -> Result<Vec<Job<'a>>, ArchiveError> {
        match job {
            Job::Directory { parent, name, content } => {
                let made = self.directory(&parent, name, content);
                finished(parent)?;
                Ok(self.jobs(Arc::new(made?), content))
            }
            Job::Files { directory, files } => {
                let written = files.into_iter().try_for_each(|(name, node)| match node {
                    Node::File(index) => self.file(&directory, name, &self.records[*index], inflater),
                    Node::Link(index) => self.link(&directory, name, &self.records[*index], inflater),
                    Node::Directory(_) => Ok(()),
                });
                written?;
                finished(directory)?;
                Ok(Vec::new())
            }
        }
    }

    fn directory(&self, parent: &Made, name: &OsStr, content: &Directory<'_>) -> Result<Made, ArchiveError> {
        let failed = |error| unwritable(parent, name, error);
        let record = content.record.map(|index| &self.records[index]);
        // Its owner has to be able to remove it again.
        let mode = permissions(record, 0o755) | 0o700;
        fs::mkdirat(&parent.directory, name, Mode::from_raw_mode(mode)).map_err(failed)?;
        let directory = fs::openat(&parent.directory, name, DIRECTORY, Mode::empty()).map_err(failed)?;
        if mode & !self.lasting != 0 {
            fs::fchmod(&directory, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        let modified = record.map(|record| record.modified);
        Ok(Made { directory, path: parent.path.join(name), modified })
    }

    fn file(
        &self,
        parent: &Made,
        name: &OsStr,
        record: &Record<'_>,
        inflater: &mut Inflater,
    ) -> Result<(), ArchiveError> {
        const HOW: OFlags = OFlags::WRONLY
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);

        // Its owner has to be able to read it, because that may be the one whom functions run as.
        let mode = permissions(Some(record), 0o644) | 0o400;
        let failed = |source| ArchiveError::Write { path: parent.path.join(name), source };
        let file = fs::openat(&parent.directory, name, HOW, Mode::from_raw_mode(mode))
            .map_err(|error| unwritable(parent, name, error))?;
        let mut file = File::from(file);
        inflater.unpack(self.archive, record, |bytes| file.write_all(bytes))?.map_err(failed)?;
        if mode & !self.lasting != 0 {
            file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        }
        date(file.as_fd(), record.modified).map_err(|error| failed(error.into()))
    }

    /// Where a link leads is for the function to find out, in its own root: AWS's layers are reached by links to `/opt`.
    /// Nothing here follows it.
    fn link(
        &self,
        parent: &Made,
        name: &OsStr,
        record: &Record<'_>,
        inflater: &mut Inflater,
    ) -> Result<(), ArchiveError> {
        let mut target = Vec::new();
        let read = inflater.unpack(self.archive, record, |bytes| {
            target.extend_from_slice(bytes);
            Ok(())
        })?;
        read.map_err(|source| ArchiveError::Write { path: parent.path.join(name), source })?;
        if target.is_empty() || target.contains(&0) {
            return Err(ArchiveError::Misplaced { name: shown(&record.name) });
        }
        fs::symlinkat(OsStr::from_bytes(&target), &parent.directory, name)
            .map_err(|error| unwritable(parent, name, error))
    }
}

/// One job that is being done.
struct Busy<'a, 'b>(&'a Writer<'b>);

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which permissions a new file keeps: a directory's default list may take some away, as the umask does, and those have
/// to be given by a call of their own.
fn lasting(directory: BorrowedFd<'_>) -> Result<u32, Errno> {
    const PROBE: &str = ".permissions";

    fs::mkdirat(directory, PROBE, Mode::from_raw_mode(0o777))?;
    let found = fs::statat(directory, PROBE, fs::AtFlags::SYMLINK_NOFOLLOW);
    fs::unlinkat(directory, PROBE, fs::AtFlags::REMOVEDIR)?;
    Ok(found?.st_mode & 0o777)
}

/// Dates a directory if this was the last that had to do with it: what is made in it changes its time.
fn finished(made: Arc<Made>) -> Result<(), ArchiveError> {
    match Arc::into_inner(made) {
        Some(Made { directory, path, modified: Some(modified) }) => date(directory.as_fd(), modified)
            .map_err(|error| ArchiveError::Write { path, source: error.into() }),
        _ => Ok(()),
    }
}

/// Gives something the archive's date. Python compares it with that in the compiled modules of a package.
fn date(made: BorrowedFd<'_>, modified: i64) -> Result<(), Errno> {
    let time = Timespec { tv_sec: modified, tv_nsec: 0 };
    fs::futimens(made, &Timestamps { last_access: time, last_modification: time })
}

/// Tells a name that this file system does not take, though others do, from a disk that fails.
fn unwritable(parent: &Made, name: &OsStr, error: Errno) -> ArchiveError {
    let path = parent.path.join(name);
    match error {
        Errno::EXIST | Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => {
            ArchiveError::Misplaced { name: shown(path.as_os_str().as_bytes()) }
        }
        _ => ArchiveError::Write { path, source: error.into() },
    }
}

/// An entry's permissions, as AWS has them: those of the archive, which may well keep a function from reading a file.
/// Archives that are not made on Unix have none.
fn permissions(record: Option<&Record<'_>>, default: u32) -> u32 {
    // Neither set-user-ID, set-group-ID nor the sticky bit.
    record.map(|record| record.mode).filter(|&mode| mode != 0).map_or(default, |mode| mode & 0o777)
}
