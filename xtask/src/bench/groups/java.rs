//! Cold starts of Java on AWS's client, with the archive of its classes and without, against the start of a bare virtual machine (floor F5).
//!
//! Must not measure the making of the archive, which is once for each installation.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{SETTLE, official};
use crate::bench::{
    BenchError,
    floors::Floor,
    io_error, load,
    report::{Promise, Report, Row},
    run::Run,
    service::{Launch, Service},
    statistics::{Samples, Series},
    target_directory,
};

const FIGURE: &str = "cold java, p50";

/// How long the service may take to make an archive.
const MADE_WITHIN: Duration = Duration::from_secs(60);

/// Leaves the choice of archives to the virtual machine, so that the service gives it none.
const WITHOUT: &str = "-Xshare:auto";

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let folder = target_directory()?.join("suite/bench/java");
    let floor = match Floor::java(&folder) {
        Err(BenchError::Missing(program)) => {
            report.lacks(FIGURE, &format!("{program} is not installed"));
            return Ok(());
        }
        floor => floor?,
    };
    let archive = match official::package("java(with_client=False)")? {
        Ok(archive) => archive,
        Err(why) => {
            report.lacks(FIGURE, &why);
            return Ok(());
        }
    };
    let runtime = runtime()?;
    let data = folder.join("data");
    let sync = Command::new(&run.binary)
        .args(["runtimes", "sync", &runtime, "--data-dir"])
        .arg(&data)
        .stdout(Stdio::null())
        .status();
    if !sync.map_err(io_error("start the service's binary"))?.success() {
        report.lacks(FIGURE, "AWS's client could not be installed");
        return Ok(());
    }
    let service = run.launch(Launch { directory: Some(&data), ..Launch::default() })?;
    // What an earlier run that was broken off has left.
    let _ = service.delete("cold").await;
    service.create_from("cold", &runtime, "hothouse.Echo::handleRequest", &archive, Value::Null).await?;
    made(&data.join("runtimes/java")).await?;
    let (mut floors, mut with, mut without) = (Series::default(), Series::default(), Series::default());
    for round in 0..run.extent.rounds {
        let (mut floor_times, mut with_times, mut without_times) = (Vec::new(), Vec::new(), Vec::new());
        for sample in 0..run.each_round(50) {
            let number = format!("{round}-{sample}");
            floor_times.push(floor.once()?);
            with_times.push(start(&service, json!({ "NUMBER": number })).await?);
            let variables = json!({ "NUMBER": number, "JAVA_TOOL_OPTIONS": WITHOUT });
            without_times.push(start(&service, variables).await?);
        }
        floors.push(Samples::new(floor_times));
        with.push(Samples::new(with_times));
        without.push(Samples::new(without_times));
    }
    report.add(
        Row::new(FIGURE, with.milliseconds(0.5), "ms")
            .floor(floor.name, floors.milliseconds(0.5))
            .promise(Promise::RatioAtMost(5.0)),
    );
    report.add(
        Row::new("cold java, without an archive, p50", without.milliseconds(0.5), "ms")
            .floor(floor.name, floors.milliseconds(0.5)),
    );
    service.delete("cold").await?;
    service.stop()
}

/// The managed runtime of the Java that the floor is.
fn runtime() -> Result<String, BenchError> {
    let output = Command::new("java").arg("-version").output().map_err(|_| BenchError::Missing("java"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let major = said.split('"').nth(1).and_then(|version| version.split(['.', '-', '+']).next());
    Ok(format!("java{}", major.unwrap_or_default()))
}

/// Waits for an archive.
async fn made(directory: &Path) -> Result<(), BenchError> {
    let deadline = Instant::now() + MADE_WITHIN;
    loop {
        let entries = fs::read_dir(directory).map_err(io_error("read the data directory"))?;
        if entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"archive-")) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(BenchError::Command("an archive of Java's classes".to_owned()));
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// One cold start: the function's new variables need a new environment.
async fn start(service: &Service, variables: Value) -> Result<Duration, BenchError> {
    service.renew("cold", variables).await?;
    tokio::time::sleep(SETTLE).await;
    load::single(&service.target("cold")).await
}
