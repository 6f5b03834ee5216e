//! `hothouse runtimes`: what functions run on here, and the SDKs that they expect.
//!
//! Must not need a running service.

use std::process::ExitCode;

use hothouse_api::generated::Runtime;
use hothouse_execution::runtimes::{
    Catalog, Family, Interpreter, Policy, Selection,
    sync::{self, Progress, SyncError, Target},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{CommandError, configuration, print, say, say_hint, say_note, table};
use crate::{
    cli::{RuntimesArgs, RuntimesCommand},
    config::{ServiceConfig, ServiceFlags},
};

/// Does what its arguments say.
pub(super) async fn run(args: &RuntimesArgs) -> Result<ExitCode, CommandError> {
    match &args.command {
        RuntimesCommand::Sync { runtimes, service } => {
            let catalog = find(service)?;
            let names = runtimes.clone();
            blocking(move || sync_all(&catalog, &names)).await?
        }
        RuntimesCommand::Ls { json, service } => {
            let catalog = find(service)?;
            let rows = blocking(move || rows(&catalog)).await?;
            list(&rows, *json)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The interpreters that this configuration finds.
pub(crate) fn catalog(config: &ServiceConfig) -> Catalog {
    let policy = Policy { strict: config.strict_runtimes, official_clients: config.official_clients };
    Catalog::discover(&config.search_paths, policy)
}

/// Runs what blocks away from the reactor.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommandError> {
    spawn_blocking(work).await.map_err(|error| CommandError::new("failed to finish").because(error))
}

fn find(service: &ServiceFlags) -> Result<Catalog, CommandError> {
    Ok(catalog(&configuration(&service.0)?.service()?))
}

// === Listing ===

/// One managed runtime, as this machine runs it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    /// `python3.12`.
    pub(super) runtime: &'static str,
    /// What runs it, if anything does.
    #[serde(flatten)]
    pub(super) runs_on: Option<RunsOn>,
    /// Why not, or not on what it asks for; says how to get that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<String>,
}

/// An interpreter and what was installed for its functions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunsOn {
    interpreter: String,
    release: Option<String>,
    source: String,
    pub(super) packages: Vec<String>,
}

impl RunsOn {
    fn new(catalog: &Catalog, interpreter: &Interpreter) -> Self {
        Self {
            interpreter: interpreter.executable.display().to_string(),
            release: interpreter.release().map(|release| release.to_string()),
            source: interpreter.source.to_string(),
            packages: sync::installed_packages(catalog, interpreter),
        }
    }
}

/// Every managed runtime that Hothouse has a client for, whether it runs here or not. Blocks.
pub(super) fn rows(catalog: &Catalog) -> Vec<Row> {
    let mut runtimes: Vec<_> = Runtime::ALL
        .iter()
        .filter_map(|runtime| match Family::of(runtime.as_str()) {
            Family::Managed(language, line) => Some((language, line, runtime.as_str())),
            Family::Provided | Family::Unsupported => None,
        })
        .collect();
    // `java8.al2` and `java8` are one to us; the shorter name stands for both.
    runtimes.sort();
    runtimes.dedup_by_key(|(language, line, _)| (*language, *line));
    runtimes
        .into_iter()
        .map(|(language, line, runtime)| match catalog.select(runtime, language, line) {
            Ok(Selection { interpreter, warning }) => {
                Row { runtime, runs_on: Some(RunsOn::new(catalog, interpreter)), warning }
            }
            Err(error) => Row { runtime, runs_on: None, warning: Some(error.to_string()) },
        })
        .collect()
}

/// The rows as a table. What stands in for another version is marked with `*`.
pub(super) fn lines(rows: &[Row]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| match &row.runs_on {
            Some(runs_on) => {
                let release = runs_on.release.as_deref().unwrap_or("?");
                let mark = if row.warning.is_some() { " *" } else { "" };
                vec![
                    row.runtime.to_owned(),
                    format!("{release}{mark}"),
                    runs_on.source.clone(),
                    summary(&runs_on.packages),
                    runs_on.interpreter.clone(),
                ]
            }
            None => vec![row.runtime.to_owned(), "-".to_owned()],
        })
        .collect();
    table::lines(&["RUNTIME", "RELEASE", "FROM", "INSTALLED", "INTERPRETER"], &cells)
}

fn summary(packages: &[String]) -> String {
    match packages {
        [] => "-".to_owned(),
        [package] => package.replace("==", " "),
        packages => format!("{} packages", packages.len()),
    }
}

fn list(rows: &[Row], json: bool) -> Result<(), CommandError> {
    if json {
        let text = serde_json::to_string_pretty(rows)
            .map_err(|error| CommandError::new("failed to write JSON").because(error))?;
        return print(text);
    }
    for line in lines(rows) {
        print(line)?;
    }
    if rows.iter().any(|row| row.runs_on.is_some() && row.warning.is_some()) {
        say_note("* stands in for the version that is asked for; `hothouse doctor` says how to get that");
    }
    Ok(())
}

// === Installing ===

/// Installs for every target, going on after a failure when nothing was asked for by name.
fn sync_all(catalog: &Catalog, names: &[String]) -> Result<ExitCode, CommandError> {
    let targets = sync::targets(catalog, names)
        .map_err(|error| CommandError::new("failed to choose what to install").because(error))?;
    if targets.is_empty() {
        return Err(CommandError::new("no interpreter was found on this machine")
            .hint("`hothouse doctor` says what is missing and how to get it"));
    }
    let mut installed = 0;
    for target in &targets {
        match sync_one(catalog, target) {
            Ok(()) => installed += 1,
            Err(error @ SyncError::NoTool { .. }) if names.is_empty() => {
                say_note(format_args!("{} is left out: {error}", target.name));
            }
            Err(error) if names.is_empty() => {
                say_note(format_args!("{} is left out: {}", target.name, hothouse_execution::chain(&error)))
            }
            Err(error) => {
                return Err(
                    CommandError::new(format!("failed to install for {}", target.name)).because(error)
                );
            }
        }
    }
    if installed == 0 {
        return Err(CommandError::new("nothing could be installed"));
    }
    if names.is_empty() && targets.iter().any(|target| target.name == "node") {
        say_hint(
            "other clients of the AWS SDK for JavaScript: `hothouse runtimes sync @aws-sdk/client-athena`",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs for one target. A terminal gets a spinner with the tool's last line, a file a line for each step.
fn sync_one(catalog: &Catalog, target: &Target<'_>) -> Result<(), SyncError> {
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(
        ProgressStyle::with_template("{spinner} {prefix}: {wide_msg}").expect("the template is well-formed"),
    );
    let outcome = sync::install(catalog, target, &mut |progress| match progress {
        Progress::Started { target, packages } => {
            let what = format!("installing {}", summary(packages));
            if spinner.is_hidden() {
                say(format_args!("{target}: {what}"));
            }
            spinner.set_prefix(target.to_owned());
            spinner.set_message(what);
            spinner.enable_steady_tick(std::time::Duration::from_millis(100));
        }
        Progress::Output(line) => spinner.set_message(line.to_owned()),
        Progress::Finished { target } => {
            spinner.finish_and_clear();
            say(format_args!("{target}: installed"));
        }
        Progress::UpToDate { target } => say(format_args!("{target}: up to date")),
    });
    spinner.finish_and_clear();
    outcome
}
