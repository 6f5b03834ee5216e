//! What is measured, and how: each figure with its floor, close to it in time.
//!
//! Must not keep an environment from one figure to the next.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Arguments, BenchError, cage, control, events,
    floors::Floor,
    io_error,
    load::{self, Samples},
    memory,
    process::Pinned,
    relay::Relay,
    report::{Promise, Report, Row},
    service::{Package, Service},
};

/// The core for figures that are taken on one core, caller included.
const CORE: usize = 0;

/// Callers at once.
const CONCURRENCIES: [usize; 3] = [1, 8, 32];

/// Environments over which memory is averaged.
const WARM_ENVIRONMENTS: usize = 8;

/// Environments that start at once in the burst.
const BURST: usize = 100;

/// How long each function of the burst occupies its environment.
const BURST_SLEEP: Duration = Duration::from_secs(1);

/// Pause before a cold start: what the service prepares between invocations is there by then, as in real use.
const SETTLE: Duration = Duration::from_millis(60);

/// A language whose function is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
    Rust,
}

impl Language {
    pub(super) const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Rust];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Rust => "rust",
        }
    }

    /// Warm p50 on one core, as a ratio to F1.
    fn warm_promise(self) -> Promise {
        Promise::RatioAtMost(if self == Self::Rust { 1.7 } else { 1.4 })
    }

    fn cold_floor(self) -> Result<Floor, BenchError> {
        match self {
            Self::Python => Floor::python(),
            Self::Node => Floor::node(),
            Self::Rust => Floor::program(&super::target_directory()?.join("suite/bench")),
        }
    }

    /// Cold start with what the service keeps ready.
    fn cold_promise(self) -> Promise {
        Promise::RatioAtMost(match self {
            Self::Python => 0.5,
            Self::Node => 0.05,
            Self::Rust => 4.0,
        })
    }

    /// A variable that makes the function start an interpreter of its own, and what is promised then.
    fn own_process(self) -> Option<((&'static str, &'static str), Promise)> {
        match self {
            Self::Python => Some((("PYTHONUNBUFFERED", "1"), Promise::RatioAtMost(1.4))),
            Self::Node => Some((("NODE_OPTIONS", "--no-warnings"), Promise::RatioAtMost(1.3))),
            Self::Rust => None,
        }
    }

    /// Private memory of a warm environment, in MB.
    fn memory_promise(self) -> Option<Promise> {
        match self {
            Self::Python => Some(Promise::AtMost(4.0)),
            Self::Node => Some(Promise::AtMost(12.0)),
            Self::Rust => None,
        }
    }

    pub(super) fn package(self) -> Result<Package, BenchError> {
        Ok(match self {
            Self::Python => Package {
                runtime: format!(
                    "python{}",
                    ask("python3", &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?
                ),
                handler: "main.handler",
                file: "main.py",
                content: b"import time\n\ndef handler(event, context):\n    if 'sleep' in event:\n        \
                           time.sleep(event['sleep'])\n    return event\n"
                    .to_vec(),
            },
            Self::Node => Package {
                runtime: format!("nodejs{}.x", ask("node", &["-p", "process.versions.node.split('.')[0]"])?),
                handler: "main.handler",
                file: "main.js",
                content:
                    b"exports.handler = async (event) => {\n  if (event.sleep) await new Promise((done) => \
                           setTimeout(done, event.sleep * 1000));\n  return event;\n};\n"
                        .to_vec(),
            },
            Self::Rust => {
                let path = super::target_directory()?.join("suite/cargo/release/bootstrap");
                let content = std::fs::read(&path).map_err(io_error(format!("read `{}`", path.display())))?;
                Package {
                    runtime: "provided.al2023".to_owned(),
                    handler: "bootstrap",
                    file: "bootstrap",
                    content,
                }
            }
        })
    }
}

