//! The control plane as a whole: the state, its one way to change, and the tasks that belong to it.
//!
//! Readers look at the state under a lock that is never held across an await; they never wait for the store.
//! Must not hold rules of single operations.

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hothouse_api::{
    ApiError,
    generated::Runtime,
    name::{AccountId, FunctionName, Qualifier, Region},
};
use hothouse_execution::{
    Engine,
    ports::Clock,
    timeline::{Timeline, Working},
};
use tokio::{
    sync::{RwLock as Turn, RwLockWriteGuard},
    time::Instant,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    admission, capacity_provider,
    code::{CodeError, CodeHash, CodeStore, ObjectSource},
    config::ControlConfig,
    delivery::Deliveries,
    error, event_queue,
    event_source_mapping::{self, EventSources},
    idle, invoke, lifecycle,
    metrics::{Metric, Metrics, Sample},
    network::NetworkSource,
    provisioned, scaling,
    state::{
        Change, Event, Gone, ResourceId, State, Store, StoreError,
        model::{FunctionKey, Scope},
    },
};

/// Implements [`hothouse_api::Lambda`]. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    config: ControlConfig,
    ports: Ports,
    state: RwLock<State>,
    /// Whoever changes something holds its turn from looking at the state until the change is in the state.
    ///
    /// Changes of one function are therefore committed and applied in the same order. Changes of different subjects
    /// touch nothing in common, so their order does not matter: they may be applied in another order than they were
    /// committed in, and several of them wait for one flush of the store together. Which is why there is not one
    /// writer for all. Subjects that share a turn only wait for each other without need.
    ///
    /// Changes of a function's queue share its turn, so that many events are kept by one flush: each is about another
    /// event, and none about the function.
    turns: [Turn<()>; 64],
    metrics: Metrics,
    commits: AtomicU64,
    /// When it was opened, in the time that can be moved ahead.
    begun: Instant,
    tasks: TaskTracker,
    /// What goes on with events now. Closed when the service is about to end.
    attempts: TaskTracker,
    stop: CancellationToken,
}

