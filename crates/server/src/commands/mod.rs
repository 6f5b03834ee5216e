//! The commands. Data goes to stdout, talk to stderr.
//!
//! Must not read configuration on its own; that is `config`'s.

use std::{
    error::Error,
    fmt::{self, Display},
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    cli::Command,
    client::ClientError,
    config::{ClientConfig, ConfigError, Configuration, Flags, ProcessEnvironment},
};

mod clock;
mod completions;
mod config;
mod dev;
mod doctor;
mod env;
mod invoke;
mod logs;
mod ls;
mod ps;
mod runtimes;
mod start;
mod table;
mod trace;

/// Does what the command line says.
pub(crate) async fn run(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Start(args) => start::run(&args).await,
        Command::Dev(args) => dev::run(&args).await,
        Command::Invoke(args) => invoke::run(&args).await,
        Command::Logs(args) => logs::run(&args).await,
        Command::Ls(args) => ls::run(&args).await,
        Command::Ps(args) => ps::run(&args).await,
        Command::Clock(args) => clock::run(&args).await,
        Command::Trace(args) => trace::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Runtimes(args) => runtimes::run(&args).await,
        Command::Env(args) => env::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// A command could not do its work: what was attempted, why not, and what to do about it.
#[derive(Debug)]
pub(crate) struct CommandError {
    attempted: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl CommandError {
    /// `attempted` reads like "failed to …".
    pub(crate) fn new(attempted: impl Into<String>) -> Self {
        Self { attempted: attempted.into(), cause: None, hint: None }
    }

    /// Names the reason.
    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A request to the service failed while `attempted`.
    pub(crate) fn client(attempted: impl Into<String>, error: ClientError, config: &ClientConfig) -> Self {
        let this = Self::new(attempted);
        let hint = if error.is_unreachable() {
            Some(how_to_reach(config))
        } else if error.is_unsigned() {
            Some(if config.key.is_some() { WRONG_KEY } else { NO_KEY }.to_owned())
        } else {
            None
        };
        Self { hint, ..this.because(error) }
    }

    /// The pipe that output goes to was closed; nothing is wrong.
    fn is_closed_pipe(&self) -> bool {
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

const NO_KEY: &str = "the service runs with `--auth sigv4`: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of its \
                      `--auth-keys`, or name a profile that has one (`--profile`, `--credentials-file`)";
const WRONG_KEY: &str = "the service runs with `--auth sigv4`, and the key in AWS_ACCESS_KEY_ID or the profile is none of its \
                         `--auth-keys`";

impl Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static));
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint();
        let mut this = Self::new(error.to_string());
        this.cause = error.source().map(|source| source.to_string().into());
        this.hint = hint;
        this
    }
}

/// Tells the user about an error; answers the code to exit with.
pub(crate) fn report(error: &CommandError) -> ExitCode {
    if error.is_closed_pipe() {
        return ExitCode::SUCCESS;
    }
    let red = anstyle::AnsiColor::Red.on_default().bold();
    say(format_args!("{red}error{red:#}: {error}"));
    if let Some(hint) = &error.hint {
        say_hint(hint);
    }
    ExitCode::FAILURE
}

/// Prints a line of data.
pub(crate) fn print(line: impl Display) -> Result<(), CommandError> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| CommandError::new("failed to write to stdout").because(error))
}

/// Prints bytes of data as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| CommandError::new("failed to write to stdout").because(error))
}

/// Tells people something. A closed stderr is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Tells people what they may want to do.
pub(crate) fn say_hint(hint: impl Display) {
    let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
    say(format_args!("{cyan}hint{cyan:#}: {hint}"));
}

/// Tells people about something that was left out or changed.
pub(crate) fn say_note(note: impl Display) {
    let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
    say(format_args!("{yellow}note{yellow:#}: {note}"));
}

/// Reads the configuration of this process.
pub(crate) fn configuration(flags: &Flags) -> Result<Configuration, CommandError> {
    Ok(Configuration::read(flags, &ProcessEnvironment)?)
}

fn how_to_reach(config: &ClientConfig) -> String {
    if config.endpoint == "http://127.0.0.1:4566" {
        "start it with: hothouse start".to_owned()
    } else {
        "is Hothouse running there? `--endpoint` or `HOTHOUSE_ENDPOINT` names another place".to_owned()
    }
}
