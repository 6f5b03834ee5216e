//! Very many functions, one after the other, with room for fewer environments: those not used for longest leave.
//!
//! Must not invoke a function twice: each invocation meets a function without an environment.

use super::SETTLE;
use crate::bench::{
    BenchError,
    floors::Floor,
    language::Language,
    load, memory,
    report::{Promise, Report, Row},
    run::Run,
    service::Launch,
    statistics::{Samples, Series},
};

/// Functions of a whole run.
const FUNCTIONS: usize = 1000;

/// Environments that there may be.
const BUDGET: usize = 100;

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let budget = BUDGET.to_string();
    let service = run.launch(Launch { options: &["--max-environments", &budget], ..Launch::default() })?;
    let package = Language::Python.package()?;
    let (count, each) = (run.samples(FUNCTIONS), run.each_round(FUNCTIONS));
    for number in 0..each * run.extent.rounds {
        service.create(&format!("function-{number}"), &package).await?;
    }
    let floor = Floor::python()?;
    let (mut floors, mut series, mut failures) = (Series::default(), Series::default(), 0.0);
    tokio::time::sleep(SETTLE).await;
    for round in 0..run.extent.rounds {
        let floor_times: Result<Vec<_>, _> = (0..each.min(10)).map(|_| floor.once()).collect();
        floors.push(Samples::new(floor_times?));
        let mut times = Vec::new();
        for number in round * each..(round + 1) * each {
            match load::single(&service.target(&format!("function-{number}"))).await {
                Ok(time) => times.push(time),
                Err(_) => failures += 1.0,
            }
        }
        series.push(Samples::new(times));
    }
    let figure = |what| format!("{count} functions once each, {what}");
    report.add(Row::new(figure("failed"), failures, "").promise(Promise::AtMost(0.0)));
    if failures == 0.0 {
        report.add(
            Row::new(figure("p50"), series.milliseconds(0.5), "ms")
                .floor(floor.name, floors.milliseconds(0.5)),
        );
        report.add(Row::new(figure("p99"), series.milliseconds(0.99), "ms"));
    }
    let left = service.call("list environments", "GET", "/_hothouse/environments", None).await?;
    let left = left["environments"].as_array().map_or(0, Vec::len) as f64;
    report.add(Row::new(figure("environments left"), left, "").promise(Promise::AtMost(BUDGET as f64)));
    let all = memory::proportional(&memory::tree(service.id()));
    report.add(Row::new(figure("all processes then (PSS)"), all, "MB"));
    service.stop()
}
