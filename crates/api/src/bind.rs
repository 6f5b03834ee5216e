//! Binding: the members of an input, gathered from path, query, headers and body into one JSON document.
//!
//! Types are settled here, so that later steps can rely on them. Must not judge values beyond their type: `validate` does.

mod package;

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::{
    error::ApiError,
    function_ref,
    generated::{ErrorKind, InvocationRequest, Operation},
    json,
    model::{Location, Shape, Structure},
    name::is_name_byte,
    timestamp::Timestamp,
};

/// An input before it has its type.
#[derive(Debug)]
pub(crate) struct Bound {
    /// All members but a payload, by their names in the model.
    pub(crate) members: Map<String, Value>,
    /// The body, if it is a payload that is taken as it is.
    pub(crate) payload: Bytes,
}

impl Bound {
    /// The input, typed. Validation ran before.
    pub(crate) fn decode<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        serde_json::from_value(Value::Object(self.members)).map_err(|error| serialization(&error.to_string()))
    }

    /// The input and the payload that belongs into it.
    pub(crate) fn decode_with_payload<T: DeserializeOwned>(mut self) -> Result<(T, Bytes), ApiError> {
        let payload = std::mem::take(&mut self.payload);
        Ok((self.decode()?, payload))
    }
}

/// Gathers the members of an operation's input.
pub(crate) fn bind(
    operation: Operation,
    segments: &[&str],
    parts: &Parts,
    body: Bytes,
) -> Result<Bound, ApiError> {
    let input = operation.input();
    let mut bound = Bound { members: Map::new(), payload: Bytes::new() };
    if let Some(payload) = input.members.iter().find(|member| member.location == Location::Payload) {
        if let Shape::Blob { .. } = payload.shape {
            bound.payload = match operation {
                // A durable operation's result is whatever bytes its caller sends.
                Operation::SendDurableExecutionCallbackSuccess => body,
                _ => payload_document(&body)?,
            };
        } else if let Some(document) = document(&body)? {
            insert(&mut bound.members, payload.name, payload.shape, document)?;
        }
    } else if input.members.iter().any(|member| member.location == Location::Body) {
        bound.members = match package::with_package(input, body) {
            Ok(members) => members,
            Err(body) => match document(&body)?.filter(|document| !document.is_null()) {
                Some(document) => structure(input, document, |location| location == Location::Body)?,
                None => Map::new(),
            },
        };
    }
    for member in input.members {
        let value = match member.location {
            Location::Body | Location::Payload => continue,
            Location::Label => label(operation, segments, member.name).map(Value::String),
            Location::Query(name) => from_query(parts.uri.query().unwrap_or_default(), name, member.shape)?,
            Location::Header(name) => from_header(&parts.headers, name),
        };
        if let Some(value) = value {
            insert(&mut bound.members, member.name, member.shape, from_text(member.shape, value)?)?;
        }
    }
    Ok(bound)
}

/// The input of an invocation, when everything about it is as usual: then it needs no document, and no validation either.
/// None means that the general way must look.
pub(crate) fn usual_invocation(segments: &[&str], parts: &Parts) -> Option<InvocationRequest> {
    let name = segments.get(2).filter(|name| (1..=256).contains(&name.len()))?;
    let function_name = decode(name);
    function_ref::split(&function_name)?;
    let mut input = InvocationRequest { function_name, ..InvocationRequest::default() };
    for (name, value) in pairs(parts.uri.query().unwrap_or_default()) {
        let usual =
            (1..=128).contains(&value.len()) && (value == "$LATEST" || value.bytes().all(is_name_byte));
        if name != "Qualifier" || !usual || input.qualifier.is_some() {
            return None;
        }
        input.qualifier = Some(value.to_owned());
    }
    for (name, value) in &parts.headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        match name {
            "x-amz-invocation-type" => input.invocation_type = Some(value.to_str().ok()?.parse().ok()?),
            "x-amz-log-type" => input.log_type = Some(value.to_str().ok()?.parse().ok()?),
            "x-amz-client-context" => input.client_context = Some(value.to_str().ok()?.to_owned()),
            "x-amz-durable-execution-name" | "x-amz-tenant-id" => return None,
            // Signatures, dates, tokens.
            _ => {}
        }
    }
    Some(input)
}

