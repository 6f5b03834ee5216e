//! A runtime that copies are made of, and the places of the copies.
//!
//! The sandbox makes the copies and gives them nothing that others have. Must not know what the runtime does afterwards.

use std::{
    fmt, io,
    os::fd::{OwnedFd, RawFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use futures_util::future::BoxFuture;
use hothouse_sandbox::{Process, Sandbox, SandboxSpec, Snapshot, SpawnError};
use tokio::{sync::oneshot, time::Instant};

use super::{ProcessExecutor, lock};
use crate::executor::{Created, Launch, SnapshotTemplate, StartError};

/// What a runtime finds in answer to `restore/next`: a copy reads it where the original would have.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// After so many copies in a row that failed another original is tried. A single one may have failed for want of memory or
/// processes, which another original would not change.
const FAILURES: u32 = 3;

/// A runtime that rests, with its sandbox. It lasts as long as copies of it do, in whose process tree it is.
pub(super) struct Original {
    // Dropped in this order.
    /// The place of the next copy, and when it was made.
    place: Mutex<Option<(Instant, Sandbox)>>,
    process: Arc<Mutex<Process>>,
    _sandbox: Sandbox,
    snapshot: Snapshot,
    /// Copies that failed since the last that did not.
    failures: AtomicU32,
    /// Says that it is good for nothing more.
    given_up: Mutex<Option<oneshot::Sender<()>>>,
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Original").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Original {
    /// Makes a runtime the original of copies, or gives its sandbox back with the reason why there can be none. It was
    /// given these descriptors, and waits to read from `rests_at`. Blocks.
    pub(super) fn take(
        sandbox: Sandbox,
        process: Arc<Mutex<Process>>,
        given: &[RawFd],
        rests_at: RawFd,
        given_up: oneshot::Sender<()>,
    ) -> Result<Original, Box<(Sandbox, hothouse_sandbox::Unfit)>> {
        let snapshot = Snapshot::take(&sandbox, &lock(&process), given, rests_at);
        match snapshot {
            Ok(snapshot) => {
                let given_up = Mutex::new(Some(given_up));
                Ok(Original {
                    place: Mutex::default(),
                    process,
                    _sandbox: sandbox,
                    snapshot,
                    failures: AtomicU32::new(0),
                    given_up,
                })
            }
            Err(unfit) => Err(Box::new((sandbox, unfit))),
        }
    }

    /// The place of a copy: all have the same. Blocks if there is none yet.
    pub(super) fn place(&self, spec: &SandboxSpec) -> Result<Sandbox, SpawnError> {
        let ready = lock(&self.place).take();
        tracing::debug!(ready = ready.is_some(), "a copy has a place");
        ready.map_or_else(|| self.snapshot.place(spec.clone()), |(_, place)| Ok(place))
    }

    /// Makes the place of the next copy, if there is none; when it did. Blocks.
    pub(super) fn make_place(&self, spec: SandboxSpec) -> Option<Instant> {
        if lock(&self.place).is_some() {
            return None;
        }
        let place = self.snapshot.place(spec).ok()?;
        let made = Instant::now();
        *lock(&self.place) = Some((made, place));
        Some(made)
    }

    /// Lets the place go that was made then, if no copy has it. Blocks.
    pub(super) fn drop_place(&self, made: Instant) {
        let place = lock(&self.place).take_if(|(when, _)| *when == made);
        drop(place);
    }

    /// Makes a copy. If that fails again and again, the original is of no use: there will be another. Blocks.
    pub(super) fn restore(
        &self,
        place: &mut Sandbox,
        descriptors: Vec<(OwnedFd, RawFd)>,
    ) -> Result<Process, SpawnError> {
        let restored = self.snapshot.restore(&lock(&self.process), place, descriptors);
        if restored.is_ok() {
            self.failures.store(0, Relaxed);
        } else if self.failures.fetch_add(1, Relaxed) + 1 >= FAILURES {
            self.give_up();
        }
        restored
    }

    /// Ends it, and not the copies.
    pub(super) fn give_up(&self) {
        if let Some(given_up) = lock(&self.given_up).take() {
            let _ = given_up.send(());
            let _: io::Result<()> = lock(&self.process).signal_program(0, super::instance::KILL);
        }
    }
}

/// Makes environments whose runtimes are copies.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) original: Arc<Original>,
    pub(super) executor: ProcessExecutor,
}

impl SnapshotTemplate for Copies {
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        self.executor.create_place(launch, Some(self.original.clone()))
    }
}
