//! The engine: everything that the environments of all versions share.
//!
//! Must not know functions' control state; it makes a pool for whatever version it is given.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{Duration, SystemTime},
};

use hothouse_api::arn::FunctionArn;
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    budget::{Budget, BudgetInfo},
    concurrency::{Concurrency, Permit},
    debug::DebugMode,
    environment::{EnvironmentId, InitializationType, Shared, Status},
    executor::Executor,
    invocation::InvokeError,
    pool::{Pool, VersionHandle},
    ports::{Clock, CredentialSource, LogSink, Observer},
    scaling::{Bucket, ScalingRate},
    spec::FunctionSpec,
    timeline::Timeline,
    trace,
};

/// What the user set.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// An environment that has been idle for so long is stopped.
    pub keep_alive: Duration,
    /// The place and the first INIT of an environment may take this long together. Whoever waits for one that does not
    /// make it gets an error; AWS's own limit for INIT, ten seconds, only ends the process.
    pub startup_timeout: Duration,
    /// Environments of all functions that there may be. Beyond it, the least recently used idle ones give way to those
    /// that are wanted; while none is idle, invocations wait.
    pub environments: usize,
    /// Environments of one function that keeps its tenants apart (AWS: 2,500).
    pub tenant_environments: usize,
    /// How fast one function may get environments on demand.
    pub scaling: ScalingRate,
    /// Bytes of a buffered response (AWS: 6 MB and 100 bytes).
    pub response_limit: usize,
    /// Bytes of a streamed response (AWS: 200 MB).
    pub streamed_response_limit: usize,
    /// Whether a streamed response has the bandwidth that AWS gives it: 6 MB at once, then 2 MB per second.
    pub shape_streamed_responses: bool,
    /// An idle environment's processes are stopped until the next event, as on AWS.
    pub freeze: bool,
    /// The answer of an invocation is held back for so long after the runtime asked for the next event, so that its log
    /// has what the function still writes in the background.
    pub post_invoke_wait: Duration,
    /// Which functions are debugged.
    pub debug: DebugMode,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            keep_alive: Duration::from_secs(600),
            startup_timeout: Duration::from_secs(20),
            environments: 1000,
            tenant_environments: 2500,
            scaling: ScalingRate::default(),
            response_limit: 6_291_556,
            streamed_response_limit: 209_715_200,
            shape_streamed_responses: false,
            freeze: true,
            post_invoke_wait: Duration::ZERO,
            debug: DebugMode::Off,
        }
    }
}

/// What the engine needs from its surroundings.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Makes processes.
    pub executor: Arc<dyn Executor>,
    /// Takes log events.
    pub sink: Arc<dyn LogSink>,
    /// Assumes execution roles.
    pub credentials: Arc<dyn CredentialSource>,
    /// Wall clock, which functions see too.
    pub clock: Arc<dyn Clock>,
    /// What keep-alives are measured by.
    pub timeline: Timeline,
    /// Hears of finished invocations, if someone watches.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Runs invocations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) credentials: Arc<dyn CredentialSource>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeline: Timeline,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) budget: Budget,
    concurrency: Concurrency,
    scaling: Mutex<HashMap<FunctionArn, Weak<Bucket>>>,
    pools: Mutex<Vec<Weak<Pool>>>,
    environments: Mutex<HashMap<EnvironmentId, Arc<Shared>>>,
    ended: Mutex<VecDeque<EnvironmentInfo>>,
}

/// So many versions at most have a template that their environments are forked from.
const TEMPLATES: usize = 32;

/// So many environments that have ended are remembered, the latest ones.
const ENDED: usize = 100;

/// An environment, as `ps` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentInfo {
    /// 32 hex digits.
    pub id: String,
    /// Owner of the function.
    pub account: String,
    /// Region of the function.
    pub region: String,
    /// The function.
    pub function_name: String,
    /// The version.
    pub version: String,
    /// `on-demand`, `provisioned-concurrency` or `snap-start`.
    pub initialization_type: InitializationType,
    /// What it is doing.
    pub status: Status,
    /// Whether its processes stand still until the next event.
    pub frozen: bool,
    /// The port of the host's loopback at which a debugger attaches, if the function is debugged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debugger_port: Option<u16>,
    /// How long it has existed, in milliseconds; of one that has ended, how long it did.
    pub age_ms: u64,
    /// Invocations that it has been given.
    pub invocations: u64,
}

