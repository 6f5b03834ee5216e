//! Floor F5: the least that it costs to keep something. A file that is as long as it will be takes records, flushed once
//! for all that wait; behind bare hyper, each request is a record.
//!
//! Must not be tuned to look slow: it is what the service is compared with.

use std::{
    convert::Infallible,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    BenchError,
    load::Target,
    process::{self, Owned},
    statistics::Samples,
};

/// Callers at once.
pub(super) const CONCURRENCY: usize = 32;
/// Bytes of a record: about what an event of the benchmark is with its request id and its trace.
const RECORD: usize = 256;

/// The file behind bare hyper, as a process of its own.
pub(super) struct Keeper {
    /// Where requests are sent.
    pub(super) target: Target,
    _process: Owned,
}

impl Keeper {
    /// Starts it with a file for so many records.
    pub(super) fn start(path: &Path, count: usize) -> Result<Self, BenchError> {
        let mut command = process::part(&["keeper", "--count", &count.to_string(), "--file"])?;
        let mut process = Owned::start(command.arg(path))?;
        let line = process.line()?;
        let port = line.parse().map_err(|_| BenchError::NotReady(line))?;
        Ok(Self { target: Target::taking_events(port, "/"), _process: process })
    }
}

/// Serves until the process is killed; prints its port.
pub(super) fn serve(path: &Path, count: usize) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let records = records(path, count)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?.port());
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let records = records.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| answer(records.clone(), request));
                // The other side hung up; nothing follows from it here.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(
    records: mpsc::Sender<Record>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let mut record = body.unwrap_or_default().to_vec();
    record.resize(RECORD, b' ');
    let status = if keep(&records, record).await.is_ok() { 202 } else { 500 };
    Ok(Response::builder().status(status).body(Full::default()).expect("all parts are valid"))
}

/// `count` records from callers of this very process, after a tenth as many that are not counted.
pub(super) async fn measure(path: &Path, count: usize) -> io::Result<Samples> {
    let records = records(path, count)?;
    round(&records, count / 10).await?;
    round(&records, count).await
}

/// A record, and who waits until it is kept.
type Record = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// A file with room for `count` records and a tenth as many, and the thread that writes it for as long as somebody has
/// the way to it.
fn records(path: &Path, count: usize) -> io::Result<mpsc::Sender<Record>> {
    let file = File::create(path)?;
    // Written, not only reserved: otherwise each flush would also have to change the file's extents.
    for start in 0..(count + count / 10 + 2 * CONCURRENCY).div_ceil(64) {
        file.write_all_at(&[0; 64 * RECORD], (start * 64 * RECORD) as u64)?;
    }
    file.sync_all()?;
    let (records, inbox) = mpsc::channel(CONCURRENCY);
    std::thread::spawn(move || write(&file, inbox));
    Ok(records)
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
    keep(records, vec![b'x'; RECORD]).await?;
    Ok(started.elapsed())
}

async fn keep(records: &mpsc::Sender<Record>, record: Vec<u8>) -> io::Result<()> {
    let (kept, answer) = oneshot::channel();
    let gone = || io::Error::other("the writer ended");
    records.send((record, kept)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
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
