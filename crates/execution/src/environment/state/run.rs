//! One invocation on its way through an environment: what is told of it, and what its caller hears.
//!
//! Pure, as the machine that it is a part of. Must not know what follows for the environment.

use std::time::Duration;

use bytes::Bytes;
use hothouse_api::name::RequestId;
use tokio::time::Instant;

use super::{Action, Job};
use crate::{
    concurrency::Permit,
    environment::limits::Limits,
    fault::Fault,
    invocation::Invocation,
    logs::platform::{Line, ResponseTiming, Span, Startup, Status, Timing},
    response::{Failure, Produced, Reply},
};

/// An invocation that the environment works on.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) job: Job,
    pub(crate) begun: Instant,
    /// When the runtime was given the event.
    pub(super) delivered: Instant,
    /// When it began to answer, if the response is streamed.
    pub(super) answering: Option<Instant>,
    /// How long the environment's start took, if no REPORT has told it.
    pub(crate) startup: Option<Startup>,
}

/// An invocation whose response is there.
#[derive(Debug)]
pub(crate) struct Settled {
    request: Invocation,
    /// Counts against the concurrency limit until the environment is free.
    _permit: Permit,
    begun: Instant,
    delivered: Instant,
    answering: Instant,
    answered: Instant,
    produced_bytes: u64,
    /// It was told that the runtime is done.
    done: bool,
    /// Since then extensions are waited for.
    ready: Option<Instant>,
    startup: Option<Startup>,
    status: Status,
    /// With `LogType=Tail` the answer waits for the REPORT line.
    held: Option<(Reply, Produced)>,
}

impl Running {
    /// The runtime answered: the caller hears it now, or later if it is to see a log that is complete.
    pub(super) fn settle(
        self,
        produced: Produced,
        status: Status,
        limits: &Limits,
        now: Instant,
    ) -> (Settled, Vec<Action>) {
        let Running { job: Job { invocation, reply, permit }, begun, delivered, answering, startup } = self;
        let mut settled = Settled {
            request: invocation,
            _permit: permit,
            begun,
            delivered,
            answering: answering.unwrap_or(now),
            answered: now,
            produced_bytes: produced.length(),
            done: false,
            ready: None,
            startup,
            status,
            held: None,
        };
        if !limits.post_invoke_wait.is_zero() {
            settled.held = Some((reply, produced));
            (settled, vec![])
        } else if settled.request.tail {
            settled.held = Some((reply, produced));
            (settled, vec![Action::ExpectIdle])
        } else {
            settled.request.follow.ticket = None;
            // In this order: whoever hears the answer may invoke again at once.
            (settled, vec![Action::ExpectIdle, Action::Complete(reply, Ok(produced))])
        }
    }

    /// The invocation ended without an answer of the runtime. Its log is complete before the caller hears of it.
    pub(super) fn failed(self, fault: &Fault, now: Instant) -> Vec<Action> {
        let failure = self.told(fault);
        let Running { job: Job { invocation, reply, .. }, begun, delivered, startup, .. } = self;
        let status = Status::of(fault);
        let timing = Timing { duration: now - delivered, response: None };
        let mut actions = vec![Action::Log(Line::runtime_done(&invocation, status.clone(), timing, 0))];
        end(&mut actions, invocation, now - begun, startup, status, None);
        actions.push(Action::Complete(reply, Ok(Produced::Failed(failure))));
        actions
    }

    /// What the caller hears of a fault.
    pub(super) fn told(&self, fault: &Fault) -> Failure {
        // Whether the response broke off or the process did is seen in either order: the caller hears the same.
        if matches!(self.job.reply, Reply::Begun(_)) && fault.ends_process() {
            return Failure { error_type: Fault::TRUNCATED.to_owned(), document: Bytes::new() };
        }
        let document = fault.payload(&self.job.invocation.request_id);
        Failure { error_type: fault.error_type.clone(), document }
    }
}

impl Settled {
    pub(crate) fn request_id(&self) -> &RequestId {
        &self.request.request_id
    }

    /// The runtime asks for more, or has ended in this way. Told once.
    pub(super) fn runtime_done(mut self, status: Option<&Status>, now: Instant) -> (Settled, Vec<Action>) {
        if self.done {
            return (self, vec![]);
        }
        self.done = true;
        let status = status.unwrap_or(&self.status).clone();
        let response = ResponseTiming {
            latency: self.answering - self.delivered,
            duration: self.answered - self.answering,
            overhead: now - self.answered,
        };
        let timing = Timing { duration: now - self.delivered, response: Some(response) };
        let done = Line::runtime_done(&self.request, status, timing, self.produced_bytes);
        (self, vec![Action::Log(done)])
    }

    /// The runtime asks for more, and extensions do not yet.
    pub(super) fn runtime_parked(mut self, now: Instant) -> (Settled, Vec<Action>) {
        self.ready.get_or_insert(now);
        self.runtime_done(None, now)
    }

    /// All ask for more: extensions, if there are any (who have a SHUTDOWN phase), with the runtime or after it.
    pub(super) fn parked(self, limits: &Limits, now: Instant) -> (Settled, Vec<Action>) {
        if limits.shutdown.total.is_zero() { self.runtime_done(None, now) } else { self.runtime_parked(now) }
    }

    /// What is left to be told, then the answer if it was held back.
    pub(super) fn finish(self, status: Option<Status>, now: Instant) -> Vec<Action> {
        let extensions = self.ready.map(|ready| Span { ago: now - ready, duration: now - ready });
        let (run, mut actions) = self.runtime_done(status.as_ref(), now);
        let status = status.unwrap_or(run.status);
        end(&mut actions, run.request, now - run.begun, run.startup, status, extensions);
        actions.extend(run.held.map(|(reply, produced)| Action::Complete(reply, Ok(produced))));
        actions
    }
}

/// END and REPORT, and what is measured.
fn end(
    actions: &mut Vec<Action>,
    mut invocation: Invocation,
    duration: Duration,
    startup: Option<Startup>,
    status: Status,
    extensions: Option<Span>,
) {
    let failed = status != Status::Success;
    let meter = invocation.follow.meter.take();
    actions.push(Action::Log(Line::end(&invocation)));
    actions.push(Action::Log(Line::report(invocation, duration, startup, status, extensions)));
    let init = startup.and_then(Startup::init);
    actions.extend(meter.map(|meter| Action::Measure { meter, duration, init, failed }));
}
