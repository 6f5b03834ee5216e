//! Which invocations may run: what is provisioned, what is reserved, and what is left of the account's concurrency.
//!
//! Must not queue: who finds no room is told so at once (AWS: "Understanding Lambda function scaling"). How many
//! environments the machine bears, and how fast there may be more of them, is the engine's.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use hothouse_api::name::{self, Qualifier};

use crate::{
    account::claimed_concurrency,
    control::Control,
    metrics::{Counted, Leaf, Metric},
    provisioned,
    state::{
        Change, Event, Setting, SettingKind, State,
        model::{Function, FunctionKey, Version},
    },
};

/// Invocations of one kind that run now, and how fast they come. Clones share the count.
#[derive(Clone, Default)]
pub struct Running(Arc<Use>);

#[derive(Default)]
struct Use {
    count: AtomicU32,
    rate: Rate,
}

/// One running invocation; counted for as long as this lives.
#[derive(Debug)]
struct Permit(Running);

/// What one more invocation met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// As many run as may.
    Concurrency,
    /// More have come than may within a second.
    Rate,
}

impl Running {
    /// Counts one more, unless there are as many as may be.
    fn enter(&self, most: u32, pace: Option<Pace>) -> Result<Permit, Full> {
        let permit = self.count();
        if permit.0.now() > most {
            return Err(Full::Concurrency);
        }
        match pace {
            Some(pace) if !self.0.rate.take(pace.now, pace.for_each.saturating_mul(most.into())) => {
                Err(Full::Rate)
            }
            _ => Ok(permit),
        }
    }

    /// Counts one more, however many there are.
    fn count(&self) -> Permit {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Permit(self.clone())
    }

    fn now(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What runs says nothing about what a function is.
impl PartialEq for Running {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.now())
    }
}

/// How many invocations may come within a second: all of them at once, then as time passes. What it keeps is when it
/// will have room for all of them again, in nanoseconds.
#[derive(Debug, Default)]
struct Rate(AtomicU64);

impl Rate {
    fn take(&self, now: u64, per_second: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let each = SECOND / per_second.max(1);
        let one_more = |full_at: u64| {
            let next = full_at.max(now) + each;
            (next - now <= SECOND).then_some(next)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

/// The rate at which synchronous invocations may come.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Nanoseconds since the service started.
    now: u64,
    /// Invocations within a second, for each that may run at once.
    for_each: u64,
}

/// What the functions of an account's region share, without those that have something of their own.
#[derive(Debug, Default)]
pub(crate) struct AccountPool {
    unreserved: Running,
    /// What is reserved or provisioned, and so not in the pool.
    claimed: AtomicU32,
    /// Whether `claimed` is to be believed.
    known: AtomicBool,
}

impl AccountPool {
    /// Invocations without reservation now, and those together with what is reserved or provisioned.
    pub(crate) fn in_use(&self) -> (u32, u32) {
        let unreserved = self.unreserved.now();
        (unreserved, unreserved.saturating_add(self.claimed.load(Ordering::Relaxed)))
    }

    /// What is reserved or provisioned. Looking through all functions is left to the first who asks after a change.
    pub(crate) fn claimed(&self, state: &State, key: &crate::state::model::Scope) -> u32 {
        if !self.known.swap(true, Ordering::Relaxed) {
            self.claimed.store(claimed_concurrency(state, key), Ordering::Relaxed);
        }
        self.claimed.load(Ordering::Relaxed)
    }
}

/// To be called when changes have been made.
pub(crate) fn follow(control: &Control, changes: &[Change]) {
    for change in changes {
        let Change::Function { key, event } = change else { continue };
        let claims = match event {
            Event::ConcurrencyReserved { .. }
            | Event::AliasDeleted { .. }
            | Event::VersionDeleted { .. }
            | Event::Deleted
            | Event::SettingRemoved { kind: SettingKind::ProvisionedConcurrency, .. } => true,
            Event::SettingPut { setting, .. } => matches!(**setting, Setting::ProvisionedConcurrency(_)),
            _ => false,
        };
        if claims {
            control.metrics().account(&key.scope).pool.known.store(false, Ordering::Relaxed);
        }
    }
}

/// Why an invocation may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What is reserved for the function is in use.
    Reserved,
    /// It is invoked faster than what is reserved for it allows.
    ReservedRate,
    /// What functions without reservation share is in use.
    Unreserved,
    /// They are invoked faster than that allows.
    Rate,
}

impl Refusal {
    /// AWS's `Reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
            Self::Unreserved => "ConcurrentInvocationLimitExceeded",
            Self::Rate => "FunctionInvocationRateLimitExceeded",
        }
    }

    /// Whether another try a second later may well be let in, however long the others run.
    pub(crate) fn passes(self) -> bool {
        matches!(self, Self::ReservedRate | Self::Rate)
    }
}

