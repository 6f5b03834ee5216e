//! How many events of asynchronous invocations are taken a second: each is kept before it is answered.
//!
//! Must not run the events that are measured: what they cost is measured elsewhere.

use std::fs;

use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::{
    BenchError, io_error,
    keeper::{self, CONCURRENCY, Keeper},
    language::Language,
    load,
    report::{Promise, Report, Row},
    run::Run,
    service::Launch,
    statistics::Series,
    target_directory,
};

/// Events of a whole run.
const EVENTS: usize = 20_000;

/// Measures with a service of its own, and with a file beside its data.
pub(super) async fn measure(run: &Run, report: &mut Report) -> Result<(), BenchError> {
    let directory = target_directory()?.join("suite/bench/events");
    // What a run that was interrupted has left.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(io_error("make a folder for events"))?;
    let (count, each) = (run.samples(EVENTS), run.each_round(EVENTS));
    let file = directory.join("floor");
    let keeper = Keeper::start(&directory.join("floor-over-http"), count)?;
    let launch = Launch { directory: Some(&directory.join("data")), ..Launch::default() };
    let service = run.launch(launch)?;
    service.create("events", &Language::Python.package()?).await?;
    // One event occupies the function for as long as the rest are sent; those wait.
    let path = "/2017-10-31/functions/events/concurrency";
    let one = json!({ "ReservedConcurrentExecutions": 1 });
    service.call("reserve concurrency", "PUT", path, Some(one)).await?;
    let blocker = service.sleeping("events", 55.0);
    let mut blocking = JoinSet::new();
    blocking.spawn(async move { load::single(&blocker).await.map(drop) });

    let (mut floor, mut over_http, mut series) = (Series::default(), Series::default(), Series::default());
    for _ in 0..run.extent.rounds {
        floor.push(keeper::measure(&file, each).await.map_err(io_error("write records"))?);
        over_http.push(load::run(&keeper.target, CONCURRENCY, each).await?);
        series.push(load::run(&service.taking_events("events"), CONCURRENCY, each).await?);
    }
    drop(keeper);
    report.add(Row::new("F5 records, concurrency 32, rate", floor.rate(), "/s"));
    report.add(
        Row::new("events accepted, concurrency 32, rate", series.rate(), "/s")
            .floor("F5 rate", floor.rate())
            .promise(Promise::RatioAtLeast(0.5)),
    );
    // Where flushing is quick, carrying requests is what takes time.
    report.add(Row::new("the same, over HTTP", series.rate(), "/s").floor("F5 over HTTP", over_http.rate()));
    for (share, name) in [(0.5, "p50"), (0.99, "p99")] {
        report.add(
            Row::new(format!("events accepted, concurrency 32, {name}"), series.percentile(share), "us")
                .floor("F5 over HTTP", over_http.percentile(share)),
        );
    }
    blocking.abort_all();
    // Its events go with it, or the service would wait for them to the end.
    service.delete("events").await?;
    service.stop()?;
    fs::remove_dir_all(&directory).map_err(io_error("remove the folder for events"))
}
