//! Which call of the Runtime API a runtime may make when. Pure.
//!
//! Must not know invocations: only the order of calls, as AWS's Runtime Interface Emulator defines it.

use http::StatusCode;

use super::Refusal;

/// Where the runtime stands, since its process was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Started,
    InitError,
    /// Waits in `restore/next`, to be a template of others.
    RestoreReady,
    /// Goes on behind `restore/next`, in the environment that it is to serve.
    Restoring,
    RestoreError,
    /// Waits in `next`.
    Ready,
    /// Has an event.
    Running,
    /// Streams its answer.
    Responding,
    /// Has answered; `next` is due.
    ResponseSent,
}

/// A call, as far as its order matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Next,
    Response,
    /// A response begins that is passed on as it comes.
    Begin,
    /// It has ended.
    End,
    Error,
    InitError,
    RestoreNext,
    RestoreError,
}

impl Session {
    /// The state after the call, or the 403 that refuses it.
    pub(crate) fn after(self, call: Transition) -> Result<Session, Refusal> {
        match (self, call) {
            (
                Session::Started | Session::Restoring | Session::ResponseSent | Session::Ready,
                Transition::Next,
            ) => Ok(Session::Ready),
            // The same event again.
            (Session::Running, Transition::Next) => Ok(Session::Running),
            (Session::Running, Transition::Response | Transition::Error)
            | (Session::Responding, Transition::End) => Ok(Session::ResponseSent),
            (Session::Running, Transition::Begin) => Ok(Session::Responding),
            (Session::Started, Transition::InitError) => Ok(Session::InitError),
            (Session::Started, Transition::RestoreNext) => Ok(Session::RestoreReady),
            // A client that knows one way only to say that it cannot go on is understood.
            (Session::Restoring, Transition::RestoreError | Transition::InitError) => {
                Ok(Session::RestoreError)
            }
            (Session::InitError | Session::RestoreReady | Session::RestoreError, _)
            | (_, Transition::RestoreNext | Transition::RestoreError)
            | (
                Session::Started | Session::Restoring,
                Transition::Response | Transition::Begin | Transition::End | Transition::Error,
            )
            | (
                Session::Ready | Session::ResponseSent,
                Transition::Response
                | Transition::Begin
                | Transition::End
                | Transition::Error
                | Transition::InitError,
            )
            | (Session::Running, Transition::End | Transition::InitError)
            | (
                Session::Responding,
                Transition::Next
                | Transition::Response
                | Transition::Begin
                | Transition::Error
                | Transition::InitError,
            ) => {
                let message = format!(
                    "State transition from {} to {} failed for runtime. Error: State transition is not allowed",
                    self.name(),
                    call.target()
                );
                Err(Refusal::new(StatusCode::FORBIDDEN, "InvalidStateTransition", message))
            }
        }
    }

    /// Whether the runtime has nothing to do.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Session::Ready | Session::RestoreReady)
    }

    fn name(self) -> &'static str {
        match self {
            Session::Started => "Started",
            Session::InitError => "InitError",
            Session::RestoreReady => "RestoreReady",
            Session::Restoring => "Restoring",
            Session::RestoreError => "RuntimeRestoreErrorState",
            Session::Ready => "Ready",
            Session::Running => "Running",
            Session::Responding => "InvocationResponse",
            Session::ResponseSent => "RuntimeResponseSentState",
        }
    }
}

impl Transition {
    fn target(self) -> &'static str {
        match self {
            Transition::Next => "Ready",
            Transition::Response | Transition::Begin => "InvocationResponse",
            Transition::End => "RuntimeResponseSentState",
            Transition::Error => "InvocationErrorResponse",
            Transition::InitError => "InitError",
            Transition::RestoreNext => "RestoreReady",
            Transition::RestoreError => "RuntimeRestoreErrorState",
        }
    }
}
