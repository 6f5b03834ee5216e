//! Very many environments of one function, from nothing, at once.
//!
//! Must not let one environment serve two of the invocations: each occupies its own until the last has begun.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use serde_json::json;

use super::SETTLE;
use crate::bench::{
    BenchError,
    floors::Floor,
    language::Language,
    load, memory,
    report::{Promise, Report, Row},
    run::Run,
    statistics::Rounds,
};

/// Environments that start at once, for their time and for their number.
const BURST: usize = 100;
const MANY: usize = 1000;

/// How long each invocation occupies its environment.
const SLEEP: Duration = Duration::from_secs(1);

/// So often the machine's memory is looked at.
const GLANCE: Duration = Duration::from_millis(20);

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let service = run.start(None)?;
    service.create("burst", &Language::Python.package()?).await?;
    load::single(&service.target("burst")).await?;
    let floor = Floor::python()?;
    let (mut times, mut floors) = (Vec::new(), Vec::new());
    for round in 0..run.rounds(5) {
        floors.push(floor.at_once(BURST)?.as_secs_f64() * 1e3);
        service.renew("burst", json!({ "NUMBER": round.to_string() })).await?;
        tokio::time::sleep(SETTLE).await;
        let started = Instant::now();
        load::at_once(vec![service.sleeping("burst", SLEEP.as_secs_f64()); BURST]).await?;
        times.push(started.elapsed().saturating_sub(SLEEP).as_secs_f64() * 1e3);
    }
    let figure = format!("{BURST} python environments at once, to the last response");
    report.add(
        Row::new(figure, Rounds::from(times), "ms")
            .floor("as many F2 at once", Rounds::from(floors))
            .promise(Promise::AtMost(400.0)),
    );
    service.stop()
}

/// So many that memory and the kernel's tables matter: all must be answered.
pub(super) async fn many(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let count = run.samples(MANY);
    let service = run.start(None)?;
    service.create("many", &Language::Python.package()?).await?;
    load::single(&service.target("many")).await?;
    service.renew("many", json!({ "NUMBER": "1" })).await?;
    tokio::time::sleep(SETTLE).await;
    let before = memory::available();
    let started = Instant::now();
    let mut calls = pin!(load::outcomes(vec![service.sleeping("many", SLEEP.as_secs_f64()); count]));
    let mut least = before;
    let outcomes = loop {
        least = least.min(memory::available());
        if let Ok(outcomes) = tokio::time::timeout(GLANCE, &mut calls).await {
            break outcomes;
        }
    };
    let took = started.elapsed().saturating_sub(SLEEP);
    let figure = |what| format!("{count} python environments at once, {what}");
    report.add(Row::new(figure("failed"), outcomes.failures.len() as f64, "").promise(Promise::AtMost(0.0)));
    report.add(Row::new(figure("to the last response"), took.as_secs_f64() * 1e3, "ms"));
    // The machine's, so that what the kernel keeps for namespaces and control groups counts as well.
    let each = (before - least) / count as f64;
    report.add(Row::new(figure("memory of the machine for each"), each, "MB"));
    service.stop()
}
