//! The state machine of one execution environment.
//!
//! Pure: no IO, no clock, no channels but the reply that a running invocation carries. The environment's task
//! feeds it events and performs the actions that come back.
//!
//! ```text
//!  Initializing ──Parked──▶ Idle{warm} ──Invoke──▶ Busy ──Response──▶ Settling ──Parked──▶ Idle{warm}
//!       │ InitError, Exited,   │ Exited             │ Exited, Tick       │ Exited, Tick
//!       ▼ Tick                 ▼                    ▼                    ▼
//!    Idle{cold} ──Invoke──▶ Reinitializing ──Parked──▶ Busy           Resetting ──Exited──▶ Idle{cold}
//!
//!  Idle ──Released──▶ Stopping ──Exited──▶ Stopped          (any) ──Stop──▶ Stopping
//! ```
//!
//! A cold environment has no process. AWS keeps such an environment after a timeout, a crash or a failed INIT, and
//! repeats INIT inside the next invocation, under the function's own timeout ("suppressed init").

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hothouse_api::name::RequestId;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    concurrency::Permit,
    executor::StartError,
    fault::{Exit, Fault},
    invocation::{Completed, Invocation, InvokeError, Outcome},
    logs::platform::{Line, Status},
};

/// After `init/error` a runtime is expected to exit; this long it may take before it is ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// INIT of an on-demand environment may take this long (AWS: Lambda execution environment, INIT phase).
pub(crate) const INIT_LIMIT: Duration = Duration::from_secs(10);

/// An invocation on its way to an environment.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) invocation: Invocation,
    pub(crate) reply: Reply,
    pub(crate) permit: Permit,
}

/// Where the answer to a [`Job`] goes. Lives in exactly one place, so answering twice cannot be written.
pub(crate) type Reply = oneshot::Sender<Result<Completed, InvokeError>>;

/// The limits that the machine applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// INIT of a new environment.
    pub(crate) init: Duration,
    /// The function's own timeout.
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(crate) enum State {
    /// The first INIT: the runtime process was started and has not asked for an event yet.
    Initializing { begun: Instant, until: Instant, fault: Option<Fault> },
    /// The token is out: on the stack of the pool, or in the hands of a caller who is about to send a job.
    Idle { process: Process },
    /// INIT repeated inside an invocation.
    Reinitializing { run: Running, until: Instant, fault: Option<Fault> },
    /// The runtime has the event.
    Busy { run: Running, until: Instant },
    /// The runtime has answered but not asked for more, so the environment is not idle yet.
    Settling { run: Settled, until: Instant },
    /// The process tree was killed; once it is gone the environment is idle and cold.
    Resetting,
    /// The process tree was killed; once it is gone the environment is over.
    Stopping,
    /// Over. Nothing happens any more.
    Stopped,
}

/// What an idle environment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// The runtime waits in `next`. `init` is how long INIT took, until a REPORT has told it.
    Warm { init: Option<Duration> },
    /// There is no process.
    Cold,
}

/// An invocation that the environment works on.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) begun: Instant,
    pub(crate) init: Option<Duration>,
}

/// An invocation whose response is there.
#[derive(Debug)]
pub(crate) struct Settled {
    request: Invocation,
    /// Counts against the concurrency limit until the environment is free.
    _permit: Permit,
    begun: Instant,
    init: Option<Duration>,
    status: Status,
    /// With `LogType=Tail` the answer waits for the REPORT line.
    held: Option<(Reply, Outcome)>,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A job came through the token. Only while idle.
    Invoke(Job),
    /// The runtime waits in `next` for an event that it has not been given yet.
    Parked,
    /// `POST …/response`; the Runtime API checked that the id is the current one.
    Response(Bytes),
    /// `POST …/error`, or a streamed response that ended in an error.
    Failure(Fault),
    /// `POST …/init/error`.
    InitError(Fault),
    /// The process could not be started, by the function's own fault (no bootstrap, for example).
    StartFailed(Fault),
    /// The process could not be started, and not by the function's fault. The environment is over.
    Broken(Arc<StartError>),
    /// The process is gone, and all that it wrote has been read.
    Exited(Exit),
    /// A deadline may have passed.
    Tick,
    /// The token was dropped: keep-alive passed, or the version is retired.
    Released,
    /// The service shuts down.
    Stop,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// Start the runtime process.
    Spawn,
    /// End the process tree; `Exited` follows.
    Kill,
    /// Make a token and give it to the pool.
    JoinIdle,
    /// Hand the current job's event to the runtime that is parked in `next`.
    Deliver,
    /// Answer the caller.
    Complete(Reply, Result<Outcome, InvokeError>),
    /// Write a platform line to the log.
    Log(Line),
}

