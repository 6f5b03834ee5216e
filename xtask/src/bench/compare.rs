//! `cargo xtask bench --compare`: the services of two revisions under the present benchmark, pair by pair.
//!
//! Must not leave a work tree behind, whatever happens; cargo's folder is kept, so that the next comparison builds less.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    Arguments, BenchError, io_error, measure_groups,
    report::{Report, columns, with_spread},
    run::Extent,
    statistics::Rounds,
    target_directory,
};

/// Pairs of a whole run, and of a quick one.
const PAIRS: usize = 10;
const QUICK_PAIRS: usize = 3;

/// One figure of both.
#[derive(Debug, PartialEq)]
struct Pair {
    figure: String,
    unit: &'static str,
    old: Rounds,
    new: Rounds,
}

/// Builds what is compared, measures, and prints ratios.
pub(super) async fn compare(arguments: &Arguments, revisions: &str) -> Result<(), BenchError> {
    let (old, new) = match revisions.split_once("..") {
        Some((old, new)) => (old, Some(new)),
        None => (revisions, None),
    };
    let old = build(old, "old").await?;
    let new = match new {
        Some(new) => build(new, "new").await?,
        None => arguments.run(Extent::PAIR)?.binary,
    };
    let mut reports = [Vec::new(), Vec::new()];
    let pairs = if arguments.quick { QUICK_PAIRS } else { PAIRS };
    for number in 0..pairs {
        eprintln!("pair {} of {pairs}", number + 1);
        // Whoever is second finds the machine as the first has left it, so they change places.
        let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let binary = [&old, &new][which].clone();
            let run = super::Run { binary, ..arguments.run(Extent::PAIR)? };
            reports[which].push(measure_groups(arguments, &run, true).await?);
        }
    }
    let [old, new] = reports;
    let result = pair(&old, &new);
    if arguments.json {
        println!("{:#}", json(&result));
    } else {
        println!("{}", table(&result));
    }
    for (name, reports) in [("old", &old), ("new", &new)] {
        for missing in reports.iter().flat_map(|report| &report.missing) {
            eprintln!("not measured ({name}): {}: {}", missing.what, missing.why);
        }
    }
    Ok(())
}

/// Figures that both have in each pair.
fn pair(old: &[Report], new: &[Report]) -> Vec<Pair> {
    let value = |report: &Report, figure: &str| {
        report.rows.iter().find(|row| row.figure == figure).map(|row| row.value.median())
    };
    let Some(first) = new.first() else { return Vec::new() };
    let figures = first.rows.iter().filter_map(|row| {
        let of = |reports: &[Report]| -> Option<Vec<f64>> {
            reports.iter().map(|report| value(report, &row.figure)).collect()
        };
        let (old, new) = (Rounds::from(of(old)?), Rounds::from(of(new)?));
        Some(Pair { figure: row.figure.clone(), unit: row.unit, old, new })
    });
    figures.collect()
}

fn table(pairs: &[Pair]) -> String {
    let header = ["figure", "old", "new", "new/old (least–most)", "beyond the noise"].map(str::to_owned);
    let lines = pairs.iter().map(|pair| {
        let ratios = pair.new.over(&pair.old);
        [
            pair.figure.clone(),
            format!("{} {}", with_spread(&pair.old), pair.unit).trim_end().to_owned(),
            format!("{} {}", with_spread(&pair.new), pair.unit).trim_end().to_owned(),
            with_spread(&ratios),
            if differs(&ratios) { "yes" } else { "" }.to_owned(),
        ]
    });
    columns(&std::iter::once(header).chain(lines).collect::<Vec<_>>())
}

/// Whether all pairs agree on which of the two has more.
fn differs(ratios: &Rounds) -> bool {
    ratios.spread().is_some_and(|(least, most)| least > 1.0 || most < 1.0)
}

