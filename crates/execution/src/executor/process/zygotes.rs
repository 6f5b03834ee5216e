//! Zygotes for bursts: when many environments of one runtime start at once, their interpreters are copies of one.
//!
//! A copy costs a sixth of a start, but shares with its siblings what an interpreter chooses once: its hash seed and the
//! places of its memory. So copies are for those that have no interpreter waiting while many start at once.
//! A zygote is made when the first copy is wanted, and goes when none was for long. Must not be relied upon: without one,
//! an interpreter is started.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hothouse_sandbox::{Command, Process, Sandbox, SpawnError, Template, Zygote};
use tokio::{sync::Notify, task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{early::Early, lock};

/// So many of one runtime may start at a time with an interpreter of their own each.
const BURST_BEGINS: usize = 8;

/// Zygotes at one time, and runtimes that are remembered.
const MOST: usize = 8;

/// One of which nobody has wanted a copy for as long as this is let go.
const KEPT: Duration = Duration::from_secs(600);

/// After a failure no zygote of that runtime is made for so long.
const FORBORNE: Duration = Duration::from_secs(60);

/// The zygotes of an executor.
#[derive(Debug)]
pub(super) struct Zygotes {
    /// Whether there may be any.
    wanted: bool,
    /// Those last started last.
    runtimes: Mutex<Vec<Arc<Runtime>>>,
    made: Notify,
}

/// Interpreters that are alike, and show the same root.
#[derive(Debug)]
struct Runtime {
    template: Template,
    early: Arc<Early>,
    /// Environments that start.
    starting: AtomicUsize,
    zygote: Mutex<State>,
}

#[derive(Debug)]
enum State {
    None,
    Kept {
        zygote: Arc<Zygote>,
        used: Instant,
    },
    /// It failed, then.
    Failed(Instant),
}

/// An environment that starts, as long as this lives.
#[derive(Debug)]
pub(super) struct Birth {
    runtime: Arc<Runtime>,
    /// Whether it is one of many.
    in_burst: bool,
    made: Arc<Zygotes>,
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.runtime.starting.fetch_sub(1, Relaxed);
    }
}

impl Zygotes {
    /// None yet; never any if they are not `wanted`.
    pub(super) fn new(wanted: bool) -> Zygotes {
        Zygotes { wanted, runtimes: Mutex::default(), made: Notify::new() }
    }

    /// Says that an environment with this interpreter starts.
    pub(super) fn starting(self: &Arc<Self>, template: &Template, early: &Arc<Early>) -> Option<Birth> {
        if !self.wanted {
            return None;
        }
        early.zygote()?;
        let mut runtimes = lock(&self.runtimes);
        let known =
            runtimes.iter().position(|runtime| runtime.template.is(template) && runtime.early == *early);
        let runtime = match known {
            Some(index) => runtimes.remove(index),
            None => Arc::new(Runtime {
                template: template.clone(),
                early: early.clone(),
                starting: AtomicUsize::new(0),
                zygote: Mutex::new(State::None),
            }),
        };
        runtimes.push(runtime.clone());
        let gone = (runtimes.len() > MOST).then(|| runtimes.remove(0));
        drop(runtimes);
        // Ending a zygote takes a moment, which nobody waits for with the list locked.
        drop(gone);
        let before = runtime.starting.fetch_add(1, Relaxed);
        Some(Birth { runtime, in_burst: before >= BURST_BEGINS, made: self.clone() })
    }

