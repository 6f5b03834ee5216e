//! Network namespaces: an empty one with a loopback interface, and sockets made inside from outside.
//!
//! Must not connect a namespace to anything.

use std::{
    mem,
    net::{SocketAddrV4, TcpListener},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use crate::{
    error::{SpawnError, Step},
    helper::{self, Failure, Slot},
    syscall::{self, Errno},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Brings up `lo` in the calling process's network namespace. Async-signal-safe.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    // SAFETY: an all-zero `ifreq` is valid; the kernel reads name and flags only.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        syscall::check(socket.into())?;
        let mut request: libc::ifreq = mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = syscall::check(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request).into());
        syscall::close(socket);
        result.map(drop)
    }
}

/// A socket that listens inside `network`; it can be accepted on from where we are.
pub(crate) fn listen_inside(
    network: &OwnedFd,
    user: Option<&OwnedFd>,
    address: SocketAddrV4,
) -> Result<TcpListener, SpawnError> {
    let network = network.as_raw_fd();
    let user = user.map(AsRawFd::as_raw_fd);
    let mut made = helper::run(user.is_none(), |left| {
        if let Some(user) = user {
            syscall::setns(user, libc::CLONE_NEWUSER).map_err(Failure::at(Step::OuterUserNamespace))?;
        }
        syscall::setns(network, libc::CLONE_NEWNET).map_err(Failure::at(Step::NetworkNamespace))?;
        left.leave(Slot::Socket, listen(address).map_err(Failure::at(Step::Listen))?);
        Ok(())
    })??;
    let socket = made.take(Slot::Socket).expect("a helper that succeeds leaves its socket");
    Ok(TcpListener::from(socket))
}

fn listen(address: SocketAddrV4) -> Result<RawFd, Errno> {
    // SAFETY: all structures are plain data of the sizes that are passed.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        syscall::check(socket.into())?;
        let on: libc::c_int = 1;
        let name = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
            sin_zero: [0; 8],
        };
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
        let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let result = syscall::check(libc::bind(socket, (&raw const name).cast(), size).into())
            .and_then(|_| syscall::check(libc::listen(socket, BACKLOG).into()));
        match result {
            Ok(_) => Ok(socket),
            Err(error) => {
                syscall::close(socket);
                Err(error)
            }
        }
    }
}
