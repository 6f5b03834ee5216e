//! Versions that are not ready yet, and those whose package is gone.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{MemoryStore, SqliteStore},
};
use hothouse_execution::executor::{Created, Executor, Launch, StartError};
use serde_json::json;

use crate::support::{ARN, Answer, Service, configured, durable, open, package};

const CANNOT: &str = "409 ResourceConflictException: The operation cannot be performed at this time.";

async fn state_of(service: &Service, name: &str) -> (String, String) {
    let now = service.get(&format!("/{name}/configuration")).await;
    (now.text("State").to_owned(), now.text("LastUpdateStatus").to_owned())
}

fn active() -> (String, String) {
    ("Active".into(), "Successful".into())
}

/// Each operation that changes `$LATEST` or publishes it.
async fn every_change(service: &Service) -> [Answer; 3] {
    [
        service.update_code(json!({ "ZipFile": package("2") })).await,
        service.update_configuration(json!({ "Timeout": 4 })).await,
        service.publish(json!({})).await,
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_changes_while_a_function_is_created() {
    let delay = Duration::from_secs(5);
    let service = configured(ControlConfig { create_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let pending = format!(
        "{CANNOT} The resource {ARN} is currently in the following state: 'Pending'. StateReasonCode: 'Creating'"
    );
    for answer in every_change(&service).await {
        assert_eq!(answer.error(), pending);
    }
    let invoked = service.post("/f/invocations", json!({})).await;
    assert_eq!(
        invoked.error(),
        format!("{CANNOT} The function is currently in the following state: Pending")
    );
    tokio::time::sleep(delay * 2).await;
    for answer in every_change(&service).await {
        assert!(answer.status < 300, "{:#}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_changes_while_an_update_is_in_progress() {
    let delay = Duration::from_secs(5);
    let service = configured(ControlConfig { update_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let updated = service.update_configuration(json!({ "Timeout": 5 })).await;
    assert_eq!((updated.text("State"), updated.text("LastUpdateStatus")), ("Active", "InProgress"));
    assert_eq!(state_of(&service, "f").await, ("Active".into(), "InProgress".into()));
    for answer in every_change(&service).await {
        assert_eq!(answer.error(), format!("{CANNOT} An update is in progress for resource: {ARN}"));
    }
    assert_eq!(service.post("/f/invocations", json!({})).await.status, 200);
    tokio::time::sleep(delay * 2).await;
    assert_eq!(state_of(&service, "f").await, active());
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_the_end_if_they_are_to() {
    for delay in [Duration::ZERO, Duration::from_secs(5)] {
        let service = configured(ControlConfig {
            create_delay: delay,
            update_delay: delay,
            synchronous_create: true,
            ..ControlConfig::default()
        })
        .await;
        service.created(json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } })).await;
        for answer in every_change(&service).await {
            assert_eq!((answer.text("State"), answer.text("LastUpdateStatus")), ("Active", "Successful"));
            let name = answer.text("FunctionArn").strip_prefix(ARN).unwrap().to_owned();
            let now = service.get(&format!("/f{name}/configuration")).await;
            if !name.is_empty() {
                assert_eq!(now.text("RevisionId"), answer.text("RevisionId"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_function_is_not_ready_with_the_one_that_it_replaces() {
    let delay = Duration::from_secs(10);
    let service = configured(ControlConfig { create_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    tokio::time::sleep(delay / 2).await;
    assert_eq!(service.delete("/f").await.status, 204);
    service.created(json!({})).await;
    tokio::time::sleep(delay / 2 + Duration::from_secs(1)).await;
    assert_eq!(service.get("/f/configuration").await.text("State"), "Pending");
    tokio::time::sleep(delay).await;
    assert_eq!(service.get("/f/configuration").await.text("State"), "Active");
}

fn move_packages(directory: &Path, from: &str, to: &str) {
    for entry in fs::read_dir(directory.join(from)).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), directory.join(to).join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn functions_without_their_package_have_failed_until_it_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("away")).unwrap();
    {
        let service = durable(ControlConfig::default(), path).await;
        service.created(json!({ "Publish": true })).await;
        service.control.shut_down().await;
    }
    move_packages(path, "code", "away");
    {
        let service = durable(ControlConfig::default(), path).await;
        for name in ["f", "f:1"] {
            let now = service.get(&format!("/{name}/configuration")).await;
            assert_eq!((now.text("State"), now.text("LastUpdateStatus")), ("Failed", "Failed"));
            assert_eq!(now.text("StateReasonCode"), "InvalidZipFileException");
            let invoked = service.post(&format!("/{name}/invocations"), json!({})).await.error();
            assert!(invoked.starts_with("409 CodeArtifactUserFailedException"), "{invoked}");
        }
        let failed = format!(
            "{CANNOT} The resource {ARN} is currently in the following state: 'Failed'. StateReasonCode: \
             'InvalidZipFileException'"
        );
        assert_eq!(service.update_configuration(json!({ "Timeout": 4 })).await.error(), failed);
        assert_eq!(service.publish(json!({})).await.error(), failed);
        assert_eq!(service.update_code(json!({ "ZipFile": package("2") })).await.status, 200);
        assert_eq!(state_of(&service, "f").await, active());
        assert_eq!(state_of(&service, "f:1").await.0, "Failed");
        assert_eq!(service.post("/f/invocations", json!({})).await.status, 200);
        service.control.shut_down().await;
    }
    move_packages(path, "away", "code");
    let service = durable(ControlConfig::default(), path).await;
    assert_eq!(state_of(&service, "f:1").await, active());
}

/// Cannot start anything.
#[derive(Debug)]
struct Broken;

impl Executor for Broken {
    fn create(&self, _: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        let source = std::io::ErrorKind::NotFound.into();
        Box::pin(std::future::ready(Err(StartError::Machine { step: "mount", source })))
    }
}

#[tokio::test]
async fn function_fails_when_its_package_goes_while_the_service_runs() {
    let directory = tempfile::tempdir().unwrap();
    let code = CodeStore::open(directory.path().join("code"), 1 << 20).unwrap();
    let service = open(ControlConfig::default(), Arc::<MemoryStore>::default(), code, Broken).await;
    service.created(json!({})).await;
    let machine = service.post("/f/invocations", json!({})).await.error();
    assert!(machine.starts_with("500 ServiceException"), "{machine}");
    assert_eq!(state_of(&service, "f").await, active());
    fs::remove_dir_all(directory.path().join("code")).unwrap();
    let gone = service.post("/f/invocations", json!({})).await.error();
    assert!(gone.starts_with("409 CodeArtifactUserFailedException"), "{gone}");
    assert_eq!(state_of(&service, "f").await.0, "Failed");
}

#[tokio::test]
async fn failed_functions_can_be_deleted() {
    let directory = tempfile::tempdir().unwrap();
    {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({})).await;
        service.control.shut_down().await;
    }
    fs::remove_dir_all(directory.path().join("code")).unwrap();
    let store = Arc::new(SqliteStore::open(&directory.path().join("state.db")).unwrap());
    let code = CodeStore::open(directory.path().join("code"), 1 << 20).unwrap();
    let service = open(ControlConfig::default(), store, code, Broken).await;
    assert_eq!(service.get("/f/configuration").await.text("State"), "Failed");
    assert_eq!(service.delete("/f").await.status, 204);
    service.created(json!({})).await;
}
