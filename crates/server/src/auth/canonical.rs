//! The canonical request and the text that is signed.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//! Must not know who may sign.

use std::{borrow::Cow, fmt::Write as _};

use http::{HeaderMap, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use ring::{
    digest::{self, Digest},
    hmac,
};

use super::signature::{Signature, basic};

/// All but what is never encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_IN_PATHS: &AsciiSet = &ENCODED.remove(b'/');

/// A canonical request, and what it is compared with.
#[derive(Debug)]
pub(super) struct Canonical<'a> {
    signature: &'a Signature,
    request: String,
    /// What is signed.
    text: String,
}

impl<'a> Canonical<'a> {
    /// The forms in which clients may have signed a request: most take dots and double slashes out of its path, some
    /// do not.
    pub(super) fn possible(
        parts: &Parts,
        signature: &'a Signature,
        body_hash: &Digest,
    ) -> impl Iterator<Item = Canonical<'a>> {
        let raw = parts.uri.path();
        let normal = without_dots(raw);
        let differs = (normal != raw).then_some(Cow::Borrowed(raw));
        let paths: Vec<_> = std::iter::once(Cow::Owned(normal)).chain(differs).collect();
        let declared = parts.headers.get("x-amz-content-sha256").and_then(|hash| hash.to_str().ok());
        let actual = hex(body_hash.as_ref());
        // A hash that is not the body's is not the body's signature.
        let payload = match declared {
            Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
            _ => actual,
        };
        let rest = format!(
            "{}\n{}\n{}\n{payload}",
            query(parts.uri.query().unwrap_or_default()),
            headers(&parts.headers, &signature.signed_headers),
            signature.signed_headers.join(";")
        );
        let method = parts.method.clone();
        paths.into_iter().map(move |path| {
            // The path as it was sent is encoded once more.
            let path = percent_encode(path.as_bytes(), ENCODED_IN_PATHS);
            let request = format!("{method}\n{path}\n{rest}");
            let text = format!(
                "AWS4-HMAC-SHA256\n{}\n{}\n{}",
                basic(signature.time),
                scope(signature),
                hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref())
            );
            Canonical { signature, request, text }
        })
    }

    /// Whether the request's signature is the one that this secret makes.
    pub(super) fn is_signed_by(&self, secret: &str) -> bool {
        let scope = &self.signature.scope;
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&scope.date, &scope.region, &scope.service, &scope.terminator] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        // Compared in the same time, however much of it is right.
        bytes(&self.signature.text)
            .is_some_and(|given| hmac::verify(&key, self.text.as_bytes(), &given).is_ok())
    }

    /// As AWS tells what should have been signed.
    pub(super) fn explained(&self) -> String {
        format!(
            "\n\nThe Canonical String for this request should have been\n'{}'\n\nThe String-to-Sign should have been\n'{}'\n",
            self.request, self.text
        )
    }
}

fn scope(signature: &Signature) -> String {
    let scope = &signature.scope;
    format!("{}/{}/{}/{}", scope.date, scope.region, scope.service, scope.terminator)
}

/// Parameters in order, encoded in one way; the signature itself is none of them.
fn query(query: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, ENCODED).to_string()
    };
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parameters.sort();
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The signed headers, one a line.
fn headers(headers: &HeaderMap, signed: &[String]) -> String {
    let mut lines = String::new();
    for name in signed {
        let values = headers.get_all(name.as_str()).iter().map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes());
            value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        });
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&values.collect::<Vec<_>>().join(","));
        lines.push('\n');
    }
    lines
}

/// The path without `.`, `..` and empty segments.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let last = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{last}", kept.join("/"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Of hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
