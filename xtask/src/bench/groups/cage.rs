//! What the cage costs: cold starts in it against plain processes, and invocations of environments that stood still.
//!
//! Must not compare runs of different times: both services live at once, and take turns.

use std::time::Duration;

use serde_json::json;

use crate::bench::{
    BenchError,
    language::Language,
    load,
    report::{Promise, Report, Row},
    run::Run,
    service::{Launch, Service},
    statistics::{Samples, Series},
};

/// A cold start in the whole cage against one without any.
const COLD_PROMISE: Promise = Promise::RatioAtMost(1.3);

/// Pause before a cold start: by then nothing is left of the environment before it. The kernel takes its time with
/// network namespaces.
const SETTLE: Duration = Duration::from_millis(250);

/// An idle environment is frozen by then.
const IDLE: Duration = Duration::from_millis(30);

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    for language in &run.languages {
        cold(run, *language, report).await?;
    }
    for language in &run.languages {
        frozen(run, *language, report).await?;
    }
    Ok(())
}

async fn cold(run: &Run, language: Language, report: &mut Report) -> Result<(), BenchError> {
    let services = [
        run.launch(Launch { options: &["--isolation", "full"], ..Launch::default() })?,
        run.launch(Launch { options: &["--isolation", "none"], ..Launch::default() })?,
    ];
    for service in &services {
        service.create("cold", &language.package()?).await?;
        load::single(&service.target("cold")).await?;
    }
    let mut all = [Series::default(), Series::default()];
    for round in 0..run.extent.rounds {
        let mut times = [Vec::new(), Vec::new()];
        for sample in 0..run.each_round(30) {
            for (service, times) in services.iter().zip(&mut times) {
                service.renew("cold", json!({ "NUMBER": format!("{round}-{sample}") })).await?;
                tokio::time::sleep(SETTLE).await;
                times.push(load::single(&service.target("cold")).await?);
            }
        }
        all.iter_mut().zip(times).for_each(|(series, times)| series.push(Samples::new(times)));
    }
    let [full, none] = all;
    for (figure, share) in [("p50", 0.5), ("p99", 0.99)] {
        let name = format!("cold {}, fully isolated, {figure}", language.name());
        let row =
            Row::new(name, full.milliseconds(share), "ms").floor("not isolated", none.milliseconds(share));
        report.add(if figure == "p50" { row.promise(COLD_PROMISE) } else { row });
    }
    services.into_iter().try_for_each(Service::stop)
}

async fn frozen(run: &Run, language: Language, report: &mut Report) -> Result<(), BenchError> {
    let services =
        [run.start(None)?, run.launch(Launch { options: &["--freeze", "off"], ..Launch::default() })?];
    for service in &services {
        service.create("idle", &language.package()?).await?;
        load::single(&service.target("idle")).await?;
    }
    let mut all = [Series::default(), Series::default()];
    for _ in 0..run.extent.rounds {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..run.each_round(200) {
            for (service, times) in services.iter().zip(&mut times) {
                // Before each, since whoever comes first wakes the processors for the second.
                tokio::time::sleep(IDLE).await;
                times.push(load::single(&service.target("idle")).await?);
            }
        }
        all.iter_mut().zip(times).for_each(|(series, times)| series.push(Samples::new(times)));
    }
    let [frozen, awake] = all;
    let name = format!("invoke of a frozen {} environment, p50", language.name());
    report.add(Row::new(name, frozen.percentile(0.5), "us").floor("never frozen", awake.percentile(0.5)));
    services.into_iter().try_for_each(Service::stop)
}
