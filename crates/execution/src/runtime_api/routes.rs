//! HTTP of the Runtime API: reads a request, makes a [`Call`], waits for the task's answer.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};

use super::{
    Body, BodyLimits, Call, ErrorReport, Refusal, extensions,
    held::{Held, Patience},
    streaming,
};
use crate::{executor::Connection, telemetry::Api};

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const STREAMING: &[u8] = b"streaming";

/// Where functions with SnapStart get their credentials.
pub(crate) const CREDENTIALS: &str = "/2021-04-23/credentials";

/// The type of a response that begins with its own status and headers.
const INTEGRATION: &[u8] = b"application/vnd.awslambda.http-integration-response";

/// Serves one connection of a runtime until it closes.
pub(crate) async fn serve(connection: Connection, calls: mpsc::Sender<Call>, limits: BodyLimits) {
    let patience = Patience::default();
    let held = Held::new(connection, patience.clone());
    let service = service_fn(move |request| {
        let (calls, patience) = (calls.clone(), patience.clone());
        async move { Ok::<_, Infallible>(answer(request, &calls, &patience, limits).await) }
    });
    let served = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(held), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a Runtime API connection ended");
    }
}

/// AWS's library for Go tells no mode: that it streams is told by the type of what it writes alone.
fn is_streamed(headers: &HeaderMap) -> bool {
    match headers.get(RESPONSE_MODE) {
        Some(mode) => mode.as_bytes() == STREAMING,
        None => headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == INTEGRATION),
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: &mpsc::Sender<Call>,
    patience: &Patience,
    limits: BodyLimits,
) -> Response<Full<Bytes>> {
    let (parts, mut body) = request.into_parts();
    if is_streamed(&parts.headers)
        && let Some(id) = responded(&parts)
    {
        match streaming::answer(id, &parts.headers, body, calls, limits).await {
            Ok(response) => return response,
            Err(unread) => body = unread,
        }
    }
    let limit = limits.buffered;
    let (reply, response) = oneshot::channel();
    let path = parts.uri.path();
    let (call, place) = if let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") {
        // Its place in the queue comes before its body: as many bodies are held at a time as calls may wait, however
        // many connections send one.
        let Ok(place) = calls.reserve().await else { return going_away() };
        let call = match (rest, &parts.method) {
            ("invocation/next", &Method::GET) => Call::Next(reply),
            ("init/error", &Method::POST) => match read(body, limit).await {
                Body::Whole(document) => Call::InitError { report: report(&parts.headers, document), reply },
                problem => return unreadable(&problem),
            },
            ("restore/next", &Method::GET) => Call::RestoreNext(reply),
            ("restore/error", &Method::POST) => match read(body, limit).await {
                Body::Whole(document) => {
                    Call::RestoreError { report: report(&parts.headers, document), reply }
                }
                problem => return unreadable(&problem),
            },
            ("invocation/next" | "init/error" | "restore/next" | "restore/error", _) => {
                return empty(StatusCode::METHOD_NOT_ALLOWED);
            }
            (rest, method) => match rest.strip_prefix("invocation/").and_then(|rest| rest.split_once('/')) {
                Some((_, "response" | "error")) if method != Method::POST => {
                    return empty(StatusCode::METHOD_NOT_ALLOWED);
                }
                Some((id, "response")) => {
                    let id = id.to_owned();
                    // Read in any case: the next request stands behind the body.
                    let body = read(body, limit).await;
                    let body = match parts.headers.get(RESPONSE_MODE).map(|mode| mode.as_bytes()) {
                        None | Some(b"" | STREAMING) => body,
                        Some(mode) => Body::InvalidMode(String::from_utf8_lossy(mode).into_owned()),
                    };
                    Call::Response { id, body, reply }
                }
                Some((id, "error")) => {
                    let id = id.to_owned();
                    match read(body, limit).await {
                        Body::Whole(document) => {
                            let report = report(&parts.headers, without_cause(&parts.headers, document));
                            Call::Error { id, report, reply }
                        }
                        problem => return unreadable(&problem),
                    }
                }
                _ => return not_found(),
            },
        };
        (call, place)
    } else if let Some(rest) = path.strip_prefix("/2020-01-01/extension/") {
        let Ok(place) = calls.reserve().await else { return going_away() };
        match extensions::call(rest, &parts.method, &parts.headers, body, limit).await {
            Ok(call) => (Call::Extension { call, reply }, place),
            Err(refused) => return refused,
        }
    } else if let Some(api) = telemetry_api(path) {
        let Ok(place) = calls.reserve().await else { return going_away() };
        match extensions::subscribe(api, &parts.method, &parts.headers, body, limit).await {
            Ok(call) => (Call::Extension { call, reply }, place),
            Err(refused) => return refused,
        }
    } else if path == CREDENTIALS && parts.method == Method::GET {
        let Ok(place) = calls.reserve().await else { return going_away() };
        let token = parts.headers.get(AUTHORIZATION).and_then(|token| token.to_str().ok()).map(str::to_owned);
        (Call::Credentials { token, reply }, place)
    } else if path == "/2018-06-01/ping" && parts.method == Method::GET {
        return Response::new(Full::new(Bytes::from_static(b"pong")));
    } else {
        return not_found();
    };
    let asks = matches!(call, Call::Next(_));
    let answers = matches!(call, Call::Response { .. } | Call::Error { .. });
    patience.set_waiting_for_event(asks);
    place.send(call);
    let response = response.await.unwrap_or_else(|_| going_away());
    patience.set_waiting_for_event(false);
    if answers {
        patience.acknowledges();
    }
    response
}

