//! The control plane with very many functions and versions: reading stays quick, and a version small.
//!
//! Must not use what an invocation needs: no environment is started.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    Arguments, BenchError,
    figures::Language,
    load::Samples,
    memory,
    report::{Promise, Report, Row},
    service::{FUNCTIONS, Service},
};

/// Functions of a whole run, each with this many published versions.
const MANY: usize = 10_000;
const VERSIONS: usize = 10;

/// Measures with a service of its own.
pub(super) async fn measure(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    let service = Service::start(None)?;
    let package = Language::Python.package()?;
    let count = arguments.samples(MANY);
    // The first few bring what all share.
    let before = memory::private(&[service.id()]);
    for number in 0..count {
        let name = name(number);
        service.create(&name, &package).await?;
        for version in 0..VERSIONS {
            service.renew(&name, json!({ "NUMBER": version.to_string() })).await?;
            let path = format!("{FUNCTIONS}/{name}/versions");
            service.call("publish a version", "POST", &path, Some(json!({}))).await?;
        }
    }
    let versions = (count * (VERSIONS + 1)) as f64;
    let each = (memory::private(&[service.id()]) - before) * 1024.0 / versions;
    report.add(Row::new("a version among many, private", each, "kB").promise(Promise::AtMost(1.0)));

    // What an answer costs that nothing has to be looked for.
    let floor = times(&service, arguments, "/2016-08-19/account-settings").await?;
    let last = name(count - 1);
    let middle = marker(&service).await?;
    for (figure, path) in [
        ("get a function among many, p50", format!("{FUNCTIONS}/{last}")),
        ("first page of functions, p50", FUNCTIONS.to_owned()),
        ("page of all versions, p50", format!("{FUNCTIONS}?FunctionVersion=ALL&Marker={middle}")),
        ("page of a function's versions, p50", format!("{FUNCTIONS}/{last}/versions")),
    ] {
        let value = times(&service, arguments, &path).await?;
        report.add(Row::new(figure, value, "ms").floor("settings", floor).promise(Promise::AtMost(5.0)));
    }
    service.stop()
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

/// Milliseconds of the median, on a connection of its own each time.
async fn times(service: &Service, arguments: &Arguments, path: &str) -> Result<f64, BenchError> {
    let mut times = Vec::new();
    for _ in 0..arguments.samples(500) {
        let started = Instant::now();
        service.call("read", "GET", path, None).await?;
        times.push(started.elapsed());
    }
    Ok(Samples::new(times).percentile(0.5) / 1e3)
}
