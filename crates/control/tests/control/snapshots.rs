//! Versions with SnapStart: what becomes of them when they are published, and what who invokes them is told.

use std::{path::Path, sync::Arc, time::Duration};

use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{MemoryStore, SqliteStore},
};
use hothouse_execution::{
    executor::fake::{EXIT_0, FakeExecutor, FakeRuntime},
    fault::Exit,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use crate::{
    events::PausedClock,
    support::{ARN, Answer, Service, open_at},
};

const NOT_READY: &str = "409 SnapStartNotReadyException: Lambda is initializing your function. It will be ready to \
                         invoke once your function state becomes ACTIVE.";

async fn started(executor: FakeExecutor) -> Service {
    let code = CodeStore::ephemeral(&std::env::temp_dir(), 1 << 20).unwrap();
    let config = ControlConfig::default();
    open_at(config, Arc::<MemoryStore>::default(), code, executor, PausedClock::new()).await
}

async fn durable(executor: FakeExecutor, directory: &Path) -> Service {
    let store = Arc::new(SqliteStore::open(&directory.join("state.db")).unwrap());
    let code = CodeStore::open(directory.join("code"), 1 << 20).unwrap();
    open_at(ControlConfig::default(), store, code, executor, PausedClock::new()).await
}

fn snap_start() -> Value {
    json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } })
}

async fn echo(mut runtime: FakeRuntime) -> Exit {
    loop {
        let event = runtime.next().await;
        runtime.respond(&event.request_id, event.payload).await;
    }
}

/// Functions whose INIT ends when it may.
fn gated() -> (watch::Sender<bool>, FakeExecutor) {
    let (open, gate) = watch::channel(false);
    let executor = FakeExecutor::new(move |mut runtime| {
        let mut gate = gate.clone();
        async move {
            let snap_start = runtime.launch().spec.snap_start;
            if snap_start && !runtime.is_forked() {
                gate.wait_for(|open| *open).await.unwrap();
                runtime.restore_next().await;
            }
            echo(runtime).await
        }
    });
    (open, executor.forking())
}

async fn shown(service: &Service, name: &str) -> Value {
    let configuration = service.get(&format!("/{name}/configuration")).await.body;
    json!([
        configuration["State"],
        configuration["StateReasonCode"],
        configuration["LastUpdateStatus"],
        configuration["SnapStart"]["OptimizationStatus"],
    ])
}

async fn invoke(service: &Service, name: &str) -> Answer {
    service.post(&format!("/{name}/invocations"), json!({ "n": 1 })).await
}

