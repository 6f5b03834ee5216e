//! The door: accepts connections and takes each request to the service that it is for.
//!
//! Must not hold any service's rules. Which service a request is for stands in its signature (`destination`); which
//! requests are let in at all, in `browser`.

mod admin;
mod browser;
mod clock;
mod connections;
mod destination;
mod large;
mod service;
mod streaming;

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use hothouse_api::{
    self as api, ApiError, RequestContext,
    dispatch::{BodyLimits, dispatch, operation},
    generated::{ErrorKind, Operation},
    name::{Region, RequestId},
};
use hothouse_control::Control;
use hothouse_execution::{Engine, timeline::Timeline};

use crate::{
    auth::Verifier,
    companions::{
        self, Companions,
        caller::{Credential, Identity},
        xray,
    },
    function_url::{Address, Call, FunctionUrls},
};

pub(crate) use browser::Admission;
pub(crate) use connections::Connections;
use destination::Destination;

const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// What a request can reach.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) control: Control,
    pub(crate) engine: Engine,
    pub(crate) timeline: Timeline,
    pub(crate) companions: Companions,
    pub(crate) admission: Admission,
    /// If signatures are verified.
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) limits: BodyLimits,
    pub(crate) function_urls: FunctionUrls,
}

impl Door {
    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<companions::Body> {
        let begun = Instant::now();
        let request_id = RequestId::random();
        let (parts, body) = request.into_parts();
        if let Some(address) = Address::of(&parts) {
            // Boxed, because it is not what most connections are for.
            return Box::pin(self.function_url(request_id, address, peer, parts, body)).await;
        }
        let cors = match self.admission.check(&parts) {
            Ok(cors) => cors,
            Err(refusal) => return whole(refusal.respond(request_id)),
        };
        if let Some(preflight) = cors.as_ref().and_then(|cors| cors.preflight(&parts)) {
            return whole(preflight);
        }
        let line =
            tracing::enabled!(tracing::Level::DEBUG).then(|| (parts.method.clone(), parts.uri.clone()));
        let mut response = self.route(request_id, parts, body).await;
        if let Some(cors) = cors {
            cors.allow(response.headers_mut());
        }
        if let Some((method, uri)) = line {
            let took = begun.elapsed();
            tracing::debug!(%request_id, %method, %uri, status = response.status().as_u16(), ?took, "request");
        }
        response
    }

    async fn route(&self, request_id: RequestId, parts: Parts, body: Incoming) -> Response<companions::Body> {
        let credential = Credential::of(&parts.headers, &parts.uri);
        match Destination::of(&parts, &credential) {
            Destination::Admin if parts.uri.path().starts_with("/_hothouse/clock") => {
                whole(clock::answer(&self.timeline, &parts.method, parts.uri.path(), body).await)
            }
            Destination::Admin => whole(admin::answer(self, &parts).await),
            Destination::Lambda => streaming::sent(self.lambda(request_id, &parts, &credential, body).await),
            Destination::Companions => {
                let body = body.map_err(|error| Box::new(error) as companions::BoxError).boxed_unsync();
                self.companions.serve(Request::from_parts(parts, body)).await
            }
        }
    }

    async fn function_url(
        &self,
        request_id: RequestId,
        address: Address,
        peer: IpAddr,
        parts: Parts,
        body: Incoming,
    ) -> Response<companions::Body> {
        if let Err(refusal) = self.admission.check_host(&parts) {
            return whole(refusal.respond(request_id));
        }
        let body = self.collect(body, Some(Operation::Invoke)).await;
        let call = Call { request_id, address, peer, parts, body };
        self.function_urls.answer(call).await
    }

