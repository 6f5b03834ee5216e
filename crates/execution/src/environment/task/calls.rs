//! What the runtime asks for and answers, as events of its environment.
//!
//! Must not decide what follows from a call: [`state::step`](super::super::state::step) does.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::Task;
use crate::{
    environment::{
        InitializationType,
        state::{Event, Job, State},
    },
    fault::Fault,
    response::{Reply, ResponseStream},
    runtime_api::{self, Body, BodyLimits, Call, Refusal, Session, Transition, accepted},
};

/// How long a role's credentials are valid, as their source has it.
const VALIDITY: Duration = Duration::from_secs(12 * 3600);

/// Calls of `next` that wait at the same time. A runtime has one; more of them are answered when they are forgotten.
const PARKED: usize = 16;

impl Task {
    /// Answers a call of the runtime, or keeps its answer for later; tells what it means.
    pub(super) fn call(&mut self, call: Call) -> Option<Event> {
        match call {
            Call::Next(reply) => match self.session.after(Transition::Next) {
                Ok(Session::Running) => {
                    self.park(reply);
                    self.deliver();
                    None
                }
                Ok(session) => {
                    let first = self.session != Session::Ready;
                    self.session = session;
                    self.park(reply);
                    self.extensions.registry.close_registration();
                    first.then(|| self.all_parked().unwrap_or(Event::RuntimeParked))
                }
                Err(refusal) => refuse(reply, &refusal),
            },
            Call::Response { id, body, reply } => {
                if let Err(refusal) = self.check(&id, Transition::Response) {
                    return refuse(reply, &refusal);
                }
                Some(self.response(body, reply))
            }
            Call::Begin { id, content_type, place } => self.begin(&id, content_type, place),
            Call::End { id, body, reply } => {
                if let Err(refusal) = self.check(&id, Transition::End) {
                    return refuse(reply, &refusal);
                }
                Some(self.response(body, reply))
            }
            Call::Error { id, report, reply } => {
                if let Err(refusal) = self.check(&id, Transition::Error) {
                    return refuse(reply, &refusal);
                }
                let _ = reply.send(accepted());
                Some(Event::Failure(fault(report)))
            }
            // Others than those of SnapStart have no such routes.
            Call::RestoreNext(reply) | Call::RestoreError { reply, .. } | Call::Credentials { reply, .. }
                if self.limits.initialization != InitializationType::SnapStart =>
            {
                let _ = reply.send(runtime_api::not_found());
                None
            }
            Call::RestoreNext(reply) => match self.session.after(Transition::RestoreNext) {
                Ok(session) if self.limits.template => {
                    self.session = session;
                    self.park(reply);
                    self.extensions.registry.close_registration();
                    Some(self.all_parked().unwrap_or(Event::RuntimeParked))
                }
                // Initialised anew, as there was nothing to fork it from: it goes on at once.
                Ok(_) => {
                    self.session = Session::Restoring;
                    self.extensions.registry.close_registration();
                    let _ = reply.send(Response::new(Full::default()));
                    Some(Event::Resumed)
                }
                Err(refusal) => refuse(reply, &refusal),
            },
            Call::RestoreError { report, reply } => match self.session.after(Transition::RestoreError) {
                Ok(session) => {
                    self.session = session;
                    let _ = reply.send(accepted());
                    Some(Event::InitError(fault(report)))
                }
                Err(refusal) => refuse(reply, &refusal),
            },
            Call::Credentials { token, reply } => {
                self.give_credentials(token.as_deref(), reply);
                None
            }
            Call::InitError { report, reply } => match self.session.after(Transition::InitError) {
                Ok(session) => {
                    self.session = session;
                    let _ = reply.send(accepted());
                    Some(Event::InitError(fault(report)))
                }
                Err(refusal) => refuse(reply, &refusal),
            },
            Call::Extension { call, reply } => self.extension_call(call, reply),
        }
    }

    /// A response that the runtime streams: goes to the caller as it comes, if that is what the caller wants. What the
    /// runtime may not do now is refused when it has been read, as any response.
    fn begin(
        &mut self,
        id: &str,
        content_type: Option<String>,
        place: oneshot::Sender<Option<mpsc::Sender<Bytes>>>,
    ) -> Option<Event> {
        let wanted = self.state.running().is_some_and(|run| matches!(run.job.reply, Reply::Streamed(_)));
        if !wanted || self.check(id, Transition::Begin).is_err() {
            let _ = place.send(None);
            return None;
        }
        let (stream, chunks, end) = ResponseStream::begin(content_type);
        let _ = place.send(Some(chunks));
        Some(Event::Begun { stream, end })
    }

    /// Keeps a call of `next` until there is an event.
    fn park(&mut self, reply: runtime_api::Reply) {
        if self.parked.len() == PARKED {
            self.parked.pop_front();
        }
        self.parked.push_back(reply);
    }

