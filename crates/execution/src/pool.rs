//! The environments of one function version: idle ones on a stack, waiting invocations in a queue.
//!
//! Must not know what an environment does: it hands orders to tokens.

mod handle;
mod provisioned;
mod returning;
mod snapshot;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::{
    engine::Inner,
    environment::{self, InitializationType, state::Job},
    invocation::InvokeError,
    scaling::Bucket,
    spec::FunctionSpec,
};

pub use handle::VersionHandle;
pub use provisioned::{ProvisionedConcurrency, StartFailure};
pub(crate) use returning::ReturnSlot;
pub(crate) use snapshot::SnapshotSlot;

/// An idle environment. Sending an order reserves it; dropping the token stops it.
#[derive(Debug)]
pub(crate) struct Idle {
    orders: oneshot::Sender<Order>,
    initialization: InitializationType,
    since: Instant,
}

/// What an idle environment is told.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would cost every invocation")]
pub(crate) enum Order {
    /// Work on this.
    Invoke(Job),
    /// You have been idle for too long, or for longer than all others: stop.
    KeepAlivePassed,
}

impl Idle {
    pub(crate) fn new(orders: oneshot::Sender<Order>, initialization: InitializationType) -> Idle {
        Idle { orders, initialization, since: Instant::now() }
    }

    /// Gives the job back if the environment died meanwhile.
    #[expect(
        clippy::result_large_err,
        reason = "the job comes back as it was; a box would cost every invocation"
    )]
    fn run(self, job: Job) -> Result<(), Job> {
        match self.orders.send(Order::Invoke(job)) {
            Err(Order::Invoke(job)) => Err(job),
            Ok(()) | Err(Order::KeepAlivePassed) => Ok(()),
        }
    }

    /// Tells whether it was there to hear it: one that died meanwhile needs no telling.
    fn time_out(self) -> bool {
        self.orders.send(Order::KeepAlivePassed).is_ok()
    }

    fn is_provisioned(&self) -> bool {
        self.initialization == InitializationType::ProvisionedConcurrency
    }
}

/// A pool whose own invocations wait gives up one environment in so much time at most to those of others who came
/// before them. With each, somebody waits for a start: strictly by turns, functions that share too few environments
/// would do little else than start.
const CEDING: Duration = Duration::from_millis(100);

/// The pool of one version. Everything about it that changes is in [`Queue`].
#[derive(Debug)]
pub(crate) struct Pool {
    spec: Arc<FunctionSpec>,
    engine: Arc<Inner>,
    queue: Mutex<Queue>,
    /// How fast the function may get environments.
    scaling: Arc<Bucket>,
    /// Told when provisioned concurrency has come further, or will not.
    progress: Notify,
    snapshot: snapshot::Snapshot,
}

#[derive(Debug, Default)]
struct Queue {
    /// On demand. Last in, first out: the warmest first. Non-empty only while nobody waits.
    idle: Vec<Idle>,
    provisioned: Provisioned,
    /// First come, first served.
    waiting: VecDeque<Waiting>,
    /// The first of them for which no environment is about to be idle, if there is no room for another one.
    in_line: Option<u64>,
    /// When an environment last ended in favour of another function, though somebody waited here.
    ceded: Option<Instant>,
    /// Environments that are about to give a token: new ones, and those that are being reset.
    starting: usize,
    /// Environments that have answered and are likely to give a token in a moment.
    returning: returning::Returning,
    /// Environments that have been asked for and have not ended.
    living: usize,
    retired: bool,
}

/// An invocation that waits for an environment.
#[derive(Debug)]
struct Waiting {
    /// Of two invocations, the one that came later has the higher number, whatever they invoke.
    number: u64,
    job: Job,
}

/// Environments that are kept ready whether or not anyone invokes.
#[derive(Debug, Default)]
struct Provisioned {
    wanted: usize,
    living: usize,
    ready: usize,
    /// Taken before those on demand.
    idle: Vec<Idle>,
    /// Why the last one did not start. Nobody tries again until the number is set anew.
    failure: Option<StartFailure>,
}

/// The pool's promise that an environment is about to be idle: it is being started, or reset. It ends in
/// [`StartSlot::succeed`] or [`StartSlot::fail`]; dropping it is a failure.
#[derive(Debug)]
pub(crate) struct StartSlot {
    pool: Option<Arc<Pool>>,
    initialization: InitializationType,
    /// Of an environment that was not ready before: whether it is, which its [`Living`] takes back.
    first: Option<Arc<AtomicBool>>,
}

