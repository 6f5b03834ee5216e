//! Where the suite works: folders, programs, and commands whose output is shown and counted.
//!
//! Must not know which steps there are.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Verdict, counts::Counts};

/// Why the suite could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkshopError {
    #[error("failed to run `cargo metadata`: {0}")]
    Metadata(String),
    #[error("failed to make `{path}`: {source}")]
    MakeFolder { path: PathBuf, source: io::Error },
}

/// The folders of one run.
pub(super) struct Workshop {
    /// The repository.
    pub(super) root: PathBuf,
    /// Cargo's target folder, wherever it is configured to be.
    pub(super) target: PathBuf,
    /// Run only tests whose name contains this.
    pub(super) filter: Option<String>,
}

impl Workshop {
    /// Finds the folders.
    pub(super) fn open(filter: Option<String>) -> Result<Self, WorkshopError> {
        let root = crate::repository();
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
            .current_dir(&root)
            .output()
            .map_err(|error| WorkshopError::Metadata(error.to_string()))?;
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| WorkshopError::Metadata(String::from_utf8_lossy(&output.stderr).into_owned()))?;
        let target = metadata["target_directory"]
            .as_str()
            .map(PathBuf::from)
            .ok_or_else(|| WorkshopError::Metadata("no target directory in the answer".to_owned()))?;
        let workshop = Self { root, target, filter };
        let scratch = workshop.scratch();
        std::fs::create_dir_all(&scratch)
            .map_err(|source| WorkshopError::MakeFolder { path: scratch, source })?;
        Ok(workshop)
    }

    /// The binary that the suite tests.
    pub(super) fn binary(&self) -> PathBuf {
        self.target.join("debug/hothouse")
    }

    /// The project's virtual environment.
    pub(super) fn venv(&self) -> PathBuf {
        self.root.join(".venv")
    }

    /// What the suite installs and builds besides.
    pub(super) fn scratch(&self) -> PathBuf {
        self.target.join("suite")
    }

    /// A command in the repository with the variables that the test suites read.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .env("HOTHOUSE_TEST_BINARY", self.binary())
            .env("HOTHOUSE_TEST_SCRATCH", self.scratch())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// `cargo` with these arguments.
    pub(super) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        command
    }

    /// Runs a check that is either fine or not.
    pub(super) fn check(&self, command: &mut Command) -> Verdict {
        match command.status() {
            Ok(status) => Verdict::Ran(Counts::one(status.success())),
            Err(error) => Verdict::Broken(format!("failed to start `{}`: {error}", name(command))),
        }
    }

    /// Runs a test runner: its output is shown as it comes, and counted.
    pub(super) fn count(&self, command: &mut Command) -> Verdict {
        let mut counts = Counts::default();
        let status = command.stdout(Stdio::piped()).spawn().and_then(|mut child| {
            let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line?;
                let mut shown = io::stdout().lock();
                shown.write_all(&line)?;
                shown.write_all(b"\n")?;
                counts.read(&String::from_utf8_lossy(&line));
            }
            child.wait()
        });
        match status {
            // A runner that fails without a failed test (a build error, a crash) is one failure.
            Ok(status) if !status.success() && counts.failed == 0 => counts.failed = 1,
            Ok(_) => {}
            Err(error) => return Verdict::Broken(format!("failed to run `{}`: {error}", name(command))),
        }
        Verdict::Ran(counts)
    }
}

/// Whether a program can be started at all.
pub(super) fn there_is(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

/// Whether a command ends well; it is not shown.
pub(super) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a folder directly holds a file with such a name.
pub(super) fn holds(folder: &Path, wanted: impl Fn(&str) -> bool) -> bool {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(&wanted))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