impl State {
    /// The machine of a new environment, whose process has just been started.
    pub(crate) fn new(limits: &Limits, now: Instant) -> State {
        State::Initializing { begun: now, until: now + limits.init, fault: None }
    }

    /// When [`Event::Tick`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            State::Initializing { until, .. }
            | State::Reinitializing { until, .. }
            | State::Busy { until, .. }
            | State::Settling { until, .. } => Some(*until),
            State::Idle { .. } | State::Resetting | State::Stopping | State::Stopped => None,
        }
    }

    /// The invocation that the runtime works on, or will get next.
    pub(crate) fn running(&self) -> Option<&Running> {
        match self {
            State::Reinitializing { run, .. } | State::Busy { run, .. } => Some(run),
            State::Initializing { .. }
            | State::Idle { .. }
            | State::Settling { .. }
            | State::Resetting
            | State::Stopping
            | State::Stopped => None,
        }
    }
}

/// What happens next. Events that mean nothing in a state leave it as it is and ask for nothing.
pub(crate) fn step(state: State, event: Event, limits: &Limits, now: Instant) -> (State, Vec<Action>) {
    use State::{Busy, Idle, Initializing, Reinitializing, Resetting, Settling, Stopped, Stopping};
    match (state, event) {
        // --- INIT -------------------------------------------------------------------------------------------
        // Initializing ── Parked ──> Idle: INIT is done when the runtime asks for work.
        (Initializing { begun, .. }, Event::Parked) => {
            (Idle { process: Process::Warm { init: Some(now - begun) } }, vec![Action::JoinIdle])
        }
        (Initializing { begun, until, .. }, Event::InitError(fault)) => {
            (Initializing { begun, until: until.min(now + EXIT_GRACE), fault: Some(fault) }, vec![])
        }
        // Initializing ── Exited ──> Idle cold: AWS tries once more, inside the first invocation.
        (Initializing { begun, fault, .. }, Event::Exited(exit)) => {
            let fault = fault.unwrap_or_else(|| Fault::exited(exit));
            let report = Action::Log(Line::init_failed(now - begun, Status::of(&fault)));
            (Idle { process: Process::Cold }, vec![report, Action::JoinIdle])
        }
        (Initializing { begun, .. }, Event::StartFailed(fault)) => {
            let report = Action::Log(Line::init_failed(now - begun, Status::of(&fault)));
            (Idle { process: Process::Cold }, vec![report, Action::JoinIdle])
        }
        // Initializing ── Tick ──> Resetting: 10 seconds passed, or the runtime lingers after `init/error`.
        (Initializing { begun, until, fault }, Event::Tick) if now >= until => {
            let status = fault.map_or(Status::Timeout, |fault| Status::of(&fault));
            (Resetting, vec![Action::Log(Line::init_failed(now - begun, status)), Action::Kill])
        }

        // --- an invocation arrives --------------------------------------------------------------------------
        (Idle { process: Process::Warm { init } }, Event::Invoke(job)) => {
            let start = Action::Log(Line::start(&job.invocation));
            let run = Running { job, begun: now, init };
            (Busy { run, until: now + limits.timeout }, vec![start, Action::Deliver])
        }
        (Idle { process: Process::Cold }, Event::Invoke(job)) => {
            let start = Action::Log(Line::start(&job.invocation));
            let run = Running { job, begun: now, init: None };
            (Reinitializing { run, until: now + limits.timeout, fault: None }, vec![start, Action::Spawn])
        }
        // Idle ── Exited ──> Idle cold: nobody was waiting for it, the next invocation starts it again.
        (Idle { .. }, Event::Exited(_)) => (Idle { process: Process::Cold }, vec![]),
        (Idle { process: Process::Warm { .. } }, Event::Released) => (Stopping, vec![Action::Kill]),
        (Idle { process: Process::Cold }, Event::Released) => (Stopped, vec![]),

        // --- suppressed INIT --------------------------------------------------------------------------------
        (Reinitializing { run, until, .. }, Event::Parked) => (Busy { run, until }, vec![Action::Deliver]),
        (Reinitializing { run, until, .. }, Event::InitError(fault)) => {
            (Reinitializing { run, until: until.min(now + EXIT_GRACE), fault: Some(fault) }, vec![])
        }
        (Reinitializing { run, fault, .. }, Event::Exited(exit)) => {
            let fault = fault.unwrap_or_else(|| Fault::exited(exit));
            let mut actions = failed(run, &fault, now);
            actions.push(Action::JoinIdle);
            (Idle { process: Process::Cold }, actions)
        }
        (Reinitializing { run, .. }, Event::StartFailed(fault)) => {
            let mut actions = failed(run, &fault, now);
            actions.push(Action::JoinIdle);
            (Idle { process: Process::Cold }, actions)
        }
        (Reinitializing { run, until, fault }, Event::Tick) if now >= until => {
            let fault = fault.unwrap_or_else(|| Fault::timed_out(limits.timeout));
            let mut actions = failed(run, &fault, now);
            actions.push(Action::Kill);
            (Resetting, actions)
        }

        // --- the invocation ---------------------------------------------------------------------------------
        // Busy ── Response ──> Settling: the caller has its answer, but the runtime has not asked for more.
        (Busy { run, until }, Event::Response(body)) => {
            let (run, actions) = settle(run, Outcome::Success(body), Status::Success);
            (Settling { run, until }, actions)
        }
        (Busy { run, until }, Event::Failure(fault)) => {
            let payload = fault.payload(&run.job.invocation.request_id);
            let status = Status::HandlerError { error_type: fault.error_type };
            let (run, actions) = settle(run, Outcome::Error(payload), status);
            (Settling { run, until }, actions)
        }
        // Busy ── Exited ──> Idle cold: the crash is the answer; the environment itself lives on.
        (Busy { run, .. }, Event::Exited(exit)) => {
            let mut actions = failed(run, &Fault::exited(exit), now);
            actions.push(Action::JoinIdle);
            (Idle { process: Process::Cold }, actions)
        }
        // Busy ── Tick ──> Resetting: the function's timeout.
        (Busy { run, until }, Event::Tick) if now >= until => {
            let mut actions = failed(run, &Fault::timed_out(limits.timeout), now);
            actions.push(Action::Kill);
            (Resetting, actions)
        }

        // --- after the answer -------------------------------------------------------------------------------
        (Settling { run, .. }, Event::Parked) => {
            let mut actions = run.finish(None, now);
            actions.push(Action::JoinIdle);
            (Idle { process: Process::Warm { init: None } }, actions)
        }
        (Settling { run, .. }, Event::Exited(exit)) => {
            let mut actions = run.finish(Some(Status::of(&Fault::exited(exit))), now);
            actions.push(Action::JoinIdle);
            (Idle { process: Process::Cold }, actions)
        }
        (Settling { run, until }, Event::Tick) if now >= until => {
            let mut actions = run.finish(Some(Status::Timeout), now);
            actions.push(Action::Kill);
            (Resetting, actions)
        }

        // --- the machine failed us --------------------------------------------------------------------------
        (Reinitializing { run, .. }, Event::Broken(error)) => {
            (Stopped, vec![Action::Complete(run.job.reply, Err(InvokeError::Start(error)))])
        }
        (Initializing { .. }, Event::Broken(_)) => (Stopped, vec![]),

        // --- the end ----------------------------------------------------------------------------------------
        (Resetting, Event::Exited(_)) => (Idle { process: Process::Cold }, vec![Action::JoinIdle]),
        (Stopping, Event::Exited(_)) => (Stopped, vec![]),
        (Idle { process: Process::Cold }, Event::Stop) => (Stopped, vec![]),
        (Initializing { .. } | Idle { process: Process::Warm { .. } }, Event::Stop) => {
            (Stopping, vec![Action::Kill])
        }
        (Reinitializing { run, .. } | Busy { run, .. }, Event::Stop) => {
            (Stopping, vec![Action::Complete(run.job.reply, Err(InvokeError::ShuttingDown)), Action::Kill])
        }
        (Settling { run, .. }, Event::Stop) => {
            let mut actions = run.finish(None, now);
            actions.push(Action::Kill);
            (Stopping, actions)
        }
        (Resetting, Event::Stop) => (Stopping, vec![]),

        // The token was out when the service began to shut down.
        (state, Event::Invoke(job)) => {
            (state, vec![Action::Complete(job.reply, Err(InvokeError::ShuttingDown))])
        }
        // Deadlines that have not passed, and news that comes too late to matter.
        (
            state,
            Event::Tick
            | Event::Parked
            | Event::Response(_)
            | Event::Failure(_)
            | Event::InitError(_)
            | Event::StartFailed(_)
            | Event::Broken(_)
            | Event::Exited(_)
            | Event::Released
            | Event::Stop,
        ) => (state, vec![]),
    }
}

