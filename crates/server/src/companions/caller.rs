//! Who signed a request, and for which service and region: read from the signature's scope.
//!
//! Must not verify signatures: any key is welcome on this machine, unless `auth` is asked first.

use hothouse_api::name::{AccountId, Region};
use http::{HeaderMap, Uri, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;

/// What a request's signature says, each part where it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The key that signed; empty for an unsigned request.
    pub(crate) access_key_id: String,
    /// Comes with temporary credentials.
    pub(crate) session_token: Option<String>,
    /// Region of the scope, if it is one.
    pub(crate) region: Option<Region>,
    /// Signing name of the service, such as `logs`.
    pub(crate) service: Option<String>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The account.
    pub(crate) account: AccountId,
    /// The caller's ARN, if it is not the account's root user.
    pub(crate) arn: Option<String>,
}

impl Credential {
    /// Reads the `Authorization` header, or the query of a presigned URL.
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let parameter = |name: &str| {
            let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            let mut values = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            values.next().map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned())
        };
        let session_token = text("x-amz-security-token").map(str::to_owned);
        let session_token = session_token.or_else(|| parameter("X-Amz-Security-Token"));
        if let Some(authorization) = text(AUTHORIZATION.as_str()) {
            return Credential { session_token, ..Credential::of_authorization(authorization) };
        }
        match parameter("X-Amz-Credential") {
            Some(scope) => Credential { session_token, ..Credential::of_scope(&scope, true) },
            None => Credential { session_token, ..Credential::default() },
        }
    }

    fn of_authorization(authorization: &str) -> Self {
        if let Some(key_and_signature) = authorization.strip_prefix("AWS ") {
            // Signature version 2, which only S3 still had.
            let key = key_and_signature.split(':').next().unwrap_or_default().to_owned();
            return Credential { access_key_id: key, service: Some("s3".into()), ..Credential::default() };
        }
        let Some((algorithm, rest)) = authorization.split_once(' ') else { return Credential::default() };
        let scope = rest.split(',').find_map(|part| part.trim().strip_prefix("Credential="));
        // Version 4A signs for any region, its scope has none.
        scope.map_or_else(Credential::default, |scope| {
            Credential::of_scope(scope, !algorithm.starts_with("AWS4-ECDSA"))
        })
    }

    /// `KEY/DATE/REGION/SERVICE/aws4_request`. The key itself may contain slashes.
    fn of_scope(scope: &str, with_region: bool) -> Self {
        let mut parts = scope.trim().rsplit('/').skip(1);
        let service = parts.next().filter(|service| !service.is_empty()).map(str::to_owned);
        let region = if with_region { parts.next().and_then(|region| region.parse().ok()) } else { None };
        let key: Vec<&str> = parts.skip(1).collect();
        let key: Vec<&str> = key.into_iter().rev().collect();
        Credential { access_key_id: key.join("/"), session_token: None, region, service }
    }
}
