//! One execution environment: its identity, its state machine, and the task that owns it.

pub mod env_vars;
mod limits;
pub(crate) mod state;
mod task;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
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
    /// For the snapshot of a version, or from it.
    SnapStart,
}

impl InitializationType {
    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            InitializationType::OnDemand => "on-demand",
            InitializationType::ProvisionedConcurrency => "provisioned-concurrency",
            InitializationType::SnapStart => "snap-start",
        }
    }
}

/// The status that users see in `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Status {
    /// Without a process: it has not been started, or was reset; an invocation begins with INIT.
    Inactive,
    /// The place is being made, or INIT runs.
    Starting,
    /// Idle; the next invocation finds it warm.
    Ready,
    /// Works on an invocation.
    Invoking,
    /// It was idle for longer than the keep-alive, and is being stopped.
    TimingOut,
    /// Over, or about to be.
    Stopped,
    /// Its runtime is the template of others; nobody is served.
    Template,
    /// It could not be started; an on-demand environment whose INIT failed tries again in the next invocation.
    StartupFailed,
    /// As above, because it took too long.
    StartupTimedOut,
}

impl Status {
    const ALL: [Status; 9] = [
        Status::Inactive,
        Status::Starting,
        Status::Ready,
        Status::Invoking,
        Status::TimingOut,
        Status::Stopped,
        Status::Template,
        Status::StartupFailed,
        Status::StartupTimedOut,
    ];

    /// As `ps` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Inactive => "inactive",
            Status::Starting => "starting",
            Status::Ready => "ready",
            Status::Invoking => "invoking",
            Status::TimingOut => "timing-out",
            Status::Stopped => "stopped",
            Status::Template => "template",
            Status::StartupFailed => "startup-failed",
            Status::StartupTimedOut => "startup-timed-out",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the rest of the engine may know of a living environment.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: EnvironmentId,
    pub(crate) spec: Arc<FunctionSpec>,
    pub(crate) initialization: InitializationType,
    pub(crate) started: SystemTime,
    /// Where a debugger attaches, once there is a place.
    pub(crate) debugger_port: OnceLock<u16>,
    status: AtomicU8,
    frozen: AtomicBool,
    invocations: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        id: EnvironmentId,
        spec: Arc<FunctionSpec>,
        initialization: InitializationType,
        started: SystemTime,
    ) -> Shared {
        Shared {
            id,
            spec,
            initialization,
            started,
            debugger_port: OnceLock::new(),
            status: AtomicU8::new(Status::Inactive as u8),
            frozen: AtomicBool::new(false),
            invocations: AtomicU64::new(0),
        }
    }

    pub(crate) fn set(&self, status: Status, frozen: bool) {
        let before = self.status.swap(status as u8, Ordering::Relaxed);
        self.frozen.store(frozen, Ordering::Relaxed);
        if status == Status::Invoking && before != Status::Invoking as u8 {
            self.invocations.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status::ALL[usize::from(self.status.load(Ordering::Relaxed))]
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    pub(crate) fn invocations(&self) -> u64 {
        self.invocations.load(Ordering::Relaxed)
    }
}
