//! The pools of a version whose environments serve one tenant each.
//!
//! Must not know what a tenant is: an environment of one is never given another's invocation, as it is in another pool.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{engine::Inner, invocation::InvokeError, pool::Pool, spec::FunctionSpec};

/// A version's pools, one for each tenant that was heard of lately.
#[derive(Debug)]
pub(crate) struct Tenants {
    spec: Arc<FunctionSpec>,
    engine: Arc<Inner>,
    pools: Mutex<Pools>,
}

#[derive(Debug, Default)]
struct Pools {
    by_tenant: HashMap<Arc<str>, Arc<Pool>>,
    retired: bool,
}

impl Tenants {
    pub(crate) fn new(spec: Arc<FunctionSpec>, engine: Arc<Inner>) -> Tenants {
        Tenants { spec, engine, pools: Mutex::default() }
    }

    /// The tenant's pool.
    ///
    /// # Errors
    /// If it would have to start an environment, and there are as many as may be; or if the version is retired.
    pub(crate) fn pool(&self, tenant: &Arc<str>) -> Result<Arc<Pool>, InvokeError> {
        let mut pools = self.lock();
        if pools.retired {
            return Err(InvokeError::Retired);
        }
        let known = pools.by_tenant.get(tenant).cloned();
        if !known.as_ref().is_some_and(|pool| pool.has_idle()) {
            // Invocations that come at the same moment are counted when they ask for their environments: those few may
            // be too many.
            let limit = self.engine.config.tenant_environments;
            if pools.by_tenant.values().map(|pool| pool.living()).sum::<usize>() >= limit {
                return Err(InvokeError::Throttled { limit });
            }
        }
        if let Some(pool) = known {
            return Ok(pool);
        }
        if pools.by_tenant.len() == pools.by_tenant.capacity() {
            // Whoever uses a pool holds it: its environments and invocations, and nobody gets it but here.
            pools.by_tenant.retain(|_, pool| Arc::strong_count(pool) > 1);
        }
        let pool = self.engine.pool(self.spec.clone());
        pools.by_tenant.insert(tenant.clone(), pool.clone());
        Ok(pool)
    }

    pub(crate) fn retire(&self) {
        let mut pools = self.lock();
        pools.retired = true;
        let all = std::mem::take(&mut pools.by_tenant);
        drop(pools);
        all.values().for_each(|pool| pool.retire());
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        // Nothing that is done under the lock can leave the map half-changed.
        self.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
