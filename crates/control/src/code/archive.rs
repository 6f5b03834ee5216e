//! Zip packages: what is accepted, and how one becomes a directory.
//!
//! Must not decide where a package lives; everything here blocks, so it runs on a thread for that.

use std::{
    fs::{self, File, Permissions},
    io::{self, Cursor, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use zip::{ZipArchive, read::ZipFile, result::ZipError};

/// Why a package was refused. The last two are faults of this machine, all others of the package.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no entry in it.
    #[error("the archive is empty")]
    Empty,
    /// Its entries, unzipped, are larger than allowed.
    #[error("the archive is larger than {limit} bytes when unzipped")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It is no zip archive, or a damaged or encrypted one.
    #[error("failed to read the archive")]
    Malformed(#[source] ZipError),
    /// An entry would be written outside of the package's own directory, or over another entry.
    #[error("the archive's entry `{name}` has no place in the package")]
    Misplaced {
        /// The entry's name as the archive gives it.
        name: String,
    },
    /// An entry could not be written.
    #[error("failed to write `{path}`")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What was written could not be made durable.
    #[error("failed to flush `{path}`")]
    Flush {
        /// What was being flushed.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Extracts a package into `root`, an existing empty directory. Returns the files and directories that it wrote.
///
/// Files are readable by everyone and keep their executable bits, as on AWS. Of several entries of one name the
/// last one counts. After an error the directory holds rubbish and is to be removed.
pub(super) fn extract(package: &[u8], root: &Path, limit: u64) -> Result<Vec<PathBuf>, ArchiveError> {
    let mut archive = ZipArchive::new(Cursor::new(package)).map_err(ArchiveError::Malformed)?;
    if archive.is_empty() {
        return Err(ArchiveError::Empty);
    }
    // What the archive says of itself lets honest ones fail early; what it really holds is counted below.
    if archive.decompressed_size().is_some_and(|size| size > u128::from(limit)) {
        return Err(ArchiveError::TooLarge { limit });
    }

    let mut tree = Tree { root, room: limit, limit, written: vec![root.to_owned()] };
    let mut links = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(ArchiveError::Malformed)?;
        let path = place(entry.name())?;
        if entry.is_dir() {
            tree.directory(&path)?;
        } else if entry.is_symlink() {
            links.push((path, tree.link_target(entry)?));
        } else {
            tree.file(&path, entry)?;
        }
    }
    // Links come last, so that no entry is ever written through one.
    for (path, target) in &links {
        tree.link(path, target)?;
    }
    // Each target stays inside as text, but a chain of links may still lead out: ask the file system.
    for (path, target) in &links {
        tree.check_link(path, target)?;
    }
    Ok(tree.written)
}

/// An entry's path below the package's root. Refuses absolute names and those that climb.
fn place(name: &str) -> Result<PathBuf, ArchiveError> {
    let misplaced = || ArchiveError::Misplaced { name: name.to_owned() };
    if name.starts_with('/') || name.contains('\0') {
        return Err(misplaced());
    }
    let mut path = PathBuf::new();
    for component in name.split('/') {
        match component {
            "" | "." => {}
            ".." => return Err(misplaced()),
            normal => path.push(normal),
        }
    }
    Ok(path)
}

/// The directory being filled.
struct Tree<'a> {
    root: &'a Path,
    /// Bytes that may still be written.
    room: u64,
    limit: u64,
    written: Vec<PathBuf>,
}

impl Tree<'_> {
    /// Makes a directory and those above it, unless they are there.
    fn directory(&mut self, path: &Path) -> Result<(), ArchiveError> {
        let mut target = self.root.to_owned();
        for component in path.components() {
            target.push(component);
            match fs::create_dir(&target) {
                // Set apart from creation, because a umask would take bits away.
                Ok(()) => {
                    fs::set_permissions(&target, Permissions::from_mode(0o755))
                        .map_err(|source| ArchiveError::Write { path: target.clone(), source })?;
                    self.written.push(target.clone());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && target.is_dir() => {}
                Err(error) => return Err(unwritable(path, target, error)),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, mut entry: ZipFile<'_, impl Read>) -> Result<(), ArchiveError> {
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let target = self.root.join(path);
        let mut file = File::create(&target).map_err(|error| unwritable(path, target.clone(), error))?;
        let mode = if executable { 0o755 } else { 0o644 };
        let mut write = |buffer: &[u8]| {
            file.write_all(buffer).map_err(|source| ArchiveError::Write { path: target.clone(), source })
        };
        copy(&mut entry, &mut self.room, self.limit, &mut write)?;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(|source| ArchiveError::Write { path: target.clone(), source })?;
        self.written.push(target);
        Ok(())
    }

    /// A link's content is its target.
    fn link_target(&mut self, mut entry: ZipFile<'_, impl Read>) -> Result<PathBuf, ArchiveError> {
        let mut target = Vec::new();
        copy(&mut entry, &mut self.room, self.limit, &mut |buffer| {
            target.extend_from_slice(buffer);
            Ok(())
        })?;
        String::from_utf8(target)
            .map(PathBuf::from)
            .map_err(|_| ArchiveError::Misplaced { name: entry.name().to_owned() })
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<(), ArchiveError> {
        let misplaced = || ArchiveError::Misplaced { name: path.display().to_string() };
        let mut depth = path.components().count().checked_sub(1).ok_or_else(misplaced)?;
        for component in target.components() {
            depth = match component {
                Component::Normal(_) => depth + 1,
                Component::CurDir => depth,
                Component::ParentDir => depth.checked_sub(1).ok_or_else(misplaced)?,
                Component::RootDir | Component::Prefix(_) => return Err(misplaced()),
            };
        }
        if let Some(parent) = path.parent() {
            // A link in the place of a parent directory would take this one out of the tree.
            let mut above = self.root.to_owned();
            for component in parent.components() {
                above.push(component);
                if above.is_symlink() {
                    return Err(misplaced());
                }
            }
            self.directory(parent)?;
        }
        let place = self.root.join(path);
        symlink(target, &place).map_err(|error| unwritable(path, place, error))
    }

    fn check_link(&self, path: &Path, target: &Path) -> Result<(), ArchiveError> {
        let misplaced = || ArchiveError::Misplaced { name: path.display().to_string() };
        let root = fs::canonicalize(self.root)
            .map_err(|source| ArchiveError::Write { path: self.root.to_owned(), source })?;
        // The longest part of the target that exists decides: what lies beyond it leads nowhere. A later `..` can
        // only be resolved by a path that exists, so a dangling rest cannot climb.
        let start = root.join(path.parent().unwrap_or(Path::new("")));
        let mut reached = start;
        for component in target.components() {
            reached.push(component);
            match fs::canonicalize(&reached) {
                Ok(real) if real.starts_with(&root) => reached = real,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // Outside, or a loop of links.
                Ok(_) | Err(_) => return Err(misplaced()),
            }
        }
        Ok(())
    }
}

/// Copies an entry's content, as long as there is room.
fn copy(
    entry: &mut impl Read,
    room: &mut u64,
    limit: u64,
    write: &mut impl FnMut(&[u8]) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut buffer = [0; 32 * 1024];
    loop {
        let count = match entry.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ArchiveError::Malformed(ZipError::Io(error))),
        };
        *room = room.checked_sub(count as u64).ok_or(ArchiveError::TooLarge { limit })?;
        write(&buffer[..count])?;
    }
}

/// Tells an entry that cannot be where it wants to be from a disk that fails.
fn unwritable(path: &Path, target: PathBuf, error: io::Error) -> ArchiveError {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    match error.kind() {
        AlreadyExists | IsADirectory | NotADirectory | InvalidFilename => {
            ArchiveError::Misplaced { name: path.display().to_string() }
        }
        _ => ArchiveError::Write { path: target, source: error },
    }
}

/// Flushes what [`extract`] wrote to the disk.
pub(super) fn flush(root: &Path, written: &[PathBuf]) -> Result<(), ArchiveError> {
    /// Up to here single flushes are faster than one of the whole file system, which may wait for foreign writes.
    const FEW: usize = 64;

    let flush = |path: &PathBuf, how: fn(&File) -> io::Result<()>| {
        File::open(path)
            .and_then(|file| how(&file))
            .map_err(|source| ArchiveError::Flush { path: path.clone(), source })
    };
    if written.len() > FEW {
        flush(&root.to_owned(), |directory| Ok(rustix::fs::syncfs(directory)?))
    } else {
        written.iter().try_for_each(|path| flush(path, File::sync_all))
    }
}

#[cfg(test)]
mod tests {
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    enum Entry {
        File(&'static str, &'static str, Option<u32>),
        Directory(&'static str),
        Link(&'static str, &'static str),
    }
    use Entry::{Directory, File, Link};

    fn package(entries: &[Entry]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for entry in entries {
            match entry {
                File(name, content, mode) => {
                    let options = mode.map_or(options, |mode| options.unix_permissions(mode));
                    writer.start_file(*name, options).unwrap();
                    writer.write_all(content.as_bytes()).unwrap();
                }
                Directory(name) => writer.add_directory(*name, options).unwrap(),
                Link(name, target) => writer.add_symlink(*name, *target, options).unwrap(),
            }
        }
        writer.finish().unwrap().into_inner()
    }

    fn extracted(entries: &[Entry]) -> Result<tempfile::TempDir, ArchiveError> {
        let root = tempfile::tempdir().unwrap();
        extract(&package(entries), root.path(), 1000).map(|written| {
            flush(root.path(), &written).unwrap();
            root
        })
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_are_readable_by_all_and_keep_executable_bits() {
        let root = extracted(&[
            Directory("lib/"),
            File("lib/private", "1", Some(0o600)),
            File("bootstrap", "2", Some(0o700)),
            File("deep/er/plain", "3", None),
        ])
        .unwrap();
        let root = root.path();
        assert_eq!(mode(&root.join("lib")), 0o755);
        assert_eq!(mode(&root.join("deep/er")), 0o755);
        assert_eq!(mode(&root.join("lib/private")), 0o644);
        assert_eq!(mode(&root.join("bootstrap")), 0o755);
        assert_eq!(mode(&root.join("deep/er/plain")), 0o644);
        assert_eq!(fs::read(root.join("deep/er/plain")).unwrap(), b"3");
    }

    #[test]
    fn entries_without_unix_attributes_get_plain_modes() {
        let mut bytes = package(&[File("a", "1", Some(0o755))]);
        // External attributes of the only central directory record: as archives made elsewhere have them.
        let central = bytes.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        bytes[central + 38..central + 42].fill(0);
        let root = tempfile::tempdir().unwrap();
        extract(&bytes, root.path(), 1000).unwrap();
        assert_eq!(mode(&root.path().join("a")), 0o644);
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        for name in ["../x", "a/../../x", "/etc/x", "a/.."] {
            let error = extracted(&[File(name, "1", None)]).unwrap_err();
            assert!(matches!(error, ArchiveError::Misplaced { .. }), "{name}: {error:?}");
        }
    }

    #[test]
    fn links_that_leave_the_package_are_refused() {
        let cases: [&[Entry]; 6] = [
            &[Link("a", "/etc/passwd")],
            &[Link("a", "../x")],
            &[Directory("d/"), Link("d/a", "../../x")],
            // As text the second target stays inside; followed, the first link takes it out.
            &[Directory("a/b/c/"), Link("a/b/c/up", "../../.."), Link("out", "a/b/c/up/..")],
            &[Link("loop", "loop")],
            &[Directory("d/"), Link("a", "d"), Link("a/b", "x")],
        ];
        for (index, entries) in cases.into_iter().enumerate() {
            let error = extracted(entries).unwrap_err();
            assert!(matches!(error, ArchiveError::Misplaced { .. }), "case {index}: {error:?}");
        }
    }

    #[test]
    fn links_within_the_package_are_kept() {
        let root = extracted(&[
            Link("lib/libx.so", "libx.so.1"),
            File("lib/libx.so.1", "1", None),
            Link("up", "lib/../lib/libx.so"),
            Link("dangling", "not/there"),
        ])
        .unwrap();
        assert_eq!(fs::read_link(root.path().join("lib/libx.so")).unwrap(), Path::new("libx.so.1"));
        assert_eq!(fs::read(root.path().join("up")).unwrap(), b"1");
        assert!(root.path().join("dangling").is_symlink());
    }

    #[test]
    fn last_entry_of_a_name_counts_and_a_file_is_no_directory() {
        let root = extracted(&[File("a", "longer", None), File("./a", "2", None)]).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"2");
        let conflicts: [&[Entry]; 3] = [
            &[File("a", "1", None), File("a/b", "2", None)],
            &[File("a/b", "2", None), File("a", "1", None)],
            &[File("a", "1", None), Link("./a", "b")],
        ];
        for entries in conflicts {
            let error = extracted(entries).unwrap_err();
            assert!(matches!(error, ArchiveError::Misplaced { .. }), "{error:?}");
        }
    }

    #[test]
    fn size_is_limited_by_content_whatever_the_archive_says() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file("a", options).unwrap();
        writer.write_all(&[0; 100_000]).unwrap();
        let mut bytes = writer.finish().unwrap().into_inner();
        assert!(bytes.len() < 1000);
        assert!(matches!(
            extract(&bytes, root.path(), 99_999).unwrap_err(),
            ArchiveError::TooLarge { limit: 99_999 }
        ));
        assert!(!root.path().join("a").exists(), "refused before anything is written");
        extract(&bytes, root.path(), 100_000).unwrap();

        // An archive that lies about its size is found out, too.
        let central = bytes.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        bytes[central + 24..central + 28].copy_from_slice(&1u32.to_le_bytes());
        assert!(matches!(extract(&bytes, root.path(), 50_000).unwrap_err(), ArchiveError::TooLarge { .. }));
    }

    #[test]
    fn rubbish_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"not a zip", b"PK\x05\x06"] {
            assert!(matches!(extract(bytes, root.path(), 1000).unwrap_err(), ArchiveError::Malformed(_)));
        }
        assert!(matches!(extract(&package(&[]), root.path(), 1000).unwrap_err(), ArchiveError::Empty));
        let mut damaged = package(&[File("a", "some content", None)]);
        let data = damaged.windows(4).position(|bytes| bytes == b"some" || bytes[0] == 0x2b).unwrap();
        damaged[data] ^= 0xff;
        assert!(extract(&damaged, root.path(), 1000).is_err());
    }
}
