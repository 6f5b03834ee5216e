//! The state machine of one execution environment.
//!
//! Pure: no IO, no clock, no channels but the reply that a running invocation carries. The environment's task
//! feeds it events and performs the actions that come back.
//!
//! ```text
//!  Initializing ──Parked──▶ Idle{warm} ──Invoke──▶ Busy ──Response──▶ Settling ──Parked──▶ Idle{warm}
//!       │ InitError, Exited,   │ Exited             │ Exited, Tick,      │ Exited, Tick,
//!       ▼ Tick, Crashed        ▼                    ▼ Crashed            ▼ Crashed
//!    Idle{cold} ──Invoke──▶ Reinitializing ──Parked──▶ Busy           Resetting ──Exited──▶ Idle{cold}
//!
//!  Idle ──KeepAlivePassed, Released──▶ Stopping ──Exited──▶ Stopped          (any) ──Stop──▶ Stopping
//! ```
//!
//! Where there is a snapshot, the first start is RESTORE instead of INIT: the runtime goes on behind `restore/next`
//! (`Resumed`), because it was forked there or was initialised anew. Such an environment is not reset: when its processes
//! are gone it is over, and the next one comes from the snapshot.
//!
//! A cold environment has no process. AWS keeps such an environment after a timeout, a crash or a failed INIT, and
//! repeats INIT inside the next invocation, under the function's own timeout ("suppressed init"). One of provisioned
//! concurrency that fails its INIT is over instead.
//!
//! Where there are extensions, `Parked` is when they and the runtime wait, `Exited` when all processes are gone, and
//! `Crashed` when one is that should not be: the others then have their SHUTDOWN phase, which is in [`ending`].

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use super::{
    InitializationType, Status as UserStatus,
    limits::{Limits, RESTORE},
};
use crate::{
    concurrency::Permit,
    executor::StartError,
    extensions::ShutdownReason,
    fault::{Exit, Fault},
    invocation::{Invocation, InvokeError, Meter},
    logs::platform::{Line, Phase, Startup, Status},
    response::{End as ResponseEnd, Produced, Reply, ResponseStream},
};

mod ending;
mod run;
#[cfg(test)]
mod tests;

pub(crate) use ending::Ending;
pub(crate) use run::{Running, Settled};

/// After `init/error` a runtime is expected to exit; this long it may take before it is ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// An invocation on its way to an environment.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) invocation: Invocation,
    pub(crate) reply: Reply,
    pub(crate) permit: Permit,
}

#[derive(Debug)]
pub(crate) enum State {
    /// The first INIT: the runtime process was started and has not asked for an event yet, or not all extensions have. `until` is AWS's limit,
    /// `ceiling` ours. Once the runtime has asked (`ready`), extensions are waited for. `resumed` is when the runtime went
    /// on behind `restore/next`.
    Initializing {
        begun: Instant,
        until: Instant,
        ceiling: Instant,
        fault: Option<Fault>,
        ready: bool,
        resumed: Option<Instant>,
    },
    /// The token is out: on the stack of the pool, or in the hands of a caller who is about to send a job.
    Idle { process: Process },
    /// INIT repeated inside an invocation.
    Reinitializing { run: Running, until: Instant, fault: Option<Fault>, ready: bool },
    /// The runtime has the event.
    Busy { run: Running, until: Instant },
    /// The runtime has answered but not asked for more, so the environment is not idle yet. Once it has (`parked`), it
    /// stays only where the user wants invocations to linger.
    Settling { run: Settled, until: Instant, parked: bool },
    /// The process tree is being ended; once it is gone the environment is idle and cold.
    Resetting { cold: Cold, ending: Ending },
    /// The process tree is being ended; once it is gone the environment is over.
    Stopping { end: End, ending: Ending },
    /// Over. Nothing happens any more.
    Stopped { end: End },
}

/// What an idle environment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// The runtime waits in `next`. `startup` is how long INIT or RESTORE took, until a REPORT has told it.
    Warm { startup: Option<Startup>, rest: Rest },
    /// There is no process.
    Cold(Cold),
}

/// Whether the processes of a warm environment run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They do.
    Awake,
    /// They do until then.
    AwakeUntil(Instant),
    /// They do not.
    Frozen,
}

/// Why an environment has no process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cold {
    /// It crashed, or an invocation ran into its timeout.
    Reset,
    /// INIT failed.
    InitFailed,
    /// INIT took too long.
    InitTimedOut,
}

