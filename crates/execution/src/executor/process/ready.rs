//! Sandboxes that are kept ready, with interpreters that wait in them, so that the next environments start sooner.
//!
//! Whoever starts one environment is likely to start another with the same runtime, so that as many are made as were
//! taken, while nothing starts. One is used once: it becomes an environment's, or ends. Must not be relied upon: whoever
//! finds none makes a sandbox on the spot, and starts an interpreter of his own.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use hothouse_sandbox::{Ready, SandboxSpec, Template};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    early::{Early, Waiting},
    lock,
};
use crate::executor::StartError;

/// Of a kind, however many were taken at once.
const MOST_OF_A_KIND: usize = 4;

/// On the shelf at one time, however small.
const MOST: usize = 8;

/// Kinds that are known at one time; more are only those that were taken.
const KINDS: usize = 16;

/// None is made before nothing has started for so long: what starts has the machine for itself.
const QUIET: Duration = Duration::from_millis(20);

/// Those of a kind that nobody has asked for as long as this are let go.
const KEPT: Duration = Duration::from_secs(600);

/// What a sandbox takes without an interpreter, with what the kernel keeps of it.
const SANDBOX_BYTES: u64 = 1024 * 1024;

/// What an interpreter of a kind is thought to take until one was seen that waits.
const INTERPRETER_BYTES: u64 = 24 * 1024 * 1024;

/// The sandboxes that are ready.
#[derive(Debug)]
pub(super) struct Shelf {
    /// What they may take together, in bytes.
    budget: u64,
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

/// Sandboxes of one template, with the same interpreter.
#[derive(Debug)]
struct Kind {
    template: Template,
    early: Option<Arc<Early>>,
    /// Of the last one that was asked for.
    spec: SandboxSpec,
    ready: Vec<Made>,
    /// How many there should be.
    wanted: usize,
    /// Since there were as many as wanted.
    taken: usize,
    asked: Instant,
    /// The most that an interpreter took while it waited, in bytes.
    seen: u64,
}

/// A sandbox, and the service's ends of an interpreter that waits in it.
type Made = (Ready, Option<Waiting>);

/// What somebody wants to have.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) template: &'a Template,
    pub(super) early: Option<&'a Arc<Early>>,
    pub(super) spec: &'a SandboxSpec,
}

/// What to do for the shelf.
#[derive(Debug)]
enum Chore {
    /// Nothing before this time, or before somebody asks for a sandbox.
    Wait(Option<Instant>),
    /// Make one more of this kind.
    Make(Template, Option<Arc<Early>>, Box<SandboxSpec>),
    /// Let these go.
    Remove(Vec<Made>),
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
    /// A shelf with room for so many bytes.
    pub(super) fn new(budget: u64) -> Shelf {
        let content = Content { kinds: Vec::new(), starting: 0, busy: Instant::now() };
        Shelf { budget, content: Mutex::new(content), asked: Notify::new() }
    }

    /// Says that an environment starts.
    pub(super) fn starting(self: &Arc<Self>) -> Starting {
        let mut content = lock(&self.content);
        content.starting += 1;
        content.busy = Instant::now();
        Starting(self.clone())
    }

    /// Waits until nothing has started for a while.
    pub(super) async fn quiet(&self) {
        loop {
            let since = {
                let content = lock(&self.content);
                if content.starting > 0 { Instant::now() } else { content.busy }
            };
            if since.elapsed() >= QUIET {
                return;
            }
            sleep_until(since + QUIET).await;
        }
    }

    /// Takes a sandbox that can become this one, if there is any, with its interpreter if it has one. There will be
    /// another.
    pub(super) fn take(&self, wanted: &Wanted<'_>) -> Option<Made> {
        let mut content = lock(&self.content);
        let mut kind = match content.position(wanted.template, wanted.early) {
            Some(index) => content.kinds.remove(index),
            None => Kind::new(wanted),
        };
        let mut ready = kind.take(wanted.spec);
        content.kinds.push(kind);
        if ready.is_none() && wanted.early.is_some() {
            // One without an interpreter is better than none.
            let plain = content.position(wanted.template, None);
            ready = plain.and_then(|index| content.kinds[index].find(wanted.spec));
        }
        drop(content);
        self.asked.notify_one();
        ready
    }

    /// Somebody may ask for this soon: one is made ahead if there is room for it.
    pub(super) fn expect(&self, wanted: &Wanted<'_>) {
        let mut content = lock(&self.content);
        let index = match content.position(wanted.template, wanted.early) {
            Some(index) => index,
            None if content.kinds.len() >= KINDS => return,
            None => {
                // Nobody has asked for it yet, so it goes before those that were asked for.
                content.kinds.insert(0, Kind::new(wanted));
                0
            }
        };
        let kind = &mut content.kinds[index];
        kind.spec = wanted.spec.clone();
        kind.wanted = kind.wanted.max(1);
        kind.asked = Instant::now();
        drop(content);
        self.asked.notify_one();
    }

