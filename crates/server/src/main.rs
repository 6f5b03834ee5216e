//! The door: configuration, listeners, companions and the command line.
//!
//! Must not hold Lambda's rules; those are `hothouse_control`'s.

use std::process::ExitCode;

use clap::Parser as _;

mod auth;
mod cli;
mod client;
mod commands;
mod companions;
mod compose;
mod config;
mod debug_file;
mod door;
mod function_url;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // One reactor carries the door, the environments and the Runtime API: handing an invocation to another
    // thread costs more than serving it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return commands::report(
                &commands::CommandError::new("failed to start the runtime").because(error),
            );
        }
    };
    let code = match runtime.block_on(commands::run(cli.command)) {
        Ok(code) => code,
        Err(error) => commands::report(&error),
    };
    // Whatever still blocks (a read from a terminal, a second signal's impatience) must not hold the exit up.
    runtime.shutdown_background();
    code
}
