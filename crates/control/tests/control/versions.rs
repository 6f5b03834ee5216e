//! Publishing, beyond what is recorded.

use serde_json::json;

use crate::support::{ARN, package, service};

#[tokio::test]
async fn version_published_with_creation_is_shown_without_its_number_in_the_arn() {
    let service = service().await;
    let created = service.created(json!({ "Publish": true })).await;
    assert_eq!((created.text("Version"), created.text("FunctionArn")), ("1", ARN));
    assert_eq!(service.publish(json!({})).await.text("Version"), "1");
}

#[tokio::test]
async fn numbers_are_not_used_again() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    assert_eq!(service.delete("/f:2").await.status, 204);
    let published = service.publish(json!({})).await;
    assert_eq!(published.text("FunctionArn"), format!("{ARN}:3"));
    assert_eq!(
        service.delete("/f:2").await.error(),
        format!("404 ResourceNotFoundException: Function not found: {ARN}:2")
    );
}

#[tokio::test]
async fn published_versions_do_not_change() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let before = service.get("/f:1").await.body;
    service.update_configuration(json!({ "MemorySize": 256 })).await;
    service.update_code(json!({ "ZipFile": package("2") })).await;
    assert_eq!(service.get("/f:1").await.body, before);
    assert_eq!(service.get("/f/configuration").await.body["MemorySize"], 256);
}

#[tokio::test]
async fn code_that_the_caller_does_not_mean_is_not_published() {
    let service = service().await;
    let sha = service.created(json!({})).await.text("CodeSha256").to_owned();
    assert_eq!(
        service.publish(json!({ "CodeSha256": "other" })).await.error(),
        format!(
            "400 InvalidParameterValueException: CodeSHA256 (other) is different from current CodeSHA256 in $LATEST \
             ({sha}). Please try again with the CodeSHA256 in $LATEST."
        )
    );
    assert_eq!(service.publish(json!({ "CodeSha256": sha })).await.status, 201);
}

#[tokio::test]
async fn code_that_is_published_already_is_not_published_again() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let first = service.get("/f:1/configuration").await.body;
    let again = service.update_code(json!({ "ZipFile": package("1"), "Publish": true })).await;
    assert_eq!((again.status, again.text("FunctionArn")), (200, format!("{ARN}:1").as_str()));
    assert_eq!(again.body["RevisionId"], first["RevisionId"]);
    let other = service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    assert_eq!(other.text("Version"), "2");
    let back = service.update_code(json!({ "ZipFile": package("1"), "Publish": true })).await;
    assert_eq!(back.text("Version"), "3");
}

#[tokio::test]
async fn versions_come_in_pages_of_fifty() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    for timeout in 1..=50 {
        service.update_configuration(json!({ "Timeout": timeout })).await;
        service.publish(json!({})).await;
    }
    let page = service.get("/f/versions?MaxItems=10000").await.body;
    assert_eq!(page["Versions"].as_array().unwrap().len(), 50);
    let marker = page["NextMarker"].as_str().unwrap();
    let rest = service.get(&format!("/f/versions?Marker={marker}")).await.body;
    let numbers: Vec<_> = rest["Versions"].as_array().unwrap().iter().map(|v| v["Version"].clone()).collect();
    assert_eq!((numbers, rest.get("NextMarker")), (vec![json!("50"), json!("51")], None));
}