/// Why an environment is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was idle for too long.
    KeepAlive,
    /// Its version or the service ended.
    Stopped,
    /// It could not be started.
    StartFailed,
    /// It could not be started in time.
    StartTimedOut,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A job came through the token. Only while idle.
    Invoke(Job),
    /// The runtime waits in `next` for an event that it has not been given yet, and so does every extension.
    Parked,
    /// The runtime does, but not every extension yet; `Parked` comes when all do.
    RuntimeParked,
    /// The runtime goes on behind `restore/next`.
    Resumed,
    /// A response began whose caller takes it as it comes; its end follows, as any response.
    Begun { stream: ResponseStream, end: oneshot::Sender<ResponseEnd> },
    /// `POST …/response`; the Runtime API checked that the id is the current one.
    Response(Bytes),
    /// A response that began has ended; its caller has got so many bytes, or will.
    Streamed { bytes: u64 },
    /// `POST …/error`, or a streamed response that ended in an error.
    Failure(Fault),
    /// `POST …/init/error`, of the runtime or of an extension, or `POST …/restore/error`.
    InitError(Fault),
    /// The process could not be started, by the function's own fault (no bootstrap, for example).
    StartFailed(Fault),
    /// The process could not be started, and not by the function's fault. The environment is over.
    Broken(Arc<StartError>),
    /// The processes are gone, and all that they wrote has been read.
    Exited(Exit),
    /// A process is gone while others are left, and nobody asked it to end; or it could not be started.
    Crashed(Fault),
    /// In the SHUTDOWN phase: the runtime's process is gone, or there was none, and extensions are left.
    RuntimeEnded,
    /// A deadline may have passed.
    Tick,
    /// The pool took the token back because it was idle for too long.
    KeepAlivePassed,
    /// The token was dropped: the version is retired.
    Released,
    /// The service shuts down.
    Stop,
}

#[derive(Debug)]
pub(crate) enum Action {
    /// Start the runtime process.
    Spawn,
    /// Ask the runtime process to end; `RuntimeEnded` or `Exited` follows.
    Terminate,
    /// End the runtime process.
    KillRuntime,
    /// Tell the extensions that subscribed to it of the end, and end the others.
    ShutDownExtensions { reason: ShutdownReason, until: Instant },
    /// End the process tree; `Exited` follows.
    Kill,
    /// Stop the processes' clock.
    Freeze,
    /// Let it go on.
    Thaw,
    /// INIT is over: from now on the function has the CPU share that its memory buys.
    LimitCpu,
    /// Tell the pool that there will be a token again: who comes meanwhile waits for it.
    PromiseIdle,
    /// Tell the pool that there is likely to be one in a moment.
    ExpectIdle,
    /// Make a token and give it to the pool.
    JoinIdle,
    /// The environment could not be started: no token will come of it.
    FailStart(Arc<StartError>),
    /// Hand the current job's event to the runtime that is parked in `next`.
    Deliver,
    /// Tell the caller that the answer begins.
    Begin(oneshot::Sender<Result<ResponseStream, InvokeError>>, ResponseStream),
    /// Answer the caller, or end the answer.
    Complete(Reply, Result<Produced, InvokeError>),
    /// Write a platform line to the log.
    Log(Line),
    /// Tell whoever measures how the invocation went.
    Measure { meter: Arc<dyn Meter>, duration: Duration, init: Option<Duration>, failed: bool },
}

/// An event that means nothing in the state in which it came. Nothing has changed.
#[derive(Debug)]
pub(crate) struct Refused {
    event: &'static str,
    status: UserStatus,
    /// The job that came with it, to be answered by whoever offered it.
    pub(crate) job: Option<Job>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an environment that is {} does not take `{}`", self.status, self.event)
    }
}

impl State {
    /// The machine of a new environment, whose process has just been started. `ceiling` ends the start-up as a whole.
    pub(crate) fn new(limits: &Limits, now: Instant, ceiling: Instant) -> State {
        State::Initializing {
            begun: now,
            until: now + limits.init,
            ceiling,
            fault: None,
            ready: false,
            resumed: None,
        }
    }

