//! Function URLs: requests of anybody's as events, and what functions answer as responses.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Must not hold the rules of who is let in by
//! which policy: the control plane has them.

mod address;
mod answer;
mod cors;
mod event;
mod prelude;
mod stream;

use std::{fmt, net::IpAddr, sync::Arc, sync::OnceLock, time::Instant};

use bytes::Bytes;
use hothouse_api::{
    ApiError, ErrorKind, RequestContext,
    generated::{FunctionUrlAuthType, InvokeMode, Operation},
    name::RequestId,
};
use hothouse_control::{
    Control,
    function_url::{ServedUrl, forbidden},
};
use hothouse_execution::{Engine, invocation::Outcome};
use http::{HeaderName, HeaderValue, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};

use crate::{
    auth::Verifier,
    companions::{
        self,
        caller::{Credential, Identity},
        sts::Sts,
        xray::{self, Answering, Xray},
    },
};

pub(crate) use address::Address;
use event::{Received, Signer};
use stream::Begun;

const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// All function URLs of the service.
#[derive(Debug)]
pub(crate) struct FunctionUrls {
    control: Control,
    engine: Engine,
    signers: Signers,
    xray: Xray,
}

/// Who knows whose a signature is.
#[derive(Debug)]
pub(crate) struct Signers {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) sts: Arc<Sts>,
}

/// A request to a function URL.
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    pub(crate) address: Address,
    /// Who is at the other end of the connection.
    pub(crate) peer: IpAddr,
    pub(crate) parts: Parts,
    /// All of the body, or why it could not be had.
    pub(crate) body: Result<Bytes, ApiError>,
}

