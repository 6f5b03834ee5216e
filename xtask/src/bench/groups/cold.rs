//! Cold starts, against the start of the bare interpreter or program (floors F2, F3 and F4).
//!
//! Must not measure what the configuration's change costs: the service has settled before the clock starts.

use serde_json::{Value, json};

use super::SETTLE;
use crate::bench::{
    BenchError,
    language::Language,
    load,
    report::{Report, Row},
    run::Run,
    service::Service,
    statistics::{Samples, Series},
};

pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    for language in &run.languages {
        one(run, *language, report).await?;
    }
    Ok(())
}

async fn one(run: &Run, language: Language, report: &mut Report) -> Result<(), BenchError> {
    let service = run.start(None)?;
    service.create("cold", &language.package()?).await?;
    load::single(&service.target("cold")).await?;
    let floor = language.cold_floor()?;
    let own_process = language.own_process();
    let (mut floors, mut kept_ready, mut own) = (Series::default(), Series::default(), Series::default());
    for round in 0..run.extent.rounds {
        let (mut floor_times, mut times, mut own_times) = (Vec::new(), Vec::new(), Vec::new());
        for sample in 0..run.each_round(50) {
            let number = format!("{round}-{sample}");
            floor_times.push(floor.once()?);
            times.push(start(&service, json!({ "NUMBER": number })).await?);
            if let Some(((name, value), _)) = own_process {
                own_times.push(start(&service, json!({ "NUMBER": number, name: value })).await?);
            }
        }
        floors.push(Samples::new(floor_times));
        kept_ready.push(Samples::new(times));
        own.push(Samples::new(own_times));
    }
    let figure = |what| format!("cold {}, {what}", language.name());
    report.add(
        Row::new(figure("p50"), kept_ready.milliseconds(0.5), "ms")
            .floor(floor.name, floors.milliseconds(0.5))
            .promise(language.cold_promise()),
    );
    report.add(
        Row::new(figure("p99"), kept_ready.milliseconds(0.99), "ms")
            .floor(floor.name, floors.milliseconds(0.99)),
    );
    if let Some((_, promise)) = own_process {
        report.add(
            Row::new(figure("own process, p50"), own.milliseconds(0.5), "ms")
                .floor(floor.name, floors.milliseconds(0.5))
                .promise(promise),
        );
    }
    service.stop()
}

/// One cold start: the function's new variables need a new environment.
async fn start(service: &Service, variables: Value) -> Result<std::time::Duration, BenchError> {
    service.renew("cold", variables).await?;
    tokio::time::sleep(SETTLE).await;
    load::single(&service.target("cold")).await
}
