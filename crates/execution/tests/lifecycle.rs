//! The life of environments as users see it, over scripted runtimes, mostly on a paused clock.

mod support;

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hothouse_execution::{
    Engine, EngineConfig, ProvisionedConcurrency, StartFailure,
    debug::DebugMode,
    environment::{InitializationType, Status},
    executor::fake::{EXIT_0, FakeExecutor, Order},
    invocation::{InvokeError, Outcome},
};
use support::{engine, invocation, spec};
use tokio::time::Instant;

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

fn statuses(engine: &Engine) -> Vec<Status> {
    engine.environments().iter().map(|environment| environment.status).collect()
}

fn last_ended(engine: &Engine) -> Option<Status> {
    engine.ended_environments().last().map(|environment| environment.status)
}

/// Answers each event after this long with how many starts its environment has seen.
fn slow(took: Duration) -> FakeExecutor {
    FakeExecutor::new(move |mut runtime| async move {
        loop {
            let event = runtime.next().await;
            if event.payload == "crash" {
                return EXIT_0;
            }
            tokio::time::sleep(took).await;
            let starts = runtime.starts().to_string();
            runtime.respond(&event.request_id, starts).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_environment_stands_still_between_invocations_but_not_between_quick_ones() {
    let executor = FakeExecutor::echo();
    let orders = executor.orders();
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    for _ in 0..5 {
        version.invoke(invocation("{}")).await.unwrap();
    }
    assert_eq!(*orders.lock().unwrap(), [Order::LimitCpu], "INIT has all the CPU, invocations a share");
    eventually("frozen", || engine.environments().iter().all(|environment| environment.frozen)).await;
    assert_eq!(statuses(&engine), [Status::Ready]);
    version.invoke(invocation("{}")).await.unwrap();
    assert_eq!(*orders.lock().unwrap(), [Order::LimitCpu, Order::Freeze, Order::Thaw]);
    engine.shut_down().await;
    assert_eq!(orders.lock().unwrap().last(), Some(&Order::Kill));
}

#[tokio::test(start_paused = true)]
async fn freezing_can_be_turned_off() {
    let executor = FakeExecutor::echo();
    let orders = executor.orders();
    let (engine, _sink) = engine(executor, EngineConfig { freeze: false, ..EngineConfig::default() });
    let version = engine.version(spec());
    version.invoke(invocation("{}")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*orders.lock().unwrap(), [Order::LimitCpu]);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn users_see_what_became_of_each_environment() {
    let config = EngineConfig { keep_alive: Duration::from_secs(5), ..EngineConfig::default() };
    let (engine, _sink) = engine(slow(Duration::from_secs(1)), config);
    let version = engine.version(spec());
    let watch = async {
        eventually("invoking", || statuses(&engine) == [Status::Invoking]).await;
    };
    let (answer, ()) = tokio::join!(version.invoke(invocation("{}")), watch);
    answer.unwrap();
    eventually("ready", || statuses(&engine) == [Status::Ready]).await;
    // A crash takes the process, not the environment.
    let crashed = version.invoke(invocation("crash")).await.unwrap().outcome;
    assert!(matches!(crashed, Outcome::Error(_)));
    assert_eq!(statuses(&engine), [Status::Inactive]);
    assert_eq!(version.invoke(invocation("{}")).await.unwrap().outcome, Outcome::Success("2".into()));
    eventually("gone", || engine.environments().is_empty()).await;
    assert_eq!(last_ended(&engine), Some(Status::Stopped));
    assert_eq!(engine.ended_environments()[0].invocations, 3);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn an_init_that_fails_shows_until_it_succeeds() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        match runtime.starts() {
            1 => return EXIT_0,
            2 => pending().await,
            _ => {}
        }
        loop {
            let event = runtime.next().await;
            runtime.respond(&event.request_id, "{}").await;
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    // The first INIT fails at once, its repetition runs into the function's timeout.
    let outcome = version.invoke(invocation("{}")).await.unwrap().outcome;
    assert!(
        matches!(&outcome, Outcome::Error(body) if body.starts_with(br#"{"errorType":"Sandbox.Timedout""#))
    );
    assert_eq!(statuses(&engine), [Status::StartupTimedOut]);
    assert_eq!(version.invoke(invocation("{}")).await.unwrap().outcome, Outcome::Success("{}".into()));
    eventually("ready", || statuses(&engine) == [Status::Ready]).await;
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_meets_the_ceiling_is_an_error_of_its_caller() {
    let executor = FakeExecutor::new(|_runtime| pending());
    let config = EngineConfig { startup_timeout: Duration::from_secs(4), ..EngineConfig::default() };
    let (engine, sink) = engine(executor, config);
    let version = engine.version(spec());
    let begun = Instant::now();
    let error = version.invoke(invocation("{}")).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 4);
    let InvokeError::Start(cause) = error else { panic!("{error}") };
    assert!(
        cause.to_string().starts_with("the environment timed out during start-up (limit 4 s;"),
        "{cause}"
    );
    eventually("gone", || engine.environments().is_empty()).await;
    assert_eq!(last_ended(&engine), Some(Status::StartupTimedOut));
    assert!(
        sink.lines().iter().any(|line| line.starts_with("INIT_REPORT ") && line.ends_with("Status: timeout"))
    );
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn an_invocation_lingers_if_the_user_wants_its_log_complete() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            runtime.respond(&event.request_id, "{}").await;
            runtime.print("after the response\n");
        }
    });
    let wait = Duration::from_millis(500);
    let (engine, _sink) =
        engine(executor, EngineConfig { post_invoke_wait: wait, ..EngineConfig::default() });
    let version = engine.version(spec());
    let begun = Instant::now();
    let mut invocation = invocation("{}");
    invocation.tail = true;
    let tail = version.invoke(invocation).await.unwrap().log_tail.unwrap();
    assert_eq!(begun.elapsed(), wait);
    assert!(String::from_utf8_lossy(&tail).contains("after the response\nEND "), "{tail:?}");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_debugged_function_has_one_environment_and_an_hour() {
    let (engine, _sink) = engine(
        slow(Duration::from_secs(1200)),
        EngineConfig { debug: DebugMode::All, ..EngineConfig::default() },
    );
    let version = engine.version(spec());
    let begun = Instant::now();
    let (a, b) = tokio::join!(version.invoke(invocation("{}")), version.invoke(invocation("{}")));
    assert_eq!(a.unwrap().outcome, Outcome::Success("1".into()));
    assert_eq!(b.unwrap().outcome, Outcome::Success("1".into()));
    assert_eq!(begun.elapsed().as_secs(), 2400, "one after the other");
    assert_eq!((engine.environments().len(), engine.ended_environments().len()), (1, 0));
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_only_environment_is_served_when_it_is_gone() {
    let executor = FakeExecutor::new(|_runtime| pending());
    let config = EngineConfig { debug: DebugMode::All, ..EngineConfig::default() };
    let (engine, _sink) = engine(executor, config);
    let version = engine.version(spec());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.shut_down().await;
    };
    let (a, b, ()) = tokio::join!(version.invoke(invocation("{}")), version.invoke(invocation("{}")), stop);
    assert!(matches!((a, b), (Err(InvokeError::ShuttingDown), Err(InvokeError::ShuttingDown))));
}

#[tokio::test(start_paused = true)]
async fn provisioned_environments_are_ready_first_and_replaced() {
    let config = EngineConfig { keep_alive: Duration::from_secs(2), ..EngineConfig::default() };
    let (engine, sink) = engine(slow(Duration::from_secs(1)), config);
    let version = engine.version(spec());
    version.provision(2);
    let all = ProvisionedConcurrency { requested: 2, allocated: 2, available: 2, failure: None };
    assert_eq!(version.provisioning().await, all);
    let reports = || sink.lines().iter().filter(|line| line.starts_with("INIT_REPORT ")).count();
    assert_eq!(reports(), 2);
    // Two are served by them, a third spills over.
    let calls = (0..3).map(|_| version.invoke(invocation("{}")));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    let kinds = |kind| engine.environments().iter().filter(|info| info.initialization_type == kind).count();
    assert_eq!(kinds(InitializationType::ProvisionedConcurrency), 2);
    assert_eq!(kinds(InitializationType::OnDemand), 1);
    // Keep-alive takes the one that spilled over, and only that.
    eventually("two are left", || engine.environments().len() == 2).await;
    let ids = || engine.environments().into_iter().map(|environment| environment.id).collect::<BTreeSet<_>>();
    let before = ids();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ids(), before);
    version.provision(1);
    eventually("one is left", || version.provisioned().allocated == 1).await;
    version.provision(3);
    assert_eq!(version.provisioning().await.available, 3);
    version.retire();
    eventually("none is left", || engine.environments().is_empty()).await;
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn provisioned_environments_that_cannot_start_are_told_and_not_tried_again() {
    let starts = Arc::new(AtomicUsize::new(0));
    let counter = starts.clone();
    let executor = FakeExecutor::new(move |mut runtime| {
        counter.fetch_add(1, SeqCst);
        async move {
            let kind = runtime.launch().initialization;
            if kind == InitializationType::ProvisionedConcurrency {
                return EXIT_0;
            }
            loop {
                let event = runtime.next().await;
                runtime.respond(&event.request_id, "{}").await;
            }
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    version.provision(1);
    // It waits while that one starts, and gets one on demand when it fails.
    assert_eq!(version.invoke(invocation("{}")).await.unwrap().outcome, Outcome::Success("{}".into()));
    let failure = version.provisioning().await.failure.unwrap();
    assert!(
        matches!(&failure, StartFailure::Init(text) if text.contains("Runtime exited without providing a reason"))
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(starts.load(SeqCst), 2);
    engine.shut_down().await;
}

#[test]
fn provisioned_environments_go_with_the_threads_that_they_ran_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.block_on(async {
        let (engine, _sink) = engine(FakeExecutor::echo(), EngineConfig::default());
        let version = engine.version(spec());
        version.provision(2);
        assert_eq!(version.provisioning().await.available, 2);
        version
    });
    drop(runtime);
    // Others in their place cannot begin, which is the end of it.
    assert_eq!(handle.provisioned().allocated, 0);
}

/// Callers come just when keep-alive passes: the race between the two is between who takes the token, so an invocation
/// is never cut and never lost.
#[tokio::test(start_paused = true)]
async fn keep_alive_never_ends_a_running_invocation() {
    let keep_alive = Duration::from_millis(50);
    let config = EngineConfig { keep_alive, ..EngineConfig::default() };
    let (engine, _sink) = engine(slow(Duration::from_millis(120)), config);
    let version = engine.version(spec());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8_u64 {
        let version = version.clone();
        callers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(caller);
            for _ in 0..200 {
                let outcome = version.invoke(invocation("{}")).await.unwrap().outcome;
                assert_eq!(outcome, Outcome::Success("1".into()), "not cut, and not started again");
                // Around the keep-alive and the reaper's interval, early and late.
                tokio::time::sleep(keep_alive + Duration::from_millis(random.u64(0..20))).await;
            }
        });
    }
    callers.join_all().await;
    assert!(engine.ended_environments().len() > 50, "many were stopped for idleness");
    engine.shut_down().await;
}
