//! The store through its handle: files, threads and the clock are real or moved, nothing is mocked.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use super::*;
use crate::companions::logs::{
    Scope,
    events::{Direction, Position, Range},
    handle,
};

const HOUR: Duration = Duration::from_secs(3600);
/// 2026-11-23T00:00:00Z.
const START_MS: i64 = 1_795_392_000_000;

#[derive(Debug)]
struct MovedClock(Mutex<SystemTime>);

impl MovedClock {
    fn new() -> Arc<Self> {
        let start = UNIX_EPOCH + Duration::from_millis(START_MS as u64);
        Arc::new(MovedClock(Mutex::new(start)))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn open(directory: Option<&std::path::Path>, maximum_bytes: u64, clock: &Arc<MovedClock>) -> LogStore {
    let config = LogStoreConfig { directory: directory.map(Into::into), maximum_bytes };
    LogStore::open(config, clock.clone()).unwrap()
}

fn scope() -> Scope {
    Scope { account: "000000000000".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn stream(name: &str) -> LogStream {
    let Scope { account, region } = scope();
    LogStream { account, region, group: "/aws/lambda/f".into(), name: name.into() }
}

/// Appends as an environment does, and says whether there was room.
fn append(store: &LogStore, stream: &LogStream, events: Vec<LogEvent>) -> bool {
    store.open(stream.clone()).append(events).is_ok()
}

fn event(timestamp_ms: i64, message: impl Into<bytes::Bytes>) -> LogEvent {
    LogEvent { timestamp_ms, message: message.into() }
}

async fn call(store: &LogStore, operation: &str, input: serde_json::Value) -> serde_json::Value {
    let target = format!("Logs_20140328.{operation}");
    let response = handle(store, scope(), &target, input.to_string().as_bytes()).await;
    match response.body().is_empty() {
        true => serde_json::Value::Null,
        false => serde_json::from_slice(response.body()).unwrap(),
    }
}

async fn messages(store: &LogStore) -> Vec<String> {
    let input = serde_json::json!({ "logGroupName": "/aws/lambda/f" });
    let output = call(store, "FilterLogEvents", input).await;
    let events = output["events"].as_array().unwrap_or_else(|| panic!("{output}"));
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_was_accepted_is_read_and_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    let store = open(Some(directory.path()), 1 << 30, &clock);
    for number in 0..100 {
        append(&store, &stream("a"), vec![event(START_MS + number, format!("event {number}"))]);
    }
    assert_eq!(messages(&store).await.len(), 100);
    append(&store, &stream("a"), vec![event(START_MS + 100, "the last")]);
    store.close().await;

    let store = open(Some(directory.path()), 1 << 30, &clock);
    let found = messages(&store).await;
    assert_eq!((found.len(), found[100].as_str()), (101, "the last"));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let store = open(None, 1 << 30, &MovedClock::new());
    store.close().await;
    let answer = call(&store, "DescribeLogGroups", serde_json::json!({})).await;
    assert_eq!(answer["__type"], "ServiceUnavailableException");
    assert!(!append(&store, &stream("a"), vec![event(START_MS, "late")]));
    store.close().await;
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let clock = MovedClock::new();
    open(Some(directory.path()), 1 << 30, &clock).close().await;
    let connection = rusqlite::Connection::open(directory.path().join("logs.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let config = LogStoreConfig { directory: Some(directory.path().into()), maximum_bytes: 1 << 30 };
    let error = LogStore::open(config, clock).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99 }), "{error:?}");
}

#[tokio::test]
async fn the_oldest_events_make_room() {
    const MAXIMUM: u64 = 2 << 20;
    let directory = tempfile::tempdir().unwrap();
    let store = open(Some(directory.path()), MAXIMUM, &MovedClock::new());
    let mut sent = 0;
    for round in 0..100 {
        let events = (0..10).map(|_| {
            sent += 1;
            event(START_MS + sent, format!("{sent:010} {}", "x".repeat(8000)))
        });
        append(&store, &stream(&format!("stream {round}")), events.collect());
        // A read between the appends keeps each a transaction of its own.
        call(&store, "DescribeLogGroups", serde_json::json!({})).await;
    }
    assert!(store.evicted() > 0);
    let used = store.run(|database| database.used_bytes()).await.unwrap();
    assert!(used <= MAXIMUM, "{used}");
    let oldest =
        call(&store, "FilterLogEvents", serde_json::json!({ "logGroupName": "/aws/lambda/f", "limit": 1 }));
    let oldest = oldest.await["events"][0]["timestamp"].as_i64().unwrap() - START_MS;
    assert_eq!(store.evicted(), oldest as u64 - 1, "the oldest went, and only they");
    let newest = call(
        &store,
        "GetLogEvents",
        serde_json::json!({ "logGroupName": "/aws/lambda/f", "logStreamName": "stream 99" }),
    );
    assert_eq!(newest.await["events"].as_array().unwrap().len(), 10);
    let streams = serde_json::json!({ "logGroupName": "/aws/lambda/f", "logStreamNamePrefix": "stream 0" });
    assert_eq!(call(&store, "DescribeLogStreams", streams).await["logStreams"], serde_json::json!([]));
    let groups = call(&store, "DescribeLogGroups", serde_json::json!({})).await;
    let kept = (sent - oldest + 1) * (8011 + 26);
    assert_eq!(groups["logGroups"][0]["storedBytes"], kept);
    store.close().await;
    let file = std::fs::metadata(directory.path().join("logs.db")).unwrap().len();
    assert!(file <= MAXIMUM + (1 << 20), "{file}");
}

#[tokio::test]
async fn a_flood_makes_room_at_its_own_cost() {
    let store = open(None, 2 << 20, &MovedClock::new());
    let quiet = LogStream { group: "/aws/lambda/quiet".into(), ..stream("a") };
    append(&store, &quiet, vec![event(START_MS, "said quietly")]);
    for number in 0..100 {
        let flood = (0..10).map(|_| event(START_MS + number, "x".repeat(8000)));
        assert!(append(&store, &stream("flood"), flood.collect()));
        call(&store, "DescribeLogGroups", serde_json::json!({})).await;
    }
    assert!(store.evicted() > 0);
    let input = serde_json::json!({ "logGroupName": "/aws/lambda/quiet" });
    let found = call(&store, "FilterLogEvents", input).await;
    assert_eq!(found["events"][0]["message"], "said quietly");
}

#[tokio::test]
async fn retention_follows_the_clock() {
    let clock = MovedClock::new();
    let store = open(None, 1 << 30, &clock);
    append(&store, &stream("a"), vec![event(START_MS, "first"), event(START_MS + 5 * 3_600_000, "second")]);
    let policy = serde_json::json!({ "logGroupName": "/aws/lambda/f", "retentionInDays": 1 });
    call(&store, "PutRetentionPolicy", policy).await;
    assert_eq!(messages(&store).await, ["first", "second"]);
    clock.advance(25 * HOUR);
    assert_eq!(messages(&store).await, ["second"]);
    // Not only hidden: the sweep deletes what expired.
    let left = store.run(|database| {
        let now = START_MS + 25 * 3_600_000;
        database.delete_expired(now)?;
        let count: i64 = database.connection.query_row("SELECT COUNT(*) FROM event", [], |row| row.get(0))?;
        Ok::<_, StoreError>(count)
    });
    assert_eq!(left.await.unwrap(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept() {
    let store = open(None, 1 << 30, &MovedClock::new());
    append(&store, &stream("a"), vec![event(START_MS, &b"\xff\xfe\0ok"[..])]);
    let stored = store.run(|database| {
        let group = database.group(&scope(), "/aws/lambda/f")?;
        let stream = database.stream(&group, "a")?;
        let range = Range {
            low: Position::before_time(0),
            high: Position::before_time(i64::MAX),
            direction: Direction::Forward,
        };
        database.page(&stream, range, 100)
    });
    assert_eq!(stored.await.unwrap()[0].message, b"\xff\xfe\0ok");
    // JSON cannot carry them: what is no character shows as the replacement character, as with CloudWatch.
    assert_eq!(messages(&store).await, ["\u{fffd}\u{fffd}\0ok"]);
}

#[tokio::test]
async fn pages_hold_a_megabyte() {
    let store = open(None, 1 << 30, &MovedClock::new());
    let sent: Vec<String> = (0..40).map(|number| format!("{number:02}{}", "x".repeat(100_000))).collect();
    let events = sent.iter().enumerate().map(|(number, text)| event(START_MS + number as i64, text.clone()));
    append(&store, &stream("a"), events.collect());
    let mut found = Vec::new();
    let mut pages = 0;
    let mut input = serde_json::json!({ "logGroupName": "/aws/lambda/f" });
    loop {
        let output = call(&store, "FilterLogEvents", input.clone()).await;
        let page = output["events"].as_array().unwrap();
        assert!(page.len() <= 10, "{}", page.len());
        found.extend(page.iter().map(|event| event["message"].as_str().unwrap().to_owned()));
        pages += 1;
        match output.get("nextToken") {
            Some(token) => input["nextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(pages, 4);
    assert!(found == sent, "all events, once and in order");
}

/// Keeps the store's thread busy until the sender is used.
async fn block(store: &LogStore) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinSet<()>) {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (started, wait) = oneshot::channel();
    let blocker = store.clone();
    let mut blocking = tokio::task::JoinSet::new();
    blocking.spawn(async move {
        let work = move |_: &mut Database| {
            started.send(()).unwrap();
            blocked.recv().unwrap();
            Ok::<_, StoreError>(())
        };
        blocker.run(work).await.unwrap();
    });
    wait.await.unwrap();
    (release, blocking)
}

#[tokio::test]
async fn floods_leave_room_for_the_quiet() {
    let store = open(None, 1 << 30, &MovedClock::new());
    let (release, mut blocking) = block(&store).await;
    // Many streams write as long as anything is taken.
    let message = bytes::Bytes::from(vec![b'x'; 16 << 10]);
    let mut floods: Vec<_> = (0..100).map(|number| store.open(stream(&format!("flood {number}")))).collect();
    let mut taken = 0;
    loop {
        let mut full = true;
        for flood in &mut floods {
            if flood.append(vec![event(START_MS, message.clone())]).is_ok() {
                (taken, full) = (taken + 1, false);
            }
        }
        if full {
            break;
        }
    }
    let waiting = store.shared.appended().bytes;
    assert!(waiting > QUEUE_BYTES / 2 && waiting < QUEUE_BYTES, "{waiting}");
    // Events come back whole.
    let refused = floods[0].append(vec![event(START_MS, message.clone())]).unwrap_err();
    assert_eq!(refused, [event(START_MS, message)]);
    // Whoever has nothing waiting still has room.
    let mut quiet = store.open(stream("quiet"));
    for number in 0..10 {
        quiet.append(vec![event(START_MS + number, "said quietly")]).unwrap();
    }
    release.send(()).unwrap();
    blocking.join_next().await.unwrap().unwrap();
    let count = store.run(|database| {
        Ok::<i64, StoreError>(
            database.connection.query_row("SELECT COUNT(*) FROM event", [], |row| row.get(0))?,
        )
    });
    assert_eq!(count.await.unwrap(), taken + 10);
    // What is stored does not count any more.
    assert_eq!(store.shared.appended().bytes, 0);
    floods[0].append(vec![event(START_MS, "again")]).unwrap();
}

#[tokio::test]
async fn one_stream_has_a_part_of_the_room() {
    let store = open(None, 1 << 30, &MovedClock::new());
    let (release, mut blocking) = block(&store).await;
    let message = bytes::Bytes::from(vec![b'x'; 64 << 10]);
    let mut flood = store.open(stream("flood"));
    while flood.append(vec![event(START_MS, message.clone())]).is_ok() {}
    let waiting = store.shared.appended().bytes;
    assert!(waiting <= QUEUE_BYTES / STREAM_SHARE, "{waiting}");
    release.send(()).unwrap();
    blocking.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn drops_are_counted() {
    let store = open(None, 1 << 30, &MovedClock::new());
    let mut flood = store.open(stream("flood"));
    flood.dropped(3, 100);
    flood.dropped(4, 100);
    assert_eq!(store.dropped(), 7);
    // The user is told once in a while.
    assert!(!store.shared.may_warn());
}

#[tokio::test]
async fn writers_on_threads_and_readers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(Some(directory.path()), 1 << 30, &MovedClock::new());
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            thread::spawn(move || {
                for number in 0..250 {
                    let message = format!("{writer}/{number}");
                    append(&store, &stream(&format!("{writer}")), vec![event(START_MS + number, message)]);
                }
            })
        })
        .collect();
    let mut reader = tokio::task::JoinSet::new();
    reader.spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let input = serde_json::json!({ "logGroupName": "/aws/lambda/f" });
                let output = call(&store, "FilterLogEvents", input).await;
                // Before the first append there is no group.
                let found = output["events"].as_array().map_or(0, Vec::len);
                assert!(found >= last);
                last = found;
            }
        }
    });
    for writer in writers {
        tokio::task::spawn_blocking(move || writer.join().unwrap()).await.unwrap();
    }
    assert_eq!(messages(&store).await.len(), 1000);
    done.store(true, Ordering::Relaxed);
    reader.join_next().await.unwrap().unwrap();
    assert_eq!(store.dropped(), 0);
}

#[tokio::test]
async fn a_deleted_group_comes_back_with_the_next_event() {
    let store = open(None, 1 << 30, &MovedClock::new());
    append(&store, &stream("a"), vec![event(START_MS, "before")]);
    call(&store, "DeleteLogGroup", serde_json::json!({ "logGroupName": "/aws/lambda/f" })).await;
    append(&store, &stream("a"), vec![event(START_MS, "after")]);
    assert_eq!(messages(&store).await, ["after"]);
}
