//! Environments that have answered and are about to be idle: who comes meanwhile waits for one of them, for a moment.
//!
//! AWS's clients answer with one request and ask for the next event with another. A caller who invokes again at once comes
//! between the two. To start an environment for it takes longer than to wait, and leaves one that nobody needs. Must not
//! know what an environment does until it is idle: one that takes longer is waited for no more.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Pool, Queue};

/// How long one is waited for. AWS's clients ask for the next event within a fraction of it, on a busy machine too; those
/// who wait in vain, for the sake of an extension that works on, lose no more than this.
const MOMENT: Duration = Duration::from_millis(5);

/// Those of one pool.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// Their numbers, and until when they are waited for: the earliest first. There may be some whose time has passed.
    expected: VecDeque<(u64, Instant)>,
    /// The number of the next one.
    next: u64,
    /// Whether somebody looks again when the first one's time has passed.
    watched: bool,
}

impl Returning {
    fn add(&mut self, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.expected.push_back((number, now + MOMENT));
        number
    }

    /// It is idle, or will not be.
    fn remove(&mut self, number: u64) {
        self.expected.retain(|(other, _)| *other != number);
    }

    /// How many are still waited for.
    pub(super) fn count(&mut self) -> usize {
        if !self.expected.is_empty() {
            let now = Instant::now();
            let passed = self.expected.partition_point(|(_, until)| *until <= now);
            self.expected.drain(..passed);
        }
        self.expected.len()
    }
}

impl Pool {
    /// An environment has answered: whoever comes before it is idle waits for it, for a moment.
    pub(crate) fn answered(self: &Arc<Self>) -> ReturnSlot {
        let mut queue = self.lock();
        let number = queue.returning.add(Instant::now());
        self.watch_returning(&mut queue);
        drop(queue);
        ReturnSlot { pool: Some(self.clone()), number }
    }

    /// Where invocations wait for environments that are about to be idle, looks again when the first of these has had its
    /// time.
    pub(super) fn watch_returning(self: &Arc<Self>, queue: &mut Queue) {
        if queue.returning.watched || queue.waiting.len() <= queue.starting {
            return;
        }
        let Some(&(_, until)) = queue.returning.expected.front() else { return };
        queue.returning.watched = true;
        let pool = self.clone();
        self.engine.tasks.spawn(async move {
            sleep_until(until).await;
            let mut queue = pool.lock();
            queue.returning.watched = false;
            let started = pool.start_wanted(queue);
            // They have waited: they count, but are not refused.
            let now = pool.engine.timeline.now();
            (0..started).for_each(|_| {
                pool.scaling.take(now);
            });
        });
    }
}

/// The pool's expectation that an environment is about to be idle. It ends with the environment's token, which
/// [`Pool::give`] gets; dropping it says that there will be none.
#[derive(Debug)]
pub(crate) struct ReturnSlot {
    pool: Option<Arc<Pool>>,
    number: u64,
}

impl ReturnSlot {
    /// Here is its token.
    pub(super) fn redeem(mut self, queue: &mut Queue) {
        self.pool = None;
        queue.returning.remove(self.number);
    }
}

impl Drop for ReturnSlot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            let mut queue = pool.lock();
            queue.returning.remove(self.number);
            pool.start_wanted(queue);
        }
    }
}
