//! Aliases, beyond what is recorded.

use serde_json::{Value, json};

use crate::support::{ARN, Service, package, service};

async fn with_two_versions() -> Service {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    service
}

fn alias(name: &str, version: &str, weights: Value) -> Value {
    json!({ "Name": name, "FunctionVersion": version, "RoutingConfig": { "AdditionalVersionWeights": weights } })
}

#[tokio::test]
async fn aliases_that_aws_refuses_are_refused_in_its_words() {
    let service = with_two_versions().await;
    assert_eq!(service.post("/f/aliases", alias("taken", "1", json!({}))).await.status, 201);
    let invalid = "400 InvalidParameterValueException";
    let missing = "404 ResourceNotFoundException: Function not found";
    let cases = [
        (
            alias("taken", "1", json!({})),
            format!("409 ResourceConflictException: Alias already exists: {ARN}:taken"),
        ),
        (alias("a", "10", json!({})), format!("{missing}: {ARN}:10")),
        (
            alias("a", "1", json!({ "1": 0.1, "2": 0.2 })),
            format!("{invalid}: Number of items in AdditionalVersionWeights cannot be greater than 1"),
        ),
        (
            alias("a", "1", json!({ "1": 0.5 })),
            format!(
                "{invalid}: Invalid function version 1. Function version 1 is already included in routing configuration."
            ),
        ),
        (
            alias("a", "$LATEST", json!({ "1": 0.5 })),
            format!("{invalid}: $LATEST is not supported for an alias pointing to more than 1 version"),
        ),
        (alias("a", "1", json!({ "7": 0.5 })), format!("{missing}: {ARN}:7")),
    ];
    for (alias, expected) in cases {
        assert_eq!(service.post("/f/aliases", alias).await.error(), expected);
    }
    let error = service.post("/g/aliases", alias("a", "1", json!({}))).await.error();
    assert_eq!(error, format!("{missing}: arn:aws:lambda:us-east-1:123456789012:function:g:1"));
}

#[tokio::test]
async fn unknown_aliases_have_a_word_for_each_operation() {
    let service = with_two_versions().await;
    let not_found = "404 ResourceNotFoundException";
    assert_eq!(
        service.get("/f/aliases/none").await.error(),
        format!("{not_found}: Cannot find alias arn: {ARN}:none")
    );
    assert_eq!(
        service.put("/f/aliases/none", json!({})).await.error(),
        format!("{not_found}: Alias not found: {ARN}:none")
    );
    assert_eq!(service.delete("/f/aliases/none").await.status, 204);
    assert_eq!(
        service.get("/f?Qualifier=none").await.error(),
        format!("{not_found}: Function not found: {ARN}:none")
    );
}

#[tokio::test]
async fn updates_keep_what_was_not_sent() {
    let service = with_two_versions().await;
    let created = service.post("/f/aliases", alias("live", "1", json!({ "2": 0.25 }))).await.body;
    let updated = service.put("/f/aliases/live", json!({ "Description": "d" })).await.body;
    assert_eq!(updated["RoutingConfig"], json!({ "AdditionalVersionWeights": { "2": 0.25 } }));
    assert_eq!(updated["Description"], "d");
    assert_ne!(updated["RevisionId"], created["RevisionId"]);
    let stale = json!({ "Description": "e", "RevisionId": created["RevisionId"] });
    assert!(
        service.put("/f/aliases/live", stale).await.error().starts_with("412 PreconditionFailedException")
    );
    let cleared = json!({ "RoutingConfig": { "AdditionalVersionWeights": {} }, "FunctionVersion": "2" });
    let cleared = service.put("/f/aliases/live", cleared).await.body;
    assert_eq!((cleared.get("RoutingConfig"), &cleared["FunctionVersion"]), (None, &json!("2")));
    assert_eq!(service.get("/f/aliases/live").await.body, cleared);
}

#[tokio::test]
async fn version_behind_an_alias_cannot_be_deleted() {
    let service = with_two_versions().await;
    service.post("/f/aliases", alias("live", "1", json!({ "2": 0.25 }))).await;
    for version in ["1", "2"] {
        assert_eq!(
            service.delete(&format!("/f:{version}")).await.error(),
            "409 ResourceConflictException: Unable to delete version because the following aliases reference it: [live]"
        );
    }
    assert_eq!(service.delete("/f/aliases/live").await.status, 204);
    assert_eq!(service.delete("/f:2").await.status, 204);
}

#[tokio::test]
async fn list_is_in_order_and_can_be_of_one_version() {
    let service = with_two_versions().await;
    for (name, version) in [("c", "1"), ("a", "2"), ("b", "1")] {
        service.post("/f/aliases", alias(name, version, json!({}))).await;
    }
    let names = async |query: &str| {
        let body = service.get(&format!("/f/aliases{query}")).await.body;
        body["Aliases"].as_array().unwrap().iter().map(|alias| alias["Name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["a", "b", "c"]);
    assert_eq!(names("?FunctionVersion=1").await, ["b", "c"]);
    assert_eq!(names("?MaxItems=1").await, ["a"]);
}

#[tokio::test]
async fn configuration_behind_an_alias_has_the_aliases_arn() {
    let service = with_two_versions().await;
    service.post("/f/aliases", alias("live", "1", json!({}))).await;
    let found = service.get("/f:live/configuration").await;
    assert_eq!((found.text("FunctionArn"), found.text("Version")), (format!("{ARN}:live").as_str(), "1"));
}
