//! What the machine does in each state, one by one and at random.

use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;

use hothouse_api::name::RequestId;

use super::*;
use crate::{
    concurrency::Concurrency,
    environment::limits::ShutdownTime,
    fault::ExitStatus,
    invocation::{Completed, Follow},
    response::Part,
};

const LIMITS: Limits = Limits {
    initialization: InitializationType::OnDemand,
    template: false,
    init: Duration::from_secs(10),
    ceiling: Duration::from_secs(20),
    timeout: Duration::from_secs(3),
    shutdown: ShutdownTime::NONE,
    freeze_after: Some(Duration::from_millis(10)),
    post_invoke_wait: Duration::ZERO,
};

fn job(tail: bool) -> (Job, oneshot::Receiver<Result<Completed, InvokeError>>) {
    let (reply, answer) = oneshot::channel();
    (job_for(Reply::Whole(reply), tail), answer)
}

fn streamed_job(tail: bool) -> (Job, oneshot::Receiver<Result<ResponseStream, InvokeError>>) {
    let (reply, answer) = oneshot::channel();
    (job_for(Reply::Streamed(reply), tail), answer)
}

fn job_for(reply: Reply, tail: bool) -> Job {
    let invocation = Invocation {
        request_id: RequestId::random(),
        payload: Bytes::from_static(b"{}"),
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".parse().unwrap(),
        client_context: None,
        tenant_id: None,
        trace_id: None,
        tail,
        follow: Follow::default(),
    };
    Job { invocation, reply, permit: Concurrency::default().enter() }
}

fn fault() -> Fault {
    Fault { error_type: "Runtime.X".to_owned(), message: "x".to_owned(), document: None }
}

fn exit() -> Exit {
    Exit { status: ExitStatus::Code(1), out_of_memory: false }
}

/// A machine with its clock.
struct Machine {
    state: State,
    limits: Limits,
    now: Instant,
}

impl Machine {
    fn new(limits: Limits) -> Machine {
        let now = Instant::now();
        Machine { state: State::new(&limits, now, now + limits.ceiling), limits, now }
    }

    /// The names of the actions.
    fn take(&mut self, event: Event) -> Vec<&'static str> {
        self.act(event).iter().map(name).collect()
    }

    fn act(&mut self, event: Event) -> Vec<Action> {
        let placeholder = State::Stopped { end: End::Stopped };
        let state = std::mem::replace(&mut self.state, placeholder);
        let (state, actions) = step(state, event, &self.limits, self.now);
        self.state = state;
        actions.expect("not refused")
    }

    fn tick(&mut self, after: Duration) -> Vec<&'static str> {
        self.now += after;
        self.take(Event::Tick)
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Spawn => "spawn",
        Action::Terminate => "terminate",
        Action::KillRuntime => "kill runtime",
        Action::ShutDownExtensions { .. } => "shut down extensions",
        Action::Kill => "kill",
        Action::Freeze => "freeze",
        Action::Thaw => "thaw",
        Action::LimitCpu => "limit cpu",
        Action::PromiseIdle => "promise idle",
        Action::ExpectIdle => "expect idle",
        Action::JoinIdle => "join idle",
        Action::FailStart(_) => "fail start",
        Action::Deliver => "deliver",
        Action::Begin(..) => "begin",
        Action::Complete(..) => "complete",
        Action::Log(Line::InitRuntimeDone { .. } | Line::RuntimeDone { .. }) => "done",
        Action::Log(_) => "log",
        Action::Measure { .. } => "measure",
    }
}

#[test]
fn an_idle_environment_freezes_and_thaws_with_the_next_event() {
    let mut machine = Machine::new(LIMITS);
    assert_eq!(machine.take(Event::Parked), ["done", "log", "limit cpu", "join idle"]);
    assert_eq!(machine.tick(Duration::from_millis(9)), [""; 0]);
    assert_eq!(machine.tick(Duration::from_millis(1)), ["freeze"]);
    assert!(machine.state.is_frozen());
    assert_eq!(machine.state.deadline(), None);
    assert_eq!(machine.take(Event::Invoke(job(false).0)), ["thaw", "log", "deliver"]);
    machine.take(Event::Response(Bytes::new()));
    machine.take(Event::Parked);
    // Invoked again at once, it was not frozen.
    assert_eq!(machine.take(Event::Invoke(job(false).0)), ["log", "deliver"]);
}

