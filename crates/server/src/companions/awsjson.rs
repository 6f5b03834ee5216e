//! Answers in awsJson 1.1, the protocol of CloudWatch Logs.
//!
//! Must not know which operation is answered.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// 200 with the operation's output. AWS answers operations without output with an empty body.
pub(super) fn ok(output: &Value) -> Response<Bytes> {
    let empty = output.as_object().is_some_and(serde_json::Map::is_empty);
    let body = if empty { Bytes::new() } else { output.to_string().into() };
    respond(StatusCode::OK, body)
}

/// An error with AWS's name for it.
pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Response<Bytes> {
    respond(status, json!({ "__type": kind, "message": message }).to_string().into())
}

fn respond(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert("x-amzn-requestid", super::request_id());
    response
}
