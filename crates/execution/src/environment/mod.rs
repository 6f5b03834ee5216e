//! One execution environment: its identity, its state machine, and the task that owns it.

pub mod env_vars;
pub(crate) mod state;
mod task;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use serde::Serialize;

use crate::spec::FunctionSpec;

pub(crate) use task::run;

/// 32 lower-case hex digits, random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnvironmentId(u128);

impl EnvironmentId {
    /// A new one.
    pub fn random() -> EnvironmentId {
        EnvironmentId(fastrand::u128(..))
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvironmentId({self})")
    }
}

/// The text is not 32 lower-case hex digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an environment id (32 hex digits)")]
pub struct ParseEnvironmentIdError(String);

impl FromStr for EnvironmentId {
    type Err = ParseEnvironmentIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(EnvironmentId(u128::from_str_radix(text, 16).expect("32 hex digits fit")))
        } else {
            Err(ParseEnvironmentIdError(text.to_owned()))
        }
    }
}

/// Why an environment was started (`AWS_LAMBDA_INITIALIZATION_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitializationType {
    /// An invocation wanted one.
    OnDemand,
    /// Kept ready whether or not anyone invokes.
    ProvisionedConcurrency,
}

impl InitializationType {
    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            InitializationType::OnDemand => "on-demand",
            InitializationType::ProvisionedConcurrency => "provisioned-concurrency",
        }
    }
}

/// The status that users see in `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The place is being made, or INIT runs.
    Starting,
    /// Idle; the next invocation finds it warm.
    Ready,
    /// Idle without a process: the next invocation begins with INIT.
    Cold,
    /// Works on an invocation.
    Invoking,
    /// Its processes are being ended.
    Stopping,
}

/// What the rest of the engine may know of a living environment.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: EnvironmentId,
    pub(crate) spec: Arc<FunctionSpec>,
    pub(crate) started: SystemTime,
    status: AtomicU8,
    invocations: AtomicU64,
}

impl Shared {
    pub(crate) fn new(id: EnvironmentId, spec: Arc<FunctionSpec>, started: SystemTime) -> Shared {
        Shared { id, spec, started, status: AtomicU8::new(0), invocations: AtomicU64::new(0) }
    }

    pub(crate) fn set(&self, status: Status) {
        let code = match status {
            Status::Starting => 0,
            Status::Ready => 1,
            Status::Cold => 2,
            Status::Invoking => 3,
            Status::Stopping => 4,
        };
        let before = self.status.swap(code, Ordering::Relaxed);
        if code == 3 && before != 3 {
            self.invocations.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn status(&self) -> Status {
        match self.status.load(Ordering::Relaxed) {
            0 => Status::Starting,
            1 => Status::Ready,
            2 => Status::Cold,
            3 => Status::Invoking,
            _ => Status::Stopping,
        }
    }

    pub(crate) fn invocations(&self) -> u64 {
        self.invocations.load(Ordering::Relaxed)
    }
}