/// What the control plane needs from its surroundings.
#[derive(Clone)]
pub struct Ports {
    /// Runs functions.
    pub engine: Engine,
    /// Keeps the state.
    pub store: Arc<dyn Store>,
    /// Keeps packages.
    pub code: Arc<CodeStore>,
    /// Fetches packages from S3.
    pub objects: Arc<dyn ObjectSource>,
    /// Knows queues and streams.
    pub sources: Arc<dyn EventSources>,
    /// Hands records on to other services.
    pub deliveries: Arc<dyn Deliveries>,
    /// Knows which VPC a function is attached to.
    pub networks: Arc<dyn NetworkSource>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// What everything that lasts is measured by; the wall clock is ahead by as much as it is.
    pub timeline: Timeline,
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state cannot be read, or not be brought in order.
    #[error("failed to load the state")]
    Store(#[from] StoreError),
    /// The packages cannot be brought in order.
    #[error("failed to open the code store")]
    Code(#[from] CodeError),
}

/// One function, for lists over all accounts and regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSummary {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The function.
    pub name: FunctionName,
    /// Its runtime; none if it is an image.
    pub runtime: Option<Runtime>,
    /// MB.
    pub memory_size: u32,
    /// Seconds.
    pub timeout: u32,
    /// Milliseconds since the epoch.
    pub last_modified: i64,
    /// Published versions.
    pub versions: usize,
    /// Aliases.
    pub aliases: usize,
    /// What `$LATEST` is described as.
    pub description: String,
}

impl Control {
    /// Loads the state and brings in order what a crash may have left: versions that were about to become ready do,
    /// those whose package is gone have failed, mappings take on the states that they were about to, packages that
    /// nothing uses go. Starts the environments that are provisioned, and goes on with asynchronous invocations.
    ///
    /// # Errors
    /// If state or packages cannot be read or written.
    pub async fn open(config: ControlConfig, ports: Ports) -> Result<Self, OpenError> {
        let store = Arc::clone(&ports.store);
        let loaded = tokio::task::spawn_blocking(move || store.load()).await;
        let state = loaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let begun = ports.timeline.now();
        let control = Self {
            inner: Arc::new(Inner {
                config,
                ports,
                state: RwLock::new(state),
                turns: [const { Turn::const_new(()) }; 64],
                metrics: Metrics::default(),
                commits: AtomicU64::new(0),
                begun,
                tasks: TaskTracker::new(),
                attempts: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        };
        let this = control.clone();
        let pending =
            tokio::task::spawn_blocking(move || lifecycle::leftovers(&this.state(), this.code())).await;
        let mut pending = pending.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        pending.extend(event_source_mapping::transition::settle_all(&control.state(), control.now()));
        pending.extend(capacity_provider::provider::pending(&control.state()));
        pending.extend(scaling::pending(&control.state()));
        let restarted = provisioned::restarted(&control.state());
        pending.extend(restarted.iter().cloned());
        if !pending.is_empty() {
            control.commit(pending).await?;
        }
        let inner = Arc::clone(&control.inner);
        control.code().collect_all(move |hash| read(&inner.state).uses_code(hash)).await?;
        lifecycle::flush_packages(&control);
        provisioned::resume(&control, &restarted);
        event_queue::resume(&control);
        lifecycle::resume(&control);
        idle::watch(&control);
        Ok(control)
    }

    /// Settings.
    pub(crate) fn config(&self) -> &ControlConfig {
        &self.inner.config
    }

    /// The state now. Not to be held across an await.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        read(&self.inner.state)
    }

    pub(crate) fn code(&self) -> &Arc<CodeStore> {
        &self.inner.ports.code
    }

    pub(crate) fn objects(&self) -> &dyn ObjectSource {
        &*self.inner.ports.objects
    }

    pub(crate) fn sources(&self) -> &dyn EventSources {
        &*self.inner.ports.sources
    }

    pub(crate) fn networks(&self) -> &dyn NetworkSource {
        &*self.inner.ports.networks
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.ports.store
    }

    pub(crate) fn deliveries(&self) -> &dyn Deliveries {
        &*self.inner.ports.deliveries
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.ports.engine
    }

    /// Milliseconds since the epoch, in the time that can be moved ahead.
    pub fn now(&self) -> i64 {
        let now = self.inner.ports.clock.now() + self.timeline().ahead();
        hothouse_api::timestamp::Timestamp::from(now).as_millis()
    }

    /// Nanoseconds since the control plane was opened: never goes back, as clocks may.
    pub(crate) fn uptime(&self) -> u64 {
        let uptime = self.timeline().now().duration_since(self.inner.begun);
        u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Counts or measures something about a function, by what was invoked of it; returns how often that was by now. What
    /// invocations do is counted where they run. Not to be called while the state is looked at.
    pub(crate) fn count(
        &self,
        key: &FunctionKey,
        qualifier: &Option<Qualifier>,
        metric: Metric,
        value: f64,
    ) -> u64 {
        let meters = match self.state().function(key) {
            Some(function) => Arc::clone(function.meters.get(self.metrics(), key)),
            None => self.metrics().function(key),
        };
        let leaf = meters.leaf(qualifier, None);
        leaf.cells.record(self.now(), &[(metric, value)]);
        leaf.cells.count(metric)
    }

    /// Takes what was counted and not taken before, and what is in use now.
    pub fn take_metrics(&self) -> Vec<Sample> {
        let now = self.now();
        for (_, account) in self.metrics().accounts() {
            account.sample(now);
        }
        self.metrics().take()
    }

    /// The time of everything that lasts.
    pub fn timeline(&self) -> &Timeline {
        &self.inner.ports.timeline
    }

    /// Every function of every account and region, in the order of account, region and name.
    pub fn functions(&self) -> Vec<FunctionSummary> {
        let mut functions: Vec<_> = self
            .state()
            .all_functions()
            .map(|(key, function)| {
                let latest = &function.latest;
                FunctionSummary {
                    account: key.scope.account,
                    region: key.scope.region,
                    name: key.name,
                    runtime: latest.configuration.runtime,
                    memory_size: latest.configuration.memory_size,
                    timeout: latest.configuration.timeout,
                    last_modified: latest.last_modified,
                    versions: function.versions.len(),
                    aliases: function.aliases.len(),
                    description: latest.configuration.description.clone(),
                }
            })
            .collect();
        functions.sort_by(|a, b| (a.account, &a.region, &a.name).cmp(&(b.account, &b.region, &b.name)));
        functions
    }

    /// The package behind a `Code.Location`: what follows `/_hothouse/code/` in it.
    pub fn package(&self, location: &str) -> Option<PathBuf> {
        self.code().archive(&location.parse().ok()?)
    }

    /// Lets changes that have begun end, and stops waiting to make versions ready: the next start does that. Ephemeral
    /// packages go, so environments should have ended before.
    pub async fn shut_down(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.code().close().await;
    }

    /// Runs an operation that changes something. It goes on if its caller goes away: a change that was committed is
    /// also applied.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        match self.inner.tasks.spawn(operation).await {
            Ok(result) => result,
            Err(error) => Err(ApiError::internal(error)),
        }
    }

