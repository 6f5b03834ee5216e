//! What a program has open, and what takes its place in a copy.
//!
//! A copy shares nothing with the original that either could change: files are opened anew at the same place, connections
//! are dead, and what belongs to the environment (the log, the runtime's connection) is given. Must not open anything.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, fs::FileTypeExt},
    },
    path::Path,
};

use libc::{c_int, pid_t};

use super::{
    Unfit, call,
    tracee::{Call, take_descriptor},
};
use crate::syscall;

/// One descriptor of the program.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) number: RawFd,
    pub(super) closed_on_exec: bool,
    pub(super) kind: Kind,
}

impl Descriptor {
    /// The call that makes it the same as another one.
    pub(super) fn becomes(&self, other: u64) -> Call {
        let flags = if self.closed_on_exec { libc::O_CLOEXEC } else { 0 };
        call(libc::SYS_dup3, &[other, self.number as u64, flags as u64])
    }
}

/// What it is, and is to be.
#[derive(Debug)]
pub(super) enum Kind {
    /// The same as what the program was given under this number.
    Given(RawFd),
    /// A socket of an internet family.
    Socket { family: c_int, kind: c_int, protocol: c_int },
    /// A file, directory or device.
    File { path: CString, flags: c_int, position: u64 },
}

/// Looks at all descriptors of a program that is at rest, of which these were given to it.
pub(super) fn of(pid: pid_t, given: &[RawFd]) -> Result<Vec<Descriptor>, Unfit> {
    let unread = |_| Unfit::new("its descriptors cannot be read");
    let directory = format!("/proc/{pid}/fd");
    let directory = Path::new(&directory);
    let link = |number: RawFd| fs::read_link(directory.join(number.to_string()));
    let given: Vec<_> = given
        .iter()
        .filter_map(|&number| {
            let object = link(number).ok()?;
            let name = object.as_os_str().as_bytes();
            (name.starts_with(b"pipe:[") || name.starts_with(b"socket:[")).then_some((number, object))
        })
        .collect();
    // SAFETY: takes no pointers; it is a process of a tree of ours.
    let process = syscall::open_process(pid).map_err(|errno| unread(errno.into()))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unread)? {
        let name = entry.map_err(unread)?.file_name();
        let number: RawFd = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| Unfit::new("it has an odd descriptor"))?;
        let object = link(number).map_err(unread)?;
        let information = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).map_err(unread)?;
        let field = |name: &str| information.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let flags = field("flags:").and_then(|flags| c_int::from_str_radix(flags, 8).ok()).unwrap_or(0);
        let kind = if let Some((given, _)) = given.iter().find(|(_, same)| *same == object) {
            Kind::Given(*given)
        } else if object.as_os_str().as_bytes().starts_with(b"/") {
            let position = field("pos:").and_then(|position| position.parse().ok()).unwrap_or(0);
            file(&directory.join(name), &object, flags, position)?
        } else if object.as_os_str().as_bytes().starts_with(b"socket:[") {
            socket(&process, number)?
        } else {
            return Err(Unfit::new(format!("it has {} open", object.display())));
        };
        found.push(Descriptor { number, closed_on_exec: flags & libc::O_CLOEXEC != 0, kind });
    }
    Ok(found)
}

fn file(link: &Path, object: &Path, flags: c_int, position: u64) -> Result<Kind, Unfit> {
    let kind = fs::metadata(link).map_err(|_| Unfit::new("its descriptors cannot be read"))?.file_type();
    if !kind.is_file() && !kind.is_dir() && !kind.is_char_device() {
        return Err(Unfit::new(format!("it has {} open, which is no file", object.display())));
    }
    if object.as_os_str().as_bytes().ends_with(b" (deleted)") {
        return Err(Unfit::new("it has a file open that is deleted"));
    }
    let path =
        CString::new(object.as_os_str().as_bytes()).map_err(|_| Unfit::new("it has an odd file open"))?;
    Ok(Kind::File { path, flags, position })
}

fn socket(process: &OwnedFd, number: RawFd) -> Result<Kind, Unfit> {
    let unread = |_: io::Error| Unfit::new("its sockets cannot be read");
    let socket = take_descriptor(process, number).map_err(unread)?;
    let option = |option| socket_option(&socket, option).map_err(unread);
    let family = option(libc::SO_DOMAIN)?;
    if ![libc::AF_INET, libc::AF_INET6].contains(&family) {
        return Err(Unfit::new("it has a local socket open"));
    }
    // SAFETY: takes no pointers.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    let blocking = if flags & libc::O_NONBLOCK == 0 { 0 } else { libc::SOCK_NONBLOCK };
    Ok(Kind::Socket { family, kind: option(libc::SO_TYPE)? | blocking, protocol: option(libc::SO_PROTOCOL)? })
}

fn socket_option(socket: &OwnedFd, option: c_int) -> io::Result<c_int> {
    let (mut value, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: value and length are valid to be written, and say their size.
    let result = unsafe {
        let place = (&raw mut value).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, place, &raw mut length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}
