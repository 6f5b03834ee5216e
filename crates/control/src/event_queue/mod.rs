//! Asynchronous invocation: events wait here from the answer 202 to their final outcome.
//!
//! Each event has one task, which alone attempts it: started when the event is accepted, or when the service starts
//! with it. What is in the state is what is to be done: an event is attempted until its outcome is final, then reported
//! to those who are to hear of it, and leaves the state when they all have. Must not know how a function is invoked.

mod record;
mod report;
mod rules;
mod worker;

use std::{fmt, sync::Arc};

use hothouse_api::{
    ApiError,
    name::{Qualifier, RequestId},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{
    control::Control,
    error,
    metrics::Metric,
    state::{
        Change, Event,
        model::{FunctionKey, queued::QueuedEvent},
    },
};
use worker::Worker;

/// Attempts of one function's events at once; more events wait. Other functions' events have slots of their own.
const SLOTS: usize = 100;

/// Reports about one function's events that are sent at once; each has the bytes of its event in memory.
const SENDERS: usize = 32;

/// A function's slots for attempts, and for what is told of them. Clones share them.
#[derive(Clone)]
pub struct Slots {
    free: Arc<Semaphore>,
    senders: Arc<Semaphore>,
    /// An attempt has ended: one that was throttled may run now.
    ended: Arc<Notify>,
}

impl Slots {
    /// Waits for a free slot; whoever waits first gets it first.
    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

impl Default for Slots {
    fn default() -> Self {
        let of = |slots| Arc::new(Semaphore::new(slots));
        Self { free: of(SLOTS), senders: of(SENDERS), ended: Arc::default() }
    }
}

/// What is attempted says nothing about what a function is.
impl PartialEq for Slots {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({} free)", self.free.available_permits())
    }
}

/// Takes an event: it is kept when this returns, and will be attempted.
///
/// # Errors
/// If the function has gone, or the store fails.
pub(crate) async fn accept(
    control: &Control,
    key: FunctionKey,
    id: RequestId,
    event: QueuedEvent,
) -> Result<(), ApiError> {
    let this = control.clone();
    control
        .run(async move {
            let keys = [&key];
            let qualifier = event.qualifier.clone();
            let queued = this.change_queues(&keys, |state| match state.function(&key) {
                Some(_) => {
                    let event = Event::Queued { id, event: Arc::new(event) };
                    Ok((vec![Change::Function { key: key.clone(), event }], ()))
                }
                None => Err(error::function_not_found(key.arn().with_qualifier(Qualifier::Latest))),
            });
            queued.await?;
            this.count(&key, &qualifier, Metric::AsyncEventsReceived, 1.0);
            start(&this, key, id);
            Ok(())
        })
        .await
}

/// Goes on with the events that the last run of the service has left, oldest first.
pub(crate) fn resume(control: &Control) {
    let mut left: Vec<(i64, FunctionKey, RequestId)> = control
        .state()
        .all_functions()
        .flat_map(|(key, function)| {
            function.queue.iter().map(move |(id, event)| (event.accepted, key.clone(), *id))
        })
        .collect();
    left.sort_unstable_by_key(|(accepted, ..)| *accepted);
    if !left.is_empty() {
        tracing::info!(events = left.len(), "going on with events of asynchronous invocations");
    }
    for (_, key, id) in left {
        start(control, key, id);
    }
}

fn start(control: &Control, key: FunctionKey, id: RequestId) {
    let queued = control.state().function(&key).and_then(|function| function.queue.get(&id).cloned());
    let qualifier = queued.and_then(|event| event.qualifier.clone());
    let worker = Worker { control: control.clone(), key, qualifier, id };
    let working = control.timeline().working();
    control.spawn(async move {
        // What the service did not get to is there at the next start.
        let _ = worker.work(working).await;
    });
}
