//! What the cage costs: cold starts in it against plain processes, and invocations of environments that stood still.
//!
//! Must not compare runs of different times: both services live at once, and take turns.

use std::time::Duration;

use serde_json::json;

use super::{
    Arguments, BenchError,
    figures::Language,
    load::{self, Samples},
    report::{Promise, Report, Row},
    service::{Launch, Service},
};

/// A cold start in the whole cage against one without any.
const COLD_PROMISE: Promise = Promise::RatioAtMost(1.3);

/// Pause before a cold start: by then nothing is left of the environment before it. The kernel takes its time with
/// network namespaces.
const SETTLE: Duration = Duration::from_millis(250);

/// An idle environment is frozen by then.
const IDLE: Duration = Duration::from_millis(30);

pub(super) async fn measure(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    for language in arguments.languages() {
        cold(arguments, language, report).await?;
    }
    for language in arguments.languages() {
        frozen(arguments, language, report).await?;
    }
    Ok(())
}

async fn cold(arguments: &Arguments, language: Language, report: &mut Report) -> Result<(), BenchError> {
    let services = [
        Service::launch(&Launch { options: &["--isolation", "full"], ..Launch::default() })?,
        Service::launch(&Launch { options: &["--isolation", "none"], ..Launch::default() })?,
    ];
    for service in &services {
        service.create("cold", &language.package()?).await?;
        load::single(&service.target("cold")).await?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..arguments.samples(50) {
        for (service, times) in services.iter().zip(&mut times) {
            service.renew("cold", json!({ "NUMBER": number.to_string() })).await?;
            tokio::time::sleep(SETTLE).await;
            times.push(load::single(&service.target("cold")).await?);
        }
    }
    let [full, none] = times.map(Samples::new);
    for (figure, percentile) in [("p50", 0.5), ("p99", 0.99)] {
        let row = Row::new(
            format!("cold {}, fully isolated, {figure}", language.name()),
            full.percentile(percentile) / 1e3,
            "ms",
        )
        .floor("not isolated", none.percentile(percentile) / 1e3);
        report.add(if figure == "p50" { row.promise(COLD_PROMISE) } else { row });
    }
    services.into_iter().try_for_each(Service::stop)
}

async fn frozen(arguments: &Arguments, language: Language, report: &mut Report) -> Result<(), BenchError> {
    let services = [
        Service::start(None)?,
        Service::launch(&Launch { options: &["--freeze", "off"], ..Launch::default() })?,
    ];
    for service in &services {
        service.create("idle", &language.package()?).await?;
        load::single(&service.target("idle")).await?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..arguments.samples(200) {
        for (service, times) in services.iter().zip(&mut times) {
            // Before each, since whoever comes first wakes the processors for the second.
            tokio::time::sleep(IDLE).await;
            times.push(load::single(&service.target("idle")).await?);
        }
    }
    let [frozen, awake] = times.map(Samples::new);
    report.add(
        Row::new(
            format!("invoke of a frozen {} environment, p50", language.name()),
            frozen.percentile(0.5),
            "us",
        )
        .floor("never frozen", awake.percentile(0.5)),
    );
    services.into_iter().try_for_each(Service::stop)
}
