//! What the control plane remembers of functions: plain values, without rules.
//!
//! Must not do anything but hold and compare.

pub mod capacity_provider;
pub mod code_signing;
pub mod layer;
pub mod mapping;
pub mod policy;
pub mod queued;
pub mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hothouse_api::{
    arn::FunctionArn,
    generated::{
        AcceleratorConfig, ApplicationLogLevel, Architecture, DeadLetterConfig, DurableConfig,
        FileSystemConfig, FunctionRuntimeConfig, ImageConfig, LambdaManagedInstancesCapacityProviderConfig,
        LogFormat, ResolvedS3Object, Runtime, SnapStartApplyOn, SystemLogLevel, TenancyConfig, TracingMode,
        VpcConfig,
    },
    name::{self, AccountId, AliasName, FunctionName, Qualifier, Region, RequestId},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::setting::{Setting, SettingKey, SettingKind};
use crate::{
    admission::Running, code::CodeHash, environments::Environments, event_queue::Slots, metrics::MetersPlace,
};
use layer::UsedLayer;
use queued::QueuedEvent;

/// Where a name is unique: one region of one account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

/// Names one function among all accounts and regions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionKey {
    /// Account and region.
    pub scope: Scope,
    /// The function's name, without qualifier.
    pub name: FunctionName,
}

impl FunctionKey {
    /// The function's ARN, unqualified.
    pub fn arn(&self) -> FunctionArn {
        FunctionArn::new(self.scope.account, self.scope.region.clone(), self.name.clone())
    }
}

/// One function.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// `$LATEST`.
    pub latest: Arc<Version>,
    /// `$LATEST.PUBLISHED`, if something was published there: functions on a capacity provider alone have one.
    pub latest_published: Option<Arc<Version>>,
    /// Published versions by number.
    pub versions: BTreeMap<u64, Arc<Version>>,
    /// The number that the next published version gets. Never goes back.
    pub next_version: u64,
    /// Aliases by name.
    pub aliases: BTreeMap<AliasName, Arc<Alias>>,
    /// Tags of the function.
    pub tags: BTreeMap<String, String>,
    /// Reserved concurrency, if set.
    pub reserved_concurrency: Option<u32>,
    /// What is set for it, its versions and its aliases.
    pub settings: BTreeMap<SettingKey, Arc<Setting>>,
    /// Events that asynchronous invocations are still to be attempted with.
    pub queue: HashMap<RequestId, Arc<QueuedEvent>>,
    /// What runs now.
    pub running: Running,
    /// How many of the queue's events are attempted at once.
    pub slots: Slots,
    /// What is counted of it.
    pub meters: MetersPlace,
}

impl Function {
    /// A version, if it is there.
    pub fn version(&self, version: name::Version) -> Option<&Arc<Version>> {
        match version {
            name::Version::Latest => Some(&self.latest),
            name::Version::LatestPublished => self.latest_published.as_ref(),
            name::Version::Number(number) => self.versions.get(&number),
        }
    }

    /// A setting, if it is made.
    pub fn setting(&self, kind: SettingKind, qualifier: Option<Qualifier>) -> Option<&Setting> {
        self.settings.get(&SettingKey { kind, qualifier }).map(|setting| &**setting)
    }

    /// The settings of a kind, in the order of what they are set for; only those after `after`, if given.
    pub fn settings_of(
        &self,
        kind: SettingKind,
        after: Option<Qualifier>,
    ) -> impl Iterator<Item = (Option<&Qualifier>, &Setting)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = SettingKey { kind, qualifier: after };
        let from = if from.qualifier.is_some() { Excluded(from) } else { Included(from) };
        self.settings
            .range((from, Unbounded))
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(key, setting)| (key.qualifier.as_ref(), &**setting))
    }

    /// `$LATEST` and `$LATEST.PUBLISHED`, then the published versions in ascending order.
    pub fn all_versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions_after(None)
    }

    /// The same, without those up to `after`: a page costs what is on it, however many versions there are.
    pub fn versions_after(&self, after: Option<name::Version>) -> impl Iterator<Item = &Arc<Version>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = match after {
            Some(name::Version::Number(number)) => Excluded(number),
            Some(name::Version::Latest | name::Version::LatestPublished) | None => Unbounded,
        };
        let latest = after.is_none().then_some(&self.latest);
        let published =
            self.latest_published.iter().filter(move |_| after < Some(name::Version::LatestPublished));
        let numbered = self.versions.range((from, Unbounded)).map(|(_, version)| version);
        latest.into_iter().chain(published).chain(numbered)
    }
}