    /// When [`Event::Tick`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            State::Initializing { until, ceiling, .. } => Some(*until.min(ceiling)),
            State::Reinitializing { until, .. }
            | State::Busy { until, .. }
            | State::Settling { until, .. }
            | State::Idle { process: Process::Warm { rest: Rest::AwakeUntil(until), .. } } => Some(*until),
            State::Resetting { ending, .. } | State::Stopping { ending, .. } => ending.deadline(),
            State::Idle { .. } | State::Stopped { .. } => None,
        }
    }

    /// The invocation that the runtime works on, or will get next.
    pub(crate) fn running(&self) -> Option<&Running> {
        match self {
            State::Reinitializing { run, .. } | State::Busy { run, .. } => Some(run),
            State::Initializing { .. }
            | State::Idle { .. }
            | State::Settling { .. }
            | State::Resetting { .. }
            | State::Stopping { .. }
            | State::Stopped { .. } => None,
        }
    }

    /// What users see.
    pub(crate) fn status(&self) -> UserStatus {
        match self {
            State::Initializing { .. } => UserStatus::Starting,
            State::Idle { process: Process::Warm { .. } } => UserStatus::Ready,
            State::Idle { process: Process::Cold(cold) } | State::Resetting { cold, .. } => match cold {
                Cold::Reset => UserStatus::Inactive,
                Cold::InitFailed => UserStatus::StartupFailed,
                Cold::InitTimedOut => UserStatus::StartupTimedOut,
            },
            State::Reinitializing { .. } | State::Busy { .. } | State::Settling { .. } => {
                UserStatus::Invoking
            }
            State::Stopping { end: End::KeepAlive, .. } => UserStatus::TimingOut,
            State::Stopping { end, .. } | State::Stopped { end } => match end {
                End::KeepAlive | End::Stopped => UserStatus::Stopped,
                End::StartFailed => UserStatus::StartupFailed,
                End::StartTimedOut => UserStatus::StartupTimedOut,
            },
        }
    }

    /// Whether its processes stand still.
    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self, State::Idle { process: Process::Warm { rest: Rest::Frozen, .. } })
    }
}

