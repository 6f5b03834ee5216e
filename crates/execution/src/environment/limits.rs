//! The time limits of an environment's phases.
//!
//! Must not wait for anything: the state machine asks, the task's clock answers.

use std::time::Duration;

use super::InitializationType;
use crate::{
    debug::{self, Debugging},
    engine::EngineConfig,
    spec::FunctionSpec,
};

/// INIT of an on-demand environment may take this long (AWS: Lambda execution environment, INIT phase).
const INIT: Duration = Duration::from_secs(10);

/// INIT of provisioned concurrency and for a snapshot may take this long, or as long as the function's timeout if that is more.
const LONG_INIT: Duration = Duration::from_secs(130);

/// RESTORE may take this long from the moment at which the runtime goes on (AWS: SnapStart, runtime hooks).
pub(super) const RESTORE: Duration = Duration::from_secs(10);

/// An idle environment runs on for so long before it is frozen. AWS freezes at once; the wait spares a function that
/// is invoked again and again the cost of being frozen and thawed each time.
const FREEZE_AFTER: Duration = Duration::from_millis(10);

/// The SHUTDOWN phase, as extensions have it (AWS: Lambda execution environment, shutdown phase).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShutdownTime {
    /// What the runtime may use to end by itself.
    pub(crate) runtime: Duration,
    /// What all have.
    pub(crate) total: Duration,
}

impl ShutdownTime {
    /// Without extensions the runtime is killed at once.
    pub(crate) const NONE: ShutdownTime = ShutdownTime { runtime: Duration::ZERO, total: Duration::ZERO };

    /// With extensions, if there are some (`any`), and with external ones (`external`).
    pub(crate) fn with(any: bool, external: bool) -> ShutdownTime {
        let milliseconds = |runtime, total| ShutdownTime {
            runtime: Duration::from_millis(runtime),
            total: Duration::from_millis(total),
        };
        match (any, external) {
            // AWS's emulator gives the runtime 30 percent of the time; the guide says 300 ms of 2 s.
            (_, true) => milliseconds(600, 2000),
            (true, false) => milliseconds(500, 500),
            (false, false) => ShutdownTime::NONE,
        }
    }
}

/// The limits that the state machine applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) initialization: InitializationType,
    /// Whether the environment is to be the template of others, after INIT.
    pub(crate) template: bool,
    /// The first INIT.
    pub(crate) init: Duration,
    /// Making the place and the first INIT together.
    pub(crate) ceiling: Duration,
    /// An invocation.
    pub(crate) timeout: Duration,
    /// The SHUTDOWN phase. It depends on the extensions, so the environment's task keeps it up to date.
    pub(crate) shutdown: ShutdownTime,
    /// How long an idle environment stays awake; `None` is for ever.
    pub(crate) freeze_after: Option<Duration>,
    /// How long an invocation lingers before it is answered.
    pub(crate) post_invoke_wait: Duration,
}

impl Limits {
    /// Whether the environment comes from a snapshot: what it does before it serves is RESTORE.
    pub(crate) fn restores(&self) -> bool {
        self.initialization == InitializationType::SnapStart && !self.template
    }

    pub(crate) fn new(
        spec: &FunctionSpec,
        config: &EngineConfig,
        initialization: InitializationType,
        template: bool,
        debugging: Option<Debugging>,
    ) -> Limits {
        let (init, ceiling) = match initialization {
            InitializationType::OnDemand => (INIT, config.startup_timeout),
            // AWS allows it more than our ceiling does.
            InitializationType::ProvisionedConcurrency => {
                let init = spec.timeout.max(LONG_INIT);
                (init, config.startup_timeout.max(init))
            }
            InitializationType::SnapStart => {
                let init = spec.timeout.max(LONG_INIT);
                (init, config.startup_timeout.max(init + RESTORE))
            }
        };
        let limits = Limits {
            initialization,
            template,
            init,
            ceiling,
            timeout: spec.timeout,
            shutdown: ShutdownTime::NONE,
            // What is frozen cannot be copied.
            freeze_after: (config.freeze && !template).then_some(FREEZE_AFTER),
            post_invoke_wait: config.post_invoke_wait,
        };
        match debugging {
            None => limits,
            // A debugger that finds a frozen process finds nothing.
            Some(Debugging { enforce_timeouts: true, .. }) => Limits { freeze_after: None, ..limits },
            Some(_) => Limits {
                init: debug::LIMIT,
                ceiling: debug::LIMIT,
                timeout: debug::LIMIT,
                freeze_after: None,
                ..limits
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::fixtures;

    fn limits(initialization: InitializationType, debugging: Option<Debugging>) -> Limits {
        let mut spec = fixtures::spec("python3.12");
        spec.timeout = Duration::from_secs(7);
        Limits::new(&spec, &EngineConfig::default(), initialization, false, debugging)
    }

    #[test]
    fn on_demand_has_ten_seconds_for_init_and_twenty_for_all() {
        let limits = limits(InitializationType::OnDemand, None);
        assert_eq!((limits.init.as_secs(), limits.ceiling.as_secs(), limits.timeout.as_secs()), (10, 20, 7));
        assert!(limits.freeze_after.is_some() && limits.shutdown == ShutdownTime::NONE);
    }

    #[test]
    fn provisioned_concurrency_has_more_for_init() {
        let limits = limits(InitializationType::ProvisionedConcurrency, None);
        assert_eq!(
            (limits.init.as_secs(), limits.ceiling.as_secs(), limits.timeout.as_secs()),
            (130, 130, 7)
        );
    }

    #[test]
    fn a_debugged_function_has_an_hour_and_is_not_frozen() {
        let debugged = limits(InitializationType::OnDemand, Some(Debugging::default()));
        assert_eq!([debugged.init, debugged.ceiling, debugged.timeout], [debug::LIMIT; 3]);
        let enforced = Debugging { enforce_timeouts: true, ..Debugging::default() };
        let enforced = limits(InitializationType::OnDemand, Some(enforced));
        assert_eq!((enforced.init.as_secs(), enforced.timeout.as_secs()), (10, 7));
        assert!(debugged.freeze_after.is_none() && enforced.freeze_after.is_none());
    }
}