impl StartSlot {
    /// The environment is about to give its token.
    pub(crate) fn succeed(mut self) {
        if let Some(pool) = self.pool.take() {
            let mut queue = pool.lock();
            queue.starting -= 1;
            let provisioned = self.initialization == InitializationType::ProvisionedConcurrency;
            if let Some(ready) = self.first.take().filter(|_| provisioned) {
                ready.store(true, Ordering::Relaxed);
                queue.provisioned.ready += 1;
                drop(queue);
                pool.progress.notify_waiters();
            }
        }
    }

    /// No environment came of it. One waiting invocation is told why, unless others were served meanwhile.
    pub(crate) fn fail(mut self, error: InvokeError) {
        if let Some(pool) = self.pool.take() {
            pool.start_failed(self.initialization, error);
        }
    }
}

/// What an environment owes its pool.
#[derive(Debug)]
pub(crate) enum Slot {
    /// To serve invocations from now on.
    Serve(StartSlot),
    /// To be idle again after an answer.
    Return(ReturnSlot),
    /// The snapshot of its version.
    Snapshot(SnapshotSlot),
}

impl From<StartSlot> for Slot {
    fn from(slot: StartSlot) -> Slot {
        Slot::Serve(slot)
    }
}

impl From<ReturnSlot> for Slot {
    fn from(slot: ReturnSlot) -> Slot {
        Slot::Return(slot)
    }
}

impl From<SnapshotSlot> for Slot {
    fn from(slot: SnapshotSlot) -> Slot {
        Slot::Snapshot(slot)
    }
}

impl Slot {
    /// Nothing came of it, for this reason.
    pub(crate) fn fail(self, error: InvokeError) {
        match self {
            Slot::Serve(slot) => slot.fail(error),
            // Nobody hears of it: who waits gets another environment.
            Slot::Return(slot) => drop(slot),
            Slot::Snapshot(slot) => slot.fail(&error),
        }
    }
}

impl Drop for StartSlot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.start_failed(self.initialization, InvokeError::Lost);
        }
    }
}

/// An environment counts while this lives.
#[derive(Debug)]
struct Living {
    pool: Arc<Pool>,
    initialization: InitializationType,
    /// Whether nobody may take its place.
    kept: bool,
    ready: Arc<AtomicBool>,
}

/// An environment that has not begun. One that never begins, as the runtime is going, has failed before it has ended,
/// which is the order of the fields: else another would be started in its place, without end.
struct Starting {
    slot: StartSlot,
    living: Living,
}

impl Drop for Living {
    fn drop(&mut self) {
        self.pool.engine.budget.leave(self.kept);
        self.pool.ended(self.initialization, self.ready.load(Ordering::Relaxed));
    }
}

impl Pool {
    pub(crate) fn new(spec: Arc<FunctionSpec>, engine: Arc<Inner>) -> Pool {
        let scaling = engine.scaling(&spec);
        Pool {
            spec,
            engine,
            queue: Mutex::default(),
            scaling,
            progress: Notify::new(),
            snapshot: snapshot::Snapshot::default(),
        }
    }

    pub(crate) fn spec(&self) -> &Arc<FunctionSpec> {
        &self.spec
    }

