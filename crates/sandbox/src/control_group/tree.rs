//! The group of one process tree: by it the tree is frozen, thawed and, if need be, ended.
//!
//! Must not set ceilings.

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use super::directory;

/// Two groups, one in the other: init is in the outer one, everything else in the inner one. Removed when dropped, with
/// whatever still runs in it.
#[derive(Debug)]
pub(crate) struct Tree {
    directory: PathBuf,
    freezer: File,
}

/// How a tree gets in.
#[derive(Debug)]
pub(crate) struct Entrances {
    /// The outer group, for init to be cloned into.
    pub(crate) outer: OwnedFd,
    /// A file of the inner group, for the program to write `0` to.
    pub(crate) inner: OwnedFd,
}

impl Tree {
    /// The groups of a new tree, made at `directory`.
    pub(super) fn create(directory: PathBuf) -> io::Result<(Self, Entrances)> {
        let made = Self::make(&directory);
        if made.is_err() {
            directory::remove(&directory);
        }
        let (freezer, entrances) = made?;
        Ok((Self { directory, freezer }, entrances))
    }

    /// How one more process gets in.
    pub(crate) fn entrances(&self) -> io::Result<Entrances> {
        Self::open(&self.directory)
    }

    fn open(directory: &Path) -> io::Result<Entrances> {
        let threads = File::options().write(true).open(directory.join("program/cgroup.threads"))?;
        Ok(Entrances { outer: File::open(directory)?.into(), inner: threads.into() })
    }

    fn make(directory: &Path) -> io::Result<(File, Entrances)> {
        let inner = directory.join("program");
        fs::create_dir(directory)?;
        fs::create_dir(&inner)?;
        // Into a group of this type a thread can move by itself, which takes microseconds. Moving a process would make
        // the kernel wait until every processor has seen that it makes no thread: 10 ms and more.
        fs::write(inner.join("cgroup.type"), "threaded")?;
        let freezer = File::options().write(true).open(inner.join("cgroup.freeze"))?;
        Ok((freezer, Self::open(directory)?))
    }

    /// A group of a copy beside that of the program, and a file of it for the copy to write `0` to: it can move there as
    /// quickly as the program came in. It must not outlive this tree.
    pub(crate) fn beside(&self, name: &str) -> io::Result<(Self, OwnedFd)> {
        let directory = self.directory.join(name);
        fs::create_dir(&directory)?;
        let made = (|| {
            fs::write(directory.join("cgroup.type"), "threaded")?;
            let freezer = File::options().write(true).open(directory.join("cgroup.freeze"))?;
            let threads = File::options().write(true).open(directory.join("cgroup.threads"))?;
            Ok((freezer, threads.into()))
        })();
        match made {
            Ok((freezer, threads)) => Ok((Self { directory, freezer }, threads)),
            Err(error) => {
                directory::remove(&directory);
                Err(error)
            }
        }
    }

    /// Freezes or thaws. The order is in force at once; a process in the middle of a system call may need some
    /// microseconds to come to rest.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.freezer.write_all_at(if frozen { b"1" } else { b"0" }, 0)
    }

    /// Kills everything in it, frozen or not, init too.
    pub(crate) fn kill(&self) {
        directory::end_all(&self.directory);
    }

    /// The like for a group of a copy, which the kernel kills process by process: nobody forks away who is frozen.
    pub(crate) fn kill_copy(&self) {
        let _ = self.freeze(true);
        directory::end_all(&self.directory);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        directory::remove(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::{helper, syscall};

    /// Where the second version's hierarchy is, if it is and may be used.
    fn hierarchy() -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let point = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[2] == "cgroup2").then(|| PathBuf::from(fields[1]))
        })?;
        // A name of its own, so that it meets neither a service nor the other tests.
        Some(point.join(format!("hothouse-tree-{}", std::process::id())))
    }

    fn state(tree: &Tree) -> String {
        fs::read_to_string(tree.directory.join("program/cgroup.events")).unwrap()
    }

    #[test]
    fn what_is_frozen_can_be_killed() {
        let Some((tree, entrances)) = hierarchy().and_then(|path| Tree::create(path).ok()) else {
            eprintln!("skipped: no hierarchy of the second version to write to");
            return;
        };
        // SAFETY: the child only writes and waits.
        let pid = unsafe { syscall::clone(0, None, Some(entrances.outer.as_raw_fd())) }.unwrap();
        if pid == 0 {
            let _ = syscall::write_all(entrances.inner.as_raw_fd(), b"0");
            loop {
                // SAFETY: takes no arguments.
                unsafe { libc::pause() };
            }
        }
        let joined = || state(&tree).contains("populated 1");
        while !joined() {
            std::thread::yield_now();
        }
        tree.freeze(true).unwrap();
        while !state(&tree).contains("frozen 1") {
            std::thread::yield_now();
        }
        let directory = tree.directory.clone();
        tree.kill();
        helper::wait(pid).unwrap();
        drop(tree);
        assert!(!directory.exists());
    }
}
