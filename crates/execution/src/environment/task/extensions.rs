//! The extensions of an environment as its task has them: their processes, and the answers that they wait for.
//!
//! Must not decide what an extension may do: the [`Registry`] does. Nor what follows from its end: the state machine does.

use std::{
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::future::select_all;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use tokio::{net::unix::pipe::Receiver, sync::oneshot, time::Instant};
use uuid::Uuid;

use super::Task;
use crate::{
    environment::{
        limits::ShutdownTime,
        state::{Event, State},
    },
    executor::StartError,
    extensions::{LaunchError, MOST, Next, Registry, ShutdownReason, invoke_event, shutdown_event},
    fault::{Exit, ExitStatus, Fault},
    logs::{
        Source,
        platform::{self, Line},
    },
    runtime_api::{ExtensionCall, Refusal, Reply, accepted, registered},
    telemetry::{self, Subscription},
};

/// Empty, and without cost, where there are no extensions.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) registry: Registry,
    /// Calls of `event/next` that wait.
    parked: Vec<(usize, Reply)>,
    /// Processes that have not ended.
    pub(super) exits: Exits,
    pub(super) outputs: Vec<Output>,
    /// The runtime starts when all have registered.
    runtime_due: bool,
    /// The event that tells of the environment's end, once there is one.
    shutdown: Option<Bytes>,
}

/// What external extensions write, by their number.
pub(super) type Output = (usize, Receiver);

/// The ends of external extensions, by their number.
type Exits = Vec<(usize, oneshot::Receiver<Exit>)>;

impl Task {
    // === processes ===

    /// Starts the processes, first of all the external extensions; what went wrong comes back as an event.
    pub(super) async fn spawn(&mut self) -> Option<Event> {
        self.session = crate::runtime_api::Session::Started;
        let names = self.instance.extensions();
        self.extensions = Extensions { registry: Registry::new(&names), ..Extensions::default() };
        self.set_shutdown_time();
        if names.is_empty() {
            return self.start_runtime().await;
        }
        for index in 0..names.len() {
            if index == MOST {
                let fault = Fault {
                    error_type: "Extension.LaunchError".to_owned(),
                    message: "ErrTooManyExtensions".to_owned(),
                    document: None,
                };
                self.extensions.registry.launch_failed(index, LaunchError::TooManyExtensions);
                return Some(Event::Crashed(fault));
            }
            let started = self.instance.start_extension(index).await.and_then(|process| {
                let output = Receiver::from_owned_fd(process.output).map_err(|source| {
                    StartError::Machine { step: "watch an extension's log pipe", source }
                })?;
                Ok((process.connection, output, process.exited))
            });
            match started {
                Ok((connection, output, exited)) => {
                    if let Some(connection) = connection {
                        self.serve(connection);
                    }
                    self.extensions.outputs.push((index, output));
                    self.extensions.exits.push((index, exited));
                }
                Err(StartError::Function(fault)) => return Some(Event::Crashed(fault)),
                Err(error) => return Some(Event::Broken(error.into())),
            }
        }
        self.extensions.runtime_due = true;
        None
    }

    /// Starts the runtime if the extensions were all that it waited for.
    pub(super) async fn start_runtime_if_due(&mut self) -> Option<Event> {
        if !self.extensions.runtime_due || !self.extensions.registry.all_registered() {
            return None;
        }
        self.extensions.runtime_due = false;
        match self.start_runtime().await {
            // Extensions are there, and are ended.
            Some(Event::StartFailed(fault)) => Some(Event::Crashed(fault)),
            other => other,
        }
    }

    /// The runtime's process has ended.
    pub(super) fn runtime_ended(&mut self, exit: Exit) -> Option<Event> {
        self.exited = None;
        let fault = self.extensions.registry.fault(Fault::exited(exit.clone()));
        self.process_gone(exit, fault, Some(Event::RuntimeEnded))
    }

    /// The process of an external extension has ended.
    pub(super) fn extension_ended(&mut self, index: usize, exit: Exit) -> Option<Event> {
        let fault = self.extensions.registry.ended(index, &exit);
        self.process_gone(exit, fault, None)
    }

