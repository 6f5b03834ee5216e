//! Invocations of every kind, in an order that a number decides, and whether each is answered as it should be.
//!
//! Must not let a wrong answer pass.

use std::{io, sync::Arc};

use serde_json::json;
use tokio::task::JoinSet;

use crate::bench::{
    BenchError,
    http::{Connection, request, request_with},
    io_error,
    language::Language,
    service::{Caller, FUNCTIONS, Package, Service},
};

/// Callers at once.
const CALLERS: usize = 8;
/// Functions that are invoked so rarely that mostly their environments have ended.
const RARE: usize = 40;

const PYTHON: &str = "\
import os, time

def handler(event, context):
    if event.get('fails'):
        raise ValueError('as it should')
    if event.get('exits'):
        os._exit(1)
    time.sleep(event.get('sleep', 0))
    return event
";
const STREAMING: &str = "\
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (let number = 0; number < 10; number++) stream.write(`part ${number}\n`);
  stream.end();
});
";

/// A kind of invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Python,
    Node,
    Streamed,
    Event,
    FailingEvent,
    Fails,
    Throttled,
    Rare,
    Exits,
    /// A function is created, invoked and deleted.
    Passing,
    TimesOut,
}

use Kind::*;

/// Kinds, and how many of ten thousand invocations are of each.
const SHARES: [(Kind, u64); 11] = [
    (Python, 5_200),
    (Node, 2_500),
    (Streamed, 700),
    (Event, 900),
    (FailingEvent, 100),
    (Fails, 400),
    (Throttled, 150),
    (Rare, 35),
    (Exits, 10),
    (Passing, 4),
    (TimesOut, 1),
];

impl Kind {
    fn function(self, number: u64) -> String {
        match self {
            Python | Event => "python".to_owned(),
            Node => "node".to_owned(),
            Streamed => "streamed".to_owned(),
            FailingEvent | Fails => "fails".to_owned(),
            Throttled => "throttled".to_owned(),
            Rare => format!("rare-{}", number % RARE as u64),
            Exits => "exits".to_owned(),
            TimesOut => "times-out".to_owned(),
            Passing => format!("passing-{number}"),
        }
    }

    fn request(self, number: u64) -> Vec<u8> {
        let name = self.function(number);
        let event: &[u8] = match self {
            FailingEvent | Fails => br#"{"fails":true}"#,
            Exits => br#"{"exits":true}"#,
            TimesOut => br#"{"sleep":30}"#,
            _ => br#"{"key":"value"}"#,
        };
        let path = format!("{FUNCTIONS}/{name}/invocations");
        match self {
            Event | FailingEvent => request_with("POST", &path, "X-Amz-Invocation-Type: Event\r\n", event),
            Streamed => request(
                "POST",
                &format!("/2021-11-15/functions/{name}/response-streaming-invocations"),
                event,
            ),
            _ => request("POST", &path, event),
        }
    }

    /// Status, whether the function is said to have failed, and what is in the answer.
    fn expected(self) -> (u16, bool, &'static str) {
        match self {
            Python | Node | Rare | Passing => (200, false, "value"),
            Streamed => (200, false, "InvokeComplete"),
            Event | FailingEvent => (202, false, ""),
            Fails => (200, true, "as it should"),
            Exits => (200, true, "Runtime.ExitError"),
            TimesOut => (200, true, "timed out"),
            Throttled => (429, false, "ReservedFunctionConcurrentInvocationLimitExceeded"),
        }
    }
}

/// Everything that is sent.
#[derive(Debug)]
pub(super) struct Mixture {
    random: Random,
    passing: Arc<Package>,
    counts: [usize; SHARES.len()],
}

impl Mixture {
    /// Makes the functions.
    pub(super) async fn prepare(service: &Service, seed: u64) -> Result<Self, BenchError> {
        let python = Package { content: PYTHON.into(), ..Language::Python.package()? };
        let node = Language::Node.package()?;
        let streaming = Package { content: STREAMING.into(), ..node.clone() };
        service.create("node", &node).await?;
        service.create("streamed", &streaming).await?;
        for name in ["python", "fails", "exits", "throttled", "times-out"] {
            service.create(name, &python).await?;
        }
        for number in 0..RARE {
            service.create(&Rare.function(number as u64), &python).await?;
        }
        let none = json!({ "ReservedConcurrentExecutions": 0 });
        let path = "/2017-10-31/functions/throttled/concurrency";
        service.call("reserve concurrency", "PUT", path, Some(none)).await?;
        let path = format!("{FUNCTIONS}/times-out/configuration");
        service.call("update a function", "PUT", &path, Some(json!({ "Timeout": 1 }))).await?;
        service.settled("times-out").await?;
        Ok(Mixture { random: Random(seed), passing: Arc::new(python), counts: [0; SHARES.len()] })
    }

    /// Sends so many invocations; returns when all are answered.
    pub(super) async fn send(&mut self, service: &Service, count: usize) -> Result<(), BenchError> {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let share = count / CALLERS + usize::from(caller < count % CALLERS);
            let kinds: Vec<(Kind, u64)> = (0..share).map(|_| self.choose()).collect();
            callers.spawn(call(service.caller(), self.passing.clone(), kinds));
        }
        callers.join_all().await.into_iter().collect()
    }

    fn choose(&mut self) -> (Kind, u64) {
        let number = self.random.next();
        let mut place = number % SHARES.iter().map(|(_, share)| share).sum::<u64>();
        let index = SHARES.iter().position(|(_, share)| {
            let found = place < *share;
            place = place.saturating_sub(*share);
            found
        });
        let index = index.unwrap_or_default();
        self.counts[index] += 1;
        (SHARES[index].0, number / 10_000)
    }

    /// How many of each kind were sent.
    pub(super) fn summary(&self) -> String {
        let counts = SHARES.iter().zip(self.counts);
        counts.map(|((kind, _), count)| format!("{kind:?} {count}")).collect::<Vec<_>>().join(", ")
    }
}

async fn call(service: Caller, passing: Arc<Package>, kinds: Vec<(Kind, u64)>) -> Result<(), BenchError> {
    let mut connection = service.connect().await?;
    for (kind, number) in kinds {
        if kind == Passing {
            service.create(&kind.function(number), &passing).await?;
        }
        one(&mut connection, kind, number).await.map_err(io_error(format!("invoke ({kind:?})")))?;
        if kind == Passing {
            service.delete(&kind.function(number)).await?;
        }
    }
    Ok(())
}

async fn one(connection: &mut Connection, kind: Kind, number: u64) -> io::Result<()> {
    let answer = connection.exchange(&kind.request(number)).await?;
    let (status, function_error, content) = kind.expected();
    let body = String::from_utf8_lossy(answer.body);
    if (answer.status, answer.function_error) != (status, function_error) || !body.contains(content) {
        return Err(io::Error::other(format!("unexpected answer {}: {body}", answer.status)));
    }
    Ok(())
}

/// Marsaglia's xorshift: good enough to mix, and the same each time.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // Zero would stay zero.
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