    /// Changes one function: `decide` looks at it and says what happens, and what to answer. It is the only one to
    /// decide about this function until that has happened.
    pub(crate) async fn change<T>(
        &self,
        key: &FunctionKey,
        decide: impl FnOnce(&State) -> Result<(Vec<Event>, T), ApiError>,
    ) -> Result<T, ApiError> {
        self.change_with(key, &[], decide).await
    }

    /// As [`Control::change`], where the decision rests on other resources, too.
    pub(crate) async fn change_with<T>(
        &self,
        key: &FunctionKey,
        others: &[(Scope, ResourceId)],
        decide: impl FnOnce(&State) -> Result<(Vec<Event>, T), ApiError>,
    ) -> Result<T, ApiError> {
        let others = others.iter().map(|(scope, id)| Subject::Resource(scope, id));
        let subjects: Vec<_> = std::iter::once(Subject::Function(key)).chain(others).collect();
        self.change_all(&subjects, |state| {
            let (events, answer) = decide(state)?;
            let change = |event| Change::Function { key: key.clone(), event };
            Ok((events.into_iter().map(change).collect(), answer))
        })
        .await
    }

    /// Changes several things at once, or what is no function: `decide` looks at them and says what happens, and what
    /// to answer. It is the only one to decide about these subjects until that has happened; they are all that it may
    /// change, and all that its decision may rest on without another's change coming between.
    pub(crate) async fn change_all<T>(
        &self,
        subjects: &[Subject<'_>],
        decide: impl FnOnce(&State) -> Result<(Vec<Change>, T), ApiError>,
    ) -> Result<T, ApiError> {
        let _turns = self.turns(subjects).await;
        let (changes, answer) = decide(&self.state())?;
        if !changes.is_empty() {
            let changes = self.commit(changes).await.map_err(error::store)?;
            provisioned::follow(self, &changes);
            invoke::expect(self, &changes);
        }
        Ok(answer)
    }

    /// Changes the queues of functions: `decide` says what happens to their events, each of which nobody else may change
    /// meanwhile, and what to answer. The functions stay as they are until that has happened.
    pub(crate) async fn change_queues<T>(
        &self,
        keys: &[&FunctionKey],
        decide: impl FnOnce(&State) -> Result<(Vec<Change>, T), ApiError>,
    ) -> Result<T, ApiError> {
        let mut turns = Vec::with_capacity(keys.len());
        for index in self.turn_indexes(keys.iter().map(|key| Subject::Function(key))) {
            turns.push(self.inner.turns[index].read().await);
        }
        let (changes, answer) = decide(&self.state())?;
        self.commit(changes).await.map_err(error::store)?;
        Ok(answer)
    }

    /// Events that wait to be attempted, or to be reported: how many each function that has any has.
    pub fn queued_events(&self) -> Vec<(FunctionKey, usize)> {
        let state = self.state();
        let queued = state.all_functions().map(|(key, function)| (key, function.queue.len()));
        queued.filter(|(_, count)| *count > 0).collect()
    }

    /// Times that changes were committed since the service started.
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }

    /// Begins an attempt with an event, which goes on until this is dropped; none if the service is about to end.
    pub(crate) fn attempt(&self) -> Option<TaskTrackerToken> {
        (!self.inner.attempts.is_closed()).then(|| self.inner.attempts.token())
    }

    /// Begins no more attempts with events, and gives those that have begun so much time to come to their end.
    pub async fn finish_attempts(&self, grace: Duration) {
        self.inner.attempts.close();
        if tokio::time::timeout(grace, self.inner.attempts.wait()).await.is_err() {
            tracing::warn!("events are still being worked on, which the next start attempts again");
        }
    }

    fn turn_of(&self, subject: &Subject<'_>) -> usize {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        hasher.hash_one(subject) as usize % self.inner.turns.len()
    }

