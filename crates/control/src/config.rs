//! What the user may set about the control plane.
//!
//! Must not be read from anywhere here: the server reads configuration and passes it in.

use std::time::Duration;

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where callers reach the service, without a slash at the end: the start of `Code.Location`.
    pub base_url: String,
    /// How long a new version is `Pending`.
    pub create_delay: Duration,
    /// How long an update is `InProgress`.
    pub update_delay: Duration,
    /// How long nobody invokes a version that AWS would take resources from until it is `Inactive`; zero is for ever.
    pub idle_delay: Duration,
    /// How long an event source mapping is `Creating`, `Enabling`, `Disabling`, `Updating` or `Deleting`.
    pub mapping_delay: Duration,
    /// How long a capacity provider is `Pending` or `Deleting`, and what is published on it `Deactivating` or `Deleting`.
    pub capacity_provider_delay: Duration,
    /// How long provisioned concurrency is `IN_PROGRESS`.
    pub provisioned_concurrency_delay: Duration,
    /// Pause before the first retry of an asynchronous invocation; before the second it is twice as long.
    pub retry_base_delay: Duration,
    /// Whether CreateFunction answers only when the function is `Active`.
    pub synchronous_create: bool,
    /// Whether runtimes that AWS blocks for new functions are refused here, too.
    pub refuse_blocked_runtimes: bool,
    /// Whether policies are asked about services and about what they deny to their own account, too, and not only
    /// about callers of other accounts.
    pub enforce_policies: bool,
    /// Quotas.
    pub limits: Limits,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:4566".into(),
            create_delay: Duration::ZERO,
            update_delay: Duration::ZERO,
            idle_delay: Duration::ZERO,
            mapping_delay: Duration::ZERO,
            capacity_provider_delay: Duration::ZERO,
            provisioned_concurrency_delay: Duration::ZERO,
            retry_base_delay: Duration::from_secs(60),
            synchronous_create: false,
            refuse_blocked_runtimes: true,
            enforce_policies: false,
            limits: Limits::default(),
        }
    }
}

/// Quotas, with AWS's values by default (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Invocations that may run at the same time in an account.
    pub concurrent_executions: u32,
    /// Concurrency that reservations must leave to functions without one.
    pub minimum_unreserved_concurrency: u32,
    /// Synchronous invocations in a second, for each that may run at the same time; 0 for any number.
    pub invocation_rate: u32,
    /// Packages of all versions in a region of an account, in bytes.
    pub total_code_size: u64,
    /// An uploaded package, in bytes.
    pub code_size_zipped: u64,
    /// A package's content, in bytes.
    pub code_size_unzipped: u64,
    /// Environment variables, as JSON in bytes.
    pub environment_size: usize,
    /// Payload of a synchronous invocation, in bytes.
    pub request_payload: usize,
    /// MB of memory of one function.
    pub memory_size: u32,
    /// Seconds that one invocation may take.
    pub timeout: u32,
    /// MB of `/tmp`.
    pub ephemeral_storage: u32,
    /// Layers of one function.
    pub layers: usize,
    /// Tags of one resource.
    pub tags: usize,
    /// Capacity providers in a region of an account.
    pub capacity_providers: usize,
    /// Versions of functions on one capacity provider.
    pub function_versions_per_capacity_provider: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_executions: 1000,
            minimum_unreserved_concurrency: 100,
            invocation_rate: 10,
            total_code_size: 80_530_636_800,
            code_size_zipped: 52_428_800,
            code_size_unzipped: 262_144_000,
            environment_size: 4096,
            request_payload: 6_291_456,
            memory_size: 10_240,
            timeout: 900,
            ephemeral_storage: 10_240,
            layers: 5,
            tags: 50,
            capacity_providers: 1000,
            function_versions_per_capacity_provider: 100,
        }
    }
}
