//! Whether a request was signed with a key that is known: `--auth sigv4`.
//!
//! Must not decide what the caller may do: policies do, in the control plane.

mod canonical;
mod signature;

use std::{fmt, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;
use hothouse_api::{ApiError, generated::ErrorKind};
use hothouse_execution::ports::Clock;
use http::request::Parts;
use jiff::Timestamp;
use ring::digest::{self, Digest};

use crate::companions::{
    caller::{Credential, Identity},
    sts::{KeyLookup, Sts},
};
use canonical::Canonical;
use signature::{Scope, Signature, Validity};

/// How far apart the clocks of client and service may be.
///
/// Unverified: AWS's messages name 5 minutes for most services and 15 for some.
const SKEW_SECONDS: i64 = 300;

/// Bytes of a body that are hashed in passing.
const SMALL: usize = 1 << 20;

/// Verifies signatures.
pub(crate) struct Verifier {
    sts: Arc<Sts>,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    /// Knows the keys that STS knows.
    pub(crate) fn new(sts: Arc<Sts>, clock: Arc<dyn Clock>) -> Self {
        Self { sts, clock }
    }

    /// Who signed a request for this service.
    ///
    /// # Errors
    /// If nobody who is known did, with AWS's error.
    pub(crate) async fn verify(
        &self,
        parts: &Parts,
        body: &Bytes,
        service: &str,
    ) -> Result<Identity, ApiError> {
        let hash = if body.len() <= SMALL {
            sha256(body)
        } else {
            let body = body.clone();
            let hashed = tokio::task::spawn_blocking(move || sha256(&body)).await;
            hashed.map_err(ApiError::internal)?
        };
        self.verify_hashed(parts, &hash, service)
    }

    /// The checks, in AWS's order.
    fn verify_hashed(&self, parts: &Parts, body: &Digest, service: &str) -> Result<Identity, ApiError> {
        let signature = Signature::of(parts)?;
        let now = self.now();
        check_time(&signature, now)?;
        if !signature.signed_headers.iter().any(|name| name == "host") {
            return Err(invalid("'Host' must be a 'SignedHeader' in the AWS Authorization."));
        }
        let credential = Credential::of(&parts.headers, &parts.uri);
        check_scope(&signature, service)?;
        let (secret, identity) = self.find(&credential)?;

        let mut asked_for = None;
        for canonical in Canonical::possible(parts, &signature, body) {
            if canonical.is_signed_by(&secret) {
                return Ok(identity);
            }
            asked_for.get_or_insert(canonical);
        }
        let canonical = asked_for.map(|canonical| canonical.explained()).unwrap_or_default();
        Err(invalid(format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.{canonical}"
        )))
    }

    /// The secret of the key that signed, and whose it is.
    fn find(&self, credential: &Credential) -> Result<(String, Identity), ApiError> {
        match self.sts.look_up(credential) {
            KeyLookup::Known { secret, identity } => Ok((secret, identity)),
            KeyLookup::Expired => Err(ApiError::new(
                ErrorKind::ExpiredToken,
                "The security token included in the request is expired",
            )),
            KeyLookup::Unknown => Err(ApiError::new(
                ErrorKind::UnrecognizedClient,
                "The security token included in the request is invalid.",
            )),
        }
    }

    fn now(&self) -> Timestamp {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn check_time(signature: &Signature, now: Timestamp) -> Result<(), ApiError> {
    let (signed, now_second) = (signature.time.as_second(), now.as_second());
    let valid_for = match signature.validity {
        Validity::Skew => SKEW_SECONDS,
        Validity::Seconds(seconds) => seconds,
    };
    let basic = |second| {
        let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        signature::basic(time)
    };
    let minutes = |seconds: i64| seconds / 60;
    if signed + valid_for < now_second {
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {} min.)",
            basic(signed),
            basic(now_second - valid_for),
            basic(now_second),
            minutes(valid_for)
        )));
    }
    if signed > now_second + SKEW_SECONDS {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + {} min.)",
            basic(signed),
            basic(now_second + SKEW_SECONDS),
            basic(now_second),
            minutes(SKEW_SECONDS)
        )));
    }
    Ok(())
}

fn check_scope(signature: &Signature, service: &str) -> Result<(), ApiError> {
    let Scope { date, region, service: scoped, terminator } = &signature.scope;
    let mut wrong = Vec::new();
    // Any region is served here.
    if region.parse::<hothouse_api::name::Region>().is_err() {
        wrong.push(format!("Credential should be scoped to a valid region, not '{region}'. "));
    }
    if scoped != service {
        wrong.push(format!("Credential should be scoped to correct service: '{service}'. "));
    }
    if terminator != "aws4_request" {
        wrong.push(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator}'. "
        ));
    }
    let stamp = signature::basic(signature.time);
    if *date != stamp[..8] {
        wrong.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != \
             '{}', from '{stamp}'.",
            &stamp[..8]
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(invalid(wrong.concat())) }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidSignature, message)
}

fn incomplete(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::IncompleteSignature, message)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("sts", &self.sts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
