//! Hothouse's own endpoints: health, environments, functions, traces, code downloads.
//!
//! Must not change anything: what changes state is the Lambda API's.

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{Door, json};
use crate::companions::metrics::prometheus;

/// Answers a request below `/_hothouse` or `/_localstack`.
pub(super) async fn answer(door: &Door, parts: &Parts) -> Response<Bytes> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "message": "only GET is answered here" }));
    }
    let path = parts.uri.path();
    match path {
        "/_hothouse/health" => json(StatusCode::OK, &health()),
        "/_localstack/health" | "/_localstack/info" => json(StatusCode::OK, &localstack_health(door)),
        "/_hothouse/environments" => {
            let ended = door.engine.ended_environments();
            json(
                StatusCode::OK,
                &json!({
                    "environments": door.engine.environments(),
                    "ended": ended,
                    "budget": door.engine.budget(),
                }),
            )
        }
        "/_hothouse/functions" => json(StatusCode::OK, &functions(door)),
        "/_hothouse/metrics" => metrics(door),
        "/_hothouse/traces" => json(StatusCode::OK, &door.companions.xray.list()),
        _ => {
            if let Some(token) = path.strip_prefix("/_hothouse/code/") {
                return code(door, token).await;
            }
            if let Some(id) = path.strip_prefix("/_hothouse/traces/") {
                return trace(door, &percent_decode_str(id).decode_utf8_lossy());
            }
            json(StatusCode::NOT_FOUND, &json!({ "message": format!("there is nothing at `{path}`") }))
        }
    }
}

fn health() -> serde_json::Value {
    json!({ "status": "running", "version": env!("CARGO_PKG_VERSION") })
}

/// What tools that wait for LocalStack look at.
fn localstack_health(door: &Door) -> serde_json::Value {
    let mut services = serde_json::Map::new();
    for service in ["cloudwatch", "lambda", "logs", "sts", "xray"] {
        services.insert(service.to_owned(), json!("running"));
    }
    if door.companions.forwarder.has_endpoint() {
        services.insert("*".to_owned(), json!("available"));
    }
    json!({ "services": services, "edition": "hothouse", "version": env!("CARGO_PKG_VERSION") })
}

/// What Prometheus reads.
fn metrics(door: &Door) -> Response<Bytes> {
    let text = prometheus::text(&door.control, &door.engine, &door.companions.logs);
    let mut response = Response::new(Bytes::from(text));
    let kind = http::HeaderValue::from_static(prometheus::CONTENT_TYPE);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn functions(door: &Door) -> serde_json::Value {
    let functions: Vec<_> = door
        .control
        .functions()
        .into_iter()
        .map(|function| {
            json!({
                "account": function.account.to_string(),
                "region": function.region.to_string(),
                "name": function.name.to_string(),
                "runtime": function.runtime.map(|runtime| runtime.as_str()),
                "memorySize": function.memory_size,
                "timeout": function.timeout,
                "lastModified": function.last_modified,
                "versions": function.versions,
                "aliases": function.aliases,
                "description": function.description,
            })
        })
        .collect();
    json!({ "functions": functions })
}

fn trace(door: &Door, id: &str) -> Response<Bytes> {
    match door.companions.xray.get(id) {
        Some(trace) => json(StatusCode::OK, &trace),
        None => {
            let message = format!("there is no trace `{id}`");
            json(StatusCode::NOT_FOUND, &json!({ "__type": "ResourceNotFoundException", "message": message }))
        }
    }
}

/// The archive that `GetFunction` gave the location of.
async fn code(door: &Door, location: &str) -> Response<Bytes> {
    let gone = || json(StatusCode::NOT_FOUND, &json!({ "message": "this code is not here any more" }));
    let Some(path) = door.control.package(location) else { return gone() };
    let Ok(archive) = tokio::fs::read(path).await else { return gone() };
    let mut response = Response::new(Bytes::from(archive));
    let zip = http::HeaderValue::from_static("application/zip");
    response.headers_mut().insert(http::header::CONTENT_TYPE, zip);
    response
}
