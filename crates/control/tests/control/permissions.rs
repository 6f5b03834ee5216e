//! Policies of functions, versions and aliases.

use hothouse_control::ControlConfig;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, durable, service},
};

const RECORDED: &str = include_str!("recorded/permissions.json");

/// What AddPermission needs, with members of one's own.
fn permission(members: Value) -> Value {
    let mut permission =
        json!({ "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com" });
    for (name, value) in members.as_object().unwrap() {
        permission[name] = value.clone();
    }
    permission
}

async fn add(service: &Service, function: &str, members: Value) -> Answer {
    service.post(&format!("/{function}/policy"), permission(members)).await
}

async fn added(service: &Service, function: &str, members: Value) -> Value {
    let answer = add(service, function, members).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    parsed(answer.body, "Statement")
}

async fn policy(service: &Service, function: &str) -> Value {
    let answer = service.get(&format!("/{function}/policy")).await;
    assert_eq!(answer.status, 200, "{:#}", answer.body);
    parsed(answer.body, "Policy")
}

/// With a member's text as the JSON that it is, as in the recorded replies.
fn parsed(mut body: Value, member: &str) -> Value {
    let text: Value = serde_json::from_str(body[member].as_str().unwrap()).unwrap();
    body[member] = text;
    body
}

fn error(answer: &Answer) -> Value {
    json!({ "error": answer.error() })
}

#[tokio::test]
async fn policies_of_versions_and_aliases_live_as_recorded() {
    let service = service().await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "permissions_of_versions");
    let from_bucket = json!({ "SourceArn": "arn:aws:s3:::r" });
    scenario.check("add_permission", &added(&service, "f", from_bucket.clone()).await);
    scenario.check("get_policy", &policy(&service, "f").await);
    let revision = |body: &Value| json!({ "RevisionId": body["RevisionId"] });
    scenario.check("publish_version_result", &revision(&service.publish(json!({})).await.body));
    let latest = service.get("/f/configuration").await.body;
    scenario.check("get_function_result_after_publishing", &revision(&latest));
    scenario.check("get_policy_after_publishing_latest", &policy(&service, "f").await);
    let none = service.get("/f/policy?Qualifier=1").await;
    scenario.check("get_policy_after_publishing_new_version", &error(&none));
    added(&service, "f:1", from_bucket.clone()).await;
    scenario.check("get_policy_version", &policy(&service, "f:1").await);
    let alias = json!({ "Name": "permission-alias", "FunctionVersion": "1" });
    let created = service.post("/f/aliases", alias).await.body;
    scenario.check("create_alias_response", &created);
    scenario.check("get_alias", &service.get("/f/aliases/permission-alias").await.body);
    let on_alias = async |revision: &Value| {
        let members = json!({ "SourceArn": "arn:aws:s3:::r", "RevisionId": revision });
        service.post("/f/policy?Qualifier=permission-alias", permission(members)).await
    };
    let refused = on_alias(&json!("wrong")).await;
    scenario.check("add_permission_alias_revision_exception", &error(&refused));
    assert_eq!(on_alias(&created["RevisionId"]).await.status, 201);
    scenario.check("get_policy_alias", &policy(&service, "f:permission-alias").await);
    let unqualified = policy(&service, "f").await;
    scenario.check("get_policy_after_adding_to_new_version", &unqualified);
    let second = json!({
        "StatementId": "s3_2",
        "SourceArn": "arn:aws:s3:::r",
        "RevisionId": unqualified["RevisionId"],
    });
    added(&service, "f", second).await;
    scenario.check("get_policy_after_adding_2", &policy(&service, "f").await);
}

#[tokio::test]
async fn several_permissions_are_shown_in_the_order_of_adding() {
    let service = service().await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "several_permissions");
    for (name, id) in [("add_permission_response_1", "logs"), ("add_permission_response_2", "kinesis")] {
        let members = json!({ "StatementId": id, "Principal": format!("{id}.amazonaws.com") });
        scenario.check(name, &added(&service, "f", members).await);
    }
    scenario.check("policy_after_2_add", &policy(&service, "f").await);
}

