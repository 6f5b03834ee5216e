//! Asynchronous invocation, on a clock that goes as fast as the tests.

mod accounts;
mod records;
mod recursion;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    metrics::Metric,
    state::{MemoryStore, SqliteStore, Store as _},
};
use hothouse_execution::{executor::fake::FakeExecutor, ports::Clock};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{ARN, Answer, FUNCTIONS, Service, open_at};

/// An attempt that reached the function.
#[derive(Debug, Clone, PartialEq)]
struct Attempt {
    id: String,
    /// Seconds since the first look at the clock.
    at: u64,
    version: String,
    arn: String,
    trace: String,
    payload: String,
}

/// The attempts so far.
#[derive(Clone)]
struct Attempts(Arc<Mutex<Vec<Attempt>>>, Instant);

impl Attempts {
    fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    fn all(&self) -> Vec<Attempt> {
        self.0.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<u64> {
        self.all().iter().map(|attempt| attempt.at).collect()
    }

    /// Waits until there are so many.
    async fn reach(&self, count: usize) -> Vec<Attempt> {
        while self.all().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
        self.all()
    }

    /// All that there ever will be of events that are there now.
    async fn ever(&self) -> Vec<Attempt> {
        sleep(Duration::from_secs(8 * 3600)).await;
        self.all()
    }

    /// Functions that fail if the event says so, and take as many seconds as it says.
    fn executor(&self) -> FakeExecutor {
        let attempts = self.clone();
        FakeExecutor::new(move |mut runtime| {
            let attempts = attempts.clone();
            async move {
                loop {
                    let event = runtime.next().await;
                    let header = |name: &str| event.headers.get(name).unwrap().to_str().unwrap().to_owned();
                    attempts.0.lock().unwrap().push(Attempt {
                        id: event.request_id.clone(),
                        at: attempts.1.elapsed().as_secs(),
                        version: runtime.launch().spec.version.to_string(),
                        arn: header("lambda-runtime-invoked-function-arn"),
                        trace: header("lambda-runtime-trace-id"),
                        payload: String::from_utf8(event.payload.to_vec()).unwrap(),
                    });
                    let payload: Value = serde_json::from_slice(&event.payload).unwrap();
                    sleep(Duration::from_secs(payload["seconds"].as_u64().unwrap_or_default())).await;
                    let failures = payload["failures"].as_u64().unwrap_or_default() as usize;
                    let id = &event.request_id;
                    if attempts.all().iter().filter(|attempt| attempt.id == *id).count() <= failures {
                        runtime.fail(id, "Oops", "{}").await;
                    } else {
                        runtime.respond(id, "{}").await;
                    }
                }
            }
        })
    }
}

/// Goes with tokio's clock, which tests can pause.
#[derive(Debug)]
pub(crate) struct PausedClock(SystemTime, Instant);

impl PausedClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000), Instant::now()))
    }
}

impl Clock for PausedClock {
    fn now(&self) -> SystemTime {
        self.0 + self.1.elapsed()
    }
}

async fn service() -> (Service, Attempts) {
    let attempts = Attempts::new();
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    let executor = attempts.executor();
    let service = open_at(config, Arc::<MemoryStore>::default(), code, executor, PausedClock::new()).await;
    service.created(json!({ "Timeout": 900 })).await;
    (service, attempts)
}

async fn durable(
    directory: &Path,
    attempts: &Attempts,
    retry_base_delay: Duration,
    clock: Arc<PausedClock>,
) -> Service {
    let config = ControlConfig { retry_base_delay, ..ControlConfig::default() };
    let store = Arc::new(SqliteStore::open(&directory.join("state.db")).unwrap());
    let code = CodeStore::open(directory.join("code"), config.limits.code_size_unzipped).unwrap();
    open_at(config, store, code, attempts.executor(), clock).await
}

