//! How many invocations are under way.
//!
//! Must not refuse: what may run is decided before (`control::admission`), and how many environments there are by
//! [`crate::budget`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts invocations that run, or wait for an environment.
#[derive(Debug, Default)]
pub(crate) struct Concurrency {
    running: Arc<AtomicUsize>,
}

/// One of them. It counts while it lives.
#[derive(Debug)]
pub(crate) struct Permit {
    running: Arc<AtomicUsize>,
}

impl Concurrency {
    /// One more.
    pub(crate) fn enter(&self) -> Permit {
        self.running.fetch_add(1, Ordering::Relaxed);
        Permit { running: self.running.clone() }
    }

    /// Invocations that are running or waiting for an environment.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}
