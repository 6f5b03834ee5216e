//! A closed loop of callers: each sends its next request when the last one is answered.
//!
//! Must not count an answer that is not the expected one.

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    BenchError,
    http::{Answer, Connection, request, request_with},
    io_error,
    statistics::Samples,
};

/// The event of every measured invoke; the function sends it back.
pub(super) const EVENT: &[u8] = br#"{"key":"value","n":12345}"#;

/// Something that answers an event with itself, or takes it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    port: u16,
    path: String,
    request: Vec<u8>,
    status: u16,
    /// What the answer is, but for spaces; of an event that nobody waits for there is none.
    answer: Vec<u8>,
}

impl Target {
    /// A path of a server on this machine.
    pub(super) fn new(port: u16, path: &str) -> Self {
        Self::with_event(port, path, EVENT)
    }

    /// The same server and path with another event.
    pub(super) fn with_event(port: u16, path: &str, event: &[u8]) -> Self {
        let request = request("POST", path, event);
        Self { port, path: path.to_owned(), request, status: 200, answer: squeezed(event) }
    }

    /// A path that takes events and answers before they have run.
    pub(super) fn taking_events(port: u16, path: &str) -> Self {
        let request = request_with("POST", path, "X-Amz-Invocation-Type: Event\r\n", EVENT);
        Self { port, path: path.to_owned(), request, status: 202, answer: Vec::new() }
    }

    /// The same path with another event.
    pub(super) fn with_another_event(&self, event: &[u8]) -> Self {
        Self::with_event(self.port, &self.path, event)
    }

    /// A connection that is kept.
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.port).await
    }
}

/// `concurrency` callers send `total` requests between them, after a tenth as many that are not counted.
pub(super) async fn run(target: &Target, concurrency: usize, total: usize) -> Result<Samples, BenchError> {
    round(target, concurrency, total / 10).await?;
    round(target, concurrency, total).await
}

async fn round(target: &Target, concurrency: usize, total: usize) -> Result<Samples, BenchError> {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        callers.spawn(caller(target.clone(), total.div_ceil(concurrency)));
    }
    let mut times = Vec::with_capacity(total);
    for caller in callers.join_all().await {
        times.extend(caller.map_err(io_error("send events"))?);
    }
    Ok(Samples::within(times, started.elapsed()))
}

async fn caller(target: Target, count: usize) -> io::Result<Vec<Duration>> {
    let mut connection = target.connect().await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(one(&target, &mut connection).await?);
    }
    Ok(times)
}

/// `concurrency` callers send requests for so long, each at least one.
pub(super) async fn run_for(
    target: &Target,
    concurrency: usize,
    length: Duration,
) -> Result<Samples, BenchError> {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..concurrency {
        let target = target.clone();
        callers.spawn(async move {
            let mut connection = target.connect().await?;
            let mut times = vec![one(&target, &mut connection).await?];
            while started.elapsed() < length {
                times.push(one(&target, &mut connection).await?);
            }
            io::Result::Ok(times)
        });
    }
    let mut times = Vec::new();
    for caller in callers.join_all().await {
        times.extend(caller.map_err(io_error("send events"))?);
    }
    Ok(Samples::within(times, started.elapsed()))
}

/// One request on a kept connection.
async fn one(target: &Target, connection: &mut Connection) -> io::Result<Duration> {
    let started = Instant::now();
    let answer = connection.exchange(&target.request).await?;
    let took = started.elapsed();
    if answer.status != target.status || answer.function_error || squeezed(answer.body) != target.answer {
        return Err(unexpected(&answer));
    }
    Ok(took)
}

/// Sends any event there, and returns the answer of a function that succeeded.
pub(super) async fn ask(target: &Target, connection: &mut Connection, event: &Value) -> io::Result<Value> {
    let request = request("POST", &target.path, event.to_string().as_bytes());
    let answer = connection.exchange(&request).await?;
    match serde_json::from_slice(answer.body) {
        Ok(value) if answer.status == 200 && !answer.function_error => Ok(value),
        _ => Err(unexpected(&answer)),
    }
}

fn unexpected(answer: &Answer<'_>) -> io::Error {
    let body = String::from_utf8_lossy(answer.body);
    io::Error::other(format!("unexpected answer {}: {body}", answer.status))
}

/// JSON without its spaces, which clients write as they like.
fn squeezed(json: &[u8]) -> Vec<u8> {
    json.iter().copied().filter(|byte| *byte != b' ').collect()
}

/// One request on a connection of its own, which is made before the clock starts.
pub(super) async fn single(target: &Target) -> Result<Duration, BenchError> {
    let mut connection = target.connect().await.map_err(io_error("connect to the service"))?;
    one(target, &mut connection).await.map_err(io_error("invoke"))
}

/// Sends all requests at the same time; returns when the last is answered.
pub(super) async fn at_once(targets: Vec<Target>) -> Result<(), BenchError> {
    outcomes(targets).await.failures.into_iter().next().map_or(Ok(()), Err)
}

/// What became of requests that were sent at the same time.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Times of those that were answered.
    pub(super) times: Vec<Duration>,
    /// Why the others were not.
    pub(super) failures: Vec<BenchError>,
}

/// The same, when some may fail.
pub(super) async fn outcomes(targets: Vec<Target>) -> Outcomes {
    let mut calls = JoinSet::new();
    for target in targets {
        calls.spawn(async move { single(&target).await });
    }
    let mut outcomes = Outcomes::default();
    for outcome in calls.join_all().await {
        match outcome {
            Ok(time) => outcomes.times.push(time),
            Err(error) => outcomes.failures.push(error),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_the_event_with_any_spaces() {
        assert_eq!(squeezed(br#"{"key": "value", "n": 12345}"#), EVENT);
        assert_ne!(squeezed(br#"{"errorMessage":"no"}"#), EVENT);
    }
}
