//! Environments and pools over scripted runtimes, on a paused clock.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use hothouse_execution::{
    EngineConfig,
    executor::fake::{EXIT_0, FakeExecutor, NoEntrypoint},
    fault::{Exit, ExitStatus},
    invocation::{InvokeError, Outcome},
};
use support::{engine, invocation, spec};
use tokio::time::Instant;

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Success(body) => format!("ok {}", String::from_utf8_lossy(body)),
        Outcome::Error(body) => format!("error {}", String::from_utf8_lossy(body)),
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_comes_back_from_the_handler() {
    let (engine, sink) = engine(FakeExecutor::echo(), EngineConfig::default());
    let version = engine.version(spec());
    let completed = version.invoke(invocation("{\"n\":1}")).await.unwrap();
    assert_eq!(completed.outcome, Outcome::Success(Bytes::from_static(b"{\"n\":1}")));
    assert_eq!(completed.log_tail, None);
    engine.shut_down().await;
    let lines = sink.lines();
    assert!(lines[0].starts_with("INIT_START Runtime Version: python:3.12.v1\t"), "{lines:?}");
    assert!(
        lines[1].starts_with("START RequestId: ") && lines[1].ends_with(" Version: $LATEST"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("END RequestId: "), "{lines:?}");
    assert!(lines[3].contains("\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: "), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn the_tail_holds_the_whole_invocation_up_to_its_report() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        runtime.print("during init\n");
        loop {
            let event = runtime.next().await;
            runtime.print("hello\nworld\n");
            runtime.respond(&event.request_id, "null").await;
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let mut invocation = invocation("{}");
    invocation.tail = true;
    let tail = version.invoke(invocation).await.unwrap().log_tail.unwrap();
    let lines: Vec<&str> = std::str::from_utf8(&tail).unwrap().lines().collect();
    assert!(lines[0].starts_with("START "), "{lines:?}");
    assert_eq!(lines[1..3], ["hello", "world"]);
    assert!(lines[3].starts_with("END ") && lines[4].starts_with("REPORT "), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn one_environment_serves_one_event_at_a_time_and_warm_ones_are_reused_last_in_first_out() {
    let starts = Arc::new(AtomicUsize::new(0));
    let counter = starts.clone();
    let executor = FakeExecutor::new(move |mut runtime| {
        let me = counter.fetch_add(1, SeqCst);
        async move {
            loop {
                let event = runtime.next().await;
                tokio::time::sleep(Duration::from_millis(if event.payload == "slow" { 200 } else { 100 }))
                    .await;
                runtime.respond(&event.request_id, me.to_string()).await;
            }
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let (slow, quick) = tokio::join!(version.invoke(invocation("slow")), version.invoke(invocation("quick")));
    let (slow, quick) = (text(&slow.unwrap().outcome), text(&quick.unwrap().outcome));
    assert_ne!(slow, quick);
    assert_eq!(starts.load(SeqCst), 2);
    // The slow one came back last, so it is taken first.
    assert_eq!(text(&version.invoke(invocation("quick")).await.unwrap().outcome), slow);
    assert_eq!(starts.load(SeqCst), 2);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_answers_once_and_the_environment_starts_again() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            if event.payload == "hang" {
                std::future::pending::<()>().await;
            }
            let starts = runtime.starts().to_string();
            runtime.respond(&event.request_id, starts).await;
        }
    });
    let (engine, sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let begun = Instant::now();
    let hung = invocation("hang");
    let id = hung.request_id;
    let outcome = version.invoke(hung).await.unwrap().outcome;
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(
        text(&outcome),
        format!(
            r#"error {{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {id} Error: Task timed out after 3.00 seconds"}}"#
        )
    );
    assert!(
        sink.lines().iter().any(|line| line.starts_with("REPORT ") && line.ends_with("Status: timeout\t"))
    );
    // The same environment, another process, though the first is not gone yet.
    assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), "ok 2");
    assert_eq!(engine.environments().len(), 1);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_the_answer_and_the_environment_starts_again() {
    for (status, sentence) in [
        (ExitStatus::Code(0), "Runtime exited without providing a reason"),
        (ExitStatus::Code(3), "Runtime exited with error: exit status 3"),
        (ExitStatus::Signal(9), "Runtime exited with error: signal: killed"),
    ] {
        let executor = FakeExecutor::new(move |mut runtime| {
            let status = status.clone();
            async move {
                let event = runtime.next().await;
                if runtime.starts() == 2 {
                    runtime.respond(&event.request_id, "2").await;
                    runtime.next().await;
                }
                Exit { status, out_of_memory: false }
            }
        });
        let (engine, _sink) = engine(executor, EngineConfig::default());
        let version = engine.version(spec());
        let answer = text(&version.invoke(invocation("{}")).await.unwrap().outcome);
        assert!(
            answer.starts_with(r#"error {"errorType":"Runtime.ExitError","#) && answer.contains(sentence),
            "{answer}"
        );
        assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), "ok 2");
        engine.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_error_keeps_the_environment_warm() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            let document = format!(r#"{{"starts":{}}}"#, runtime.starts());
            runtime.fail(&event.request_id, "Function.Oops", document).await;
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    for _ in 0..3 {
        assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), r#"error {"starts":1}"#);
    }
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_init_is_repeated_in_the_invocation_and_its_document_is_the_answer() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let document = format!(r#"{{"start":{}}}"#, runtime.starts());
        runtime.init_error("Runtime.ImportModuleError", document).await;
        Exit { status: ExitStatus::Code(1), out_of_memory: false }
    });
    let (engine, sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), r#"error {"start":2}"#);
    let report = sink.lines().into_iter().find(|line| line.starts_with("INIT_REPORT")).unwrap();
    assert!(
        report.ends_with("Phase: init\tStatus: error\tError Type: Runtime.ImportModuleError"),
        "{report}"
    );
    assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), r#"error {"start":3}"#);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn an_init_over_ten_seconds_is_repeated_under_the_functions_timeout() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let event = runtime.next().await;
        runtime.respond(&event.request_id, "late").await;
        EXIT_0
    });
    let (engine, sink) = engine(executor, EngineConfig::default());
    let mut patient = spec();
    patient.timeout = Duration::from_secs(60);
    let begun = Instant::now();
    assert_eq!(text(&engine.version(patient).invoke(invocation("{}")).await.unwrap().outcome), "ok late");
    assert_eq!(begun.elapsed().as_secs(), 22);
    assert!(sink.lines().iter().any(|line| line.starts_with("INIT_REPORT Init Duration: 1") && line.ends_with("Status: timeout")));
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_bootstrap_is_an_answer() {
    let (engine, _sink) = engine(NoEntrypoint, EngineConfig::default());
    let answer = text(&engine.version(spec()).invoke(invocation("{}")).await.unwrap().outcome);
    assert!(answer.contains(r#""errorType":"Runtime.InvalidEntrypoint""#), "{answer}");
    assert!(
        answer.contains("Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        "{answer}"
    );
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn calls_out_of_order_are_refused_as_the_runtime_interface_emulator_does() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let none = Bytes::new();
        assert_eq!(runtime.call("GET", "nonsense", &[], none.clone()).await.status(), 404);
        assert_eq!(runtime.call("POST", "invocation/next", &[], none.clone()).await.status(), 405);
        let event = runtime.next().await;
        let again = runtime.next().await;
        assert_eq!(event.request_id, again.request_id);
        let unknown = "00000000-0000-4000-8000-000000000000";
        let refused = runtime.call("POST", &format!("invocation/{unknown}/response"), &[], none).await;
        assert_eq!(refused.status(), 400);
        assert_eq!(
            refused.body(),
            "{\"errorMessage\":\"Invalid request ID\",\"errorType\":\"InvalidRequestID\"}\n"
        );
        assert_eq!(runtime.init_error("Runtime.X", "{}").await, 403);
        assert_eq!(runtime.respond(&event.request_id, "1").await, 202);
        assert_eq!(runtime.respond(&event.request_id, "2").await, 403);
        runtime.next().await;
        EXIT_0
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), "ok 1");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_over_the_limit_is_an_error_and_the_runtime_goes_on() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let event = runtime.next().await;
        assert_eq!(runtime.respond(&event.request_id, vec![b'x'; 6_291_557]).await, 413);
        let event = runtime.next().await;
        assert_eq!(runtime.respond(&event.request_id, vec![b'x'; 6_291_556]).await, 202);
        runtime.next().await;
        EXIT_0
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    assert_eq!(
        text(&version.invoke(invocation("{}")).await.unwrap().outcome),
        r#"error {"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}"#
    );
    let Outcome::Success(body) = version.invoke(invocation("{}")).await.unwrap().outcome else {
        panic!("an error")
    };
    assert_eq!(body.len(), 6_291_556);
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn keep_alive_ends_idle_environments_only() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            tokio::time::sleep(Duration::from_millis(2500)).await;
            runtime.respond(&event.request_id, "{}").await;
        }
    });
    let config = EngineConfig { keep_alive: Duration::from_secs(1), ..EngineConfig::default() };
    let (engine, _sink) = engine(executor, config);
    let version = engine.version(spec());
    // Longer than the keep-alive, and undisturbed.
    assert_eq!(text(&version.invoke(invocation("{}")).await.unwrap().outcome), "ok {}");
    assert_eq!(engine.environments().len(), 1);
    let gone = async {
        while !engine.environments().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), gone).await.expect("the idle environment is stopped");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_cancel_the_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let executor = FakeExecutor::new(move |mut runtime| {
        let counter = counter.clone();
        async move {
            loop {
                let event = runtime.next().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                counter.fetch_add(1, SeqCst);
                runtime.respond(&event.request_id, "{}").await;
            }
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    // Gone before there even is an environment.
    assert!(tokio::time::timeout(Duration::from_millis(1), version.invoke(invocation("{}"))).await.is_err());
    let run = async {
        while runs.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), run).await.expect("it runs all the same");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn retiring_a_version_finishes_what_runs_and_stops_the_rest() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            runtime.respond(&event.request_id, "{}").await;
        }
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let running = version.invoke(invocation("{}"));
    let retire = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        version.retire();
    };
    let (outcome, ()) = tokio::join!(running, retire);
    assert_eq!(text(&outcome.unwrap().outcome), "ok {}");
    assert!(matches!(version.invoke(invocation("{}")).await, Err(InvokeError::Retired)));
    let gone = async {
        while !engine.environments().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), gone).await.expect("its environment stops");
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn shutting_down_answers_who_waits_and_ends_every_environment() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let _event = runtime.next().await;
        std::future::pending().await
    });
    let (engine, _sink) = engine(executor, EngineConfig::default());
    let version = engine.version(spec());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.shut_down().await;
    };
    let (outcome, ()) = tokio::join!(version.invoke(invocation("{}")), stop);
    assert!(matches!(outcome, Err(InvokeError::ShuttingDown)));
    assert!(engine.environments().is_empty());
}

