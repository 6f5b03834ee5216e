//! What functions do, in numbers: counted here and nowhere else, by function, by version or alias, and by account.
//!
//! Whoever counts takes a lock that is his alone for as long as two additions take. Values are kept by the minute until
//! someone takes them away ([`Metrics::take`]), and as totals since the service started. Must not know who reads them.

mod cells;
mod distribution;
mod meter;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hothouse_api::name::{self, FunctionName, Qualifier};

use crate::state::model::{FunctionKey, Scope};
pub(crate) use cells::Cells;
pub use distribution::Distribution;
pub(crate) use meter::{Account, Counted, Leaf};
pub use meter::{FunctionMeters, MetersPlace};

/// What is counted or measured. The first ones are AWS's, by their names
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Times that a function was run, whatever came of it.
    Invocations,
    /// 1 for a function that failed, timed out or crashed; 0 for one that did not.
    Errors,
    /// 1 for an invocation that was refused since too much runs; 0 for one that was not.
    Throttles,
    /// Milliseconds that a function worked on an event.
    Duration,
    /// Milliseconds that extensions went on after the function was done.
    PostRuntimeExtensionsDuration,
    /// Invocations at once.
    ConcurrentExecutions,
    /// Of them, those that no reservation has room for.
    UnreservedConcurrentExecutions,
    /// Concurrency that is not to be had any more: used without reservation, reserved, or provisioned.
    ClaimedAccountConcurrency,
    /// Invocations at once in provisioned environments.
    ProvisionedConcurrentExecutions,
    /// Invocations in provisioned environments.
    ProvisionedConcurrencyInvocations,
    /// Invocations that found all provisioned environments in use.
    ProvisionedConcurrencySpilloverInvocations,
    /// The used part of what is provisioned.
    ProvisionedConcurrencyUtilization,
    /// Events that were accepted for asynchronous invocation.
    AsyncEventsReceived,
    /// Milliseconds from the acceptance of an event to its attempt.
    AsyncEventAge,
    /// Events that were given up.
    AsyncEventsDropped,
    /// Records that did not reach their destination.
    DestinationDeliveryFailures,
    /// Events that did not reach their dead-letter queue.
    DeadLetterErrors,
    /// Invocations that were stopped since a function led to itself again and again.
    RecursiveInvocationsDropped,
    /// Milliseconds from the writing of a stream's record to its reading.
    IteratorAge,
    /// Not AWS's: milliseconds that INIT took in environments that invocations waited for.
    InitDuration,
}

impl Metric {
    /// AWS's name and unit, if it has this one.
    pub fn of_aws(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Invocations => ("Invocations", "Count"),
            Self::Errors => ("Errors", "Count"),
            Self::Throttles => ("Throttles", "Count"),
            Self::Duration => ("Duration", "Milliseconds"),
            Self::PostRuntimeExtensionsDuration => ("PostRuntimeExtensionsDuration", "Milliseconds"),
            Self::ConcurrentExecutions => ("ConcurrentExecutions", "Count"),
            Self::UnreservedConcurrentExecutions => ("UnreservedConcurrentExecutions", "Count"),
            Self::ClaimedAccountConcurrency => ("ClaimedAccountConcurrency", "Count"),
            Self::ProvisionedConcurrentExecutions => ("ProvisionedConcurrentExecutions", "Count"),
            Self::ProvisionedConcurrencyInvocations => ("ProvisionedConcurrencyInvocations", "Count"),
            Self::ProvisionedConcurrencySpilloverInvocations => {
                ("ProvisionedConcurrencySpilloverInvocations", "Count")
            }
            Self::ProvisionedConcurrencyUtilization => ("ProvisionedConcurrencyUtilization", "Count"),
            Self::AsyncEventsReceived => ("AsyncEventsReceived", "Count"),
            Self::AsyncEventAge => ("AsyncEventAge", "Milliseconds"),
            Self::AsyncEventsDropped => ("AsyncEventsDropped", "Count"),
            Self::DestinationDeliveryFailures => ("DestinationDeliveryFailures", "Count"),
            Self::DeadLetterErrors => ("DeadLetterErrors", "Count"),
            Self::RecursiveInvocationsDropped => ("RecursiveInvocationsDropped", "Count"),
            Self::IteratorAge => ("IteratorAge", "Milliseconds"),
            Self::InitDuration => return None,
        })
    }
}

