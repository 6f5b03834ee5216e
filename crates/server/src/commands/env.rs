//! `hothouse env`: the variables that point AWS clients at Hothouse.
//!
//! Must not need a running service.

use std::process::ExitCode;

use super::{CommandError, configuration, print};
use crate::{
    cli::{EnvArgs, EnvShell},
    client::access_key,
};

/// Prints commands for a shell to evaluate.
pub(super) fn run(args: &EnvArgs) -> Result<ExitCode, CommandError> {
    let config = configuration(&args.client.0)?.client()?;
    let variables = [
        ("AWS_ENDPOINT_URL", config.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", access_key(&config.account)),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", &config.region),
        ("AWS_DEFAULT_REGION", &config.region),
    ];
    for (name, value) in variables {
        // Values are URLs, digits and region names: none needs more than quotes.
        match args.shell {
            EnvShell::Bash => print(format_args!("export {name}='{value}'"))?,
            EnvShell::Fish => print(format_args!("set -gx {name} '{value}'"))?,
            EnvShell::PowerShell => print(format_args!("$Env:{name} = '{value}'"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
