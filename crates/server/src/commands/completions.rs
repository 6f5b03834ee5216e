//! `hothouse completions`: scripts for shells.
//!
//! Must not need a configuration.

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::{CommandError, print_bytes};
use crate::cli::{Cli, CompletionsArgs};

/// Prints a shell's completion script.
pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hothouse", &mut script);
    print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
