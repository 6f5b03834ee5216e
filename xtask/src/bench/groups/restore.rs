//! Restoring a SnapStart function that imports boto3, against its own normal start.
//!
//! Must not let a restored environment serve a second sample: each is occupied before the next. At the end more are asked
//! whether they are copies of one runtime: what INIT made is the same in all.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::json;
use tokio::task::JoinSet;

use super::SETTLE;
use crate::bench::{
    BenchError, io_error,
    language::Language,
    load,
    report::{Promise, Report, Row},
    run::Run,
    service::{FUNCTIONS, Service},
    statistics::{Samples, Series},
    target_directory,
};

/// The oldest runtime with SnapStart. Where it is not installed another Python stands in for it, for both starts.
const RUNTIME: &str = "python3.12";

const FUNCTION: &str = "\
import time, uuid
import boto3

born = str(uuid.uuid4())
client = boto3.client('s3', region_name='us-east-1')

def handler(event, context):
    if 'sleep' in event:
        time.sleep(event['sleep'])
    return {'born': born} if 'ask' in event else event
";

const FIGURE: &str = "restore of a boto3 function, p50";

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let archive = archive(&boto3()?)?;
    let service = run.start(None)?;
    let snapshots = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    service.create_from("restore", RUNTIME, "main.handler", &archive, snapshots).await?;
    let path = format!("{FUNCTIONS}/restore/versions");
    let published = service.call("publish a version", "POST", &path, Some(json!({}))).await?;
    let version = published["Version"].as_str().unwrap_or_default().to_owned();
    let path = format!("{FUNCTIONS}/restore/configuration?Qualifier={version}");
    let configuration = service.settled_at(&path).await?;
    if configuration["SnapStart"]["OptimizationStatus"] != "On" {
        report.lacks(FIGURE, "not supported: the published version has no snapshot");
        return service.stop();
    }
    let (mut starts, mut restores) = (Series::default(), Series::default());
    let mut occupied = JoinSet::new();
    for round in 0..run.extent.rounds {
        let (mut start_times, mut restore_times) = (Vec::new(), Vec::new());
        for sample in 0..run.each_round(20) {
            start_times.push(start(&service, &format!("{round}-{sample}")).await?);
            tokio::time::sleep(SETTLE).await;
            restore_times.push(load::single(&service.qualified("restore", &version)).await?);
            let occupant = service.qualified_sleeping("restore", &version, 55);
            occupied.spawn(async move { load::single(&occupant).await.map(drop) });
        }
        starts.push(Samples::new(start_times));
        restores.push(Samples::new(restore_times));
    }
    let path = format!("{FUNCTIONS}/restore/invocations?Qualifier={version}");
    let mut born = HashSet::new();
    for _ in 0..3 {
        born.insert(service.call("ask a copy", "POST", &path, Some(json!({ "ask": 1 }))).await?.to_string());
        tokio::time::sleep(SETTLE).await;
        let occupant = service.qualified_sleeping("restore", &version, 55);
        occupied.spawn(async move { load::single(&occupant).await.map(drop) });
        tokio::time::sleep(SETTLE).await;
    }
    if born.len() != 1 {
        report.lacks(FIGURE, "not supported: environments are initialised each for itself");
        return service.stop();
    }
    report.add(
        Row::new(FIGURE, restores.milliseconds(0.5), "ms")
            .floor("its normal start", starts.milliseconds(0.5))
            .promise(Promise::RatioAtMost(0.02)),
    );
    report.add(
        Row::new("restore of a boto3 function, slowest", restores.milliseconds(1.0), "ms")
            .floor("its normal start", starts.milliseconds(1.0)),
    );
    service.stop()
}

/// A normal start: of the latest code, which has no snapshot.
async fn start(service: &Service, number: &str) -> Result<Duration, BenchError> {
    service.renew("restore", json!({ "NUMBER": number })).await?;
    tokio::time::sleep(SETTLE).await;
    load::single(&service.target("restore")).await
}

/// A folder with boto3, of the version that the tests use; downloaded once.
fn boto3() -> Result<PathBuf, BenchError> {
    let requirements = crate::repository().join("tests/python/requirements.txt");
    let text = fs::read_to_string(requirements).map_err(io_error("read the tests' requirements"))?;
    let wanted = text.lines().find(|line| line.starts_with("boto3==")).unwrap_or("boto3");
    let folder = target_directory()?.join("suite/bench").join(wanted.replace("==", "-"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = folder.with_extension("part");
    let installed = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"])
        .arg(&part)
        .arg(wanted)
        .status();
    if !installed.map_err(io_error("start python3"))?.success() {
        return Err(BenchError::Command(format!("pip install {wanted}")));
    }
    fs::rename(&part, &folder).map_err(io_error("keep boto3"))?;
    Ok(folder)
}

/// A deployment package with everything in a folder, and the function.
fn archive(folder: &Path) -> Result<Vec<u8>, BenchError> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
    archive.start_file("main.py", options)?;
    archive.write_all(FUNCTION.as_bytes()).map_err(io_error("write an archive"))?;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(io_error("read boto3"))?.flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "pyc") {
                let content = fs::read(&path).map_err(io_error("read boto3"))?;
                archive.start_file(name, options)?;
                archive.write_all(&content).map_err(io_error("write an archive"))?;
            }
        }
    }
    Ok(archive.finish()?.into_inner())
}
