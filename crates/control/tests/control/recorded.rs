//! Whole scenarios against what AWS answered to them.

use std::time::Duration;

use hothouse_control::ControlConfig;
use serde_json::json;

use crate::{
    scenario::Scenario,
    support::{configured, package, service},
};

/// Replies of AWS by scenario and name. Placeholders in angle brackets stand for what differs from run to run.
const RECORDED: &str = include_str!("recorded.json");

#[tokio::test]
async fn versions_live_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "version_lifecycle");
    scenario.check("create_response", &service.created(json!({ "Description": "No version :(" })).await.body);
    scenario.check("get_function_result", &service.get("/f").await.body);
    scenario.check("list_versions_result", &service.get("/f/versions").await.body);
    let update = |description| service.update_configuration(json!({ "Description": description }));
    scenario.check("first_update_response", &update("First version :)").await.body);
    // Between the two, AWS's function got a revision of its own.
    service.get("/f").await;
    let described = json!({ "Description": "First version description :)" });
    scenario.check("first_publish_response", &service.publish(described).await.body);
    scenario.check("first_publish_get_function", &service.get("/f?Qualifier=1").await.body);
    assert_eq!(update("Second version :))").await.status, 200);
    let second = service.publish(json!({})).await;
    assert_eq!(second.status, 201);
    scenario.check("second_publish_response", &second.body);
    let third = service.publish(json!({ "Description": "not a new one" })).await;
    assert_eq!(third.status, 201);
    scenario.check("third_publish_response", &third.body);
    assert_eq!(service.delete("/f?Qualifier=1").await.status, 204);
    let list = service.get("/f/versions").await.body;
    scenario.check("list_versions_result_after_deletion_of_first_version", &list);
}

#[tokio::test(start_paused = true)]
async fn publishing_with_an_update_is_as_recorded() {
    let delay = Duration::from_secs(10);
    let service = configured(ControlConfig { update_delay: delay, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "publish_with_update");
    let update = service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    scenario.check("update_function_code_result", &update.body);
    scenario.check("get_function_version_result", &service.get("/f?Qualifier=1").await.body);
    scenario.check("get_function_latest_result", &service.get("/f?Qualifier=$LATEST").await.body);
    let again = service.update_code(json!({ "ZipFile": package("3") })).await.error();
    assert_eq!(
        again,
        "409 ResourceConflictException: The operation cannot be performed at this time. An update is in progress for \
         resource: arn:aws:lambda:us-east-1:123456789012:function:f"
    );
    tokio::time::sleep(delay * 2).await;
    for qualifier in ["$LATEST", "1"] {
        let now = service.get(&format!("/f/configuration?Qualifier={qualifier}")).await;
        assert_eq!((now.text("State"), now.text("LastUpdateStatus")), ("Active", "Successful"));
    }
}

#[tokio::test]
async fn aliases_move_as_recorded() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let mut scenario = Scenario::of(RECORDED, "alias_moving");
    let create = service.post("/f/aliases", json!({ "Name": "alias1", "FunctionVersion": "1" })).await;
    scenario.check("create_alias_response", &create.body);
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    let update = service.put("/f/aliases/alias1", json!({ "FunctionVersion": "2" })).await;
    scenario.check("update_alias_response", &update.body);
}

#[tokio::test]
async fn log_format_switches_as_recorded() {
    let service = service().await;
    let members = json!({
        "Environment": { "Variables": {} },
        "MemorySize": 256,
        "Timeout": 5,
        "Handler": "handler.handler",
    });
    service.created(members).await;
    let mut scenario = Scenario::of(RECORDED, "logging_switch");
    let update = |format| service.update_configuration(json!({ "LoggingConfig": { "LogFormat": format } }));
    scenario.check("updated_config", &update("JSON").await.body);
    scenario.check("received_config", &service.get("/f/configuration").await.body);
    update("Text").await;
    scenario.check("received_config_v2", &service.get("/f/configuration").await.body);
}

#[tokio::test]
async fn images_are_described_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "image");
    let create = service
        .created(json!({
            "Runtime": null,
            "Handler": null,
            "PackageType": "Image",
            "Code": { "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo:latest" },
            "ImageConfig": { "EntryPoint": ["sh"], "Command": ["-c", "echo test"], "WorkingDirectory": "/app1" },
            "Environment": { "Variables": { "CUSTOM_ENV": "test" } },
        }))
        .await;
    scenario.check("create-image-with-config-response", &create.body);
    scenario.check("get-function-code-with-config-response", &service.get("/f").await.body);
    let update = service.update_configuration(json!({ "ImageConfig": {} })).await;
    scenario.check("update-function-code-delete-imageconfig-response", &update.body);
    let error = service.update_code(json!({ "ZipFile": package("1") })).await.error();
    assert_eq!(
        error,
        "400 InvalidParameterValueException: Please provide ImageUri when updating a function with packageType Image."
    );
}
