//! Several extracted packages as one directory: what layers are together.
//!
//! Files are shared with the packages by hard links, so that a merged directory takes hardly any room. Must not change
//! anything in a package: what is in both places is one file.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, OsStr},
    fs::{File, Permissions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

/// What could not be merged, and why.
#[derive(Debug)]
pub(super) struct OverlayError {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// Fills `target`, an existing empty directory, with the content of all `sources`. Of things of one name that of the
/// last source counts, but directories of one name become one.
pub(super) fn merge(sources: &[PathBuf], target: &Path) -> Result<(), OverlayError> {
    let open = |path: &PathBuf| {
        fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|error| OverlayError { path: path.clone(), source: error.into() })
    };
    // The first one counts from here on.
    let directories = sources.iter().rev().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut overlay = Overlay { path: target.to_owned() };
    let target = open(&overlay.path)?;
    overlay.fill(target.as_fd(), &directories)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Overlay {
    /// Where it is, for errors.
    path: PathBuf,
}

impl Overlay {
    fn fill(&mut self, target: BorrowedFd<'_>, sources: &[OwnedFd]) -> Result<(), OverlayError> {
        for (name, found) in self.names(sources)? {
            self.path.push(OsStr::from_bytes(name.to_bytes()));
            // What is below a directory in a lower source is hidden where something between them is none.
            let mut directories = found
                .iter()
                .take_while(|(_, kind)| *kind == FileType::Directory)
                .map(|(index, _)| &sources[*index])
                .peekable();
            match (directories.peek(), found.first()) {
                (Some(_), _) => self.directory(target, &name, directories.collect())?,
                (None, Some((index, kind))) => self.link(target, &name, sources[*index].as_fd(), *kind)?,
                (None, None) => {}
            }
            self.path.pop();
        }
        Ok(())
    }

    /// Every name in the sources, with which of them have it, and as what.
    fn names(&self, sources: &[OwnedFd]) -> Result<BTreeMap<CString, Vec<(usize, FileType)>>, OverlayError> {
        let mut names = BTreeMap::<CString, Vec<_>>::new();
        for (index, source) in sources.iter().enumerate() {
            for entry in Dir::read_from(source).map_err(|error| self.failed(error))? {
                let entry = entry.map_err(|error| self.failed(error))?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let kind = match entry.file_type() {
                    // Not every file system tells with the name.
                    FileType::Unknown => FileType::from_raw_mode(self.look(source.as_fd(), name)?.st_mode),
                    kind => kind,
                };
                names.entry(name.to_owned()).or_default().push((index, kind));
            }
        }
        Ok(names)
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        sources: Vec<&OwnedFd>,
    ) -> Result<(), OverlayError> {
        let open = |parent: BorrowedFd<'_>| fs::openat(parent, name, DIRECTORY, Mode::empty());
        let sources = sources
            .into_iter()
            .map(|source| open(source.as_fd()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.failed(error))?;
        let made = fs::mkdirat(parent, name, Mode::RWXU)
            .and_then(|()| open(parent))
            .map_err(|error| self.failed(error))?;
        self.fill(made.as_fd(), &sources)?;
        // What is in a directory changes its time, so that comes last.
        let like = sources.first().map(fs::fstat).transpose().map_err(|error| self.failed(error))?;
        like.map_or(Ok(()), |like| {
            fs::fchmod(&made, Mode::from_raw_mode(like.st_mode & 0o777))?;
            fs::futimens(&made, &times(&like))
        })
        .map_err(|error| self.failed(error))
    }

    /// Gives a file or a symbolic link a second name.
    fn link(
        &self,
        target: BorrowedFd<'_>,
        name: &CStr,
        source: BorrowedFd<'_>,
        kind: FileType,
    ) -> Result<(), OverlayError> {
        match fs::linkat(source, name, target, name, AtFlags::empty()) {
            // There are file systems without hard links, and a file can have only so many.
            Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV) => {
                self.copy(target, name, source, kind)
            }
            linked => linked.map_err(|error| self.failed(error)),
        }
    }

    fn copy(
        &self,
        target: BorrowedFd<'_>,
        name: &CStr,
        source: BorrowedFd<'_>,
        kind: FileType,
    ) -> Result<(), OverlayError> {
        let failed = |source: io::Error| OverlayError { path: self.path.clone(), source };
        if kind == FileType::Symlink {
            let leads_to = fs::readlinkat(source, name, Vec::new()).map_err(|error| self.failed(error))?;
            return fs::symlinkat(&*leads_to, target, name).map_err(|error| self.failed(error));
        }
        const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);
        let like = self.look(source, name)?;
        let open = |directory, how| {
            fs::openat(directory, name, how, Mode::RUSR | Mode::WUSR).map_err(|error| self.failed(error))
        };
        let mut from = File::from(open(source, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC)?);
        let mut to = File::from(open(target, NEW)?);
        io::copy(&mut from, &mut to).map_err(failed)?;
        to.set_permissions(Permissions::from_mode(like.st_mode & 0o777)).map_err(failed)?;
        fs::futimens(&to, &times(&like)).map_err(|error| self.failed(error))
    }

    fn look(&self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Stat, OverlayError> {
        fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Errno) -> OverlayError {
        OverlayError { path: self.path.clone(), source: error.into() }
    }
}

fn times(like: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: like.st_atime, tv_nsec: like.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: like.st_mtime, tv_nsec: like.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
mod tests {
    use std::{fs as files, os::unix::fs::MetadataExt};

    use super::*;

    /// Directories with these files: names that end in `/` are directories, those with an arrow are links.
    fn sources(each: &[&[&str]]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        let sources = each.iter().enumerate().map(|(index, names)| {
            let source = root.path().join(index.to_string());
            files::create_dir(&source).unwrap();
            for name in *names {
                let (name, leads_to) = name.split_once("->").unwrap_or((name, ""));
                let path = source.join(name);
                files::create_dir_all(path.parent().unwrap()).unwrap();
                if name.ends_with('/') {
                    files::create_dir_all(path).unwrap();
                } else if leads_to.is_empty() {
                    files::write(path, index.to_string()).unwrap();
                } else {
                    std::os::unix::fs::symlink(leads_to, path).unwrap();
                }
            }
            source
        });
        let sources = sources.collect();
        (root, sources)
    }

    fn merged(root: &tempfile::TempDir, sources: &[PathBuf]) -> PathBuf {
        let target = root.path().join("merged");
        files::create_dir(&target).unwrap();
        merge(sources, &target).unwrap();
        target
    }

    #[test]
    fn last_source_counts_file_by_file() {
        let (root, sources) =
            sources(&[&["a", "both", "d/a", "d/both"], &["b", "both", "d/b", "d/both", "empty/"]]);
        let target = merged(&root, &sources);
        let read = |name: &str| files::read_to_string(target.join(name)).unwrap();
        let names = ["a", "b", "both", "d/a", "d/b", "d/both"];
        assert_eq!(names.map(read), ["0", "1", "1", "0", "1", "1"]);
        assert!(target.join("empty").is_dir());
    }

    #[test]
    fn things_of_different_kinds_replace_each_other() {
        let (root, sources) = sources(&[
            &["file", "directory/below", "link", "three/lowest"],
            &["file/below", "directory", "link->nowhere", "three"],
            &["three/highest"],
        ]);
        let target = merged(&root, &sources);
        assert!(target.join("file/below").is_file());
        assert!(target.join("directory").is_file());
        assert_eq!(files::read_link(target.join("link")).unwrap(), Path::new("nowhere"));
        assert!(target.join("three/highest").is_file());
        assert!(!target.join("three/lowest").exists(), "a file between them hides it");
    }

    #[test]
    fn permissions_and_times_are_those_of_the_packages() {
        let (root, sources) = sources(&[&["d/a"], &["d/b"]]);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for (source, mode) in sources.iter().zip([0o711, 0o755]) {
            files::set_permissions(source.join("d"), Permissions::from_mode(mode)).unwrap();
            File::open(source.join("d")).unwrap().set_modified(time).unwrap();
        }
        files::set_permissions(sources[0].join("d/a"), Permissions::from_mode(0o640)).unwrap();
        let target = merged(&root, &sources);
        let look = |name: &str| files::metadata(target.join(name)).unwrap();
        assert_eq!(look("d").mode() & 0o777, 0o755);
        assert_eq!(look("d").modified().unwrap(), time);
        assert_eq!(look("d/a").mode() & 0o777, 0o640);
        assert_eq!(look("d/a").ino(), files::metadata(sources[0].join("d/a")).unwrap().ino(), "not a copy");
    }

    #[test]
    fn copies_are_made_where_there_can_be_no_links() {
        let (root, sources) = sources(&[&["file", "link->somewhere"]]);
        let file = sources[0].join("file");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::open(&file).unwrap().set_modified(time).unwrap();
        files::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
        let target = root.path().join("target");
        files::create_dir(&target).unwrap();

        let overlay = Overlay { path: target.clone() };
        let [from, to] = [&sources[0], &target].map(|path| fs::open(path, DIRECTORY, Mode::empty()).unwrap());
        for (name, kind) in [(c"file", FileType::RegularFile), (c"link", FileType::Symlink)] {
            overlay.copy(to.as_fd(), name, from.as_fd(), kind).unwrap();
        }
        let copy = files::metadata(target.join("file")).unwrap();
        assert_eq!((copy.mode() & 0o777, copy.modified().unwrap()), (0o444, time));
        assert_ne!(copy.ino(), files::metadata(file).unwrap().ino());
        assert_eq!(files::read(target.join("file")).unwrap(), b"0");
        assert_eq!(files::read_link(target.join("link")).unwrap(), Path::new("somewhere"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let (root, mut sources) = sources(&[&["a"]]);
        sources.push(root.path().join("missing"));
        let target = root.path().join("merged");
        files::create_dir(&target).unwrap();
        assert_eq!(merge(&sources, &target).unwrap_err().path, sources[1]);
    }
}