    /// `expected` is what it means while the environment's processes are being ended, and some are left.
    fn process_gone(&mut self, exit: Exit, fault: Fault, expected: Option<Event>) -> Option<Event> {
        let alone = match self.state {
            // Nobody waits for the others, and the next invocation may come at any moment.
            State::Idle { .. } => true,
            State::Resetting { .. } | State::Stopping { .. } | State::Stopped { .. } => {
                if self.has_processes() {
                    return expected;
                }
                true
            }
            State::Initializing { .. }
            | State::Reinitializing { .. }
            | State::Busy { .. }
            | State::Settling { .. } => self.extensions.registry.is_empty(),
        };
        if alone {
            self.process_ended();
            return Some(Event::Exited(exit));
        }
        Some(Event::Crashed(fault))
    }

    fn has_processes(&self) -> bool {
        self.exited.is_some() || !self.extensions.exits.is_empty()
    }

    /// Asks the runtime to end. What comes next, if there is none.
    pub(super) fn terminate(&mut self) -> Option<Event> {
        self.extensions.runtime_due = false;
        if self.exited.is_some() {
            self.instance.terminate();
            return None;
        }
        self.all_gone().or(Some(Event::RuntimeEnded))
    }

    /// Tells the extensions of the end, or ends them. What comes next, if there are none.
    pub(super) fn shut_down_extensions(&mut self, reason: ShutdownReason, until: Instant) -> Option<Event> {
        let event = shutdown_event(reason, self.since_epoch(until));
        self.extensions.shutdown = Some(event.clone());
        let told: Vec<usize> = self.extensions.registry.shut_down().collect();
        for index in told {
            self.extensions.answer(index, event.clone(), false);
        }
        for (index, _) in &self.extensions.exits {
            let extension = self.extensions.registry.extensions().get(*index);
            if extension.is_none_or(|extension| !extension.hears_of_shutdown()) {
                self.instance.kill_extension(*index);
            }
        }
        self.all_gone()
    }

    /// Ends all processes. What comes next, if there are none.
    pub(super) fn kill(&mut self) -> Option<Event> {
        self.extensions.runtime_due = false;
        self.instance.kill();
        self.all_gone()
    }

    fn all_gone(&mut self) -> Option<Event> {
        (!self.has_processes()).then(|| {
            self.process_ended();
            Event::Exited(Exit { status: ExitStatus::Code(0), out_of_memory: false })
        })
    }

    /// Reads what extensions have written; says whether there may be more.
    pub(super) fn read_extensions(&mut self, how: crate::logs::Read, limit: usize) -> bool {
        let mut more = false;
        let log = &mut self.log;
        self.extensions.outputs.retain(|(index, output)| {
            match log.read(Source::Extension(*index), output, how, limit) {
                crate::logs::Drained::Empty => true,
                crate::logs::Drained::More => {
                    more = true;
                    true
                }
                crate::logs::Drained::Closed => false,
            }
        });
        more
    }

    /// All processes are gone: what was theirs goes, too.
    pub(super) fn forget_extensions(&mut self) {
        let Extensions { parked, exits, outputs, runtime_due, .. } = &mut self.extensions;
        parked.clear();
        exits.clear();
        outputs.clear();
        *runtime_due = false;
    }

    // === calls ===

    pub(super) fn extension_call(&mut self, call: ExtensionCall, reply: Reply) -> Option<Event> {
        match self.answer_extension(call, reply) {
            Ok(event) => event,
            Err((reply, refusal)) => {
                let _ = reply.send(refusal.response());
                None
            }
        }
    }

    fn answer_extension(
        &mut self,
        call: ExtensionCall,
        reply: Reply,
    ) -> Result<Option<Event>, (Reply, Refusal)> {
        let registry = &mut self.extensions.registry;
        match call {
            ExtensionCall::Register { name, events, account } => {
                let registration = match registry.register(&name, &events) {
                    Ok(registration) => registration,
                    Err(refusal) => return Err((reply, refusal)),
                };
                self.set_shutdown_time();
                let _ = reply.send(registered(self.pool.spec(), registration.id, account));
                Ok(None)
            }
            ExtensionCall::Next { id } => match registry.next(id) {
                Ok(Next::Wait(index)) => {
                    self.extensions.parked.push((index, reply));
                    Ok(self.all_parked())
                }
                Ok(Next::Shutdown) => {
                    let _ = reply
                        .send(event_response(self.extensions.shutdown.clone().unwrap_or_default(), false));
                    Ok(None)
                }
                Err(refusal) => Err((reply, refusal)),
            },
            ExtensionCall::InitError { id, error_type } => match registry.init_error(id, &error_type) {
                Ok(news) => {
                    let _ = reply.send(accepted());
                    let fault = registry.fault(Fault {
                        error_type: String::new(),
                        message: error_type,
                        document: None,
                    });
                    Ok(news.then_some(Event::InitError(fault)))
                }
                Err(refusal) => Err((reply, refusal)),
            },
            ExtensionCall::ExitError { id, error_type } => match registry.exit_error(id, &error_type) {
                Ok(()) => {
                    let _ = reply.send(accepted());
                    Ok(None)
                }
                Err(refusal) => Err((reply, refusal)),
            },
            ExtensionCall::Subscribe { id, request } => match self.subscribe(id, request) {
                Ok(()) => {
                    let _ = reply.send(telemetry::succeeded());
                    Ok(None)
                }
                Err(refusal) => Err((reply, refusal)),
            },
        }
    }

