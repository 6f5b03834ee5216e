//! Versions with a snapshot: how one is taken, and how environments come from it, with runtimes that can be forked and with
//! runtimes that cannot.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use hothouse_execution::{
    EngineConfig, StartFailure,
    debug::DebugMode,
    environment::{InitializationType, Status},
    executor::{
        StartError,
        fake::{EXIT_0, FakeExecutor, FakeRuntime},
    },
    fault::Exit,
    invocation::{InvokeError, Outcome},
    spec::FunctionSpec,
};
use support::{engine, invocation, spec};

/// Nothing here takes long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

fn snap_started() -> FunctionSpec {
    FunctionSpec { snap_start: true, version: "1".parse().unwrap(), ..spec() }
}

/// What the runtimes of a test have been through, in order.
type Diary = Arc<Mutex<Vec<&'static str>>>;

/// A function that takes its time for INIT and little for what comes after a restore.
fn function(diary: &Diary, forks: bool) -> FakeExecutor {
    let diary = diary.clone();
    let executor = FakeExecutor::new(move |mut runtime| {
        let diary = diary.clone();
        async move {
            let note = |what| diary.lock().unwrap().push(what);
            if !runtime.is_forked() {
                note("init");
                tokio::time::sleep(Duration::from_secs(5)).await;
                assert_eq!(runtime.restore_next().await, 200);
            }
            note("restored");
            tokio::time::sleep(Duration::from_millis(250)).await;
            serve(runtime).await
        }
    });
    if forks { executor.forking() } else { executor }
}

async fn serve(mut runtime: FakeRuntime) -> Exit {
    loop {
        let event = runtime.next().await;
        if event.payload == "crash" {
            return EXIT_0;
        }
        runtime.respond(&event.request_id, event.payload).await;
    }
}

