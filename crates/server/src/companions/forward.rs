//! Everything that Hothouse does not answer itself goes to the endpoint of `--aws-endpoint`, streamed both ways.
//!
//! Must not look into bodies, except where signing anew needs their hash (see `signing`).

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use hothouse_api::name::{AccountId, Region};
use hothouse_execution::{chain, ports::Clock};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{self, HeaderName},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::BodyExt;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

pub(crate) use super::signing::{Keys, SigningError};
use super::{
    body::{Body, BoxError, answer},
    caller::Credential,
    protocol, signing,
};

/// How long the endpoint may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where other services are, and how to talk to them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ForwarderConfig {
    /// `--aws-endpoint`: `http://` or `https://`. `{service}` and `{region}` in it stand for those of the request, so
    /// `https://{service}.{region}.amazonaws.com` is AWS itself.
    pub(crate) endpoint: Option<String>,
    /// Certificates (PEM) that the endpoint's own certificate must come from, instead of the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// Sign every request anew with these.
    pub(crate) keys: Option<Keys>,
}

/// The endpoint cannot be used as it was configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    /// Not a URL that we can use.
    #[error("use the AWS endpoint `{0}`: it is not an http:// or https:// URL")]
    Url(String),
    /// The file with the certificates.
    #[error("read certificates from `{path}`")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate is not one.
    #[error("trust the certificates of `{path}`")]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// There is none in the file.
    #[error("trust the certificates of `{0}`: the file has none")]
    Empty(PathBuf),
}

/// A request could not be sent, or its answer not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// No `--aws-endpoint`.
    #[error("no AWS endpoint is configured (`--aws-endpoint`)")]
    NoEndpoint,
    /// Nothing answers there.
    #[error("reach the AWS endpoint {url}: {reason}")]
    Unreachable {
        /// Scheme, host and port.
        url: String,
        /// The whole chain of causes.
        reason: String,
    },
    /// The request cannot be signed anew.
    #[error("sign the request for the AWS endpoint")]
    Signing(#[from] SigningError),
    /// Path and endpoint do not make a URL.
    #[error("build the URL for the AWS endpoint")]
    Url(#[from] http::Error),
}

/// Sends requests to the other endpoint.
pub(crate) struct Forwarder {
    endpoint: Option<Endpoint>,
    keys: Option<Keys>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    clock: Arc<dyn Clock>,
}

struct Endpoint {
    /// As configured, without a final slash.
    template: String,
}

impl Forwarder {
    /// Checks the configuration; connects to nothing yet.
    ///
    /// # Errors
    /// The URL or the certificates cannot be used.
    pub(crate) fn new(config: ForwarderConfig, clock: Arc<dyn Clock>) -> Result<Self, EndpointError> {
        let endpoint = config.endpoint.map(Endpoint::parse).transpose()?;
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let builder = match config.ca_file {
            Some(path) => builder.with_tls_config(trust_only(path)?),
            None => builder
                .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
                .map_err(|_| {
                    // The provider comes from the same library; it knows the protocol versions.
                    EndpointError::Url("https".into())
                })?,
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Forwarder { endpoint, keys: config.keys, client, clock })
    }

    /// Whether an endpoint is configured.
    pub(crate) fn has_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Sends the request on and answers with what comes back, or with an error that says what is missing. `own` are the
    /// keys that it was signed with, if the endpoint itself gave them.
    pub(super) async fn forward(
        &self,
        request: Request<Body>,
        credential: &Credential,
        own: Option<Keys>,
    ) -> Response<Body> {
        let headers = request.headers().clone();
        match self.send(request, credential, own).await {
            Ok(response) => response,
            Err(error) => answer(explain(&error, &headers, credential)),
        }
    }

    async fn send(
        &self,
        mut request: Request<Body>,
        credential: &Credential,
        own: Option<Keys>,
    ) -> Result<Response<Body>, ForwardError> {
        let endpoint = self.endpoint.as_ref().ok_or(ForwardError::NoEndpoint)?;
        let target = endpoint.of(credential)?;
        remove_hop_by_hop(request.headers_mut());
        let changes_host = target.scheme == Scheme::HTTPS;
        let resigned = match &own {
            // A function that the endpoint knows by its role is not given more power than that.
            Some(own) => Some(own).filter(|_| changes_host),
            None => self.keys.as_ref().filter(|_| !credential.access_key_id.is_empty()),
        };
        // Signatures cover the host, so it stays as the client sent it. What cannot keep it: a new signature, and
        // TLS, where servers choose the site by it.
        if resigned.is_some() || changes_host {
            take_bucket_from_host(&mut request)?;
            let host = HeaderValue::from_str(target.authority.as_str()).map_err(http::Error::from)?;
            request.headers_mut().insert(header::HOST, host);
        }
        *request.uri_mut() = target.join(request.uri())?;
        *request.version_mut() = Version::HTTP_11;
        if let Some(keys) = resigned {
            request = signing::sign_again(request, credential, keys, self.clock.now()).await?;
        }
        self.exchange(request).await
    }

    /// Sends a request of our own, signed with the configured keys, or with the account's number as the key, which
    /// emulators take for the account. Its URI is a path.
    pub(super) async fn ask(
        &self,
        mut request: Request<Body>,
        service: &str,
        region: &Region,
        account: AccountId,
    ) -> Result<Response<Body>, ForwardError> {
        let credential = Credential {
            access_key_id: String::new(),
            session_token: None,
            region: Some(region.clone()),
            service: Some(service.to_owned()),
        };
        let target = self.endpoint.as_ref().ok_or(ForwardError::NoEndpoint)?.of(&credential)?;
        let host = HeaderValue::from_str(target.authority.as_str()).map_err(http::Error::from)?;
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = target.join(request.uri())?;
        let request =
            signing::sign_again(request, &credential, &self.keys_for(account), self.clock.now()).await?;
        self.exchange(request).await
    }

    /// What requests of our own are signed with.
    pub(super) fn keys_for(&self, account: AccountId) -> Keys {
        self.keys.clone().unwrap_or_else(|| Keys::of_account(account))
    }

    /// The URL of a service, without a final slash, for requests that are made and signed elsewhere.
    pub(super) fn url(&self, service: &str, region: &Region) -> Result<String, ForwardError> {
        let credential = Credential {
            region: Some(region.clone()),
            service: Some(service.to_owned()),
            ..Credential::default()
        };
        let Target { scheme, authority, path } =
            self.endpoint.as_ref().ok_or(ForwardError::NoEndpoint)?.of(&credential)?;
        Ok(format!("{scheme}://{authority}{path}"))
    }

    /// Sends a request that is complete, and has an absolute URI.
    pub(super) async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, ForwardError> {
        let url = origin(request.uri());
        match self.client.request(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
            }
            Err(error) => Err(ForwardError::Unreachable { url, reason: chain(&error) }),
        }
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map(|endpoint| &endpoint.template);
        f.debug_struct("Forwarder").field("endpoint", &endpoint).finish_non_exhaustive()
    }
}

