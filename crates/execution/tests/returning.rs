//! Who invokes while an environment has answered and not yet asked for more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "nobody reads the logs here")]
mod support;

use std::{future::pending, time::Duration};

use futures_util::future::join_all;
use hothouse_execution::{
    Engine, EngineConfig, ScalingRate, VersionHandle,
    executor::fake::FakeExecutor,
    fault::{Exit, ExitStatus},
    invocation::{InvokeError, Outcome},
};
use support::{engine, invocation, spec};
use tokio::time::Instant;

/// Processes that work for the time that an event names, in milliseconds, and ask for the next one so much later.
fn pausing(pause: Duration) -> FakeExecutor {
    FakeExecutor::new(move |mut runtime| async move {
        // INIT takes longer than to wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        loop {
            let event = runtime.next().await;
            let work = std::str::from_utf8(&event.payload).unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(work)).await;
            runtime.respond(&event.request_id, event.payload).await;
            tokio::time::sleep(pause).await;
        }
    })
}

fn serving(executor: FakeExecutor, config: EngineConfig) -> (Engine, VersionHandle) {
    let (engine, _) = engine(executor, config);
    let handle = engine.version(spec());
    (engine, handle)
}

/// Takes so long, in milliseconds.
async fn invoke(handle: &VersionHandle, work: u64) -> u128 {
    let begun = Instant::now();
    let completed = handle.invoke(invocation(work.to_string())).await.unwrap();
    assert_eq!(completed.outcome, Outcome::Success(work.to_string().into()));
    begun.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn caller_who_comes_back_at_once_waits_for_the_environment_that_answered() {
    let (engine, handle) = serving(pausing(Duration::from_millis(2)), EngineConfig::default());
    invoke(&handle, 0).await;
    for _ in 0..50 {
        assert!(invoke(&handle, 0).await <= 3);
    }
    assert_eq!(engine.environments().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_as_there_are_environments_to_come_and_in_order() {
    let (engine, handle) = serving(pausing(Duration::from_millis(2)), EngineConfig::default());
    // Three environments, which answer at the same time.
    join_all((0..3).map(|_| invoke(&handle, 10))).await;
    let order = std::sync::Mutex::new(Vec::new());
    let took = join_all((0..4).map(async |number| {
        let took = invoke(&handle, number).await;
        order.lock().unwrap().push(number);
        took
    }))
    .await;
    assert!(took[..3].iter().all(|took| *took < 10), "{took:?}");
    // The fourth began to start one at once, and took what was free before that was.
    assert!(took[3] < 20, "{took:?}");
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
    assert_eq!(engine.environments().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn environment_that_does_not_come_back_is_waited_for_only_a_moment() {
    let (engine, handle) = serving(pausing(Duration::from_secs(1)), EngineConfig::default());
    invoke(&handle, 0).await;
    // In vain, and then for a start.
    let took = invoke(&handle, 0).await;
    assert!((105..115).contains(&took), "{took}");
    assert_eq!(engine.environments().len(), 2);
    // Neither is expected any more.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let took = invoke(&handle, 0).await;
    assert!((100..105).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_environment_that_crashes_gets_it_when_it_has_started_again() {
    let crashing = FakeExecutor::new(|mut runtime| async move {
        let event = runtime.next().await;
        runtime.respond(&event.request_id, event.payload).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        Exit { status: ExitStatus::Code(1), out_of_memory: false }
    });
    let (engine, handle) = serving(crashing, EngineConfig::default());
    for _ in 0..5 {
        assert!(invoke(&handle, 0).await < 5);
    }
    assert_eq!(engine.environments().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn starts_after_waiting_in_vain_count_and_are_not_refused() {
    let scaling = ScalingRate { burst: 2, period: Duration::from_secs(60) };
    let hanging = FakeExecutor::new(|mut runtime| async move {
        let event = runtime.next().await;
        runtime.respond(&event.request_id, event.payload).await;
        pending().await
    });
    let (_engine, handle) = serving(hanging, EngineConfig { scaling, ..EngineConfig::default() });
    invoke(&handle, 0).await;
    invoke(&handle, 0).await;
    // Waits for the second.
    invoke(&handle, 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let refused = handle.invoke(invocation("0")).await;
    assert!(matches!(refused, Err(InvokeError::ScalingTooFast { limit: 2 })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_where_there_is_no_room_is_next_in_line() {
    let (engine, handle) = serving(
        pausing(Duration::from_millis(500)),
        EngineConfig { environments: 1, ..EngineConfig::default() },
    );
    invoke(&handle, 0).await;
    let took = invoke(&handle, 0).await;
    assert!((495..510).contains(&took), "{took}");
    assert_eq!(engine.environments().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retired_version_serves_who_waits_for_an_environment_to_come_back() {
    let (_engine, handle) = serving(pausing(Duration::from_millis(2)), EngineConfig::default());
    invoke(&handle, 0).await;
    let waiting = invoke(&handle, 0);
    let retired = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        handle.retire();
    };
    let (took, ()) = futures_util::future::join(waiting, retired).await;
    assert!(took < 5);
}
