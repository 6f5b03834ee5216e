//! Places of copies that are made ahead, so that the next copy of a runtime need not wait for its own.
//!
//! One for each runtime that was copied lately, made while nothing starts. Must not be relied upon: whoever finds none makes
//! one on the spot.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use hothouse_sandbox::SandboxSpec;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Inner, lock, snapshot::Original};

/// At one time, whatever they are for.
const MOST: usize = 8;

/// One that nobody needs for so long is let go.
const KEPT: Duration = Duration::from_secs(600);

/// Requests that wait; one more is not needed, since the others make the machine busy for longer than it would save.
const WAITING: usize = 16;

/// The places that are wanted.
#[derive(Debug)]
pub(super) struct Places {
    /// Absent where nothing is kept ready.
    asked: Option<mpsc::Sender<Wanted>>,
    asking: Mutex<Option<mpsc::Receiver<Wanted>>>,
}

/// A place for the next copy of this runtime.
type Wanted = (Weak<Original>, SandboxSpec);

impl Places {
    /// None are made ahead unless they are to be kept.
    pub(super) fn new(kept: bool) -> Places {
        let (asked, asking) = mpsc::channel(WAITING);
        Places { asked: kept.then_some(asked), asking: Mutex::new(kept.then_some(asking)) }
    }

    /// Says that there may be another copy.
    pub(super) fn want(&self, original: &Arc<Original>, spec: SandboxSpec) {
        if let Some(asked) = &self.asked {
            let _ = asked.try_send((Arc::downgrade(original), spec));
        }
    }
}

/// Makes the places that are wanted, and lets those go that are not any more, until `stop`.
pub(super) async fn tend(inner: &Arc<Inner>, stop: &CancellationToken) {
    let Some(mut asking) = lock(&inner.places.asking).take() else { return };
    // Oldest first.
    let mut kept: VecDeque<(Instant, Weak<Original>)> = VecDeque::new();
    loop {
        let expiry = kept.front().map(|(made, _)| *made + KEPT);
        let wanted = tokio::select! {
            () = stop.cancelled() => return,
            wanted = asking.recv() => wanted,
            () = async { sleep_until(expiry.unwrap_or_else(Instant::now)).await }, if expiry.is_some() => None,
        };
        if let Some((original, spec)) = wanted {
            if stop.run_until_cancelled(inner.shelf.quiet()).await.is_none() {
                return;
            }
            let Some(strong) = original.upgrade() else { continue };
            if let Ok(Some(made)) = inner.turns.make(move || strong.make_place(spec)).await {
                kept.retain(|(_, other)| !other.ptr_eq(&original));
                kept.push_back((made, original));
            }
        }
        let is_over = |(made, _): &(Instant, Weak<Original>)| made.elapsed() >= KEPT;
        while kept.len() > MOST || kept.front().is_some_and(is_over) {
            let Some((made, original)) = kept.pop_front() else { break };
            if let Some(original) = original.upgrade() {
                let _ = inner.turns.end(move || original.drop_place(made)).await;
            }
        }
    }
}