    pub(crate) fn engine(&self) -> &Arc<Inner> {
        &self.engine
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the queue was locked cannot have left it half-changed: each use is a few plain moves.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Hands the job to the warmest idle environment, or lets it wait for one and starts as many as are wanted.
    fn submit(self: &Arc<Self>, mut job: Job) {
        let mut queue = self.lock();
        if queue.retired {
            drop(queue);
            job.reply.refuse(InvokeError::Retired);
            return;
        }
        while let Some(idle) = queue.take_idle() {
            match idle.run(job) {
                Ok(()) => return,
                // It died while idle: take another.
                Err(back) => job = back,
            }
        }
        // Whoever comes while more are about to be idle than wait gets one of those.
        let wants_another = queue.waiting.len() >= queue.coming();
        if wants_another
            && self.engine.config.debug.of(&self.spec).is_none()
            // Who waits for another's place starts nothing now.
            && self.engine.budget.has_room()
            && !self.scaling.take(self.engine.timeline.now())
        {
            drop(queue);
            let limit = self.engine.config.scaling.burst;
            job.reply.refuse(InvokeError::ScalingTooFast { limit });
            return;
        }
        let number = self.engine.budget.arrival();
        queue.waiting.push_back(Waiting { number, job });
        self.start_wanted(queue);
    }

    /// Starts what is missing: an environment for each invocation that waits, as far as there is room, and the
    /// provisioned ones. Tells how many it started for those that wait.
    fn start_wanted(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) -> usize {
        let debugged = self.engine.config.debug.of(&self.spec).is_some();
        let wanted = match debugged {
            false => queue.waiting.len().saturating_sub(queue.coming()),
            // Invocations of a debugged function wait for the one environment that the debugger is attached to.
            true => usize::from(queue.living == 0 && !queue.waiting.is_empty()),
        };
        let budget = &self.engine.budget;
        let on_demand = match debugged {
            false => (0..wanted).take_while(|_| budget.enter()).count(),
            true => (0..wanted).inspect(|_| budget.keep()).count(),
        };
        let provisioned = match queue.retired || queue.provisioned.failure.is_some() {
            false => queue.provisioned.wanted.saturating_sub(queue.provisioned.living),
            true => 0,
        };
        (0..provisioned).for_each(|_| budget.keep());
        queue.provisioned.living += provisioned;
        queue.starting += on_demand + provisioned;
        queue.living += on_demand + provisioned;
        self.keep_in_line(&mut queue);
        drop(queue);
        for _ in 0..provisioned {
            self.start(InitializationType::ProvisionedConcurrency, true);
        }
        for _ in 0..on_demand {
            self.start(self.on_demand(), debugged);
        }
        self.engine.share_room();
        on_demand
    }

    /// Has the pool wait for room on behalf of the first invocation that needs it, if there is one.
    fn keep_in_line(self: &Arc<Self>, queue: &mut Queue) {
        let coming = queue.coming();
        self.watch_returning(queue);
        let first = queue.waiting.get(coming).map(|waiting| waiting.number);
        if first != queue.in_line && (first.is_none() || self.engine.config.debug.of(&self.spec).is_none()) {
            self.engine.budget.wait(self, queue.in_line, first);
            queue.in_line = first;
        }
    }

    /// There is room for the invocation of this number, and it is counted: starts its environment. If it needs none any
    /// more, the answer is `false`.
    pub(crate) fn admit(self: &Arc<Self>, number: u64) -> bool {
        let mut queue = self.lock();
        if queue.in_line == Some(number) {
            queue.in_line = None;
        }
        let needed = queue.waiting.len() > queue.starting;
        queue.starting += usize::from(needed);
        queue.living += usize::from(needed);
        self.keep_in_line(&mut queue);
        drop(queue);
        if needed {
            // It has waited: it counts, but is not refused.
            self.scaling.take(self.engine.timeline.now());
            self.start(self.on_demand(), false);
        }
        needed
    }

    fn start(self: &Arc<Self>, initialization: InitializationType, kept: bool) {
        self.engine.spare_memory();
        let ready = Arc::new(AtomicBool::new(false));
        let starting = Starting {
            slot: StartSlot { pool: Some(self.clone()), initialization, first: Some(ready.clone()) },
            living: Living { pool: self.clone(), initialization, kept, ready },
        };
        self.engine.tasks.spawn(async move {
            let Starting { slot, living } = starting;
            environment::run(living.pool.clone(), slot.into(), initialization).await;
            drop(living);
        });
    }

    /// An environment is being reset: whoever comes meanwhile waits for it instead of starting another.
    pub(crate) fn resetting(self: &Arc<Self>, initialization: InitializationType) -> StartSlot {
        let mut queue = self.lock();
        queue.starting += 1;
        self.keep_in_line(&mut queue);
        drop(queue);
        StartSlot { pool: Some(self.clone()), initialization, first: None }
    }

    /// An environment is over: others may be wanted in its place.
    fn ended(self: &Arc<Self>, initialization: InitializationType, was_ready: bool) {
        let mut queue = self.lock();
        queue.living -= 1;
        if initialization == InitializationType::ProvisionedConcurrency {
            queue.provisioned.living -= 1;
            queue.provisioned.ready -= usize::from(was_ready);
        }
        self.start_wanted(queue);
    }

    /// Takes an idle environment, which may have been expected: for who waits longest, else for the stack.
    pub(crate) fn give(self: &Arc<Self>, mut idle: Idle, expected: Option<ReturnSlot>) {
        let mut queue = self.lock();
        if let Some(slot) = expected {
            slot.redeem(&mut queue);
        }
        if let Some(Waiting { number, job }) = queue.waiting.pop_front() {
            if self.cedes(&mut queue, &idle, number) {
                queue.waiting.push_front(Waiting { number, job });
                if idle.time_out() {
                    self.engine.budget.gave_way();
                }
            } else if let Err(job) = idle.run(job) {
                // The giver holds the other end, so the token takes the job.
                queue.waiting.push_front(Waiting { number, job });
            }
            self.keep_in_line(&mut queue);
            drop(queue);
            return self.engine.share_room();
        }
        let surplus = idle.is_provisioned() && queue.provisioned.living > queue.provisioned.wanted;
        if queue.retired || surplus {
            drop(queue);
            drop(idle);
            return;
        }
        idle.since = self.engine.timeline.now();
        let stack = if idle.is_provisioned() { &mut queue.provisioned.idle } else { &mut queue.idle };
        stack.push(idle);
        drop(queue);
        if self.engine.budget.is_waited_for() {
            self.engine.share_room();
        }
    }

    /// Whether this environment is to end in favour of another function's invocation, which came before the one of this
    /// number.
    fn cedes(&self, queue: &mut Queue, idle: &Idle, number: u64) -> bool {
        if idle.is_provisioned() || !self.engine.budget.came_before(number) {
            return false;
        }
        let now = Instant::now();
        let cedes = self.engine.config.debug.of(&self.spec).is_none()
            && queue.ceded.is_none_or(|ceded| now - ceded >= CEDING);
        if cedes {
            queue.ceded = Some(now);
        }
        cedes
    }

    fn start_failed(self: &Arc<Self>, initialization: InitializationType, error: InvokeError) {
        let mut queue = self.lock();
        queue.starting -= 1;
        if initialization == InitializationType::ProvisionedConcurrency {
            // Whoever waits gets one on demand, once this one has ended.
            queue.provisioned.failure = Some(StartFailure::of(&error));
            drop(queue);
            self.progress.notify_waiters();
            return;
        }
        let first = if queue.waiting.len() > queue.starting { queue.waiting.pop_front() } else { None };
        self.keep_in_line(&mut queue);
        drop(queue);
        if let Some(Waiting { job, .. }) = first {
            job.reply.refuse(error);
        }
    }

    /// Stops the environments that have been idle for longer than `keep_alive`: oldest first, each by its token, so
    /// that a reserved one cannot be meant. Provisioned ones stay, and those that a debugger may be attached to.
    pub(crate) fn reap(&self, keep_alive: Duration, now: Instant) {
        if self.engine.config.debug.of(&self.spec).is_some() {
            return;
        }
        let mut queue = self.lock();
        let expired = queue.idle.iter().take_while(|idle| now - idle.since >= keep_alive).count();
        let tokens: Vec<Idle> = queue.idle.drain(..expired).collect();
        drop(queue);
        for idle in tokens {
            idle.time_out();
        }
    }

    /// Since when the one has been idle that has been so for longest, of those that may give way to others.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let since = self.lock().idle.first().map(|idle| idle.since);
        since.filter(|_| self.engine.config.debug.of(&self.spec).is_none())
    }

