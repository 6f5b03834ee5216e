//! Extensions beside scripted runtimes, on a paused clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use hothouse_execution::{
    Engine, EngineConfig,
    executor::fake::{EXIT_0, FakeExecutor, FakeExtension, FakeRuntime, Order},
    fault::Exit,
    invocation::Outcome,
};
use serde_json::Value;
use support::{engine, invocation, spec};
use tokio::time::Instant;

/// Answers every event with how often its environment has started; hangs or ends if told to.
async fn runtime(mut runtime: FakeRuntime) -> Exit {
    loop {
        let event = runtime.next().await;
        match &event.payload[..] {
            b"hang" => pending().await,
            b"exit" => return EXIT_0,
            _ => {}
        }
        let starts = runtime.starts().to_string();
        runtime.respond(&event.request_id, starts).await;
    }
}

type Events = Arc<Mutex<Vec<Value>>>;

/// Notes all events, and ends when it is told to.
async fn listener(mut extension: FakeExtension, events: Events) -> Exit {
    extension.register(&["INVOKE", "SHUTDOWN"]).await;
    loop {
        let event = extension.next().await;
        let end = event["eventType"] == "SHUTDOWN";
        events.lock().unwrap().push(event);
        if end {
            return EXIT_0;
        }
    }
}

fn listening() -> (FakeExecutor, Events) {
    let events = Events::default();
    let noted = events.clone();
    let executor = FakeExecutor::new(runtime);
    (executor.with_extension("tool", move |extension| listener(extension, noted.clone())), events)
}

fn told(events: &Events) -> Vec<String> {
    let kind = |event: &Value| match event["shutdownReason"].as_str() {
        Some(reason) => reason.to_owned(),
        None => event["eventType"].as_str().unwrap().to_owned(),
    };
    events.lock().unwrap().iter().map(kind).collect()
}