/// What happens next: the state, and what is to be done; or the same state and why the event is refused.
pub(crate) fn step(
    state: State,
    event: Event,
    limits: &Limits,
    now: Instant,
) -> (State, Result<Vec<Action>, Refused>) {
    use State::{Busy, Idle, Initializing, Reinitializing, Resetting, Settling, Stopped, Stopping};
    let (state, actions) = match (state, event) {
        // --- INIT -------------------------------------------------------------------------------------------
        // Initializing ── Parked ──> Idle: INIT is done when the runtime asks for work.
        (Initializing { begun, ready, resumed, .. }, Event::Parked) => {
            let took = now - begun;
            // Where a REPORT will tell of it too, the log shows this only at level DEBUG.
            let mut actions = init_lines(first_phase(limits), ready, took, Status::Success);
            actions.extend([Action::LimitCpu, Action::JoinIdle]);
            let startup = match limits.initialization {
                InitializationType::OnDemand => Some(Startup::Init(took)),
                InitializationType::ProvisionedConcurrency => None,
                InitializationType::SnapStart => {
                    Some(Startup::Restore { duration: took, billed: now - resumed.unwrap_or(begun) })
                }
            };
            (idle(startup, limits, now), actions)
        }
        (Initializing { begun, until, ceiling, fault, ready: false, resumed }, Event::RuntimeParked) => {
            let done = Action::Log(Line::init_runtime_done(first_phase(limits), Status::Success));
            (Initializing { begun, until, ceiling, fault, ready: true, resumed }, vec![done])
        }
        (Initializing { begun, ceiling, fault, ready, .. }, Event::Resumed) => {
            let until = now + RESTORE;
            (Initializing { begun, until, ceiling, fault, ready, resumed: Some(now) }, vec![])
        }
        (Initializing { begun, until, ceiling, ready, resumed, .. }, Event::InitError(fault)) => {
            let until = until.min(now + EXIT_GRACE);
            (Initializing { begun, until, ceiling, fault: Some(fault), ready, resumed }, vec![])
        }
        // Initializing ── Exited ──> Idle cold: AWS tries once more, inside the first invocation.
        (Initializing { begun, fault, ready, .. }, Event::Exited(exit)) => {
            init_failed(fault.unwrap_or_else(|| Fault::exited(exit)), ready, now - begun, limits)
        }
        (Initializing { begun, ready, .. }, Event::StartFailed(fault)) => {
            init_failed(fault, ready, now - begun, limits)
        }
        (Initializing { .. }, Event::Broken(error)) => {
            (Stopped { end: End::StartFailed }, vec![Action::FailStart(error)])
        }
        // Initializing ── Tick ──> Resetting: 10 seconds passed, or the runtime lingers after `init/error`. One that
        // is not tried again is over, and so is one that meets the ceiling.
        (Initializing { begun, until, ceiling, fault, ready, .. }, Event::Tick)
            if now >= until.min(ceiling) =>
        {
            end_init(fault, ready, begun, now >= until, limits, now)
        }
        // Initializing ── Crashed ──> Resetting: of several processes one failed.
        (Initializing { begun, fault, ready, .. }, Event::Crashed(crash)) => {
            end_init(Some(reason_of(fault, crash)), ready, begun, true, limits, now)
        }

        // --- an invocation arrives --------------------------------------------------------------------------
        (Idle { process: Process::Warm { startup, rest } }, Event::Invoke(job)) => {
            let mut actions = vec![Action::Log(Line::start(&job.invocation)), Action::Deliver];
            if rest == Rest::Frozen {
                actions.insert(0, Action::Thaw);
            }
            let run = Running { job, begun: now, delivered: now, answering: None, startup };
            (Busy { run, until: now + limits.timeout }, actions)
        }
        (Idle { process: Process::Cold(_) }, Event::Invoke(job)) => {
            let start = Action::Log(Line::start(&job.invocation));
            let init = Action::Log(Line::InitStart { phase: Phase::Invoke });
            let run = Running { job, begun: now, delivered: now, answering: None, startup: None };
            (
                Reinitializing { run, until: now + limits.timeout, fault: None, ready: false },
                vec![start, init, Action::Spawn],
            )
        }
        // Idle ── Exited ──> Idle cold: nobody was waiting for it, the next invocation starts it again.
        (Idle { .. }, Event::Exited(_)) => (cold(Cold::Reset), vec![]),
        (Idle { process: Process::Warm { startup, rest: Rest::AwakeUntil(until) } }, Event::Tick)
            if now >= until =>
        {
            (Idle { process: Process::Warm { startup, rest: Rest::Frozen } }, vec![Action::Freeze])
        }
        (Idle { process }, Event::KeepAlivePassed) => leave(process, End::KeepAlive, limits, now),
        (Idle { process }, Event::Released | Event::Stop) => leave(process, End::Stopped, limits, now),

        // --- suppressed INIT --------------------------------------------------------------------------------
        (Reinitializing { mut run, until, ready, .. }, Event::Parked) => {
            let mut actions = init_lines(Phase::Invoke, ready, now - run.begun, Status::Success);
            actions.extend([Action::LimitCpu, Action::Deliver]);
            run.delivered = now;
            (Busy { run, until }, actions)
        }
        (Reinitializing { run, until, fault, ready: false }, Event::RuntimeParked) => {
            let done = Action::Log(Line::init_runtime_done(Phase::Invoke, Status::Success));
            (Reinitializing { run, until, fault, ready: true }, vec![done])
        }
        (Reinitializing { run, until, ready, .. }, Event::InitError(fault)) => {
            (Reinitializing { run, until: until.min(now + EXIT_GRACE), fault: Some(fault), ready }, vec![])
        }
        (Reinitializing { run, fault, ready, .. }, Event::Exited(exit)) => {
            let fault = fault.unwrap_or_else(|| Fault::exited(exit));
            (cold(Cold::InitFailed), then_idle(reinit_failed(run, ready, &fault, now)))
        }
        (Reinitializing { run, ready, .. }, Event::StartFailed(fault)) => {
            (cold(Cold::InitFailed), then_idle(reinit_failed(run, ready, &fault, now)))
        }
        (Reinitializing { run, until, fault, ready }, Event::Tick) if now >= until => {
            let (cold, reason) = match &fault {
                Some(_) => (Cold::InitFailed, ShutdownReason::Failure),
                None => (Cold::InitTimedOut, ShutdownReason::Timeout),
            };
            let fault = fault.unwrap_or_else(|| Fault::timed_out(limits.timeout));
            reset(cold, reason, reinit_failed(run, ready, &fault, now), limits, now)
        }
        (Reinitializing { run, fault, ready, .. }, Event::Crashed(crash)) => {
            let actions = reinit_failed(run, ready, &reason_of(fault, crash), now);
            reset(Cold::InitFailed, ShutdownReason::Failure, actions, limits, now)
        }
        (Reinitializing { run, .. }, Event::Broken(error)) => {
            let answer = Action::Complete(run.job.reply, Err(InvokeError::Start(error.clone())));
            (Stopped { end: End::StartFailed }, vec![Action::FailStart(error), answer])
        }

        // --- the invocation ---------------------------------------------------------------------------------
        // The response begins, and the invocation goes on until it has ended: by the same rules as one that is
        // answered whole, the function's timeout included.
        (
            Busy {
                run:
                    Running {
                        job: Job { reply: Reply::Streamed(caller), invocation, permit },
                        begun,
                        delivered,
                        startup,
                        ..
                    },
                until,
            },
            Event::Begun { stream, end },
        ) => {
            let job = Job { invocation, reply: Reply::Begun(end), permit };
            let run = Running { job, begun, delivered, answering: Some(now), startup };
            (Busy { run, until }, vec![Action::Begin(caller, stream)])
        }
        // Busy ── Response ──> Settling: the caller has its answer, but the runtime has not asked for more.
        (Busy { run, until }, Event::Response(body)) => {
            let (run, actions) = run.settle(Produced::Success(body), Status::Success, limits, now);
            (Settling { run, until, parked: false }, actions)
        }
        (
            Busy { run: run @ Running { job: Job { reply: Reply::Begun(_), .. }, .. }, until },
            Event::Streamed { bytes },
        ) => {
            let (run, actions) = run.settle(Produced::Streamed { bytes }, Status::Success, limits, now);
            (Settling { run, until, parked: false }, actions)
        }
        (Busy { run, until }, Event::Failure(fault)) => {
            let failure = run.told(&fault);
            let status = Status::HandlerError { error_type: fault.error_type };
            let (run, actions) = run.settle(Produced::Failed(failure), status, limits, now);
            (Settling { run, until, parked: false }, actions)
        }
        // Busy ── Exited ──> Idle cold: the crash is the answer; the environment itself lives on.
        (Busy { run, .. }, Event::Exited(exit)) => {
            (cold(Cold::Reset), then_idle(run.failed(&Fault::exited(exit), now)))
        }
        // Busy ── Tick ──> Resetting: the function's timeout.
        (Busy { run, until }, Event::Tick) if now >= until => {
            let actions = run.failed(&Fault::timed_out(limits.timeout), now);
            reset(Cold::Reset, ShutdownReason::Timeout, actions, limits, now)
        }
        // Busy ── Crashed ──> Resetting: the crash is the answer, and what is left is ended.
        (Busy { run, .. }, Event::Crashed(fault)) => {
            reset(Cold::Reset, ShutdownReason::Failure, run.failed(&fault, now), limits, now)
        }

        // --- after the answer -------------------------------------------------------------------------------
        (Settling { run, until, parked: false }, Event::RuntimeParked) => {
            let (run, done) = run.runtime_parked(now);
            (Settling { run, until, parked: false }, done)
        }
        (Settling { run, parked: false, .. }, Event::Parked) if !limits.post_invoke_wait.is_zero() => {
            let (run, done) = run.parked(limits, now);
            (Settling { run, until: now + limits.post_invoke_wait, parked: true }, done)
        }
        (Settling { run, parked: false, .. }, Event::Parked) => {
            let (run, mut actions) = run.parked(limits, now);
            actions.extend(run.finish(None, now));
            (idle(None, limits, now), then_idle(actions))
        }
        (Settling { run, until, parked: true }, Event::Tick) if now >= until => {
            (idle(None, limits, now), then_idle(run.finish(None, now)))
        }
        (Settling { run, parked, .. }, Event::Exited(exit)) => {
            let status = (!parked).then(|| Status::of(&Fault::exited(exit)));
            (cold(Cold::Reset), then_idle(run.finish(status, now)))
        }
        (Settling { run, until, parked: false }, Event::Tick) if now >= until => {
            let actions = run.finish(Some(Status::Timeout), now);
            reset(Cold::Reset, ShutdownReason::Timeout, actions, limits, now)
        }
        (Settling { run, parked, .. }, Event::Crashed(fault)) => {
            let actions = run.finish((!parked).then(|| Status::of(&fault)), now);
            reset(Cold::Reset, ShutdownReason::Failure, actions, limits, now)
        }

        // --- the end ----------------------------------------------------------------------------------------
        (Resetting { cold, ending }, Event::Tick) => {
            let (ending, actions) = ending.tick(now);
            (Resetting { cold, ending }, actions)
        }
        (Stopping { end, ending }, Event::Tick) => {
            let (ending, actions) = ending.tick(now);
            (Stopping { end, ending }, actions)
        }
        (Resetting { cold, ending }, Event::RuntimeEnded) => {
            let (ending, actions) = ending.runtime_ended();
            (Resetting { cold, ending }, actions)
        }
        (Stopping { end, ending }, Event::RuntimeEnded) => {
            let (ending, actions) = ending.runtime_ended();
            (Stopping { end, ending }, actions)
        }
        (Resetting { cold: why, .. }, Event::Exited(_)) => (cold(why), vec![Action::JoinIdle]),
        (Stopping { end, .. }, Event::Exited(_)) => (Stopped { end }, vec![]),
        (Initializing { .. }, Event::Stop) => stop(vec![], limits, now),
        (Reinitializing { run, .. } | Busy { run, .. }, Event::Stop) => {
            let answer = Action::Complete(run.job.reply, Err(InvokeError::ShuttingDown));
            stop(vec![answer], limits, now)
        }
        (Settling { run, .. }, Event::Stop) => stop(run.finish(None, now), limits, now),
        (Resetting { ending, .. }, Event::Stop) => (Stopping { end: End::Stopped, ending }, vec![]),

        // A deadline that has not passed, or has been moved.
        (state, Event::Tick) => (state, vec![]),
        // News that comes too late to matter, and jobs that come while the service shuts down.
        (state, event) => return refuse(state, event),
    };
    let (state, actions) = if limits.initialization == InitializationType::SnapStart {
        not_reset(state, actions)
    } else {
        (state, actions)
    };
    (state, Ok(actions))
}