#[test]
fn keep_alive_shows_as_timing_out_and_a_frozen_environment_can_be_ended() {
    let mut machine = Machine::new(LIMITS);
    machine.take(Event::Parked);
    machine.tick(Duration::from_millis(10));
    assert_eq!(machine.take(Event::KeepAlivePassed), ["kill"]);
    assert_eq!(machine.state.status(), UserStatus::TimingOut);
    machine.take(Event::Exited(exit()));
    assert_eq!(machine.state.status(), UserStatus::Stopped);
}

#[test]
fn extensions_have_time_for_their_shutdown_phase() {
    let mut machine = Machine::new(Limits { shutdown: ShutdownTime::with(true, false), ..LIMITS });
    machine.take(Event::Parked);
    machine.tick(Duration::from_millis(10));
    assert_eq!(machine.take(Event::Released), ["thaw", "terminate"]);
    assert_eq!(machine.tick(Duration::from_millis(499)), [""; 0]);
    assert_eq!(machine.tick(Duration::from_millis(1)), ["kill"]);
    assert_eq!(machine.tick(Duration::from_millis(500)), [""; 0], "once is enough");
    machine.take(Event::Exited(exit()));
    assert_eq!(machine.state.status(), UserStatus::Stopped);

    // A timeout resets with patience, too, and one that obeys needs no killing.
    let mut machine = Machine::new(Limits { shutdown: ShutdownTime::with(true, true), ..LIMITS });
    machine.take(Event::Parked);
    machine.take(Event::Invoke(job(false).0));
    assert_eq!(machine.tick(LIMITS.timeout), ["done", "log", "log", "complete", "promise idle", "terminate"]);
    assert_eq!(machine.take(Event::Exited(exit())), ["join idle"]);
    assert_eq!(machine.state.status(), UserStatus::Inactive);
}

#[test]
fn external_extensions_are_told_after_the_runtime_has_ended_or_used_up_its_share() {
    let limits = Limits { shutdown: ShutdownTime::with(true, true), ..LIMITS };
    let mut machine = Machine::new(limits);
    machine.take(Event::Parked);
    assert_eq!(machine.take(Event::KeepAlivePassed), ["terminate"]);
    assert_eq!(machine.tick(Duration::from_millis(599)), [""; 0]);
    assert_eq!(machine.tick(Duration::from_millis(1)), ["kill runtime", "shut down extensions"]);
    assert_eq!(machine.take(Event::RuntimeEnded), [""; 0], "as it was told");
    assert_eq!(machine.tick(Duration::from_millis(1399)), [""; 0]);
    assert_eq!(machine.tick(Duration::from_millis(1)), ["kill"]);
    assert_eq!(machine.take(Event::Exited(exit())), [""; 0]);

    let mut machine = Machine::new(limits);
    machine.take(Event::Parked);
    machine.take(Event::Released);
    assert_eq!(machine.take(Event::RuntimeEnded), ["shut down extensions"]);
    // What the runtime has not used is theirs.
    assert_eq!(machine.tick(Duration::from_millis(1999)), [""; 0]);
    assert_eq!(machine.tick(Duration::from_millis(1)), ["kill"]);
}