    /// Lets go what is not wanted any more, until `stop`. Returns when no zygote is left.
    pub(super) async fn tend(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let due = self.next_end();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => self.made.notified().await,
                }
            };
            let stopped = stop.run_until_cancelled(wait).await.is_none();
            let zygotes = self.clone();
            let _ = spawn_blocking(move || zygotes.let_go(if stopped { None } else { Some(Instant::now()) }))
                .await;
            if stopped {
                return;
            }
        }
    }

    fn next_end(&self) -> Option<Instant> {
        let runtimes = lock(&self.runtimes).clone();
        let ends = runtimes.iter().filter_map(|runtime| match &*lock(&runtime.zygote) {
            State::Kept { used, .. } => Some(*used + KEPT),
            State::None | State::Failed(_) => None,
        });
        ends.min()
    }

    /// Lets go those whose time has come by then, or all. Blocks.
    fn let_go(&self, now: Option<Instant>) {
        let runtimes = lock(&self.runtimes).clone();
        for runtime in runtimes {
            let mut state = lock(&runtime.zygote);
            if let State::Kept { used, .. } = &*state
                && now.is_none_or(|now| *used + KEPT <= now)
            {
                *state = State::None;
            }
        }
    }
}

impl Birth {
    /// Whether its interpreter is to be a copy, if it has none yet.
    pub(super) fn is_in_burst(&self) -> bool {
        self.in_burst
    }

    /// Starts the interpreter, as a copy of the zygote if that can be. Blocks.
    pub(super) fn spawn(&self, sandbox: &mut Sandbox, command: Command) -> Result<Process, SpawnError> {
        let Some(zygote) = self.runtime.zygote() else { return sandbox.spawn(command) };
        self.made.made.notify_one();
        let (process, failure) = sandbox.spawn_from(&zygote, command)?;
        if let Some(failure) = failure {
            tracing::debug!(error = crate::chain(&failure), "failed to copy an interpreter");
            self.runtime.replace(&zygote);
        }
        Ok(process)
    }
}

impl Runtime {
    /// The zygote. Who comes first makes it, and the others wait. Blocks.
    fn zygote(&self) -> Option<Arc<Zygote>> {
        let mut state = lock(&self.zygote);
        let now = Instant::now();
        match &mut *state {
            State::Kept { zygote, used } if zygote.is_alive() => {
                *used = now;
                return Some(zygote.clone());
            }
            State::Failed(when) if now < *when + FORBORNE => return None,
            State::None | State::Kept { .. } | State::Failed(_) => {}
        }
        let made = self.early.zygote().map(|command| Zygote::start(&self.template, &command));
        *state = match made {
            Some(Ok(Some(zygote))) => State::Kept { zygote: Arc::new(zygote), used: now },
            Some(Ok(None)) | None => State::Failed(now),
            Some(Err(error)) => {
                tracing::debug!(error = crate::chain(&error), "failed to make a zygote");
                State::Failed(now)
            }
        };
        match &*state {
            State::Kept { zygote, .. } => Some(zygote.clone()),
            State::None | State::Failed(_) => None,
        }
    }

