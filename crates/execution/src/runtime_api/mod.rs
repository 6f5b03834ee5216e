//! The Runtime API (2018-06-01), the Extensions API (2020-01-01) and subscriptions to telemetry of one environment: HTTP
//! on one side, [`Call`]s to the environment's task on the other.
//!
//! Must not decide anything about invocations: `session` knows which call is allowed when, the environment's
//! state machine knows the rest. The connection *is* the environment, there is no lookup.

mod extensions;
mod held;
mod routes;
mod session;
mod streaming;

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{ports::Credentials, telemetry::Subscription};

pub(crate) use extensions::registered;
pub(crate) use routes::{CREDENTIALS, going_away, not_found, serve, too_large, truncated};
pub(crate) use session::{Session, Transition};

/// What the runtime asks for. Each carries the place for its HTTP answer.
#[derive(Debug)]
pub(crate) enum Call {
    /// `GET /runtime/invocation/next`: answered when there is an event.
    Next(Reply),
    /// `POST /runtime/invocation/{id}/response`.
    Response { id: String, body: Body, reply: Reply },
    /// A `/response` that the runtime streams begins. Answered with the place for its chunks if they are passed on as
    /// they come; else it is read whole, as any response.
    Begin { id: String, content_type: Option<String>, place: oneshot::Sender<Option<mpsc::Sender<Bytes>>> },
    /// A response whose chunks were passed on has ended.
    End { id: String, body: Body, reply: Reply },
    /// `POST /runtime/invocation/{id}/error`.
    Error { id: String, report: ErrorReport, reply: Reply },
    /// `POST /runtime/init/error`.
    InitError { report: ErrorReport, reply: Reply },
    /// `GET /runtime/restore/next`: answered in the environment that comes from the snapshot.
    RestoreNext(Reply),
    /// `POST /runtime/restore/error`.
    RestoreError { report: ErrorReport, reply: Reply },
    /// `GET /2021-04-23/credentials`, with the token that it names.
    Credentials { token: Option<String>, reply: Reply },
    /// A call of the Extensions API.
    Extension { call: ExtensionCall, reply: Reply },
}

/// What an extension asks for.
#[derive(Debug)]
pub(crate) enum ExtensionCall {
    /// `POST /extension/register`.
    Register {
        name: String,
        events: Vec<String>,
        /// Whether the answer is to name the account.
        account: bool,
    },
    /// `GET /extension/event/next`: answered when there is an event.
    Next { id: Uuid },
    /// `POST /extension/init/error`.
    InitError { id: Uuid, error_type: String },
    /// `POST /extension/exit/error`.
    ExitError { id: Uuid, error_type: String },
    /// `PUT /2022-07-01/telemetry`, `PUT /2020-08-15/logs`. What is wrong with the request matters only if the extension is
    /// known.
    Subscribe { id: Uuid, request: Result<Box<Subscription>, Refusal> },
}

/// The place for an HTTP answer.
pub(crate) type Reply = oneshot::Sender<Response<Full<Bytes>>>;

/// The largest bodies that are accepted, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// Of reports, and of responses that are read whole.
    pub(crate) buffered: usize,
    /// Of responses that are passed on as they come.
    pub(crate) streamed: usize,
    /// Whether those have AWS's bandwidth.
    pub(crate) shaped: bool,
}

/// The body of a `/response`, as it arrived.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    /// Its chunks were passed on, and it is complete.
    PassedOn {
        bytes: u64,
    },
    /// A streamed response that ended with error trailers.
    Failed(ErrorReport),
    /// More than the limit.
    TooLarge {
        limit: usize,
    },
    /// The connection ended before the body did.
    Truncated,
    /// `Lambda-Runtime-Function-Response-Mode` has a value that does not exist.
    InvalidMode(String),
}

/// What a runtime says about an error.
#[derive(Debug)]
pub(crate) struct ErrorReport {
    /// `Lambda-Runtime-Function-Error-Type`, scrubbed to the types that the platform knows.
    pub(crate) error_type: String,
    /// The document for the caller.
    pub(crate) document: Bytes,
}

/// `{"status":"OK"}`, 202.
pub(crate) fn accepted() -> Response<Full<Bytes>> {
    json_response(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

/// Credentials, as SDKs expect them of a container's endpoint.
pub(crate) fn credentials(credentials: &Credentials, expiration: Timestamp) -> Response<Full<Bytes>> {
    let document = serde_json::json!({
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": format!("{expiration:.0}"),
    });
    json_response(StatusCode::OK, Bytes::from(document.to_string()))
}

/// An error answer of the Runtime API.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error_type: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, error_type, message: message.into() }
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let document = serde_json::json!({ "errorMessage": self.message, "errorType": self.error_type });
        let mut body = document.to_string();
        body.push('\n');
        json_response(self.status, Bytes::from(body))
    }
}

pub(crate) fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