#[tokio::test]
async fn permissions_that_aws_refuses_are_refused_in_its_words() {
    let service = service().await;
    service.created(json!({})).await;
    let mut scenario = Scenario::of(RECORDED, "permission_exceptions");
    let mut check = |name: &str, answer: Answer| scenario.check(name, &error(&answer));
    let none = json!({});
    let invalid_id = add(&service, "f", json!({ "StatementId": "example.com" })).await;
    check("add_permission_invalid_statement_id", invalid_id);
    let mismatch = service.post("/f:alias-not-42/policy?Qualifier=42", permission(none.clone())).await;
    check("add_permission_fn_qualifier_mismatch", mismatch);
    check("add_permission_fn_qualifier_latest", add(&service, "f:$LATEST", none.clone()).await);
    let nobody = json!({ "Principal": "invalid.nonaws.com", "SourceAccount": "123456789012" });
    check("add_permission_principal_invalid", add(&service, "f", nobody).await);
    check("get_policy_fn_doesnotexist", service.get("/doesnotexist/policy").await);
    check("get_policy_fn_version_doesnotexist", service.get("/f/policy?Qualifier=77").await);
    check("add_permission_fn_doesnotexist", add(&service, "doesnotexist", none.clone()).await);
    check("remove_permission_policy_doesnotexist", service.delete("/f/policy/s3").await);
    let missing = add(&service, "f:alias-doesnotexist", none.clone()).await;
    check("add_permission_fn_alias_doesnotexist", missing);
    let on = async |qualifier: &str| {
        service.post(&format!("/f/policy?Qualifier={qualifier}"), permission(json!({}))).await
    };
    check("add_permission_fn_version_doesnotexist", on("42").await);
    check("add_permission_fn_qualifier_invalid", on("invalid-qualifier-with-%3F-char").await);
    check("add_permission_fn_qualifier_valid_doesnotexist", on("valid-with-$-but-doesnotexist").await);
    added(&service, "f", none.clone()).await;
    check("add_permission_conflicting_statement_id", add(&service, "f", none).await);
    check("remove_permission_fn_doesnotexist", service.delete("/doesnotexist/policy/s3").await);
    let missing = service.delete("/f/policy/s3?Qualifier=alias-doesnotexist").await;
    check("remove_permission_fn_alias_doesnotexist", missing);
}

#[tokio::test]
async fn statements_are_written_as_aws_writes_them() {
    let service = service().await;
    service.created(json!({})).await;
    let cases = [
        (json!({ "Principal": "*" }), r#""*""#, ""),
        (json!({ "Principal": "111122223333" }), r#"{"AWS":"arn:aws:iam::111122223333:root"}"#, ""),
        (
            json!({ "Principal": "arn:aws:iam::111122223333:user/u" }),
            r#"{"AWS":"arn:aws:iam::111122223333:user/u"}"#,
            "",
        ),
        (
            json!({ "SourceArn": "arn:aws:s3:::bucket", "SourceAccount": "111122223333" }),
            r#"{"Service":"s3.amazonaws.com"}"#,
            r#","Condition":{"StringEquals":{"AWS:SourceAccount":"111122223333"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}"#,
        ),
        (
            json!({ "Principal": "alexa-appkit.amazon.com", "EventSourceToken": "amzn1.ask.skill.x" }),
            r#"{"Service":"alexa-appkit.amazon.com"}"#,
            r#","Condition":{"StringEquals":{"lambda:EventSourceToken":"amzn1.ask.skill.x"}}"#,
        ),
        (
            json!({ "Principal": "*", "PrincipalOrgID": "o-1234567890" }),
            r#""*""#,
            r#","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}"#,
        ),
        (
            json!({ "Principal": "*", "InvokedViaFunctionUrl": true }),
            r#""*""#,
            r#","Condition":{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}"#,
        ),
    ];
    for (index, (mut members, principal, conditions)) in cases.into_iter().enumerate() {
        members["StatementId"] = index.to_string().into();
        assert_eq!(
            add(&service, "f", members).await.text("Statement"),
            format!(
                r#"{{"Sid":"{index}","Effect":"Allow","Principal":{principal},"Action":"lambda:InvokeFunction","Resource":"{ARN}"{conditions}}}"#
            )
        );
    }
    let url = json!({
        "StatementId": "url",
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    });
    let url = added(&service, "f", url).await;
    assert_eq!(
        url["Statement"]["Condition"],
        json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } })
    );
    assert_eq!(
        add(&service, "f", json!({ "FunctionUrlAuthType": "NONE" })).await.error(),
        "400 InvalidParameterValueException: FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
    );
}