    /// One that has failed to make a copy is not asked again. If it is alive, another would fail, too.
    fn replace(&self, failed: &Arc<Zygote>) {
        let mut state = lock(&self.zygote);
        if let State::Kept { zygote, .. } = &*state
            && Arc::ptr_eq(zygote, failed)
        {
            *state = if failed.is_alive() { State::Failed(Instant::now()) } else { State::None };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hothouse_sandbox::{Level, TemplateSpec};

    use super::*;

    const PYTHON: &str = "/usr/bin/python3";

    /// Waits for orders, and carries none out.
    const IDLE: &str = "import socket; s = socket.socket(fileno=3); s.send(bytes(16)); s.recv(1)";

    fn early(code: &str, client: &str) -> Arc<Early> {
        Arc::new(Early::with([PYTHON, "-S", "-c", code, client]))
    }

    fn template(level: Level) -> Template {
        Template::create(TemplateSpec { level, ..TemplateSpec::default() }).unwrap()
    }

    /// A birth of an interpreter with this code, or a line that says why the test is skipped.
    fn birth(zygotes: &Arc<Zygotes>, code: &str) -> Option<Birth> {
        let template = template(Level::Best);
        let birth = zygotes.starting(&template, &early(code, "bootstrap.py")).unwrap();
        if !Path::new(PYTHON).exists()
            || matches!(Zygote::start(&template, &birth.runtime.early.zygote()?), Ok(None))
        {
            println!("skipped: only root has zygotes, and a Python of the machine's own");
            return None;
        }
        Some(birth)
    }

    #[test]
    fn many_at_once_are_a_burst() {
        let zygotes = Arc::new(Zygotes::new(true));
        let (one, other) = (template(Level::None), template(Level::None));
        let python = early(IDLE, "/var/runtime/bootstrap.py");
        let start = |template| zygotes.starting(template, &python).unwrap();
        let mut births: Vec<Birth> = (0..BURST_BEGINS + 2).map(|_| start(&one)).collect();
        let in_burst: Vec<bool> = births.iter().map(Birth::is_in_burst).collect();
        assert_eq!(in_burst[..BURST_BEGINS], [false; BURST_BEGINS]);
        assert_eq!(in_burst[BURST_BEGINS..], [true; 2]);
        assert!(!start(&other).is_in_burst(), "another runtime has a count of its own");
        births.truncate(BURST_BEGINS - 1);
        assert!(!start(&one).is_in_burst(), "the others have started");
        births.push(start(&one));
        assert!(start(&one).is_in_burst());
    }

    #[test]
    fn there_are_none_for_other_clients_nor_where_none_are_wanted() {
        let template = template(Level::None);
        let node = early(IDLE, "/var/runtime/index.mjs");
        assert!(Arc::new(Zygotes::new(true)).starting(&template, &node).is_none());
        let python = early(IDLE, "/var/runtime/bootstrap.py");
        assert!(Arc::new(Zygotes::new(false)).starting(&template, &python).is_none());
    }

    #[test]
    fn no_more_runtimes_are_remembered_than_there_is_room_for() {
        let zygotes = Arc::new(Zygotes::new(true));
        let python = early(IDLE, "/var/runtime/bootstrap.py");
        let templates: Vec<Template> = (0..=MOST).map(|_| template(Level::None)).collect();
        for template in &templates {
            zygotes.starting(template, &python);
        }
        let runtimes = lock(&zygotes.runtimes);
        assert_eq!(runtimes.len(), MOST);
        assert!(runtimes.iter().all(|runtime| !runtime.template.is(&templates[0])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_zygote_goes_when_nobody_has_wanted_it_for_long_and_with_the_service() {
        let zygotes = Arc::new(Zygotes::new(true));
        let Some(birth) = birth(&zygotes, IDLE) else { return };
        let stop = CancellationToken::new();
        let is_kept = || matches!(*lock(&birth.runtime.zygote), State::Kept { .. });
        let used = async {
            let first = birth.runtime.zygote().unwrap();
            birth.made.made.notify_one();
            tokio::time::sleep(KEPT / 2).await;
            assert!(Arc::ptr_eq(&birth.runtime.zygote().unwrap(), &first));
            tokio::time::sleep(KEPT - Duration::from_secs(1)).await;
            assert!(is_kept(), "it was used meanwhile");
            while is_kept() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            birth.runtime.zygote().unwrap();
            stop.cancel();
        };
        tokio::join!(zygotes.clone().tend(stop.clone()), used);
        assert!(!is_kept());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_died_is_replaced_at_once_and_one_that_failed_after_a_while() {
        let zygotes = Arc::new(Zygotes::new(true));
        let Some(birth) = birth(&zygotes, "raise SystemExit") else { return };
        let runtime = &birth.runtime;
        assert!(runtime.zygote().is_none());
        let failed = || match *lock(&runtime.zygote) {
            State::Failed(when) => Some(when),
            State::None | State::Kept { .. } => None,
        };
        let first = failed().unwrap();
        tokio::time::advance(FORBORNE / 2).await;
        assert!(runtime.zygote().is_none() && failed() == Some(first), "it is not tried again");
        tokio::time::advance(FORBORNE).await;
        assert!(runtime.zygote().is_none() && failed() > Some(first));

        let Some(birth) = self::birth(&zygotes, IDLE) else { return };
        let zygote = birth.runtime.zygote().unwrap();
        birth.runtime.replace(&zygote);
        assert!(birth.runtime.zygote().is_none(), "it lives and fails");
    }
}
