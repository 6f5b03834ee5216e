//! Messages to the kernel's network configuration: written beforehand, sent by a helper.
//!
//! Must not know what the messages say.

use std::mem;

use libc::c_int;

use crate::syscall::{self, Errno};

/// Messages that are sent together to one part of the kernel.
#[derive(Debug)]
pub(crate) struct Messages {
    protocol: c_int,
    bytes: Vec<u8>,
}

impl Messages {
    /// No messages yet; `protocol` is one of `NETLINK_*`.
    pub(crate) fn new(protocol: c_int) -> Self {
        Self { protocol, bytes: Vec::new() }
    }

    /// Adds a message: its type, flags besides `NLM_F_REQUEST`, the fixed part and attributes.
    pub(crate) fn add(
        &mut self,
        kind: u16,
        flags: c_int,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // Sequence number and sender, which only matter to those who match answers.
        self.bytes.extend([0; 8]);
        self.bytes.extend(fixed);
        attributes(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sends all. The kernel carries them out before the call returns, and answers only what it refuses.
    /// Async-signal-safe.
    pub(crate) fn send(&self) -> Result<(), Errno> {
        // SAFETY: takes no pointers.
        let socket =
            unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, self.protocol) };
        syscall::check(socket.into())?;
        // SAFETY: pointer and length are of one vector.
        let sent = unsafe { libc::send(socket, self.bytes.as_ptr().cast(), self.bytes.len(), 0) };
        let result = syscall::check(sent as _).and_then(|_| refusal(socket));
        syscall::close(socket);
        result
    }
}

/// The first answer that is a refusal.
fn refusal(socket: c_int) -> Result<(), Errno> {
    /// A header and an error number; the message that was refused follows and is cut off.
    #[repr(C)]
    struct Answer {
        header: libc::nlmsghdr,
        error: c_int,
    }
    loop {
        // SAFETY: an all-zero value is valid, as is whatever the kernel writes; pointer and size are of one value.
        let (count, answer) = unsafe {
            let mut answer: Answer = mem::zeroed();
            let size = size_of::<Answer>();
            let count = libc::recv(socket, (&raw mut answer).cast(), size, libc::MSG_DONTWAIT);
            (count, answer)
        };
        if count < size_of::<Answer>() as isize {
            return Ok(());
        }
        if answer.header.nlmsg_type == libc::NLMSG_ERROR as u16 && answer.error != 0 {
            return Err(Errno(-answer.error));
        }
    }
}

/// The attributes of a message, or of another attribute.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Adds an attribute with this value.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.with(kind, |attributes| attributes.0.extend(value))
    }

    /// Adds a number, most significant byte first, as netfilter has them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds others.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.with(kind | libc::NLA_F_NESTED as u16, fill)
    }

    fn with(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}
