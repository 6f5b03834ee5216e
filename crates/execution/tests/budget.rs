//! More functions than there may be environments: who gets one, and who gives one up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "nobody reads the logs here")]
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{join, join_all};
use hothouse_execution::{
    Engine, EngineConfig, VersionHandle,
    executor::fake::FakeExecutor,
    invocation::{InvokeError, Outcome},
};
use support::{engine, invocation, spec};

/// Environments that answer with their number, after so much work.
fn working(duration: Duration) -> FakeExecutor {
    let environments = AtomicUsize::new(0);
    FakeExecutor::new(move |mut runtime| {
        let number = environments.fetch_add(1, Ordering::Relaxed);
        async move {
            loop {
                let event = runtime.next().await;
                tokio::time::sleep(duration).await;
                runtime.respond(&event.request_id, number.to_string()).await;
            }
        }
    })
}

fn limited(executor: FakeExecutor, environments: usize) -> Engine {
    engine(executor, EngineConfig { environments, ..EngineConfig::default() }).0
}

fn functions(engine: &Engine, count: usize) -> Vec<VersionHandle> {
    let named = |index: usize| {
        let mut spec = spec();
        spec.function_name = format!("f{index}").parse().unwrap();
        engine.version(spec)
    };
    (0..count).map(named).collect()
}

async fn invoke(function: &VersionHandle) -> String {
    match function.invoke(invocation("{}")).await.unwrap().outcome {
        Outcome::Success(answer) => String::from_utf8(answer.into()).unwrap(),
        Outcome::Error(document) => panic!("{document:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn least_recently_used_environment_gives_way() {
    let engine = limited(working(Duration::from_millis(1)), 3);
    let functions = functions(&engine, 4);
    for (function, environment) in [(0, "0"), (1, "1"), (2, "2"), (0, "0"), (3, "3"), (0, "0"), (2, "2")] {
        assert_eq!(invoke(&functions[function]).await, environment);
    }
    // The second function's was not used for longest.
    assert_eq!(invoke(&functions[1]).await, "4");
    assert_eq!(engine.budget().evicted, 2);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn many_functions_in_turn_have_no_more_environments_than_there_may_be() {
    let engine = limited(working(Duration::from_millis(1)), 10);
    let functions = functions(&engine, 100);
    for round in 0..2 {
        for function in &functions {
            invoke(function).await;
            // Those that gave way may be ending.
            let budget = engine.budget();
            assert!(budget.environments <= 10 + 32, "{budget:?} in round {round}");
        }
    }
    while engine.environments().len() > 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((engine.budget().environments, engine.budget().evicted), (10, 190));
    engine.shut_down().await;
    assert_eq!(engine.budget().environments, 0);
}

#[tokio::test(start_paused = true)]
async fn who_finds_all_at_work_waits_and_is_served_in_the_order_of_arrival() {
    let engine = limited(working(Duration::from_secs(1)), 2);
    let functions = functions(&engine, 3);
    let ended = Mutex::new(Vec::new());
    let order = [0, 1, 2, 0, 1, 1, 2, 0, 2, 0, 0, 1];
    let wait = async |number: usize| {
        // The two environments end half a second apart.
        tokio::time::sleep(Duration::from_millis(if number == 0 { 0 } else { 500 + number as u64 })).await;
        invoke(&functions[order[number]]).await;
        ended.lock().unwrap().push(number);
        assert!(engine.budget().environments <= 2 + 32);
    };
    join_all((0..order.len()).map(wait)).await;
    assert_eq!(*ended.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!((engine.running(), engine.budget().waiting), (0, 0));
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn busy_function_gives_environments_up_for_another_and_not_with_each_answer() {
    let engine = limited(working(Duration::from_millis(1)), 4);
    let functions = Arc::new(functions(&engine, 2));
    // Sixteen callers of the first function, who never pause, and one of the second.
    let calls = AtomicUsize::new(0);
    let done = tokio::sync::watch::channel(false);
    let caller = async || {
        while !*done.1.borrow() {
            invoke(&functions[0]).await;
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let other = async {
        while calls.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..20 {
            let before = calls.load(Ordering::Relaxed);
            invoke(&functions[1]).await;
            let overtaken = calls.load(Ordering::Relaxed) - before;
            // Four environments for a tenth of a second.
            assert!(overtaken < 500, "{overtaken} came before");
        }
        done.0.send_replace(true);
    };
    join(join_all((0..16).map(|_| caller())), other).await;
    let evicted = engine.budget().evicted;
    assert!((1..=40).contains(&evicted), "{evicted}");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn provisioned_environments_stay_and_one_on_demand_has_room_beside_them() {
    let engine = limited(working(Duration::from_millis(1)), 2);
    let functions = functions(&engine, 3);
    invoke(&functions[1]).await;
    functions[0].provision(3);
    assert_eq!(functions[0].provisioning().await.available, 3);
    for _ in 0..3 {
        for function in &functions {
            invoke(function).await;
        }
    }
    assert_eq!(functions[0].provisioned().available, 3);
    assert!(engine.budget().evicted >= 5, "{:?}", engine.budget());
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_told_when_the_service_ends_and_when_a_start_fails() {
    let engine = limited(working(Duration::from_secs(1000)), 1);
    let functions = functions(&engine, 2);
    let waiting = functions[1].invoke(invocation("{}"));
    let busy = functions[0].invoke(invocation("{}"));
    let ended = async {
        while engine.budget().waiting == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        engine.shut_down().await;
    };
    let ((busy, waiting), ()) = join(join(busy, waiting), ended).await;
    assert!(matches!(busy, Err(InvokeError::ShuttingDown)));
    assert!(matches!(waiting, Err(InvokeError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn deleted_function_answers_who_waits_for_room() {
    let engine = limited(working(Duration::from_secs(1)), 1);
    let mut functions = functions(&engine, 2);
    let deleted = functions.pop().unwrap();
    let busy = invoke(&functions[0]);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let answer = deleted.invoke(invocation("{}"));
        let retired = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            deleted.retire();
        };
        join(answer, retired).await.0
    };
    let (_, answer) = join(busy, waiting).await;
    assert!(answer.is_ok(), "{answer:?}");
    engine.shut_down().await;
}