    /// Who sends a request, and the region that it acts in.
    ///
    /// # Errors
    /// If its signature should be right and is not.
    async fn caller(
        &self,
        parts: &Parts,
        credential: &Credential,
        body: &Bytes,
    ) -> Result<(Identity, Region), ApiError> {
        let region = credential.region.clone().unwrap_or_else(|| self.companions.default_region.clone());
        let identity = match &self.verifier {
            None => self.companions.sts.identity_of(credential),
            Some(verifier) => verifier.verify(parts, body, "lambda").await?,
        };
        Ok((identity, region))
    }

    async fn lambda(
        &self,
        request_id: RequestId,
        parts: &Parts,
        credential: &Credential,
        body: Incoming,
    ) -> Response<api::Body> {
        let begun = Instant::now();
        let operation = operation(&parts.method, &parts.uri);
        let body = match self.collect(body, operation).await {
            Ok(body) => body,
            Err(error) => return error.respond(request_id).map(api::Body::Whole),
        };
        let sent = parts.headers.get(TRACE_ID).and_then(|trace| trace.to_str().ok());
        let (trace, failed) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let (Identity { account, arn }, region) = match self.caller(parts, credential, &body).await {
            Ok(caller) => caller,
            Err(error) => return error.respond(request_id).map(api::Body::Whole),
        };
        let context = RequestContext {
            account,
            region: region.clone(),
            operation: None,
            request_id,
            caller_arn: arn,
            service: service::of(&parts.headers),
            trace_id: sent.map(str::to_owned),
            trace: trace.clone(),
            failed: failed.clone(),
        };
        let mut response = if large::is(operation, body.len()) {
            large::dispatch(&self.control, context, &self.limits, parts, body).await
        } else {
            dispatch(&self.control, context, &self.limits, parts, body).await
        };
        if matches!(operation, Some(Operation::Invoke | Operation::InvokeWithResponseStream)) {
            // The caller is told the trace that the function saw, or would have seen.
            let header = trace.get_or_init(|| self.engine.trace(sent));
            if xray::is_sampled(header)
                && let Some(function) = xray::function_in(parts.uri.path())
            {
                if response.headers().contains_key("x-amz-function-error") {
                    failed.get_or_init(|| ());
                }
                let segment = xray::Answering {
                    xray: self.companions.xray.clone(),
                    scope: xray::Scope { account, region },
                    function,
                    request_id,
                    sent: sent.map(str::to_owned),
                    header: header.clone(),
                    begun,
                    status: response.status(),
                    failed,
                };
                response = response.map(|body| streaming::with_segment(body, segment));
            }
            if let Ok(header) = HeaderValue::from_str(header) {
                response.headers_mut().insert(TRACE_ID, header);
            }
        }
        // Ours alone are told here: what a function or its configuration did wrong is the caller's to read.
        if let Some(error) = response.extensions().get::<Arc<ApiError>>()
            && error.kind() == ErrorKind::Service
        {
            let causes = hothouse_execution::chain(&**error);
            tracing::error!(%request_id, operation = ?operation, error = causes, "a request failed");
        }
        response
    }

    /// Reads a body up to what the operation may carry. A body that is too large is read and dropped, up to twice the
    /// limit, since a client that is still writing does not see the answer.
    async fn collect(&self, body: Incoming, operation: Option<Operation>) -> Result<Bytes, ApiError> {
        let limit = operation.map_or(self.limits.other, |operation| self.limits.of(operation));
        let too_large = || match operation {
            Some(operation) => self.limits.refusal(operation),
            None => ApiError::new(ErrorKind::RequestTooLarge, "Request is too large"),
        };
        match large::collect(Limited::new(body, 2 * limit), limit).await {
            Ok(body) => {
                if body.len() > limit {
                    Err(too_large())
                } else {
                    Ok(body)
                }
            }
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(error) => {
                let message = format!("The request body could not be read: {error}");
                Err(ApiError::new(ErrorKind::InvalidRequestContent, message))
            }
        }
    }
}

fn whole(response: Response<Bytes>) -> Response<companions::Body> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// A JSON answer of our own endpoints.
fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