/// AWS's documentation has these paths with a slash at their end and without.
fn telemetry_api(path: &str) -> Option<Api> {
    match path.strip_suffix('/').unwrap_or(path) {
        "/2022-07-01/telemetry" => Some(Api::Telemetry),
        "/2020-08-15/logs" => Some(Api::Logs),
        _ => None,
    }
}

/// The invocation that a request answers.
fn responded(parts: &Parts) -> Option<&str> {
    let rest = parts.uri.path().strip_prefix("/2018-06-01/runtime/invocation/")?;
    rest.strip_suffix("/response").filter(|_| parts.method == Method::POST)
}

/// The environment is going away, and the process behind this connection with it.
pub(crate) fn going_away() -> Response<Full<Bytes>> {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal Server Error").response()
}

/// Reads a body up to the payload limit. What is over the limit is read too, and thrown away, since a client that is
/// still writing does not read the answer.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Body {
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut first: Option<Bytes> = None;
    let mut collected = BytesMut::new();
    let mut length = 0;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Body::Truncated };
        match frame.into_data() {
            Ok(data) => {
                length += data.len();
                if length > limit {
                    first = None;
                    collected = BytesMut::new();
                } else if length == data.len() {
                    first = Some(data);
                } else {
                    if let Some(first) = first.take() {
                        collected.reserve(announced.filter(|length| *length <= limit).unwrap_or_default());
                        collected.extend_from_slice(&first);
                    }
                    collected.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
    if let Some(report) = trailers.as_ref().and_then(told_by_trailers) {
        return Body::Failed(report);
    }
    if length > limit {
        return Body::TooLarge { limit };
    }
    // The usual payload came in one piece and goes on as it is.
    Body::Whole(first.unwrap_or_else(|| collected.freeze()))
}

/// What went wrong with a response that has begun stands behind it.
pub(super) fn told_by_trailers(trailers: &HeaderMap) -> Option<ErrorReport> {
    let error_type = String::from_utf8_lossy(trailers.get(ERROR_TYPE)?.as_bytes()).into_owned();
    let document = trailers.get(ERROR_BODY).and_then(|value| decode_base64(value.as_bytes()));
    Some(ErrorReport { error_type, document: document.unwrap_or_default().into() })
}

fn report(headers: &HeaderMap, document: Bytes) -> ErrorReport {
    let sent = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ErrorReport { error_type: scrub(sent).to_owned(), document }
}

/// Only `Runtime.Xyz` and `Function.Xyz` are taken over; the caller gets the document in any case.
fn scrub(error_type: &str) -> &str {
    let known = error_type.strip_prefix("Runtime.").or_else(|| error_type.strip_prefix("Function."));
    let named = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|c| c.is_ascii_uppercase())
            && name.len() > 1
            && letters.all(|c| c.is_ascii_alphabetic())
    };
    match known {
        Some(name) if named(name) => error_type,
        _ if error_type.starts_with("Function.") => "Function.Unknown",
        _ => "Runtime.Unknown",
    }
}

/// With this content type the document also carries an X-Ray cause, which is not for the caller.
fn without_cause(headers: &HeaderMap, document: Bytes) -> Bytes {
    let is_cause = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == b"application/vnd.aws.lambda.error.cause+json");
    if !is_cause {
        return document;
    }
    let Ok(mut value) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&document)
    else {
        return Bytes::from_static(b"\"Invalid error body\"");
    };
    value.retain(|key, _| matches!(key.as_str(), "errorMessage" | "errorType" | "stackTrace"));
    Bytes::from(serde_json::Value::Object(value).to_string())
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

pub(super) fn unreadable(problem: &Body) -> Response<Full<Bytes>> {
    match *problem {
        Body::TooLarge { limit } => too_large(limit),
        Body::Whole(_) | Body::PassedOn { .. } | Body::Failed(_) | Body::Truncated | Body::InvalidMode(_) => {
            truncated()
        }
    }
}

/// 413, for a response that is over the limit.
pub(crate) fn too_large(limit: usize) -> Response<Full<Bytes>> {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        format!("Exceeded maximum allowed payload size ({limit} bytes)."),
    )
    .response()
}

/// 400, for a body that ended early.
pub(crate) fn truncated() -> Response<Full<Bytes>> {
    Refusal::new(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
        .response()
}

pub(crate) fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"404 page not found\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_types_are_scrubbed_to_those_that_the_platform_knows() {
        for (sent, kept) in [
            ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
            ("Function.Custom", "Function.Custom"),
            ("Function.custom", "Function.Unknown"),
            ("Runtime.x", "Runtime.Unknown"),
            ("Unhandled", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
        ] {
            assert_eq!(scrub(sent), kept);
        }
    }
}