#[tokio::test]
async fn changes_of_a_policy_change_the_revision_of_what_it_is_on() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    for (path, function) in
        [("/f/configuration", "f"), ("/f:1/configuration", "f:1"), ("/f/aliases/live", "f:live")]
    {
        let before = service.get(path).await.body["RevisionId"].clone();
        let stale = json!({ "RevisionId": "5f5b8eb4-7b5e-4a0c-8d1e-8b3c5f9a0b11" });
        assert!(add(&service, function, stale).await.error().contains("Call the GetPolicy API"));
        added(&service, function, json!({ "RevisionId": before })).await;
        let with = service.get(path).await.body["RevisionId"].clone();
        assert_ne!(with, before, "{function}");
        assert_eq!(policy(&service, function).await["RevisionId"], with, "{function}");
        let remove = async |revision: &Value| {
            let revision = revision.as_str().unwrap();
            service.delete(&format!("/{function}/policy/s3?RevisionId={revision}")).await
        };
        assert!(remove(&before).await.error().starts_with("412 PreconditionFailedException"));
        assert_eq!(remove(&with).await.status, 204);
        assert_ne!(service.get(path).await.body["RevisionId"], with, "{function}");
        assert_eq!(
            service.get(&format!("/{function}/policy")).await.error(),
            "404 ResourceNotFoundException: The resource you requested does not exist."
        );
    }
}

#[tokio::test]
async fn removing_takes_one_statement_away() {
    let service = service().await;
    service.created(json!({})).await;
    for id in ["a", "b", "c"] {
        added(&service, "f", json!({ "StatementId": id })).await;
    }
    assert_eq!(
        service.delete("/f/policy/none").await.error(),
        "404 ResourceNotFoundException: Statement none is not found in resource policy."
    );
    assert_eq!(service.delete("/f/policy/b").await.status, 204);
    let left = policy(&service, "f").await;
    let ids: Vec<_> =
        left["Policy"]["Statement"].as_array().unwrap().iter().map(|one| one["Sid"].clone()).collect();
    assert_eq!(ids, ["a", "c"]);
}

#[tokio::test]
async fn policies_have_a_length_that_they_may_have() {
    let service = service().await;
    service.created(json!({})).await;
    let source = format!("arn:aws:s3:::{}", "x".repeat(9_000));
    for id in ["a", "b"] {
        added(&service, "f", json!({ "StatementId": id, "SourceArn": source })).await;
    }
    let length = service.get("/f/policy").await.text("Policy").len();
    let third = json!({ "StatementId": "c", "SourceArn": source });
    // Every statement but the first has a comma before it.
    let longer =
        length + (length - r#"{"Version":"2012-10-17","Id":"default","Statement":[]}"#.len() - 1) / 2 + 1;
    assert_eq!(
        add(&service, "f", third).await.error(),
        format!(
            "400 PolicyLengthExceededException: The final policy size ({longer}) is bigger than the limit (20480)."
        )
    );
    assert_eq!(service.get("/f/policy").await.text("Policy").len(), length);
}

#[tokio::test]
async fn policies_go_with_what_they_are_on() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    for function in ["f", "f:live", "f:1"] {
        added(&service, function, json!({})).await;
    }
    assert_eq!(service.delete("/f/aliases/live").await.status, 204);
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "$LATEST" })).await;
    assert_eq!(service.get("/f:live/policy").await.status, 404);
    assert_eq!(service.delete("/f").await.status, 204);
    service.created(json!({ "Publish": true })).await;
    for function in ["f", "f:1"] {
        assert_eq!(service.get(&format!("/{function}/policy")).await.status, 404, "{function}");
    }
}

#[tokio::test]
async fn policies_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({ "Publish": true })).await;
        added(&service, "f:1", json!({ "Principal": "*" })).await;
        service.control.shut_down().await;
        service.get("/f:1/policy").await.body
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(service.get("/f:1/policy").await.body, before);
}
