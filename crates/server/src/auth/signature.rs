//! What a request says about its signature, in its header or in the query of a presigned URL.
//!
//! Must not tell whether the signature is right.

use base64::{Engine, prelude::BASE64_STANDARD};
use hothouse_api::{ApiError, generated::ErrorKind};
use http::{HeaderMap, header, request::Parts};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use ring::digest;

use super::{incomplete, invalid};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A signature, with all that belongs to it.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) scope: Scope,
    pub(super) time: Timestamp,
    pub(super) validity: Validity,
    /// In lower case.
    pub(super) signed_headers: Vec<String>,
    /// In hexadecimal digits.
    pub(super) text: String,
}

/// What the signing key is good for.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
}

/// How long a signature is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Validity {
    /// As long as clocks may differ.
    Skew,
    /// As long as a presigned URL says.
    Seconds(i64),
}

impl Signature {
    /// # Errors
    /// If there is none, or if it lacks something.
    pub(super) fn of(parts: &Parts) -> Result<Self, ApiError> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let query = Query::of(parts);
        match (authorization, query.algorithm.is_some() || query.signature.is_some()) {
            (Some(_), true) => Err(invalid(
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
            )),
            (Some(value), false) => {
                Self::of_header(&String::from_utf8_lossy(value.as_bytes()), &parts.headers)
            }
            (None, true) => Self::of_query(query),
            (None, false) => {
                Err(ApiError::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token"))
            }
        }
    }

    fn of_header(authorization: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let hash = || BASE64_STANDARD.encode(digest::digest(&digest::SHA256, authorization.as_bytes()));
        let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        let mut pairs = Vec::new();
        for pair in rest.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            pairs.push(pair.split_once('=').ok_or_else(|| {
                incomplete(format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and \
                     encoded with Base64): '{}'.",
                    hash()
                ))
            })?);
        }
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let (credential, signature, signed) = (find("Credential"), find("Signature"), find("SignedHeaders"));
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text("x-amz-date").or_else(|| text(header::DATE.as_str()));
        let (Some(credential), Some(signature), Some(signed), Some(date)) =
            (credential, signature, signed, date)
        else {
            let parts = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)];
            let mut message: String = parts
                .iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter. "))
                .collect();
            if date.is_none() {
                message.push_str(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
                );
            }
            let hash = hash();
            return Err(incomplete(format!(
                "{message}(Hashed with SHA-256 and encoded with Base64) Authorization={hash}"
            )));
        };
        Self::checked(algorithm, credential, date, signed, signature, Validity::Skew)
    }

    fn of_query(query: Query) -> Result<Self, ApiError> {
        let Query { algorithm, credential, date, signed, signature, expires } = query;
        let (Some(algorithm), Some(credential), Some(date), Some(signed), Some(signature)) =
            (&algorithm, &credential, &date, &signed, &signature)
        else {
            let parameters = [
                ("X-Amz-Algorithm", algorithm),
                ("X-Amz-Credential", credential),
                ("X-Amz-Signature", signature),
                ("X-Amz-SignedHeaders", signed),
                ("X-Amz-Date", date),
            ];
            let message: String = parameters
                .iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("AWS query-string parameters must include '{name}'. "))
                .collect();
            return Err(incomplete(format!("{message}Re-examine the query-string parameters.")));
        };
        // A week is the longest that AWS accepts.
        let seconds =
            expires.and_then(|text| text.parse().ok()).filter(|seconds| (1..=604_800).contains(seconds));
        let validity = seconds.map_or(Validity::Skew, Validity::Seconds);
        Self::checked(algorithm, credential, date, signed, signature, validity)
    }

    fn checked(
        algorithm: &str,
        credential: &str,
        date: &str,
        signed_headers: &str,
        signature: &str,
        validity: Validity,
    ) -> Result<Self, ApiError> {
        let time = time(date).ok_or_else(|| {
            incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
            ))
        })?;
        if algorithm != ALGORITHM {
            return Err(incomplete(format!(
                "Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). "
            )));
        }
        let mut elements = credential.trim_end_matches('/').rsplitn(5, '/').map(str::to_owned);
        let scope = (elements.next(), elements.next(), elements.next(), elements.next(), elements.next());
        let (Some(terminator), Some(service), Some(region), Some(date), Some(_)) = scope else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            )));
        };
        Ok(Self {
            scope: Scope { date, region, service, terminator },
            time,
            validity,
            signed_headers: signed_headers.split(';').map(str::to_ascii_lowercase).collect(),
            text: signature.to_owned(),
        })
    }
}

/// The parameters of a presigned URL.
#[derive(Debug, Default)]
struct Query {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    signed: Option<String>,
    signature: Option<String>,
    expires: Option<String>,
}

impl Query {
    fn of(parts: &Parts) -> Self {
        let mut query = Self::default();
        for pair in parts.uri.query().unwrap_or_default().split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let field = match name {
                "X-Amz-Algorithm" => &mut query.algorithm,
                "X-Amz-Credential" => &mut query.credential,
                "X-Amz-Date" => &mut query.date,
                "X-Amz-SignedHeaders" => &mut query.signed,
                "X-Amz-Signature" => &mut query.signature,
                "X-Amz-Expires" => &mut query.expires,
                _ => continue,
            };
            *field = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
        }
        query
    }
}

/// `20150830T123600Z`.
pub(super) fn basic(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads AWS's own form, or that of a `Date` header.
fn time(text: &str) -> Option<Timestamp> {
    let basic = || jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok();
    let utc = |time: jiff::civil::DateTime| Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    basic().and_then(utc).or_else(|| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp()))
}
