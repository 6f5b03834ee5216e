//! A closed loop of callers: each sends its next request when the last one is answered.
//!
//! Must not count an answer that is not the expected one.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    BenchError,
    http::{Connection, request, request_with},
    io_error,
    statistics::Samples,
};

/// The event of every measured invoke; the function sends it back.
pub(super) const EVENT: &[u8] = br#"{"key":"value","n":12345}"#;

/// Something that answers an event with itself, or takes it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    port: u16,
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
        Self { port, request: request("POST", path, event), status: 200, answer: squeezed(event) }
    }

    /// A path that takes events and answers before they have run.
    pub(super) fn taking_events(port: u16, path: &str) -> Self {
        let request = request_with("POST", path, "X-Amz-Invocation-Type: Event\r\n", EVENT);
        Self { port, request, status: 202, answer: Vec::new() }
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
    let mut connection = Connection::open(target.port).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(one(&target, &mut connection).await?);
    }
    Ok(times)
}

/// One request on a kept connection.
async fn one(target: &Target, connection: &mut Connection) -> io::Result<Duration> {
    let started = Instant::now();
    let answer = connection.exchange(&target.request).await?;
    let took = started.elapsed();
    if answer.status != target.status || answer.function_error || squeezed(answer.body) != target.answer {
        let body = String::from_utf8_lossy(answer.body);
        return Err(io::Error::other(format!("unexpected answer {}: {body}", answer.status)));
    }
    Ok(took)
}

/// JSON without its spaces, which clients write as they like.
fn squeezed(json: &[u8]) -> Vec<u8> {
    json.iter().copied().filter(|byte| *byte != b' ').collect()
}

/// One request on a connection of its own, which is made before the clock starts.
pub(super) async fn single(target: &Target) -> Result<Duration, BenchError> {
    let mut connection = Connection::open(target.port).await.map_err(io_error("connect to the service"))?;
    one(target, &mut connection).await.map_err(io_error("invoke"))
}

/// Sends all requests at the same time; returns when the last is answered.
pub(super) async fn at_once(targets: Vec<Target>) -> Result<(), BenchError> {
    let mut calls = JoinSet::new();
    for target in targets {
        calls.spawn(async move { single(&target).await });
    }
    calls.join_all().await.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
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