/// What the log says, without ids, and with durations as their whole seconds.
fn told(lines: &[String]) -> Vec<String> {
    let seconds = |word: &str| match word.parse::<f64>() {
        Ok(number) if word.contains('.') => format!("{:.0}s", (number / 1000.0).floor()),
        _ => word.to_owned(),
    };
    let told = |line: &String| {
        let line = line.split("\tRuntime Version ARN").next().unwrap_or_default();
        let words = line.split([' ', '\t']).filter(|word| !word.is_empty() && word.len() != 36);
        words.map(seconds).collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn environments_are_forked_from_the_snapshot_where_that_can_be_done() {
    let diary = Diary::default();
    let (engine, sink) = engine(function(&diary, true), EngineConfig::default());
    let version = engine.version(snap_started());
    version.take_snapshot().await.unwrap();
    assert_eq!(*diary.lock().unwrap(), ["init"]);
    assert_eq!(
        told(&sink.lines()),
        ["INIT_START Runtime Version: python:3.12.v1", "INIT_REPORT Init Duration: 5s ms Phase: init"]
    );
    eventually("a template", || engine.environments()[0].status == Status::Template).await;
    assert_eq!(engine.environments()[0].initialization_type, InitializationType::SnapStart);

    version.invoke(invocation("{}")).await.unwrap();
    assert_eq!(*diary.lock().unwrap(), ["init", "restored"]);
    eventually("a report", || sink.lines().len() == 7).await;
    assert_eq!(
        told(&sink.lines())[2..],
        [
            "RESTORE_START Runtime Version: python:3.12.v1",
            "RESTORE_REPORT Restore Duration: 0s ms",
            "START RequestId: Version: 1",
            "END RequestId:",
            "REPORT RequestId: Duration: 0s ms Billed Duration: 250 ms Memory Size: 128 MB Max Memory Used: 36 \
             MB Restore Duration: 0s ms Billed Restore Duration: 250 ms"
        ]
    );
    // A warm one tells nothing of it.
    version.invoke(invocation("{}")).await.unwrap();
    eventually("a report", || sink.lines().len() == 10).await;
    assert!(!sink.lines()[9].contains("Restore"), "{}", sink.lines()[9]);
    version.retire();
    eventually("nothing is left", || engine.environments().is_empty()).await;
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_forked_all_is_as_if_it_were_and_takes_longer() {
    let diary = Diary::default();
    let (engine, sink) = engine(function(&diary, false), EngineConfig::default());
    let version = engine.version(snap_started());
    version.take_snapshot().await.unwrap();
    eventually("the environment has gone", || engine.environments().is_empty()).await;
    version.invoke(invocation("{}")).await.unwrap();
    assert_eq!(*diary.lock().unwrap(), ["init", "init", "restored"]);
    eventually("a report", || sink.lines().len() == 7).await;
    let told = told(&sink.lines());
    assert_eq!(
        told[1..4],
        [
            "INIT_REPORT Init Duration: 5s ms Phase: init",
            "RESTORE_START Runtime Version: python:3.12.v1",
            "RESTORE_REPORT Restore Duration: 5s ms"
        ]
    );
    // What would be in a snapshot is not paid for.
    let billed = "Restore Duration: 5250.00 ms\tBilled Restore Duration: 250 ms\t";
    assert!(sink.lines()[6].contains(billed), "{}", sink.lines()[6]);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_crashed_is_followed_by_one_from_the_snapshot() {
    let diary = Diary::default();
    let (engine, _sink) = engine(function(&diary, true), EngineConfig::default());
    let version = engine.version(snap_started());
    version.take_snapshot().await.unwrap();
    let crashed = version.invoke(invocation("crash")).await.unwrap();
    assert!(matches!(crashed.outcome, Outcome::Error(_)));
    eventually("it has gone", || engine.environments().len() == 1).await;
    version.invoke(invocation("{}")).await.unwrap();
    assert_eq!(*diary.lock().unwrap(), ["init", "restored", "restored"]);
    engine.shut_down().await;
}

/// As after a restart of the service, or when the template was killed.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_missing_is_taken_while_the_first_environment_is_initialised() {
    let diary = Diary::default();
    let (engine, _sink) = engine(function(&diary, true), EngineConfig::default());
    let version = engine.version(snap_started());
    version.invoke(invocation("{}")).await.unwrap();
    let mut seen = diary.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, ["init", "init", "restored"]);
    eventually("a template", || engine.environments().iter().any(|other| other.status == Status::Template))
        .await;
    let (one, other) = tokio::join!(version.invoke(invocation("1")), version.invoke(invocation("2")));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(diary.lock().unwrap().iter().filter(|what| **what == "init").count(), 2);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_function_whose_init_fails_has_no_snapshot_until_it_is_taken_again() {
    let failing = Arc::new(AtomicUsize::new(1));
    let left = failing.clone();
    let executor = FakeExecutor::new(move |mut runtime| {
        let fails = left.load(SeqCst) > 0;
        async move {
            if fails {
                runtime.init_error("Runtime.BeforeSnapshotError", "{}").await;
                return EXIT_0;
            }
            runtime.restore_next().await;
            serve(runtime).await
        }
    });
    let (engine, sink) = engine(executor, EngineConfig::default());
    let version = engine.version(snap_started());
    assert!(matches!(version.take_snapshot().await, Err(StartFailure::Init(_))));
    assert!(
        sink.lines()[1].ends_with("Phase: init\tStatus: error\tError Type: Runtime.BeforeSnapshotError"),
        "{:?}",
        sink.lines()
    );
    failing.store(0, SeqCst);
    version.take_snapshot().await.unwrap();
    engine.shut_down().await;
}

/// 130 seconds, or the function's timeout.
#[tokio::test(start_paused = true)]
async fn a_snapshot_may_take_its_time_and_no_more() {
    let executor = || {
        FakeExecutor::new(|mut runtime| async move {
            tokio::time::sleep(Duration::from_secs(131)).await;
            runtime.restore_next().await;
            serve(runtime).await
        })
    };
    let (first, sink) = engine(executor(), EngineConfig::default());
    assert!(matches!(first.version(snap_started()).take_snapshot().await, Err(StartFailure::Init(_))));
    assert!(
        sink.lines()[1].starts_with("INIT_REPORT Init Duration: 130000.00 ms\tPhase: init\tStatus: timeout")
    );
    first.shut_down().await;
    let (second, _sink) = engine(executor(), EngineConfig::default());
    let patient = FunctionSpec { timeout: Duration::from_secs(140), ..snap_started() };
    second.version(patient).take_snapshot().await.unwrap();
    second.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_cannot_go_on_after_a_restore_is_told_so() {
    for forks in [true, false] {
        let executor = FakeExecutor::new(|mut runtime| async move {
            if !runtime.is_forked() {
                runtime.restore_next().await;
            }
            let headers = [("Lambda-Runtime-Function-Error-Type", "Runtime.AfterRestoreError")];
            let status = runtime.call("POST", "restore/error", &headers, Bytes::from("{}")).await.status();
            assert_eq!(status, 202);
            EXIT_0
        });
        let executor = if forks { executor.forking() } else { executor };
        let (engine, sink) = engine(executor, EngineConfig::default());
        let version = engine.version(snap_started());
        version.take_snapshot().await.unwrap();
        assert!(matches!(
            version.invoke(invocation("{}")).await,
            Err(InvokeError::Start(error)) if matches!(*error, StartError::Restore(_))
        ));
        let told = sink.lines();
        assert!(told[3].starts_with("RESTORE_REPORT Restore Duration: "), "{told:?}");
        assert!(told[3].ends_with("\tStatus: error\tError Type: Runtime.AfterRestoreError"), "{told:?}");
        engine.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_restore_has_ten_seconds() {
    for forks in [true, false] {
        let executor = FakeExecutor::new(|mut runtime| async move {
            if !runtime.is_forked() {
                runtime.restore_next().await;
            }
            tokio::time::sleep(Duration::from_secs(11)).await;
            serve(runtime).await
        });
        let executor = if forks { executor.forking() } else { executor };
        let (engine, sink) = engine(executor, EngineConfig::default());
        let version = engine.version(snap_started());
        version.take_snapshot().await.unwrap();
        assert!(matches!(
            version.invoke(invocation("{}")).await,
            Err(InvokeError::Start(error)) if matches!(*error, StartError::RestoreTimedOut)
        ));
        assert_eq!(sink.lines()[3], "RESTORE_REPORT Restore Duration: 10000.00 ms\tStatus: timeout");
        engine.shut_down().await;
    }
}

/// Each is a process that waits.
#[tokio::test(start_paused = true)]
async fn templates_are_not_without_number() {
    let diary = Diary::default();
    let (engine, _sink) = engine(function(&diary, true), EngineConfig::default());
    let versions: Vec<_> = (0..40).map(|_| engine.version(snap_started())).collect();
    for version in &versions {
        version.take_snapshot().await.unwrap();
        // The first one is used all the while.
        versions[0].invoke(invocation("crash")).await.unwrap();
    }
    let templates = || {
        let all = engine.environments();
        all.iter().filter(|environment| environment.status == Status::Template).count()
    };
    eventually("few", || templates() == 32).await;
    diary.lock().unwrap().clear();
    versions[0].invoke(invocation("{}")).await.unwrap();
    assert_eq!(*diary.lock().unwrap(), ["restored"]);
    versions[1].invoke(invocation("{}")).await.unwrap();
    assert!(diary.lock().unwrap().contains(&"init"), "it was used least");
    engine.shut_down().await;
}

/// Some clients know no hooks, as SnapStart asks for none.
#[tokio::test(start_paused = true)]
async fn a_runtime_that_asks_for_an_event_at_once_is_no_template() {
    let (engine, _sink) = engine(FakeExecutor::echo().forking(), EngineConfig::default());
    let version = engine.version(snap_started());
    version.take_snapshot().await.unwrap();
    eventually("the environment has gone", || engine.environments().is_empty()).await;
    version.invoke(invocation("{}")).await.unwrap();
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn calls_of_snapshots_are_for_those_that_have_one() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let statuses = [
            runtime.restore_next().await,
            runtime.call("POST", "restore/error", &[], Bytes::new()).await.status(),
            runtime.credentials("token").await.status(),
        ];
        let event = runtime.next().await;
        runtime.respond(&event.request_id, format!("{statuses:?}")).await;
        serve(runtime).await
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let answer = engine.version(spec()).invoke(invocation("{}")).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Success("[404, 404, 404]".into()));
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_are_given_to_who_has_the_token() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let token = runtime.launch().credentials_token.clone().unwrap();
        let given = runtime.credentials(&token).await;
        let refused = runtime.credentials("another").await.status();
        let event = runtime.next().await;
        let document = String::from_utf8_lossy(given.body()).into_owned();
        runtime.respond(&event.request_id, format!("{} {refused} {document}", given.status())).await;
        serve(runtime).await
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let answer = engine.version(snap_started()).invoke(invocation("{}")).await.unwrap();
    let Outcome::Success(answer) = answer.outcome else { panic!("{answer:?}") };
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let expected = r#"200 OK 404 Not Found {"AccessKeyId":"ASIA","SecretAccessKey":"secret","Token":"token","Expiration":"2"#;
    assert!(answer.starts_with(expected) && answer.ends_with("Z\"}"), "{answer}");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_debugged_function_is_started_as_any_other() {
    let config = EngineConfig { debug: DebugMode::All, ..EngineConfig::default() };
    let (engine, _sink) = engine(FakeExecutor::echo(), config);
    let version = engine.version(snap_started());
    version.take_snapshot().await.unwrap();
    version.invoke(invocation("{}")).await.unwrap();
    let kinds: Vec<_> = engine.environments().iter().map(|one| one.initialization_type).collect();
    assert_eq!(kinds, [InitializationType::OnDemand]);
    engine.shut_down().await;
}