#[test]
fn what_crashes_among_several_processes_ends_the_others() {
    let limits = Limits { shutdown: ShutdownTime::with(true, true), ..LIMITS };
    let reason = |machine: &Machine| match machine.state {
        State::Resetting { ending: Ending::Runtime { reason, .. }, .. }
        | State::Stopping { ending: Ending::Runtime { reason, .. }, .. } => reason,
        ref state => panic!("{state:?}"),
    };
    // In INIT, which is then repeated in the next invocation.
    let mut machine = Machine::new(limits);
    assert_eq!(machine.take(Event::Crashed(fault())), ["done", "log", "terminate"]);
    assert_eq!(reason(&machine), ShutdownReason::Failure);
    assert_eq!(machine.take(Event::Exited(exit())), ["join idle"]);
    assert_eq!(machine.state.status(), UserStatus::StartupFailed);
    assert_eq!(machine.take(Event::Invoke(job(false).0)), ["log", "log", "spawn"]);
    let crashed = machine.take(Event::Crashed(fault()));
    let init_and_invocation = ["done", "log", "done", "log", "log", "complete", "promise idle", "terminate"];
    assert_eq!(crashed, init_and_invocation);
    // In an invocation, before the answer and after it.
    for answered in [false, true] {
        let mut machine = Machine::new(limits);
        machine.take(Event::Parked);
        machine.take(Event::Invoke(job(false).0));
        if answered {
            assert_eq!(machine.take(Event::Response(Bytes::new())), ["expect idle", "complete"]);
        }
        let crashed = machine.take(Event::Crashed(fault()));
        let expected = ["done", "log", "log", "complete", "promise idle", "terminate"];
        let expected = expected.into_iter().filter(|action| !answered || *action != "complete");
        assert_eq!(crashed, expected.collect::<Vec<_>>());
        assert_eq!(reason(&machine), ShutdownReason::Failure);
    }
    // Provisioned concurrency does not try again.
    let provisioned = InitializationType::ProvisionedConcurrency;
    let mut machine = Machine::new(Limits { initialization: provisioned, ..limits });
    assert_eq!(machine.take(Event::Crashed(fault())), ["done", "log", "fail start", "terminate"]);
    assert_eq!(machine.take(Event::Exited(exit())), [""; 0]);
    assert_eq!(machine.state.status(), UserStatus::StartupFailed);
}

#[test]
fn the_ceiling_ends_a_start_where_the_limit_of_init_only_repeats_it() {
    let mut machine = Machine::new(LIMITS);
    assert_eq!(machine.tick(Duration::from_secs(10)), ["done", "log", "kill"]);
    assert_eq!(machine.state.status(), UserStatus::StartupTimedOut);
    assert_eq!(machine.take(Event::Exited(exit())), ["join idle"]);

    let mut machine = Machine::new(Limits { ceiling: Duration::from_secs(5), ..LIMITS });
    assert_eq!(machine.tick(Duration::from_secs(5)), ["done", "log", "fail start", "kill"]);
    assert_eq!(machine.state.status(), UserStatus::StartupTimedOut);
    assert_eq!(machine.take(Event::Exited(exit())), [""; 0]);
    assert!(matches!(machine.state, State::Stopped { end: End::StartTimedOut }));
}

#[test]
fn provisioned_concurrency_reports_its_init_and_does_not_repeat_it() {
    let limits = Limits { initialization: InitializationType::ProvisionedConcurrency, ..LIMITS };
    let mut machine = Machine::new(limits);
    assert_eq!(machine.take(Event::Parked), ["done", "log", "limit cpu", "join idle"]);
    assert!(matches!(machine.state, State::Idle { process: Process::Warm { startup: None, .. } }));

    let mut machine = Machine::new(limits);
    assert_eq!(machine.take(Event::Exited(exit())), ["done", "log", "fail start"]);
    assert_eq!(machine.state.status(), UserStatus::StartupFailed);

    let mut machine = Machine::new(limits);
    assert_eq!(machine.tick(limits.init), ["done", "log", "fail start", "kill"]);
}

#[test]
fn lingering_holds_the_answer_back_and_keeps_the_environment_busy() {
    let mut machine = Machine::new(Limits { post_invoke_wait: Duration::from_millis(50), ..LIMITS });
    machine.take(Event::Parked);
    machine.take(Event::Invoke(job(false).0));
    assert_eq!(machine.take(Event::Response(Bytes::new())), [""; 0]);
    assert_eq!(machine.take(Event::Parked), ["done"]);
    assert_eq!(machine.state.status(), UserStatus::Invoking);
    assert_eq!(machine.tick(Duration::from_millis(50)), ["log", "log", "complete", "join idle"]);
}

#[test]
fn what_is_refused_says_so_and_gives_the_job_back() {
    let mut machine = Machine::new(LIMITS);
    machine.take(Event::Stop);
    machine.take(Event::Exited(exit()));
    let (state, refused) = step(machine.state, Event::Invoke(job(false).0), &LIMITS, machine.now);
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), "an environment that is stopped does not take `invoke`");
    assert!(refused.job.is_some() && matches!(state, State::Stopped { .. }));
}

fn answer(reply: Reply, produced: Result<Produced, InvokeError>) {
    match produced {
        Ok(produced) => reply.complete(produced, None),
        Err(error) => reply.refuse(error),
    }
}

