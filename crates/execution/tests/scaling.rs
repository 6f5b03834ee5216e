//! How fast a function gets environments, and who gets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "nobody reads the logs here")]
mod support;

use std::time::Duration;

use futures_util::future::join_all;
use hothouse_execution::{
    EngineConfig, ScalingRate,
    executor::fake::FakeExecutor,
    invocation::{InvokeError, Outcome},
};
use support::{engine, invocation, spec};
use tokio::sync::watch;

/// Processes that work until the gate is open.
fn gated() -> (FakeExecutor, watch::Sender<bool>) {
    let (sender, receiver) = watch::channel(false);
    let executor = FakeExecutor::new(move |mut runtime| {
        let mut gate = receiver.clone();
        async move {
            loop {
                let event = runtime.next().await;
                gate.wait_for(|open| *open).await.unwrap();
                runtime.respond(&event.request_id, event.payload).await;
            }
        }
    });
    (executor, sender)
}

#[tokio::test(start_paused = true)]
async fn environments_come_as_fast_as_they_may() {
    let (executor, gate) = gated();
    let scaling = ScalingRate { burst: 3, period: Duration::from_secs(3) };
    let (engine, _) = engine(executor, EngineConfig { scaling, ..EngineConfig::default() });
    // Versions of one function share what it may have.
    let versions = [engine.version(spec()), engine.version(spec())];
    let invoke = |index: usize| versions[index % 2].invoke(invocation("{}"));
    let opened = async {
        while engine.environments().len() < 3 {
            tokio::task::yield_now().await;
        }
        gate.send_replace(true);
    };
    let (answers, ()) = futures_util::future::join(join_all((0..5).map(invoke)), opened).await;
    let refused =
        answers.iter().filter(|answer| matches!(answer, Err(InvokeError::ScalingTooFast { limit: 3 })));
    assert_eq!(refused.count(), 2);
    // Warm ones cost nothing of it.
    for _ in 0..10 {
        assert!(invoke(0).await.is_ok());
    }
    gate.send_replace(false);
    let held = join_all([invoke(0), invoke(0), invoke(0), invoke(0)]);
    let opened = async {
        // Two of the first version are warm, and a second gives one more.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let one_more = invoke(1);
        let next = invoke(1);
        gate.send_replace(true);
        (one_more.await.is_ok(), next.await.is_ok())
    };
    let (held, _) = futures_util::future::join(held, opened).await;
    assert_eq!(held.iter().filter(|answer| answer.is_ok()).count(), 2, "the warm ones");
}

#[tokio::test(start_paused = true)]
async fn who_waits_first_is_served_first() {
    let executor = FakeExecutor::new(move |mut runtime| async move {
        // INIT takes long, so that all of them wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        loop {
            let event = runtime.next().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            runtime.respond(&event.request_id, event.payload).await;
        }
    });
    let (engine, _) = engine(executor, EngineConfig::default());
    let handle = engine.version(spec());
    let ended = std::sync::Mutex::new(Vec::new());
    let wait = async |number: usize| {
        let completed = handle.invoke(invocation(number.to_string())).await.unwrap();
        assert_eq!(completed.outcome, Outcome::Success(number.to_string().into()));
        ended.lock().unwrap().push(number);
    };
    join_all((0..6).map(wait)).await;
    assert_eq!(*ended.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}
