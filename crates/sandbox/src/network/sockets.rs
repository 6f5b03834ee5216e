//! Sockets that live in a network namespace and are used from outside.
//!
//! Must not wait for anything: all of them are non-blocking, for a reactor.

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use libc::c_int;

use super::EGRESS_PORT;
use crate::{
    error::{SpawnError, Step},
    helper::{self, Failure, Made, Slot},
    syscall::{self, Errno},
};

/// Connections that may wait to be accepted.
const BACKLOG: c_int = 1024;

/// The sockets of a sandbox with a network of its own.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where connections to [`crate::SandboxSpec::listeners`] are accepted, in the same order.
    pub listeners: Vec<TcpListener>,
    /// Where datagrams to [`crate::SandboxSpec::datagrams`] are received, in the same order.
    pub datagrams: Vec<UdpSocket>,
    /// Where all arrives that is sent to the outside, if there is a way out.
    pub egress: Option<Egress>,
}

/// Where all arrives that programs send to addresses outside, and what they ask the name server at
/// [`crate::GATEWAY`].
#[derive(Debug)]
pub struct Egress {
    /// Accepts each connection; its local address is where the program meant to connect to.
    pub streams: TcpListener,
    /// Receives each datagram, by [`Arrival::receive`].
    pub datagrams: UdpSocket,
    /// Answers them.
    pub replies: Replies,
}

impl Sockets {
    /// Takes from what a helper left what was wanted.
    pub(crate) fn collect(wanted: &[Wanted], made: &mut Made) -> Self {
        let mut sockets = Self::default();
        let (mut streams, mut datagrams, mut replies) = (None, None, None);
        for (index, wanted) in wanted.iter().enumerate() {
            let socket = made.take(Slot::Socket(index)).expect("a helper that succeeds leaves its sockets");
            match wanted {
                Wanted::Listener(_) => sockets.listeners.push(socket.into()),
                Wanted::Datagrams(_) => sockets.datagrams.push(socket.into()),
                Wanted::EgressStreams => streams = Some(socket.into()),
                Wanted::EgressDatagrams => datagrams = Some(socket.into()),
                Wanted::EgressReplies => replies = Some(Replies(socket)),
            }
        }
        if let (Some(streams), Some(datagrams), Some(replies)) = (streams, datagrams, replies) {
            sockets.egress = Some(Egress { streams, datagrams, replies });
        }
        sockets
    }
}

/// A datagram that was sent to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its size, in bytes; those that the buffer has no room for are lost.
    pub length: usize,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// Where it was meant to go.
    pub destination: SocketAddrV4,
}

impl Arrival {
    /// Receives a datagram from [`Egress::datagrams`], in whatever wrapper a reactor wants it.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; `InvalidData` for one that does not tell its addresses.
    pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Self> {
        // SAFETY: all-zero values are valid for these structures. Those that the message points to outlive the call,
        // with the sizes that are said, and the kernel writes whole ancillary messages only, which the walk stays in.
        unsafe {
            let mut source: libc::sockaddr_in = mem::zeroed();
            let mut ancillary = [0_u64; 8];
            let mut content = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_name = (&raw mut source).cast();
            message.msg_namelen = size_of_val(&source) as libc::socklen_t;
            message.msg_iov = &raw mut content;
            message.msg_iovlen = 1;
            message.msg_control = ancillary.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&ancillary) as _;
            let length = libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT);
            if length < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut destination = None;
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(one) = header.as_ref() {
                if (one.cmsg_level, one.cmsg_type) == (libc::SOL_IP, libc::IP_ORIGDSTADDR) {
                    destination = Some(libc::CMSG_DATA(header).cast::<libc::sockaddr_in>().read_unaligned());
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
            let destination = destination.ok_or(io::ErrorKind::InvalidData)?;
            Ok(Self { length: length as usize, source: from_c(source), destination: from_c(destination) })
        }
    }
}

/// Sends datagrams into a sandbox in the name of anybody outside.
#[derive(Debug)]
pub struct Replies(OwnedFd);

