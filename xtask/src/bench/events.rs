//! How many events of asynchronous invocations are taken a second: each is kept before it is answered. And floor F5:
//! how many records a file takes that is as long as it will be, flushed once for all that wait.
//!
//! Must not run the events that are measured: what they cost is measured elsewhere.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Arguments, BenchError,
    figures::Language,
    io_error,
    load::{self, Samples},
    report::{Promise, Report, Row},
    service::{Launch, Service},
};

/// Callers at once.
const CONCURRENCY: usize = 32;
/// Events of a whole run.
const EVENTS: usize = 20_000;
/// Bytes of a record: about what an event of the benchmark is with its request id and its trace.
const RECORD: usize = 256;

/// Measures with a service of its own, and with a file beside its data.
pub(super) async fn measure(arguments: &Arguments, report: &mut Report) -> Result<(), BenchError> {
    let directory = super::target_directory()?.join("suite/bench/events");
    // What a run that was interrupted has left.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).map_err(io_error("make a folder for events"))?;
    let count = arguments.samples(EVENTS);
    let floor = floor(&directory.join("floor"), count).await.map_err(io_error("write records"))?;
    report.add(Row::new("F5 records, concurrency 32, rate", floor.rate(), "/s"));

    let launch = Launch { directory: Some(&directory.join("data")), ..Launch::default() };
    let service = Service::launch(&launch)?;
    service.create("events", &Language::Python.package()?).await?;
    // One event occupies the function for as long as the rest are sent; those wait.
    let path = "/2017-10-31/functions/events/concurrency";
    let one = json!({ "ReservedConcurrentExecutions": 1 });
    service.call("reserve concurrency", "PUT", path, Some(one)).await?;
    let blocker = service.sleeping("events", 55.0);
    let mut blocking = JoinSet::new();
    blocking.spawn(async move { load::single(&blocker).await.map(drop) });
    let samples = load::run(&service.taking_events("events"), CONCURRENCY, count).await?;
    report.add(
        Row::new("events accepted, concurrency 32, rate", samples.rate(), "/s")
            .floor("F5 rate", floor.rate())
            .promise(Promise::RatioAtLeast(0.5)),
    );
    report.add(Row::new("events accepted, concurrency 32, p50", samples.percentile(0.5), "us"));
    report.add(Row::new("events accepted, concurrency 32, p99", samples.percentile(0.99), "us"));
    blocking.abort_all();
    // Its events go with it, or the service would wait for them to the end.
    service.delete("events").await?;
    service.stop()?;
    fs::remove_dir_all(&directory).map_err(io_error("remove the folder for events"))
}

/// A record, and who waits until it is kept.
type Record = (Vec<u8>, oneshot::Sender<io::Result<()>>);

async fn floor(path: &Path, count: usize) -> io::Result<Samples> {
    let file = File::create(path)?;
    // Written, not only reserved: otherwise each flush would also have to change the file's extents.
    for start in 0..(count + count / 10 + CONCURRENCY).div_ceil(64) {
        file.write_all_at(&[0; 64 * RECORD], (start * 64 * RECORD) as u64)?;
    }
    file.sync_all()?;
    let (records, inbox) = mpsc::channel::<Record>(CONCURRENCY);
    let writer = std::thread::spawn(move || write(&file, inbox));
    round(&records, count / 10).await?;
    let samples = round(&records, count).await?;
    drop(records);
    writer.join().map_err(|_| io::Error::other("the writer panicked"))?;
    Ok(samples)
}

async fn round(records: &mpsc::Sender<Record>, count: usize) -> io::Result<Samples> {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let records = records.clone();
        callers.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count.div_ceil(CONCURRENCY) {
                times.push(one(&records).await?);
            }
            io::Result::Ok(times)
        });
    }
    let mut times = Vec::new();
    for caller in callers.join_all().await {
        times.extend(caller?);
    }
    Ok(Samples::within(times, started.elapsed()))
}

async fn one(records: &mpsc::Sender<Record>) -> io::Result<Duration> {
    let started = Instant::now();
    let (kept, answer) = oneshot::channel();
    let gone = || io::Error::other("the writer ended");
    records.send((vec![b'x'; RECORD], kept)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())??;
    Ok(started.elapsed())
}

/// Takes what waits, writes it in one piece and flushes it.
fn write(file: &File, mut inbox: mpsc::Receiver<Record>) {
    let (mut batch, mut bytes, mut end) = (Vec::new(), Vec::new(), 0);
    while inbox.blocking_recv_many(&mut batch, CONCURRENCY) > 0 {
        bytes.clear();
        for (record, _) in &batch {
            bytes.extend_from_slice(record);
        }
        let written = file.write_all_at(&bytes, end).and_then(|()| file.sync_data());
        end += bytes.len() as u64;
        for (_, kept) in batch.drain(..) {
            let outcome = written.as_ref().copied().map_err(|error| io::Error::from(error.kind()));
            // Whoever has gone does not need to know.
            let _ = kept.send(outcome);
        }
    }
}