/// Whether an invocation counts against the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It does: its caller waits for it.
    Caller,
    /// It does not: the queue of events paces itself.
    Queue,
}

/// An invocation that may run. It is counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Ticket {
    _counted: Counted,
    _permits: [Option<Permit>; 2],
}

/// What is invoked.
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a FunctionKey,
    pub(crate) function: &'a Function,
    pub(crate) version: &'a Version,
    pub(crate) qualifier: &'a Option<Qualifier>,
    pub(crate) origin: Origin,
}

/// Where an invocation's numbers go.
pub(crate) fn leaf(control: &Control, asked: &Asked<'_>) -> Arc<Leaf> {
    let Asked { key, function, version, qualifier, .. } = asked;
    let executed = |name: &name::AliasName| {
        let weighted = function.aliases.get(name).is_some_and(|alias| alias.additional.is_some());
        weighted.then_some(version.version)
    };
    let executed = match qualifier {
        Some(Qualifier::Alias(name)) => executed(name),
        _ => None,
    };
    function.meters.get(control.metrics(), key).leaf(qualifier, executed)
}

/// Lets one more invocation run, unless what may run is running: it takes what is provisioned for its version first,
/// then what is reserved for its function, or what is left for functions without a reservation.
pub(crate) fn enter(
    control: &Control,
    state: &State,
    asked: &Asked<'_>,
    leaf: &Arc<Leaf>,
) -> Result<Ticket, Refusal> {
    let Asked { key, function, version, origin, .. } = *asked;
    let now = control.now();
    let meters = function.meters.get(control.metrics(), key);
    let limits = &control.config().limits;
    let pace = (origin == Origin::Caller && limits.invocation_rate > 0)
        .then(|| Pace { now: control.uptime(), for_each: limits.invocation_rate.into() });
    let ticket = |permits| {
        let counted = Counted::enter(Arc::clone(meters), Arc::clone(leaf), now);
        Ok(Ticket { _counted: counted, _permits: permits })
    };

    let provisioned = provisioned::of_version(function, version.version);
    if provisioned > 0 {
        let running = version.environments.running();
        // Unverified: that an invocation beyond the rate goes where others can run.
        let permit = running.enter(provisioned, pace).ok();
        let in_use = f64::from(running.now());
        let mut values = vec![
            (Metric::ProvisionedConcurrentExecutions, in_use),
            (Metric::ProvisionedConcurrencyUtilization, in_use / f64::from(provisioned)),
        ];
        values.push(match permit {
            Some(_) => (Metric::ProvisionedConcurrencyInvocations, 1.0),
            None => (Metric::ProvisionedConcurrencySpilloverInvocations, 1.0),
        });
        leaf.cells.record(now, &values);
        if permit.is_some() {
            return ticket([permit, None]);
        }
    }
    match function.reserved_concurrency {
        Some(reserved) => {
            let most = reserved.saturating_sub(provisioned::total(function));
            let permit = function.running.enter(most, pace).map_err(|full| match full {
                Full::Concurrency => Refusal::Reserved,
                Full::Rate => Refusal::ReservedRate,
            })?;
            ticket([Some(permit), None])
        }
        None => {
            let pool = &meters.account().pool;
            let most = limits.concurrent_executions.saturating_sub(pool.claimed(state, &key.scope));
            let permit = pool.unreserved.enter(most, pace).map_err(|full| match full {
                Full::Concurrency => Refusal::Unreserved,
                Full::Rate => Refusal::Rate,
            })?;
            // It counts when something is reserved meanwhile.
            ticket([Some(permit), Some(function.running.count())])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let running = Running::default();
        let first = running.enter(2, None).unwrap();
        let _second = running.enter(2, None).unwrap();
        assert_eq!(running.enter(2, None).unwrap_err(), Full::Concurrency);
        assert_eq!(running.now(), 2);
        drop(first);
        assert!(running.enter(2, None).is_ok());
    }

    #[test]
    fn rate_is_a_second_of_invocations_at_once_and_then_as_time_passes() {
        let rate = Rate::default();
        let millis = |millis: u64| millis * 1_000_000;
        let taken = |now, tries: usize| (0..tries).filter(|_| rate.take(now, 10)).count();
        assert_eq!(taken(millis(5), 15), 10);
        assert_eq!(taken(millis(104), 2), 0);
        assert_eq!(taken(millis(105), 2), 1);
        assert_eq!(taken(millis(60_000), 15), 10, "no more than a second of them is saved");
    }
}
