//! The query protocol: forms in, XML out, as STS speaks it.
//!
//! Must not know which action is answered.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::percent_decode;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Parses `a=1&b=2`, from the body or from the URL.
    pub(super) fn parse(text: &[u8]) -> Self {
        let decode = |part: &[u8]| {
            let part: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_decode(&part).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decode(halves.next().unwrap_or_default());
            (half(), half())
        });
        Form(pairs.collect())
    }

    /// All parameters, in the order in which they came.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// 200 with the action's result: `result` is the XML inside `<ActionResult>`.
pub(super) fn ok(action: &str, result: &str) -> Response<Bytes> {
    let id = super::request_id();
    let text = id.to_str().unwrap_or_default();
    let body = format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{text}</RequestId></ResponseMetadata></{action}Response>"
    );
    respond(StatusCode::OK, body, id)
}

/// An error with AWS's code for it.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let id = super::request_id();
    let text = id.to_str().unwrap_or_default();
    let side = if status.is_server_error() { "Receiver" } else { "Sender" };
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{code}</Code><Message>{}</Message>\
         </Error><RequestId>{text}</RequestId></ErrorResponse>",
        escape(message)
    );
    respond(status, body, id)
}

/// Makes text safe inside an XML element.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text of the first element of this name. Enough for the flat answers that services give.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + xml[start..].find(&format!("</{name}>"))?;
    let text = &xml[start..end];
    Some(
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}

fn respond(status: StatusCode, body: String, id: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response.headers_mut().insert("x-amzn-requestid", id);
    response
}
