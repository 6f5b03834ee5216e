//! What an environment is made from: one function version, resolved and immutable.
//!
//! Must not hold anything that changes while the version lives.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hothouse_api::{
    generated::{ApplicationLogLevel, Architecture, LogFormat, Runtime, SystemLogLevel, TracingMode},
    name::{AccountId, FunctionName, Region, Version},
};

/// One published version, or `$LATEST` as it was at one moment.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Account that owns the function.
    pub account: AccountId,
    /// Region that the function lives in.
    pub region: Region,
    /// The function's name, without qualifier.
    pub function_name: FunctionName,
    /// `$LATEST` or a version number.
    pub version: Version,
    /// Managed runtime identifier, or one of the `provided` family.
    pub runtime: Runtime,
    /// ARN of the runtime version, as `INIT_START` prints it.
    pub runtime_version_arn: String,
    /// Instruction set that the configuration names.
    pub architecture: Architecture,
    /// Handler string; its form is the runtime's affair.
    pub handler: String,
    /// ARN of the execution role.
    pub role: String,
    /// Time limit of one invocation (1 to 900 s).
    pub timeout: Duration,
    /// `MemorySize`, in MB.
    pub memory_mb: u32,
    /// Size of `/tmp`, in MB.
    pub ephemeral_storage_mb: u32,
    /// The customer's environment variables.
    pub environment: BTreeMap<String, String>,
    /// Extracted code; becomes `/var/task`, read-only.
    pub code: PathBuf,
    /// Extracted layers, merged into one directory, if there are any; becomes `/opt`, read-only.
    pub layers: Option<PathBuf>,
    /// Whether environments come from a snapshot of the version (AWS: SnapStart).
    pub snap_start: bool,
    /// `TracingConfig.Mode`.
    pub tracing: TracingMode,
    /// Where and how the logs go.
    pub logging: Logging,
}

/// `LoggingConfig` of a version, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Logging {
    /// `Text` or `JSON`.
    pub format: LogFormat,
    /// Log group, `/aws/lambda/NAME` unless configured.
    pub group: String,
    /// Whether the group was configured: then stream names carry the function name.
    pub custom_group: bool,
    /// Only with `JSON`.
    pub application_level: Option<ApplicationLogLevel>,
    /// Only with `JSON`.
    pub system_level: Option<SystemLogLevel>,
}