    /// Fills the shelf while nothing starts, until `stop`. Returns when nothing is left on it.
    pub(super) async fn tend(self: Arc<Self>, stop: CancellationToken) {
        while let Some(chore) = stop.run_until_cancelled(self.next_chore()).await {
            match chore {
                Chore::Wait(_) => {}
                Chore::Make(template, early, spec) => self.make(template, early, spec).await,
                Chore::Remove(ready) => remove(ready).await,
            }
        }
        let kinds = mem::take(&mut lock(&self.content).kinds);
        remove(kinds.into_iter().flat_map(|kind| kind.ready).collect()).await;
    }

    /// Waits until there is something to do.
    async fn next_chore(&self) -> Chore {
        loop {
            let chore = lock(&self.content).chore(self.budget, Instant::now());
            // Who has asked since then has left a mark.
            match chore {
                Chore::Wait(None) => self.asked.notified().await,
                Chore::Wait(Some(until)) => drop(timeout_at(until, self.asked.notified()).await),
                chore => return chore,
            }
        }
    }

    async fn make(&self, template: Template, early: Option<Arc<Early>>, spec: Box<SandboxSpec>) {
        let (wanted, interpreter) = (template.clone(), early.clone());
        let made = spawn_blocking(move || make(&template, interpreter.as_deref(), &spec)).await;
        let mut content = lock(&self.content);
        let Some(index) = content.position(&wanted, early.as_ref()) else { return };
        let kind = &mut content.kinds[index];
        match made {
            Ok(Ok(Some(made))) => kind.ready.push(made),
            // The machine gives none. The next start tries again.
            Ok(Ok(None)) | Err(_) => kind.wanted = 0,
            Ok(Err(error)) => {
                kind.wanted = 0;
                tracing::debug!(error = crate::chain(&error), "failed to make a sandbox ahead");
            }
        }
    }
}

/// Makes a sandbox, and starts an interpreter in it where it may be.
fn make(template: &Template, early: Option<&Early>, spec: &SandboxSpec) -> Result<Option<Made>, StartError> {
    let Some(mut ready) = Ready::make(template, spec).map_err(StartError::Sandbox)? else { return Ok(None) };
    let Some(early) = early else { return Ok(Some((ready, None))) };
    let (command, waiting) = early.command()?;
    let started = ready.start(command).map_err(StartError::Sandbox)?;
    Ok(Some((ready, started.then_some(waiting))))
}

impl Content {
    fn position(&self, template: &Template, early: Option<&Arc<Early>>) -> Option<usize> {
        self.kinds.iter().position(|kind| kind.template.is(template) && kind.early.as_ref() == early)
    }

