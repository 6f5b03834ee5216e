//! The AWS services that functions cannot live without, beside Lambda: CloudWatch (logs and
//! metrics) and STS are answered here, X-Ray too if nobody else does, everything else goes to another endpoint.
//!
//! Must not know Lambda's rules; the door decides what is a request to Lambda before it asks here.

pub(crate) mod caller;
pub(crate) mod deliveries;
pub(crate) mod forward;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod networks;
pub(crate) mod objects;
pub(crate) mod sources;
pub(crate) mod sts;
pub(crate) mod xray;

mod awsjson;
mod body;
mod protocol;
mod query;
mod signing;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use hothouse_api::name::{AccountId, Region};
use http::{HeaderValue, Request, Response, StatusCode, header};
use uuid::Uuid;

pub(crate) use self::body::{Body, BoxError};
use crate::auth::Verifier;

use self::{
    body::{ReadError, answer},
    caller::Credential,
    forward::Forwarder,
    logs::LogStore,
    metrics::CloudWatch,
    sts::Sts,
    xray::Xray,
};

/// Bytes of a request that a companion reads. `PutLogEvents` carries 1 MB, JSON makes up to six of it.
const REQUEST_BYTES: usize = 10 << 20;

/// All companions of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Companions {
    /// CloudWatch Logs.
    pub(crate) logs: LogStore,
    /// CloudWatch's metrics.
    pub(crate) metrics: CloudWatch,
    /// STS.
    pub(crate) sts: Arc<Sts>,
    /// If signatures are verified: those of requests to STS are, since it gives out keys.
    pub(crate) verifier: Option<Arc<Verifier>>,
    /// X-Ray, where there is no other endpoint that has it.
    pub(crate) xray: Xray,
    /// Everything else.
    pub(crate) forwarder: Arc<Forwarder>,
    /// The region of requests that name none.
    pub(crate) default_region: Region,
}

impl Companions {
    /// Answers any request that is not Lambda's.
    pub(crate) async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let credential = Credential::of(request.headers(), request.uri());
        match Service::of(&request, &credential) {
            Service::Logs => self.serve_logs(request, &credential).await,
            Service::Metrics => self.serve_metrics(request, &credential).await,
            Service::Sts if !self.sts.is_upstreams(&credential) => self.serve_sts(request, &credential).await,
            Service::Xray if !self.forwarder.has_endpoint() => self.serve_xray(request, &credential).await,
            Service::Sts | Service::Xray | Service::Other => {
                self.forwarder.forward(request, &credential, self.sts.upstream_keys(&credential)).await
            }
        }
    }

    async fn serve_logs(&self, request: Request<Body>, credential: &Credential) -> Response<Body> {
        let target = text_header(&request, "x-amz-target").to_owned();
        let (account, region) = self.place_of(credential);
        let scope = logs::Scope { account, region };
        match read(request).await {
            Ok(body) => answer(logs::handle(&self.logs, scope, &target, &body).await),
            Err((status, message)) => answer(awsjson::error(status, "InvalidParameterException", message)),
        }
    }

    /// What is not here is elsewhere, if there is another endpoint.
    async fn serve_metrics(&self, request: Request<Body>, credential: &Credential) -> Response<Body> {
        let (account, region) = self.place_of(credential);
        let (parts, body) = request.into_parts();
        let body = match read_body(body).await {
            Ok(body) => body,
            Err((status, message)) => return answer(CloudWatch::unread(&parts, status, message)),
        };
        if let Some(response) = self.metrics.handle(&metrics::Scope { account, region }, &parts, &body) {
            return answer(response);
        }
        if !self.forwarder.has_endpoint() {
            return answer(CloudWatch::unknown(&parts));
        }
        let request = Request::from_parts(parts, body::whole(body));
        self.forwarder.forward(request, credential, self.sts.upstream_keys(credential)).await
    }

    async fn serve_xray(&self, request: Request<Body>, credential: &Credential) -> Response<Body> {
        let (account, region) = self.place_of(credential);
        let (parts, body) = request.into_parts();
        match read_body(body).await {
            Ok(body) => answer(self.xray.handle(&xray::Scope { account, region }, &parts, &body)),
            Err((status, message)) => answer(protocol::error(
                &parts.headers,
                credential,
                status,
                "InvalidRequestException",
                message,
            )),
        }
    }

    /// The account and region that a request acts in.
    fn place_of(&self, credential: &Credential) -> (AccountId, Region) {
        let region = credential.region.clone().unwrap_or_else(|| self.default_region.clone());
        (self.sts.account_of(credential), region)
    }

    async fn serve_sts(&self, request: Request<Body>, credential: &Credential) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = match read_body(body).await {
            Ok(body) => body,
            Err((status, message)) => return answer(query::error(status, "InvalidParameterValue", message)),
        };
        if let Some(verifier) = &self.verifier
            && let Err(error) = verifier.verify(&parts, &body, "sts").await
        {
            return answer(sts::unverified(&error));
        }
        answer(self.sts.handle(credential, parts.uri.query().unwrap_or_default(), &body))
    }
}

enum Service {
    Logs,
    Metrics,
    Sts,
    Xray,
    Other,
}

impl Service {
    fn of(request: &Request<Body>, credential: &Credential) -> Self {
        match credential.service.as_deref() {
            Some("logs") => return Service::Logs,
            Some("monitoring") => return Service::Metrics,
            Some("sts") => return Service::Sts,
            Some("xray") => return Service::Xray,
            Some(_) => return Service::Other,
            None => {}
        }
        // Unsigned requests: what they ask for tells the service.
        let host = text_header(request, header::HOST.as_str());
        if text_header(request, "x-amz-target").starts_with("Logs_20140328.") || host.starts_with("logs.") {
            Service::Logs
        } else if host.starts_with("monitoring.") || is_metrics(request) {
            Service::Metrics
        } else if host.starts_with("sts.") {
            Service::Sts
        } else {
            Service::Other
        }
    }
}

/// By the newer protocols the operation's full name is in a header or in the path.
fn is_metrics(request: &Request<Body>) -> bool {
    const SERVICE: &str = "GraniteServiceVersion20100801";
    text_header(request, "x-amz-target").starts_with(SERVICE)
        || request.uri().path().strip_prefix("/service/").is_some_and(|rest| rest.starts_with(SERVICE))
}

fn text_header<'a>(request: &'a Request<Body>, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn read(request: Request<Body>) -> Result<Bytes, (StatusCode, &'static str)> {
    read_body(request.into_body()).await
}

async fn read_body(body: Body) -> Result<Bytes, (StatusCode, &'static str)> {
    body::read(body, REQUEST_BYTES).await.map_err(|error| match error {
        ReadError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The request is too large."),
        ReadError::Broken(_) => (StatusCode::BAD_REQUEST, "The request ended early."),
    })
}

fn request_id() -> HeaderValue {
    HeaderValue::try_from(Uuid::new_v4().to_string()).expect("a UUID is ASCII")
}
