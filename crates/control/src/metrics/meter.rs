//! The meters of functions and accounts: what runs now, and the numbers about what ran.
//!
//! Must not decide what may run.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use hothouse_api::{
    name::{self, FunctionName, Qualifier},
    timestamp::Timestamp,
};
use hothouse_execution::invocation::{Finished, Meter};

use super::{Cells, Metric, Metrics, Subject, lock};
use crate::{admission::AccountPool, state::model::FunctionKey};

/// Versions and aliases of one function that have numbers of their own. Those of one more than these take the place of
/// others that do not run.
const LEAVES: usize = 1000;

/// All functions of a region of an account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What may run.
    pub(crate) pool: AccountPool,
    running: AtomicU32,
    pub(crate) cells: Cells,
}

impl Account {
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    fn record(&self, now: i64, running: f64) {
        let (unreserved, claimed) = self.pool.in_use();
        let values = [
            (Metric::ConcurrentExecutions, running),
            (Metric::UnreservedConcurrentExecutions, f64::from(unreserved)),
            (Metric::ClaimedAccountConcurrency, f64::from(claimed)),
        ];
        self.cells.record(now, &values);
    }

    /// Takes down what is in use, as nobody else does while nothing is invoked.
    pub(crate) fn sample(&self, now: i64) {
        let running = self.running();
        if running > 0 || self.pool.in_use() != (0, 0) {
            self.record(now, f64::from(running));
        }
    }
}

/// One function.
#[derive(Debug)]
pub struct FunctionMeters {
    name: FunctionName,
    account: Arc<Account>,
    running: AtomicU32,
    /// Only what is not the sum of what its leaves have.
    pub(super) cells: Cells,
    leaves: Mutex<HashMap<Option<Qualifier>, Vec<Arc<Leaf>>>>,
}

/// What was invoked of a function.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(super) subject: Subject,
    executed: Option<name::Version>,
    running: AtomicU32,
    pub(crate) cells: Cells,
}

impl Leaf {
    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

impl Meter for Leaf {
    fn finished(&self, finished: Finished) {
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        let begun = Timestamp::from(finished.begun).as_millis();
        let errors = f64::from(u8::from(finished.failed));
        let values = [
            (Metric::Invocations, 1.0),
            (Metric::Errors, errors),
            (Metric::Throttles, 0.0),
            (Metric::Duration, millis(finished.duration)),
        ];
        self.cells.record(begun, &values);
        if let Some(init) = finished.init {
            self.cells.record(begun, &[(Metric::InitDuration, millis(init))]);
        }
    }
}

impl FunctionMeters {
    pub(super) fn new(name: FunctionName, account: Arc<Account>) -> Self {
        Self { name, account, running: AtomicU32::new(0), cells: Cells::default(), leaves: Mutex::default() }
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// What was invoked: as the caller named it, and the version that it came to where that is not the same each time.
    pub(crate) fn leaf(&self, qualifier: &Option<Qualifier>, executed: Option<name::Version>) -> Arc<Leaf> {
        let mut leaves = lock(&self.leaves);
        if let Some(known) =
            leaves.get(qualifier).and_then(|known| known.iter().find(|leaf| leaf.executed == executed))
        {
            return Arc::clone(known);
        }
        if leaves.values().map(Vec::len).sum::<usize>() >= LEAVES {
            leaves.retain(|_, leaves| {
                leaves.retain(|leaf| leaf.running() > 0 || !leaf.cells.is_taken());
                !leaves.is_empty()
            });
        }
        let subject = Subject::Resource { name: self.name.clone(), qualifier: qualifier.clone(), executed };
        let leaf = Arc::new(Leaf { subject, executed, running: AtomicU32::new(0), cells: Cells::default() });
        leaves.entry(qualifier.clone()).or_default().push(Arc::clone(&leaf));
        leaf
    }

    pub(super) fn leaves(&self) -> Vec<Arc<Leaf>> {
        lock(&self.leaves).values().flatten().cloned().collect()
    }

    pub(super) fn is_taken(&self) -> bool {
        self.cells.is_taken() && lock(&self.leaves).values().flatten().all(|leaf| leaf.cells.is_taken())
    }
}

/// One invocation that runs; counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Counted {
    meters: Arc<FunctionMeters>,
    leaf: Arc<Leaf>,
}

impl Counted {
    /// Counts one more.
    pub(crate) fn enter(meters: Arc<FunctionMeters>, leaf: Arc<Leaf>, now: i64) -> Self {
        let more = |running: &AtomicU32| f64::from(running.fetch_add(1, Ordering::Relaxed) + 1);
        let at_once = |running| [(Metric::ConcurrentExecutions, more(running))];
        leaf.cells.record(now, &at_once(&leaf.running));
        meters.cells.record(now, &at_once(&meters.running));
        meters.account.record(now, more(&meters.account.running));
        Self { meters, leaf }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for running in [&self.leaf.running, &self.meters.running, &self.meters.account.running] {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A function's place for its [`FunctionMeters`], so that they need not be looked up each time. Clones share it.
#[derive(Clone, Default)]
pub struct MetersPlace(Arc<OnceLock<Arc<FunctionMeters>>>);

impl MetersPlace {
    pub(crate) fn get(&self, metrics: &Metrics, key: &FunctionKey) -> &Arc<FunctionMeters> {
        self.0.get_or_init(|| metrics.function(key))
    }
}

/// What was counted says nothing about what a function is.
impl PartialEq for MetersPlace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for MetersPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetersPlace")
    }
}
