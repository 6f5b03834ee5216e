//! Whose turn it is to make, start or end a sandbox.
//!
//! What the kernel does for these keeps a processor busy. With more threads at it than there are processors it takes
//! longer: they wait for the same locks of the kernel, and each thread makes the service larger, of which every init
//! begins as a copy. Ends have turns of their own, so that no start waits for them. Must not decide what is done.

use std::{io, sync::Arc, thread};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// So many at once for each processor: some steps wait for the kernel.
const FOR_EACH_PROCESSOR: usize = 2;

/// The turns of one executor, each in the order of asking.
#[derive(Debug)]
pub(super) struct Turns {
    make: Arc<Semaphore>,
    start: Arc<Semaphore>,
    end: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new() -> Turns {
        let at_once = FOR_EACH_PROCESSOR * thread::available_parallelism().map_or(1, usize::from);
        let [make, start, end] = [(); 3].map(|()| Arc::new(Semaphore::new(at_once)));
        Turns { make, start, end }
    }

    /// Makes a sandbox.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        in_turn(&self.make, work).await
    }

    /// Starts a process in one that is made.
    pub(super) async fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        in_turn(&self.start, work).await
    }

    /// Ends one.
    pub(super) async fn end<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        in_turn(&self.end, work).await
    }
}

async fn in_turn<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let turn = turns.clone().acquire_owned().await;
    // The work goes on without who asked for it, and its turn with it.
    let in_turn = move || {
        let done = work();
        drop(turn);
        done
    };
    spawn_blocking(in_turn).await.map_err(io::Error::other)
}
