//! Orders to an init that carry texts and descriptors: packed by the service, opened where nothing may be allocated.
//!
//! A parcel is one message of the control socket. Its texts come with their places in it, which become pointers in the
//! memory of whoever opens it. Must not know what the orders mean.
//!
//! ```text
//! kind | number of numbers | number of texts | numbers … | place of each text, or 0 for none … | texts, zero-ended
//! ```

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr, slice,
};

use crate::{
    process::OrderKind,
    syscall::{self, Errno},
};

/// Descriptors that the kernel passes on at once.
pub(crate) const DESCRIPTORS: usize = 253;

/// What the kernel packs descriptors in: its header, and they.
const ANCILLARY_WORDS: usize = 2 + DESCRIPTORS.div_ceil(2);

const WORD: usize = size_of::<u64>();

/// Words of a parcel before its numbers.
const HEADER_WORDS: usize = 3;

/// An order, packed.
#[derive(Debug)]
pub(crate) struct Parcel {
    words: Vec<u64>,
    texts: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Parcel {
    /// Packs an order. A text that is not there is a null pointer to whoever opens it.
    pub(crate) fn new(
        kind: OrderKind,
        numbers: &[u64],
        texts: &[Option<&CStr>],
        descriptors: Vec<OwnedFd>,
    ) -> Self {
        let mut words = vec![kind.0.into(), numbers.len() as u64, texts.len() as u64];
        words.extend(numbers);
        let mut place = (words.len() + texts.len()) * WORD;
        let mut packed = Vec::new();
        for text in texts {
            words.push(text.map_or(0, |_| place as u64));
            let text = text.map_or(&[][..], CStr::to_bytes_with_nul);
            packed.extend_from_slice(text);
            place += text.len();
        }
        Self { words, texts: packed, descriptors }
    }

    pub(crate) fn descriptors(&self) -> &[OwnedFd] {
        &self.descriptors
    }

    /// Hands it to the other end of a socket, which need not read it now.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.send_with(socket, &[])
    }

    /// The same, with these descriptors behind its own, which are open.
    pub(crate) fn send_with(&self, socket: BorrowedFd<'_>, others: &[RawFd]) -> io::Result<()> {
        // SAFETY: the words are as many bytes of plain data.
        let words = unsafe { slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * WORD) };
        let own = self.descriptors.iter().map(AsRawFd::as_raw_fd);
        let descriptors: Vec<RawFd> = own.chain(others.iter().copied()).collect();
        send(socket, &[words, &self.texts], &descriptors, libc::MSG_DONTWAIT)
    }
}