/// The runtime answered: the caller hears it now, or with `LogType=Tail` once the REPORT line is written.
fn settle(run: Running, outcome: Outcome, status: Status) -> (Settled, Vec<Action>) {
    let Running { job: Job { invocation, reply, permit }, begun, init } = run;
    let mut settled = Settled { request: invocation, _permit: permit, begun, init, status, held: None };
    if settled.request.tail {
        settled.held = Some((reply, outcome));
        (settled, vec![])
    } else {
        (settled, vec![Action::Complete(reply, Ok(outcome))])
    }
}

/// The invocation ended without an answer of the runtime. Its log is complete before the caller hears of it.
fn failed(run: Running, fault: &Fault, now: Instant) -> Vec<Action> {
    let Running { job: Job { invocation, reply, .. }, begun, init } = run;
    let outcome = Outcome::Error(fault.payload(&invocation.request_id));
    vec![
        Action::Log(Line::end(&invocation)),
        Action::Log(Line::report(&invocation, now - begun, init, Status::of(fault))),
        Action::Complete(reply, Ok(outcome)),
    ]
}

impl Settled {
    pub(crate) fn request_id(&self) -> &RequestId {
        &self.request.request_id
    }

    /// END and REPORT, then the answer if it was held back.
    fn finish(self, status: Option<Status>, now: Instant) -> Vec<Action> {
        let status = status.unwrap_or(self.status);
        let mut actions = vec![
            Action::Log(Line::end(&self.request)),
            Action::Log(Line::report(&self.request, now - self.begun, self.init, status)),
        ];
        actions.extend(self.held.map(|(reply, outcome)| Action::Complete(reply, Ok(outcome))));
        actions
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{concurrency::Concurrency, fault::ExitStatus};

    const LIMITS: Limits = Limits { init: INIT_LIMIT, timeout: Duration::from_secs(3) };

    /// What may happen to an environment, as far as the test chooses it.
    #[derive(Debug, Clone, Copy)]
    enum Happening {
        Invoke { tail: bool },
        Parked,
        Response,
        Failure,
        InitError,
        StartFailed,
        Broken,
        Exited,
        Tick { after_ms: u64 },
        Released,
        Stop,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => any::<bool>().prop_map(|tail| Happening::Invoke { tail }),
            4 => Just(Happening::Parked),
            3 => Just(Happening::Response),
            1 => Just(Happening::Failure),
            1 => Just(Happening::InitError),
            1 => Just(Happening::StartFailed),
            1 => Just(Happening::Broken),
            2 => Just(Happening::Exited),
            2 => (0..12_000_u64).prop_map(|after_ms| Happening::Tick { after_ms }),
            1 => Just(Happening::Released),
            1 => Just(Happening::Stop),
        ]
    }