/// What comes from a snapshot, or is one, does not begin again without its processes.
fn not_reset(state: State, mut actions: Vec<Action>) -> (State, Vec<Action>) {
    let state = match state {
        State::Idle { process: Process::Cold(_) } => State::Stopped { end: End::Stopped },
        State::Resetting { ending, .. } => State::Stopping { end: End::Stopped, ending },
        state => return (state, actions),
    };
    actions.retain(|action| !matches!(action, Action::JoinIdle | Action::PromiseIdle));
    (state, actions)
}

fn refuse(state: State, event: Event) -> (State, Result<Vec<Action>, Refused>) {
    let (event, job) = match event {
        Event::Invoke(job) => ("invoke", Some(job)),
        Event::Parked => ("next", None),
        Event::Begun { .. } => ("response begins", None),
        Event::RuntimeParked => ("next of the runtime", None),
        Event::Resumed => ("restore", None),
        Event::Response(_) => ("response", None),
        Event::Streamed { .. } => ("response ends", None),
        Event::Failure(_) => ("error", None),
        Event::InitError(_) => ("init error", None),
        Event::StartFailed(_) => ("start failed", None),
        Event::Broken(_) => ("start broken", None),
        Event::Exited(_) => ("exit", None),
        Event::Crashed(_) => ("crash", None),
        Event::RuntimeEnded => ("end of the runtime", None),
        Event::Tick => ("tick", None),
        Event::KeepAlivePassed => ("keep-alive passed", None),
        Event::Released => ("release", None),
        Event::Stop => ("stop", None),
    };
    let refused = Refused { event, status: state.status(), job };
    (state, Err(refused))
}

