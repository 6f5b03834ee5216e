//! How many invocations may run at the same time.
//!
//! Must not queue: who finds no room is told so at once (AWS: "Understanding Lambda function scaling").

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::invocation::InvokeError;

/// Counts running invocations up to a limit.
#[derive(Debug)]
pub(crate) struct Concurrency {
    limit: usize,
    running: Arc<AtomicUsize>,
}

/// One running invocation. It counts while it lives.
#[derive(Debug)]
pub(crate) struct Permit {
    running: Arc<AtomicUsize>,
}

impl Concurrency {
    pub(crate) fn new(limit: usize) -> Concurrency {
        Concurrency { limit, running: Arc::default() }
    }

    /// Room for one more, or [`InvokeError::Throttled`].
    pub(crate) fn enter(&self) -> Result<Permit, InvokeError> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        // Made first: dropping it takes the count back.
        let permit = Permit { running: self.running.clone() };
        if before >= self.limit { Err(InvokeError::Throttled { limit: self.limit }) } else { Ok(permit) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let concurrency = Concurrency::new(2);
        let first = concurrency.enter().unwrap();
        let _second = concurrency.enter().unwrap();
        assert!(matches!(concurrency.enter(), Err(InvokeError::Throttled { limit: 2 })));
        assert_eq!(concurrency.running(), 2);
        drop(first);
        assert!(concurrency.enter().is_ok());
    }
}