/// A machine whose runtime has begun to answer, and what its caller has.
fn responding(tail: bool) -> (Machine, ResponseStream) {
    let mut machine = Machine::new(LIMITS);
    machine.take(Event::Parked);
    let (job, mut caller) = streamed_job(tail);
    machine.take(Event::Invoke(job));
    let (stream, _, end) = ResponseStream::begin(Some("text/plain".to_owned()));
    let actions = machine.act(Event::Begun { stream, end });
    assert!(matches!(&actions[..], [Action::Begin(..)]));
    actions.into_iter().for_each(perform);
    let stream = caller.try_recv().unwrap().unwrap();
    assert_eq!((stream.is_streamed(), stream.content_type()), (true, Some("text/plain")));
    (machine, stream)
}

fn perform(action: Action) {
    match action {
        Action::Begin(caller, stream) => drop(caller.send(Ok(stream))),
        Action::Complete(reply, produced) => answer(reply, produced),
        _ => {}
    }
}

/// How an answer has ended, if it has.
fn ended(stream: ResponseStream) -> Option<Option<String>> {
    let parts: Vec<Part> = stream.collect().now_or_never()?;
    match parts.into_iter().next_back() {
        Some(Part::End(end)) => Some(end.failure.map(|failure| failure.error_type)),
        _ => None,
    }
}

#[test]
fn an_answer_that_has_begun_ends_once_and_by_the_rules_of_all() {
    let failure = |error_type: &str| Some(Some(error_type.to_owned()));
    for (event, error) in [
        (Event::Streamed { bytes: 3 }, Some(None)),
        (Event::Failure(fault()), failure("Runtime.X")),
        // In either order the caller hears that the response broke off.
        (Event::Exited(exit()), failure("Runtime.TruncatedResponse")),
        (Event::Stop, failure("Sandbox.Failure")),
    ] {
        let (mut machine, stream) = responding(false);
        machine.act(event).into_iter().for_each(perform);
        assert_eq!(ended(stream), error);
    }
    let (mut machine, stream) = responding(false);
    machine.now += LIMITS.timeout;
    machine.act(Event::Tick).into_iter().for_each(perform);
    assert_eq!(ended(stream), failure("Sandbox.Timedout"));
}

#[test]
fn with_a_tail_the_end_waits_for_the_report() {
    let (mut machine, stream) = responding(true);
    machine.now += Duration::from_secs(1);
    assert_eq!(machine.take(Event::Streamed { bytes: 3 }), ["expect idle"]);
    let actions = machine.act(Event::Parked);
    let [Action::Log(Line::RuntimeDone { timing, produced_bytes: 3, .. }), ..] = &actions[..] else {
        panic!()
    };
    let response = timing.response.as_ref().unwrap();
    assert_eq!((response.latency, response.duration), (Duration::ZERO, Duration::from_secs(1)));
    let names: Vec<_> = actions.iter().map(name).collect();
    assert_eq!(names, ["done", "log", "log", "complete", "join idle"]);
    actions.into_iter().for_each(perform);
    assert_eq!(ended(stream), Some(None));
}

#[test]
fn an_answer_begins_once_and_only_for_who_takes_it_as_it_comes() {
    let begun = || {
        let (stream, _, end) = ResponseStream::begin(None);
        Event::Begun { stream, end }
    };
    let (machine, _stream) = responding(false);
    let (state, refused) = step(machine.state, begun(), &LIMITS, machine.now);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "an environment that is invoking does not take `response begins`"
    );
    assert!(matches!(state, State::Busy { .. }));

    let mut machine = Machine::new(LIMITS);
    machine.take(Event::Parked);
    machine.take(Event::Invoke(job(false).0));
    let (state, refused) = step(machine.state, begun(), &LIMITS, machine.now);
    assert!(refused.is_err() && matches!(state, State::Busy { .. }));
}