/// The runtime waits in `next`.
fn idle(startup: Option<Startup>, limits: &Limits, now: Instant) -> State {
    let rest = limits.freeze_after.map_or(Rest::Awake, |after| Rest::AwakeUntil(now + after));
    State::Idle { process: Process::Warm { startup, rest } }
}

/// What the first start is.
pub(crate) fn first_phase(limits: &Limits) -> Phase {
    if limits.restores() { Phase::Restore } else { Phase::Init }
}

/// What becomes of those who wait for an environment that could not be started.
fn start_error(fault: Option<Fault>, took: Duration, limits: &Limits) -> StartError {
    match fault {
        Some(fault) if limits.restores() => StartError::Restore(fault),
        Some(fault) => StartError::Function(fault),
        None if limits.restores() => StartError::RestoreTimedOut,
        None => StartError::TimedOut { limit: took },
    }
}

fn cold(why: Cold) -> State {
    State::Idle { process: Process::Cold(why) }
}

fn then_idle(mut actions: Vec<Action>) -> Vec<Action> {
    actions.push(Action::JoinIdle);
    actions
}

fn init_failed(fault: Fault, ready: bool, took: Duration, limits: &Limits) -> (State, Vec<Action>) {
    let mut actions = init_lines(first_phase(limits), ready, took, Status::of(&fault));
    match limits.initialization {
        InitializationType::OnDemand => (cold(Cold::InitFailed), then_idle(actions)),
        InitializationType::ProvisionedConcurrency | InitializationType::SnapStart => {
            actions.push(Action::FailStart(Arc::new(start_error(Some(fault), took, limits))));
            (State::Stopped { end: End::StartFailed }, actions)
        }
    }
}