    /// What to do next. Where there is no room for more, those give way that were not asked for longest.
    fn chore(&mut self, budget: u64, now: Instant) -> Chore {
        if budget == 0 {
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
        let dead: Vec<Made> = self.kinds.iter_mut().flat_map(Kind::look).collect();
        if !dead.is_empty() {
            return Chore::Remove(dead);
        }
        let all: usize = self.kinds.iter().map(|kind| kind.ready.len()).sum();
        let used: u64 = self.kinds.iter().map(|kind| kind.bytes() * kind.ready.len() as u64).sum();
        while let Some(short) = self.kinds.iter().rposition(|kind| kind.ready.len() < kind.wanted) {
            let kind = &self.kinds[short];
            if all < MOST && used + kind.bytes() <= budget {
                return Chore::Make(kind.template.clone(), kind.early.clone(), Box::new(kind.spec.clone()));
            }
            let first = self.kinds.iter().position(|kind| !kind.ready.is_empty()).unwrap_or(short);
            if first < short {
                let kind = &mut self.kinds[first];
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
    fn new(wanted: &Wanted<'_>) -> Kind {
        Kind {
            template: wanted.template.clone(),
            early: wanted.early.cloned(),
            spec: SandboxSpec::default(),
            ready: Vec::new(),
            wanted: 0,
            taken: 0,
            asked: Instant::now(),
            seen: 0,
        }
    }

    fn take(&mut self, spec: &SandboxSpec) -> Option<Made> {
        self.spec = spec.clone();
        self.asked = Instant::now();
        self.taken += 1;
        self.wanted = self.taken.min(MOST_OF_A_KIND);
        self.find(spec)
    }

    fn find(&mut self, spec: &SandboxSpec) -> Option<Made> {
        let mut found = None;
        while found.is_none() {
            let suits = |(ready, _): &Made| ready.suits(&self.template, spec);
            let index = self.ready.iter().rposition(suits)?;
            // One that died is gone already but for its place.
            found = Some(self.ready.remove(index)).filter(is_alive);
        }
        found
    }

    /// Looks after those that wait: what they take, and which of them have died.
    fn look(&mut self) -> Vec<Made> {
        let taken = self.ready.iter().filter_map(|(ready, _)| ready.program_memory()).max();
        self.seen = self.seen.max(taken.unwrap_or(0));
        self.ready.extract_if(.., |made| !is_alive(made)).collect()
    }

    /// What one of them takes.
    fn bytes(&self) -> u64 {
        match (&self.early, self.seen) {
            (None, _) => SANDBOX_BYTES,
            (Some(_), 0) => SANDBOX_BYTES + INTERPRETER_BYTES,
            (Some(_), seen) => SANDBOX_BYTES + seen,
        }
    }
}

fn is_alive((ready, waiting): &Made) -> bool {
    ready.is_alive() && waiting.as_ref().is_none_or(Waiting::is_alive)
}

/// Ending an init and removing its place blocks.
async fn remove(ready: Vec<Made>) {
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

    fn take(shelf: &Shelf, template: &Template) -> Option<Made> {
        shelf.take(&Wanted { template, early: None, spec: &spec() })
    }

    fn expect(shelf: &Shelf, template: &Template) {
        shelf.expect(&Wanted { template, early: None, spec: &spec() });
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
            let chore = lock(&shelf.content).chore(shelf.budget, Instant::now());
            match chore {
                Chore::Wait(_) => return,
                Chore::Make(template, early, spec) => shelf.make(template, early, spec).await,
                Chore::Remove(ready) => remove(ready).await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_made_as_were_taken() {
        let Some(templates) = templates(1) else { return };
        let template = &templates[0];
        let shelf = Shelf::new(8 * SANDBOX_BYTES);
        tidy(&shelf).await;
        assert!(take(&shelf, template).is_none(), "none before one was asked for");
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), 1);
        let taken: Vec<bool> = (0..3).map(|_| take(&shelf, template).is_some()).collect();
        assert_eq!(taken, [true, false, false]);
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), 3);
        (0..9).for_each(|_| drop(take(&shelf, template)));
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), MOST_OF_A_KIND);
        assert!(take(&shelf, template).is_some());
        tidy(&shelf).await;
        assert_eq!(on(&shelf, template), MOST_OF_A_KIND - 1, "one at a time needs no more of them");
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_made_while_an_environment_starts() {
        let Some(templates) = templates(1) else { return };
        let shelf = Arc::new(Shelf::new(8 * SANDBOX_BYTES));
        let starting = shelf.starting();
        take(&shelf, &templates[0]);
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
        let shelf = Shelf::new(2 * SANDBOX_BYTES);
        let mut steps = Vec::new();
        for template in &templates {
            take(&shelf, template);
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
        take(&shelf, &templates[0]);
        tidy(&shelf).await;
        assert_eq!(on(&shelf, &templates[0]), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_asked_for_is_made_where_there_is_room() {
        let Some(templates) = templates(3) else { return };
        let shelf = Shelf::new(2 * SANDBOX_BYTES);
        take(&shelf, &templates[0]);
        for _ in 0..10 {
            expect(&shelf, &templates[1]);
        }
        tidy(&shelf).await;
        assert_eq!((on(&shelf, &templates[0]), on(&shelf, &templates[1])), (1, 1), "once, however often");
        expect(&shelf, &templates[2]);
        tidy(&shelf).await;
        assert_eq!(on(&shelf, &templates[2]), 0, "nobody gives way to what was not asked for");
        take(&shelf, &templates[2]);
        tidy(&shelf).await;
        let all: Vec<_> = templates.iter().map(|template| on(&shelf, template)).collect();
        assert_eq!(all, [1, 0, 1], "who asks goes before who may ask");
        tokio::time::advance(KEPT).await;
        tidy(&shelf).await;
        assert!(lock(&shelf.content).kinds.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_what_may_be_asked_for() {
        let Some(templates) = templates(KINDS + 4) else { return };
        let shelf = Shelf::new(u64::MAX / 2);
        for template in &templates {
            expect(&shelf, template);
        }
        tidy(&shelf).await;
        assert_eq!(templates.iter().map(|template| on(&shelf, template)).sum::<usize>(), MOST);
        assert_eq!(lock(&shelf.content).kinds.len(), KINDS);
    }
}
