//! Files of a program that its copies find as they were: those of its file systems in memory.
//!
//! Both sides are at rest: nobody can change what is looked at. Links are never followed. Must not be used for more than a
//! little: who has more in `/tmp` is not copied.

use std::{
    ffi::CString,
    fs::{self, File, Metadata},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
};

use super::Unfit;

/// Where they are.
const DIRECTORIES: [&str; 2] = ["tmp", "dev/shm"];

/// What is copied at most.
const BYTES: u64 = 64 << 20;
const FILES: u64 = 4096;

/// Whose files become whose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owners {
    pub(super) from: (u32, u32),
    pub(super) to: (u32, u32),
}

/// Whether what is below the root of this process is little enough, and of kinds that can be copied.
pub(super) fn measure(root: &Path) -> Result<(), Unfit> {
    let (mut bytes, mut files) = (0, 0);
    for directory in DIRECTORIES {
        walk(&root.join(directory), &mut |_, metadata| {
            bytes += metadata.blocks() * 512;
            files += 1;
            let kind = metadata.file_type();
            if bytes > BYTES || files > FILES {
                return Err(io::Error::other("there is much in `/tmp`"));
            }
            if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
                return Err(io::Error::other("there is a socket or device in `/tmp`"));
            }
            Ok(())
        })
        .map_err(|error| Unfit::new(error.to_string()))?;
    }
    Ok(())
}

/// Copies what is below one root to the other.
pub(super) fn copy(from: &Path, to: &Path, owners: Owners) -> io::Result<()> {
    for directory in DIRECTORIES {
        let (from, to) = (from.join(directory), to.join(directory));
        let mut directories = Vec::new();
        walk(&from, &mut |path, metadata| {
            let target = to.join(path.strip_prefix(&from).map_err(io::Error::other)?);
            copy_one(path, metadata, &target, owners)?;
            if metadata.is_dir() {
                directories.push((target, metadata.clone()));
            }
            Ok(())
        })?;
        // Their times change as they are filled.
        for (path, metadata) in directories.iter().rev() {
            set_times(path, metadata)?;
        }
    }
    Ok(())
}

/// Everything below a directory, each directory before what is in it.
fn walk(directory: &Path, visit: &mut impl FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let mut waiting: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            visit(&path, &metadata)?;
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(())
}

fn copy_one(path: &Path, metadata: &Metadata, target: &Path, owners: Owners) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        fs::create_dir(target)?;
    } else if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(path)?, target)?;
    } else if kind.is_fifo() {
        // SAFETY: the path is a C string.
        if unsafe { libc::mkfifo(text(target)?.as_ptr(), 0o600) } < 0 {
            return Err(io::Error::last_os_error());
        }
    } else {
        let mut from =
            File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let mut to = File::options().write(true).create_new(true).mode(0o600).open(target)?;
        copy_content(&mut from, &mut to, metadata.len())?;
    }
    let whose = |id: u32, from: u32, to: u32| if id == from { to } else { 0 };
    let user = whose(metadata.uid(), owners.from.0, owners.to.0);
    let group = whose(metadata.gid(), owners.from.1, owners.to.1);
    std::os::unix::fs::lchown(target, Some(user), Some(group))?;
    if !kind.is_symlink() {
        fs::set_permissions(target, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        set_times(target, metadata)?;
    }
    Ok(())
}

/// What is there, and not the holes between.
fn copy_content(from: &mut File, to: &mut File, length: u64) -> io::Result<()> {
    to.set_len(length)?;
    let mut end = 0;
    loop {
        // SAFETY: take no pointers.
        let seek = |offset, whence| unsafe { libc::lseek(from.as_raw_fd(), offset, whence) };
        let data = seek(end, libc::SEEK_DATA);
        if data < 0 {
            return match io::Error::last_os_error() {
                // Nothing but a hole follows.
                error if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
                error => Err(error),
            };
        }
        end = seek(data, libc::SEEK_HOLE);
        if end <= data {
            return Err(io::Error::last_os_error());
        }
        from.seek(SeekFrom::Start(data as u64))?;
        to.seek(SeekFrom::Start(data as u64))?;
        let mut rest = (end - data) as usize;
        let mut buffer = vec![0; rest.min(1 << 16)];
        while rest > 0 {
            let piece = buffer.len().min(rest);
            from.read_exact(&mut buffer[..piece])?;
            to.write_all(&buffer[..piece])?;
            rest -= piece;
        }
    }
}

fn set_times(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let times = [(metadata.atime(), metadata.atime_nsec()), (metadata.mtime(), metadata.mtime_nsec())]
        .map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
    let path = text(path)?;
    // SAFETY: path and times are valid to be read.
    let set =
        unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
