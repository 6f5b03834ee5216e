//! Versions that become `Inactive` as nobody invokes them.

use std::{path::Path, sync::Arc, time::Duration};

use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{MemoryStore, SqliteStore},
};
use hothouse_execution::executor::fake::FakeExecutor;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    events::PausedClock,
    support::{Service, open_at},
};

const IDLE: Duration = Duration::from_secs(60);
const CREATE: Duration = Duration::from_secs(5);

async fn started(config: ControlConfig) -> Service {
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    open_at(config, Arc::<MemoryStore>::default(), code, FakeExecutor::echo(), PausedClock::new()).await
}

async fn durable(config: ControlConfig, directory: &Path) -> Service {
    let store = Arc::new(SqliteStore::open(&directory.join("state.db")).unwrap());
    let code = CodeStore::open(directory.join("code"), config.limits.code_size_unzipped).unwrap();
    open_at(config, store, code, FakeExecutor::echo(), PausedClock::new()).await
}

fn config() -> ControlConfig {
    ControlConfig { idle_delay: IDLE, create_delay: CREATE, ..ControlConfig::default() }
}

fn attached() -> Value {
    json!({ "VpcConfig": { "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"] } })
}

async fn state(service: &Service, name: &str) -> (String, Value, Value) {
    let shown = service.get(&format!("/{name}/configuration")).await;
    (
        shown.text("State").into(),
        shown.body["StateReasonCode"].clone(),
        shown.body["LastUpdateStatus"].clone(),
    )
}

fn active() -> (String, Value, Value) {
    ("Active".into(), Value::Null, json!("Successful"))
}

fn inactive() -> (String, Value, Value) {
    ("Inactive".into(), json!("Idle"), json!("Successful"))
}

async fn invoke(service: &Service, name: &str) -> Result<(), String> {
    let answer = service.post(&format!("/{name}/invocations"), json!({})).await;
    if answer.status == 200 { Ok(()) } else { Err(answer.error()) }
}

#[tokio::test(start_paused = true)]
async fn idle_function_is_restored_by_an_invocation() {
    let service = started(config()).await;
    service.created(attached()).await;
    service.created(json!({ "FunctionName": "plain" })).await;
    sleep(IDLE / 2).await;
    assert_eq!(invoke(&service, "f").await, Ok(()));
    sleep(IDLE * 3 / 4).await;
    // It was invoked meanwhile.
    assert_eq!(state(&service, "f").await, active());
    sleep(IDLE / 2).await;
    assert_eq!(state(&service, "f").await, inactive());
    assert_eq!(state(&service, "plain").await, active());

    let pending = "409 ResourceConflictException: The operation cannot be performed at this time. The function is \
                   currently in the following state: Pending";
    for _ in 0..2 {
        assert_eq!(invoke(&service, "f").await, Err(pending.into()));
        let restoring = ("Pending".into(), json!("Restoring"), json!("Successful"));
        assert_eq!(state(&service, "f").await, restoring);
    }
    let busy = service.update_configuration(json!({ "Timeout": 4 })).await.error();
    assert!(busy.ends_with("'Pending'. StateReasonCode: 'Restoring'"), "{busy}");
    sleep(CREATE * 2).await;
    assert_eq!(state(&service, "f").await, active());
    assert_eq!(invoke(&service, "f").await, Ok(()));
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn states_of_idle_functions_survive() {
    let directory = tempfile::tempdir().unwrap();
    // Longer than any test.
    let config = ControlConfig { create_delay: Duration::from_secs(864_000), ..config() };
    let service = durable(config.clone(), directory.path()).await;
    service.created(attached()).await;
    service.control.shut_down().await;
    drop(service);
    let service = durable(config.clone(), directory.path()).await;
    // The store works in the machine's own time.
    while state(&service, "f").await != inactive() {
        sleep(Duration::from_millis(250)).await;
    }
    service.control.shut_down().await;
    drop(service);
    let service = durable(config.clone(), directory.path()).await;
    assert_eq!(state(&service, "f").await, inactive());
    assert!(invoke(&service, "f").await.is_err());
    assert_eq!(state(&service, "f").await.0, "Pending");
    service.control.shut_down().await;
    drop(service);
    // What was being restored is, and has not been idle since.
    let service = durable(config, directory.path()).await;
    assert_eq!(state(&service, "f").await, active());
    assert_eq!(invoke(&service, "f").await, Ok(()));
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn idle_function_is_refused_once_if_nothing_is_to_last() {
    let service = started(ControlConfig { create_delay: Duration::ZERO, ..config() }).await;
    service.created(attached()).await;
    sleep(IDLE * 2).await;
    assert_eq!(state(&service, "f").await, inactive());
    assert!(invoke(&service, "f").await.is_err());
    assert_eq!(invoke(&service, "f").await, Ok(()));
    // An update does the same.
    sleep(IDLE * 2).await;
    assert_eq!(state(&service, "f").await, inactive());
    assert_eq!(service.update_configuration(json!({ "Timeout": 4 })).await.text("State"), "Active");
    assert_eq!(invoke(&service, "f").await, Ok(()));
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_and_images_are_given_back_too() {
    let service = started(config()).await;
    service.created(json!({ "Publish": true, "SnapStart": { "ApplyOn": "PublishedVersions" } })).await;
    let image = json!({
        "FunctionName": "image", "PackageType": "Image", "Code": { "ImageUri": "repository:tag" },
        "Runtime": null, "Handler": null,
    });
    service.created(image).await;
    sleep(IDLE * 2).await;
    assert_eq!((state(&service, "f").await, state(&service, "f:1").await), (active(), inactive()));
    assert_eq!(state(&service, "image").await, inactive());
    assert_eq!(
        invoke(&service, "f:1").await.unwrap_err(),
        "409 SnapStartNotReadyException: Lambda is initializing your function. It will be ready to invoke once your \
         function state becomes ACTIVE."
    );
    service.control.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_idle_unless_it_is_wanted() {
    let service = started(ControlConfig::default()).await;
    service.created(attached()).await;
    sleep(IDLE * 10).await;
    assert_eq!(state(&service, "f").await, active());
}