impl Engine {
    /// Makes an engine and starts its reaper on the current tokio runtime.
    pub fn new(config: EngineConfig, ports: Ports) -> Engine {
        let Ports { executor, sink, credentials, clock, timeline, observer } = ports;
        let inner = Arc::new(Inner {
            budget: Budget::new(config.environments),
            concurrency: Concurrency::default(),
            config,
            executor,
            sink,
            credentials,
            clock,
            timeline,
            observer,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            scaling: Mutex::default(),
            pools: Mutex::default(),
            environments: Mutex::default(),
            ended: Mutex::default(),
        });
        inner.tasks.spawn(reap(Arc::downgrade(&inner), inner.stop.clone()));
        inner.tasks.spawn(inner.executor.tend(inner.stop.clone()));
        Engine { inner }
    }

    /// Makes the pool of one version. No environment is started before the first invocation.
    pub fn version(&self, spec: FunctionSpec) -> VersionHandle {
        VersionHandle::new(self.inner.pool(Arc::new(spec)))
    }

    /// Says that a version may be invoked soon: what does not depend on its code may be made ahead.
    pub fn expect(&self, spec: FunctionSpec) {
        self.inner.executor.expect(Arc::new(spec));
    }

    /// All living environments.
    pub fn environments(&self) -> Vec<EnvironmentInfo> {
        let now = self.inner.clock.now();
        let mut all: Vec<EnvironmentInfo> =
            lock(&self.inner.environments).values().map(|shared| info(shared, now)).collect();
        all.sort_by(|a, b| (&a.function_name, b.age_ms, &a.id).cmp(&(&b.function_name, a.age_ms, &b.id)));
        all
    }

    /// The latest environments that have ended, oldest first.
    pub fn ended_environments(&self) -> Vec<EnvironmentInfo> {
        lock(&self.inner.ended).iter().cloned().collect()
    }

    /// How many environments there are, and may be.
    pub fn budget(&self) -> BudgetInfo {
        self.inner.budget.info()
    }

    /// Invocations that are running or waiting for an environment.
    pub fn running(&self) -> usize {
        self.inner.concurrency.running()
    }

    /// The X-Ray trace header of an invocation: the caller's, with what it lacks filled in.
    pub fn trace(&self, header: Option<&str>) -> String {
        trace::complete(header, self.inner.clock.now())
    }

