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
    /// Not told of the ends of starts: who tends the shelf would look after it while an invocation begins.
    asked: Notify,
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
    /// Nothing before this time, or before somebody asks for a sandbox.
    Wait(Option<Instant>),
    /// Make one more of this kind.
    Make(Template, Box<SandboxSpec>),
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
    }
}

impl Shelf {
    /// A shelf with room for so many.
    pub(super) fn new(most: usize) -> Shelf {
        let content = Content { kinds: Vec::new(), starting: 0, busy: Instant::now() };
        Shelf { most, content: Mutex::new(content), asked: Notify::new() }
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
        drop(content);
        self.asked.notify_one();
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
            // Who has asked since then has left a mark.
            match chore {
                Chore::Wait(None) => self.asked.notified().await,
                Chore::Wait(Some(until)) => drop(timeout_at(until, self.asked.notified()).await),
                chore => return chore,
            }
        }
    }

    async fn make(&self, template: Template, spec: Box<SandboxSpec>) {
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
    /// What to do next. Where there is no room for more, those give way that were not asked for longest.
    fn chore(&mut self, most: usize, now: Instant) -> Chore {
        if most == 0 {
            return Chore::Wait(None);
        }
        if self.starting > 0 {
            return Chore::Wait(Some(now + QUIET));
        }
        if now < self.busy + QUIET {
            return Chore::Wait(Some(self.busy + QUIET));
        }
        if let Some(index) = self.kinds.iter().position(|kind| now >= kind.asked + KEPT) {
            return Chore::Remove(self.kinds.remove(index).ready);
        }
        let all: usize = self.kinds.iter().map(|kind| kind.ready.len()).sum();
        while let Some(short) = self.kinds.iter().rposition(|kind| kind.ready.len() < kind.wanted) {
            let first = self.kinds.iter().position(|kind| !kind.ready.is_empty()).unwrap_or(short);
            let kind = &mut self.kinds[if all < most { short } else { first }];
            if all < most {
                return Chore::Make(kind.template.clone(), Box::new(kind.spec.clone()));
            }
            if first < short {
                kind.wanted = kind.ready.len() - 1;
                return Chore::Remove(kind.ready.pop().into_iter().collect());
            }
            // Nobody gives way to those that were not asked for longest.
            self.kinds[short].wanted = self.kinds[short].ready.len();
        }
        for kind in &mut self.kinds {
            kind.taken = 0;
        }
        Chore::Wait(self.kinds.iter().map(|kind| kind.asked + KEPT).min())
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

#[cfg(test)]
mod tests {
    use hothouse_sandbox::{Level, TemplateSpec};

    use super::*;

    fn spec() -> SandboxSpec {
        SandboxSpec { tmp_bytes: 1 << 20, hostname: "ready".into(), ..SandboxSpec::default() }
    }

    /// Templates whose sandboxes can be ready, or none and a line that says why the test is skipped.
    fn templates(count: usize) -> Option<Vec<Template>> {
        let template =
            || Template::create(TemplateSpec { level: Level::Best, ..TemplateSpec::default() }).unwrap();
        let templates: Vec<Template> = (0..count).map(|_| template()).collect();
        if Ready::make(&templates[0], &spec()).unwrap().is_none() {
            println!("skipped: only root keeps sandboxes ready");
            return None;
        }
        Some(templates)
    }

    fn on(shelf: &Shelf, template: &Template) -> usize {
        let content = lock(&shelf.content);
        let kind = content.kinds.iter().find(|kind| kind.template.is(template));
        kind.map_or(0, |kind| kind.ready.len())
    }

    /// Does what there is to do, as long as there is something.
    async fn tidy(shelf: &Shelf) {
        tokio::time::advance(QUIET).await;
        loop {
            let chore = lock(&shelf.content).chore(shelf.most, Instant::now());
            match chore {
                Chore::Wait(_) => return,
                Chore::Make(template, spec) => shelf.make(template, spec).await,
                Chore::Remove(ready) => remove(ready).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_made_as_were_taken() {
        let Some(templates) = templates(1) else { return };
        let template = &templates[0];
        let shelf = Shelf::new(8);
        tidy(&shelf).await;
        assert!(shelf.take(template, &spec()).is_none(), "none before one was asked for");
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), 1);
        let taken: Vec<bool> = (0..3).map(|_| shelf.take(template, &spec()).is_some()).collect();
        assert_eq!(taken, [true, false, false]);
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), 3);
        (0..9).for_each(|_| drop(shelf.take(template, &spec())));
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), MOST_OF_A_KIND);
        assert!(shelf.take(template, &spec()).is_some());
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), MOST_OF_A_KIND - 1, "one at a time needs no more of them");
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_made_while_an_environment_starts() {
        let Some(templates) = templates(1) else { return };
        let shelf = Arc::new(Shelf::new(8));
        let starting = shelf.starting();
        shelf.take(&templates[0], &spec());
        tidy(&shelf).await;
        assert_eq!(on(&shelf, &templates[0]), 0);
        drop(starting);
        let stop = CancellationToken::new();
        let stopped = async {
            while on(&shelf, &templates[0]) == 0 {
                tokio::time::sleep(QUIET).await;
            }
            stop.cancel();
        };
        tokio::join!(shelf.clone().tend(stop.clone()), stopped);
        assert_eq!(on(&shelf, &templates[0]), 0, "nothing is left when the service ends");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_not_asked_for_longest_give_way_and_all_go_in_the_end() {
        let Some(templates) = templates(3) else { return };
        let shelf = Shelf::new(2);
        let mut steps = Vec::new();
        for template in &templates {
            shelf.take(template, &spec());
            tidy(&shelf).await;
            steps.push(templates.iter().map(|template| on(&shelf, template)).collect::<Vec<_>>());
        }
        assert_eq!(steps, [[1, 0, 0], [1, 1, 0], [0, 1, 1]]);
        tokio::time::advance(KEPT).await;
        tidy(&shelf).await;
        assert!(lock(&shelf.content).kinds.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_there_is_none() {
        let Some(templates) = templates(1) else { return };
        let shelf = Shelf::new(0);
        shelf.take(&templates[0], &spec());
        tidy(&shelf).await;
        assert_eq!(on(&shelf, &templates[0]), 0);
    }
}