/// What may happen to an environment, as far as the test chooses it.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Invoke { tail: bool, streamed: bool },
    Parked,
    Begun,
    Streamed,
    Response,
    Failure,
    InitError,
    StartFailed,
    Broken,
    Exited,
    Crashed,
    RuntimeEnded,
    Resumed,
    Tick { after_ms: u64 },
    KeepAlivePassed,
    Released,
    Stop,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => any::<(bool, bool)>().prop_map(|(tail, streamed)| Happening::Invoke { tail, streamed }),
        4 => Just(Happening::Parked),
        2 => Just(Happening::Begun),
        1 => Just(Happening::Streamed),
        3 => Just(Happening::Response),
        1 => Just(Happening::Failure),
        1 => Just(Happening::InitError),
        1 => Just(Happening::StartFailed),
        1 => Just(Happening::Broken),
        2 => Just(Happening::Exited),
        1 => Just(Happening::Crashed),
        1 => Just(Happening::RuntimeEnded),
        1 => Just(Happening::Resumed),
        2 => (0..12_000_u64).prop_map(|after_ms| Happening::Tick { after_ms }),
        2 => (0..20_u64).prop_map(|after_ms| Happening::Tick { after_ms }),
        1 => Just(Happening::KeepAlivePassed),
        1 => Just(Happening::Released),
        1 => Just(Happening::Stop),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let initializations = prop_oneof![
        Just(InitializationType::OnDemand),
        Just(InitializationType::ProvisionedConcurrency),
        Just(InitializationType::SnapStart)
    ];
    (initializations, 0..3_u8, any::<bool>(), any::<bool>(), 1..30_u64).prop_map(
        |(initialization, shutdown, freeze, linger, ceiling)| Limits {
            initialization,
            ceiling: Duration::from_secs(ceiling),
            shutdown: ShutdownTime::with(shutdown > 0, shutdown > 1),
            freeze_after: freeze.then_some(Duration::from_millis(10)),
            post_invoke_wait: Duration::from_millis(if linger { 50 } else { 0 }),
            ..LIMITS
        },
    )
}

