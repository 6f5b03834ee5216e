//! A version as AWS's replies show it.
//!
//! Must not look anything up: it is handed what it shows.

use hothouse_api::{
    arn::FunctionArn,
    generated::{
        EnvironmentResponse, EphemeralStorage, FunctionConfiguration, ImageConfigResponse, LastUpdateStatus,
        LastUpdateStatusReasonCode, LogFormat, LoggingConfig, PackageType, Runtime, RuntimeVersionConfig,
        SnapStartApplyOn, SnapStartOptimizationStatus, SnapStartResponse, State, StateReasonCode,
        TracingConfigResponse, VpcConfigResponse,
    },
    name,
};
use jiff::Timestamp;

use crate::{
    capacity_provider,
    code::CodeHash,
    layer, network, runtime,
    state::model::{Logging, Package, Status, Version},
};

/// What a reply leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing.
    Full,
    /// States and runtime versions, as lists do.
    Listed,
}

/// Shows a version. `arn` is qualified if the reply's is to be.
pub(crate) fn version(arn: &FunctionArn, version: &Version, detail: Detail) -> FunctionConfiguration {
    let configuration = &*version.configuration;
    let rare = configuration.rare.as_deref().cloned().unwrap_or_default();
    let published = version.version != name::Version::Latest;
    let snapshotted = published
        && version.status == Status::Ready
        && configuration.snap_start == SnapStartApplyOn::PublishedVersions;
    let shown = FunctionConfiguration {
        function_name: Some(arn.name().to_string()),
        function_arn: Some(arn.to_string()),
        runtime: configuration.runtime,
        role: Some(configuration.role.clone()),
        handler: configuration.handler.clone(),
        code_size: Some(signed(version.code.package.size())),
        description: Some(version.description.clone().unwrap_or_else(|| configuration.description.clone())),
        timeout: Some(configuration.timeout.cast_signed()),
        memory_size: Some(configuration.memory_size.cast_signed()),
        last_modified: Some(last_modified(version.last_modified)),
        code_sha256: Some(code_sha256(&version.code.package)),
        version: Some(version.version.to_string()),
        vpc_config: rare.vpc.map(|vpc| {
            let (subnet_ids, security_group_ids) = network::lists(&vpc);
            VpcConfigResponse {
                vpc_id: Some(match rare.vpc_id {
                    Some(known) => known,
                    None if subnet_ids.is_empty() => String::new(),
                    None => network::presumed_vpc(arn.account(), arn.region()),
                }),
                subnet_ids: Some(subnet_ids),
                security_group_ids: Some(security_group_ids),
                ipv6_allowed_for_dual_stack: Some(vpc.ipv6_allowed_for_dual_stack.unwrap_or(false)),
            }
        }),
        dead_letter_config: rare.dead_letter,
        environment: configuration
            .environment
            .clone()
            .map(|variables| EnvironmentResponse { variables: Some(variables.into()), error: None }),
        kms_key_arn: rare.kms_key_arn,
        layers: layer::used::show(&rare.layers),
        tracing_config: Some(TracingConfigResponse { mode: Some(configuration.tracing) }),
        revision_id: Some(version.revision_id.to_string()),
        file_system_configs: rare.file_systems,
        package_type: Some(match version.code.package {
            Package::Zip { .. } => PackageType::Zip,
            Package::Image { .. } => PackageType::Image,
        }),
        image_config_response: rare
            .image
            .map(|image| ImageConfigResponse { image_config: Some(image), error: None }),
        architectures: Some(vec![version.code.architecture]),
        ephemeral_storage: Some(EphemeralStorage {
            size: Some(configuration.ephemeral_storage.cast_signed()),
        }),
        snap_start: rare.managed.is_none().then_some(SnapStartResponse {
            apply_on: Some(configuration.snap_start),
            optimization_status: Some(if snapshotted {
                SnapStartOptimizationStatus::On
            } else {
                SnapStartOptimizationStatus::Off
            }),
        }),
        capacity_provider_config: rare.managed.map(capacity_provider::function::show),
        durable_config: rare.durable,
        runtime_config: rare.runtime,
        tenancy_config: rare.tenancy,
        accelerator_config: rare.accelerator,
        logging_config: Some(logging(arn, &configuration.logging)),
        ..FunctionConfiguration::default()
    };
    match detail {
        Detail::Listed => shown,
        Detail::Full => FunctionConfiguration {
            runtime_version_config: configuration
                .runtime
                // Nothing here knows what version of a customer's runtime an alias points to.
                .filter(|runtime| *runtime != Runtime::Custom)
                .map(|runtime| RuntimeVersionConfig {
                    runtime_version_arn: Some(runtime::version_arn(
                        arn.region(),
                        runtime,
                        version.code.architecture,
                    )),
                    error: None,
                }),
            ..with_status(shown, version)
        },
    }
}