#[tokio::test]
async fn many_callers_and_rude_runtimes_lose_no_event_and_answer_each_once() {
    let (served, crashes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, crash_counter) = (served.clone(), crashes.clone());
    // Every 98th event of an environment ends its process.
    let executor = FakeExecutor::new(move |mut runtime| {
        let (counter, crash_counter) = (counter.clone(), crash_counter.clone());
        async move {
            for _ in 0..97 {
                let event = runtime.next().await;
                counter.fetch_add(1, SeqCst);
                runtime.respond(&event.request_id, event.payload).await;
            }
            runtime.next().await;
            counter.fetch_add(1, SeqCst);
            crash_counter.fetch_add(1, SeqCst);
            EXIT_0
        }
    });
    let config = EngineConfig { keep_alive: Duration::from_millis(20), ..EngineConfig::default() };
    let (engine, _sink) = engine(executor, config);
    let version = engine.version(spec());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16 {
        let version = version.clone();
        callers.spawn(async move {
            let mut crashed = 0;
            for n in 0..300 {
                let payload = format!("[{caller},{n}]");
                match version.invoke(invocation(payload.clone())).await.unwrap().outcome {
                    Outcome::Success(body) => assert_eq!(body, payload),
                    Outcome::Error(_) => crashed += 1,
                }
            }
            crashed
        });
    }
    let crashed: usize = callers.join_all().await.into_iter().sum();
    assert_eq!(served.load(SeqCst), 16 * 300);
    assert_eq!(crashed, crashes.load(SeqCst));
    engine.shut_down().await;
    assert!(engine.environments().is_empty());
}
