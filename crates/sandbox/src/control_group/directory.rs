//! Directories of control groups: made, emptied, removed.
//!
//! Must not know what groups are for.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long the kernel may take to notice that the last process of a group has ended.
const REMOVAL: Duration = Duration::from_secs(2);

/// Makes a directory, unless it is there. Nobody else may open it: whoever can, can lock it.
pub(super) fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes a group with those below it. What still runs in them is ended.
pub(super) fn remove(directory: &Path) {
    for below in children(directory) {
        remove(&below);
    }
    let deadline = Instant::now() + REMOVAL;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                end_all(directory);
                // SAFETY: no descriptors, only the time of one millisecond.
                unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            }
            _ => return,
        }
    }
}

/// The groups right below this one.
pub(super) fn children(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills what runs in a group and below it. Does not wait.
pub(super) fn end_all(group: &Path) {
    // All at once, so that nobody forks away. Only the second version has this file, and only in a newer kernel.
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // A group of threads tells no processes.
    let processes = fs::read_to_string(group.join("cgroup.procs"))
        .or_else(|_| fs::read_to_string(group.join("cgroup.threads")))
        .unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<libc::pid_t>().ok()).filter(|pid| *pid > 1) {
        // SAFETY: takes no pointers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}