fn ask(program: &'static str, arguments: &[&str]) -> Result<String, BenchError> {
    let output = Command::new(program).args(arguments).output().map_err(|_| BenchError::Missing(program))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Measures everything that was asked for.
pub(super) async fn measure(arguments: &Arguments) -> Result<Report, BenchError> {
    let mut report = Report::default();
    if arguments.wants("ready") {
        ready(arguments, &mut report)?;
    }
    if arguments.wants("memory") {
        memory(arguments, &mut report).await?;
    }
    if arguments.wants("warm") {
        warm(arguments, &mut report).await?;
    }
    if arguments.wants("cold") {
        cold(arguments, &mut report).await?;
    }
    if arguments.wants("cage") {
        cage::measure(arguments, &mut report).await?;
    }
    if arguments.wants("burst") && arguments.languages().contains(&Language::Python) {
        burst(&mut report).await?;
    }
    if arguments.wants("control") {
        control::measure(arguments, &mut report).await?;
    }
    if arguments.wants("events") {
        events::measure(arguments, &mut report).await?;
    }
    Ok(report)
}

fn ready(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    let mut times = Vec::new();
    for _ in 0..arguments.samples(20) {
        let service = Service::start(None)?;
        times.push(service.ready_after);
        service.stop()?;
    }
    let samples = Samples::new(times);
    report.add(Row::new("ready, p50", samples.percentile(0.5) / 1e3, "ms").promise(Promise::AtMost(50.0)));
    report.add(Row::new("ready, slowest", samples.percentile(1.0) / 1e3, "ms"));
    Ok(())
}

async fn memory(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    let service = Service::start(None)?;
    let idle = memory::tree(service.id());
    report.add(
        Row::new("idle, all processes (PSS)", memory::proportional(&idle), "MB")
            .promise(Promise::AtMost(20.0)),
    );
    for language in arguments.languages().into_iter().filter(|language| *language != Language::Rust) {
        let name = format!("memory-{}", language.name());
        service.create(&name, &language.package()?).await?;
        // The first environment may bring what all share (a zygote, a pool); it is not counted.
        load::single(&service.target(&name)).await?;
        let before = memory::tree(service.id());
        let calls = (0..=WARM_ENVIRONMENTS).map(|_| service.sleeping(&name, 1.0));
        at_once(calls.collect()).await?;
        let more: Vec<u32> =
            memory::tree(service.id()).into_iter().filter(|pid| !before.contains(pid)).collect();
        let each = memory::private(&more) / WARM_ENVIRONMENTS as f64;
        let row = Row::new(format!("warm {} environment, private", language.name()), each, "MB");
        report.add(match language.memory_promise() {
            Some(promise) => row.promise(promise),
            None => row,
        });
    }
    let all = memory::proportional(&[service.id()]);
    report.add(Row::new("service itself after that (PSS)", all, "MB"));
    service.stop()
}

/// Sends all requests at the same time; returns when the last is answered.
async fn at_once(targets: Vec<load::Target>) -> Result<(), BenchError> {
    let mut calls = tokio::task::JoinSet::new();
    for target in targets {
        calls.spawn(async move { load::single(&target).await });
    }
    calls.join_all().await.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
}

async fn warm(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    // On one core, caller included, like the floor: what the code costs, without waking other cores.
    {
        let _pinned = Pinned::to(Some(CORE)).map_err(io_error("stay on one core"))?;
        let count = arguments.samples(20_000);
        let relay = Relay::start(1, Some(CORE))?;
        let floor = load::run(&relay.target, 1, count).await?;
        report.add(Row::new("F1 relay, one core, p50", floor.percentile(0.5), "us"));
        drop(relay);
        for language in arguments.languages() {
            let service = Service::start(Some(CORE))?;
            service.create("warm", &language.package()?).await?;
            let samples = load::run(&service.target("warm"), 1, count).await?;
            let figure = |what| format!("warm {}, one core, {what}", language.name());
            report.add(
                Row::new(figure("p50"), samples.percentile(0.5), "us")
                    .floor("F1 p50", floor.percentile(0.5))
                    .promise(language.warm_promise()),
            );
            report.add(
                Row::new(figure("p99"), samples.percentile(0.99), "us")
                    .floor("F1 p99", floor.percentile(0.99)),
            );
            service.stop()?;
        }
    }
    // On all cores, as people run it.
    for concurrency in CONCURRENCIES {
        let count = arguments.samples(20_000 * concurrency.min(2));
        let relay = Relay::start(concurrency, None)?;
        let floor = load::run(&relay.target, concurrency, count).await?;
        drop(relay);
        report.add(Row::new(
            format!("F1 relay, concurrency {concurrency}, p50"),
            floor.percentile(0.5),
            "us",
        ));
        for language in arguments.languages() {
            let service = Service::start(None)?;
            service.create("warm", &language.package()?).await?;
            let samples = load::run(&service.target("warm"), concurrency, count).await?;
            let figure = |what| format!("warm {}, concurrency {concurrency}, {what}", language.name());
            report.add(
                Row::new(figure("p50"), samples.percentile(0.5), "us").floor("F1 p50", floor.percentile(0.5)),
            );
            report.add(
                Row::new(figure("p99"), samples.percentile(0.99), "us")
                    .floor("F1 p99", floor.percentile(0.99)),
            );
            let rate = Row::new(figure("rate"), samples.rate(), "/s").floor("F1 rate", floor.rate());
            let promised = language == Language::Python && concurrency == 8;
            report.add(if promised { rate.promise(Promise::RatioAtLeast(0.75)) } else { rate });
            service.stop()?;
        }
    }
    Ok(())
}

async fn cold(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    let count = arguments.samples(50);
    for language in arguments.languages() {
        let service = Service::start(None)?;
        service.create("cold", &language.package()?).await?;
        load::single(&service.target("cold")).await?;
        let floor = language.cold_floor()?;
        let (samples, below) = cold_starts(&service, &floor, count, &[]).await?;
        let figure = |what| format!("cold {}, {what}", language.name());
        report.add(
            Row::new(figure("p50"), samples.percentile(0.5) / 1e3, "ms")
                .floor(floor.name, below.percentile(0.5) / 1e3)
                .promise(language.cold_promise()),
        );
        report.add(
            Row::new(figure("p99"), samples.percentile(0.99) / 1e3, "ms")
                .floor(floor.name, below.percentile(0.99) / 1e3),
        );
        if let Some((variable, promise)) = language.own_process() {
            let (samples, below) = cold_starts(&service, &floor, count, &[variable]).await?;
            report.add(
                Row::new(figure("own process, p50"), samples.percentile(0.5) / 1e3, "ms")
                    .floor(floor.name, below.percentile(0.5) / 1e3)
                    .promise(promise),
            );
        }
        service.stop()?;
    }
    Ok(())
}

/// Cold starts and, between them, starts of the floor: both meet the same weather.
async fn cold_starts(
    service: &Service,
    floor: &Floor,
    count: usize,
    variables: &[(&str, &str)],
) -> Result<(Samples, Samples), BenchError> {
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut all = serde_json::Map::new();
        all.insert("NUMBER".to_owned(), json!(number.to_string()));
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        service.renew("cold", all.into()).await?;
        floors.push(floor.once()?);
        tokio::time::sleep(SETTLE).await;
        times.push(load::single(&service.target("cold")).await?);
    }
    Ok((Samples::new(times), Samples::new(floors)))
}

async fn burst(report: &mut Report) -> Result<(), BenchError> {
    let service = Service::start(None)?;
    service.create("burst", &Language::Python.package()?).await?;
    load::single(&service.target("burst")).await?;
    service.renew("burst", json!({ "NEW": "1" })).await?;
    tokio::time::sleep(SETTLE).await;
    let calls = (0..BURST).map(|_| service.sleeping("burst", BURST_SLEEP.as_secs_f64())).collect();
    let started = Instant::now();
    at_once(calls).await?;
    let took = started.elapsed().saturating_sub(BURST_SLEEP);
    let figure = format!("{BURST} python environments at once, to the last response");
    report.add(Row::new(figure, took.as_secs_f64() * 1e3, "ms").promise(Promise::AtMost(400.0)));
    service.stop()
}
