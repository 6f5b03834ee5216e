//! A directory that is gone with the service, even if the service was killed: the next one to start removes it.
//!
//! Must not touch a directory that is in use: its owner holds a lock on it.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::TempDir;

const PREFIX: &str = "hothouse-code-";

/// Others who sweep may take a directory before it is locked, but hardly so often.
const ATTEMPTS: usize = 10;

/// Removed when it is dropped.
#[derive(Debug)]
pub(super) struct EphemeralDirectory {
    directory: TempDir,
    /// Says that the directory is in use; the system lets go of it however the process ends.
    _lock: File,
}

impl EphemeralDirectory {
    /// Makes one below `parent`, and removes those that killed services left there.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        for _ in 0..ATTEMPTS {
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            // Whoever swept before it was locked has removed it.
            let lock = match File::open(directory.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            lock.lock()?;
            if directory.path().exists() {
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// As dropping it, but tells what went wrong.
    pub(super) fn remove(self) -> io::Result<()> {
        self.directory.close()
    }
}

/// What cannot be removed stays: it harms nobody but the disk.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "failed to remove what a killed service left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_service_left_is_removed_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let used = EphemeralDirectory::create(parent.path()).unwrap();
        let left = parent.path().join("hothouse-code-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half of a package"), "").unwrap();
        let strange = parent.path().join("something-else");
        fs::create_dir(&strange).unwrap();

        let other = EphemeralDirectory::create(parent.path()).unwrap();
        assert!(!left.exists());
        assert!(used.path().exists() && other.path().exists() && strange.exists());

        let gone = other.path().to_owned();
        drop(other);
        assert!(!gone.exists());
    }

    #[test]
    fn services_that_start_at_once_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let directory = EphemeralDirectory::create(parent.path()).unwrap();
                        fs::write(directory.path().join("package"), "").unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
