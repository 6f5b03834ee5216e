//! HTTP of the Extensions API: reads a request, makes an [`ExtensionCall`].
//!
//! Must not know which extensions there are. The order of checks is that of AWS's Runtime Interface Emulator; all
//! refusals are 403, a malformed document too.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Body, ExtensionCall, Refusal, json_response, routes};
use crate::{
    spec::FunctionSpec,
    telemetry::{Api, Subscription},
};

const NAME: &str = "lambda-extension-name";
const FEATURES: &str = "lambda-extension-accept-feature";
const IDENTIFIER: &str = "lambda-extension-identifier";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";

/// Reads the request for `/extension/{path}`, or makes the answer that refuses it.
pub(super) async fn call(
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<ExtensionCall, Response<Full<Bytes>>> {
    let expected = match path {
        "event/next" => Method::GET,
        "register" | "init/error" | "exit/error" => Method::POST,
        _ => return Err(routes::not_found()),
    };
    if *method != expected {
        return Err(routes::empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    // Read in any case: the next request stands behind the body.
    let body = match routes::read(body, limit).await {
        Body::Whole(body) => body,
        problem => return Err(routes::unreadable(&problem)),
    };
    let call = match path {
        "register" => register(headers, &body),
        "event/next" => identifier(headers).map(|id| ExtensionCall::Next { id }),
        "init/error" => failure(headers).map(|(id, error_type)| ExtensionCall::InitError { id, error_type }),
        _ => failure(headers).map(|(id, error_type)| ExtensionCall::ExitError { id, error_type }),
    };
    call.map_err(|refusal| refusal.response())
}

/// Reads a request to subscribe, or makes the answer that refuses it.
pub(super) async fn subscribe(
    api: Api,
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<ExtensionCall, Response<Full<Bytes>>> {
    if *method != Method::PUT {
        return Err(routes::empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let body = match routes::read(body, limit).await {
        Body::Whole(body) => body,
        problem => return Err(routes::unreadable(&problem)),
    };
    let id = identifier(headers).map_err(|refusal| refusal.response())?;
    Ok(ExtensionCall::Subscribe { id, request: Subscription::parse(api, &body).map(Box::new) })
}

/// Who calls.
pub(super) fn identifier(headers: &HeaderMap) -> Result<Uuid, Refusal> {
    let Some(id) = text(headers, IDENTIFIER) else {
        let message = "Missing Lambda-Extension-Identifier header";
        return Err(refusal("Extension.MissingExtensionIdentifier", message));
    };
    let invalid = |_| refusal("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier");
    Uuid::parse_str(&id).map_err(invalid)
}

fn failure(headers: &HeaderMap) -> Result<(Uuid, String), Refusal> {
    let id = identifier(headers)?;
    let missing = || refusal("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found");
    Ok((id, text(headers, ERROR_TYPE).ok_or_else(missing)?))
}

fn register(headers: &HeaderMap, body: &[u8]) -> Result<ExtensionCall, Refusal> {
    let empty = || refusal("Extension.InvalidExtensionName", "Empty extension name");
    let name = text(headers, NAME).ok_or_else(empty)?;
    let features = text(headers, FEATURES).unwrap_or_default();
    let account = features.split(',').any(|feature| feature.trim() == "accountId");
    let events = events(body).map_err(|problem| refusal("InvalidRequestFormat", problem))?;
    Ok(ExtensionCall::Register { name, events, account })
}

/// The events that a registration names, or what is wrong with it.
fn events(body: &[u8]) -> Result<Vec<String>, String> {
    if body.trim_ascii().is_empty() {
        return Err("unexpected end of JSON input".to_owned());
    }
    // Unverified beyond the above: AWS shows what its own parser says.
    let members = match serde_json::from_slice(body).map_err(|error| error.to_string())? {
        Value::Object(members) => members,
        Value::Null => return Ok(Vec::new()),
        other => return Err(format!("cannot read an object from {}", kind(&other))),
    };
    let mut events = Vec::new();
    for (name, value) in members {
        // Its parser does not distinguish upper and lower case.
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match value {
            Value::Array(names) if is("events") => {
                for event in names {
                    match event {
                        Value::String(event) => events.push(event),
                        other => return Err(format!("cannot read an event from {}", kind(&other))),
                    }
                }
            }
            Value::Array(keys) if is("configurationKeys") && !keys.is_empty() => {
                return Err("configurationKeys are deprecated; use environment variables instead".to_owned());
            }
            other if is("events") && !other.is_null() => {
                return Err(format!("cannot read events from {}", kind(&other)));
            }
            _ => {}
        }
    }
    Ok(events)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The answer to a registration.
pub(crate) fn registered(spec: &FunctionSpec, id: Uuid, account: bool) -> Response<Full<Bytes>> {
    let mut document = json!({});
    if account {
        document["accountId"] = json!(spec.account.to_string());
    }
    document["functionName"] = json!(spec.function_name.to_string());
    document["functionVersion"] = json!(spec.version.to_string());
    document["handler"] = json!(spec.handler);
    let mut body = document.to_string();
    body.push('\n');
    let mut response = json_response(StatusCode::OK, Bytes::from(body));
    let id = HeaderValue::from_str(&id.to_string()).expect("identifiers are ASCII");
    response.headers_mut().insert(IDENTIFIER, id);
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn refusal(error_type: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, error_type, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_name_events_or_none() {
        let read = |body: &str| events(body.as_bytes());
        let named = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(read(r#"{"events":["INVOKE","SHUTDOWN"]}"#), named(&["INVOKE", "SHUTDOWN"]));
        assert_eq!(read(r#"{"Events":["INVOKE"],"more":1}"#), named(&["INVOKE"]));
        for nothing in ["{}", "null", r#"{"events":null}"#, r#"{"configurationKeys":[]}"#] {
            assert_eq!(read(nothing), named(&[]), "{nothing}");
        }
        assert_eq!(read("").unwrap_err(), "unexpected end of JSON input");
        assert_eq!(
            read(r#"{"configurationKeys":["A"]}"#).unwrap_err(),
            "configurationKeys are deprecated; use environment variables instead"
        );
        for wrong in ["[]", "1", "{", r#"{"events":"INVOKE"}"#, r#"{"events":[1]}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
