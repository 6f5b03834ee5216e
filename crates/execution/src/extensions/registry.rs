//! Who the extensions of an environment are, and where each stands.
//!
//! ```text
//!  Started ──register──▶ Registered ──next──▶ Ready ⇄ Running        external ones, at the environment's end:
//!     │                      │                  │        │            Running ──▶ Exited, ShutdownFailed
//!     ▼                      ▼ init/error       ▼        ▼
//!  LaunchError           InitError          ExitError (exit/error, also from Registered)
//! ```
//!
//! An external extension is a process that is expected before it registers; an internal one comes to be by registering.
//! Must not know when phases begin or end: the environment's task says so. The order of checks, the errors and their
//! wording are those of AWS's Runtime Interface Emulator.

use http::StatusCode;
use uuid::Uuid;

use crate::{
    fault::{Exit, ExitStatus, Fault},
    runtime_api::Refusal,
};

/// Extensions of one environment, external and internal ones together.
pub(crate) const MOST: usize = 10;

/// The extensions of one environment, since its processes were started.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    extensions: Vec<Extension>,
    phase: Phase,
    /// The first error that an extension has told; what happens later is its consequence.
    first_error: Option<&'static str>,
}

/// One extension.
#[derive(Debug)]
pub(crate) struct Extension {
    name: String,
    id: Uuid,
    kind: Kind,
    state: State,
    invoke: bool,
    shutdown: bool,
    /// It was given the SHUTDOWN event, which comes once.
    told: bool,
    error_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A process of its own.
    External,
    /// Part of the runtime process.
    Internal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Started,
    Registered,
    /// Waits in `event/next`.
    Ready,
    /// Has an event.
    Running,
    InitError,
    ExitError,
    LaunchError,
    /// It ended by itself after it was told to.
    Exited,
    /// It was told to end, and had to be killed or failed.
    ShutdownFailed,
}

/// What the environment is in, as far as extensions care.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// The runtime has not asked for an event yet: whoever wants to register may.
    #[default]
    Registration,
    /// Extensions are awaited in `event/next`.
    Readiness,
    /// INIT is over.
    Invocations,
    /// SHUTDOWN events are given.
    Shutdown,
}

/// Why an external extension could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaunchError {
    /// It is not executable.
    PermissionDenied,
    /// There are more than [`MOST`].
    TooManyExtensions,
    /// Anything else.
    Unknown,
}

/// An extension has registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) id: Uuid,
}

/// What becomes of a call of `event/next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It waits for the next event. The number is the extension's.
    Wait(usize),
    /// The environment ends: it is told at once.
    Shutdown,
}

impl Registry {
    /// Of an environment whose external extensions have these names, in the order in which they are started.
    pub(crate) fn new(external: &[String]) -> Registry {
        let extensions = external.iter().map(|name| Extension::new(name, Kind::External, State::Started));
        Registry { extensions: extensions.collect(), ..Registry::default() }
    }

    /// Nobody is there, nor expected.
    pub(crate) fn is_empty(&self) -> bool {
        self.extensions.is_empty()
    }

    /// External extensions first, in the order of their start, then internal ones in the order of their registration.
    pub(crate) fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// Whether there are processes besides the runtime's.
    pub(crate) fn has_external(&self) -> bool {
        self.extensions.iter().any(|extension| extension.kind == Kind::External)
    }

    /// All external extensions have registered: the runtime may start.
    pub(crate) fn all_registered(&self) -> bool {
        self.extensions.iter().all(|extension| extension.state != State::Started)
    }

    /// Everyone waits in `event/next`. Who did not subscribe to an event waits there all the time.
    pub(crate) fn all_ready(&self) -> bool {
        self.extensions.iter().all(|extension| extension.state == State::Ready)
    }

    // === what happens ===

    /// `extension/register`.
    pub(crate) fn register(&mut self, name: &str, events: &[String]) -> Result<Registration, Refusal> {
        let known = self.extensions.iter().position(|extension| extension.name == name);
        let external = known.filter(|&index| self.extensions[index].kind == Kind::External);
        for event in events {
            let problem = match event.as_str() {
                "INVOKE" => continue,
                "SHUTDOWN" if external.is_some() => continue,
                "SHUTDOWN" => "ShutdownEventNotSupportedForInternalExtension",
                _ => "ErrorInvalidEventType",
            };
            return Err(refusal("Extension.InvalidEventType", format!("{event}: {problem}")));
        }
        let index = match external {
            Some(index) if self.extensions[index].state != State::Started => {
                return Err(self.extensions[index].not_allowed("Registered", name));
            }
            Some(index) => index,
            None => self.add_internal(name, known.is_some())?,
        };
        let extension = &mut self.extensions[index];
        extension.state = State::Registered;
        extension.invoke = events.iter().any(|event| event == "INVOKE");
        extension.shutdown = events.iter().any(|event| event == "SHUTDOWN");
        Ok(Registration { id: extension.id })
    }