proptest! {
    /// Whatever happens in whatever order: each job is answered exactly once and only through an action or a refusal,
    /// a token is out exactly while the environment is idle, only processes that stand still are thawed, and nothing
    /// is asked for once it is over.
    #[test]
    fn every_job_is_answered_once_and_every_token_is_good(
        limits in limits(),
        happenings in proptest::collection::vec(happening(), 1..80),
    ) {
        let mut now = Instant::now();
        let mut state = State::new(&limits, now, now + limits.ceiling);
        let (mut token, mut frozen, mut starting) = (false, false, true);
        let (mut answers, mut streams) = (Vec::new(), Vec::new());
        for happening in happenings {
            let over = matches!(state, State::Stopped { .. });
            let event = match happening {
                // An order comes through the token, which it uses up; so does the release.
                Happening::Invoke { .. } | Happening::Released | Happening::KeepAlivePassed if !token => continue,
                Happening::Invoke { tail, streamed: false } => {
                    token = false;
                    let (job, answer) = job(tail);
                    answers.push(answer);
                    Event::Invoke(job)
                }
                Happening::Invoke { tail, streamed: true } => {
                    token = false;
                    let (job, answer) = streamed_job(tail);
                    streams.push(answer);
                    Event::Invoke(job)
                }
                Happening::Begun => {
                    let (stream, _, end) = ResponseStream::begin(None);
                    Event::Begun { stream, end }
                }
                Happening::Released => {
                    token = false;
                    Event::Released
                }
                Happening::KeepAlivePassed => {
                    token = false;
                    Event::KeepAlivePassed
                }
                Happening::Parked => Event::Parked,
                Happening::Resumed => Event::Resumed,
                Happening::Streamed => Event::Streamed { bytes: 1 },
                Happening::Response => Event::Response(Bytes::from_static(b"1")),
                Happening::Failure => Event::Failure(fault()),
                Happening::InitError => Event::InitError(fault()),
                Happening::StartFailed => Event::StartFailed(fault()),
                Happening::Broken => Event::Broken(Arc::new(StartError::Runtime { message: String::new() })),
                Happening::Exited => Event::Exited(exit()),
                // While it is idle, the task ends the others itself.
                Happening::Crashed if matches!(state, State::Idle { .. }) => continue,
                Happening::Crashed => Event::Crashed(fault()),
                Happening::RuntimeEnded => Event::RuntimeEnded,
                Happening::Tick { after_ms } => {
                    now += Duration::from_millis(after_ms);
                    Event::Tick
                }
                Happening::Stop => Event::Stop,
            };
            // A process that stands still calls nothing.
            if frozen && matches!(event, Event::Parked | Event::Begun { .. } | Event::Streamed { .. } | Event::Response(_) | Event::Failure(_) | Event::InitError(_)) {
                continue;
            }
            if matches!(event, Event::Exited(_)) {
                frozen = false;
            }
            let before = state.status();
            let (next, actions) = step(state, event, &limits, now);
            state = next;
            let actions = match actions {
                Ok(actions) => actions,
                Err(refused) => {
                    prop_assert_eq!(before, state.status());
                    if let Some(job) = refused.job {
                        job.reply.refuse(InvokeError::ShuttingDown);
                    }
                    continue;
                }
            };
            prop_assert!(!over || actions.is_empty(), "asked for something after the end");
            for action in actions {
                match action {
                    Action::Begin(caller, stream) => prop_assert!(caller.send(Ok(stream)).is_ok()),
                    Action::Complete(reply, produced) => answer(reply, produced),
                    Action::JoinIdle => {
                        prop_assert!(!token, "two tokens of one environment");
                        token = true;
                        starting = false;
                    }
                    Action::FailStart(_) => {
                        prop_assert!(starting || matches!(state, State::Stopped { .. }), "failed after it started");
                        starting = false;
                    }
                    Action::Deliver => prop_assert!(matches!(state, State::Busy { .. }), "delivered while not busy"),
                    Action::Spawn => prop_assert!(matches!(state, State::Reinitializing { .. }), "started twice"),
                    Action::Kill
                    | Action::Terminate
                    | Action::KillRuntime
                    | Action::ShutDownExtensions { .. } => {
                        let ending = matches!(state, State::Resetting { .. } | State::Stopping { .. });
                        prop_assert!(ending, "ended and yet not ending");
                    }
                    Action::Freeze => {
                        prop_assert!(!frozen && token, "frozen while it works");
                        frozen = true;
                    }
                    Action::Thaw => {
                        prop_assert!(frozen, "thawed while it runs");
                        frozen = false;
                    }
                    Action::PromiseIdle | Action::ExpectIdle => {
                        let before = matches!(state, State::Resetting { .. } | State::Settling { .. });
                        prop_assert!(before && !token, "promised for nothing");
                    }
                    Action::LimitCpu | Action::Log(_) | Action::Measure { .. } => {}
                }
            }
            let idle = matches!(state, State::Idle { .. });
            prop_assert!(!idle || token, "idle without a token");
            let over = matches!(state, State::Stopping { .. } | State::Stopped { .. });
            prop_assert!(!token || idle || over, "a token is out while it works");
            let ending = over || matches!(state, State::Resetting { .. });
            prop_assert!(!frozen || idle || ending, "it works while it stands still");
        }
        // Whatever still runs is answered when the service stops.
        let (_, actions) = step(state, Event::Stop, &limits, now);
        for action in actions.unwrap_or_default() {
            if let Action::Complete(reply, produced) = action {
                answer(reply, produced);
            }
        }
        for mut answer in answers {
            prop_assert!(answer.try_recv().is_ok(), "a job without an answer");
        }
        for mut answer in streams {
            let Ok(answer) = answer.try_recv() else { return Err(TestCaseError::fail("a job without an answer")) };
            if let Ok(stream) = answer {
                let parts: Option<Vec<Part>> = stream.collect().now_or_never();
                let parts = parts.expect("an answer without an end");
                prop_assert!(matches!(parts.last(), Some(Part::End(_))));
                prop_assert_eq!(parts.iter().filter(|part| matches!(part, Part::End(_))).count(), 1);
            }
        }
    }
}

#[test]
fn the_runtime_is_done_before_its_extensions_are_and_that_is_told_once() {
    let mut machine = Machine::new(Limits { shutdown: ShutdownTime::with(true, true), ..LIMITS });
    assert_eq!(machine.take(Event::RuntimeParked), ["done"]);
    assert_eq!(machine.take(Event::Parked), ["log", "limit cpu", "join idle"]);
    machine.take(Event::Invoke(job(false).0));
    machine.take(Event::Response(Bytes::new()));
    assert_eq!(machine.take(Event::RuntimeParked), ["done"]);
    assert_eq!(machine.take(Event::RuntimeParked), [""; 0]);
    assert_eq!(machine.take(Event::Parked), ["log", "log", "join idle"]);
    // An extension that crashes after it does not make it two.
    machine.take(Event::Invoke(job(false).0));
    machine.take(Event::Response(Bytes::new()));
    machine.take(Event::RuntimeParked);
    assert_eq!(machine.take(Event::Crashed(fault())), ["log", "log", "promise idle", "terminate"]);
}
