//! The service's time for whatever lasts: pauses before retries, keep-alives, windows. It can be moved ahead.
//!
//! Moved is what the service waits for, never what functions see: their clock is the machine's, and so are their
//! timeouts and deadlines. Must not know who waits, nor for what.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// While time is moved, work that goes on at one moment is given so much of the machine's time to come to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time goes no further ahead than this.
const FURTHEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A time that can be moved ahead. Clones share it.
#[derive(Debug, Clone)]
pub struct Timeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// How much it is ahead of the machine's.
    ahead: watch::Sender<Duration>,
    /// How many works go on that may lead to more waiting.
    working: watch::Sender<usize>,
    /// When those who wait are due, in this time.
    waiting: Mutex<BTreeSet<(Instant, u64)>>,
    count: AtomicU64,
}

/// Time would go too far ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time cannot be moved further ahead than ten years")]
pub struct TooFarAhead;

/// Work that belongs to the present moment: while it goes on, time is not moved further.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Working {
    inner: Arc<Inner>,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.inner.count_work(|count| *count -= 1);
    }
}

impl Inner {
    /// Changes the number of works. Telling it costs more than many a work does: only while somebody listens, which is
    /// seen under the lock that listeners read under.
    fn count_work(&self, change: impl FnOnce(&mut usize)) {
        self.working.send_if_modified(|count| {
            change(count);
            self.working.receiver_count() > 0
        });
    }
}

impl Default for Timeline {
    fn default() -> Self {
        let inner = Inner {
            ahead: watch::Sender::new(Duration::ZERO),
            working: watch::Sender::new(0),
            waiting: Mutex::default(),
            count: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Timeline {
    /// A moment to compare with others of this timeline.
    pub fn now(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    /// How far ahead of the machine's time this one is.
    pub fn ahead(&self) -> Duration {
        *self.inner.ahead.borrow()
    }

    /// Hears of each move from now on.
    pub fn moves(&self) -> watch::Receiver<Duration> {
        self.inner.ahead.subscribe()
    }

    /// Work begins that time must not overtake.
    pub fn working(&self) -> Working {
        self.inner.count_work(|count| *count += 1);
        Working { inner: Arc::clone(&self.inner) }
    }

    /// Waits until so much time has passed or been skipped. Who wakes is at work until it drops what it gets.
    pub async fn sleep(&self, duration: Duration) -> Working {
        let mut moves = self.moves();
        let due = self.now() + duration.min(FURTHEST);
        let _waiting = Waiting::new(self, due);
        loop {
            let left = due.saturating_duration_since(Instant::now() + *moves.borrow_and_update());
            if left.is_zero() {
                // Before it has left those who wait, so that nobody takes it for done in between.
                return self.working();
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // Whoever waits holds the sender.
                _ = moves.changed() => {}
            }
        }
    }

    /// Moves time ahead, from one moment for which someone waits to the next: those who wait for a moment work, and have
    /// done so, before time goes on. What is due one after the other within `by` therefore happens one after the other.
    ///
    /// # Errors
    /// If that is too far; nothing has happened then.
    pub async fn advance(&self, by: Duration) -> Result<(), TooFarAhead> {
        let far = self.ahead().checked_add(by).is_none_or(|ahead| ahead > FURTHEST);
        if far {
            return Err(TooFarAhead);
        }
        let mut left = by;
        loop {
            self.settle().await;
            let next = self.waiting().first().map(|(due, _)| due.saturating_duration_since(self.now()));
            let step = next.map_or(left, |next| next.min(left));
            left -= step;
            self.inner.ahead.send_modify(|ahead| *ahead += step);
            if left.is_zero() {
                self.settle().await;
                return Ok(());
            }
        }
    }

    /// Waits until nobody works and nobody is about to, but not for ever.
    async fn settle(&self) {
        let mut working = self.inner.working.subscribe();
        let settled = async {
            loop {
                let overdue = self.waiting().first().is_some_and(|(due, _)| *due <= self.now());
                if *working.borrow_and_update() == 0 && !overdue {
                    return;
                }
                // The timeline holds the sender.
                let _ = working.changed().await;
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            tracing::warn!("time goes on though not all work of the moment is done");
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<(Instant, u64)>> {
        // Nothing that is done under this lock can leave the set half-changed.
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits.
struct Waiting<'a> {
    timeline: &'a Timeline,
    entry: (Instant, u64),
}

impl<'a> Waiting<'a> {
    fn new(timeline: &'a Timeline, due: Instant) -> Self {
        let entry = (due, timeline.inner.count.fetch_add(1, Ordering::Relaxed));
        timeline.waiting().insert(entry);
        Self { timeline, entry }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.timeline.waiting().remove(&self.entry);
        // Whoever waits for this one to be gone looks at the count.
        self.timeline.inner.count_work(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Those who wait in turn, and for ever longer, all come within one move.
    #[tokio::test]
    async fn moved_time_stops_at_each_moment_someone_waits_for() {
        let timeline = Timeline::default();
        let times = Arc::new(Mutex::new(Vec::new()));
        let (told, mut tasks) = (Arc::clone(&times), JoinSet::new());
        let begun = timeline.now();
        let sleeper = timeline.clone();
        let working = timeline.working();
        tasks.spawn(async move {
            let mut working = working;
            for hours in 1..=3 {
                drop(working);
                working = sleeper.sleep(hours * HOUR).await;
                // Work that takes some turns of the reactor.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                told.lock().unwrap().push((sleeper.now() - begun).as_secs() / 3600);
            }
        });
        timeline.advance(4 * HOUR).await.unwrap();
        assert_eq!(*times.lock().unwrap(), [1, 3], "the third comes after six hours");
        timeline.advance(2 * HOUR).await.unwrap();
        assert_eq!(*times.lock().unwrap(), [1, 3, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_nobody_moves_passes_as_the_machines_does() {
        let timeline = Timeline::default();
        let begun = Instant::now();
        drop(timeline.sleep(HOUR).await);
        assert_eq!((Instant::now() - begun).as_secs(), 3600);
        assert_eq!(timeline.ahead(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_holds_time_up_for_a_while_only() {
        let timeline = Timeline::default();
        let _working = timeline.working();
        timeline.advance(HOUR).await.unwrap();
        assert_eq!(timeline.ahead(), HOUR);
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_holds_nobody_up() {
        let timeline = Timeline::default();
        let sleeper = timeline.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(sleeper.sleep(HOUR).await) });
        tokio::task::yield_now().await;
        assert_eq!(timeline.waiting().len(), 1);
        tasks.shutdown().await;
        timeline.advance(2 * HOUR).await.unwrap();
        assert_eq!(timeline.ahead(), 2 * HOUR);
    }

    #[tokio::test]
    async fn time_has_an_end() {
        let timeline = Timeline::default();
        assert_eq!(timeline.advance(Duration::MAX).await, Err(TooFarAhead));
        assert_eq!(timeline.advance(11 * FURTHEST / 10).await, Err(TooFarAhead));
        assert_eq!(timeline.ahead(), Duration::ZERO);
    }
}
