//! What AWS says about each runtime: which are blocked, which have SnapStart, how their versions are called.
//!
//! Must not know which runtimes this machine has.

use hothouse_api::{
    ApiError,
    generated::{Architecture, FunctionRuntimeConfig, Runtime},
    name::Region,
};

use crate::{code::CodeHash, error::invalid_parameter};

/// Refuses runtimes that AWS blocks for creating and updating functions.
///
/// # Errors
/// With AWS's message.
pub(crate) fn check_not_blocked(runtime: Runtime) -> Result<(), ApiError> {
    if is_blocked(runtime) {
        return Err(invalid_parameter(format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. \
             We recommend you use a supported runtime while creating or updating functions."
        )));
    }
    Ok(())
}

/// The customer-managed runtime of a function with this runtime: what was sent, else what it was before.
/// <https://docs.aws.amazon.com/lambda/latest/dg/cmr-using.html>
///
/// # Errors
/// If one is due and not said, or said and not due, or if it is elsewhere.
pub(crate) fn config(
    region: &Region,
    runtime: Option<Runtime>,
    before: Option<FunctionRuntimeConfig>,
    sent: Option<&FunctionRuntimeConfig>,
) -> Result<Option<FunctionRuntimeConfig>, ApiError> {
    // Unverified: all wordings.
    match (runtime, sent.cloned().or_else(|| before.filter(|_| runtime == Some(Runtime::Custom)))) {
        (Some(Runtime::Custom), None) => {
            Err(invalid_parameter("RuntimeConfig is required when the runtime parameter is custom."))
        }
        (Some(Runtime::Custom), Some(config)) => {
            let arn = config.runtime_arn.as_deref().unwrap_or_default();
            if arn.split(':').nth(3) != Some(region.as_str()) {
                return Err(invalid_parameter(format!(
                    "The runtime {arn} is not in the same region as the function. Runtimes are expected to be in \
                     region {region}."
                )));
            }
            Ok(Some(config))
        }
        (_, None) => Ok(None),
        (_, Some(_)) => {
            Err(invalid_parameter("RuntimeConfig is only supported when the runtime parameter is custom."))
        }
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-deprecated>
fn is_blocked(runtime: Runtime) -> bool {
    use Runtime::*;
    match runtime {
        Nodejs | Nodejs43 | Nodejs43Edge | Nodejs610 | Nodejs810 | Nodejs10X | Nodejs12X | Nodejs14X
        | Java8 | Python27 | Python36 | Python37 | Dotnetcore10 | Dotnetcore20 | Dotnetcore21
        | Dotnetcore31 | Go1X | Ruby25 | Ruby27 | Provided => true,
        // Some of these are deprecated, but the dates on which AWS blocks them lie ahead.
        Nodejs16X | Nodejs18X | Nodejs20X | Nodejs22X | Nodejs24X | Nodejs26X | Java8Al2 | Java8Al2023
        | Java11 | Java11Al2023 | Java17 | Java17Al2023 | Java21 | Java25 | Python38 | Python39
        | Python310 | Python311 | Python312 | Python313 | Python314 | Python315 | Dotnet6 | Dotnet8
        | Dotnet10 | Ruby32 | Ruby33 | Ruby34 | Ruby40 | ProvidedAl2 | ProvidedAl2023 | Custom => false,
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html#snapstart-runtimes>
pub(crate) fn has_snap_start(runtime: Runtime) -> bool {
    use Runtime::*;
    matches!(
        runtime,
        Java11
            | Java11Al2023
            | Java17
            | Java17Al2023
            | Java21
            | Java25
            | Python312
            | Python313
            | Python314
            | Python315
            | Dotnet8
            | Dotnet10
    )
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-runtimes.html>
pub(crate) fn has_managed_instances(runtime: Runtime) -> bool {
    use Runtime::*;
    matches!(
        runtime,
        Nodejs22X
            | Nodejs24X
            | Nodejs26X
            | Java21
            | Java25
            | Python313
            | Python314
            | Python315
            | Dotnet8
            | Dotnet10
            | ProvidedAl2023
    )
}

/// The ARN of the runtime version that functions of this runtime have. AWS's ids are opaque; ours only stay the same.
pub(crate) fn version_arn(region: &Region, runtime: Runtime, architecture: Architecture) -> String {
    let id = CodeHash::of(format!("{runtime}/{architecture}").as_bytes());
    format!("arn:{}:lambda:{region}::runtime:{id}", region.partition())
}