/// `$LATEST` or `$LATEST.PUBLISHED` at one moment, or a published version.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Which version it is.
    pub version: name::Version,
    /// What clients compare before they change something.
    pub revision_id: Uuid,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// Where it is in its life.
    pub status: Status,
    /// A description given when publishing, in place of the configuration's.
    pub description: Option<String>,
    /// How to run it.
    pub configuration: Arc<Configuration>,
    /// What to run.
    pub code: Code,
    /// Where it runs.
    pub environments: Environments,
}

impl Version {
    /// The packages that it runs from: its own, those of its layers, and what its layers are together.
    pub fn packages(&self) -> impl Iterator<Item = CodeHash> {
        let layers = self.configuration.layers();
        let merged = if layers.len() > 1 { self.configuration.merged_layers() } else { None };
        self.code.package.hash().into_iter().chain(layers.iter().map(|layer| layer.hash)).chain(merged)
    }
}

/// `State` and `LastUpdateStatus` together: the combinations that occur.
///
/// `ActiveNonInvocable` is none of them: it is what `$LATEST` on a capacity provider is in place of `Active`. AWS also
/// knows `Failed` for functions whose resources it could not make, and updates that fail: here nothing is made that could
/// fail, but for a snapshot; and a package may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// `Pending`, without `LastUpdateStatus`: it cannot be invoked yet.
    Creating,
    /// `Active` and `InProgress`: no other update is accepted.
    Updating,
    /// `Active` and `Successful`.
    Ready,
    /// `Failed`: the package is gone, so it cannot be invoked until it gets another.
    Failed,
    /// `Failed`: its INIT did, when its snapshot was to be taken.
    InitFailed,
    /// `Inactive`: nobody has invoked it for long, so what it needs was given back.
    Idle,
    /// `Pending`, as it was `Inactive` when it was invoked.
    Restoring,
    /// `Deactivating`: on its capacity provider it is to have no environments any more.
    Deactivating,
    /// `Deactivated`: on its capacity provider it may have no environments.
    Deactivated,
    /// `Deleting`: it leaves its capacity provider, and then is no more.
    Deleting,
}

/// What `UpdateFunctionConfiguration` changes. Defaults are filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// ARN of the execution role.
    pub role: String,
    /// Absent for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Absent for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Seconds.
    pub timeout: u32,
    /// MB.
    pub memory_size: u32,
    /// Size of `/tmp`, in MB.
    pub ephemeral_storage: u32,
    /// The customer's variables; absent if none were ever sent, which is not the same as an empty map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Variables>,
    /// `TracingConfig.Mode`.
    pub tracing: TracingMode,
    /// `SnapStart.ApplyOn`.
    pub snap_start: SnapStartApplyOn,
    /// `LoggingConfig`.
    pub logging: Logging,
    /// What few functions have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare: Option<Box<Rare>>,
}

