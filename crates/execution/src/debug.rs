//! Debug mode: functions that a person steps through have an hour where others have seconds.
//!
//! Must not know how a debugger is attached: that is the executor's affair.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hothouse_api::{arn::FunctionArn, name::Version};

use crate::spec::FunctionSpec;

/// Start-up and invocations of a debugged function may take this long.
pub const LIMIT: Duration = Duration::from_secs(3600);

/// Which functions are debugged.
#[derive(Debug, Clone, Default)]
pub enum DebugMode {
    /// None.
    #[default]
    Off,
    /// All of them; each debugger gets a free port.
    All,
    /// Those that a file names.
    Functions(DebugFunctions),
}

/// The functions that a file names. Clones are one and the same: a change is seen by all, and holds for environments
/// that are made after it.
#[derive(Debug, Clone, Default)]
pub struct DebugFunctions {
    functions: Arc<RwLock<BTreeMap<DebugTarget, Debugging>>>,
}

/// A function that a file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebugTarget {
    /// Unqualified ARN.
    pub function_arn: FunctionArn,
    /// The version, `$LATEST` unless the ARN had a qualifier.
    pub version: Version,
}

/// How a function is debugged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debugging {
    /// Port of the host's loopback at which the debugger is reached; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether the function's own limits hold nevertheless.
    pub enforce_timeouts: bool,
}

impl DebugMode {
    /// How this version is debugged, if it is.
    pub fn of(&self, spec: &FunctionSpec) -> Option<Debugging> {
        match self {
            DebugMode::Off => None,
            DebugMode::All => Some(Debugging::default()),
            DebugMode::Functions(functions) => functions.of(spec),
        }
    }
}

impl DebugFunctions {
    /// These functions instead of those before.
    pub fn replace(&self, functions: BTreeMap<DebugTarget, Debugging>) {
        *self.functions.write().unwrap_or_else(PoisonError::into_inner) = functions;
    }

    fn of(&self, spec: &FunctionSpec) -> Option<Debugging> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        // Of all invocations, only those with a file to look into pay for the key.
        if functions.is_empty() {
            return None;
        }
        let function_arn = FunctionArn::new(spec.account, spec.region.clone(), spec.function_name.clone());
        functions.get(&DebugTarget { function_arn, version: spec.version }).copied()
    }
}

impl From<BTreeMap<DebugTarget, Debugging>> for DebugFunctions {
    fn from(functions: BTreeMap<DebugTarget, Debugging>) -> Self {
        Self { functions: Arc::new(RwLock::new(functions)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::fixtures;

    fn target(arn: &str, version: Version) -> DebugTarget {
        DebugTarget { function_arn: arn.parse().unwrap(), version }
    }

    #[test]
    fn a_version_is_debugged_by_its_own_entry_alone() {
        let spec = fixtures::spec("python3.12");
        let FunctionSpec { account, region, function_name, version, .. } = &spec;
        let arn = FunctionArn::new(*account, region.clone(), function_name.clone()).to_string();
        let debugging = Debugging { port: Some(5678), enforce_timeouts: true };
        let other = match version {
            Version::Latest => Version::Number(1),
            Version::LatestPublished | Version::Number(_) => Version::Latest,
        };

        let functions = DebugFunctions::from(BTreeMap::from([(target(&arn, other), debugging)]));
        let mode = DebugMode::Functions(functions.clone());
        assert_eq!(mode.of(&spec), None);
        functions.replace(BTreeMap::from([(target(&arn, *version), debugging)]));
        assert_eq!(mode.of(&spec), Some(debugging), "a clone sees the change");
        functions.replace(BTreeMap::from([(target(&format!("{arn}2"), *version), debugging)]));
        assert_eq!(mode.of(&spec), None);
    }

    #[test]
    fn all_functions_are_debugged_with_their_limits_lifted() {
        let spec = fixtures::spec("nodejs22.x");
        assert_eq!(DebugMode::All.of(&spec), Some(Debugging { port: None, enforce_timeouts: false }));
        assert_eq!(DebugMode::Off.of(&spec), None);
    }
}
