//! The service's time: how far it is ahead of the machine's, and moving it further.
//!
//! Must not know what waits for it.

use bytes::Bytes;
use hothouse_execution::timeline::Timeline;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::json;
use crate::config::parse_duration;

/// More than a duration takes.
const BODY: usize = 1024;

/// `{"by": "3m"}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    by: String,
}

/// Answers `GET /_hothouse/clock` and `POST /_hothouse/clock/advance`. The answer to the latter comes when what was due
/// by then has been done.
pub(super) async fn answer(
    timeline: &Timeline,
    method: &Method,
    path: &str,
    body: Incoming,
) -> Response<Bytes> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/_hothouse/clock") => {}
        (&Method::POST, "/_hothouse/clock/advance") => {
            if let Err(message) = advance(timeline, body).await {
                return json(StatusCode::BAD_REQUEST, &json!({ "message": message }));
            }
        }
        _ => {
            let message = "GET /_hothouse/clock or POST /_hothouse/clock/advance";
            return json(StatusCode::METHOD_NOT_ALLOWED, &json!({ "message": message }));
        }
    }
    json(StatusCode::OK, &json!({ "aheadSeconds": timeline.ahead().as_secs_f64() }))
}

async fn advance(timeline: &Timeline, body: Incoming) -> Result<(), String> {
    let body = Limited::new(body, BODY).collect().await.map_err(|error| error.to_string())?;
    let Advance { by } = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| format!(r#"the body must be like {{"by": "3m"}}: {error}"#))?;
    let by = parse_duration(&by).map_err(|error| format!("`{by}` is not a duration: {error}"))?;
    timeline.advance(by).await.map_err(|error| error.to_string())
}
