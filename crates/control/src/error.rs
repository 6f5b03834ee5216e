//! Our errors in AWS's terms: the one place where kinds and wordings meet.
//!
//! What callers read here is a contract. Must not log.

use std::fmt;

use hothouse_api::{
    ApiError, ErrorKind,
    arn::FunctionArn,
    generated::{State, StateReasonCode},
    name::{AliasName, FunctionName, Region},
};

use crate::{
    code::{ArchiveError, CodeError, ObjectError},
    network::NetworkError,
    state::StoreError,
};

pub(crate) fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidParameterValue, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::ResourceNotFound, message)
}

pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::ResourceConflict, message)
}

/// One broken constraint that the model does not know or has another number for.
pub(crate) fn validation(member: &str, value: impl fmt::Display, constraint: impl fmt::Display) -> ApiError {
    ApiError::new(
        ErrorKind::Validation,
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must {constraint}"
        ),
    )
}

/// `arn` is qualified where AWS's message is.
pub(crate) fn function_not_found(arn: impl fmt::Display) -> ApiError {
    not_found(format!("Function not found: {arn}"))
}

pub(crate) fn function_exists(name: &FunctionName) -> ApiError {
    conflict(format!("Function already exist: {name}"))
}

pub(crate) fn other_region(theirs: &Region, ours: &Region) -> ApiError {
    not_found(format!("Functions from '{theirs}' are not reachable in this region ('{ours}')"))
}

pub(crate) fn qualifiers_differ() -> ApiError {
    invalid_parameter("The derived qualifier from the function name does not match the specified qualifier.")
}

pub(crate) fn functions_only() -> ApiError {
    invalid_parameter(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
         Please specify either a function name or an unqualified function ARN.",
    )
}

pub(crate) fn revision_differs() -> ApiError {
    ApiError::new(
        ErrorKind::PreconditionFailed,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
         retrieve the latest Revision Id",
    )
}

/// To who invokes a version that is not ready yet.
pub(crate) fn still_pending() -> ApiError {
    conflict(
        "The operation cannot be performed at this time. The function is currently in the following state: Pending",
    )
}

