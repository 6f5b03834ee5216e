//! Debug mode: functions that a person steps through have an hour where others have seconds.
//!
//! Must not know how a debugger is attached: that is the executor's affair.

use std::{collections::BTreeMap, time::Duration};

use hothouse_api::name::Version;

use crate::spec::FunctionSpec;

/// Start-up and invocations of a debugged function may take this long.
pub const LIMIT: Duration = Duration::from_secs(3600);

/// Which functions are debugged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DebugMode {
    /// None.
    #[default]
    Off,
    /// All of them; each debugger gets a free port.
    All,
    /// Those that a file names.
    Functions(BTreeMap<DebugTarget, Debugging>),
}

/// A function that a file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebugTarget {
    /// Unqualified ARN.
    pub function_arn: String,
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
            DebugMode::Functions(functions) => {
                let FunctionSpec { account, region, function_name, version, .. } = spec;
                let target = DebugTarget {
                    function_arn: format!("arn:aws:lambda:{region}:{account}:function:{function_name}"),
                    version: *version,
                };
                functions.get(&target).copied()
            }
        }
    }
}