async fn settled(service: &Service, name: &str) -> Value {
    for _ in 0..10_000 {
        let shown = shown(service, name).await;
        if shown[0] != "Pending" {
            return shown;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is pending for ever")
}

#[tokio::test(start_paused = true)]
async fn a_version_is_active_when_its_snapshot_is_taken() {
    let (open, executor) = gated();
    let service = started(executor).await;
    service.created(snap_start()).await;
    let published = service.publish(json!({})).await;
    assert_eq!((published.text("State"), published.text("StateReasonCode")), ("Pending", "Creating"));
    assert_eq!(
        published.body["SnapStart"],
        json!({ "ApplyOn": "PublishedVersions", "OptimizationStatus": "Off" })
    );
    let alias = json!({ "Name": "live", "FunctionVersion": "1" });
    assert_eq!(service.post("/f/aliases", alias).await.status, 201);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(shown(&service, "f:1").await, json!(["Pending", "Creating", null, "Off"]));
    for name in ["f:1", "f:live"] {
        assert_eq!(invoke(&service, name).await.error(), NOT_READY);
    }
    // What is not published has nothing to do with it.
    assert_eq!(shown(&service, "f").await, json!(["Active", null, "Successful", "Off"]));
    assert_eq!(invoke(&service, "f").await.status, 200);

    open.send(true).unwrap();
    assert_eq!(settled(&service, "f:1").await, json!(["Active", null, "Successful", "On"]));
    for name in ["f:1", "f:live"] {
        let answer = invoke(&service, name).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({ "n": 1 })));
    }
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_whose_init_fails_has_failed_and_another_may_be_published() {
    let executor = || {
        FakeExecutor::new(|mut runtime| async move {
            if runtime.launch().spec.memory_mb == 128 {
                runtime.init_error("Runtime.ImportModuleError", "{}").await;
                return EXIT_0;
            }
            runtime.restore_next().await;
            echo(runtime).await
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let failed = json!(["Failed", "FunctionError", null, "Off"]);
    let refused = "409 ResourceConflictException: The operation cannot be performed at this time. The function is \
                   currently in the following state: Failed";
    {
        let service = durable(executor(), directory.path()).await;
        service.created(snap_start()).await;
        service.publish(json!({})).await;
        assert_eq!(settled(&service, "f:1").await, failed);
        assert_eq!(invoke(&service, "f:1").await.error(), refused);
        service.control.shut_down().await;
    }
    let service = durable(executor(), directory.path()).await;
    assert_eq!(shown(&service, "f:1").await, failed, "a restart changes nothing about it");
    service.update_configuration(json!({ "MemorySize": 256 })).await;
    service.publish(json!({})).await;
    assert_eq!(settled(&service, "f:2").await, json!(["Active", null, "Successful", "On"]));
    assert_eq!(invoke(&service, "f:2").await.status, 200);
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_was_begun_and_loses_no_version() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (_closed, executor) = gated();
        let service = durable(executor, directory.path()).await;
        service.created(snap_start()).await;
        service.publish(json!({})).await;
        assert_eq!(shown(&service, "f:1").await[0], "Pending");
        service.control.shut_down().await;
        service.engine.shut_down().await;
    }
    for first in [true, false] {
        let (open, executor) = gated();
        let service = durable(executor, directory.path()).await;
        assert_eq!(shown(&service, "f:1").await[0], if first { "Pending" } else { "Active" });
        open.send(true).unwrap();
        assert_eq!(settled(&service, "f:1").await, json!(["Active", null, "Successful", "On"]));
        assert_eq!(invoke(&service, "f:1").await.status, 200);
        service.control.shut_down().await;
        service.engine.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_environment_that_is_not_restored_is_told_why() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        if !runtime.is_forked() {
            runtime.restore_next().await;
        }
        if runtime.launch().spec.memory_mb == 128 {
            return EXIT_0;
        }
        sleep(Duration::from_secs(11)).await;
        echo(runtime).await
    });
    let service = started(executor.forking()).await;
    service.created(snap_start()).await;
    service.publish(json!({})).await;
    service.update_configuration(json!({ "MemorySize": 256 })).await;
    service.publish(json!({})).await;
    for (name, error) in [
        (
            "f:1",
            "400 SnapStartException: The afterRestore() runtime hook encountered an error. For more information, \
             check the Amazon CloudWatch logs.",
        ),
        (
            "f:2",
            "408 SnapStartTimeoutException: Lambda couldn't restore the snapshot within the timeout limit.",
        ),
    ] {
        assert_eq!(settled(&service, name).await[0], "Active");
        assert_eq!(invoke(&service, name).await.error(), error);
    }
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_version_leaves_no_environment() {
    let (open, executor) = gated();
    let service = started(executor).await;
    service.created(snap_start()).await;
    for number in ["1", "2"] {
        service.update_configuration(json!({ "Description": number })).await;
        assert_eq!(service.publish(json!({})).await.text("FunctionArn"), format!("{ARN}:{number}"));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.engine.environments().len(), 2, "one for each snapshot");
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 204, "while it is being taken");
    open.send(true).unwrap();
    assert_eq!(settled(&service, "f:2").await[0], "Active");
    assert_eq!(service.delete("/f").await.status, 204);
    for _ in 0..10_000 {
        if service.engine.environments().is_empty() {
            return service.control.shut_down().await;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("left: {:?}", service.engine.environments());
}