    fn add_internal(&mut self, name: &str, known: bool) -> Result<usize, Refusal> {
        if self.phase != Phase::Registration {
            return Err(refusal("Extension.RegistrationClosed", "Extension registration closed already"));
        }
        if self.extensions.len() >= MOST {
            let message = format!("Extension limit ({MOST}) reached");
            return Err(refusal("Extension.TooManyExtensions", message));
        }
        if known {
            let message = "Extension with this name already registered";
            return Err(refusal("Extension.InvalidExtensionState", message));
        }
        self.extensions.push(Extension::new(name, Kind::Internal, State::Started));
        Ok(self.extensions.len() - 1)
    }

    /// The extension with this identifier, for `event/next` and subscriptions.
    pub(crate) fn find(&self, id: Uuid) -> Result<(usize, &Extension), Refusal> {
        let found = self.extensions.iter().enumerate().find(|(_, extension)| extension.is(id));
        found
            .ok_or_else(|| refusal("Extension.UnknownExtensionIdentifier", format!("Unknown extension {id}")))
    }

    /// `event/next`.
    pub(crate) fn next(&mut self, id: Uuid) -> Result<Next, Refusal> {
        let index = self.find(id)?.0;
        let shutdown = self.phase == Phase::Shutdown;
        let extension = &mut self.extensions[index];
        match extension.state {
            State::Registered | State::Running
                if shutdown && extension.hears_of_shutdown() && !extension.told =>
            {
                extension.state = State::Running;
                extension.told = true;
                Ok(Next::Shutdown)
            }
            State::Registered | State::Running => {
                extension.state = State::Ready;
                Ok(Next::Wait(index))
            }
            State::Started
            | State::Ready
            | State::InitError
            | State::ExitError
            | State::LaunchError
            | State::Exited
            | State::ShutdownFailed => Err(extension.not_allowed("Ready", &id.to_string())),
        }
    }

    /// `extension/init/error`. Whether it is news.
    pub(crate) fn init_error(&mut self, id: Uuid, error_type: &str) -> Result<bool, Refusal> {
        let extension = self.find_failing(id)?;
        match extension.state {
            State::Registered => {
                extension.state = State::InitError;
                extension.error_type = Some(error_type.to_owned());
                self.first_error.get_or_insert("Extension.InitError");
                Ok(true)
            }
            State::InitError => Ok(false),
            State::Started
            | State::Ready
            | State::Running
            | State::ExitError
            | State::LaunchError
            | State::Exited
            | State::ShutdownFailed => Err(extension.not_allowed("InitError", &id.to_string())),
        }
    }

    /// `extension/exit/error`.
    pub(crate) fn exit_error(&mut self, id: Uuid, error_type: &str) -> Result<(), Refusal> {
        let extension = self.find_failing(id)?;
        match extension.state {
            State::Registered | State::Ready | State::Running => {
                extension.state = State::ExitError;
                extension.error_type = Some(error_type.to_owned());
                self.first_error.get_or_insert("Extension.ExitError");
                Ok(())
            }
            State::ExitError => Ok(()),
            // AWS names this state here, not `ExitError`.
            State::Started
            | State::InitError
            | State::LaunchError
            | State::Exited
            | State::ShutdownFailed => Err(extension.not_allowed("Exited", &id.to_string())),
        }
    }

    fn find_failing(&mut self, id: Uuid) -> Result<&mut Extension, Refusal> {
        let found = self.extensions.iter_mut().find(|extension| extension.is(id));
        let unknown =
            || refusal("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier");
        found.ok_or_else(unknown)
    }

    /// The runtime has asked for its first event: nobody can register any more.
    pub(crate) fn close_registration(&mut self) {
        if self.phase == Phase::Registration {
            self.phase = Phase::Readiness;
        }
    }

    /// INIT is over.
    pub(crate) fn initialized(&mut self) {
        self.phase = Phase::Invocations;
    }