/// AWS gives the reason of a creation for updates, too.
const REASON: &str = "The function is being created.";
/// Unverified: AWS loses no packages.
const PACKAGE_GONE: &str = "The deployment package of the function is gone. Update the function's code.";

/// Unverified: AWS's wording.
const INIT_FAILED: &str = "The function could not be initialized. Check its logs.";

/// `State`.
pub(crate) fn state(version: &Version) -> State {
    // On a capacity provider there are only instances for what is published.
    let unpublished = version.version == name::Version::Latest;
    match version.status {
        Status::Failed | Status::InitFailed => State::Failed,
        Status::Deleting => State::Deleting,
        _ if unpublished && version.configuration.capacity_provider().is_some() => State::ActiveNonInvocable,
        Status::Creating | Status::Restoring => State::Pending,
        Status::Updating | Status::Ready => State::Active,
        Status::Idle => State::Inactive,
        Status::Deactivating => State::Deactivating,
        Status::Deactivated => State::Deactivated,
    }
}

fn with_status(shown: FunctionConfiguration, version: &Version) -> FunctionConfiguration {
    let state = state(version);
    match version.status {
        Status::Idle | Status::Restoring => {
            // Unverified: both reasons.
            let (reason, code) = match version.status {
                Status::Idle => ("The function is idle.", StateReasonCode::Idle),
                _ => ("The function is being restored.", StateReasonCode::Restoring),
            };
            FunctionConfiguration {
                state: Some(state),
                state_reason: Some(reason.into()),
                state_reason_code: Some(code),
                last_update_status: Some(LastUpdateStatus::Successful),
                ..shown
            }
        }
        Status::Creating if state == State::Pending => FunctionConfiguration {
            state: Some(state),
            state_reason: Some(REASON.into()),
            state_reason_code: Some(StateReasonCode::Creating),
            ..shown
        },
        Status::Updating => FunctionConfiguration {
            state: Some(state),
            last_update_status: Some(LastUpdateStatus::InProgress),
            last_update_status_reason: Some(REASON.into()),
            last_update_status_reason_code: Some(LastUpdateStatusReasonCode::Creating),
            ..shown
        },
        Status::Creating | Status::Ready | Status::Deactivating | Status::Deactivated | Status::Deleting => {
            FunctionConfiguration {
                state: Some(state),
                last_update_status: Some(LastUpdateStatus::Successful),
                ..shown
            }
        }
        // Unverified: that it has no `LastUpdateStatus`, as while it is created.
        Status::InitFailed => FunctionConfiguration {
            state: Some(state),
            state_reason: Some(INIT_FAILED.into()),
            state_reason_code: Some(StateReasonCode::FunctionError),
            ..shown
        },
        Status::Failed => FunctionConfiguration {
            state: Some(state),
            state_reason: Some(PACKAGE_GONE.into()),
            state_reason_code: Some(StateReasonCode::InvalidZipFileException),
            last_update_status: Some(LastUpdateStatus::Failed),
            last_update_status_reason: Some(PACKAGE_GONE.into()),
            last_update_status_reason_code: Some(LastUpdateStatusReasonCode::InvalidZipFileException),
            ..shown
        },
    }
}

/// The log group that a function writes to unless another is configured.
pub(crate) fn default_log_group(name: &name::FunctionName) -> String {
    format!("/aws/lambda/{name}")
}

fn logging(arn: &FunctionArn, logging: &Logging) -> LoggingConfig {
    let json = logging.format == LogFormat::Json;
    LoggingConfig {
        log_format: Some(logging.format),
        application_log_level: logging.application_level.filter(|_| json),
        system_log_level: logging.system_level.filter(|_| json),
        log_group: Some(logging.group.clone().unwrap_or_else(|| default_log_group(arn.name()))),
    }
}

/// `CodeSha256`: of a zip in base64, of an image in hexadecimal.
pub(crate) fn code_sha256(package: &Package) -> String {
    match package {
        Package::Zip { hash, .. } => hash.base64(),
        Package::Image { uri } => image_digest(uri),
    }
}

/// An image's digest, if its URI has one. Else one of the URI: what a tag points to is only known to its registry.
pub(crate) fn image_digest(uri: &str) -> String {
    match uri.rsplit_once("@sha256:") {
        Some((_, digest)) => digest.to_owned(),
        None => CodeHash::of(uri.as_bytes()).to_string(),
    }
}

/// `2025-11-25T09:08:07.654+0000`
pub(crate) fn last_modified(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