/// Sends one message, with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    descriptors: &[RawFd],
    flags: c_int,
) -> io::Result<()> {
    let mut ancillary = [0_u64; ANCILLARY_WORDS];
    if descriptors.len() > DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut parts: Vec<libc::iovec> = parts
        .iter()
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
        .collect();
    // SAFETY: all-zero values are valid for the message. What it points to outlives the call, with the sizes that
    // are said, and is only read; the ancillary data is aligned and large enough for its header and descriptors.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        if !descriptors.is_empty() {
            let bytes = size_of_val(descriptors) as libc::c_uint;
            message.msg_control = ancillary.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
            ptr::copy_nonoverlapping(descriptors.as_ptr(), numbers, descriptors.len());
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, flags | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An order, opened. Its memory and its descriptors stay as long as the process does.
pub(crate) struct Opened {
    kind: OrderKind,
    numbers: (*const u64, usize),
    texts: (*const *const c_char, usize),
    descriptors: [RawFd; DESCRIPTORS],
    received: usize,
    memory: (*mut c_void, usize),
}

impl Opened {
    /// Waits for the next parcel. `None` if what comes is none, or nothing will. Async-signal-safe.
    pub(crate) fn receive(control: RawFd) -> syscall::Result<Option<Self>> {
        let length = loop {
            let ask = libc::MSG_PEEK | libc::MSG_TRUNC;
            // SAFETY: nothing is written to an empty buffer.
            match syscall::check(unsafe { libc::recv(control, ptr::null_mut(), 0, ask) } as libc::c_long) {
                Ok(length) => break length as usize,
                Err(Errno(libc::EINTR)) => {}
                // An end with something unread is told as an error.
                Err(Errno(libc::ECONNRESET)) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        if length < HEADER_WORDS * WORD {
            return Ok(None);
        }
        let memory = syscall::map_memory(length)?.cast::<u64>();
        let mut descriptors = [-1; DESCRIPTORS];
        let received = receive(control, memory.cast(), length, &mut descriptors)?;
        // SAFETY: the memory is zeroed and aligned, of this length at least, nobody else's, and never given back. Every
        // access stays below `length`, whatever the message says.
        unsafe {
            let words = length / WORD;
            let [kind, numbers, texts] = [0, 1, 2].map(|index| *memory.add(index) as usize);
            if HEADER_WORDS.saturating_add(numbers).saturating_add(texts) > words {
                return Ok(None);
            }
            let first_number = memory.add(HEADER_WORDS);
            let first_text = first_number.add(numbers);
            for index in 0..texts {
                let place = first_text.add(index);
                let offset = (*place as usize).min(length - 1);
                if offset != 0 {
                    *place = memory.cast::<u8>().add(offset) as u64;
                }
            }
            Ok(Some(Self {
                kind: OrderKind(kind as u32),
                numbers: (first_number, numbers),
                texts: (first_text.cast(), texts),
                descriptors,
                received,
                memory: (memory.cast(), length),
            }))
        }
    }

    pub(crate) fn kind(&self) -> OrderKind {
        self.kind
    }

    pub(crate) fn numbers(&self) -> &[u64] {
        // SAFETY: `receive` has found as many there, and the memory stays.
        unsafe { slice::from_raw_parts(self.numbers.0, self.numbers.1) }
    }

    /// C strings, and null pointers for those that are not there.
    pub(crate) fn texts(&self) -> &[*const c_char] {
        // SAFETY: as above; pointers have the size of words.
        unsafe { slice::from_raw_parts(self.texts.0, self.texts.1) }
    }

    pub(crate) fn text(&self, index: usize) -> Option<&CStr> {
        let text = self.texts().get(index).filter(|text| !text.is_null())?;
        // SAFETY: it points into our memory, whose last byte is zero.
        Some(unsafe { CStr::from_ptr(*text) })
    }

    /// Gives its memory back. Its descriptors stay.
    pub(crate) fn discard(self) {
        // SAFETY: the memory was mapped for this order with this length, and references to it have ended.
        unsafe { libc::munmap(self.memory.0, self.memory.1) };
    }

    pub(crate) fn descriptors(&self) -> &[RawFd] {
        self.descriptors.get(..self.received).unwrap_or_default()
    }
}

/// Receives one message, and the numbers of the descriptors that came with it.
fn receive(
    control: RawFd,
    memory: *mut c_void,
    length: usize,
    descriptors: &mut [RawFd; DESCRIPTORS],
) -> syscall::Result<usize> {
    let mut ancillary = [0_u64; ANCILLARY_WORDS];
    let mut received = 0;
    // SAFETY: all-zero values are valid for the message; it points to memory of ours of the sizes that are said. Headers
    // are read as the kernel has written them.
    unsafe {
        let mut part = libc::iovec { iov_base: memory, iov_len: length };
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&ancillary) as _;
        syscall::check(libc::recvmsg(control, &raw mut message, libc::MSG_CMSG_CLOEXEC) as libc::c_long)?;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS as c_int {
            let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
            received = (bytes / size_of::<RawFd>()).min(DESCRIPTORS);
            for (index, descriptor) in descriptors.iter_mut().take(received).enumerate() {
                *descriptor = numbers.add(index).read_unaligned();
            }
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        os::fd::{AsFd, FromRawFd},
        os::unix::net::UnixStream,
    };

    use super::*;
    use crate::sandbox::socket_pair;

    #[test]
    fn a_parcel_arrives_with_all_that_is_in_it() {
        let (ours, theirs) = socket_pair().unwrap();
        let (mut kept, given) = UnixStream::pair().unwrap();
        let large = std::ffi::CString::new(vec![b'x'; 100_000]).unwrap();
        let texts = [Some(c"one"), None, Some(c""), Some(large.as_c_str())];
        Parcel::new(OrderKind::RUN, &[7, 8], &texts, vec![given.into()]).send(ours.as_fd()).unwrap();
        let opened = Opened::receive(theirs.as_raw_fd()).unwrap().unwrap();
        assert_eq!(opened.kind(), OrderKind::RUN);
        assert_eq!(opened.numbers(), [7, 8]);
        let read: Vec<_> = (0..5).map(|index| opened.text(index)).collect();
        assert_eq!(read, [Some(c"one"), None, Some(c""), Some(large.as_c_str()), None]);
        let [given] = opened.descriptors() else { panic!("{:?}", opened.descriptors()) };
        // SAFETY: it was received just now, and is nobody else's.
        unsafe { File::from_raw_fd(*given) }.write_all(b"!").unwrap();
        let mut all = String::new();
        kept.read_to_string(&mut all).unwrap();
        assert_eq!(all, "!");
    }

    #[test]
    fn a_lost_service_and_what_is_no_parcel_are_told_apart_from_parcels() {
        let (ours, theirs) = socket_pair().unwrap();
        Parcel::new(OrderKind::RUN, &[1], &[], Vec::new()).send(ours.as_fd()).unwrap();
        // SAFETY: pointer and length are of one array.
        unsafe { libc::send(ours.as_raw_fd(), [1_u32, 2].as_ptr().cast(), 8, 0) };
        let receive = || Opened::receive(theirs.as_raw_fd()).unwrap().is_some();
        assert!(receive());
        assert!(!receive());
        // SAFETY: as above, of nothing.
        unsafe { libc::recv(theirs.as_raw_fd(), ptr::null_mut(), 0, 0) };
        drop(ours);
        assert!(!receive());
    }
}