impl FunctionUrls {
    pub(crate) fn new(control: Control, engine: Engine, signers: Signers, xray: Xray) -> Self {
        Self { control, engine, signers, xray }
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub(crate) async fn answer(&self, call: Call) -> Response<companions::Body> {
        let Some(url) = self.find(&call.address) else {
            // AWS tells that nobody may, and no reason.
            return whole(ApiError::without_message(ErrorKind::AccessDenied).respond(call.request_id));
        };
        if let Some(mut response) = url.cors().and_then(|cors| cors::preflight(cors, &call.parts)) {
            mark(&mut response, call.request_id);
            return whole(response);
        }
        let mut response = match &call.body {
            Ok(body) => match self.serve(&url, &call, body).await {
                Ok(response) => response,
                Err(error) => whole(refusal(&error, call.request_id)),
            },
            Err(error) => whole(refusal(error, call.request_id)),
        };
        if let Some(cors) = url.cors() {
            cors::add(cors, &call.parts.headers, response.headers_mut());
        }
        mark(&mut response, call.request_id);
        response
    }

    /// The URL, if the host names the region that it is in.
    fn find(&self, address: &Address) -> Option<ServedUrl> {
        let url = self.control.function_url(&address.id)?;
        let is_there = address.region.as_ref().is_none_or(|region| region == url.region().as_str());
        is_there.then_some(url)
    }

    async fn serve(
        &self,
        url: &ServedUrl,
        call: &Call,
        body: &Bytes,
    ) -> Result<Response<companions::Body>, ApiError> {
        let begun = Instant::now();
        let Call { request_id, address, peer, parts, .. } = call;
        let signer = self.signer(url, parts, body).await?;
        let sent = parts.headers.get(&TRACE_ID).and_then(|trace| trace.to_str().ok());
        let received = sent.map_or_else(|| root(&self.engine), str::to_owned);
        let (trace, failed) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let context = RequestContext {
            account: signer.as_ref().map_or(url.account(), |signer| signer.account),
            region: url.region().clone(),
            operation: Some(Operation::Invoke),
            request_id: *request_id,
            caller_arn: signer.as_ref().map(|signer| signer.user_arn.clone()),
            service: None,
            trace_id: Some(received.clone()),
            trace: trace.clone(),
            failed: failed.clone(),
        };
        self.control.admit_to_url(url, &context)?;
        let host = address::host(parts).unwrap_or_default();
        let event = Received {
            parts,
            path: &address.path,
            body,
            url_id: url.id(),
            host: &host,
            peer: *peer,
            request_id: *request_id,
            time: self.control.now(),
            trace: &received,
            signer: signer.as_ref(),
        }
        .event();
        let answer = match self.invoke(url, &context, event).await {
            Ok(answer) => answer,
            Err(error) => Begun::Whole(refusal(&error, *request_id)),
        };
        if matches!(answer, Begun::Failed) {
            failed.get_or_init(|| ());
        }
        let header = trace.get_or_init(|| received.clone());
        let segment = Answering {
            xray: self.xray.clone(),
            scope: xray::Scope { account: url.account(), region: url.region().clone() },
            function: url.function().clone(),
            request_id: *request_id,
            sent: sent.map(str::to_owned),
            header: header.clone(),
            begun,
            status: answer.status(),
            failed,
        };
        let mut response = stream::respond(answer, segment);
        if let Ok(header) = HeaderValue::from_str(&shown(header)) {
            response.headers_mut().insert(TRACE_ID, header);
        }
        Ok(response)
    }

    async fn invoke(
        &self,
        url: &ServedUrl,
        context: &RequestContext,
        event: Bytes,
    ) -> Result<Begun, ApiError> {
        match url.invoke_mode() {
            InvokeMode::Buffered => Ok(match self.control.invoke_url(url, context, event).await? {
                Outcome::Success(answer) => Begun::Whole(answer::respond(&answer)),
                Outcome::Error(_) => Begun::Failed,
            }),
            InvokeMode::ResponseStream => {
                let answer = self.control.stream_url(url, context, event).await?;
                Ok(stream::begin(answer).await)
            }
        }
    }

    /// Who signed, if somebody must.
    async fn signer(&self, url: &ServedUrl, parts: &Parts, body: &Bytes) -> Result<Option<Signer>, ApiError> {
        match url.auth_type() {
            FunctionUrlAuthType::None => return Ok(None),
            FunctionUrlAuthType::AwsIam => {}
        }
        let Signers { verifier, sts } = &self.signers;
        let Identity { account, arn } = match verifier.verify(parts, body, "lambda").await {
            Ok(identity) => identity,
            Err(error) if error.kind() == ErrorKind::MissingAuthenticationToken => return Err(forbidden()),
            // Unlike the API, URLs do not explain what should have been signed.
            Err(error) if error.kind() == ErrorKind::InvalidSignature => {
                let message = error.message().unwrap_or_default();
                let first = message.split("\n\n").next().unwrap_or_default();
                return Err(ApiError::new(ErrorKind::InvalidSignature, first));
            }
            Err(error) => return Err(error),
        };
        let credential = Credential::of(&parts.headers, &parts.uri);
        if credential.region.as_ref() != Some(url.region()) {
            let message = "Credential should be scoped to a valid region. ";
            return Err(ApiError::new(ErrorKind::InvalidSignature, message));
        }
        let root = || format!("arn:{}:iam::{account}:root", url.region().partition());
        Ok(Some(Signer {
            user_arn: arn.unwrap_or_else(root),
            user_id: sts.user_id_of(&credential),
            access_key: credential.access_key_id,
            account,
        }))
    }
}

/// What a caller is told who did not reach the function. Those that AWS's callers never meet, such as a runtime that
/// this machine does not have, are told with their reason: nobody else could help.
///
/// Unverified: the bodies of 413 and 429.
fn refusal(error: &ApiError, request_id: RequestId) -> Response<Bytes> {
    let mut response = match error.kind() {
        ErrorKind::Service => {
            let causes = hothouse_execution::chain(error);
            tracing::error!(%request_id, error = causes, "a request to a function URL failed");
            answer::bad_gateway()
        }
        _ => error.respond(request_id),
    };
    let status = response.status();
    let is_callers = [StatusCode::FORBIDDEN, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::TOO_MANY_REQUESTS];
    if !is_callers.contains(&status) && error.kind() != ErrorKind::InvalidRequestContent {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response
}

/// The root of a new trace, for a caller that is in none. AWS decides nothing more before the function is invoked.
fn root(engine: &Engine) -> String {
    let whole = engine.trace(None);
    whole.split(';').find(|part| part.starts_with("Root=")).map(str::to_owned).unwrap_or(whole)
}

/// A trace header as callers of function URLs are shown it: names of its parts in lower case.
fn shown(header: &str) -> String {
    let lower = |part: &str| match part.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.to_ascii_lowercase()),
        None => part.to_owned(),
    };
    header.split(';').map(lower).collect::<Vec<_>>().join(";")
}

fn mark<B>(response: &mut Response<B>, request_id: RequestId) {
    let id = HeaderValue::try_from(request_id.to_string()).expect("a UUID is ASCII");
    response.headers_mut().insert(REQUEST_ID, id);
}

fn whole(response: Response<Bytes>) -> Response<companions::Body> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("address", &self.address).finish_non_exhaustive()
    }
}