/// Whether a query has this name with this value.
pub(crate) fn query_has(query: &str, name: &str, value: &str) -> bool {
    pairs(query).any(|(key, text)| key == name && decode(text) == value)
}

/// A payload that is passed on byte for byte. An empty one is `{}` to the function.
pub(crate) fn payload_document(body: &Bytes) -> Result<Bytes, ApiError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    json::check(body).map_err(|fault| {
        ApiError::new(
            ErrorKind::InvalidRequestContent,
            format!("Could not parse request body into json: Could not parse payload into json: {fault}"),
        )
    })?;
    Ok(body.clone())
}

/// The body as a document; none if there is no body.
fn document(body: &Bytes) -> Result<Option<Value>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|_| match json::check(body) {
        // In Jackson's words, as AWS has them.
        Err(fault) => serialization(&fault.to_string()),
        // It is JSON, but no number of ours is that large, no text has half a character, or it is nested deeper than any
        // input.
        Ok(()) => serialization("The document holds a value that can not be converted"),
    })
}

/// The text of a label, which may span segments.
fn label(operation: Operation, segments: &[&str], name: &str) -> Option<String> {
    let (start, _) = operation.labels().iter().find(|(_, label)| *label == name)?;
    // What the path has more than the template belongs to the one label that may span.
    let extra = segments.len().saturating_sub(operation.segments());
    let text = segments.get(*start..=start + extra)?.join("/");
    Some(decode(&text))
}

fn from_query(query: &str, name: &str, shape: &Shape) -> Result<Option<Value>, ApiError> {
    let mut values =
        pairs(query).filter(|(key, _)| decode(key) == name).map(|(_, value)| Value::String(decode(value)));
    Ok(match shape {
        Shape::List { member, .. } => {
            let values = values.map(|value| from_text(member, value)).collect::<Result<Vec<_>, _>>()?;
            if values.is_empty() { None } else { Some(Value::Array(values)) }
        }
        _ => values.next(),
    })
}

