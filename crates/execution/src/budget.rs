//! How many environments of all functions there may be, and whose turn it is when there are as many.
//!
//! Environments on demand are a cache: whoever wants one when there is no room gets the place of the least recently used
//! idle one. While all are at work, first come, first served. Must not know what an environment does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use serde::Serialize;

use crate::pool::Pool;

/// So many that gave way may be ending while others start in their places. Ends take time, and nobody waits for these;
/// but what ends still has its memory.
const LEAVING: usize = 32;

/// The environments of an engine, counted.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    /// Pools that wait, for a look without the lock: warm invocations pass here.
    waiting: AtomicUsize,
    /// Invocations that have waited.
    arrivals: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    on_demand: usize,
    /// Those that nobody may take: provisioned ones, and those that a debugger may be attached to.
    kept: usize,
    /// On demand, and on their way out.
    leaving: usize,
    evicted: u64,
    /// Each pool that has an invocation without an environment to come, by the number of the first such invocation.
    waiting: BTreeMap<u64, Arc<Pool>>,
}

/// What the environments of a machine are at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetInfo {
    /// Environments that there may be.
    pub limit: usize,
    /// Environments that there are, with those that are ending.
    pub environments: usize,
    /// Functions' versions of which an invocation waits for another environment to become idle or to end.
    pub waiting: usize,
    /// Idle environments that were ended for the sake of others, since the start.
    pub evicted: u64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Budget {
        Budget { limit, state: Mutex::default(), waiting: AtomicUsize::new(0), arrivals: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave the numbers half-changed.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The number of an invocation that has to wait: later ones have higher numbers.
    pub(crate) fn arrival(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one more on demand if there is room and nobody waits for it.
    pub(crate) fn enter(&self) -> bool {
        let mut state = self.lock();
        let enters = state.waiting.is_empty() && state.has_room(self.limit);
        state.on_demand += usize::from(enters);
        enters
    }

    /// Whether one that is wanted now would be let in.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.has_room(self.limit)
    }

    /// Counts one more that is there in any case.
    pub(crate) fn keep(&self) {
        self.lock().kept += 1;
    }

    /// One has ended.
    pub(crate) fn leave(&self, kept: bool) {
        let mut state = self.lock();
        if kept {
            state.kept -= 1;
        } else {
            state.on_demand -= 1;
            // Whichever it was: as many as were told to have still to end, or have.
            state.leaving = state.leaving.saturating_sub(1);
        }
    }

    /// One that was counted is not wanted after all.
    pub(crate) fn give_back(&self) {
        self.lock().on_demand -= 1;
    }

    /// An idle one was told to end, so that its place is free.
    pub(crate) fn gave_way(&self) {
        let mut state = self.lock();
        state.leaving += 1;
        state.evicted += 1;
    }

    /// Notes for which of its invocations a pool waits, if any: before, and from now on.
    pub(crate) fn wait(&self, pool: &Arc<Pool>, before: Option<u64>, now: Option<u64>) {
        let mut state = self.lock();
        let gone = before.and_then(|number| state.waiting.remove(&number));
        if let Some(number) = now {
            state.waiting.insert(number, pool.clone());
        }
        self.waiting.store(state.waiting.len(), Ordering::Relaxed);
        drop(state);
        // It may be the last that holds the pool.
        drop(gone);
    }

    /// Whether anybody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody waits who came before this invocation.
    pub(crate) fn came_before(&self, number: u64) -> bool {
        self.is_waited_for()
            && self.lock().waiting.first_key_value().is_some_and(|(first, _)| *first < number)
    }

    /// Lets in whoever has waited longest, if there is room: counts its environment.
    pub(crate) fn admit(&self) -> Option<(u64, Arc<Pool>)> {
        let mut state = self.lock();
        let admitted = if state.has_room(self.limit) { state.waiting.pop_first() } else { None };
        state.on_demand += usize::from(admitted.is_some());
        self.waiting.store(state.waiting.len(), Ordering::Relaxed);
        admitted
    }

    /// Whether one that is idle is to give way to somebody who waits.
    pub(crate) fn wants_room(&self) -> bool {
        let state = self.lock();
        !state.waiting.is_empty() && state.leaving < LEAVING
    }

    /// All that wait; they are not let in any more.
    pub(crate) fn dismiss(&self) -> Vec<Arc<Pool>> {
        let all = std::mem::take(&mut self.lock().waiting);
        self.waiting.store(0, Ordering::Relaxed);
        all.into_values().collect()
    }

    pub(crate) fn info(&self) -> BudgetInfo {
        let state = self.lock();
        BudgetInfo {
            limit: self.limit,
            environments: state.on_demand + state.kept,
            waiting: state.waiting.len(),
            evicted: state.evicted,
        }
    }
}

impl State {
    /// One on demand there may be however many are kept: else its invocation would wait for ever.
    fn has_room(&self, limit: usize) -> bool {
        let staying = self.on_demand.saturating_sub(self.leaving);
        staying < limit.saturating_sub(self.kept).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_as_many_as_may_be_and_for_one_beside_those_that_are_kept() {
        let entering = |budget: &Budget| (0..10).filter(|_| budget.enter()).count();
        let budget = Budget::new(3);
        assert_eq!(entering(&budget), 3);
        budget.leave(false);
        assert_eq!(entering(&budget), 1);
        let budget = Budget::new(3);
        (0..2).for_each(|_| budget.keep());
        assert_eq!(entering(&budget), 1);
        let budget = Budget::new(3);
        (0..5).for_each(|_| budget.keep());
        assert_eq!(entering(&budget), 1);
        budget.leave(true);
        assert_eq!(entering(&budget), 0);
        assert_eq!(budget.info().environments, 5);
    }

    #[test]
    fn place_of_one_that_gave_way_is_free_at_once_and_only_once() {
        let budget = Budget::new(2);
        assert!(budget.enter() && budget.enter() && !budget.enter());
        budget.gave_way();
        assert!(budget.enter() && !budget.enter());
        // Its end frees nothing more.
        budget.leave(false);
        assert!(!budget.enter());
        assert_eq!(budget.info(), BudgetInfo { limit: 2, environments: 2, waiting: 0, evicted: 1 });
    }
}