impl Replies {
    /// Sends one, as if it came from `source`.
    ///
    /// # Errors
    /// `InvalidInput` for a payload that no datagram can hold; `WouldBlock` if too many wait.
    pub fn send(&self, source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let (mut header, total) = reply_header(source, destination, payload.len())?;
        let mut name = to_c(destination);
        // The port has no meaning to a raw socket.
        name.sin_port = 0;
        // SAFETY: all-zero values are valid for these structures. Those that the message points to outlive the call,
        // with the sizes that are said, and are only read.
        let sent = unsafe {
            let mut content = [
                libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
                libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() },
            ];
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_name = (&raw mut name).cast();
            message.msg_namelen = size_of_val(&name) as libc::socklen_t;
            message.msg_iov = content.as_mut_ptr();
            message.msg_iovlen = content.len() as _;
            libc::sendmsg(self.0.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        debug_assert_eq!(sent as usize, usize::from(total), "datagrams are sent whole");
        Ok(())
    }
}

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// The headers of a datagram, and the size of all. The kernel fills in the checksum of the first; that of the second may
/// be zero, which means none: what stays in this machine's memory is not damaged on its way.
fn reply_header(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: usize,
) -> io::Result<([u8; IP_HEADER + UDP_HEADER], u16)> {
    let total = u16::try_from(IP_HEADER + UDP_HEADER + payload).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut header = [0; IP_HEADER + UDP_HEADER];
    let (ip, udp) = header.split_at_mut(IP_HEADER);
    // Version 4, five words of header.
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    // Hops that it may make.
    ip[8] = 64;
    ip[9] = libc::IPPROTO_UDP as u8;
    ip[12..16].copy_from_slice(&source.ip().octets());
    ip[16..20].copy_from_slice(&destination.ip().octets());
    udp[0..2].copy_from_slice(&source.port().to_be_bytes());
    udp[2..4].copy_from_slice(&destination.port().to_be_bytes());
    udp[4..6].copy_from_slice(&(total - IP_HEADER as u16).to_be_bytes());
    Ok((header, total))
}

/// Connects to what listens inside a sandbox, a debugger's port for example.
#[derive(Debug, Clone)]
pub struct Entrance {
    network: Arc<OwnedFd>,
    /// The user namespace that owns the network's, if we are not root.
    user: Option<Arc<OwnedFd>>,
}

impl Entrance {
    pub(crate) fn new(network: Arc<OwnedFd>, user: Option<Arc<OwnedFd>>) -> Self {
        Self { network, user }
    }

    /// A connection to this port of the sandbox's loopback. It blocks; make it non-blocking before it goes to a reactor.
    ///
    /// # Errors
    /// No socket could be made inside, or nobody listens there.
    pub fn connect(&self, port: u16) -> Result<TcpStream, SpawnError> {
        let socket = self.socket(0)?;
        connect(socket.as_raw_fd(), SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
            .map_err(|errno| SpawnError::Step { step: Step::Connect, source: errno.into() })?;
        Ok(TcpStream::from(socket))
    }

    /// A socket of the sandbox's network for a reactor to connect: non-blocking, and not connected yet.
    ///
    /// # Errors
    /// No socket could be made inside.
    pub fn unconnected(&self) -> Result<TcpStream, SpawnError> {
        self.socket(libc::SOCK_NONBLOCK).map(TcpStream::from)
    }

    fn socket(&self, flags: c_int) -> Result<OwnedFd, SpawnError> {
        let network = self.network.as_raw_fd();
        let user = self.user.as_deref().map(AsRawFd::as_raw_fd);
        let mut made = helper::run(user.is_none(), |left| {
            if let Some(user) = user {
                syscall::setns(user, libc::CLONE_NEWUSER).map_err(Failure::at(Step::OuterUserNamespace))?;
            }
            syscall::setns(network, libc::CLONE_NEWNET).map_err(Failure::at(Step::NetworkNamespace))?;
            let socket = socket(libc::AF_INET, libc::SOCK_STREAM | flags, 0)
                .map_err(Failure::at(Step::NetworkNamespace))?;
            left.leave(Slot::Socket(0), socket);
            Ok(())
        })??;
        Ok(made.take(Slot::Socket(0)).expect("a helper that succeeds leaves its socket"))
    }
}

/// A socket that is wanted in a new namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Accepts connections to this address.
    Listener(SocketAddrV4),
    /// Receives datagrams to this address.
    Datagrams(SocketAddrV4),
    /// Accepts connections to the outside.
    EgressStreams,
    /// Receives datagrams to the outside.
    EgressDatagrams,
    /// Sends datagrams in anybody's name.
    EgressReplies,
}

/// The sockets of a way out.
pub(crate) const EGRESS: [Wanted; 3] =
    [Wanted::EgressStreams, Wanted::EgressDatagrams, Wanted::EgressReplies];

impl Wanted {
    pub(crate) fn is_egress(self) -> bool {
        EGRESS.contains(&self)
    }