/// Why INIT failed: the runtime's own report is the reason of what follows. An extension's only has a name, which the
/// crash has, too.
fn reason_of(told: Option<Fault>, crash: Fault) -> Fault {
    told.filter(|fault| fault.document.is_some()).unwrap_or(crash)
}

/// How INIT ended: the runtime's part, unless that has been told, and all of it.
fn init_lines(phase: Phase, ready: bool, took: Duration, status: Status) -> Vec<Action> {
    let done = (!ready).then(|| Line::init_runtime_done(phase, status.clone()));
    done.into_iter().chain([Line::init_report(phase, took, status)]).map(Action::Log).collect()
}

/// INIT inside an invocation failed, and so the invocation did.
fn reinit_failed(run: Running, ready: bool, fault: &Fault, now: Instant) -> Vec<Action> {
    let mut actions = init_lines(Phase::Invoke, ready, now - run.begun, Status::of(fault));
    actions.extend(run.failed(fault, now));
    actions
}

/// INIT failed, or took too long (without a fault), while there are processes. One that is `retried`, if it is at all,
/// stays.
fn end_init(
    fault: Option<Fault>,
    ready: bool,
    begun: Instant,
    retried: bool,
    limits: &Limits,
    now: Instant,
) -> (State, Vec<Action>) {
    let took = now - begun;
    let (cold, end, status, reason) = match &fault {
        Some(fault) => (Cold::InitFailed, End::StartFailed, Status::of(fault), ShutdownReason::Failure),
        None => (Cold::InitTimedOut, End::StartTimedOut, Status::Timeout, ShutdownReason::Timeout),
    };
    let mut actions = init_lines(first_phase(limits), ready, took, status);
    let retried = retried && limits.initialization == InitializationType::OnDemand;
    if !retried {
        actions.push(Action::FailStart(Arc::new(start_error(fault, took, limits))));
    }
    let (ending, end_processes) = Ending::begin(false, reason, limits.shutdown, now);
    actions.extend(end_processes);
    (if retried { State::Resetting { cold, ending } } else { State::Stopping { end, ending } }, actions)
}

/// The environment stays, its processes do not.
fn reset(
    cold: Cold,
    reason: ShutdownReason,
    mut actions: Vec<Action>,
    limits: &Limits,
    now: Instant,
) -> (State, Vec<Action>) {
    let (ending, end_processes) = Ending::begin(false, reason, limits.shutdown, now);
    actions.push(Action::PromiseIdle);
    actions.extend(end_processes);
    (State::Resetting { cold, ending }, actions)
}

/// An idle environment goes.
fn leave(process: Process, end: End, limits: &Limits, now: Instant) -> (State, Vec<Action>) {
    match process {
        Process::Warm { rest, .. } => {
            let frozen = rest == Rest::Frozen;
            let (ending, actions) = Ending::begin(frozen, ShutdownReason::Spindown, limits.shutdown, now);
            (State::Stopping { end, ending }, actions)
        }
        Process::Cold(_) => (State::Stopped { end }, vec![]),
    }
}

/// The service ends, and with it an environment that works.
fn stop(mut actions: Vec<Action>, limits: &Limits, now: Instant) -> (State, Vec<Action>) {
    let (ending, end_processes) = Ending::begin(false, ShutdownReason::Spindown, limits.shutdown, now);
    actions.extend(end_processes);
    (State::Stopping { end: End::Stopped, ending }, actions)
}
