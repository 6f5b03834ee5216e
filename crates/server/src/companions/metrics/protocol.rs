//! The three protocols that CloudWatch speaks: Smithy's RPC in CBOR, JSON, and forms with answers in XML.
//!
//! Must not know operations.

use std::{fmt::Write as _, io::Read};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};

use super::{Refusal, cbor, value::Value};
use crate::companions::query::{Form, escape};

const TARGET: &str = "GraniteServiceVersion20100801";
const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// Which one a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Cbor,
    Json,
    Query,
}

/// Names and values within names: more than any request has.
const DEPTH: usize = 8;

impl Protocol {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text("smithy-protocol") == "rpc-v2-cbor" {
            Self::Cbor
        } else if headers.contains_key("x-amz-target") {
            Self::Json
        } else {
            Self::Query
        }
    }

    /// The operation and its input.
    pub(super) fn read(self, parts: &Parts, body: &[u8], limit: usize) -> Result<(String, Value), Refusal> {
        let inflated;
        let body = match parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            Some(b"gzip") => {
                inflated = inflate(body, limit)?;
                &inflated[..]
            }
            _ => body,
        };
        match self {
            Self::Cbor => {
                let operation = operation(parts).to_owned();
                let empty = body.is_empty().then(|| Value::Structure(Vec::new()));
                let input = empty.or_else(|| cbor::decode(body));
                Ok((operation, input.ok_or_else(|| Refusal::serialization("The body is not valid CBOR."))?))
            }
            Self::Json => {
                let operation = operation(parts).to_owned();
                if body.is_empty() {
                    return Ok((operation, Value::Structure(Vec::new())));
                }
                let json = serde_json::from_slice(body)
                    .map_err(|error| Refusal::serialization(&error.to_string()))?;
                Ok((operation, from_json(json)))
            }
            Self::Query => {
                let form = Form::parse(if body.is_empty() {
                    parts.uri.query().unwrap_or_default().as_bytes()
                } else {
                    body
                });
                let operation = form.get("Action").unwrap_or_default().to_owned();
                Ok((operation, from_form(&form)?))
            }
        }
    }

    pub(super) fn answer(self, operation: &str, output: &Value) -> Response<Bytes> {
        match self {
            Self::Cbor => self.respond(StatusCode::OK, binary(output)),
            Self::Json => self.respond(StatusCode::OK, to_json(output).to_string().into()),
            Self::Query => {
                let id = crate::companions::request_id();
                let mut body = format!("<{operation}Response xmlns=\"{NAMESPACE}\">");
                // Operations without output have no element for it.
                if !matches!(output, Value::Structure(members) if members.is_empty()) {
                    element(&mut body, &format!("{operation}Result"), output);
                }
                let id = id.to_str().unwrap_or_default();
                let _ = write!(
                    body,
                    "<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
                );
                self.respond(StatusCode::OK, body.into())
            }
        }
    }

    pub(super) fn refuse(self, refusal: &Refusal) -> Response<Bytes> {
        let Refusal { status, shape, code, message } = refusal;
        let named = |separator: &str| format!("com.amazonaws.cloudwatch{separator}{shape}");
        let side = if status.is_server_error() { "Receiver" } else { "Sender" };
        let mut response = match self {
            Self::Cbor => {
                let error =
                    Value::of([("__type", Value::text(named("#"))), ("message", Value::text(message))]);
                self.respond(*status, binary(&error))
            }
            Self::Json => {
                let error = serde_json::json!({ "__type": named("#"), "message": message });
                self.respond(*status, error.to_string().into())
            }
            Self::Query => {
                let id = crate::companions::request_id();
                let body = format!(
                    "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{code}</Code><Message>{}\
                     </Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                    escape(message),
                    id.to_str().unwrap_or_default()
                );
                self.respond(*status, body.into())
            }
        };
        // The newer protocols tell the code of the older one, which programs compare with.
        if let Ok(code) = HeaderValue::from_str(&format!("{code};{side}")) {
            response.headers_mut().insert("x-amzn-query-error", code);
        }
        response
    }

    fn respond(self, status: StatusCode, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let content_type = match self {
            Self::Cbor => "application/cbor",
            Self::Json => "application/x-amz-json-1.0",
            Self::Query => "text/xml",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert("x-amzn-requestid", crate::companions::request_id());
        if self == Self::Cbor {
            headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
        }
        response
    }
}