/// The events that a database holds, and how often the function failed with each.
fn kept(directory: &Path) -> BTreeMap<String, u32> {
    let state = SqliteStore::open(&directory.join("state.db")).unwrap().load().unwrap();
    let functions = state.all_functions().flat_map(|(_, function)| &function.queue);
    functions.map(|(id, event)| (id.to_string(), event.attempts)).collect()
}

async fn send(service: &Service, target: &str, payload: impl ToString) -> Answer {
    let request = Request::post(format!("{FUNCTIONS}/{target}/invocations"))
        .header("x-amz-invocation-type", "Event")
        .body(payload.to_string());
    service.send(request.unwrap()).await
}

/// Sends an event that must be accepted; returns its request id.
async fn accepted(service: &Service, target: &str, payload: Value) -> String {
    let answer = send(service, target, payload).await;
    assert_eq!((answer.status, &answer.body), (202, &Value::Null));
    assert!(answer.headers.get("x-amz-executed-version").is_none());
    answer.headers["x-amzn-requestid"].to_str().unwrap().to_owned()
}

async fn configure(service: &Service, qualifier: &str, config: Value) {
    let path = format!("/2019-09-25/functions/f/event-invoke-config?Qualifier={qualifier}");
    assert_eq!(service.call(Method::PUT, &path, config).await.status, 200);
}

async fn reserve(service: &Service, executions: u32) {
    let body = json!({ "ReservedConcurrentExecutions": executions });
    assert_eq!(service.call(Method::PUT, "/2017-10-31/functions/f/concurrency", body).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn event_that_succeeds_runs_once() {
    let (service, attempts) = service().await;
    let payload = "{ \"a\" : 1e2 }";
    let answer = send(&service, "f", payload).await;
    assert_eq!(answer.status, 202);
    let ran = attempts.ever().await;
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0].id, answer.headers["x-amzn-requestid"]);
    assert_eq!((ran[0].payload.as_str(), ran[0].arn.as_str()), (payload, ARN));
}

