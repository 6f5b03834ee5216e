//! The commands' HTTP client of a running service.
//!
//! Requests carry a SigV4 header with a true scope, which decides account, region and service, and a made-up
//! signature, which Hothouse does not look at. If it does (`--auth sigv4`), they are sent again, signed with the user's
//! key. Must not be used against AWS itself.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use base64::Engine as _;
use bytes::Bytes;
use hothouse_execution::ports::{Clock as _, SystemClock};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::ClientConfig;

/// The account of an access key that is not itself an account.
const DEFAULT_ACCOUNT: &str = "000000000000";

/// A cheap handle on one service.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    config: ClientConfig,
    /// The service asks for signatures.
    signs: Arc<AtomicBool>,
}

/// The service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No answer at all.
    #[error("failed to reach `{endpoint}`")]
    Unreachable {
        /// The service's URL.
        endpoint: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The service said no.
    #[error("{kind}: {message}")]
    Refused {
        /// AWS's name of the error.
        kind: String,
        /// AWS's words.
        message: String,
    },
    /// The answer is not what this service would say.
    #[error("unexpected answer from `{endpoint}`")]
    Unexpected {
        /// The service's URL.
        endpoint: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ClientError {
    /// Whether nobody listens at the endpoint.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the service verifies signatures, and found none that is worth anything.
    pub(crate) fn is_unsigned(&self) -> bool {
        matches!(
            self,
            Self::Refused { kind, .. }
                if kind == "UnrecognizedClientException" || kind == "InvalidSignatureException"
        )
    }

    /// Whether the service knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        // CloudWatch Logs says so with status 400.
        matches!(self, Self::Refused { kind, .. } if kind == "ResourceNotFoundException")
    }
}

/// An invocation's answer.
#[derive(Debug)]
pub(crate) struct Invoked {
    /// The function's answer, or its error document.
    pub(crate) payload: Bytes,
    /// `X-Amz-Function-Error`, if the function failed.
    pub(crate) function_error: Option<String>,
    /// The last 4 KB of the log, if they were asked for.
    pub(crate) log_tail: Option<Vec<u8>>,
}

impl Client {
    /// A client that has not connected yet.
    pub(crate) fn new(config: ClientConfig) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { http, config, signs: Arc::default() }
    }

    /// The settings that it works with.
    pub(crate) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Calls an operation of Lambda.
    pub(crate) async fn lambda(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let answer = self.send("lambda", method, path, HeaderMap::new(), body).await?;
        self.decode(answer.body())
    }

    /// Invokes a function and waits for its answer.
    pub(crate) async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: Bytes,
        tail: bool,
    ) -> Result<Invoked, ClientError> {
        let query =
            qualifier.map(|qualifier| format!("?Qualifier={}", encode(qualifier))).unwrap_or_default();
        let path = format!("/2015-03-31/functions/{}/invocations{query}", encode(function));
        let mut headers = HeaderMap::new();
        if tail {
            headers.insert("x-amz-log-type", header::HeaderValue::from_static("Tail"));
        }
        let answer = self.send("lambda", Method::POST, &path, headers, payload).await?;
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Invoked {
            function_error: text("x-amz-function-error").map(str::to_owned),
            log_tail: text("x-amz-log-result")
                .and_then(|encoded| base64::engine::general_purpose::STANDARD.decode(encoded).ok()),
            payload: answer.body().clone(),
        })
    }

    /// Calls an operation of CloudWatch Logs.
    pub(crate) async fn logs<T: DeserializeOwned>(
        &self,
        operation: &str,
        input: &Value,
    ) -> Result<T, ClientError> {
        let mut headers = HeaderMap::new();
        let target = format!("Logs_20140328.{operation}");
        headers.insert("x-amz-target", target.parse().expect("operation names are header values"));
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-amz-json-1.1"));
        let answer = self.send("logs", Method::POST, "/", headers, Bytes::from(input.to_string())).await?;
        self.decode(answer.body())
    }

    /// Asks Hothouse itself.
    pub(crate) async fn admin(&self, path: &str) -> Result<Value, ClientError> {
        let answer = self.send("lambda", Method::GET, path, HeaderMap::new(), Bytes::new()).await?;
        self.decode(answer.body())
    }

    /// Asks Hothouse itself to do something.
    pub(crate) async fn admin_post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let body = Bytes::from(body.to_string());
        let answer = self.send("lambda", Method::POST, path, HeaderMap::new(), body).await?;
        self.decode(answer.body())
    }

    async fn send(
        &self,
        service: &str,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.config.endpoint))
            .body(body)
            .map_err(|error| self.unexpected(error))?;
        request.headers_mut().extend(headers);
        if !self.signs.load(Ordering::Relaxed) {
            match (self.exchange(self.unsigned(request.clone(), service)).await, &self.config.key) {
                // What was refused had no effect.
                (Err(error), Some(_)) if error.is_unsigned() => self.signs.store(true, Ordering::Relaxed),
                (answer, _) => return answer,
            }
        }
        self.exchange(self.signed(request, service)?).await
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let request = request.map(Full::new);
        let answer = self.http.request(request).await.map_err(|error| ClientError::Unreachable {
            endpoint: self.config.endpoint.clone(),
            source: root_cause(error),
        })?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| self.unexpected(error))?.to_bytes();
        if parts.status.is_success() {
            Ok(Response::from_parts(parts, body))
        } else {
            Err(refusal(&parts, &body))
        }
    }

    fn unsigned(&self, mut request: Request<Bytes>, service: &str) -> Request<Bytes> {
        for (name, value) in [
            (header::HeaderName::from_static("x-amz-date"), self.now()),
            (header::AUTHORIZATION, self.authorization(service)),
        ] {
            request.headers_mut().insert(name, value.parse().expect("it is made of ASCII"));
        }
        request
    }

    fn signed(&self, request: Request<Bytes>, service: &str) -> Result<Request<Bytes>, ClientError> {
        let Some(key) = &self.config.key else { return Ok(self.unsigned(request, service)) };
        let credentials = Credentials::new(
            key.id.as_str(),
            key.secret.as_str(),
            key.session_token.clone(),
            None,
            "hothouse",
        );
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.config.region)
            .name(service)
            .time(SystemClock.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| self.unexpected(error))?
            .into();
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = SignableBody::Bytes(request.body());
        let signable =
            SignableRequest::new(request.method().as_str(), request.uri().to_string(), headers, body)
                .map_err(|error| self.unexpected(error))?;
        let instructions =
            sign(signable, &parameters).map_err(|error| self.unexpected(error))?.into_parts().0;
        let mut request = request;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    fn authorization(&self, service: &str) -> String {
        let ClientConfig { region, account, .. } = &self.config;
        let key = access_key(account);
        let date = &self.now()[..8];
        let signature = "0".repeat(64);
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{date}/{region}/{service}/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    fn now(&self) -> String {
        let now = jiff::Timestamp::try_from(SystemClock.now()).expect("the present is within the calendar");
        now.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        let body = if body.is_empty() { b"null" } else { body };
        serde_json::from_slice(body).map_err(|error| self.unexpected(error))
    }

    fn unexpected(&self, source: impl Error + Send + Sync + 'static) -> ClientError {
        ClientError::Unexpected { endpoint: self.config.endpoint.clone(), source: Box::new(source) }
    }
}

