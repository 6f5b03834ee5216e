//! Event streams: messages of `application/vnd.amazon.eventstream`, as AWS's SDKs read them.
//!
//! Must not know which events there are: those say themselves what their messages are.

use std::{fmt, pin::Pin};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::body::Body;

/// The content type of a body of messages.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Lengths of the message and of its headers, and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// The type of header values that are text, the only ones that events have.
const TEXT: u8 = 7;

/// Events that come one after another.
pub struct EventStream<E> {
    events: Pin<Box<dyn Stream<Item = E> + Send>>,
}

impl<E> EventStream<E> {
    /// The stream of these events.
    pub fn new(events: impl Stream<Item = E> + Send + 'static) -> Self {
        Self { events: Box::pin(events) }
    }
}

impl<E> fmt::Debug for EventStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// What a stream carries.
pub(crate) trait Event {
    /// The event as it is sent.
    fn message(self) -> Result<Message, serde_json::Error>;
}

/// An event on its way out.
#[derive(Debug)]
pub(crate) struct Message {
    event_type: &'static str,
    content_type: &'static str,
    payload: Bytes,
}

impl Message {
    /// An event that is a payload, as it is.
    pub(crate) fn payload(event_type: &'static str, payload: Option<Bytes>) -> Self {
        Self { event_type, content_type: "application/octet-stream", payload: payload.unwrap_or_default() }
    }

    /// An event that is a document.
    pub(crate) fn json(event_type: &'static str, event: &impl Serialize) -> Result<Self, serde_json::Error> {
        let payload = serde_json::to_vec(event)?.into();
        Ok(Self { event_type, content_type: "application/json", payload })
    }

    fn headers(&self) -> [(&'static str, &'static str); 3] {
        [(":event-type", self.event_type), (":content-type", self.content_type), (":message-type", "event")]
    }
}

/// The body that carries these events, each a piece of its own. They are copied into it, this once.
pub(crate) fn encode<E: Event + 'static>(events: EventStream<E>) -> Body {
    Body::Stream(Box::pin(events.events.map(|event| {
        let message = event.message()?;
        let headers = message.headers();
        let mut piece = BytesMut::with_capacity(total_length(&headers, &message.payload));
        write(&mut piece, &headers, &message.payload);
        Ok(piece.freeze())
    })))
}

/// Appends a message: its prelude with a checksum, headers, payload, and a checksum of all of that.
fn write(body: &mut BytesMut, headers: &[(&str, &str)], payload: &[u8]) {
    let begin = body.len();
    body.put_u32(u32::try_from(total_length(headers, payload)).expect("events are of a few megabytes"));
    body.put_u32(u32::try_from(headers_length(headers)).expect("headers are short"));
    body.put_u32(crc32fast::hash(&body[begin..]));
    for (name, value) in headers {
        body.put_u8(u8::try_from(name.len()).expect("headers are short"));
        body.put_slice(name.as_bytes());
        body.put_u8(TEXT);
        body.put_u16(u16::try_from(value.len()).expect("headers are short"));
        body.put_slice(value.as_bytes());
    }
    body.put_slice(payload);
    body.put_u32(crc32fast::hash(&body[begin..]));
}

fn total_length(headers: &[(&str, &str)], payload: &[u8]) -> usize {
    PRELUDE + headers_length(headers) + payload.len() + CHECKSUM
}

fn headers_length(headers: &[(&str, &str)]) -> usize {
    // Around the two texts: the length of the name, the type of the value, its length.
    headers.iter().map(|(name, value)| 1 + name.len() + 1 + 2 + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;

    /// Messages as the tests of botocore's decoder have them (Apache-2.0).
    #[test]
    fn messages_are_what_sdks_decode() {
        type Case = (&'static [(&'static str, &'static str)], &'static [u8], &'static [u8]);
        let cases: [Case; 4] = [
            (&[], b"", b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"),
            (&[], b"{'foo':'bar'}", b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96"),
            (
                &[("content-type", "application/json")],
                b"{'foo':'bar'}",
                b"\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json\
                  {'foo':'bar'}\x8d\x9c\x08\xb1",
            ),
            (
                &[(":message-type", "error"), (":error-code", "code"), (":error-message", "message")],
                b"",
                b"\x00\x00\x00\x52\x00\x00\x00\x42\xbf\x23\x63\x7e\x0d:message-type\x07\x00\x05error\
                  \x0b:error-code\x07\x00\x04code\x0e:error-message\x07\x00\x07message\x6b\x6c\xea\x3d",
            ),
        ];
        for (headers, payload, expected) in cases {
            let mut body = BytesMut::from(&b"the message before"[..]);
            write(&mut body, headers, payload);
            assert_eq!(body.strip_prefix(b"the message before").unwrap(), expected, "{headers:?}");
        }
    }

    enum Told {
        Bytes(&'static [u8]),
        Document(serde_json::Value),
    }

    impl Event for Told {
        fn message(self) -> Result<Message, serde_json::Error> {
            match self {
                Told::Bytes(bytes) => Ok(Message::payload("Bytes", Some(Bytes::from_static(bytes)))),
                Told::Document(document) => Message::json("Document", &document),
            }
        }
    }

    #[test]
    fn events_follow_each_other_with_their_types() {
        let encoded = |events: Vec<Told>| {
            let body = encode(EventStream::new(futures_util::stream::iter(events)));
            body.collect().now_or_never().unwrap().unwrap()
        };
        let body = encoded(vec![Told::Bytes(b"\x00\xff"), Told::Document(json!({ "a": 1 }))]);
        let mut expected = BytesMut::new();
        let headers = |event_type, content_type| {
            [(":event-type", event_type), (":content-type", content_type), (":message-type", "event")]
        };
        write(&mut expected, &headers("Bytes", "application/octet-stream"), b"\x00\xff");
        write(&mut expected, &headers("Document", "application/json"), br#"{"a":1}"#);
        assert_eq!(body, expected);
        assert_eq!(encoded(vec![]), "");
    }
}
