//! Callers that are services, such as S3 with an event of a bucket: how they say so on one machine.
//!
//! Must not believe or disbelieve them: who may sign may also say whom it speaks for.

use hothouse_api::context::ServiceCaller;
use http::HeaderMap;

/// The service's principal, such as `s3.amazonaws.com`. AWS's services need not say who they are to each other.
const PRINCIPAL: &str = "x-hothouse-principal";
/// The headers in which AWS's services tell for which resource they call.
const SOURCE_ARN: &str = "x-amz-source-arn";
const SOURCE_ACCOUNT: &str = "x-amz-source-account";

/// The service that sends a request, if one does.
pub(super) fn of(headers: &HeaderMap) -> Option<Box<ServiceCaller>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Some(Box::new(ServiceCaller {
        principal: text(PRINCIPAL)?,
        source_arn: text(SOURCE_ARN),
        source_account: text(SOURCE_ACCOUNT).and_then(|account| account.parse().ok()),
    }))
}