/// The access key id that stands for an account.
pub(crate) fn access_key(account: &str) -> &str {
    if account == DEFAULT_ACCOUNT { "test" } else { account }
}

/// A name as a segment of a path, or a value of a query.
pub(crate) fn encode(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

/// What the operating system said, without the layers of the HTTP library.
fn root_cause(error: hyper_util::client::legacy::Error) -> Box<dyn Error + Send + Sync> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(found) =
            current.downcast_ref::<io::Error>().filter(|found| found.raw_os_error().is_some())
        {
            return Box::new(io::Error::from_raw_os_error(found.raw_os_error().expect("was just checked")));
        }
        cause = current.source();
    }
    Box::new(error)
}

fn refusal(parts: &http::response::Parts, body: &[u8]) -> ClientError {
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| json!({}));
    let text = |names: &[&str]| names.iter().find_map(|name| body.get(name)?.as_str()).map(str::to_owned);
    let from_header = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    // Some protocols write `namespace#Kind`, some `Kind:link`.
    let kind = from_header.map(str::to_owned).or_else(|| text(&["__type", "code"]));
    let kind = kind.as_deref().and_then(|kind| kind.rsplit('#').next()?.split(':').next());
    ClientError::Refused {
        kind: kind.map_or_else(|| parts.status.to_string(), str::to_owned),
        message: text(&["message", "Message"]).unwrap_or_else(|| "no message".to_owned()),
    }
}