fn from_header(headers: &HeaderMap, name: &str) -> Option<Value> {
    headers.get(name).map(|value| Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Gives text from path, query or header the type of its shape.
fn from_text(shape: &Shape, value: Value) -> Result<Value, ApiError> {
    let Value::String(text) = &value else { return Ok(value) };
    let typed = match shape {
        Shape::Integer { .. } | Shape::Long { .. } => text.parse::<i64>().ok().map(Value::from),
        Shape::Double { .. } => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
        Shape::Boolean => text.parse::<bool>().ok().map(Value::Bool),
        Shape::Timestamp => {
            let moment = Timestamp::from_iso8601(text)
                .or_else(|| text.parse::<f64>().ok().and_then(Timestamp::from_seconds));
            moment.and_then(|moment| serde_json::to_value(moment).ok())
        }
        _ => return Ok(value),
    };
    typed.ok_or_else(|| mismatch(&value, shape))
}

fn insert(members: &mut Map<String, Value>, name: &str, shape: &Shape, value: Value) -> Result<(), ApiError> {
    if !value.is_null() {
        members.insert(name.to_owned(), typed(shape, value)?);
    }
    Ok(())
}

/// A structure with only the members that the model knows and the document has; `null` is as good as absent.
fn structure(
    structure: &Structure,
    value: Value,
    accepts: impl Fn(Location) -> bool,
) -> Result<Map<String, Value>, ApiError> {
    let mut given = match value {
        Value::Object(given) => given,
        Value::Array(_) => return Err(serialization("Start of list found where not expected")),
        _ => return Err(serialization("Expected structure or null")),
    };
    let mut members = Map::new();
    for member in structure.members.iter().filter(|member| accepts(member.location)) {
        if let Some(value) = given.remove(member.name) {
            insert(&mut members, member.name, member.shape, value)?;
        }
    }
    Ok(members)
}

/// Checks the type of a value and brings it to one form: whole numbers as integers, real ones as floats.
fn typed(shape: &Shape, value: Value) -> Result<Value, ApiError> {
    match (shape, value) {
        (Shape::Structure(inner), value) => structure(inner, value, |_| true).map(Value::Object),
        (Shape::List { member, .. }, Value::Array(items)) => {
            let items =
                items.into_iter().map(|item| nullable(member, item)).collect::<Result<Vec<_>, _>>()?;
            Ok(Value::Array(items))
        }
        (Shape::List { .. }, Value::Object(_)) => {
            Err(serialization("Start of structure or map found where not expected"))
        }
        (Shape::List { .. }, _) => Err(serialization("Expected list or null")),
        (Shape::Map { value: member, .. }, Value::Object(entries)) => {
            let entries = entries.into_iter().map(|(key, value)| Ok((key, nullable(member, value)?)));
            Ok(Value::Object(entries.collect::<Result<Map<_, _>, ApiError>>()?))
        }
        (Shape::Map { .. }, Value::Array(_)) => Err(serialization("Start of list found where not expected")),
        (Shape::Map { .. }, _) => Err(serialization("Expected map or null")),
        (_, Value::Object(_)) => Err(serialization("Start of structure or map found where not expected")),
        (_, Value::Array(_)) => Err(serialization("Start of list found where not expected")),
        (Shape::Text { .. } | Shape::Enum { .. } | Shape::Blob { .. }, value @ Value::String(_)) => Ok(value),
        (Shape::Boolean, value @ Value::Bool(_)) => Ok(value),
        (Shape::Integer { .. }, Value::Number(number)) => whole(&number)
            .filter(|whole| i32::try_from(*whole).is_ok())
            .map(Value::from)
            .ok_or_else(|| truncated("an Integer")),
        (Shape::Long { .. }, Value::Number(number)) => {
            whole(&number).map(Value::from).ok_or_else(|| truncated("a Long"))
        }
        (Shape::Double { .. } | Shape::Timestamp, Value::Number(number)) => {
            let real = number.as_f64().and_then(Number::from_f64).map(Value::Number);
            real.ok_or_else(|| mismatch(&Value::Number(number), shape))
        }
        (_, value) => Err(mismatch(&value, shape)),
    }
}

/// A `null` inside a list or map stays for validation, which has a message for it.
fn nullable(shape: &Shape, value: Value) -> Result<Value, ApiError> {
    if value.is_null() { Ok(value) } else { typed(shape, value) }
}

fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let real = number.as_f64()?;
        // Up to 2^53 every whole number is exact.
        (real.fract() == 0.0 && real.abs() < 9_007_199_254_740_992.0).then_some(real as i64)
    })
}

fn truncated(target: &str) -> ApiError {
    serialization(&format!(
        "class com.amazon.coral.value.json.numbers.TruncatingBigDecimal can not be converted to {target}"
    ))
}

fn mismatch(value: &Value, shape: &Shape) -> ApiError {
    let given = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    let wanted = match shape {
        Shape::Structure(_) => "a Structure",
        Shape::List { .. } => "a List",
        Shape::Map { .. } => "a Map",
        Shape::Text { .. } | Shape::Enum { .. } => "a String",
        Shape::Integer { .. } => "an Integer",
        Shape::Long { .. } => "a Long",
        Shape::Double { .. } => "a Double",
        Shape::Boolean => "a Boolean",
        Shape::Blob { .. } => "a Blob",
        Shape::Timestamp => "a Timestamp",
    };
    serialization(&format!("{given} can not be converted to {wanted}"))
}

/// Unverified: the wording is that of AWS's other JSON services, no answer of Lambda was at hand.
fn serialization(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Serialization, message)
}
