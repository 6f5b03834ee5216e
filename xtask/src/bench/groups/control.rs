//! The control plane with very many functions and versions: reading stays quick, and a version small.
//!
//! Must not use what an invocation needs: no environment is started.

use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::bench::{
    BenchError,
    language::Language,
    memory,
    report::{Promise, Report, Row},
    run::Run,
    service::{FUNCTIONS, Package, Service},
    statistics::{Rounds, Samples, Series},
};

/// Functions of a whole run, each with this many published versions.
const MANY: usize = 10_000;
const VERSIONS: usize = 10;

/// Functions that are made at once. One after the other, each of more than 200,000 changes would wait for a flush of its
/// own, which takes longer than anybody waits; changes of different functions share them.
const AT_ONCE: usize = 64;

/// Measures with a service of its own.
pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let service = run.start(None)?;
    let package = Language::Python.package()?;
    let count = run.samples(MANY);
    // The first few bring what all share.
    let before = memory::private(&[service.id()]);
    let (service_of_all, package) = (&service, &package);
    stream::iter(0..count)
        .map(|number| async move { publish(service_of_all, &name(number), package).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let versions = (count * (VERSIONS + 1)) as f64;
    let each = (memory::private(&[service.id()]) - before) * 1024.0 / versions;
    report.add(Row::new("a version among many, private", each, "kB").promise(Promise::AtMost(1.0)));

    let last = name(count - 1);
    let middle = marker(&service).await?;
    let paths = [
        // What an answer costs that nothing has to be looked for.
        "/2016-08-19/account-settings".to_owned(),
        format!("{FUNCTIONS}/{last}"),
        FUNCTIONS.to_owned(),
        format!("{FUNCTIONS}?FunctionVersion=ALL&Marker={middle}"),
        format!("{FUNCTIONS}/{last}/versions"),
    ];
    let [floor, of_one, page, all, of_function] = times(&service, run, &paths).await?;
    for (figure, value) in [
        ("get a function among many, p50", of_one),
        ("first page of functions, p50", page),
        ("page of all versions, p50", all),
        ("page of a function's versions, p50", of_function),
    ] {
        let row = Row::new(figure, value, "ms").floor("settings", floor.clone());
        report.add(row.promise(Promise::AtMost(5.0)));
    }
    service.stop()
}

/// Makes a function and its versions.
async fn publish(service: &Service, name: &str, package: &Package) -> Result<(), BenchError> {
    service.create(name, package).await?;
    for version in 0..VERSIONS {
        service.renew(name, json!({ "NUMBER": version.to_string() })).await?;
        let path = format!("{FUNCTIONS}/{name}/versions");
        service.call("publish a version", "POST", &path, Some(json!({}))).await?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("function-{number:05}")
}

/// Where some page in the list of all versions begins.
async fn marker(service: &Service) -> Result<String, BenchError> {
    let mut marker = String::new();
    for _ in 0..10 {
        let path = format!("{FUNCTIONS}?FunctionVersion=ALL{marker}");
        let page: Value = service.call("list versions", "GET", &path, None).await?;
        let Some(next) = page["NextMarker"].as_str() else { break };
        marker = format!("&Marker={next}");
    }
    Ok(marker.trim_start_matches("&Marker=").to_owned())
}

/// Milliseconds of each path's median, on a connection of its own each time; all paths take turns.
async fn times<const N: usize>(
    service: &Service,
    run: &Run,
    paths: &[String; N],
) -> Result<[Rounds; N], BenchError> {
    let mut all: [Series; N] = std::array::from_fn(|_| Series::default());
    for _ in 0..run.extent.rounds {
        for (path, series) in paths.iter().zip(&mut all) {
            let mut times = Vec::new();
            for _ in 0..run.each_round(500) {
                let started = Instant::now();
                service.call("read", "GET", path, None).await?;
                times.push(started.elapsed());
            }
            series.push(Samples::new(times));
        }
    }
    Ok(all.map(|series| series.milliseconds(0.5)))
}
