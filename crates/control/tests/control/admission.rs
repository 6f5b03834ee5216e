//! What may run at the same time, and how fast: by account and region, with and without a reservation.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hothouse_control::{
    ControlConfig, Limits,
    code::CodeStore,
    metrics::{Metric, Subject},
    state::MemoryStore,
};
use hothouse_execution::executor::fake::FakeExecutor;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Answer, Service, configured, open};

/// A control plane whose functions work until the gate is open.
async fn gated(limits: Limits) -> (Service, watch::Sender<bool>) {
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
    let config = ControlConfig { limits, ..ControlConfig::default() };
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    let service = open(config, Arc::<MemoryStore>::default(), code, executor).await;
    (service, sender)
}

fn few(concurrent_executions: u32) -> Limits {
    Limits { concurrent_executions, minimum_unreserved_concurrency: 0, ..Limits::default() }
}

async fn reserve(service: &Service, name: &str, executions: u32) {
    let path = format!("/2017-10-31/functions/{name}/concurrency");
    let body = json!({ "ReservedConcurrentExecutions": executions });
    assert_eq!(service.call(Method::PUT, &path, body).await.status, 200);
}

async fn invoke(service: &Service, name: &str) -> Answer {
    service.post(&format!("/{name}/invocations"), json!({})).await
}

/// How each of some invocations at once ended: `200`, or the reason why not. The gate is opened when all that are to be
/// refused have been.
async fn at_once(service: &Service, gate: &watch::Sender<bool>, names: &[&str]) -> Vec<String> {
    let running = || service.engine.running();
    let opened = async {
        // Whoever is refused is refused before it waits for anything.
        while running() == 0 {
            tokio::task::yield_now().await;
        }
        gate.send_replace(true);
    };
    let all = join_all(names.iter().map(|name| invoke(service, name)));
    let (answers, ()) = futures_util::future::join(all, opened).await;
    gate.send_replace(false);
    let told = |answer: &Answer| match answer.status {
        429 => answer.text("Reason").to_owned(),
        status => status.to_string(),
    };
    answers.iter().map(told).collect()
}

const ACCOUNT: &str = "ConcurrentInvocationLimitExceeded";
const RESERVED: &str = "ReservedFunctionConcurrentInvocationLimitExceeded";

#[tokio::test]
async fn functions_without_reservation_share_what_others_leave() {
    let (service, gate) = gated(few(5)).await;
    for name in ["f", "g", "h"] {
        service.created(json!({ "FunctionName": name })).await;
    }
    reserve(&service, "f", 3).await;
    let names = ["g", "h", "g", "f", "f", "f", "f"];
    let ended = at_once(&service, &gate, &names).await;
    assert_eq!(ended, ["200", "200", ACCOUNT, "200", "200", "200", RESERVED]);
    // The reservation goes, and with it its room.
    service.call(Method::DELETE, "/2017-10-31/functions/f/concurrency", Value::Null).await;
    let ended = at_once(&service, &gate, &["g", "h", "g", "f", "f", "f"]).await;
    assert_eq!(ended, ["200", "200", "200", "200", "200", ACCOUNT]);
    assert_eq!(service.counted(Metric::Throttles), 3.0);
}

#[tokio::test]
async fn accounts_and_regions_do_not_take_each_others_room() {
    let (service, gate) = gated(few(1)).await;
    let other = service.asked_by("999999999999", None);
    let elsewhere = Service { region: "eu-west-1", ..service.asked_by("123456789012", None) };
    let all = [&service, &other, &elsewhere];
    for service in all {
        service.created(json!({})).await;
    }
    let opened = async {
        while service.engine.running() < 3 {
            tokio::task::yield_now().await;
        }
        let refused: Vec<_> = join_all(all.map(|service| invoke(service, "f"))).await;
        gate.send_replace(true);
        refused.iter().map(|answer| answer.text("Reason").to_owned()).collect::<Vec<_>>()
    };
    let (ran, refused) =
        futures_util::future::join(join_all(all.map(|service| invoke(service, "f"))), opened).await;
    assert_eq!(ran.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200]);
    assert_eq!(refused, [ACCOUNT; 3]);
}

#[tokio::test]
async fn who_goes_away_gives_no_room_back() {
    let (service, gate) = gated(few(1)).await;
    service.created(json!({})).await;
    tokio::select! {
        _ = invoke(&service, "f") => panic!("it was not to end"),
        () = async {
            while service.engine.running() == 0 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    assert_eq!(invoke(&service, "f").await.text("Reason"), ACCOUNT, "the function still runs");
    gate.send_replace(true);
    while invoke(&service, "f").await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn invocations_come_ten_times_a_second_for_each_that_may_run() {
    let service = configured(ControlConfig { limits: few(2), ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let burst = async || {
        let mut answers = Vec::new();
        for _ in 0..12 {
            answers.push(invoke(&service, "f").await);
        }
        answers.into_iter().filter(|answer| answer.status == 429).collect::<Vec<_>>()
    };
    reserve(&service, "f", 1).await;
    let refused = burst().await;
    assert!(!refused.is_empty(), "eleven within a moment are too many");
    let first = &refused[0];
    assert_eq!(first.text("Reason"), "ReservedFunctionInvocationRateLimitExceeded");
    assert_eq!(first.headers["retry-after"], "1");
    // A second later they are let in again: time that is moved counts.
    service.control.timeline().advance(Duration::from_secs(1)).await.unwrap();
    assert_eq!(invoke(&service, "f").await.status, 200);
}

#[tokio::test]
async fn rate_may_be_switched_off() {
    let limits = Limits { invocation_rate: 0, ..few(1) };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    for _ in 0..30 {
        assert_eq!(invoke(&service, "f").await.status, 200);
    }
    // The last one's report may still be written.
    while service.counted(Metric::Invocations) < 30.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((service.counted(Metric::Errors), service.counted(Metric::Throttles)), (0.0, 0.0));
}

#[tokio::test]
async fn numbers_are_of_what_was_invoked() {
    let service = configured(ControlConfig::default()).await;
    service.created(json!({ "Publish": true })).await;
    service.update_configuration(json!({ "Description": "another" })).await;
    service.publish(json!({})).await;
    let weights = json!({ "AdditionalVersionWeights": { "2": 1.0 } });
    service
        .post("/f/aliases", json!({ "Name": "a", "FunctionVersion": "1", "RoutingConfig": weights }))
        .await;
    for path in ["/f/invocations", "/f/invocations?Qualifier=1", "/f/invocations?Qualifier=a"] {
        assert_eq!(service.post(path, json!({})).await.status, 200);
    }
    while service.counted(Metric::Invocations) < 3.0 {
        tokio::task::yield_now().await;
    }
    let samples = service.control.take_metrics();
    let mut subjects: Vec<_> = samples
        .iter()
        .filter(|sample| sample.metric == Metric::Duration)
        .map(|sample| match &sample.subject {
            Subject::Resource { qualifier, executed, .. } => format!(
                "{} {}",
                qualifier.as_ref().map(ToString::to_string).unwrap_or_default(),
                executed.map(|version| version.to_string()).unwrap_or_default()
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    subjects.sort();
    assert_eq!(subjects, [" ", "1 ", "a 2"]);
    let again = service.control.take_metrics();
    assert!(again.iter().all(|sample| sample.metric != Metric::Duration), "each value is given once");
    // What was counted goes with the function, when it has been taken.
    service.delete("/f").await;
    service.control.take_metrics();
    assert!(service.control.metrics().totals().iter().all(|total| total.subject == Subject::Account));
}
