//! Archives of Java's classes: what a virtual machine made of the classes that every function loads before its own, kept so
//! that others map it instead of reading, checking and linking those classes again.
//!
//! Must not make one: an executor does, from Java and AWS's client alone. What functions do must never come into an archive,
//! which is read by the virtual machines of all others.
//!
//! Kept as `<data directory>/runtimes/java/archive-<installation>-<contents>/`, which is complete when it exists: `classes`,
//! and `digest`, by which a damaged one is known. The second part of the name stands for all that it was made from, so that
//! another Java or another client has another one.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    client::{self, Unfinished},
    family::Line,
    interpreter::Interpreter,
    plan::Mount,
};

const CLASSES: &str = "classes";
const DIGEST: &str = "digest";

/// Where environments see the archive's directory.
const INSIDE: &str = "/var/classes";

/// More is none of these: they have 8 or 24 MB.
const LARGEST: u64 = 128 * 1024 * 1024;

/// The archive of one Java installation and one client, which may not have been made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    directory: PathBuf,
    /// Whether this Java makes the newer kind, which holds linked classes as well.
    is_cache: bool,
}

impl Archive {
    /// The one for an interpreter and the client in this runtime directory; `None` for a Java that can make none.
    pub(super) fn of(interpreter: &Interpreter, used: Line, runtime_directory: &Path) -> Option<Self> {
        if used.major < 13 {
            return None;
        }
        let prefix = interpreter.prefix();
        let mut contents = Sha256::new();
        contents.update(fs::read(prefix.join("release")).ok()?);
        let own =
            ["lib/modules", "lib/server/libjvm.so", "lib/server/classes.jsa"].map(|name| prefix.join(name));
        let mut jars: Vec<PathBuf> =
            fs::read_dir(runtime_directory.join("lib")).ok()?.flatten().map(|entry| entry.path()).collect();
        jars.sort_unstable();
        for path in own.iter().chain(&jars) {
            let metadata = fs::metadata(path).ok()?;
            let when = (metadata.mtime(), metadata.mtime_nsec());
            contents.update(format!("{}\0{}\0{when:?}\0", path.display(), metadata.len()));
        }
        let installation = Sha256::new_with_prefix(prefix.as_os_str().as_encoded_bytes());
        let name = format!(
            "archive-{}-{}",
            client::short_hexadecimal(installation),
            client::short_hexadecimal(contents)
        );
        Some(Self { directory: runtime_directory.parent()?.join(name), is_cache: used.major >= 25 })
    }

    /// Its directory, which is there if it was made.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is of the newer kind.
    pub(super) fn is_cache(&self) -> bool {
        self.is_cache
    }

    /// Whether it is there and undamaged. A damaged one is removed. Reads it, which takes some milliseconds.
    pub(super) fn is_whole(&self) -> bool {
        let Ok(expected) = fs::read_to_string(self.directory.join(DIGEST)) else {
            return self.directory.exists() && self.remove();
        };
        digest_of(&self.directory.join(CLASSES)).is_ok_and(|digest| digest == expected) || self.remove()
    }

    /// Removes what is damaged; environments that have it mapped keep it. Never whole afterwards.
    fn remove(&self) -> bool {
        tracing::warn!(path = %self.directory.display(), "a damaged archive of Java's classes was removed");
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, "failed to remove a damaged archive of Java's classes");
        }
        false
    }

    /// How environments see it.
    pub(super) fn mount(&self) -> Mount {
        Mount { source: self.directory.clone(), target: PathBuf::from(INSIDE) }
    }

    /// The options of a virtual machine that uses it. One that cannot says nothing, since what it says is in the function's log.
    pub(super) fn options(&self) -> Vec<OsString> {
        let classes = Path::new(INSIDE).join(CLASSES);
        let mut options = vec![OsString::from("-Xlog:cds*=off")];
        if self.is_cache {
            options.push("-Xlog:aot*=off".into());
        }
        options
            .push(option(if self.is_cache { "-XX:AOTCache=" } else { "-XX:SharedArchiveFile=" }, &classes));
        options
    }

    /// The option of a virtual machine that makes it in this directory when it ends.
    pub(super) fn making(&self, directory: &Path) -> OsString {
        let name = if self.is_cache { "-XX:AOTCacheOutput=" } else { "-XX:ArchiveClassesAtExit=" };
        option(name, &directory.join(CLASSES))
    }

    /// A place for making it. Blocks.
    ///
    /// # Errors
    /// If the data directory cannot be written.
    pub fn begin(&self) -> io::Result<Making> {
        let parent = self.directory.parent().unwrap_or(Path::new("/"));
        client::remove_abandoned(parent);
        let unfinished = Unfinished::create(parent)?;
        let work = unfinished.path.join("work");
        fs::create_dir(&work)?;
        // The virtual machine is another user there.
        fs::set_permissions(&work, Permissions::from_mode(0o777))?;
        Ok(Making { archive: self.clone(), unfinished, work })
    }
}

