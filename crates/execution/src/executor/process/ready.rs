//! Sandboxes that are kept ready, so that the next environments start sooner.
//!
//! Whoever starts one environment is likely to start another with the same runtime, so that as many are made as were
//! taken, while nothing starts. One is used once: it becomes an environment's, or ends. Must not be relied upon: whoever
//! finds none makes a sandbox on the spot.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use hothouse_sandbox::{Ready, SandboxSpec, Template};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::lock;

/// Of one kind, however many were taken at once.
const MOST_OF_A_KIND: usize = 4;

/// None is made before nothing has started for so long: what starts has the machine for itself.
const QUIET: Duration = Duration::from_millis(20);

/// Those of a kind that nobody has asked for as long as this are let go.
const KEPT: Duration = Duration::from_secs(600);

/// The sandboxes that are ready.
#[derive(Debug)]
pub(super) struct Shelf {
    /// On the shelf at one time.
    most: usize,
    content: Mutex<Content>,
    changed: Notify,
}

#[derive(Debug)]
struct Content {
    /// Least recently asked for first.
    kinds: Vec<Kind>,
    /// Environments that are starting.
    starting: usize,
    /// When one last began or ended to start.
    busy: Instant,
}

/// Sandboxes of one template.
#[derive(Debug)]
struct Kind {
    template: Template,
    /// Of the last one that was asked for.
    spec: SandboxSpec,
    ready: Vec<Ready>,
    /// How many there should be.
    wanted: usize,
    /// Since there were as many as wanted.
    taken: usize,
    asked: Instant,
}

/// What to do for the shelf.
#[derive(Debug)]
enum Chore {
    /// Nothing before this time, or before something changes.
    Wait(Option<Instant>),
    /// Make one more of this kind.
    Make(Template, SandboxSpec),
    /// Let these go.
    Remove(Vec<Ready>),
}

/// An environment starts as long as this lives.
#[derive(Debug)]
pub(super) struct Starting(Arc<Shelf>);

impl Drop for Starting {
    fn drop(&mut self) {
        let mut content = lock(&self.0.content);
        content.starting -= 1;
        content.busy = Instant::now();
        drop(content);
        self.0.changed.notify_one();
    }
}

impl Shelf {
    /// A shelf with room for so many.
    pub(super) fn new(most: usize) -> Shelf {
        let content = Content { kinds: Vec::new(), starting: 0, busy: Instant::now() };
        Shelf { most, content: Mutex::new(content), changed: Notify::new() }
    }

    /// Says that an environment starts.
    pub(super) fn starting(self: &Arc<Self>) -> Starting {
        let mut content = lock(&self.content);
        content.starting += 1;
        content.busy = Instant::now();
        Starting(self.clone())
    }

    /// Takes a sandbox that can become this one, if there is any. There will be another.
    pub(super) fn take(&self, template: &Template, spec: &SandboxSpec) -> Option<Ready> {
        let mut content = lock(&self.content);
        let known = content.kinds.iter().position(|kind| kind.template.is(template));
        let mut kind = match known {
            Some(index) => content.kinds.remove(index),
            None => Kind::new(template.clone()),
        };
        let ready = kind.take(spec);
        content.kinds.push(kind);
        ready
    }

    /// Fills the shelf while nothing starts, until `stop`. Returns when nothing is left on it.
    pub(super) async fn tend(self: Arc<Self>, stop: CancellationToken) {
        while let Some(chore) = stop.run_until_cancelled(self.next_chore()).await {
            match chore {
                Chore::Wait(_) => {}
                Chore::Make(template, spec) => self.make(template, spec).await,
                Chore::Remove(ready) => remove(ready).await,
            }
        }
        let kinds = mem::take(&mut lock(&self.content).kinds);
        remove(kinds.into_iter().flat_map(|kind| kind.ready).collect()).await;
    }

    /// Waits until there is something to do.
    async fn next_chore(&self) -> Chore {
        loop {
            let chore = lock(&self.content).chore(self.most, Instant::now());
            // A change since then has left its mark.
            match chore {
                Chore::Wait(None) => self.changed.notified().await,
                Chore::Wait(Some(until)) => drop(timeout_at(until, self.changed.notified()).await),
                chore => return chore,
            }
        }
    }

    async fn make(&self, template: Template, spec: SandboxSpec) {
        let wanted = template.clone();
        let made = spawn_blocking(move || Ready::make(&template, &spec)).await;
        let mut content = lock(&self.content);
        let Some(kind) = content.kinds.iter_mut().find(|kind| kind.template.is(&wanted)) else { return };
        match made {
            Ok(Ok(Some(ready))) => kind.ready.push(ready),
            // The machine gives none. The next start tries again.
            Ok(Ok(None)) | Err(_) => kind.wanted = 0,
            Ok(Err(error)) => {
                kind.wanted = 0;
                tracing::debug!(error = crate::chain(&error), "failed to make a sandbox ahead");
            }
        }
    }
}

impl Content {
    /// What to do next. With more than `most` on the shelf, those give way that were not asked for longest.
    fn chore(&mut self, most: usize, now: Instant) -> Chore {
        if self.starting > 0 || most == 0 {
            return Chore::Wait(None);
        }
        if now < self.busy + QUIET {
            return Chore::Wait(Some(self.busy + QUIET));
        }
        if let Some(index) = self.kinds.iter().position(|kind| now >= kind.asked + KEPT) {
            return Chore::Remove(self.kinds.remove(index).ready);
        }
        let all: usize = self.kinds.iter().map(|kind| kind.ready.len()).sum();
        let Some(short) = self.kinds.iter().rposition(|kind| kind.ready.len() < kind.wanted.min(most)) else {
            for kind in &mut self.kinds {
                kind.taken = 0;
            }
            return Chore::Wait(self.kinds.iter().map(|kind| kind.asked + KEPT).min());
        };
        if all < most {
            let kind = &self.kinds[short];
            return Chore::Make(kind.template.clone(), kind.spec.clone());
        }
        // Whoever is short may itself be the one that was not asked for longest.
        let first = self.kinds.iter_mut().find(|kind| !kind.ready.is_empty());
        let Some(first) = first else { return Chore::Wait(None) };
        first.wanted = first.ready.len() - 1;
        Chore::Remove(first.ready.pop().into_iter().collect())
    }
}

impl Kind {
    fn new(template: Template) -> Kind {
        let (spec, asked) = (SandboxSpec::default(), Instant::now());
        Kind { template, spec, ready: Vec::new(), wanted: 0, taken: 0, asked }
    }

    fn take(&mut self, spec: &SandboxSpec) -> Option<Ready> {
        self.spec = spec.clone();
        self.asked = Instant::now();
        self.taken += 1;
        self.wanted = self.taken.min(MOST_OF_A_KIND);
        let suits = |ready: &Ready| ready.suits(&self.template, spec);
        let mut found = None;
        while found.is_none() {
            let index = self.ready.iter().rposition(suits)?;
            // One that died is gone already but for its place.
            found = Some(self.ready.remove(index)).filter(Ready::is_alive);
        }
        found
    }
}

/// Ending an init and removing its place blocks.
async fn remove(ready: Vec<Ready>) {
    let _ = spawn_blocking(move || drop(ready)).await;
}