async fn invoke(engine: &Engine, payload: &'static str) -> String {
    match engine.version(spec()).invoke(invocation(payload)).await.unwrap().outcome {
        Outcome::Success(body) => String::from_utf8(body.to_vec()).unwrap(),
        Outcome::Error(body) => {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let message = body["errorMessage"].as_str().unwrap().split_once("Error: ").unwrap().1;
            format!("{}: {message}", body["errorType"].as_str().unwrap())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_runtime_starts_when_all_have_registered() {
    let late = |mut extension: FakeExtension| async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        extension.register(&[]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        extension.next().await;
        pending().await
    };
    let (executor, _events) = listening();
    let (engine, sink) = engine(executor.with_extension("late", late), EngineConfig::default());
    let begun = Instant::now();
    assert_eq!(invoke(&engine, "1").await, "1");
    assert_eq!(begun.elapsed().as_secs(), 5, "and INIT ends when all ask for events");
    engine.shut_down().await;
    let lines = sink.lines();
    let states: Vec<_> = lines.iter().filter(|line| line.starts_with("EXTENSION")).collect();
    assert_eq!(
        states,
        [
            "EXTENSION\tName: tool\tState: Ready\tEvents: [INVOKE, SHUTDOWN]",
            "EXTENSION\tName: late\tState: Ready\tEvents: []"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn subscribers_hear_of_invocations_and_of_why_it_ends() {
    let (executor, events) = listening();
    let orders = executor.orders();
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let first = invocation("1");
    let id = first.request_id.to_string();
    version.invoke(first).await.unwrap();
    drop(version);
    engine.shut_down().await;
    assert_eq!(told(&events), ["INVOKE", "spindown"]);
    let event = events.lock().unwrap()[0].clone();
    assert_eq!(event["requestId"], id);
    assert_eq!(event["invokedFunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f");
    assert!(event["deadlineMs"].as_u64().unwrap() > 1_600_000_000_000 && event.get("tracing").is_none());
    assert_eq!(orders.lock().unwrap().iter().filter(|order| **order == Order::Terminate).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_and_a_crash_of_the_runtime_are_reasons() {
    let (executor, events) = listening();
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let run = async |payload: &'static str| match version.invoke(invocation(payload)).await.unwrap().outcome {
        Outcome::Success(body) | Outcome::Error(body) => String::from_utf8(body.to_vec()).unwrap(),
    };
    assert!(run("hang").await.contains("Sandbox.Timedout"));
    assert_eq!(run("1").await, "2");
    assert!(run("exit").await.contains("Runtime exited without providing a reason"));
    assert_eq!(run("1").await, "3");
    assert_eq!(told(&events), ["INVOKE", "timeout", "INVOKE", "INVOKE", "failure", "INVOKE"]);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_in_time_is_killed() {
    let stubborn = |mut extension: FakeExtension| async move {
        extension.register(&["SHUTDOWN"]).await;
        extension.next().await;
        pending().await
    };
    let deaf = |mut extension: FakeExtension| async move {
        extension.register(&["INVOKE"]).await;
        loop {
            extension.next().await;
        }
    };
    let executor =
        FakeExecutor::new(runtime).with_extension("stubborn", stubborn).with_extension("deaf", deaf);
    let orders = executor.orders();
    let (engine, _sink) =
        engine(executor.disobedient(), EngineConfig { freeze: false, ..EngineConfig::default() });
    invoke(&engine, "1").await;
    let begun = Instant::now();
    engine.shut_down().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    let orders = orders.lock().unwrap();
    let expected = [Order::Terminate, Order::KillRuntime, Order::KillExtension(1), Order::Kill];
    assert!(orders.windows(4).any(|some| some == expected), "{orders:?}");
}

#[tokio::test(start_paused = true)]
async fn an_invocation_ends_when_its_subscribers_are_done() {
    let slow = |mut extension: FakeExtension| async move {
        extension.register(&["INVOKE"]).await;
        loop {
            extension.next().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            extension.print("done\n");
        }
    };
    let executor = FakeExecutor::new(runtime).with_extension("slow", slow);
    let (engine, sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let begun = Instant::now();
    version.invoke(invocation("1")).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 0, "the caller does not wait for extensions");
    let mut tailed = invocation("1");
    tailed.tail = true;
    tokio::time::sleep(Duration::from_secs(2)).await;
    version.invoke(tailed).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 3, "but for a whole log");
    engine.shut_down().await;
    let kinds: Vec<_> =
        sink.lines().iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    assert_eq!(kinds[2..], ["START", "done", "END", "REPORT", "START", "done", "END", "REPORT"]);
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_with_an_extension_in_init_is_the_result_of_the_invocation() {
    type Script = fn(FakeExtension) -> futures_util::future::BoxFuture<'static, Exit>;
    let cases: [(Script, &str, &str); 3] = [
        (|_| Box::pin(async { EXIT_0 }), "Extension.Crash: exit code 0", "State: Started\tEvents: []"),
        (
            |mut extension| {
                Box::pin(async move {
                    extension.register(&["INVOKE"]).await;
                    extension.fail("init", "Tool.Bad").await;
                    EXIT_0
                })
            },
            "Extension.InitError: exit code 0",
            "State: InitError\tEvents: [INVOKE]\tError Type: Tool.Bad",
        ),
        (
            |mut extension| {
                Box::pin(async move {
                    extension.register(&[]).await;
                    extension.fail("init", "Tool.Lingers").await;
                    pending().await
                })
            },
            "Extension.InitError: Tool.Lingers",
            "State: InitError\tEvents: []\tError Type: Tool.Lingers",
        ),
    ];
    for (script, result, line) in cases {
        let executor = FakeExecutor::new(runtime).with_extension("tool", script);
        let (engine, sink) = engine(executor, EngineConfig::default());
        assert_eq!(invoke(&engine, "1").await, result);
        engine.shut_down().await;
        assert!(sink.lines().contains(&format!("EXTENSION\tName: tool\t{line}")), "{:?}", sink.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_an_invocation_is_its_result_and_the_next_starts_anew() {
    let crashing = |mut extension: FakeExtension| async move {
        extension.register(&["INVOKE", "SHUTDOWN"]).await;
        extension.next().await;
        if extension.starts() == 1 {
            extension.fail("exit", "Tool.Broke").await;
            return EXIT_0;
        }
        loop {
            extension.next().await;
        }
    };
    let executor = FakeExecutor::new(runtime).with_extension("tool", crashing);
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let outcome = version.invoke(invocation("hang")).await.unwrap().outcome;
    let Outcome::Error(body) = outcome else { panic!("{outcome:?}") };
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["errorType"], "Extension.ExitError");
    let next = version.invoke(invocation("1")).await.unwrap().outcome;
    assert_eq!(next, Outcome::Success("2".into()));
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn more_than_ten_are_refused() {
    let quiet = |mut extension: FakeExtension| async move {
        extension.register(&[]).await;
        extension.next().await;
        pending().await
    };
    let with = |count: usize| {
        let names = (0..count).map(|number| format!("e{number}"));
        names.fold(FakeExecutor::new(runtime), |executor, name| executor.with_extension(&name, quiet))
    };
    let (ten, _sink) = engine(with(10), EngineConfig::default());
    assert_eq!(invoke(&ten, "1").await, "1");
    ten.shut_down().await;
    let (eleven, sink) = engine(with(11), EngineConfig::default());
    assert_eq!(invoke(&eleven, "1").await, "Extension.LaunchError: ErrTooManyExtensions");
    eleven.shut_down().await;
    let line = "EXTENSION\tName: e10\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions";
    assert!(sink.lines().iter().any(|shown| shown == line), "{:?}", sink.lines());
}
