//! New signatures for requests that go to another endpoint with other keys.
//!
//! Must not send anything.

use std::{fmt, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use hothouse_api::name::AccountId;
use hothouse_execution::ports::Credentials as RoleCredentials;
use http::{HeaderMap, Request, Uri, header};

use super::{
    body::{self, Body, BoxError, ReadError},
    caller::Credential,
};

/// Bytes of a body that is read to hash it. Services other than S3 sign their bodies' hash, and theirs are small.
const HASHED_BYTES: usize = 64 << 20;
const CONTENT_HASH: &str = "x-amz-content-sha256";

/// Keys to sign with.
#[derive(Clone)]
pub(crate) struct Keys {
    /// `AWS_ACCESS_KEY_ID`.
    access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    secret_access_key: String,
    /// `AWS_SESSION_TOKEN`, with temporary ones.
    session_token: Option<String>,
}

impl Keys {
    /// Lasting keys, without a session token.
    pub(crate) fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Keys {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: None,
        }
    }

    /// Those of a role.
    pub(super) fn temporary(credentials: RoleCredentials) -> Self {
        Keys {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: Some(credentials.session_token),
        }
    }

    /// Keys that emulators take for those of an account.
    pub(super) fn of_account(account: AccountId) -> Self {
        Keys::new(account.to_string(), "hothouse")
    }

    /// The same for AWS's libraries.
    pub(super) fn credentials(&self) -> Credentials {
        let Keys { access_key_id, secret_access_key, session_token } = self;
        Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "Hothouse")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A request that cannot be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// The body must be hashed, and is too large for it.
    #[error("the request's body has more than {HASHED_BYTES} bytes, too many to sign")]
    BodyTooLarge,
    /// The client went away.
    #[error("read the request's body")]
    Body(#[source] BoxError),
    /// Each chunk carries a signature made with the client's keys.
    #[error(
        "the request's body is signed chunk by chunk; configure the client to sign it as a whole or not at all"
    )]
    Chunks,
    /// A header is not text, or the URL cannot be canonicalised.
    #[error("compute the signature")]
    Signature(#[from] aws_sigv4::http_request::SigningError),
    /// The key set is not complete.
    #[error("complete the keys to sign with")]
    Parameters(#[from] v4::signing_params::BuildError),
    /// The presigned URL without its signature is none.
    #[error("build the URL to sign")]
    Url(#[from] http::uri::InvalidUri),
}

/// Signs a request for its service and region, in place of the signature that it has.
pub(super) async fn sign_again(
    request: Request<Body>,
    credential: &Credential,
    keys: &Keys,
    now: SystemTime,
) -> Result<Request<Body>, SigningError> {
    let service = credential.service.as_deref().unwrap_or("s3");
    let region = credential.region.as_ref().map_or("us-east-1", |region| region.as_str());
    let is_s3 = matches!(service, "s3" | "s3express" | "s3-outposts" | "s3-object-lambda");
    let (mut parts, body) = request.into_parts();
    let declared = parts.headers.get(CONTENT_HASH).and_then(|hash| hash.to_str().ok()).map(str::to_owned);
    remove_signature(&mut parts.headers);
    parts.uri = without_signature(&parts.uri)?;

    let (body, payload) = match declared.as_deref() {
        Some(chunks) if chunks.starts_with("STREAMING-AWS4") => return Err(SigningError::Chunks),
        Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => (body, SignableBody::StreamingUnsignedPayloadTrailer),
        Some("UNSIGNED-PAYLOAD") => (body, SignableBody::UnsignedPayload),
        Some(hash) => (body, SignableBody::Precomputed(hash.to_owned())),
        // Objects stream through unread.
        None if is_s3 => (body, SignableBody::UnsignedPayload),
        None => {
            let bytes = body::read(body, HASHED_BYTES).await.map_err(|error| match error {
                ReadError::TooLarge => SigningError::BodyTooLarge,
                ReadError::Broken(error) => SigningError::Body(error),
            })?;
            let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
            let hash = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            (body::whole(bytes), SignableBody::Precomputed(hash))
        }
    };

    let mut settings = SigningSettings::default();
    if is_s3 {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    if is_s3 || declared.is_some() {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = keys.credentials().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let uri = parts.uri.to_string();
    // What intermediaries may change stays out of the signature.
    let signed_headers = parts
        .headers
        .iter()
        .filter(|(name, _)| {
            *name == header::HOST || *name == header::CONTENT_TYPE || is_amazon(name.as_str())
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(parts.method.as_str(), uri, signed_headers, payload)?;
    let instructions = sign(signable, &parameters)?.into_parts().0;
    let mut request = Request::from_parts(parts, body);
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

fn is_amazon(name: &str) -> bool {
    name.starts_with("x-amz-") || name == "content-md5"
}

fn remove_signature(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    for name in ["x-amz-date", "x-amz-security-token", CONTENT_HASH] {
        headers.remove(name);
    }
}

/// The URL without the parameters of a presigned one.
fn without_signature(uri: &Uri) -> Result<Uri, http::uri::InvalidUri> {
    const PARAMETERS: [&str; 7] = [
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    ];
    let Some(query) = uri.query() else { return Ok(uri.clone()) };
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
    let kept: Vec<&str> =
        query.split('&').filter(|pair| !PARAMETERS.contains(&name_of(pair).as_str())).collect();
    let text = uri.to_string();
    let base = text.split('?').next().unwrap_or_default();
    if kept.is_empty() { base.parse() } else { format!("{base}?{}", kept.join("&")).parse() }
}