fn json(pairs: &[Pair]) -> Value {
    let pairs = pairs.iter().map(|pair| {
        let ratios = pair.new.over(&pair.old);
        let (least, most) = ratios.spread().unzip();
        json!({
            "figure": pair.figure,
            "unit": pair.unit,
            "old": pair.old.values(),
            "new": pair.new.values(),
            "ratio": { "median": ratios.median(), "least": least, "most": most },
            "beyond_noise": differs(&ratios),
        })
    });
    pairs.collect()
}

/// A work tree of another revision, for as long as the value lives.
struct WorkTree {
    folder: PathBuf,
}

impl WorkTree {
    fn add(folder: PathBuf, revision: &str) -> Result<Self, BenchError> {
        // What a run that was killed has left.
        Self::remove(&folder);
        let mut command = git(&["worktree", "add", "--quiet", "--force", "--detach"]);
        let added = command.arg(&folder).arg(revision).status().map_err(io_error("start git"))?;
        if !added.success() {
            return Err(BenchError::Command(format!("git worktree add … {revision}")));
        }
        Ok(Self { folder })
    }

    fn remove(folder: &Path) {
        // Fails if there is none.
        let _ = git(&["worktree", "remove", "--force"]).arg(folder).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(folder);
        let _ = git(&["worktree", "prune"]).status();
    }
}

impl Drop for WorkTree {
    fn drop(&mut self) {
        Self::remove(&self.folder);
    }
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(crate::repository());
    command
}

/// Builds a revision's service; returns the binary, which stays when the work tree goes.
async fn build(revision: &str, name: &str) -> Result<PathBuf, BenchError> {
    let folder = target_directory()?.join("suite/bench/compare");
    fs::create_dir_all(&folder).map_err(io_error("make a folder for the comparison"))?;
    let tree = WorkTree::add(folder.join("revision"), revision)?;
    eprintln!("cargo build --release ({name}: {revision})");
    let target = folder.join("target");
    let status = tokio::process::Command::new("cargo")
        .args(["build", "--release", "--locked", "--package", "hothouse"])
        .current_dir(&tree.folder)
        .env("CARGO_TARGET_DIR", &target)
        .kill_on_drop(true)
        .status()
        .await
        .map_err(io_error("start cargo"))?;
    if !status.success() {
        return Err(BenchError::Command(format!("cargo build of {revision}")));
    }
    let binary = folder.join(name);
    // A new file: a service of an older comparison may still run from the old one.
    let _ = fs::remove_file(&binary);
    fs::copy(target.join("release/hothouse"), &binary).map_err(io_error("keep a binary"))?;
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{Row, tests::machine};

    fn report(rows: &[(&str, f64)]) -> Report {
        let mut report = Report::new(machine()).silent();
        rows.iter().for_each(|(figure, value)| report.add(Row::new(*figure, *value, "us")));
        report
    }

    #[test]
    fn only_what_both_have_is_compared_pair_by_pair() {
        let old = [report(&[("a", 10.0), ("b", 5.0)]), report(&[("a", 20.0)])];
        let new = [report(&[("a", 5.0), ("b", 5.0), ("c", 1.0)]), report(&[("a", 10.0), ("b", 5.0)])];
        let pairs = pair(&old, &new);
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].new.over(&pairs[0].old), Rounds::from(vec![0.5, 0.5]));
        insta::assert_snapshot!(table(&pairs));
    }

    #[test]
    fn a_difference_is_one_that_all_pairs_show() {
        assert!(differs(&Rounds::from(vec![0.8, 0.9])));
        assert!(differs(&Rounds::from(vec![1.1, 1.2])));
        assert!(!differs(&Rounds::from(vec![0.9, 1.1])));
        assert!(!differs(&Rounds::from(0.5)));
    }

    #[test]
    fn a_work_tree_goes_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revision");
        let tree = WorkTree::add(path.clone(), "HEAD").unwrap();
        assert!(path.join("Cargo.toml").is_file());
        drop(tree);
        assert!(!path.exists());
        let listed = git(&["worktree", "list", "--porcelain"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&listed.stdout).contains(&*path.to_string_lossy()));
    }
}
