//! As much HTTP/1.1 as the benchmark needs, so that its client costs little beside what it measures.
//!
//! Must not be lenient: whatever it does not expect is an error.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A message's head and the length of its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Length of the head with its empty line.
    pub(super) length: usize,
    /// `Content-Length`, or zero.
    pub(super) body: usize,
    /// Whether the body comes in chunks, which are not taken apart.
    chunked: bool,
}

/// The head at the beginning of `bytes`, if all of it is there.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body = header(&bytes[..length], "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let chunked = header(&bytes[..length], "transfer-encoding") == Some("chunked");
    Some(Head { length, body, chunked })
}

/// A header's value; `name` in lower case.
pub(super) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = found.eq_ignore_ascii_case(name.as_bytes()).then_some(value)?.strip_prefix(b":")?;
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// Status code.
    pub(super) status: u16,
    /// Whether Lambda says that the function failed.
    pub(super) function_error: bool,
    /// The body.
    pub(super) body: &'a [u8],
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to a port of this machine.
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = head(&self.buffer) {
                break head;
            }
        };
        let whole = |buffer: &[u8]| match head.chunked {
            true => buffer.ends_with(b"\r\n0\r\n\r\n"),
            false => buffer.len() >= head.length + head.body,
        };
        while !whole(&self.buffer) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let (top, body) = self.buffer.split_at(head.length);
        let status = top.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Ok(Answer {
            status: status.ok_or_else(|| io::Error::other("no status in the answer"))?,
            function_error: header(top, "x-amz-function-error").is_some(),
            body,
        })
    }
}

/// A request as it goes over the wire, with a credential scope and no valid signature.
pub(super) fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    request_with(method, path, "", body)
}

/// The same with more headers, each with its end of line.
pub(super) fn request_with(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {headers}Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, \
         Signature=0\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_whole_or_not_at_all() {
        let message =
            b"HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\ncontent-length:  5\r\n\r\nhello";
        assert!(head(&message[..40]).is_none());
        let head = head(message).unwrap();
        assert_eq!((head.length, head.body), (message.len() - 5, 5));
        assert_eq!(header(message, "x-amz-function-error"), Some("Unhandled"));
        assert_eq!(header(message, "x-amz"), None);
    }
}
