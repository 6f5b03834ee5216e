//! Segment documents: what of them matters here, and what makes one useless.
//!
//! Must not change a document: it is shown as it was sent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Scope;

/// Bytes of one document (AWS: 64 KB).
pub(super) const DOCUMENT_BYTES: usize = 64 << 10;

/// A document of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum SegmentError {
    #[error("it does not begin with the line `{{\"format\":\"json\",\"version\":1}}`")]
    Header,
    #[error("it has {0} bytes, more than {DOCUMENT_BYTES}")]
    TooLarge(usize),
    #[error("it is not a segment")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is not a trace id")]
    TraceId(String),
    #[error("`{0}` is not the id of a segment")]
    Id(String),
    #[error("the time of its start is not one")]
    Time,
}

impl SegmentError {
    /// What `UnprocessedTraceSegments` calls it. Unverified: AWS does not list its codes.
    pub(super) fn code(&self) -> &'static str {
        match self {
            SegmentError::Header | SegmentError::Json(_) => "ParseError",
            SegmentError::TooLarge(_) => "SizeLimitExceeded",
            SegmentError::TraceId(_) => "InvalidTraceId",
            SegmentError::Id(_) => "InvalidId",
            SegmentError::Time => "InvalidTime",
        }
    }
}

/// A segment, or a subsegment that was sent by itself.
#[derive(Debug)]
pub(super) struct Segment {
    document: Box<str>,
    trace_id: String,
    fields: Fields,
    /// Where it came from, as far as that is known.
    scope: Option<Scope>,
}

#[derive(Debug, Deserialize)]
struct Fields {
    trace_id: String,
    id: String,
    name: String,
    start_time: f64,
    end_time: Option<f64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    parent_id: Option<String>,
    #[serde(default)]
    in_progress: bool,
    #[serde(default)]
    fault: bool,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    throttle: bool,
    origin: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
    http: Option<Value>,
}

impl Segment {
    pub(super) fn parse(document: &str, scope: Option<Scope>) -> Result<Self, SegmentError> {
        if document.len() > DOCUMENT_BYTES {
            return Err(SegmentError::TooLarge(document.len()));
        }
        let mut fields: Fields = serde_json::from_str(document)?;
        let given = std::mem::take(&mut fields.trace_id);
        let trace_id = trace_id(&given).ok_or(SegmentError::TraceId(given))?;
        if fields.id.len() != 16 || !is_hex(&fields.id) {
            return Err(SegmentError::Id(fields.id));
        }
        if !(fields.start_time.is_finite() && fields.start_time > 0.0) {
            return Err(SegmentError::Time);
        }
        Ok(Segment { document: document.into(), trace_id, fields, scope })
    }

    pub(super) fn document(&self) -> &str {
        &self.document
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        // The parsed fields repeat the shorter part of the document.
        size_of::<Self>() + self.document.len() * 3 / 2
    }

    pub(super) fn trace_id(&self) -> &str {
        &self.trace_id
    }

    pub(super) fn id(&self) -> &str {
        &self.fields.id
    }

    pub(super) fn name(&self) -> &str {
        &self.fields.name
    }

    pub(super) fn origin(&self) -> Option<&str> {
        self.fields.origin.as_deref()
    }

    pub(super) fn parent_id(&self) -> Option<&str> {
        self.fields.parent_id.as_deref()
    }

    pub(super) fn is_subsegment(&self) -> bool {
        self.fields.kind.as_deref() == Some("subsegment")
    }

    /// The beginning of something whose end is yet to come.
    pub(super) fn in_progress(&self) -> bool {
        self.fields.in_progress || self.fields.end_time.is_none()
    }

    /// Seconds since the epoch.
    pub(super) fn start(&self) -> f64 {
        self.fields.start_time
    }

    /// Seconds since the epoch; the start if it has not ended.
    pub(super) fn end(&self) -> f64 {
        self.fields.end_time.unwrap_or(self.fields.start_time)
    }

    pub(super) fn fault(&self) -> bool {
        self.fields.fault
    }

    pub(super) fn error(&self) -> bool {
        self.fields.error
    }

    pub(super) fn throttle(&self) -> bool {
        self.fields.throttle
    }

    pub(super) fn annotations(&self) -> &BTreeMap<String, Value> {
        &self.fields.annotations
    }

    pub(super) fn http(&self) -> Option<&Value> {
        self.fields.http.as_ref()
    }

    /// Whether a request of this scope may see it. What came over the host's network names no owner.
    pub(super) fn is_visible_to(&self, scope: &Scope) -> bool {
        self.scope.as_ref().is_none_or(|own| own == scope)
    }
}

/// The document in a datagram to the daemon: a line that says the format, then the segment.
pub(super) fn datagram_document(datagram: &[u8]) -> Result<&str, SegmentError> {
    #[derive(Deserialize)]
    struct Header<'a> {
        format: &'a str,
        version: u32,
    }
    let split = datagram.iter().position(|byte| *byte == b'\n').ok_or(SegmentError::Header)?;
    let (header, document) = (&datagram[..split], &datagram[split + 1..]);
    match serde_json::from_slice(header) {
        Ok(Header { format: "json", version: 1 }) => {}
        Ok(_) | Err(_) => return Err(SegmentError::Header),
    }
    std::str::from_utf8(document).map(str::trim).map_err(|_| SegmentError::Header)
}

/// `1-58406520-a006649127e371903a2de979`, from that or from its 32 digits without hyphens (W3C), or from a whole
/// `Root=…;…` header.
pub(super) fn trace_id(text: &str) -> Option<String> {
    let text = text.split(';').find_map(|part| part.trim().strip_prefix("Root=")).unwrap_or(text).trim();
    let text = text.to_ascii_lowercase();
    if text.len() == 32 && is_hex(&text) {
        return Some(format!("1-{}-{}", &text[..8], &text[8..]));
    }
    let (time, random) = text.strip_prefix("1-")?.split_once('-')?;
    (time.len() == 8 && random.len() == 24 && is_hex(time) && is_hex(random)).then_some(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
