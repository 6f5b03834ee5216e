//! How the rest of the service invokes a version, and says what is kept ready for it.
//!
//! Must not hold what changes: pools do.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Pool, ProvisionedConcurrency, StartFailure};
use crate::{
    environment::state::Job,
    invocation::{Completed, Invocation, InvokeError},
    response::{Reply, ResponseStream},
    spec::FunctionSpec,
    tenants::Tenants,
};

/// Invokes one function version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VersionHandle {
    pool: Arc<Pool>,
    /// For invocations that name a tenant.
    tenants: Arc<Tenants>,
}

impl VersionHandle {
    pub(crate) fn new(pool: Arc<Pool>) -> VersionHandle {
        let tenants = Tenants::new(pool.spec().clone(), pool.engine().clone());
        VersionHandle { pool, tenants: Arc::new(tenants) }
    }

    /// The version that this handle invokes.
    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.pool.spec
    }

    /// Runs the invocation in an environment of this version. A caller that goes away does not cancel the run.
    ///
    /// # Errors
    /// Throttling, retirement and our own failures; what goes wrong in the function is an `Outcome`.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Completed, InvokeError> {
        let (reply, answer) = oneshot::channel();
        self.submit(invocation, Reply::Whole(reply))?;
        answer.await.unwrap_or(Err(InvokeError::Lost))
    }

    /// As [`VersionHandle::invoke`], but the answer begins when the function's does, and comes as it is made. A caller
    /// that reads slowly holds the function up; one that goes away does not cancel the run.
    ///
    /// # Errors
    /// As [`VersionHandle::invoke`].
    pub async fn stream(&self, invocation: Invocation) -> Result<ResponseStream, InvokeError> {
        let (reply, answer) = oneshot::channel();
        self.submit(invocation, Reply::Streamed(reply))?;
        answer.await.unwrap_or(Err(InvokeError::Lost))
    }

    fn submit(&self, invocation: Invocation, reply: Reply) -> Result<(), InvokeError> {
        let permit = self.pool.engine.permit()?;
        let pool = match &invocation.tenant_id {
            None => self.pool.clone(),
            Some(tenant) => self.tenants.pool(tenant)?,
        };
        pool.submit(Job { invocation, reply, permit });
        Ok(())
    }

    /// Keeps so many environments started (AWS: provisioned concurrency): they are used first, never stopped for
    /// idleness, and replaced when they end. 0 keeps none.
    pub fn provision(&self, count: usize) {
        self.pool.provision(count);
    }

    /// How far [`VersionHandle::provision`] is.
    pub fn provisioned(&self) -> ProvisionedConcurrency {
        self.pool.lock().provisioned()
    }

    /// Waits until all provisioned environments are ready, or no more will be. Tells how far they came.
    pub async fn provisioning(&self) -> ProvisionedConcurrency {
        loop {
            // Made first, so that what happens after the look wakes it.
            let progress = self.pool.progress.notified();
            let (now, retired) = {
                let queue = self.pool.lock();
                (queue.provisioned(), queue.retired)
            };
            if retired || now.failure.is_some() || now.available >= now.requested {
                return now;
            }
            progress.await;
        }
    }

    /// Takes the snapshot of a version with SnapStart, unless there is one or will be. Returns when it is known how that
    /// went.
    ///
    /// # Errors
    /// INIT failed, or no environment could be started.
    pub async fn take_snapshot(&self) -> Result<(), StartFailure> {
        self.pool.take_snapshot().await
    }

    /// Gives the snapshot back; the next environment is initialised while another is taken.
    pub fn drop_snapshot(&self) {
        self.pool.drop_snapshot();
    }

    /// No new invocations; running and waiting ones finish, idle environments stop.
    pub fn retire(&self) {
        self.pool.retire();
        self.tenants.retire();
    }
}
