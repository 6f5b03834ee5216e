//! The chores of this repository: codegen, tidy, test, bench, soak.
//!
//! Must not hold anything that the service needs to run.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to the person who runs them")]

mod bench;
mod codegen;
mod test;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The chores of this repository.")]
struct CommandLine {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Measure, as ratios to floors of the same run.
    Bench(bench::Arguments),
    /// One part of the benchmark, as a process of its own.
    #[command(hide = true)]
    BenchPart(bench::PartArguments),
    /// Generate `crates/api/src/generated` from `models/`.
    Codegen(codegen::Arguments),
    /// Send very many invocations of every kind, and see that nothing grows.
    Soak(bench::soak::Arguments),
    /// Run the whole suite, and install what it needs.
    Test(test::Arguments),
    /// Check layering, licences and the text of files.
    Tidy(tidy::Arguments),
}

fn main() -> ExitCode {
    match CommandLine::parse().chore {
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::BenchPart(arguments) => bench::part(&arguments),
        Chore::Codegen(arguments) => codegen::run(&arguments),
        Chore::Soak(arguments) => bench::soak::run(&arguments),
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Tidy(arguments) => tidy::run(&arguments),
    }
}

/// The repository that this program was built from.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}
