//! The snapshot of one version, as its pool has it: an environment whose runtime others are forked from, or the knowledge
//! that INIT succeeded where nothing can be forked.
//!
//! Must not know how a runtime is forked: the executor does.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{Idle, Pool, StartFailure};
use crate::{
    environment::{self, InitializationType},
    executor::SnapshotTemplate,
    invocation::InvokeError,
};

/// A version's snapshot. Only versions with SnapStart have more than an empty one.
#[derive(Debug)]
pub(super) struct Snapshot {
    stage: Mutex<Stage>,
    /// Told when a snapshot was taken, or will not be.
    progress: Notify,
    /// What the version's processes ask for credentials with. Those forked from one process have the same.
    token: Arc<str>,
}

#[derive(Debug)]
enum Stage {
    /// There is none: nobody has asked for one yet, or it was lost.
    Absent,
    /// Its environment is being started.
    Taking,
    /// INIT succeeded. Where others can be forked from the runtime there is a template, and the token of its environment,
    /// which lives as long as that.
    Taken(Option<Template>),
    /// It could not be taken. Nobody tries again unless that is asked for.
    Failed(StartFailure),
    /// The version takes no more invocations.
    Retired,
}

/// What others are forked from.
#[derive(Debug)]
struct Template {
    forks: Arc<dyn SnapshotTemplate>,
    /// Keeps its environment.
    _environment: Idle,
    used: Instant,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            stage: Mutex::new(Stage::Absent),
            progress: Notify::default(),
            token: Uuid::new_v4().simple().to_string().into(),
        }
    }
}

impl Snapshot {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        // Nothing that is done under the lock can leave the stage half-changed.
        self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set(&self, next: Stage) {
        let before = {
            let mut stage = self.lock();
            // Nothing follows the end.
            if matches!(*stage, Stage::Retired) { next } else { std::mem::replace(&mut *stage, next) }
        };
        self.progress.notify_waiters();
        // Dropping a token wakes its environment.
        drop(before);
    }

    pub(super) fn retire(&self) {
        self.set(Stage::Retired);
    }
}

impl Pool {
    /// What a new environment on demand is started for.
    pub(super) fn on_demand(&self) -> InitializationType {
        if self.has_snapshot() { InitializationType::SnapStart } else { InitializationType::OnDemand }
    }

    /// A debugger that was attached to a template would be attached to nothing that is invoked.
    fn has_snapshot(&self) -> bool {
        self.spec.snap_start && self.engine.config.debug.of(&self.spec).is_none()
    }

    pub(crate) fn credentials_token(&self) -> &Arc<str> {
        &self.snapshot.token
    }

    /// What an environment may be restored from. After a restart of the service the first one finds nothing: it is
    /// initialised anew, and the snapshot is taken meanwhile.
    pub(crate) fn template(self: &Arc<Self>) -> Option<Arc<dyn SnapshotTemplate>> {
        if let Stage::Taken(Some(template)) = &mut *self.snapshot.lock() {
            template.used = Instant::now();
            return Some(template.forks.clone());
        }
        self.begin_snapshot(|stage| matches!(stage, Stage::Absent));
        None
    }

    fn begin_snapshot(self: &Arc<Self>, due: impl FnOnce(&Stage) -> bool) {
        {
            let mut stage = self.snapshot.lock();
            if !self.has_snapshot() || !due(&stage) {
                return;
            }
            *stage = Stage::Taking;
        }
        let slot = SnapshotSlot { pool: Some(self.clone()) };
        self.engine.tasks.spawn(environment::run(self.clone(), slot.into(), InitializationType::SnapStart));
    }

    /// Takes a snapshot unless there is one or will be; tells how that went.
    pub(super) async fn take_snapshot(self: &Arc<Self>) -> Result<(), StartFailure> {
        self.begin_snapshot(|stage| matches!(stage, Stage::Absent | Stage::Failed(_)));
        loop {
            // Made first, so that what happens after the look wakes it.
            let progress = self.snapshot.progress.notified();
            match &*self.snapshot.lock() {
                Stage::Taking => {}
                Stage::Failed(failure) => return Err(failure.clone()),
                Stage::Absent | Stage::Taken(_) | Stage::Retired => return Ok(()),
            }
            progress.await;
        }
    }

    pub(crate) fn drop_snapshot(&self) {
        if matches!(*self.snapshot.lock(), Stage::Taken(_)) {
            self.snapshot.set(Stage::Absent);
        }
    }

    /// When environments were last forked from this version's snapshot, if that can be done.
    pub(crate) fn template_used(&self) -> Option<Instant> {
        match &*self.snapshot.lock() {
            Stage::Taken(Some(template)) => Some(template.used),
            _ => None,
        }
    }

    /// The template's environment is over: what was forked from it stays, and others are initialised until there is
    /// another.
    pub(crate) fn template_ended(&self) {
        let mut stage = self.snapshot.lock();
        if matches!(*stage, Stage::Taken(Some(_))) {
            *stage = Stage::Absent;
        }
    }
}

/// The pool's promise that a snapshot is being taken. It ends in [`SnapshotSlot::taken`] or [`SnapshotSlot::fail`];
/// dropping it is a failure.
#[derive(Debug)]
pub(crate) struct SnapshotSlot {
    pool: Option<Arc<Pool>>,
}

impl SnapshotSlot {
    /// INIT succeeded. Without a template the environment has done all that it was started for.
    pub(crate) fn taken(mut self, template: Option<Arc<dyn SnapshotTemplate>>, environment: Idle) {
        if let Some(pool) = self.pool.take() {
            let template =
                template.map(|forks| Template { forks, _environment: environment, used: Instant::now() });
            pool.snapshot.set(Stage::Taken(template));
            pool.engine.bound_templates();
        }
    }

    pub(super) fn fail(mut self, error: &InvokeError) {
        self.end(error);
    }

    fn end(&mut self, error: &InvokeError) {
        if let Some(pool) = self.pool.take() {
            pool.snapshot.set(Stage::Failed(StartFailure::of(error)));
        }
    }
}

impl Drop for SnapshotSlot {
    fn drop(&mut self) {
        self.end(&InvokeError::Lost);
    }
}
