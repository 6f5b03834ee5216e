//! The task that owns one environment: its processes, its Runtime API mailbox, its log pipe and its deadlines.
//!
//! Must not decide: [`state::step`] does. The task turns what happens into events and performs the actions.

mod calls;
mod extensions;

use std::{collections::VecDeque, io, pin::pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    net::{TcpListener, unix::pipe::Receiver},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::extensions::Extensions;
use super::{
    EnvironmentId, InitializationType, Shared, Status,
    limits::Limits,
    state::{self, Action, Event, State, first_phase},
};
use crate::{
    executor::{Connection, Created, Instance, Launch, Runtime, StartError},
    fault::{Exit, ExitStatus},
    invocation::{Finished, InvokeError},
    logs::{
        Drained, EnvironmentLog, Read, Source,
        platform::{Line, Phase, Startup, Status as LineStatus},
    },
    pool::{Idle, Order, Pool, Slot},
    ports::{InvocationRecord, LogStream},
    runtime_api::{self, Call, Session},
    spec::FunctionSpec,
};

/// Runtime API connections of one environment at a time. A runtime and its extensions need a handful.
const CONNECTIONS: usize = 64;

/// After a connection could not be accepted: others must let go of their descriptors first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// How much of the log pipe is read before others get their turn.
const READ_AT_ONCE: usize = 64 * 1024;

/// A pipe holds at most this much, so what an ended process left is within it.
const PIPE_MAXIMUM: usize = 1 << 20;

/// Runs an environment from its start to its end. `slot` is the pool's promise that someone is being started.
pub(crate) async fn run(pool: Arc<Pool>, slot: Slot, initialization: InitializationType) {
    let engine = pool.engine();
    let id = EnvironmentId::random();
    let shared = Arc::new(Shared::new(id, pool.spec().clone(), initialization, engine.clock.now()));
    let registration = engine.register(shared.clone());
    let debug = engine.config.debug.of(pool.spec());
    let template = matches!(slot, Slot::Snapshot(_));
    let limits = Limits::new(pool.spec(), &engine.config, initialization, template, debug);
    let ceiling = Instant::now() + limits.ceiling;
    shared.set(Status::Starting, false);

    let created = tokio::select! {
        biased;
        () = engine.stop.cancelled() => {
            shared.set(Status::Stopped, false);
            return slot.fail(InvokeError::ShuttingDown);
        }
        created = tokio::time::timeout_at(ceiling, create(&pool, id, &limits)) => created,
    };
    match created.unwrap_or(Err(StartError::TimedOut { limit: limits.ceiling })) {
        Ok((created, log)) => {
            if let Some(port) = created.instance.debugger_port() {
                shared.debugger_port.set(port).expect("it is set here only");
            }
            let state = State::new(&limits, Instant::now(), ceiling);
            Task::new(pool.clone(), shared, limits, state, created, log, slot).run().await;
            if template {
                pool.template_ended();
            }
        }
        Err(error) => {
            let timed_out = matches!(error, StartError::TimedOut { .. });
            shared.set(if timed_out { Status::StartupTimedOut } else { Status::StartupFailed }, false);
            let error = Arc::new(error);
            warn_of_failed_start(&shared, &error);
            slot.fail(InvokeError::Start(error));
        }
    }
    drop(registration);
}

async fn create(
    pool: &Arc<Pool>,
    id: EnvironmentId,
    limits: &Limits,
) -> Result<(Created, EnvironmentLog), StartError> {
    let engine = pool.engine();
    let spec = pool.spec();
    let credentials = engine.credentials.assume_role(spec).await?;
    let stream =
        log_stream(spec, id, Timestamp::try_from(engine.clock.now()).unwrap_or(Timestamp::UNIX_EPOCH));
    let log = EnvironmentLog::new(
        spec.clone(),
        limits.initialization,
        stream.clone(),
        &*engine.sink,
        engine.clock.clone(),
    );
    let launch = Launch {
        spec: spec.clone(),
        environment: id,
        credentials,
        log_stream: stream.name,
        timeout: limits.timeout,
        initialization: limits.initialization,
        debug: engine.config.debug.of(spec),
        credentials_token: (limits.initialization == InitializationType::SnapStart)
            .then(|| pool.credentials_token().clone()),
        template: limits.template,
    };
    let template = if limits.restores() { pool.template() } else { None };
    let created = match template {
        Some(template) => template.create(launch).await?,
        None => engine.executor.create(launch).await?,
    };
    Ok((created, log))
}

fn warn_of_failed_start(shared: &Shared, error: &Arc<StartError>) {
    tracing::warn!(
        environment = %shared.id, function = %shared.spec.function_name, error = crate::chain(&**error),
        "failed to start an environment (hint: look at what the function does at start-up; `hothouse logs --environment` shows its log)"
    );
}

/// `YYYY/MM/DD/[VERSION]ID`; with a configured group the function's name stands before the version.
fn log_stream(spec: &FunctionSpec, id: EnvironmentId, now: Timestamp) -> LogStream {
    let date = now.strftime("%Y/%m/%d");
    let function = if spec.logging.custom_group { spec.function_name.as_str() } else { "" };
    LogStream {
        account: spec.account,
        region: spec.region.clone(),
        group: spec.logging.group.clone(),
        name: format!("{date}/{function}[{}]{id}", spec.version),
    }
}

struct Task {
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    limits: Limits,
    state: State,
    slot: Option<Slot>,
    orders: Option<oneshot::Receiver<Order>>,
    instance: Box<dyn Instance>,
    listener: Option<TcpListener>,
    connections: JoinSet<()>,
    calls_in: mpsc::Sender<Call>,
    calls: mpsc::Receiver<Call>,
    session: Session,
    extensions: Extensions,
    parked: VecDeque<runtime_api::Reply>,
    exited: Option<oneshot::Receiver<Exit>>,
    output: Option<Receiver>,
    log: EnvironmentLog,
}

/// What woke the task.
enum Woken {
    Stop,
    Call(Call),
    Exited(Exit),
    ExtensionExited(usize, Exit),
    Order(Option<Order>),
    Output,
    Connection(io::Result<tokio::net::TcpStream>),
    Deadline,
}

impl Task {
    fn new(
        pool: Arc<Pool>,
        shared: Arc<Shared>,
        limits: Limits,
        state: State,
        created: Created,
        log: EnvironmentLog,
        slot: Slot,
    ) -> Task {
        let (calls_in, calls) = mpsc::channel(8);
        Task {
            state,
            pool,
            shared,
            limits,
            slot: Some(slot),
            orders: None,
            instance: created.instance,
            listener: created.runtime_api,
            connections: JoinSet::new(),
            calls_in,
            calls,
            session: Session::Started,
            extensions: Extensions::default(),
            parked: VecDeque::new(),
            exited: None,
            output: None,
            log,
        }
    }

    async fn run(mut self) {
        self.write_line(&Line::InitStart { phase: first_phase(&self.limits) });
        if let Some(event) = self.spawn().await {
            self.handle(event).await;
        }
        let stop = self.pool.engine().stop.clone();
        let mut stopping = false;
        let mut alarm = pin!(sleep_until(Instant::now() + Duration::from_secs(3600)));
        while !matches!(self.state, State::Stopped { .. }) {
            // The alarm is only ever moved forward to an earlier time: most deadlines are never reached, and one that
            // rings too early costs less than moving it for every invocation.
            if let Some(deadline) = self.state.deadline()
                && (deadline < alarm.deadline() || alarm.is_elapsed())
            {
                alarm.as_mut().reset(deadline);
            }
            let armed = self.state.deadline().is_some();
            let woken = tokio::select! {
                biased;
                // Stop overtakes everything.
                () = stop.cancelled(), if !stopping => Woken::Stop,
                // What the runtime said before it ended comes before its end.
                call = self.calls.recv() => Woken::Call(call.expect("the task holds a sender")),
                exit = wait(&mut self.exited) => Woken::Exited(exit),
                (index, exit) = extensions::ended(&mut self.extensions.exits), if !self.extensions.exits.is_empty() => {
                    Woken::ExtensionExited(index, exit)
                }
                order = wait_order(&mut self.orders) => Woken::Order(order),
                Some(_) = self.connections.join_next() => continue,
                connection = accept(self.listener.as_ref()), if self.connections.len() < CONNECTIONS => {
                    Woken::Connection(connection)
                }
                () = alarm.as_mut(), if armed => Woken::Deadline,
                // Last, since a flood is always ready.
                _ = readable(self.output.as_ref()) => Woken::Output,
                () = extensions::written(&self.extensions.outputs), if !self.extensions.outputs.is_empty() => {
                    Woken::Output
                }
            };
            match woken {
                Woken::Stop => {
                    stopping = true;
                    self.handle(Event::Stop).await;
                }
                Woken::Call(call) => {
                    // What the function wrote before this call belongs before what the call means.
                    self.read_output(Read::Unannounced, READ_AT_ONCE);
                    if let Some(event) = self.call(call) {
                        self.handle(event).await;
                    }
                    if let Some(event) = self.start_runtime_if_due().await {
                        self.handle(event).await;
                    }
                }
                Woken::Exited(exit) => {
                    if let Some(event) = self.runtime_ended(exit) {
                        self.handle(event).await;
                    }
                }
                Woken::ExtensionExited(index, exit) => {
                    if let Some(event) = self.extension_ended(index, exit) {
                        self.handle(event).await;
                    }
                }
                Woken::Order(order) => {
                    self.orders = None;
                    let event = match order {
                        Some(Order::Invoke(job)) => {
                            self.log.begin(job.invocation.tail, self.pool.engine().observer.is_some());
                            Event::Invoke(job)
                        }
                        Some(Order::KeepAlivePassed) => Event::KeepAlivePassed,
                        None => Event::Released,
                    };
                    self.handle(event).await;
                }
                Woken::Output => {
                    if self.read_output(Read::Announced, READ_AT_ONCE) {
                        // Waiting for a pipe that is never empty takes no turn of the reactor by itself: a flood must
                        // not keep it from the others.
                        tokio::task::yield_now().await;
                    }
                }
                Woken::Connection(Ok(stream)) => {
                    // Small answers must not wait for more.
                    let _ = stream.set_nodelay(true);
                    self.serve(Box::new(stream));
                }
                Woken::Connection(Err(error)) => {
                    tracing::warn!(environment = %self.shared.id, %error, "failed to accept a Runtime API connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
                Woken::Deadline => {
                    self.read_output(Read::Unannounced, READ_AT_ONCE);
                    self.handle(Event::Tick).await;
                }
            }
            self.log.flush();
        }
        if let Some(slot) = self.slot.take() {
            slot.fail(InvokeError::ShuttingDown);
        }
        if let Some(mut orders) = self.orders.take() {
            // The token may have been used after the last look.
            orders.close();
            if let Ok(Order::Invoke(job)) = orders.try_recv() {
                job.reply.refuse(InvokeError::ShuttingDown);
            }
        }
        self.connections.shutdown().await;
        self.log.flush();
        self.instance.close().await;
    }

    /// Feeds an event to the state machine and performs what it asks for, and what follows from that.
    async fn handle(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let placeholder = State::Stopped { end: state::End::Stopped };
            let state = std::mem::replace(&mut self.state, placeholder);
            let (state, actions) = state::step(state, event, &self.limits, Instant::now());
            self.state = state;
            self.shared.set(self.status(), self.state.is_frozen());
            let actions = match actions {
                Ok(actions) => actions,
                Err(refused) => {
                    tracing::debug!(environment = %self.shared.id, "{refused}");
                    if let Some(job) = refused.job {
                        job.reply.refuse(InvokeError::ShuttingDown);
                    }
                    return;
                }
            };
            for action in actions {
                match action {
                    Action::Spawn => next = self.spawn().await,
                    Action::Terminate => {
                        self.log.drain();
                        next = self.terminate();
                    }
                    Action::KillRuntime => self.instance.kill_runtime(),
                    Action::ShutDownExtensions { reason, until } => {
                        next = self.shut_down_extensions(reason, until);
                    }
                    Action::Kill => next = self.kill(),
                    Action::Freeze => {
                        self.log.set_awake(false);
                        self.instance.freeze();
                    }
                    Action::Thaw => {
                        self.instance.thaw();
                        self.log.set_awake(true);
                    }
                    Action::LimitCpu => self.instance.limit_cpu(),
                    Action::PromiseIdle => {
                        self.slot = Some(self.pool.resetting(self.limits.initialization).into());
                    }
                    Action::ExpectIdle => self.slot = Some(self.pool.answered().into()),
                    Action::JoinIdle => self.join_idle().await,
                    Action::FailStart(error) => {
                        // What went wrong in INIT has been told with its report.
                        let told = matches!(
                            *error,
                            StartError::Function(_)
                                | StartError::TimedOut { .. }
                                | StartError::Restore(_)
                                | StartError::RestoreTimedOut
                        );
                        if !told {
                            warn_of_failed_start(&self.shared, &error);
                        }
                        if let Some(slot) = self.slot.take() {
                            slot.fail(InvokeError::Start(error));
                        }
                    }
                    Action::Deliver => {
                        self.tell_extensions();
                        self.deliver();
                    }
                    Action::Begin(caller, stream) => {
                        // A caller that went away does not need the answer.
                        let _ = caller.send(Ok(stream));
                    }
                    Action::Complete(reply, Ok(produced)) => reply.complete(produced, self.log.tail()),
                    Action::Complete(reply, Err(error)) => reply.refuse(error),
                    Action::Log(line) => {
                        if matches!(line, Line::InitReport { .. }) {
                            self.report_extensions();
                        }
                        self.write_line(&line);
                    }
                    Action::Measure { meter, duration, init, failed } => {
                        let begun = self.pool.engine().time() - duration;
                        meter.finished(Finished { begun, duration, init, failed });
                    }
                }
            }
        }
    }

    // === the process ===

    /// Starts the runtime process; what went wrong comes back as an event.
    async fn start_runtime(&mut self) -> Option<Event> {
        let started = self.instance.start().await.and_then(|runtime| {
            let Runtime { connection, output, exited } = runtime;
            let output = Receiver::from_owned_fd(output)
                .map_err(|source| StartError::Machine { step: "watch the log pipe", source })?;
            Ok((connection, output, exited))
        });
        match started {
            Ok((connection, output, exited)) => {
                self.output = Some(output);
                self.exited = Some(exited);
                if let Some(connection) = connection {
                    self.serve(connection);
                }
                if !self.limits.restores() {
                    return None;
                }
                let forked = self.instance.is_forked();
                tracing::debug!(environment = %self.shared.id, forked, "an environment is being restored");
                if !forked {
                    return None;
                }
                self.session = Session::Restoring;
                Some(Event::Resumed)
            }
            Err(StartError::Function(fault)) => Some(Event::StartFailed(fault)),
            Err(error) => Some(Event::Broken(Arc::new(error))),
        }
    }

    fn serve(&mut self, connection: Connection) {
        self.connections.spawn(runtime_api::serve(connection, self.calls_in.clone(), self.body_limits()));
    }

    /// The processes are gone: read what they left, forget their connections.
    fn process_ended(&mut self) {
        self.exited = None;
        // Whatever they left running in the background ends with them.
        self.instance.kill();
        self.read_output(Read::Unannounced, PIPE_MAXIMUM);
        self.log.processes_ended();
        self.output = None;
        self.forget_extensions();
        self.parked.clear();
        self.connections.abort_all();
        while self.calls.try_recv().is_ok() {}
    }

    /// Reads from the log pipe what is there, up to `limit` bytes; says whether there may be more.
    fn read_output(&mut self, how: Read, limit: usize) -> bool {
        let more = !self.extensions.outputs.is_empty() && self.read_extensions(how, limit);
        let Some(output) = &self.output else { return more };
        match self.log.read(Source::Runtime, output, how, limit) {
            Drained::Empty => more,
            Drained::More => true,
            Drained::Closed => {
                self.output = None;
                more
            }
        }
    }

    // === the pool ===

    async fn join_idle(&mut self) {
        let (sender, receiver) = oneshot::channel();
        self.orders = Some(receiver);
        let idle = Idle::new(sender, self.limits.initialization);
        match self.slot.take() {
            Some(Slot::Snapshot(slot)) => {
                // A runtime that asked for an event at once is not where others could go on, and extensions are those of
                // one environment.
                let template = match self.session {
                    Session::RestoreReady if self.extensions.registry.is_empty() => {
                        self.instance.template().await
                    }
                    _ => None,
                };
                tracing::debug!(environment = %self.shared.id, forks = template.is_some(), "a snapshot was taken");
                return slot.taken(template, idle);
            }
            Some(Slot::Serve(slot)) => slot.succeed(),
            Some(Slot::Return(slot)) => return self.pool.give(idle, Some(slot)),
            None => {}
        }
        self.pool.give(idle, None);
    }

    fn status(&self) -> Status {
        match self.state.status() {
            Status::Ready if self.limits.template => Status::Template,
            status => status,
        }
    }

    // === the log ===

    fn tell_of_init(&self, took: Duration, status: &LineStatus) {
        let (id, function) = (self.shared.id, &self.pool.spec().function_name);
        if *status == LineStatus::Success {
            tracing::debug!(environment = %id, %function, ?took, "an environment started");
            return;
        }
        tracing::warn!(
            environment = %id, %function, status = status.name(),
            "INIT failed (hint: look at what the function does at start-up, for which it has {} s; `hothouse logs --environment` shows its log)",
            self.limits.init.min(self.limits.ceiling).as_secs()
        );
        for text in self.log.start_lines() {
            tracing::debug!("[lambda {id}] {text}");
        }
    }

    fn write_line(&mut self, line: &Line) {
        let spec = self.pool.spec();
        let memory_mb = match line {
            Line::Report { .. } => self.instance.peak_memory().div_ceil(1024 * 1024).max(1) as u32,
            Line::InitStart { .. }
            | Line::InitRuntimeDone { .. }
            | Line::InitReport { .. }
            | Line::Extension(_)
            | Line::Subscription { .. }
            | Line::Start(_)
            | Line::RuntimeDone { .. }
            | Line::End { .. } => 0,
        };
        self.log.line(line, memory_mb);
        if let Line::InitReport { phase: Phase::Init | Phase::Restore, duration, status } = line {
            self.tell_of_init(*duration, status);
        }
        if let Line::Report { about, duration, startup, status, .. } = line
            && let Some(observer) = &self.pool.engine().observer
        {
            observer.finished(InvocationRecord {
                function_name: spec.function_name.to_string(),
                version: spec.version.to_string(),
                request_id: about.request.to_string(),
                status: status.name(),
                duration_ms: duration.as_secs_f64() * 1000.0,
                init_duration_ms: startup.and_then(Startup::init).map(|init| init.as_secs_f64() * 1000.0),
                max_memory_mb: memory_mb,
                log: self.log.observed(),
            });
        }
    }
}

// === the arms of the select: each waits for ever while it has nothing to wait for ===

async fn wait(exited: &mut Option<oneshot::Receiver<Exit>>) -> Exit {
    match exited {
        // An executor that drops its promise has lost the process.
        Some(exited) => exited.await.unwrap_or(Exit { status: ExitStatus::Signal(9), out_of_memory: false }),
        None => std::future::pending().await,
    }
}

async fn wait_order(orders: &mut Option<oneshot::Receiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.await.ok(),
        None => std::future::pending().await,
    }
}

async fn readable(output: Option<&Receiver>) {
    match output {
        Some(output) if output.readable().await.is_ok() => {}
        Some(_) | None => std::future::pending().await,
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}
