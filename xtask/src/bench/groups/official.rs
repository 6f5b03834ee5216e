//! AWS's own runtime clients in functions that bring them, each against the very same client on the bare relay of floor F1:
//! what such a client costs is its own, what the service adds is ours.
//!
//! Must not build clients in its own way: the packages are those that the suite tests.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use zip::ZipArchive;

use crate::bench::{
    BenchError, io_error,
    language::Language,
    load,
    process::{self, Pinned},
    relay::Relay,
    report::{Promise, Report, Row},
    run::Run,
    statistics::Series,
    target_directory,
};

/// The core of everything here, caller included.
const CORE: usize = 0;

/// How long a client may take until it has answered its first event on the relay, which would wait for ever.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// A runtime client of AWS's.
struct Client {
    name: &'static str,
    /// Its language, if that is one that can be chosen.
    language: Option<Language>,
    /// How the suite makes the package.
    package: &'static str,
    handler: &'static str,
}

const CLIENTS: [Client; 5] = [
    Client {
        name: "awslambdaric",
        language: Some(Language::Python),
        package: "awslambdaric()",
        handler: "probe.handler",
    },
    Client {
        name: "aws-lambda-ric",
        language: Some(Language::Node),
        package: "aws_lambda_ric()",
        handler: "probe.handler",
    },
    Client {
        name: "lambda_runtime",
        language: Some(Language::Rust),
        package: "rust(profile='release')",
        handler: "bootstrap",
    },
    Client { name: "aws-lambda-go", language: None, package: "go()", handler: "bootstrap" },
    Client {
        name: "aws-lambda-java",
        language: None,
        package: "java()",
        handler: "hothouse.Echo::handleRequest",
    },
];

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let _pinned = Pinned::to(Some(CORE)).map_err(io_error("stay on one core"))?;
    for client in CLIENTS.iter().filter(|client| client.language.is_none_or(|language| run.wants(language))) {
        let figure = format!("warm {}, one core, p50", client.name);
        let archive = match package(client.package)? {
            Ok(archive) => archive,
            Err(why) => {
                report.lacks(&figure, &why);
                continue;
            }
        };
        let (value, floor) = client.contest(run, &archive).await?;
        report.add(
            Row::new(figure, value.percentile(0.5), "us")
                .floor("the client on F1, p50", floor.percentile(0.5))
                .promise(Promise::RatioAtMost(1.15)),
        );
    }
    Ok(())
}

impl Client {
    /// The client in the service and on the relay, in turn.
    async fn contest(&self, run: &Run, archive: &[u8]) -> Result<(Series, Series), BenchError> {
        let service = run.start(Some(CORE))?;
        service.create_from("official", "provided.al2023", self.handler, archive, Value::Null).await?;
        let target = service.target("official");
        let mut relay = Relay::alone(Some(CORE))?;
        relay.join(&mut self.bare(&self.unpack(archive)?)?)?;
        let first = tokio::time::timeout(ANSWERED_WITHIN, load::single(&relay.target));
        first.await.map_err(|_| BenchError::Command(format!("{} on the bare relay", self.name)))??;
        let count = run.each_round(10_000);
        let (mut value, mut floor) = (Series::default(), Series::default());
        for _ in 0..run.extent.rounds {
            floor.push(load::run(&relay.target, 1, count).await?);
            value.push(load::run(&target, 1, count).await?);
        }
        service.stop()?;
        Ok((value, floor))
    }

    /// The package's files in a folder.
    fn unpack(&self, archive: &[u8]) -> Result<PathBuf, BenchError> {
        let folder = target_directory()?.join("suite/bench/official").join(self.name);
        // What a run with another version of the client has left.
        let _ = fs::remove_dir_all(&folder);
        ZipArchive::new(Cursor::new(archive))?.extract(&folder)?;
        Ok(folder)
    }

    /// The package's bootstrap outside of any service, with the variables that clients want.
    fn bare(&self, folder: &Path) -> Result<Command, BenchError> {
        let mut command = process::on_core(Some(CORE), folder.join("bootstrap").as_os_str())?;
        command.current_dir(folder).envs([
            ("_HANDLER", self.handler),
            ("AWS_LAMBDA_FUNCTION_NAME", "official"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/official"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "official"),
        ]);
        command.env("LAMBDA_TASK_ROOT", folder);
        Ok(command)
    }
}

/// A package as the suite makes it, or why there is none on this machine.
pub(super) fn package(made_by: &str) -> Result<Result<Vec<u8>, String>, BenchError> {
    let root = crate::repository();
    let python = root.join(".venv/bin/python");
    if !python.is_file() {
        return Ok(Err("no virtual environment yet: `cargo xtask test` makes it".to_owned()));
    }
    let script =
        format!("import sys\nfrom support import toolchains\nsys.stdout.buffer.write(toolchains.{made_by})");
    let output = Command::new(python)
        .args(["-c", &script])
        .current_dir(root.join("tests/python"))
        .env("HOTHOUSE_TEST_SCRATCH", target_directory()?.join("suite"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(io_error("start python"))?;
    Ok(if output.status.success() { Ok(output.stdout) } else { Err(reason(&output.stderr)) })
}

/// The last line of what a program said, without the name of the exception.
fn reason(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("its package could not be built");
    last.strip_prefix("Skipped: ").unwrap_or(last).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_thing_that_was_said() {
        assert_eq!(reason(b"Traceback:\n  a line\nSkipped: go is not installed\n\n"), "go is not installed");
        assert_eq!(reason(b"AssertionError: pip install\n"), "AssertionError: pip install");
        assert_eq!(reason(b""), "its package could not be built");
    }
}
