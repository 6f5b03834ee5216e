//! `cargo xtask bench`: the promised numbers, as ratios to floors that are measured in the same run.
//!
//! Must not report a number without the floor or the limit that it is judged by.

mod compare;
mod floors;
mod groups;
mod http;
mod keeper;
mod language;
mod load;
mod machine;
mod markdown;
mod memory;
pub(crate) mod page;
mod peer;
mod process;
mod relay;
mod report;
mod run;
mod service;
pub(crate) mod soak;
mod statistics;
mod svg;

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use groups::{GROUPS, Group};
use language::Language;
use machine::Machine;
use peer::PeerArguments;
use report::Report;
use run::{Extent, Run};
use tokio::signal::unix::{SignalKind, signal};

/// Options of `cargo xtask bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure only this group (may be repeated).
    #[arg(long, value_name = "GROUP", value_parser = clap::builder::PossibleValuesParser::new(groups::names()))]
    only: Vec<String>,
    /// Measure only this language (may be repeated): python, node, rust.
    #[arg(long, value_name = "LANGUAGE", value_parser = ["python", "node", "rust"])]
    language: Vec<String>,
    /// Three rounds instead of ten and a fifth of the samples: enough to see whether something is badly off.
    #[arg(long)]
    quick: bool,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Measure another revision's service and the present one's, or those of OLD..NEW, pair by pair.
    #[arg(long, value_name = "REVISION", conflicts_with = "port")]
    compare: Option<String>,
    #[command(flatten)]
    peer: PeerArguments,
    /// Write a plot of what is promised.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the tables of docs/performance.md, and its plot; with --peer, the table of that peer.
    #[arg(long)]
    page: bool,
}

impl Arguments {
    fn run(&self, extent: Extent) -> Result<Run, BenchError> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => optimised_binary()?,
        };
        let all = Language::ALL.into_iter();
        let languages = all
            .filter(|one| self.language.is_empty() || self.language.iter().any(|name| name == one.name()))
            .collect();
        Ok(Run { binary, languages, extent })
    }

    fn extent(&self) -> Extent {
        if self.quick { Extent::QUICK } else { Extent::FULL }
    }

    fn groups(&self) -> impl Iterator<Item = &'static Group> {
        GROUPS.iter().filter(|group| self.only.is_empty() || self.only.iter().any(|name| name == group.name))
    }
}

/// Parts of the benchmark that are processes of their own.
#[derive(Debug, clap::Args)]
pub(crate) struct PartArguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The relay of floor F1; prints its two ports.
    Relay {
        #[arg(long)]
        core: Option<usize>,
    },
    /// The server of floor F5; prints its port.
    Keeper {
        #[arg(long)]
        file: PathBuf,
        /// Records that its file has room for.
        #[arg(long)]
        count: usize,
    },
    /// A runtime client of the relay.
    Runtime {
        #[arg(long)]
        core: Option<usize>,
        #[arg(long)]
        port: u16,
    },
    /// Another program on one core.
    Pinned {
        #[arg(long)]
        core: usize,
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Why the benchmark could not go on.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("failed to {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{0}` failed")]
    Command(String),
    #[error("{what}: unexpected answer {status}: {body}")]
    Answer { what: &'static str, status: u16, body: String },
    #[error("the service ended before it was ready; it said:\n{0}")]
    NotReady(String),
    #[error("{0} is not installed, and is needed as a floor")]
    Missing(&'static str),
    #[error("docs/performance.md has no place for `{0}`: write the two comments that enclose it first")]
    NoPart(String),
    #[error("interrupted")]
    Interrupted,
    #[error("failed to write an archive: {0}")]
    Archive(#[from] zip::result::ZipError),
}

/// Names what was attempted when input or output fails.
fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    |source| BenchError::Io { what: what.into(), source }
}

/// Builds everything optimised, then measures with the optimised build of this very program.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let outcome = if cfg!(debug_assertions) { run_optimised() } else { measure(arguments) };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_optimised() -> Result<ExitCode, BenchError> {
    let root = crate::repository();
    for arguments in [
        &["build", "--release", "--locked", "--package", "hothouse", "--package", "xtask"][..],
        &["build", "--release", "--locked", "--package", "rust-echo", "--manifest-path", "tests/Cargo.toml"]
            [..],
    ] {
        eprintln!("cargo {}", arguments.join(" "));
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&root);
        if arguments.contains(&"rust-echo") {
            command.arg("--target-dir").arg(target_directory()?.join("suite/cargo"));
        }
        if !command.status().map_err(io_error("start cargo"))?.success() {
            return Err(BenchError::Command(format!("cargo {}", arguments.join(" "))));
        }
    }
    // In its place, so that signals reach whoever has something to end.
    let program = target_directory()?.join("release/xtask");
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    Err(io_error(format!("start `{}`", program.display()))(error))
}

