//! The environments of one function version: idle ones on a stack, waiting invocations in a queue.
//!
//! Must not know what an environment does: it hands jobs to tokens.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    engine::Inner,
    environment::{self, state::Job},
    invocation::{Completed, Invocation, InvokeError},
    spec::FunctionSpec,
    trace,
};

/// An idle environment. Sending the job reserves it; dropping the token stops it.
#[derive(Debug)]
pub(crate) struct Idle {
    jobs: oneshot::Sender<Job>,
    since: Instant,
}

impl Idle {
    pub(crate) fn new(jobs: oneshot::Sender<Job>) -> Idle {
        Idle { jobs, since: Instant::now() }
    }

    /// Gives the job back if the environment died meanwhile.
    #[expect(
        clippy::result_large_err,
        reason = "the job comes back as it was; a box would cost every invocation"
    )]
    fn run(self, job: Job) -> Result<(), Job> {
        self.jobs.send(job)
    }
}

/// The pool of one version. Everything about it that changes is in [`Queue`].
#[derive(Debug)]
pub(crate) struct Pool {
    spec: Arc<FunctionSpec>,
    engine: Arc<Inner>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Last in, first out: the warmest first. Non-empty only while nobody waits.
    idle: Vec<Idle>,
    /// First come, first served.
    waiting: VecDeque<Job>,
    /// Environments that have been asked for and have not been idle yet.
    starting: usize,
    retired: bool,
}

/// The pool's promise that an environment is being started. It ends in [`StartSlot::succeed`] or
/// [`StartSlot::fail`]; dropping it is a failure.
#[derive(Debug)]
pub(crate) struct StartSlot {
    pool: Option<Arc<Pool>>,
}

impl StartSlot {
    /// The environment is about to give its first token.
    pub(crate) fn succeed(mut self) {
        if let Some(pool) = self.pool.take() {
            pool.lock().starting -= 1;
        }
    }

    /// No environment came of it. One waiting invocation is told why, unless others were served meanwhile.
    pub(crate) fn fail(mut self, error: InvokeError) {
        if let Some(pool) = self.pool.take() {
            pool.start_failed(error);
        }
    }
}

impl Drop for StartSlot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.start_failed(InvokeError::Lost);
        }
    }
}

impl Pool {
    pub(crate) fn new(spec: Arc<FunctionSpec>, engine: Arc<Inner>) -> Pool {
        Pool { spec, engine, queue: Mutex::default() }
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
            let _ = job.reply.send(Err(InvokeError::Retired));
            return;
        }
        while let Some(idle) = queue.idle.pop() {
            match idle.run(job) {
                Ok(()) => return,
                // It died while idle: take another.
                Err(back) => job = back,
            }
        }
        queue.waiting.push_back(job);
        let start = queue.starting < queue.waiting.len();
        queue.starting += usize::from(start);
        drop(queue);
        if start {
            let slot = StartSlot { pool: Some(self.clone()) };
            self.engine.tasks.spawn(environment::run(self.clone(), slot));
        }
    }

    /// Takes an idle environment: for who waits longest, else for the stack.
    pub(crate) fn give(&self, mut idle: Idle) {
        let mut queue = self.lock();
        if let Some(job) = queue.waiting.pop_front() {
            // The giver holds the other end, so the token takes the job.
            if let Err(job) = idle.run(job) {
                queue.waiting.push_front(job);
            }
            return;
        }
        if queue.retired {
            drop(queue);
            drop(idle);
        } else {
            idle.since = Instant::now();
            queue.idle.push(idle);
        }
    }

    fn start_failed(&self, error: InvokeError) {
        let mut queue = self.lock();
        queue.starting -= 1;
        let job = if queue.waiting.len() > queue.starting { queue.waiting.pop_front() } else { None };
        drop(queue);
        if let Some(job) = job {
            let _ = job.reply.send(Err(error));
        }
    }

    /// Stops the environments that have been idle for longer than `keep_alive`: oldest first, each by its token, so
    /// that a reserved one cannot be meant.
    pub(crate) fn reap(&self, keep_alive: Duration, now: Instant) {
        let mut queue = self.lock();
        let expired = queue.idle.iter().take_while(|idle| now - idle.since >= keep_alive).count();
        let tokens: Vec<Idle> = queue.idle.drain(..expired).collect();
        drop(queue);
        drop(tokens);
    }

    fn retire(&self) {
        let mut queue = self.lock();
        queue.retired = true;
        let tokens = std::mem::take(&mut queue.idle);
        drop(queue);
        drop(tokens);
    }
}

/// Invokes one function version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VersionHandle {
    pool: Arc<Pool>,
}

impl VersionHandle {
    pub(crate) fn new(pool: Arc<Pool>) -> VersionHandle {
        VersionHandle { pool }
    }

    /// The version that this handle invokes.
    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.pool.spec
    }

    /// Runs the invocation in an environment of this version. A caller that goes away does not cancel the run.
    ///
    /// # Errors
    /// Throttling, retirement and our own failures; what goes wrong in the function is an `Outcome`.
    pub async fn invoke(&self, mut invocation: Invocation) -> Result<Completed, InvokeError> {
        let engine = &self.pool.engine;
        let permit = engine.permit()?;
        invocation.trace_id = Some(trace::complete(invocation.trace_id.as_deref(), engine.clock.now()));
        let (reply, answer) = oneshot::channel();
        self.pool.submit(Job { invocation, reply, permit });
        answer.await.unwrap_or(Err(InvokeError::Lost))
    }

    /// No new invocations; running and waiting ones finish, idle environments stop.
    pub fn retire(&self) {
        self.pool.retire();
    }
}