    fn subscribe(&mut self, id: Uuid, request: Result<Box<Subscription>, Refusal>) -> Result<(), Refusal> {
        let (_, extension) = self.extensions.registry.find(id)?;
        let line = self.log.subscribe(extension.name(), *request?, self.instance.dialer())?;
        if let Some(line) = line {
            self.write_line(&line);
        }
        Ok(())
    }

    /// The runtime or an extension has begun to wait: whether that was the last that did not.
    pub(super) fn all_parked(&mut self) -> Option<Event> {
        if !self.session.waits() || !self.extensions.registry.all_ready() {
            return None;
        }
        self.log.started();
        self.extensions.registry.initialized();
        Some(Event::Parked)
    }

    /// Tells the extensions that subscribed to it of the invocation that the runtime is about to get.
    pub(super) fn tell_extensions(&mut self) {
        if self.extensions.registry.is_empty() {
            return;
        }
        let Some(run) = self.state.running() else { return };
        let deadline = self.since_epoch(self.state.deadline().unwrap_or(run.begun));
        let event = invoke_event(&run.job.invocation, deadline);
        let told: Vec<usize> = self.extensions.registry.invoke().collect();
        for index in told {
            self.extensions.answer(index, event.clone(), true);
        }
    }

    fn since_epoch(&self, time: Instant) -> Duration {
        let time = self.pool.engine().clock.now() + time.saturating_duration_since(Instant::now());
        time.duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn set_shutdown_time(&mut self) {
        let registry = &self.extensions.registry;
        self.limits.shutdown = ShutdownTime::with(!registry.is_empty(), registry.has_external());
    }

    /// INIT ends: the log says where each extension stands.
    pub(super) fn report_extensions(&mut self) {
        let lines = self.extensions.registry.extensions().iter().map(|extension| {
            Line::Extension(platform::Extension {
                name: extension.name().to_owned(),
                state: extension.state(),
                events: extension.events(),
                error_type: extension.error_type().map(str::to_owned),
            })
        });
        for line in lines.collect::<Vec<_>>() {
            self.write_line(&line);
        }
    }
}

impl Extensions {
    /// Gives an event to an extension that waits for one. If it does not any more, the event is lost, as on AWS.
    fn answer(&mut self, index: usize, event: Bytes, identified: bool) {
        if let Some(at) = self.parked.iter().position(|(parked, _)| *parked == index) {
            let (_, reply) = self.parked.swap_remove(at);
            let _ = reply.send(event_response(event, identified));
        }
    }
}

fn event_response(event: Bytes, identified: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(event));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if identified {
        let id = HeaderValue::from_str(&Uuid::new_v4().to_string()).expect("identifiers are ASCII");
        headers.insert("lambda-extension-event-identifier", id);
    }
    response
}

/// Waits for the next end of an extension's process.
pub(super) async fn ended(exits: &mut Exits) -> (usize, Exit) {
    poll_fn(|context| {
        for at in 0..exits.len() {
            if let Poll::Ready(exit) = Pin::new(&mut exits[at].1).poll(context) {
                let (index, _) = exits.swap_remove(at);
                // An executor that drops its promise has lost the process.
                let lost = Exit { status: ExitStatus::Signal(9), out_of_memory: false };
                return Poll::Ready((index, exit.unwrap_or(lost)));
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits until an extension has written something.
pub(super) async fn written(outputs: &[Output]) {
    let _ = select_all(outputs.iter().map(|(_, output)| Box::pin(output.readable()))).await;
}
