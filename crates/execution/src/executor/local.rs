//! The service's end of the socket that a runtime client inherits.
//!
//! Must not hear that it may write until a write had to wait: the kernel says so of a Unix socket each time the other
//! side has read something, which would wake the service once more for every invocation.

use std::{
    io::{self, IoSlice},
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

/// A connected, non-blocking Unix stream socket.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    socket: AsyncFd<OwnedFd>,
    /// While the other side has not read what there is.
    full: Option<AsyncFd<OwnedFd>>,
}

impl LocalSocket {
    /// Takes a socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: register(socket, Interest::READABLE)?, full: None })
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        send: impl Fn(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match send(self.socket.get_ref()) {
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(rustix::io::Errno::INTR) => continue,
                sent => {
                    self.full = None;
                    return Poll::Ready(Ok(sent?));
                }
            }
            let full = match self.full.take() {
                Some(full) => full,
                None => register(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?,
            };
            let full = self.full.insert(full);
            ready!(full.poll_write_ready(context))?.clear_ready();
        }
    }
}

#[expect(
    deprecated,
    reason = "what it is replaced by asks to be told that the descriptor is owned, which its type says"
)]
fn register(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for LocalSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            match rustix::net::recv(self.socket.get_ref(), &mut *space, RecvFlags::empty()) {
                Ok((count, _)) => {
                    // What comes after a part that did not fill the buffer is announced anew: no need to look.
                    if count > 0 && count < space.len() {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for LocalSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let send = |socket: &OwnedFd| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL);
        self.get_mut().poll_send(context, send)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(context, |socket| {
            rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Write) {
            // The other side is gone already.
            Err(rustix::io::Errno::NOTCONN) => Ok(()),
            shut => shut.map_err(io::Error::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (LocalSocket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (LocalSocket::new(ours.into()).unwrap(), theirs)
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_waits_for_its_reader() {
        let (mut ours, mut theirs) = pair();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writer = async move {
            ours.write_all(&sent).await.unwrap();
            ours.shutdown().await.unwrap();
            ours
        };
        let reader = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            (read, theirs)
        });
        let (ours, read) = tokio::join!(writer, reader);
        assert!(read.unwrap().0 == expected);
        assert!(ours.full.is_none(), "writes are asked for only while one waits");
    }

    #[tokio::test]
    async fn each_part_arrives_and_then_the_end() {
        let (mut ours, theirs) = pair();
        let mut buffer = [0; 64];
        for part in [&b"one"[..], b"two", &[7; 64], b"four"] {
            std::io::Write::write_all(&mut &theirs, part).unwrap();
            let count = ours.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..count], part);
        }
        drop(theirs);
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        assert!(ours.write(b"nobody reads this").await.is_err());
    }
}
