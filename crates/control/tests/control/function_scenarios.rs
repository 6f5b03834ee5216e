//! What AWS answered about single functions: updates, networks, images, code from S3.

use std::time::Duration;

use hothouse_control::ControlConfig;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{configured, package, service},
};

const RECORDED: &str = include_str!("recorded/functions.json");
const REPOSITORY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

fn image(repository: &str) -> String {
    format!("{REPOSITORY}/{repository}:latest")
}

fn image_function(members: Value) -> Value {
    let mut function = json!({
        "Runtime": null,
        "Handler": null,
        "PackageType": "Image",
        "Code": { "ImageUri": image("repo") },
        "Environment": { "Variables": { "CUSTOM_ENV": "test" } },
    });
    function.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    function
}

#[tokio::test]
async fn update_that_changes_nothing_is_an_update() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "redundant_updates");
    let created = service
        .created(json!({
            "Description": "Initial description",
            "Environment": { "Variables": {} },
            "Handler": "handler.handler",
            "Timeout": 30,
        }))
        .await;
    scenario.check("create_response", &created.body);
    let update = || service.update_configuration(json!({ "Description": "1st update description" }));
    scenario.check("first_update_result", &update().await.body);
    scenario.check("get_fn_config_result", &service.get("/f/configuration").await.body);
    scenario.check("get_fn_result", &service.get("/f").await.body);
    scenario.check("redundant_update_result", &update().await.body);
    scenario.check("get_fn_result_after_redundant_update", &service.get("/f").await.body);
}

#[tokio::test]
async fn networks_come_and_go_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "vpc");
    let network = |number: u32| {
        json!({
            "SubnetIds": [format!("subnet-{number}")], "SecurityGroupIds": [format!("sg-{number}")],
        })
    };
    let created = service
        .created(json!({
            "Environment": { "Variables": {} },
            "Handler": "handler.handler",
            "MemorySize": 256,
            "Timeout": 5,
            "VpcConfig": network(1),
        }))
        .await;
    scenario.check("create_response", &created.body);
    scenario.check("get_function_response", &service.get("/f").await.body);
    let moved = service.update_configuration(json!({ "VpcConfig": network(2) })).await.body;
    scenario.check("update_vpcconfig_update_response", &moved);
    scenario.check("update_vpcconfig_get_function_response", &service.get("/f").await.body);
    let none = json!({ "SubnetIds": [], "SecurityGroupIds": [] });
    let detached = service.update_configuration(json!({ "VpcConfig": none })).await.body;
    scenario.check("delete_vpcconfig_update_response", &detached);
    scenario.check("delete_vpcconfig_get_function_response", &service.get("/f").await.body);
}

#[tokio::test]
async fn images_live_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "image_crud");
    scenario.check("create-image-response", &service.created(image_function(json!({}))).await.body);
    scenario.check("get-function-code-response", &service.get("/f").await.body);
    scenario.check("get-function-config-response", &service.get("/f/configuration").await.body);
    let refused = service.update_code(json!({ "ZipFile": package("1") })).await;
    scenario.check("image-to-zipfile-error", &refused.body);
    let updated = service.update_code(json!({ "ImageUri": image("repo2") })).await;
    scenario.check("update-function-code-response", &updated.body);
    scenario.check("get-function-code-response-after-update", &service.get("/f").await.body);
    let after = service.get("/f/configuration").await;
    scenario.check("get-function-config-response-after-update", &after.body);
}

#[tokio::test]
async fn images_are_published_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "image_versions");
    let created = service.created(image_function(json!({ "Publish": true }))).await;
    scenario.check("create_image_response", &created.body);
    let before = service.get("/f").await.body;
    scenario.check("get_function_result", &before);
    scenario.check("list_versions_result", &service.get("/f/versions").await.body);
    let update = |description| service.update_configuration(json!({ "Description": description }));
    scenario.check("first_update_response", &update("Second version :)").await.body);
    scenario.check("first_update_get_function", &service.get("/f").await.body);
    let publish =
        |description, sha: &Value| service.publish(json!({ "Description": description, "CodeSha256": sha }));
    let described = "Second version description :)";
    let wrong = publish(described, &"a".repeat(64).into()).await;
    assert_eq!(wrong.status, 400);
    scenario.check("invalid_sha_publish", &wrong.body);
    let right = publish(described, &before["Configuration"]["CodeSha256"]).await;
    scenario.check("first_publish_response", &right.body);
    scenario.check("second_update_response", &update("Third version :)").await.body);
    scenario.check("second_update_get_function", &service.get("/f").await.body);
    let last = service.publish(json!({ "Description": "Third version description :)" })).await;
    scenario.check("second_publish_response", &last.body);
}

#[tokio::test]
async fn archives_do_not_become_images() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "zip_to_image");
    service.created(json!({ "Handler": "handler.handler" })).await;
    scenario.check("get-function-code-response", &service.get("/f").await.body);
    let refused = service.update_code(json!({ "ImageUri": image("repo") })).await;
    scenario.check("zipfile-to-image-error", &refused.body);
    scenario.check("get-function-code-response-after-update", &service.get("/f").await.body);
}

#[tokio::test]
async fn snapshots_are_switched_on_as_recorded() {
    let service = service().await;
    let mut scenario = Scenario::of(RECORDED, "snap_start_update");
    let members = json!({
        "Runtime": "java11", "Handler": "echo.Handler", "MemorySize": 1024, "Timeout": 5,
    });
    scenario.check("create_function_response", &service.created(members).await.body);
    let update = json!({ "SnapStart": { "ApplyOn": "PublishedVersions" } });
    scenario.check("update_function_response", &service.update_configuration(update).await.body);
}

#[tokio::test(start_paused = true)]
async fn code_comes_from_s3_as_recorded() {
    let delay = Duration::from_secs(10);
    let service = configured(ControlConfig { update_delay: delay, ..ControlConfig::default() }).await;
    let mut scenario = Scenario::of(RECORDED, "code_from_s3");
    let object = json!({ "S3Bucket": "bucket", "S3Key": "key" });
    let created = service.created(json!({ "Code": object })).await;
    scenario.check("create_response_s3", &created.body);
    scenario.check("get-function-response", &service.get("/f").await.body);
    let newer = json!({ "S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "newer" });
    scenario.check("update-function-response", &service.update_code(newer).await.body);
    scenario.check("get-function-response-updated", &service.get("/f").await.body);
}
