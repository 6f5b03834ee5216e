//! What stands before the body of a streamed answer: status, headers and cookies.
//!
//! Must not keep more of the stream than it takes to find where the body begins.

use bytes::{Bytes, BytesMut};
use http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer;

/// What stands between a prelude and the body.
const SEPARATOR: [u8; 8] = [0; 8];

/// The longest prelude. Unverified: AWS tells no limit.
const LIMIT: usize = 64 * 1024;

/// Reads a prelude as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    read: BytesMut,
}

/// What is known after another chunk.
#[derive(Debug)]
pub(super) enum Step {
    /// More is needed.
    Incomplete,
    /// The response, and what there is of its body.
    Begun(Response<()>, Bytes),
    /// It is no prelude, or one that is too long.
    Invalid,
}

impl Reader {
    pub(super) fn push(&mut self, chunk: &[u8]) -> Step {
        // The separator may have begun in the chunk before.
        let from = self.read.len().saturating_sub(SEPARATOR.len() - 1);
        self.read.extend_from_slice(chunk);
        let found = self.read[from..].windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR);
        match found.map(|at| from + at) {
            Some(length) if length <= LIMIT => {
                let prelude = self.read.split_to(length);
                let body = self.read.split().freeze().slice(SEPARATOR.len()..);
                begin(&prelude).map_or(Step::Invalid, |response| Step::Begun(response, body))
            }
            None if self.read.len() < LIMIT + SEPARATOR.len() => Step::Incomplete,
            Some(_) | None => Step::Invalid,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Prelude<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
}

/// The response that a prelude begins.
fn begin(prelude: &[u8]) -> Option<Response<()>> {
    let Prelude { status_code, headers, cookies } = serde_json::from_slice(prelude).ok()?;
    let mut response = Response::new(());
    answer::head(&mut response, status_code, headers, cookies)?;
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prelude_begins_a_response() {
        let response = begin(
            br#"{"statusCode":404,"headers":{"Content-Type":"text/html"},"cookies":["a=1","b=2"],"x":1}"#,
        )
        .unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (404, &"text/html".parse().unwrap())
        );
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        for text in ["{}", r#"{"statusCode":null,"headers":null,"cookies":null}"#] {
            assert_eq!(begin(text.as_bytes()).unwrap().status(), 200);
        }
        for text in ["", "null", "hello", "{\"statusCode\":1}", r#"{"headers":{"a":"b\nc"}}"#] {
            assert!(begin(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn wherever_chunks_are_cut_the_body_begins_behind_the_first_eight_zeros() {
        let whole = b"{\"statusCode\":201}\0\0\0\0\0\0\0\0\0body";
        for size in 1..=whole.len() {
            let mut reader = Reader::default();
            let mut chunks = whole.chunks(size);
            let (response, mut body) = loop {
                match reader.push(chunks.next().unwrap()) {
                    Step::Incomplete => {}
                    Step::Begun(response, body) => break (response, body.to_vec()),
                    Step::Invalid => panic!("in chunks of {size}"),
                }
            };
            body.extend(chunks.flatten());
            assert_eq!((response.status().as_u16(), &body[..]), (201, &b"\0body"[..]), "in chunks of {size}");
        }
    }

    #[test]
    fn a_prelude_has_an_end() {
        let mut reader = Reader::default();
        let mut chunks = 0;
        while matches!(reader.push(&[b' '; 1024]), Step::Incomplete) {
            chunks += 1;
        }
        assert_eq!(chunks, LIMIT / 1024);
        let padded = |length: usize| [vec![b' '; length - 2], b"{}".to_vec(), SEPARATOR.to_vec()].concat();
        assert!(matches!(Reader::default().push(&padded(LIMIT)), Step::Begun(_, body) if body.is_empty()));
        assert!(matches!(Reader::default().push(&padded(LIMIT + 1)), Step::Invalid));
    }
}