    /// The turns of these subjects, once each. All wait in the same order, so that no two wait for each other.
    fn turn_indexes<'a>(&self, subjects: impl Iterator<Item = Subject<'a>>) -> Vec<usize> {
        let mut indexes: Vec<_> = subjects.map(|subject| self.turn_of(&subject)).collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    async fn turns(&self, subjects: &[Subject<'_>]) -> Vec<RwLockWriteGuard<'_, ()>> {
        let turns = &self.inner.turns;
        let mut held = Vec::with_capacity(subjects.len());
        for index in self.turn_indexes(subjects.iter().copied()) {
            held.push(turns[index].write().await);
        }
        held
    }

    /// Keeps changes, then makes them. Returns them.
    async fn commit(&self, changes: Vec<Change>) -> Result<Arc<[Change]>, StoreError> {
        let changes: Arc<[Change]> = changes.into();
        self.inner.ports.store.commit(Arc::clone(&changes)).await?;
        self.inner.commits.fetch_add(1, Ordering::Relaxed);
        let gone: Vec<Gone> = {
            let mut state = self.inner.state.write().unwrap_or_else(PoisonError::into_inner);
            changes.iter().flat_map(|change| state.apply(change)).collect()
        };
        admission::follow(self, &changes);
        for gone in gone {
            match gone {
                Gone::Package(hash) => self.collect_later(hash, Duration::ZERO),
                Gone::Version(version) => {
                    // Invocations that are still running may yet read their code.
                    let longest = Duration::from_secs(version.configuration.timeout.into()) + START;
                    let grace = if version.environments.retire() { longest } else { Duration::ZERO };
                    for hash in version.packages() {
                        self.collect_later(hash, grace);
                    }
                }
            }
        }
        Ok(changes)
    }

    /// Removes a package after a while, if nothing uses it then.
    pub(crate) fn collect_later(&self, hash: CodeHash, grace: Duration) {
        let control = self.clone();
        // Until then others who find it unused leave it there, too.
        let pinned = (!grace.is_zero()).then(|| self.code().pin(hash));
        self.inner.tasks.spawn(async move {
            // In the machine's time, as it is given to functions that run.
            if control.unless_stopped(tokio::time::sleep(grace)).await.is_none() {
                // The next start collects.
                return;
            }
            drop(pinned);
            let inner = Arc::clone(&control.inner);
            let collected = control.code().collect(hash, move |hash| read(&inner.state).uses_code(hash)).await;
            if let Err(error) = collected {
                tracing::warn!(%hash, error = &error as &dyn std::error::Error, "failed to remove an unused package");
            }
        });
    }

    /// Does something that the service waits for when it ends; it is to look whether it does.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(work);
    }

    /// Does something after a while, unless the service ends before.
    pub(crate) fn later(&self, delay: Duration, work: impl Future<Output = ()> + Send + 'static) {
        let control = self.clone();
        self.spawn(async move {
            if let Some(_working) = control.pause(delay).await {
                work.await;
            }
        });
    }

    /// What comes of something that need not come to an end; nothing if the service ends before.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // What has come to an end by then counts.
            biased;
            result = work => Some(result),
            () = self.inner.stop.cancelled() => None,
        }
    }

    /// As [`Control::unless_stopped`], but it is given so much of the machine's time when the service ends.
    pub(crate) async fn unless_stopped_for<T>(
        &self,
        grace: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let stopped = async {
            self.inner.stop.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            biased;
            result = work => Some(result),
            () = stopped => None,
        }
    }

    /// Waits. Who wakes is at work until it drops what it gets: time is not moved on meanwhile. Nothing if the service
    /// ends before.
    pub(crate) async fn pause(&self, delay: Duration) -> Option<Working> {
        tokio::select! {
            working = self.timeline().sleep(delay) => Some(working),
            () = self.inner.stop.cancelled() => None,
        }
    }
}

/// What a change is about.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Subject<'a> {
    /// A function, with all that belongs to it.
    Function(&'a FunctionKey),
    /// Another resource.
    Resource(&'a Scope, &'a ResourceId),
    /// The id of a function URL.
    FunctionUrl(&'a str),
}

/// More than what an environment that is starting takes before its function's time begins.
const START: Duration = Duration::from_secs(60);

fn read(state: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    // Changes are plain moves of values; a panic among them would have been one of `apply`, which has none.
    state.read().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("store", &self.store).field("code", &self.code).finish_non_exhaustive()
    }
}
