//! `hothouse doctor`.
//!
//! Must not need a running service.

use std::process::ExitCode;

use super::CommandError;
use crate::cli::DoctorArgs;

/// Does what its arguments say.
pub(super) async fn run(_args: &DoctorArgs) -> Result<ExitCode, CommandError> {
    Err(CommandError::new("this build has no `doctor` command"))
}
