//! Extensions: programs beside the runtime, or parts of it, that hear of invocations and of the environment's end.
//!
//! Pure: which extension may do what when, and what it is told. Must not know processes or HTTP connections: the
//! environment's task has those.

mod event;
mod registry;

pub(crate) use event::{ShutdownReason, invoke_event, shutdown_event};
pub(crate) use registry::{LaunchError, MOST, Next, Registry};

/// Where layers have external extensions, relative to `/opt`.
pub(crate) const DIRECTORY: &str = "extensions";