/// An archive in the making. What is not finished is removed.
#[derive(Debug)]
pub struct Making {
    archive: Archive,
    unfinished: Unfinished,
    work: PathBuf,
}

impl Making {
    /// The directory that the virtual machine writes to.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Puts what the virtual machine made into force, unless another service was faster, and removes what an older state of the
    /// same installation had. Blocks.
    ///
    /// # Errors
    /// It made nothing, or the data directory cannot be written.
    pub fn finish(self) -> io::Result<()> {
        let made = self.work.join(CLASSES);
        let length = fs::symlink_metadata(&made)?.len();
        if length == 0 || length > LARGEST {
            return Err(io::Error::other(format!("the archive has {length} bytes")));
        }
        let directory = &self.unfinished.path;
        let classes = directory.join(CLASSES);
        fs::copy(&made, &classes)?;
        fs::remove_dir_all(&self.work)?;
        fs::write(directory.join(DIGEST), digest_of(&classes)?)?;
        for (path, mode) in [(&classes, 0o644), (directory, 0o755)] {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        // After a loss of power it is whole or not there.
        File::open(&classes)?.sync_all()?;
        self.unfinished.publish(&self.archive.directory)?;
        remove_older(&self.archive.directory);
        Ok(())
    }
}

fn remove_older(directory: &Path) {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((installation, _)) = name.rsplit_once('-') else { return };
    for entry in
        directory.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten()
    {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        if other != name.as_str() && other.rsplit_once('-').is_some_and(|(of, _)| of == installation) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn digest_of(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut File::open(path)?.take(LARGEST + 1), &mut digest)?;
    Ok(client::short_hexadecimal(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::{Catalog, Language, Policy, fixtures::Tree};

    /// A Java that is one in name only, with a client.
    fn java(tree: &Tree) -> Catalog {
        tree.program("usr/lib/jvm/temurin-21/bin/java");
        tree.write("usr/lib/jvm/temurin-21/release", b"JAVA_VERSION=\"21.0.3\"\n", 0o644);
        for file in ["lib/modules", "lib/server/libjvm.so", "lib/server/classes.jsa"] {
            tree.write(&format!("usr/lib/jvm/temurin-21/{file}"), b"x", 0o644);
        }
        tree.write("data/runtimes/java/runtime-1/lib/client.jar", b"jar", 0o644);
        Catalog::discover(&tree.search(), Policy::default())
    }

    fn archive(tree: &Tree) -> Archive {
        let catalog = java(tree);
        let interpreter =
            catalog.interpreters().iter().find(|found| found.language == Language::Java).unwrap();
        Archive::of(interpreter, Line { major: 21, minor: 0 }, &tree.path("data/runtimes/java/runtime-1"))
            .unwrap()
    }

    fn make(archive: &Archive) {
        let making = archive.begin().unwrap();
        fs::write(making.work().join(CLASSES), b"classes").unwrap();
        making.finish().unwrap();
    }

    fn names(archive: &Archive) -> Vec<OsString> {
        let entries = fs::read_dir(archive.directory().parent().unwrap()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.filter(|name| *name != *"runtime-1").collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_archive_is_whole_or_not_there() {
        let tree = Tree::new();
        let archive = archive(&tree);
        assert!(!archive.is_whole());
        drop(archive.begin().unwrap());
        assert!(archive.begin().unwrap().finish().is_err(), "nothing was made");
        assert!(names(&archive).is_empty(), "nothing unfinished is left");
        make(&archive);
        assert!(archive.is_whole());
        // A second one is as good.
        make(&archive);
        assert_eq!(names(&archive), [archive.directory().file_name().unwrap()]);
        fs::write(archive.directory().join(CLASSES), b"klasses").unwrap();
        assert!(!archive.is_whole() && !archive.directory().exists());
    }

    #[test]
    fn another_java_or_client_has_another_archive_and_the_old_one_goes() {
        let tree = Tree::new();
        let before = archive(&tree);
        make(&before);
        let changes = ["usr/lib/jvm/temurin-21/lib/modules", "data/runtimes/java/runtime-1/lib/client.jar"];
        for changed in changes {
            let before = archive(&tree);
            tree.write(changed, b"changed", 0o644);
            assert_ne!(archive_unchanged(&tree), before, "{changed}");
        }
        let after = archive_unchanged(&tree);
        make(&after);
        assert_eq!(names(&after), [after.directory().file_name().unwrap()]);
    }

    /// As [`archive`], with the files as they are.
    fn archive_unchanged(tree: &Tree) -> Archive {
        let catalog = Catalog::discover(&tree.search(), Policy::default());
        let interpreter =
            catalog.interpreters().iter().find(|found| found.language == Language::Java).unwrap();
        Archive::of(interpreter, Line { major: 21, minor: 0 }, &tree.path("data/runtimes/java/runtime-1"))
            .unwrap()
    }
}