/// The target directory that this program was built into: it runs from `TARGET/PROFILE/xtask`.
fn target_directory() -> Result<PathBuf, BenchError> {
    let program = std::env::current_exe().map_err(io_error("find this program"))?;
    Ok(program.parent().and_then(|profile| profile.parent()).map(PathBuf::from).unwrap_or_default())
}

/// The optimised build of the service, beside that of this program.
fn optimised_binary() -> Result<PathBuf, BenchError> {
    Ok(target_directory()?.join("release/hothouse"))
}

/// Measures what was asked for, and ends in order when it is interrupted.
fn measure(arguments: &Arguments) -> Result<ExitCode, BenchError> {
    process::open_many_files().map_err(io_error("raise the limit of open files"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io_error("make a tokio runtime"))?.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).map_err(io_error("wait for signals"))?;
        tokio::select! {
            outcome = measure_and_tell(arguments) => outcome,
            _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
            _ = terminated.recv() => Err(BenchError::Interrupted),
        }
    })
}

async fn measure_and_tell(arguments: &Arguments) -> Result<ExitCode, BenchError> {
    if let Some(revisions) = &arguments.compare {
        return compare::compare(arguments, revisions).await.map(|()| ExitCode::SUCCESS);
    }
    if arguments.peer.port.is_some() {
        return peer::measure(arguments).await.map(|()| ExitCode::SUCCESS);
    }
    let run = arguments.run(arguments.extent())?;
    let report = measure_groups(arguments, &run, false).await?;
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        println!("{}", report.table());
    }
    if let Some(path) = &arguments.svg {
        fs::write(path, svg::render(&report)).map_err(io_error(format!("write `{}`", path.display())))?;
    }
    if arguments.page {
        let rounds = run.extent.rounds;
        let extent = if arguments.quick { format!("A quick run of {rounds}") } else { format!("{rounds}") };
        page::write_figures(
            &crate::repository(),
            &report,
            &format!("{extent} rounds in {}", report.weather()),
        )?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures all groups that were asked for; one that fails is told in the report.
async fn measure_groups(arguments: &Arguments, run: &Run, silent: bool) -> Result<Report, BenchError> {
    let report = Report::new(Machine::look(&crate::repository()));
    let mut report = if silent { report.silent() } else { report };
    for group in arguments.groups() {
        if !silent {
            eprintln!("{} ({})", group.about, group.name);
        }
        report.begin(group.name);
        if let Err(error) = (group.measure)(run, &mut report).await {
            report.fail(&error);
        }
    }
    Ok(report)
}

/// Runs one part in this process.
pub(crate) fn part(arguments: &PartArguments) -> ExitCode {
    let outcome = match &arguments.part {
        Part::Relay { core } => process::pin(*core).and_then(|()| relay::serve()),
        Part::Keeper { file, count } => keeper::serve(file, *count),
        Part::Runtime { core, port } => process::pin(*core).and_then(|()| relay::runtime(*port)),
        Part::Pinned { core, command } => {
            process::pin(Some(*core)).and_then(|()| Err(process::become_another(command)))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
