//! The AWS services that functions cannot live without, beside Lambda: CloudWatch Logs and STS are answered here,
//! everything else goes to another endpoint.
//!
//! Must not know Lambda's rules; the door decides which service a request is for.

pub(crate) mod forward;
pub(crate) mod logs;
pub(crate) mod objects;
pub(crate) mod sts;

mod awsjson;
mod body;
mod caller;
mod protocol;
mod query;
mod signing;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use hothouse_api::name::{AccountId, Region};
use http::{HeaderValue, Request, Response, request::Parts};
use uuid::Uuid;

pub(crate) use self::body::{Body, BoxError};
use self::{body::answer, caller::Credential, forward::Forwarder, logs::LogStore, sts::Sts};

/// All companions of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Companions {
    /// CloudWatch Logs.
    pub(crate) logs: LogStore,
    /// STS.
    pub(crate) sts: Arc<Sts>,
    /// Everything else.
    pub(crate) forwarder: Arc<Forwarder>,
    /// Whether requests to STS, too, go to the other endpoint: where functions get that one's credentials.
    pub(crate) upstream_sts: bool,
}

impl Companions {
    /// Answers a request to CloudWatch Logs.
    pub(crate) async fn logs(
        &self,
        account: AccountId,
        region: Region,
        parts: &Parts,
        body: Bytes,
    ) -> Response<Bytes> {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        logs::handle(&self.logs, logs::Scope { account, region }, target.unwrap_or_default(), &body).await
    }

    /// Answers a request to STS.
    pub(crate) async fn sts(&self, parts: &Parts, body: Bytes) -> Response<Body> {
        if self.upstream_sts {
            return self.forward(Request::from_parts(parts.clone(), body::whole(body))).await;
        }
        let credential = Credential::of(&parts.headers, &parts.uri);
        answer(self.sts.handle(&credential, parts.uri.query().unwrap_or_default(), &body))
    }

    /// Sends a request of any other service on, and its answer back.
    pub(crate) async fn forward<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let credential = Credential::of(request.headers(), request.uri());
        self.forwarder.forward(request.map(body::stream), &credential).await
    }

    /// Whether there is another endpoint.
    pub(crate) fn forwards(&self) -> bool {
        self.forwarder.has_endpoint()
    }

    /// The account that a request acts in: that of the role whose credentials signed it, else the access key
    /// itself if it is an account's number, else `000000000000`.
    pub(crate) fn account_of(&self, access_key_id: &str, session_token: Option<&str>) -> AccountId {
        self.sts.account_of(access_key_id, session_token)
    }
}

fn request_id() -> HeaderValue {
    HeaderValue::try_from(Uuid::new_v4().to_string()).expect("a UUID is ASCII")
}