/// Everything that is counted. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    accounts: Mutex<HashMap<Scope, Arc<Account>>>,
    functions: Mutex<HashMap<FunctionKey, Arc<FunctionMeters>>>,
}

/// What numbers are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// All functions of a region of an account.
    Account,
    /// One function with all its versions.
    Function(FunctionName),
    /// What was invoked of a function.
    Resource {
        /// The function.
        name: FunctionName,
        /// As the caller named it.
        qualifier: Option<Qualifier>,
        /// Which version it came to, where an alias leads to two.
        executed: Option<name::Version>,
    },
}

/// The values of one metric in one minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Whose function it is.
    pub scope: Scope,
    /// What it is about. Numbers about a resource are also about its function and its account, but for
    /// [`Metric::ConcurrentExecutions`], which has samples of each.
    pub subject: Subject,
    /// What was counted.
    pub metric: Metric,
    /// Minutes since the epoch.
    pub minute: i64,
    /// The values.
    pub values: Distribution,
}

/// What was counted about one subject since the service started.
#[derive(Debug, Clone)]
pub struct Total {
    /// Whose function it is.
    pub scope: Scope,
    /// What it is about.
    pub subject: Subject,
    /// Invocations now.
    pub running: u32,
    /// All values of each metric.
    pub values: Vec<(Metric, Distribution)>,
}

impl Metrics {
    /// A function's meters. The function itself keeps them while it lives.
    pub(crate) fn function(&self, key: &FunctionKey) -> Arc<FunctionMeters> {
        if let Some(meters) = lock(&self.inner.functions).get(key) {
            return Arc::clone(meters);
        }
        let account = self.account(&key.scope);
        let mut functions = lock(&self.inner.functions);
        let make = || Arc::new(FunctionMeters::new(key.name.clone(), account));
        Arc::clone(functions.entry(key.clone()).or_insert_with(make))
    }

    pub(crate) fn account(&self, scope: &Scope) -> Arc<Account> {
        let mut accounts = lock(&self.inner.accounts);
        match accounts.get(scope) {
            Some(account) => Arc::clone(account),
            None => Arc::clone(accounts.entry(scope.clone()).or_default()),
        }
    }

    /// Takes away the values that were not taken before: each is given once.
    pub fn take(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let functions: Vec<_> = lock(&self.inner.functions)
            .iter()
            .map(|(key, meters)| (key.clone(), Arc::clone(meters)))
            .collect();
        let mut push = |scope: &Scope, subject: &Subject, cells: &Cells| {
            for (minute, metric, values) in cells.take() {
                let (scope, subject) = (scope.clone(), subject.clone());
                samples.push(Sample { scope, subject, metric, minute, values });
            }
        };
        for (key, meters) in functions {
            push(&key.scope, &Subject::Function(key.name.clone()), &meters.cells);
            for leaf in meters.leaves() {
                push(&key.scope, &leaf.subject, &leaf.cells);
            }
        }
        for (scope, account) in self.accounts() {
            push(&scope, &Subject::Account, &account.cells);
        }
        // Nobody counts for functions that are gone: what they had is taken.
        lock(&self.inner.functions).retain(|_, meters| Arc::strong_count(meters) > 1 || !meters.is_taken());
        lock(&self.inner.accounts)
            .retain(|_, account| Arc::strong_count(account) > 1 || !account.cells.is_taken());
        samples
    }

    /// What was counted since the service started.
    pub fn totals(&self) -> Vec<Total> {
        let functions: Vec<_> = lock(&self.inner.functions)
            .iter()
            .map(|(key, meters)| (key.scope.clone(), Arc::clone(meters)))
            .collect();
        let of_leaf = |scope: &Scope, leaf: &Leaf| Total {
            scope: scope.clone(),
            subject: leaf.subject.clone(),
            running: leaf.running(),
            values: leaf.cells.totals(),
        };
        let mut totals: Vec<_> = functions
            .iter()
            .flat_map(|(scope, meters)| meters.leaves().into_iter().map(move |leaf| of_leaf(scope, &leaf)))
            .collect();
        totals.extend(self.accounts().into_iter().map(|(scope, account)| Total {
            scope,
            subject: Subject::Account,
            running: account.running(),
            values: account.cells.totals(),
        }));
        totals
    }

    pub(crate) fn accounts(&self) -> Vec<(Scope, Arc<Account>)> {
        lock(&self.inner.accounts)
            .iter()
            .map(|(scope, account)| (scope.clone(), Arc::clone(account)))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave the data half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