    fn job(tail: bool) -> (Job, oneshot::Receiver<Result<Completed, InvokeError>>) {
        let (reply, answer) = oneshot::channel();
        let invocation = Invocation {
            request_id: RequestId::random(),
            payload: Bytes::from_static(b"{}"),
            invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".parse().unwrap(),
            client_context: None,
            trace_id: None,
            tail,
        };
        (Job { invocation, reply, permit: Concurrency::new(1).enter().unwrap() }, answer)
    }

    fn fault() -> Fault {
        Fault { error_type: "Runtime.X".to_owned(), message: "x".to_owned(), document: None }
    }

    proptest! {
        /// Whatever happens in whatever order: each job is answered exactly once and only through an action, a token
        /// is out exactly while the environment is idle, and nothing is asked for once it is over.
        #[test]
        fn every_job_is_answered_once_and_every_token_is_good(happenings in proptest::collection::vec(happening(), 1..80)) {
            let mut now = Instant::from_std(std::time::Instant::now());
            let mut state = State::new(&LIMITS, now);
            let mut token = false;
            let mut answers = Vec::new();
            for happening in happenings {
                let over = matches!(state, State::Stopped);
                let event = match happening {
                    // A job comes through the token, which it uses up; so does the release.
                    Happening::Invoke { tail } if token => {
                        token = false;
                        let (job, answer) = job(tail);
                        answers.push(answer);
                        Event::Invoke(job)
                    }
                    Happening::Released if token => {
                        token = false;
                        Event::Released
                    }
                    Happening::Invoke { .. } | Happening::Released => continue,
                    Happening::Parked => Event::Parked,
                    Happening::Response => Event::Response(Bytes::from_static(b"1")),
                    Happening::Failure => Event::Failure(fault()),
                    Happening::InitError => Event::InitError(fault()),
                    Happening::StartFailed => Event::StartFailed(fault()),
                    Happening::Broken => Event::Broken(Arc::new(StartError::Runtime { message: String::new() })),
                    Happening::Exited => Event::Exited(Exit { status: ExitStatus::Code(1), out_of_memory: false }),
                    Happening::Tick { after_ms } => {
                        now += Duration::from_millis(after_ms);
                        Event::Tick
                    }
                    Happening::Stop => Event::Stop,
                };
                let (next, actions) = step(state, event, &LIMITS, now);
                state = next;
                let only_refuses = actions.iter().all(|action| matches!(action, Action::Complete(_, Err(_))));
                prop_assert!(!over || only_refuses, "asked for something after the end");
                for action in actions {
                    match action {
                        Action::Complete(reply, outcome) => {
                            let completed = outcome.map(|outcome| Completed { outcome, log_tail: None });
                            prop_assert!(reply.send(completed).is_ok());
                        }
                        Action::JoinIdle => {
                            prop_assert!(!token, "two tokens of one environment");
                            token = true;
                        }
                        Action::Deliver => prop_assert!(matches!(state, State::Busy { .. }), "delivered while not busy"),
                        Action::Spawn => prop_assert!(matches!(state, State::Reinitializing { .. }), "started twice"),
                        Action::Kill => prop_assert!(matches!(state, State::Resetting | State::Stopping)),
                        Action::Log(_) => {}
                    }
                }
                let may_have_token = matches!(state, State::Idle { .. } | State::Stopping | State::Stopped);
                prop_assert!(!token || may_have_token, "a token is out while it works");
            }
            // Whatever still runs is answered when the service stops.
            let (_, actions) = step(state, Event::Stop, &LIMITS, now);
            for action in actions {
                if let Action::Complete(reply, outcome) = action {
                    let _ = reply.send(outcome.map(|outcome| Completed { outcome, log_tail: None }));
                }
            }
            for mut answer in answers {
                prop_assert!(answer.try_recv().is_ok(), "a job without an answer");
            }
        }
    }
}
