//! `cargo xtask test`: the whole suite in one command, with the installation of what it needs.
//!
//! Must not depend on one machine: whatever is missing is installed or counted as skipped with its reason.

mod counts;
mod install;
mod steps;
mod workshop;

use std::{process::ExitCode, time::Instant};

use counts::Counts;
use workshop::Workshop;

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only this step and what it needs; may be repeated (see --list).
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Run only the tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// List the steps and stop.
    #[arg(long)]
    list: bool,
}

/// One part of the suite.
struct Step {
    name: &'static str,
    what: &'static str,
    /// Steps whose work this one uses.
    needs: &'static [&'static str],
    run: fn(&Workshop) -> Verdict,
}

/// How a step ended.
enum Verdict {
    /// It ran to its end; tests may have failed.
    Ran(Counts),
    /// It could not run here, and that is no defect of the project.
    Skipped(String),
    /// It could not do its work.
    Broken(String),
}

struct Line {
    name: &'static str,
    verdict: Verdict,
    seconds: f64,
}

/// Runs the chosen steps in order; a failure does not keep later, independent steps from running.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let steps = steps::all();
    if arguments.list {
        for step in &steps {
            println!("{:<14} {}", step.name, step.what);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.only.iter().find(|name| !steps.iter().any(|step| step.name == *name)) {
        eprintln!("error: no step is called `{unknown}`\nhint: `cargo xtask test --list` names them");
        return ExitCode::from(2);
    }
    let workshop = match Workshop::open(arguments.filter.clone()) {
        Ok(workshop) => workshop,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };

    let started = Instant::now();
    let mut lines: Vec<Line> = Vec::new();
    for step in chosen(&steps, &arguments.only) {
        println!("==> {}: {}", step.name, step.what);
        let began = Instant::now();
        let verdict = match blocker(step, &lines) {
            Some(reason) => Verdict::Skipped(reason),
            None => (step.run)(&workshop),
        };
        if let Verdict::Skipped(reason) = &verdict {
            println!("    skipped: {reason}");
        }
        lines.push(Line { name: step.name, verdict, seconds: began.elapsed().as_secs_f64() });
    }
    summary(&lines, started.elapsed().as_secs_f64())
}

/// The named steps and, before each, what it needs; all of them when none is named.
fn chosen<'a>(steps: &'a [Step], only: &[String]) -> Vec<&'a Step> {
    fn visit<'a>(name: &str, steps: &'a [Step], wanted: &mut Vec<&'a str>) {
        let Some(step) = steps.iter().find(|step| step.name == name) else { return };
        step.needs.iter().for_each(|need| visit(need, steps, wanted));
        wanted.push(step.name);
    }
    let mut wanted = Vec::new();
    for step in steps {
        if only.is_empty() || only.iter().any(|name| name == step.name) {
            visit(step.name, steps, &mut wanted);
        }
    }
    steps.iter().filter(|step| wanted.contains(&step.name)).collect()
}

/// Why a step cannot run: something that it needs did not succeed.
fn blocker(step: &Step, lines: &[Line]) -> Option<String> {
    step.needs.iter().find_map(|need| {
        let line = lines.iter().find(|line| line.name == *need)?;
        match &line.verdict {
            Verdict::Ran(counts) if counts.failed == 0 => None,
            Verdict::Ran(_) | Verdict::Broken(_) => Some(format!("`{need}` failed")),
            Verdict::Skipped(reason) => Some(reason.clone()),
        }
    })
}

fn summary(lines: &[Line], seconds: f64) -> ExitCode {
    let mut total = Counts::default();
    println!(
        "\n{:<14} {:<8} {:>7} {:>7} {:>8} {:>8}",
        "step", "result", "passed", "failed", "skipped", "seconds"
    );
    for line in lines {
        let (word, counts) = match &line.verdict {
            Verdict::Ran(counts) if counts.failed == 0 => ("passed", counts.clone()),
            Verdict::Ran(counts) => ("FAILED", counts.clone()),
            Verdict::Skipped(reason) => ("skipped", Counts::skipped(reason)),
            Verdict::Broken(_) => ("FAILED", Counts { failed: 1, ..Counts::default() }),
        };
        println!(
            "{:<14} {:<8} {:>7} {:>7} {:>8} {:>8.1}",
            line.name, word, counts.passed, counts.failed, counts.skipped, line.seconds
        );
        total.add(counts);
    }
    if !total.reasons.is_empty() {
        println!("\nskipped, and why:");
        total.reasons.iter().for_each(|reason| println!("  {reason}"));
    }
    for line in lines {
        if let Verdict::Broken(why) = &line.verdict {
            println!("\n{} could not do its work: {why}", line.name);
        }
    }
    println!("\nwhole run: {seconds:.0} s");
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &'static str, needs: &'static [&'static str]) -> Step {
        Step { name, what: "", needs, run: |_| Verdict::Ran(Counts::default()) }
    }

    #[test]
    fn a_named_step_brings_what_it_needs_and_nothing_else() {
        let steps = [
            step("packages", &[]),
            step("venv", &["packages"]),
            step("clippy", &[]),
            step("service", &["venv"]),
        ];
        let names: Vec<_> = chosen(&steps, &["service".to_owned()]).iter().map(|step| step.name).collect();
        assert_eq!(names, ["packages", "venv", "service"]);
        assert_eq!(chosen(&steps, &[]).len(), 4);
    }

    #[test]
    fn a_failed_need_keeps_a_step_from_running() {
        let failed = Counts { failed: 1, ..Counts::default() };
        let lines = [Line { name: "build", verdict: Verdict::Ran(failed), seconds: 0.0 }];
        assert_eq!(blocker(&step("service", &["build"]), &lines).as_deref(), Some("`build` failed"));
        assert_eq!(blocker(&step("unit", &[]), &lines), None);
    }
}