/// To who invokes a version in a state in which AWS runs nothing.
pub(crate) fn not_invocable(state: State) -> ApiError {
    conflict(format!(
        // Unverified: the wording, after the one for `Pending`.
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}

/// To who invokes a version whose snapshot is being taken, or was given back.
pub(crate) fn snapshot_not_ready() -> ApiError {
    ApiError::new(
        ErrorKind::SnapStartNotReady,
        "Lambda is initializing your function. It will be ready to invoke once your function state becomes ACTIVE.",
    )
}

/// To who invokes a version whose environment could not be restored from its snapshot.
pub(crate) fn restore_failed() -> ApiError {
    // Unverified: the wording, after the model's documentation.
    ApiError::new(
        ErrorKind::SnapStart,
        "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs.",
    )
}

/// The same where that took too long.
pub(crate) fn restore_timed_out() -> ApiError {
    // Unverified: the wording, after the model's documentation.
    ApiError::new(
        ErrorKind::SnapStartTimeout,
        "Lambda couldn't restore the snapshot within the timeout limit.",
    )
}

/// To who invokes a function on a capacity provider of which nothing is published.
pub(crate) fn no_published_version() -> ApiError {
    ApiError::new(
        ErrorKind::NoPublishedVersion,
        // Unverified: the wording.
        "The function has no version $LATEST.PUBLISHED: publish one (PublishTo LATEST_PUBLISHED), or name another \
         version or an alias.",
    )
}

/// To who invokes a version whose package is gone.
pub(crate) fn package_gone() -> ApiError {
    ApiError::new(
        ErrorKind::CodeArtifactUserFailed,
        // Unverified wording.
        "The function cannot be invoked because its deployment package is gone. Update the function's code.",
    )
}

/// To who changes a function that is not in a state to be changed.
pub(crate) fn wrong_state(arn: &FunctionArn, state: State, reason: StateReasonCode) -> ApiError {
    conflict(format!(
        "The operation cannot be performed at this time. The resource {arn} is currently in the following state: \
         '{state}'. StateReasonCode: '{reason}'"
    ))
}

/// To who changes a version that is on its way out.
pub(crate) fn passing(arn: &FunctionArn, state: State) -> ApiError {
    conflict(format!(
        // Unverified: the wording, after the one with a reason.
        "The operation cannot be performed at this time. The resource {arn} is currently in the following state: \
         '{state}'"
    ))
}

pub(crate) fn update_in_progress(arn: &FunctionArn) -> ApiError {
    conflict(format!(
        "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
    ))
}

pub(crate) fn alias_exists(arn: &FunctionArn) -> ApiError {
    conflict(format!("Alias already exists: {arn}"))
}

pub(crate) fn alias_not_found(arn: &FunctionArn) -> ApiError {
    not_found(format!("Cannot find alias arn: {arn}"))
}

pub(crate) fn version_has_aliases(aliases: &[&AliasName]) -> ApiError {
    let names: Vec<&str> = aliases.iter().map(|name| name.as_str()).collect();
    conflict(format!(
        "Unable to delete version because the following aliases reference it: [{}]",
        names.join(", ")
    ))
}

pub(crate) fn code_storage_exceeded() -> ApiError {
    ApiError::new(ErrorKind::CodeStorageExceeded, "Code storage limit exceeded.")
}

pub(crate) fn package_too_large(limit: u64) -> ApiError {
    ApiError::new(ErrorKind::RequestTooLarge, format!("Zipped size must be smaller than {limit} bytes"))
}

pub(crate) fn throttled(reason: &str) -> ApiError {
    ApiError::new(ErrorKind::TooManyRequests, "Rate Exceeded.").with_member("Reason", reason)
}

/// The same where it is known that there will be room a second later.
pub(crate) fn throttled_for_a_second(reason: &str) -> ApiError {
    throttled(reason).with_retry_after(1)
}

/// The change was not kept, so it did not happen.
pub(crate) fn store(error: StoreError) -> ApiError {
    ApiError::internal(error)
}

/// A package was refused, or could not be kept.
pub(crate) fn code(error: CodeError) -> ApiError {
    match &error {
        CodeError::Archive(ArchiveError::Empty) => invalid_parameter("Uploaded file must be a non-empty zip"),
        CodeError::Archive(ArchiveError::TooLarge { limit }) => {
            invalid_parameter(format!("Unzipped size must be smaller than {limit} bytes"))
        }
        CodeError::Archive(ArchiveError::Malformed(_) | ArchiveError::Misplaced { .. }) => invalid_parameter(
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        )
        .with_source(error),
        CodeError::Archive(ArchiveError::Write { .. }) | CodeError::Io { .. } => ApiError::internal(error),
    }
}

/// EC2 does not know what a function is to be attached to.
pub(crate) fn network(error: NetworkError) -> ApiError {
    let NetworkError { operation, code, message } = error;
    invalid_parameter(format!(
        "Error occurred while {operation}. EC2 Error Code: {code}. EC2 Error Message: {message}"
    ))
}

/// A package could not be fetched from S3.
pub(crate) fn object(error: ObjectError) -> ApiError {
    const STEP: &str = "Error occurred while GetObject.";
    match &error {
        ObjectError::Refused { code, message } => {
            invalid_parameter(format!("{STEP} S3 Error Code: {code}. S3 Error Message: {message}"))
        }
        ObjectError::TooLarge { limit } => {
            invalid_parameter(format!("Unzipped size must be smaller than {limit} bytes"))
        }
        ObjectError::NoEndpoint => invalid_parameter(format!(
            "{STEP} Hothouse has no endpoint for S3: start it with --aws-endpoint URL, or send the code as ZipFile."
        )),
        ObjectError::Transport(_) => invalid_parameter(format!(
            "{STEP} The endpoint for S3 (--aws-endpoint) did not answer as S3 does."
        ))
        .with_source(error),
    }
}
