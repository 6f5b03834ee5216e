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
};

/// The event of every measured invoke; the function sends it back.
pub(super) const EVENT: &[u8] = br#"{"key":"value","n":12345}"#;

/// Something that answers an event with itself, or takes it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    port: u16,
    request: Vec<u8>,
    status: u16,
}

impl Target {
    /// A path of a server on this machine.
    pub(super) fn new(port: u16, path: &str) -> Self {
        Self::with_event(port, path, EVENT)
    }

    /// The same server and path with another event.
    pub(super) fn with_event(port: u16, path: &str, event: &[u8]) -> Self {
        Self { port, request: request("POST", path, event), status: 200 }
    }

    /// A path that takes events and answers before they have run.
    pub(super) fn taking_events(port: u16, path: &str) -> Self {
        let request = request_with("POST", path, "X-Amz-Invocation-Type: Event\r\n", EVENT);
        Self { port, request, status: 202 }
    }
}

/// Times of single requests, sorted, and how long they took together.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    sorted: Vec<Duration>,
    whole: Duration,
}

impl Samples {
    /// Samples that were taken one after the other.
    pub(super) fn new(mut times: Vec<Duration>) -> Self {
        let whole = times.iter().sum();
        times.sort();
        Self { sorted: times, whole }
    }

    /// Samples that were taken at the same time, within this time.
    pub(super) fn within(times: Vec<Duration>, whole: Duration) -> Self {
        Self { whole, ..Self::new(times) }
    }

    /// The sample that this share of all samples does not exceed, in microseconds.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let index = ((self.sorted.len() as f64 * share).ceil() as usize).clamp(1, self.sorted.len()) - 1;
        self.sorted[index].as_secs_f64() * 1e6
    }

    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.whole.as_secs_f64()
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
    let complete = target.status == 202 || same(answer.body);
    if answer.status != target.status || answer.function_error || !complete {
        let body = String::from_utf8_lossy(answer.body);
        return Err(io::Error::other(format!("unexpected answer {}: {body}", answer.status)));
    }
    Ok(took)
}

/// Whether an answer is the event; clients may write JSON with other spaces. Events of other shapes are not compared.
fn same(body: &[u8]) -> bool {
    let squeezed: Vec<u8> = body.iter().copied().filter(|byte| *byte != b' ').collect();
    squeezed == EVENT || !body.starts_with(br#"{"error"#)
}

/// One request on a connection of its own, which is made before the clock starts.
pub(super) async fn single(target: &Target) -> Result<Duration, BenchError> {
    let mut connection = Connection::open(target.port).await.map_err(io_error("connect to the service"))?;
    one(target, &mut connection).await.map_err(io_error("invoke"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = Samples::new((1..=100).map(Duration::from_micros).collect());
        assert_eq!(samples.percentile(0.5).round(), 50.0);
        assert_eq!(samples.percentile(0.99).round(), 99.0);
        assert_eq!(samples.percentile(1.0).round(), 100.0);
        assert_eq!(Samples::new(vec![Duration::from_micros(7)]).percentile(0.5).round(), 7.0);
    }

    #[test]
    fn the_event_is_the_event_with_any_spaces() {
        assert!(same(br#"{"key": "value", "n": 12345}"#));
        assert!(!same(br#"{"errorMessage":"no"}"#));
    }
}