    /// Ends the one that has been idle for longest. Tells whether there was one to be told.
    pub(crate) fn evict(&self) -> bool {
        let mut queue = self.lock();
        let idle = if queue.idle.is_empty() { None } else { Some(queue.idle.remove(0)) };
        drop(queue);
        idle.is_some_and(Idle::time_out)
    }

    /// The service ends: whoever waits for room is told so.
    pub(crate) fn dismiss(&self) {
        let mut queue = self.lock();
        queue.in_line = None;
        let starting = queue.starting.min(queue.waiting.len());
        let dismissed = queue.waiting.split_off(starting);
        drop(queue);
        for Waiting { job, .. } in dismissed {
            job.reply.refuse(InvokeError::ShuttingDown);
        }
    }

    fn provision(self: &Arc<Self>, count: usize) {
        let mut queue = self.lock();
        queue.provisioned.wanted = count;
        queue.provisioned.failure = None;
        let surplus = queue.provisioned.living.saturating_sub(count).min(queue.provisioned.idle.len());
        let tokens: Vec<Idle> = queue.provisioned.idle.drain(..surplus).collect();
        self.start_wanted(queue);
        self.progress.notify_waiters();
        drop(tokens);
    }

    /// Whether an invocation would find a warm environment.
    pub(crate) fn has_idle(&self) -> bool {
        let queue = self.lock();
        !queue.idle.is_empty() || !queue.provisioned.idle.is_empty()
    }

    /// Environments that have been asked for and have not ended.
    pub(crate) fn living(&self) -> usize {
        self.lock().living
    }

    pub(crate) fn retire(&self) {
        let mut queue = self.lock();
        queue.retired = true;
        let tokens = (std::mem::take(&mut queue.idle), std::mem::take(&mut queue.provisioned.idle));
        drop(queue);
        self.progress.notify_waiters();
        self.snapshot.retire();
        drop(tokens);
    }
}

impl Queue {
    /// How many are about to give a token, certainly or likely.
    fn coming(&mut self) -> usize {
        self.starting + self.returning.count()
    }

    fn take_idle(&mut self) -> Option<Idle> {
        self.provisioned.idle.pop().or_else(|| self.idle.pop())
    }

    fn provisioned(&self) -> ProvisionedConcurrency {
        let Provisioned { wanted, living, ready, failure, .. } = &self.provisioned;
        ProvisionedConcurrency {
            requested: *wanted,
            allocated: *living,
            available: *ready,
            failure: failure.clone(),
        }
    }
}