// === the URL ===

/// Scheme, host and leading path for one request.
struct Target {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

impl Endpoint {
    fn parse(text: String) -> Result<Self, EndpointError> {
        let endpoint = Endpoint { template: text.trim_end_matches('/').to_owned() };
        // Any service will do for the check.
        match endpoint.of(&Credential::default()) {
            Ok(target) if [Scheme::HTTP, Scheme::HTTPS].contains(&target.scheme) => Ok(endpoint),
            _ => Err(EndpointError::Url(text)),
        }
    }

    fn of(&self, credential: &Credential) -> Result<Target, http::Error> {
        let service = credential.service.as_deref().unwrap_or("s3");
        let region = credential.region.as_ref().map_or("us-east-1", |region| region.as_str());
        let url: Uri = self.template.replace("{service}", service).replace("{region}", region).parse()?;
        let parts = url.into_parts();
        // A URL with a scheme has an authority; without a scheme it is refused when the service starts.
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Ok(Target {
                scheme: "none".parse()?,
                authority: Authority::from_static("none"),
                path: String::new(),
            });
        };
        let path = parts
            .path_and_query
            .map_or_else(String::new, |path| path.path().trim_end_matches('/').to_owned());
        Ok(Target { scheme, authority, path })
    }
}

impl Target {
    fn join(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let requested = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{requested}", self.path))
            .build()
    }
}

fn origin(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", Authority::as_str);
    format!("{}://{authority}", uri.scheme_str().unwrap_or("http"))
}

/// `BUCKET.s3.…` names the bucket in the host. Where the host changes, it moves into the path.
fn take_bucket_from_host(request: &mut Request<Body>) -> Result<(), http::Error> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Some((bucket, _)) = host.split_once(".s3.").or_else(|| host.split_once(".s3-")) else {
        return Ok(());
    };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = format!("/{bucket}{path}").parse().map_err(http::Error::from)?;
    Ok(())
}

/// Headers that speak about one connection, not about the request.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-connection"),
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}

// === errors ===

fn explain(error: &ForwardError, headers: &HeaderMap, credential: &Credential) -> Response<Bytes> {
    let service = credential.service.as_deref().unwrap_or("unknown");
    let (status, code, message) = match error {
        ForwardError::NoEndpoint => (
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            format!(
                "Hothouse does not serve `{service}` itself. Start it with --aws-endpoint URL to forward such requests \
                 to another emulator or to AWS."
            ),
        ),
        ForwardError::Unreachable { url, reason } => (
            StatusCode::BAD_GATEWAY,
            "BadGateway",
            format!(
                "Hothouse cannot reach the AWS endpoint {url} (--aws-endpoint) for `{service}`: {reason}"
            ),
        ),
        ForwardError::Signing(SigningError::BodyTooLarge) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "EntityTooLarge", chain(error))
        }
        ForwardError::Signing(_) | ForwardError::Url(_) => (
            StatusCode::BAD_REQUEST,
            "BadRequest",
            format!("Hothouse cannot forward the request: {}", chain(error)),
        ),
    };
    protocol::error(headers, credential, status, code, &message)
}

// === TLS ===

fn trust_only(path: PathBuf) -> Result<rustls::ClientConfig, EndpointError> {
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| EndpointError::Certificates { path: path.clone(), source })?;
    for certificate in certificates {
        roots.add(certificate).map_err(|source| EndpointError::Trust { path: path.clone(), source })?;
    }
    if roots.is_empty() {
        return Err(EndpointError::Empty(path));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| EndpointError::Trust { path, source })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
