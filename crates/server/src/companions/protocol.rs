//! Errors that come from us instead of the service that was asked for, in the protocol that its clients read.
//!
//! Must not guess a service's own error codes: these say what Hothouse could not do.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{awsjson, caller::Credential, query};

/// An error for a client that speaks whatever the request's headers show.
pub(super) fn error(
    headers: &HeaderMap,
    credential: &Credential,
    status: StatusCode,
    code: &str,
    message: &str,
) -> Response<Bytes> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let service = credential.service.as_deref().unwrap_or_default();
    if text("smithy-protocol") == "rpc-v2-cbor" {
        return cbor(status, code, message);
    }
    if headers.contains_key("x-amz-target") {
        return awsjson::error(status, code, message);
    }
    match service {
        "s3" | "s3express" => plain_xml(status, code, message, |code, message, id| {
            format!(
                "<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{id}</RequestId></Error>"
            )
        }),
        "ec2" => plain_xml(status, code, message, |code, message, id| {
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>{id}</RequestID></Response>"
            )
        }),
        // The rest-xml services, beside those of the query protocol.
        "route53" | "cloudfront" => query::error(status, code, message),
        _ if text(header::CONTENT_TYPE.as_str()).starts_with("application/x-www-form-urlencoded") => {
            query::error(status, code, message)
        }
        _ => rest_json(status, code, message),
    }
}

fn plain_xml(
    status: StatusCode,
    code: &str,
    message: &str,
    render: impl Fn(&str, &str, &str) -> String,
) -> Response<Bytes> {
    let id = super::request_id();
    let body = render(code, &query::escape(message), id.to_str().unwrap_or_default());
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
    respond(status, "application/xml", body.into())
}

fn rest_json(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    // Services differ in the spelling of the key.
    let body = json!({ "__type": code, "message": message, "Message": message }).to_string();
    let mut response = respond(status, "application/json", body.into());
    if let Ok(code) = HeaderValue::from_str(code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

/// A map of two texts.
fn cbor(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    const MAP_OF_TWO: u8 = 0xa2;
    let mut body = vec![MAP_OF_TWO];
    for text in ["__type", code, "message", message] {
        // Text with its length in two bytes. Nothing that we say is longer.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        body.push(0x79);
        body.extend(length.to_be_bytes());
        body.extend(&text.as_bytes()[..usize::from(length)]);
    }
    let mut response = respond(status, "application/cbor", body.into());
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert("x-amzn-requestid", super::request_id());
    response
}