/// The operation's name: the end of the path, or of the target.
fn operation(parts: &Parts) -> &str {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    match target {
        Some(target) => target.strip_prefix(TARGET).and_then(|rest| rest.strip_prefix('.')).unwrap_or(target),
        None => parts.uri.path().rsplit('/').next().unwrap_or_default(),
    }
}

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut inflated = Vec::new();
    let read = flate2::read::GzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut inflated);
    match read {
        Ok(length) if length <= limit => Ok(inflated),
        Ok(_) => Err(Refusal::too_large()),
        Err(_) => Err(Refusal::serialization("The body is not valid gzip.")),
    }
}

fn binary(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    cbor::encode(value, &mut bytes);
    bytes.into()
}

fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Boolean(value),
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Null, Value::Number),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(members) => {
            Value::Structure(members.into_iter().map(|(name, value)| (name, from_json(value))).collect())
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Number(number) | Value::Time(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Structure(members) | Value::Map(members) => {
            members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect()
        }
    }
}

/// `MetricData.member.1.MetricName=x` and so on.
fn from_form(form: &Form) -> Result<Value, Refusal> {
    let mut root = Value::Structure(Vec::new());
    for (name, text) in form.pairs() {
        let mut at = &mut root;
        let mut parts = name.split('.').peekable();
        let mut depth = 0;
        while let Some(part) = parts.next() {
            depth += 1;
            if depth > DEPTH {
                return Err(Refusal::serialization("The parameters are nested too deeply."));
            }
            let leaf = parts.peek().is_none();
            if part == "member" && !leaf {
                let index = parts.next().and_then(|index| index.parse::<usize>().ok());
                if !matches!(at, Value::List(_)) {
                    *at = Value::List(Vec::new());
                }
                let Value::List(items) = at else { break };
                // Clients number from one on without gaps; a gap would let a number take memory.
                let index = index.filter(|index| (1..=items.len() + 1).contains(index));
                let index =
                    index.ok_or_else(|| Refusal::serialization("A list is not numbered in order."))?;
                if index > items.len() {
                    items.push(Value::Structure(Vec::new()));
                }
                at = &mut items[index - 1];
            } else {
                if !matches!(at, Value::Structure(_)) {
                    *at = Value::Structure(Vec::new());
                }
                let Value::Structure(members) = at else { break };
                let known = members.iter().position(|(known, _)| known == part);
                let index = known.unwrap_or_else(|| {
                    members.push((part.to_owned(), Value::Structure(Vec::new())));
                    members.len() - 1
                });
                at = &mut members[index].1;
            }
        }
        *at = Value::Text(text.to_owned());
    }
    Ok(root)
}

fn element(xml: &mut String, name: &str, value: &Value) {
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Null => {}
        Value::Boolean(value) => drop(write!(xml, "{value}")),
        Value::Number(number) => drop(write!(xml, "{number:?}")),
        Value::Text(text) => xml.push_str(&escape(text)),
        Value::Time(seconds) => {
            let time = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64);
            let _ = write!(xml, "{}", time.unwrap_or(jiff::Timestamp::UNIX_EPOCH));
        }
        Value::List(items) => items.iter().for_each(|item| element(xml, "member", item)),
        Value::Structure(members) => members.iter().for_each(|(name, value)| element(xml, name, value)),
        Value::Map(members) => {
            for (key, value) in members {
                xml.push_str("<entry>");
                element(xml, "key", &Value::text(key));
                element(xml, "value", value);
                xml.push_str("</entry>");
            }
        }
    }
    let _ = write!(xml, "</{name}>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_become_lists_and_structures() {
        let form = Form::parse(b"Action=X&A.member.1.Name=n&A.member.1.Value=1&A.member.2.Name=m&B=");
        let value = from_form(&form).unwrap();
        let items = value.list("A").unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].required("Name").unwrap(), items[0].number("Value").unwrap()), ("n", Some(1.0)));
        assert_eq!(items[1].required("Name").unwrap(), "m");
        assert!(value.list("B").unwrap().is_empty());
        for hostile in ["A.member.99999999=1", "A.member.0=1", "A.member.x=1", "a.b.c.d.e.f.g.h.i=1"] {
            assert!(from_form(&Form::parse(hostile.as_bytes())).is_err(), "{hostile}");
        }
    }

    #[test]
    fn bodies_that_grow_too_large_are_refused() {
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut zipped, &[0; 100_000]).unwrap();
        let zipped = zipped.finish().unwrap();
        assert!(inflate(&zipped, 1000).is_err());
        assert_eq!(inflate(&zipped, 100_000).unwrap().len(), 100_000);
    }
}