    /// Ends every environment; running invocations are answered with [`InvokeError::ShuttingDown`]. Returns when all
    /// processes are gone.
    pub async fn shut_down(&self) {
        self.inner.stop.cancel();
        self.inner.share_room();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// Makes a pool without environments.
    pub(crate) fn pool(self: &Arc<Self>, spec: Arc<FunctionSpec>) -> Arc<Pool> {
        let pool = Arc::new(Pool::new(spec, self.clone()));
        let mut pools = lock(&self.pools);
        // Dropped pools leave dead references behind: sweep them when the list would grow.
        if pools.len() == pools.capacity() {
            pools.retain(|pool| pool.strong_count() > 0);
        }
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// The bucket that all versions of a function share.
    pub(crate) fn scaling(&self, spec: &FunctionSpec) -> Arc<Bucket> {
        let function = FunctionArn::new(spec.account, spec.region.clone(), spec.function_name.clone());
        let mut buckets = lock(&self.scaling);
        if let Some(bucket) = buckets.get(&function).and_then(Weak::upgrade) {
            return bucket;
        }
        if buckets.len() == buckets.capacity() {
            buckets.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = Arc::new(Bucket::new(self.config.scaling, self.timeline.now()));
        buckets.insert(function, Arc::downgrade(&bucket));
        bucket
    }

    /// The wall clock, as far ahead as the time that can be moved.
    pub(crate) fn time(&self) -> SystemTime {
        self.clock.now() + self.timeline.ahead()
    }

    pub(crate) fn permit(&self) -> Result<Permit, InvokeError> {
        if self.stop.is_cancelled() {
            return Err(InvokeError::ShuttingDown);
        }
        Ok(self.concurrency.enter())
    }

    /// Lets those in that wait for room, as far as there is some or idle environments can make some.
    pub(crate) fn share_room(&self) {
        while self.budget.is_waited_for() {
            if self.stop.is_cancelled() {
                return self.budget.dismiss().iter().for_each(|pool| pool.dismiss());
            }
            if let Some((number, pool)) = self.budget.admit() {
                if !pool.admit(number) {
                    self.budget.give_back();
                }
            } else if !self.budget.wants_room() || !self.evict() {
                return;
            }
        }
    }

    /// To be called with each start on demand: an idle environment gives way to it where the machine's memory is short.
    pub(crate) fn spare_memory(&self) {
        if self.executor.is_short_of_memory() {
            self.evict();
        }
    }

    /// Ends the templates that have not been used for longest, as far as there are too many: each is a process that waits.
    /// Who comes for one again is initialised, and the snapshot is taken anew.
    pub(crate) fn bound_templates(&self) {
        let pools: Vec<Arc<Pool>> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        let mut used: Vec<_> = pools.iter().filter_map(|pool| Some((pool.template_used()?, pool))).collect();
        used.sort_by_key(|(used, _)| *used);
        for (_, pool) in used.iter().take(used.len().saturating_sub(TEMPLATES)) {
            pool.drop_snapshot();
        }
    }

    /// Ends the environment of any function that has been idle for longest, if there is one.
    fn evict(&self) -> bool {
        let pools: Vec<Arc<Pool>> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        loop {
            let idle = pools.iter().filter_map(|pool| Some((pool.idle_since()?, pool)));
            let Some((_, pool)) = idle.min_by_key(|(since, _)| *since) else { return false };
            // Else it died meanwhile, or was taken.
            if pool.evict() {
                self.budget.gave_way();
                return true;
            }
        }
    }

    pub(crate) fn register(self: &Arc<Self>, shared: Arc<Shared>) -> Registration {
        let id = shared.id;
        lock(&self.environments).insert(id, shared);
        Registration { engine: self.clone(), id }
    }
}

/// An entry in the list of living environments.
#[derive(Debug)]
pub(crate) struct Registration {
    engine: Arc<Inner>,
    id: EnvironmentId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(shared) = lock(&self.engine.environments).remove(&self.id) else { return };
        let mut ended = lock(&self.engine.ended);
        if ended.len() == ENDED {
            ended.pop_front();
        }
        // The port may be another's by now.
        let info = info(&shared, self.engine.clock.now());
        ended.push_back(EnvironmentInfo { debugger_port: None, ..info });
    }
}

fn info(shared: &Shared, now: SystemTime) -> EnvironmentInfo {
    EnvironmentInfo {
        id: shared.id.to_string(),
        account: shared.spec.account.to_string(),
        region: shared.spec.region.to_string(),
        function_name: shared.spec.function_name.to_string(),
        version: shared.spec.version.to_string(),
        initialization_type: shared.initialization,
        status: shared.status(),
        frozen: shared.is_frozen(),
        debugger_port: shared.debugger_port.get().copied(),
        age_ms: now.duration_since(shared.started).unwrap_or_default().as_millis() as u64,
        invocations: shared.invocations(),
    }
}

/// So many idle environments give way at each look where the machine's memory is short.
const EVICTED_AT_ONCE: usize = 16;

/// Ends the environments whose keep-alive has passed, and some of those that are idle while memory is short.
async fn reap(engine: Weak<Inner>, stop: CancellationToken) {
    let Some(inner) = engine.upgrade() else { return };
    let mut moves = inner.timeline.moves();
    drop(inner);
    loop {
        let Some(inner) = engine.upgrade() else { return };
        let keep_alive = inner.config.keep_alive;
        let pools: Vec<Arc<Pool>> = lock(&inner.pools).iter().filter_map(Weak::upgrade).collect();
        let now = inner.timeline.now();
        for pool in pools {
            pool.reap(keep_alive, now);
        }
        if inner.executor.is_short_of_memory() {
            let evicted = (0..EVICTED_AT_ONCE).take_while(|_| inner.evict()).count();
            tracing::debug!(evicted, "the machine is short of memory: idle environments ended");
        }
        drop(inner);
        let pause = (keep_alive / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            _ = moves.changed() => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave the data half-changed.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
