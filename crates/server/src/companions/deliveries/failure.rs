//! What the SDK's errors mean for a record: whether the service refused it, or may take it another time.
//!
//! Must not hide what the service said.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use hothouse_control::delivery::DeliveryError;
use hothouse_execution::chain;

use crate::companions::{body::BoxError, forward::ForwardError};

/// Codes that services answer with when they are asked too often, mostly with a status that blames the request.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
const THROTTLING: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "KMSThrottling",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
/// Codes of a service that has a fault, where no status tells.
const FAULTS: [&str; 4] = ["InternalError", "InternalException", "InternalFailure", "ServiceUnavailable"];

/// A request that failed.
pub(super) fn of<E>(service: &'static str, error: SdkError<E, HttpResponse>) -> DeliveryError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Some(response) = error.raw_response() else {
        return match &error {
            // It was never sent, and never can be.
            SdkError::ConstructionFailure(_) => named(service, "InvalidRequest", &chain(&error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                named(service, "InvalidRequest", &chain(&error))
            }
            _ => unreachable(service, error),
        };
    };
    let status = response.status().as_u16();
    let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
    let code = metadata.and_then(|metadata| metadata.code());
    // An endpoint without this service says so with 501, and will again.
    let refuses = matches!(status, 300..=499 | 501) && !matches!(status, 408 | 429);
    if !refuses || code.is_some_and(|code| THROTTLING.contains(&code)) {
        return unreachable(service, error);
    }
    let code = code.map_or_else(|| status.to_string(), str::to_owned);
    let message = metadata.and_then(|metadata| metadata.message()).unwrap_or("without a message");
    DeliveryError::Refused { service, code, message: message.to_owned() }
}

/// What a service says about a part of a request.
pub(super) fn named(service: &'static str, code: &str, message: &str) -> DeliveryError {
    if THROTTLING.contains(&code) || FAULTS.contains(&code) {
        return unreachable(service, format!("{code}: {message}"));
    }
    DeliveryError::Refused { service, code: code.to_owned(), message: message.to_owned() }
}

/// There is no URL to send to.
pub(super) fn without_url(service: &'static str, error: ForwardError) -> DeliveryError {
    match error {
        ForwardError::NoEndpoint => DeliveryError::NoEndpoint { service },
        error => named(service, "InvalidEndpoint", &chain(&error)),
    }
}

/// A part of a request that the SDK does not make.
pub(super) fn unbuilt<E: std::error::Error + 'static>(
    service: &'static str,
) -> impl FnOnce(E) -> DeliveryError {
    move |error| named(service, "InvalidRequest", &chain(&error))
}

fn unreachable(service: &'static str, source: impl Into<BoxError>) -> DeliveryError {
    DeliveryError::Unreachable { service, source: source.into() }
}