    /// Is `id` the current invocation, and may the runtime answer it now?
    fn check(&mut self, id: &str, transition: Transition) -> Result<(), Refusal> {
        let current = match &self.state {
            State::Settling { run, .. } => Some(run.request_id()),
            state => state.running().map(|run| &run.job.invocation.request_id),
        };
        let known = current.is_some_and(|current| id.parse().is_ok_and(|id| *current == id));
        if !known {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"));
        }
        self.session = self.session.after(transition)?;
        Ok(())
    }

    fn response(&self, body: Body, reply: runtime_api::Reply) -> Event {
        let (answer, event) = match body {
            Body::Whole(body) => (accepted(), Event::Response(body)),
            Body::PassedOn { bytes } => (accepted(), Event::Streamed { bytes }),
            Body::Failed(report) => (accepted(), Event::Failure(fault(report))),
            Body::TooLarge { limit } => {
                let document = format!(
                    r#"{{"errorMessage":"Response payload size exceeded maximum allowed payload size ({limit} bytes).","errorType":"Function.ResponseSizeTooLarge"}}"#
                );
                let fault = Fault {
                    error_type: "Function.ResponseSizeTooLarge".to_owned(),
                    message: String::new(),
                    document: Some(Bytes::from(document)),
                };
                (runtime_api::too_large(limit), Event::Failure(fault))
            }
            Body::Truncated => (runtime_api::truncated(), Event::Failure(platform_fault(Fault::TRUNCATED))),
            Body::InvalidMode(mode) => (
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "InvalidFunctionResponseMode",
                    format!("Invalid function response mode: {mode}"),
                )
                .response(),
                Event::Failure(platform_fault("Runtime.InvalidResponseModeHeader")),
            ),
        };
        let _ = reply.send(answer);
        event
    }

    /// Credentials of the execution role, to who has the token. They are made for whoever asks, so that they last: a
    /// snapshot may be older than any session.
    fn give_credentials(&mut self, token: Option<&str>, reply: runtime_api::Reply) {
        if token != Some(&**self.pool.credentials_token()) {
            // Unverified: the status and the words.
            let message = "There are no credentials for this token";
            refuse(reply, &Refusal::new(StatusCode::NOT_FOUND, "InvalidToken", message));
            return;
        }
        let (engine, spec) = (self.pool.engine().clone(), self.pool.spec().clone());
        self.connections.spawn(async move {
            let expiration = Timestamp::try_from(engine.clock.now() + VALIDITY).unwrap_or(Timestamp::MAX);
            let response = match engine.credentials.assume_role(&spec).await {
                Ok(credentials) => runtime_api::credentials(&credentials, expiration),
                Err(error) => {
                    tracing::warn!(function = %spec.function_name, %error, "failed to give credentials");
                    runtime_api::going_away()
                }
            };
            let _ = reply.send(response);
        });
    }

    pub(super) fn body_limits(&self) -> BodyLimits {
        let config = &self.pool.engine().config;
        BodyLimits {
            buffered: config.response_limit,
            streamed: config.streamed_response_limit,
            shaped: config.shape_streamed_responses,
        }
    }

    /// Gives the current event to a runtime that waits in `next`. If none does, the next one to come gets it.
    pub(super) fn deliver(&mut self) {
        self.session = Session::Running;
        let Some(run) = self.state.running() else { return };
        let timeout = self.state.deadline().unwrap_or(run.begun).saturating_duration_since(Instant::now());
        let deadline = self.pool.engine().clock.now() + timeout;
        while let Some(reply) = self.parked.pop_front() {
            if reply.is_closed() {
                continue;
            }
            match event_response(&run.job, deadline.duration_since(UNIX_EPOCH).unwrap_or_default()) {
                Ok(response) => {
                    if reply.send(response).is_ok() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(environment = %self.shared.id, %error, "failed to write an event's headers");
                    return;
                }
            }
        }
    }
}

fn refuse(reply: runtime_api::Reply, refusal: &Refusal) -> Option<Event> {
    let _ = reply.send(refusal.response());
    None
}

fn fault(report: runtime_api::ErrorReport) -> Fault {
    Fault { error_type: report.error_type, message: String::new(), document: Some(report.document) }
}

fn platform_fault(error_type: &str) -> Fault {
    Fault { error_type: error_type.to_owned(), message: error_type.to_owned(), document: None }
}

/// The answer to `next`: the payload as it came, the rest in headers.
fn event_response(job: &Job, deadline: Duration) -> Result<Response<Full<Bytes>>, http::Error> {
    let invocation = &job.invocation;
    let mut response = Response::builder()
        .header(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("lambda-runtime-aws-request-id", invocation.request_id.to_string())
        .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
        .header("lambda-runtime-invoked-function-arn", invocation.invoked_arn.to_string());
    if let Some(trace) = &invocation.trace_id {
        response = response.header("lambda-runtime-trace-id", trace);
    }
    if let Some(tenant) = &invocation.tenant_id {
        response = response.header("lambda-runtime-aws-tenant-id", &**tenant);
    }
    if let Some(context) = &invocation.client_context {
        response =
            response.header("lambda-runtime-client-context", HeaderValue::from_bytes(context.as_bytes())?);
    }
    response.body(Full::new(invocation.payload.clone()))
}