impl Configuration {
    /// Notes which VPC the function is attached to.
    pub fn set_vpc_id(&mut self, id: Option<String>) {
        if let Some(rare) = &mut self.rare {
            rare.vpc_id = id;
        }
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[UsedLayer] {
        self.rare.as_deref().map_or(&[], |rare| &rare.layers)
    }

    /// What the layers are together, in the code store. A single layer is itself.
    pub fn merged_layers(&self) -> Option<CodeHash> {
        let layers: Vec<_> = self.layers().iter().map(|layer| layer.hash).collect();
        CodeHash::of_all(&layers)
    }

    /// The ARN of the capacity provider that it is on, if it is on one.
    pub fn capacity_provider(&self) -> Option<&str> {
        self.rare.as_deref()?.managed.as_ref()?.capacity_provider_arn.as_deref()
    }

    /// Whether each tenant has environments of its own.
    pub fn isolates_tenants(&self) -> bool {
        self.rare.as_deref().is_some_and(|rare| rare.tenancy.is_some())
    }

    /// Whether invocations start durable executions.
    pub fn is_durable(&self) -> bool {
        self.rare.as_deref().is_some_and(|rare| rare.durable.is_some())
    }
}

/// Environment variables, by name. A sorted list takes a quarter of a map's memory, and there may be very many versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Variables(Box<[(Box<str>, Box<str>)]>);

impl From<BTreeMap<String, String>> for Variables {
    fn from(variables: BTreeMap<String, String>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<Variables> for BTreeMap<String, String> {
    fn from(variables: Variables) -> Self {
        variables.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// `LoggingConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logging {
    /// `Text` or `JSON`.
    pub format: LogFormat,
    /// A log group of the customer's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only with `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_level: Option<ApplicationLogLevel>,
    /// Only with `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_level: Option<SystemLogLevel>,
}

/// What few functions have, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rare {
    /// `VpcConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<VpcConfig>,
    /// The VPC that it names, if someone knew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// `DeadLetterConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterConfig>,
    /// `KMSKeyArn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// `FileSystemConfigs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_systems: Option<Vec<FileSystemConfig>>,
    /// `ImageConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageConfig>,
    /// `Layers`, lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<UsedLayer>,
    /// `AcceleratorConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<AcceleratorConfig>,
    /// `CapacityProviderConfig`, with defaults filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<LambdaManagedInstancesCapacityProviderConfig>,
    /// `DurableConfig`, with defaults filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durable: Option<DurableConfig>,
    /// `RuntimeConfig`, of functions with the runtime `custom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<FunctionRuntimeConfig>,
    /// `TenancyConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<TenancyConfig>,
}

/// The deployment package, and the instruction set that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// The instruction set.
    pub architecture: Architecture,
    /// The package.
    pub package: Package,
    /// What few requests say about it beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

impl Code {
    /// Whether it runs the same.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.architecture, &self.package) == (other.architecture, &other.package)
    }

    /// What it counts towards the account's `TotalCodeSize`, in bytes: nothing if it stays in the customer's bucket.
    pub fn counted_size(&self) -> u64 {
        match self.origin.as_deref() {
            Some(Origin { object: Some(_), .. }) => 0,
            _ => self.package.size(),
        }
    }
}

/// Where a package came from. Whatever it says, the package is kept here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// `SourceKMSKeyArn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    /// The object that is referred to, if `S3ObjectStorageMode` said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ResolvedS3Object>,
}

/// `PackageType`, with what belongs to each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Package {
    /// A zip archive in the code store.
    Zip {
        /// Its address there.
        hash: CodeHash,
        /// Its size, in bytes.
        size: u64,
        /// The size of its content, in bytes. Older programs did not write it down.
        #[serde(default)]
        unzipped_size: u64,
    },
    /// A container image.
    Image {
        /// `ImageUri`, as sent.
        uri: String,
    },
}

impl Package {
    /// The archive's hash, if it is one.
    pub fn hash(&self) -> Option<CodeHash> {
        match self {
            Self::Zip { hash, .. } => Some(*hash),
            Self::Image { .. } => None,
        }
    }

    /// The size of the archive, in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Zip { size, .. } => *size,
            Self::Image { .. } => 0,
        }
    }

    /// What it takes when it is extracted, in bytes.
    pub fn unzipped_size(&self) -> u64 {
        match self {
            Self::Zip { unzipped_size, .. } => *unzipped_size,
            Self::Image { .. } => 0,
        }
    }
}

/// A name for a version, or for two with a share of the invocations each.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// `FunctionVersion`.
    pub version: name::Version,
    /// Free text.
    pub description: String,
    /// The other version.
    pub additional: Option<AdditionalVersion>,
    /// What clients compare before they change the alias.
    pub revision_id: Uuid,
}

/// `AdditionalVersionWeights`: AWS allows one entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdditionalVersion {
    /// A published version.
    pub number: u64,
    /// Its share of the invocations, from 0 to 1.
    pub weight: f64,
}