    /// Makes it in the calling process's namespace. Async-signal-safe.
    pub(crate) fn open(self) -> Result<RawFd, Errno> {
        let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, EGRESS_PORT);
        let (kind, protocol) = match self {
            Self::Listener(_) | Self::EgressStreams => (libc::SOCK_STREAM, 0),
            Self::Datagrams(_) | Self::EgressDatagrams => (libc::SOCK_DGRAM, 0),
            // Receives nothing: no protocol has this number.
            Self::EgressReplies => (libc::SOCK_RAW, libc::IPPROTO_RAW),
        };
        let socket = socket(libc::AF_INET, kind | libc::SOCK_NONBLOCK, protocol)?;
        let result = match self {
            Self::Listener(address) => {
                set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR).and_then(|()| listen(socket, address))
            }
            Self::Datagrams(address) => bind(socket, address),
            Self::EgressStreams => {
                set(socket, libc::SOL_IP, libc::IP_TRANSPARENT).and_then(|()| listen(socket, everywhere))
            }
            Self::EgressDatagrams => set(socket, libc::SOL_IP, libc::IP_TRANSPARENT)
                .and_then(|()| set(socket, libc::SOL_IP, libc::IP_RECVORIGDSTADDR))
                .and_then(|()| bind(socket, everywhere)),
            Self::EgressReplies => Ok(()),
        };
        if let Err(error) = result {
            syscall::close(socket);
            return Err(error);
        }
        Ok(socket)
    }
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<RawFd, Errno> {
    // SAFETY: takes no pointers.
    let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    syscall::check(socket.into()).map(|socket| socket as RawFd)
}

/// Turns an option on.
fn set(socket: RawFd, level: c_int, option: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: pointer and size are of one number.
    let result = unsafe { libc::setsockopt(socket, level, option, (&raw const on).cast(), size) };
    syscall::check(result.into()).map(drop)
}

fn listen(socket: RawFd, address: SocketAddrV4) -> Result<(), Errno> {
    bind(socket, address)?;
    // SAFETY: takes no pointers.
    syscall::check(unsafe { libc::listen(socket, BACKLOG) }.into()).map(drop)
}

fn bind(socket: RawFd, address: SocketAddrV4) -> Result<(), Errno> {
    let name = to_c(address);
    let size = size_of_val(&name) as libc::socklen_t;
    // SAFETY: pointer and size are of one address.
    syscall::check(unsafe { libc::bind(socket, (&raw const name).cast(), size) }.into()).map(drop)
}

fn connect(socket: RawFd, address: SocketAddrV4) -> Result<(), Errno> {
    let name = to_c(address);
    let size = size_of_val(&name) as libc::socklen_t;
    // SAFETY: pointer and size are of one address.
    syscall::check(unsafe { libc::connect(socket, (&raw const name).cast(), size) }.into()).map(drop)
}

fn to_c(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn from_c(address: libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()), u16::from_be(address.sin_port))
}
