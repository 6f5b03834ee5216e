//! What the queues of functions have been through since the service started.
//!
//! Must not outlive the process.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One function's counts. Clones share them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Cells>);

#[derive(Default)]
struct Cells {
    received: AtomicU64,
    dropped: AtomicU64,
    destination_failures: AtomicU64,
    dead_letter_errors: AtomicU64,
    recursive_dropped: AtomicU64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Received,
    Dropped,
    DestinationFailure,
    DeadLetterError,
    RecursiveDropped,
}

/// One function's counts at one moment, named as AWS's metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that were accepted (`AsyncEventsReceived`).
    pub received: u64,
    /// Events that were given up (`AsyncEventsDropped`).
    pub dropped: u64,
    /// Records that did not reach a destination (`DestinationDeliveryFailures`).
    pub destination_failures: u64,
    /// Events that did not reach a dead-letter queue (`DeadLetterErrors`).
    pub dead_letter_errors: u64,
    /// Invocations that were stopped as their function invoked itself in circles (`RecursiveInvocationsDropped`).
    pub recursive_dropped: u64,
}

impl Counters {
    /// Counts one more; returns how many those are by now.
    pub(crate) fn count(&self, what: Count) -> u64 {
        let cell = match what {
            Count::Received => &self.0.received,
            Count::Dropped => &self.0.dropped,
            Count::DestinationFailure => &self.0.destination_failures,
            Count::DeadLetterError => &self.0.dead_letter_errors,
            Count::RecursiveDropped => &self.0.recursive_dropped,
        };
        cell.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The counts as they are now.
    pub(crate) fn read(&self) -> EventCounts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        EventCounts {
            received: read(&self.0.received),
            dropped: read(&self.0.dropped),
            destination_failures: read(&self.0.destination_failures),
            dead_letter_errors: read(&self.0.dead_letter_errors),
            recursive_dropped: read(&self.0.recursive_dropped),
        }
    }
}

/// What has been says nothing about what a function is.
impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