    /// An invocation begins: these get its event, who wait for it.
    pub(crate) fn invoke(&mut self) -> impl Iterator<Item = usize> + use<'_> {
        let told = self.extensions.iter_mut().enumerate();
        told.filter(|(_, extension)| extension.invoke && extension.state == State::Ready).map(
            |(index, extension)| {
                extension.state = State::Running;
                index
            },
        )
    }

    /// The environment ends: these get the event now; others who subscribed get it when they ask.
    pub(crate) fn shut_down(&mut self) -> impl Iterator<Item = usize> + use<'_> {
        self.phase = Phase::Shutdown;
        let told = self.extensions.iter_mut().enumerate();
        told.filter(|(_, extension)| extension.hears_of_shutdown() && extension.state == State::Ready).map(
            |(index, extension)| {
                extension.told = true;
                extension.state = State::Running;
                index
            },
        )
    }

    /// An external extension could not be started.
    pub(crate) fn launch_failed(&mut self, index: usize, error: LaunchError) {
        if let Some(extension) = self.extensions.get_mut(index) {
            extension.state = State::LaunchError;
            extension.error_type = Some(error.name().to_owned());
        }
        self.first_error.get_or_insert("Extension.LaunchError");
    }

    /// The process of an external extension has ended; the fault that it is, unless the environment is being ended.
    pub(crate) fn ended(&mut self, index: usize, exit: &Exit) -> Fault {
        let message = match &exit.status {
            ExitStatus::Code(0) => "exit code 0".to_owned(),
            status => status.to_string(),
        };
        if let Some(extension) = self.extensions.get_mut(index) {
            if let ExitStatus::NotExecuted { denied, .. } = exit.status {
                self.launch_failed(
                    index,
                    if denied { LaunchError::PermissionDenied } else { LaunchError::Unknown },
                );
            } else if self.phase == Phase::Shutdown && extension.state == State::Running {
                let ended_well = exit.status == ExitStatus::Code(0);
                extension.state = if ended_well { State::Exited } else { State::ShutdownFailed };
            }
        }
        self.fault(Fault { error_type: "Extension.Crash".to_owned(), message, document: None })
    }

    /// What a fault is called: the first error that an extension has told, if one has, is the reason of what follows.
    pub(crate) fn fault(&self, fault: Fault) -> Fault {
        match self.first_error {
            Some(error_type) => Fault { error_type: error_type.to_owned(), ..fault },
            None => fault,
        }
    }
}

impl LaunchError {
    fn name(self) -> &'static str {
        match self {
            LaunchError::PermissionDenied => "PermissionDenied",
            LaunchError::TooManyExtensions => "TooManyExtensions",
            LaunchError::Unknown => "UnknownError",
        }
    }
}

impl Extension {
    fn new(name: &str, kind: Kind, state: State) -> Extension {
        Extension {
            name: name.to_owned(),
            id: Uuid::new_v4(),
            kind,
            state,
            invoke: false,
            shutdown: false,
            told: false,
            error_type: None,
        }
    }

    /// File name of an external extension, else what it calls itself.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it subscribed to.
    pub(crate) fn events(&self) -> Vec<&'static str> {
        let subscribed = [(self.invoke, "INVOKE"), (self.shutdown, "SHUTDOWN")];
        subscribed.iter().filter(|(subscribed, _)| *subscribed).map(|(_, event)| *event).collect()
    }

    /// As AWS names it.
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            State::Started => "Started",
            State::Registered => "Registered",
            State::Ready => "Ready",
            State::Running => "Running",
            State::InitError => "InitError",
            State::ExitError => "ExitError",
            State::LaunchError => "LaunchError",
            State::Exited => "Exited",
            State::ShutdownFailed => "ShutdownFailed",
        }
    }

    /// The error that it told, or why it was not started.
    pub(crate) fn error_type(&self) -> Option<&str> {
        self.error_type.as_deref()
    }

    /// Whether it is told of the environment's end. Who is not, is killed.
    pub(crate) fn hears_of_shutdown(&self) -> bool {
        self.kind == Kind::External && self.shutdown
    }

    /// Who has not registered has no identifier that anyone could know.
    fn is(&self, id: Uuid) -> bool {
        self.id == id && !matches!(self.state, State::Started | State::LaunchError)
    }

    fn not_allowed(&self, to: &str, who: &str) -> Refusal {
        let message = format!(
            "State transition from {} to {to} failed for extension {who}. Error: State transition is not allowed",
            self.state()
        );
        refusal("Extension.InvalidExtensionState", message)
    }
}

fn refusal(error_type: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, error_type, message)
}

#[cfg(test)]
mod tests;
