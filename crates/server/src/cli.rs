//! The command line: which commands there are, and their arguments.
//!
//! Must not do what a command does; see `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{ClientFlags, ServiceFlags};

/// AWS Lambda on your own machine.
#[derive(Debug, Parser)]
#[command(name = "hothouse", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the Lambda API until a signal comes
    Start(StartArgs),
    /// Serve, deploy the functions of a folder, and show their invocations
    Dev(Box<DevArgs>),
    /// Invoke a function: result on stdout, log on stderr
    Invoke(InvokeArgs),
    /// Print a function's log
    Logs(LogsArgs),
    /// List functions
    Ls(ListArgs),
    /// List execution environments and their states
    Ps(PsArgs),
    /// Print a trace as a tree, or list the latest traces
    Trace(TraceArgs),
    /// Move the service's time ahead, so that retries and expiries come at once
    Clock(ClockArgs),
    /// Check the machine: runtimes, isolation, and how to get what is missing
    Doctor(DoctorArgs),
    /// Runtimes, and the AWS SDKs that functions expect
    Runtimes(RuntimesArgs),
    /// Print the variables that point AWS clients at Hothouse
    Env(EnvArgs),
    /// Show every option, its value, and where that came from
    Config(ConfigArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
}

/// `hothouse start`
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The service.
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
}

/// `hothouse dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Folder with a SAM `template.yaml`, or with one function per file or folder
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Deploy again what changes in the folder
    #[arg(long, value_name = "WHEN", default_value = "on", value_parser = ["on", "off"])]
    pub(crate) watch: String,
    /// Value of a template's parameter; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// The service.
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    /// Where it is, and in whose name.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse invoke`
#[derive(Debug, Args)]
pub(crate) struct InvokeArgs {
    /// Function name, partial or full ARN
    #[arg(value_name = "NAME")]
    pub(crate) function: String,
    /// Event: JSON, `@FILE`, or `-` for stdin
    #[arg(short, long, value_name = "JSON", default_value = "{}", allow_hyphen_values = true)]
    pub(crate) payload: String,
    /// Version or alias
    #[arg(long, value_name = "VERSION|ALIAS")]
    pub(crate) qualifier: Option<String>,
    /// Do not print the function's log
    #[arg(long)]
    pub(crate) no_logs: bool,
    /// Where the service is.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Function name
    #[arg(value_name = "NAME", required_unless_present = "environment")]
    pub(crate) function: Option<String>,
    /// Only the log of this execution environment, as `ps --all` lists them; the beginning of its id will do
    #[arg(short, long, value_name = "ID")]
    pub(crate) environment: Option<String>,
    /// Keep printing what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How far back to begin, such as 30s, 10m or 2h [default: 1h, with --environment its beginning]
    #[arg(long, value_name = "DURATION", value_parser = crate::config::parse_duration)]
    pub(crate) since: Option<std::time::Duration>,
    /// Where the service is.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse ls`, `hothouse ps`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the service is.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse ps`
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Show environments that have ended too, as far as they are remembered
    #[arg(long)]
    pub(crate) all: bool,
    /// Format and service.
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// `hothouse trace`
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Id of a trace, or its `X-Amzn-Trace-Id` header [default: list the latest]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Print JSON: the segments as they were sent
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the service is.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse clock`
#[derive(Debug, Args)]
pub(crate) struct ClockArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: ClockCommand,
}

/// What can be done with the service's time.
#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Move it ahead, and wait until what was due by then is done
    Advance {
        /// How far, such as 30s, 3m or 6h
        #[arg(value_name = "DURATION", value_parser = crate::config::parse_duration)]
        by: std::time::Duration,
        /// Where the service is.
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Print how far it is ahead of the machine's
    Show {
        /// Where the service is.
        #[command(flatten)]
        client: ClientFlags,
    },
}

/// `hothouse doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The service as it would be started.
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
}

/// `hothouse runtimes`
#[derive(Debug, Args)]
pub(crate) struct RuntimesArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: RuntimesCommand,
}

/// What can be done with runtimes.
#[derive(Debug, Subcommand)]
pub(crate) enum RuntimesCommand {
    /// Install AWS's SDKs and runtime clients into the data directory
    Sync {
        /// Runtimes, such as python3.13 or java21 [default: those found on the machine]
        #[arg(value_name = "RUNTIME")]
        runtimes: Vec<String>,
        /// The service that will use them.
        #[command(flatten)]
        service: ServiceFlags,
    },
    /// List the runtimes found on the machine
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The service that will use them.
        #[command(flatten)]
        service: ServiceFlags,
    },
}

/// `hothouse env`
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// Shell to write for
    #[arg(long, value_enum, default_value = "bash")]
    pub(crate) shell: EnvShell,
    /// Where the service is.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// Shells that `env` writes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum EnvShell {
    /// bash, zsh and other POSIX shells
    #[value(alias = "zsh", alias = "sh")]
    Bash,
    /// fish
    Fish,
    /// PowerShell
    #[value(name = "powershell", alias = "pwsh")]
    PowerShell,
}

/// `hothouse config`
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Print the table of options in Markdown
    #[arg(long, hide = true)]
    pub(crate) markdown: bool,
    /// Bring the table in this file up to date
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) readme: Option<PathBuf>,
    /// The service.
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    /// The client.
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// `hothouse completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to write for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