#[tokio::test(start_paused = true)]
async fn deprecated_operation_does_the_same() {
    let (service, attempts) = service().await;
    let path = "/2014-11-13/functions/f/invoke-async";
    let answer = service.call(Method::POST, path, json!({ "old": true })).await;
    assert_eq!((answer.status, answer.body), (202, json!({ "Status": 202 })));
    let ran = attempts.ever().await;
    assert_eq!(ran.iter().map(|attempt| attempt.payload.as_str()).collect::<Vec<_>>(), [r#"{"old":true}"#]);
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_are_repeated_after_one_minute_and_after_two_more() {
    let (service, attempts) = service().await;
    let id = accepted(&service, "f", json!({ "failures": 9 })).await;
    let ran = attempts.ever().await;
    assert_eq!(attempts.times(), [0, 60, 180]);
    assert!(ran.iter().all(|attempt| attempt.id == id && attempt.trace == ran[0].trace), "{ran:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_a_success() {
    let (service, attempts) = service().await;
    accepted(&service, "f", json!({ "failures": 1 })).await;
    attempts.ever().await;
    assert_eq!(attempts.times(), [0, 60]);
}

#[tokio::test(start_paused = true)]
async fn settings_of_what_was_invoked_count() {
    let (service, attempts) = service().await;
    service.publish(json!({})).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    configure(&service, "$LATEST", json!({ "MaximumEventAgeInSeconds": 60 })).await;
    configure(&service, "live", json!({ "MaximumRetryAttempts": 1 })).await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    let ran = attempts.ever().await;
    // Too old before it could be tried again.
    assert_eq!(ran.len(), 1);
    let id = accepted(&service, "f:live", json!({ "failures": 9 })).await;
    let ran = attempts.ever().await.split_off(1);
    assert_eq!(ran.len(), 2);
    for attempt in ran {
        assert_eq!(
            (attempt.id, attempt.version, attempt.arn),
            (id.clone(), "1".into(), format!("{ARN}:live"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_event_waits_without_losing_attempts() {
    let (service, attempts) = service().await;
    configure(&service, "$LATEST", json!({ "MaximumRetryAttempts": 0 })).await;
    reserve(&service, 1).await;
    let busy = service.post("/f/invocations", json!({ "seconds": 5 }));
    let event = async {
        attempts.reach(1).await;
        accepted(&service, "f", json!({})).await
    };
    let (_, id) = tokio::join!(busy, event);
    let ran = attempts.ever().await;
    // Refused at 0, 1 and 3.
    assert_eq!(attempts.times(), [0, 7]);
    assert_eq!(ran[1].id, id);
}

#[tokio::test(start_paused = true)]
async fn many_events_of_a_function_that_is_throttled_all_run() {
    let (service, attempts) = service().await;
    reserve(&service, 1).await;
    for _ in 0..300 {
        accepted(&service, "f", json!({ "seconds": 1 })).await;
    }
    let ran = attempts.ever().await;
    assert_eq!(ran.len(), 300);
    // One after the other: each that ends lets another go on.
    assert!(ran[299].at < 310, "{}", ran[299].at);
}

#[tokio::test(start_paused = true)]
async fn slow_function_does_not_hold_up_others() {
    let (service, attempts) = service().await;
    service.created(json!({ "FunctionName": "g" })).await;
    for _ in 0..150 {
        accepted(&service, "f", json!({ "seconds": 600 })).await;
    }
    let id = accepted(&service, "g", json!({})).await;
    sleep(Duration::from_secs(1)).await;
    assert!(attempts.all().iter().any(|attempt| attempt.id == id));
    assert_eq!(attempts.ever().await.len(), 151);
}

#[tokio::test(start_paused = true)]
async fn function_that_is_switched_off_gets_no_events() {
    let (service, attempts) = service().await;
    reserve(&service, 0).await;
    accepted(&service, "f", json!({})).await;
    sleep(Duration::from_secs(1)).await;
    service.call(Method::DELETE, "/2017-10-31/functions/f/concurrency", Value::Null).await;
    assert_eq!(attempts.ever().await, []);
}

#[tokio::test(start_paused = true)]
async fn events_go_with_their_function() {
    let (service, attempts) = service().await;
    accepted(&service, "f", json!({ "failures": 9 })).await;
    attempts.reach(1).await;
    service.delete("/f").await;
    service.created(json!({})).await;
    assert_eq!(attempts.ever().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_run_on_the_code_of_their_time() {
    let (service, attempts) = service().await;
    service.publish(json!({})).await;
    service.update_configuration(json!({ "Description": "other" })).await;
    service.publish(json!({})).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    accepted(&service, "f:live", json!({ "failures": 1 })).await;
    attempts.reach(1).await;
    service.put("/f/aliases/live", json!({ "FunctionVersion": "2" })).await;
    let versions: Vec<_> = attempts.ever().await.into_iter().map(|attempt| attempt.version).collect();
    assert_eq!(versions, ["1", "2"]);
}

#[tokio::test]
async fn what_cannot_be_invoked_is_refused() {
    let (service, attempts) = service().await;
    let missing = send(&service, "g", "{}").await.error();
    assert_eq!(
        missing,
        "404 ResourceNotFoundException: Function not found: \
         arn:aws:lambda:us-east-1:123456789012:function:g:$LATEST"
    );
    assert!(send(&service, "f:none", "{}").await.error().starts_with("404 ResourceNotFoundException"));
    let malformed = send(&service, "f", "no JSON").await.error();
    assert!(malformed.starts_with("400 InvalidRequestContentException: Could not parse"), "{malformed}");
    let large = send(&service, "f", json!("x".repeat(1_048_575))).await.error();
    assert_eq!(
        large,
        "413 RequestEntityTooLargeException: Request must be smaller than 1048576 bytes for the InvokeFunction \
         operation"
    );
    assert_eq!(send(&service, "f", json!("x".repeat(1_048_574))).await.status, 202);
    assert_eq!(attempts.reach(1).await.len(), 1);
}

#[tokio::test]
async fn what_was_accepted_is_attempted_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let attempts = Attempts::new();
    let service = durable(directory.path(), &attempts, hour, PausedClock::new()).await;
    service.created(json!({ "Timeout": 900 })).await;
    let done = accepted(&service, "f", json!({})).await;
    let failed = accepted(&service, "f", json!({ "failures": 2 })).await;
    let interrupted = accepted(&service, "f", json!({ "seconds": 800 })).await;
    let ran = attempts.reach(3).await;
    assert!(ran.iter().any(|attempt| attempt.id == done));
    while service.engine.running() > 1 {
        tokio::task::yield_now().await;
    }
    service.engine.shut_down().await;
    service.control.shut_down().await;
    drop(service);
    assert_eq!(kept(directory.path()), BTreeMap::from([(failed.clone(), 1), (interrupted.clone(), 0)]));

    // The first of the two retries is due by now.
    let clock = Arc::new(PausedClock(PausedClock::new().0 + 2 * hour, Instant::now()));
    let service = durable(directory.path(), &attempts, Duration::ZERO, clock).await;
    let mut ran: Vec<_> = attempts.reach(6).await.into_iter().map(|attempt| attempt.id).skip(3).collect();
    ran.sort_unstable();
    let mut expected = [failed.clone(), failed, interrupted.clone()];
    expected.sort_unstable();
    assert_eq!(ran, expected);
    while service.engine.running() > 1 {
        tokio::task::yield_now().await;
    }
    service.engine.shut_down().await;
    service.control.shut_down().await;
    drop(service);
    assert_eq!(kept(directory.path()), BTreeMap::from([(interrupted, 0)]));
}

#[tokio::test(start_paused = true)]
async fn attempt_that_has_begun_is_given_time_when_the_service_ends() {
    let (service, attempts) = service().await;
    accepted(&service, "f", json!({ "seconds": 5, "failures": 1 })).await;
    accepted(&service, "f", json!({ "seconds": 800 })).await;
    attempts.reach(2).await;
    let begun = Instant::now();
    service.control.finish_attempts(Duration::from_secs(10)).await;
    assert_eq!(begun.elapsed().as_secs(), 10, "the second takes too long");
    // Nothing begins any more: not the retry of the first, nor another.
    accepted(&service, "f", json!({})).await;
    assert_eq!(attempts.ever().await.len(), 2);
}

#[tokio::test]
async fn event_that_is_too_old_at_the_next_start_is_not_attempted() {
    let directory = tempfile::tempdir().unwrap();
    let attempts = Attempts::new();
    let service = durable(directory.path(), &attempts, Duration::ZERO, PausedClock::new()).await;
    service.created(json!({ "Timeout": 900 })).await;
    service.control.finish_attempts(Duration::ZERO).await;
    let id = accepted(&service, "f", json!({})).await;
    service.engine.shut_down().await;
    service.control.shut_down().await;
    drop(service);
    assert_eq!(kept(directory.path()), BTreeMap::from([(id, 0)]));

    let later = PausedClock::new().0 + Duration::from_secs(30_000);
    let clock = Arc::new(PausedClock(later, Instant::now()));
    let service = durable(directory.path(), &attempts, Duration::ZERO, clock).await;
    let given_up = || {
        let samples = service.control.take_metrics();
        samples.iter().any(|sample| sample.metric == Metric::AsyncEventsDropped)
    };
    while !given_up() {
        tokio::task::yield_now().await;
    }
    service.engine.shut_down().await;
    service.control.shut_down().await;
    drop(service);
    assert_eq!((attempts.all(), kept(directory.path())), (Vec::new(), BTreeMap::new()));
}
