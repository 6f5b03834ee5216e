//! `hothouse runtimes`.
//!
//! Must not need a running service.

use std::process::ExitCode;

use super::CommandError;
use crate::cli::RuntimesArgs;

/// Does what its arguments say.
pub(super) async fn run(_args: &RuntimesArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::new("this build has no `runtimes` command"))
}
