//! `cargo xtask tidy`: rules of the repository that no compiler checks.
//!
//! Must not change a file: it only tells.

mod layering;
mod licences;
mod options;
mod performance;
mod text;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Options of `cargo xtask tidy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: PathBuf,
    /// Counted from one.
    line: usize,
    what: String,
    hint: &'static str,
}

impl Finding {
    fn new(path: impl Into<PathBuf>, line: usize, what: impl Into<String>, hint: &'static str) -> Self {
        Self { path: path.into(), line, what: what.into(), hint }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n  hint: {}", self.path.display(), self.line, self.what, self.hint)
    }
}

/// Why the repository could not be looked at.
#[derive(Debug, thiserror::Error)]
enum TidyError {
    #[error("failed to run `{command}`: {source}")]
    Start { command: &'static str, source: io::Error },
    #[error("`{command}` failed: {message}")]
    Failed { command: &'static str, message: String },
    #[error("failed to read `{path}`: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand the answer of `cargo metadata`: {0}")]
    Metadata(#[from] serde_json::Error),
}

/// Looks at the whole repository and prints what it finds.
pub(crate) fn run(_: &Arguments) -> ExitCode {
    match findings(&crate::repository()) {
        Ok(findings) if findings.is_empty() => {
            println!("tidy: nothing found");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            findings.iter().for_each(|finding| println!("{finding}"));
            println!("tidy: {} found", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>, TidyError> {
    let metadata = metadata(root)?;
    let mut findings = layering::check(root, &metadata);
    findings.extend(licences::check(&metadata));
    findings.extend(text::check(root, &files(root)?)?);
    findings.extend(options::check(root, &metadata)?);
    findings.extend(performance::check(root)?);
    Ok(findings)
}

/// Every file that is, or would be, committed; relative to the repository.
fn files(root: &Path) -> Result<Vec<PathBuf>, TidyError> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = output(Command::new("git").args(arguments).current_dir(root), "git ls-files")?;
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output)
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        // A file that was deleted and not yet committed is still listed; a link would be read twice.
        .filter(|path| root.join(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file()))
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn metadata(root: &Path) -> Result<serde_json::Value, TidyError> {
    let arguments = ["metadata", "--format-version", "1", "--all-features", "--locked"];
    let output = output(Command::new("cargo").args(arguments).current_dir(root), "cargo metadata")?;
    Ok(serde_json::from_slice(&output)?)
}

fn output(command: &mut Command, name: &'static str) -> Result<Vec<u8>, TidyError> {
    let output = command.output().map_err(|source| TidyError::Start { command: name, source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TidyError::Failed { command: name, message })
}
