//! Very many environments of one function, from nothing, at once.
//!
//! Must not let one environment serve two of the invocations: each occupies its own until the last has begun.

use std::time::{Duration, Instant};

use serde_json::json;

use super::SETTLE;
use crate::bench::{
    BenchError,
    language::Language,
    load,
    report::{Promise, Report, Row},
    run::Run,
    statistics::Rounds,
};

/// Environments that start at once.
const BURST: usize = 100;

/// How long each invocation occupies its environment.
const SLEEP: Duration = Duration::from_secs(1);

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    if !run.wants(Language::Python) {
        return Ok(());
    }
    let service = run.start(None)?;
    service.create("burst", &Language::Python.package()?).await?;
    load::single(&service.target("burst")).await?;
    let mut times = Vec::new();
    for round in 0..run.rounds(5) {
        service.renew("burst", json!({ "NUMBER": round.to_string() })).await?;
        tokio::time::sleep(SETTLE).await;
        let calls = (0..BURST).map(|_| service.sleeping("burst", SLEEP.as_secs_f64())).collect();
        let started = Instant::now();
        load::at_once(calls).await?;
        times.push(started.elapsed().saturating_sub(SLEEP).as_secs_f64() * 1e3);
    }
    let figure = format!("{BURST} python environments at once, to the last response");
    report.add(Row::new(figure, Rounds::from(times), "ms").promise(Promise::AtMost(400.0)));
    service.stop()
}
