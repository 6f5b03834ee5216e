//! Policies of functions, versions and aliases.

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, configured, durable, service},
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

fn resource_policy(arn: &str) -> String {
    format!("/2026-07-09/resource-policy/{}", arn.replace(':', "%3A").replace('/', "%2F"))
}

async fn put(service: &Service, arn: &str, policy: &Value, revision: Option<&str>) -> Answer {
    let mut body = json!({ "Policy": policy.to_string() });
    if let Some(revision) = revision {
        body["RevisionId"] = revision.into();
    }
    service.call(Method::PUT, &resource_policy(arn), body).await
}

/// A policy of one statement, with members of one's own; `null` takes one away.
fn one_statement(members: Value) -> Value {
    let mut statement = json!({
        "Sid": "a",
        "Effect": "Allow",
        "Principal": { "AWS": ["arn:aws:iam::999999999999:root", "arn:aws:iam::888888888888:role/r"] },
        "Action": ["lambda:InvokeFunction", "lambda:Get*"],
        "Resource": ARN,
    });
    for (name, value) in members.as_object().unwrap() {
        statement[name] = value.clone();
    }
    statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

#[tokio::test]
async fn whole_policies_are_put_shown_and_deleted() {
    let service = service().await;
    service.created(json!({})).await;
    let written = one_statement(json!({ "Condition": { "Bool": { "aws:SecureTransport": "true" } } }));
    let answer = put(&service, ARN, &written, None).await;
    assert_eq!((answer.status, answer.text("Policy")), (200, written.to_string().as_str()));
    let shown = service.call(Method::GET, &resource_policy(ARN), Value::Null).await;
    assert_eq!((shown.status, &shown.body), (200, &answer.body));
    let latest = service.get("/f/configuration").await;
    assert_eq!(latest.text("RevisionId"), answer.text("RevisionId"));

    let stale = put(&service, ARN, &written, Some("5f5b8eb4-7b5e-4a0c-8d1e-8b3c5f9a0b11")).await;
    assert!(stale.error().starts_with("412 PreconditionFailedException: The Revision Id provided does not"));
    let put_again = put(&service, ARN, &written, Some(answer.text("RevisionId"))).await;
    assert_eq!(put_again.status, 200);
    assert_ne!(put_again.text("RevisionId"), answer.text("RevisionId"));

    let delete = async |revision: &str| {
        let path = format!("{}?RevisionId={revision}", resource_policy(ARN));
        service.call(Method::DELETE, &path, Value::Null).await
    };
    assert!(delete(answer.text("RevisionId")).await.error().starts_with("412 PreconditionFailedException"));
    assert_eq!(delete(put_again.text("RevisionId")).await.status, 204);
    assert_eq!(
        service.call(Method::DELETE, &resource_policy(ARN), Value::Null).await.error(),
        "404 ResourceNotFoundException: No policy is associated with the given resource."
    );
    assert_eq!(
        service.call(Method::GET, &resource_policy(ARN), Value::Null).await.error(),
        "404 ResourceNotFoundException: The resource you requested does not exist."
    );
}

#[tokio::test]
async fn whole_policies_and_permissions_are_the_same_policy() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    added(&service, "f:1", json!({})).await;
    let arn = format!("{ARN}:1");
    let shown = async || service.call(Method::GET, &resource_policy(&arn), Value::Null).await.body;
    assert_eq!(shown().await, service.get("/f:1/policy").await.body);
    // It takes the place of what was there.
    let written = one_statement(json!({ "Resource": arn, "Sid": null }));
    assert_eq!(put(&service, &arn, &written, None).await.status, 200);
    assert_eq!(service.get("/f:1/policy").await.text("Policy"), written.to_string());
    added(&service, "f:1", json!({})).await;
    assert_eq!(shown().await, service.get("/f:1/policy").await.body);
    assert_eq!(policy(&service, "f:1").await["Policy"]["Statement"][1]["Sid"], "s3");
    assert_eq!(service.delete("/f:1/policy/s3").await.status, 204);
    assert_eq!(shown().await["Policy"], written.to_string());
    // The function as a whole has none.
    assert_eq!(service.get("/f/policy").await.status, 404);
}

#[tokio::test]
async fn whole_policies_are_followed() {
    let service = service().await;
    service.created(json!({})).await;
    assert_eq!(put(&service, ARN, &one_statement(json!({})), None).await.status, 200);
    let root = service.asked_by("999999999999", None);
    let role = service.asked_by("888888888888", Some("arn:aws:sts::888888888888:assumed-role/r/s"));
    let other = service.asked_by("888888888888", Some("arn:aws:sts::888888888888:assumed-role/q/s"));
    let path = format!("/{ARN}/configuration");
    for (caller, expected) in [(&root, 200), (&role, 200), (&other, 403)] {
        assert_eq!(caller.get(&path).await.status, expected);
    }
    assert_eq!(root.get(&format!("/{ARN}/versions")).await.status, 403);
    let mut written = one_statement(json!({ "Principal": "*" }));
    let denial = one_statement(json!({ "Sid": "no", "Effect": "Deny" }))["Statement"][0].clone();
    written["Statement"].as_array_mut().unwrap().push(denial);
    assert_eq!(put(&service, ARN, &written, None).await.status, 200);
    assert_eq!(
        root.get(&path).await.error(),
        format!(
            "403 AccessDeniedException: User: arn:aws:iam::999999999999:root is not authorized to perform: \
             lambda:GetFunctionConfiguration on resource: {ARN} with an explicit deny in a resource-based policy"
        )
    );
    assert_eq!(other.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_denial_is_for_the_own_account_only_if_that_is_wanted() {
    let denial = one_statement(json!({ "Effect": "Deny", "Principal": "*", "Action": "lambda:Invoke*" }));
    for (enforce_policies, expected) in [(false, 200), (true, 403)] {
        let service = configured(ControlConfig { enforce_policies, ..ControlConfig::default() }).await;
        service.created(json!({})).await;
        assert_eq!(put(&service, ARN, &denial, None).await.status, 200);
        assert_eq!(service.post("/f/invocations", json!({})).await.status, expected);
        assert_eq!(service.get("/f").await.status, 200);
    }
}

#[tokio::test]
async fn documents_that_are_no_policies_are_refused() {
    let service = service().await;
    service.created(json!({})).await;
    let with = |name: &str, value: Value| one_statement(json!({ name: value }));
    let documents = [
        json!([]),
        json!({ "Version": "2012-10-17" }),
        json!({ "Version": "2012-10-17", "Statement": [] }),
        json!({ "Version": "2012-10-17", "Statement": ["a"] }),
        json!({ "Version": "2012-10-18", "Statement": one_statement(json!({}))["Statement"] }),
        json!({ "Other": "a", "Statement": one_statement(json!({}))["Statement"] }),
        with("Effect", json!("allow")),
        with("Effect", Value::Null),
        with("Principal", Value::Null),
        with("Principal", json!("arn:aws:iam::999999999999:root")),
        with("Principal", json!({ "AWS": [] })),
        with("Principal", json!({ "AWS": "nobody" })),
        with("Principal", json!({ "Service": "s3.example.com" })),
        with("Principal", json!({ "Aws": "*" })),
        with("NotPrincipal", json!("*")),
        with("Action", json!("s3:GetObject")),
        with("Action", json!([])),
        with("Action", json!(1)),
        with("Resource", json!("arn:aws:lambda:us-east-1:123456789012:function:g")),
        with("Resource", Value::Null),
        with("Condition", json!({ "StringEqual": { "a": "b" } })),
        with("Sid", json!(1)),
        with("Extra", json!("a")),
    ];
    let refused = "400 InvalidParameterValueException: The policy document is not valid: ";
    for document in documents {
        let error = put(&service, ARN, &document, None).await.error();
        assert!(error.starts_with(refused), "{document}: {error}");
    }
    let mut twice = one_statement(json!({}));
    let first = twice["Statement"][0].clone();
    twice["Statement"].as_array_mut().unwrap().push(first);
    assert!(put(&service, ARN, &twice, None).await.error().ends_with("have the same Sid."));
    let no_json = service.call(Method::PUT, &resource_policy(ARN), json!({ "Policy": "{" })).await;
    assert_eq!(no_json.error(), format!("{refused}It is not JSON."));
    assert_eq!(service.get("/f/policy").await.status, 404);
}

#[tokio::test]
async fn whole_policies_are_for_functions_that_are_there() {
    let service = service().await;
    service.created(json!({})).await;
    let missing = "404 ResourceNotFoundException";
    let arn = |name: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    let policy = one_statement(json!({ "Resource": "*" }));
    for (name, expected) in [
        ("g", format!("{missing}: Function not found: {}", arn("g"))),
        ("f:7", format!("{missing}: Function not found: {}", arn("f:7"))),
        ("f:none", format!("{missing}: Cannot find alias arn: {}", arn("f:none"))),
        (
            "f:$LATEST",
            "400 InvalidParameterValueException: We currently do not support adding policies for $LATEST."
                .into(),
        ),
    ] {
        assert_eq!(put(&service, &arn(name), &policy, None).await.error(), expected);
    }
    let runtime = "arn:aws:lambda:us-east-1:123456789012:runtime/r";
    assert_eq!(
        service.call(Method::GET, &resource_policy(runtime), Value::Null).await.error(),
        format!("{missing}: The resource you requested does not exist.")
    );
    assert_eq!(
        put(&service, "arn:aws:lambda:eu-west-1:123456789012:function:f", &policy, None).await.error(),
        format!("{missing}: Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
    );
    let other = service.asked_by("999999999999", None);
    assert_eq!(put(&other, ARN, &policy, None).await.error(), "403 AccessDeniedException: null");
    let long = json!({ "Policy": " ".repeat(20_481) });
    let long = service.call(Method::PUT, &resource_policy(ARN), long).await.error();
    assert!(long.contains("Member must have length less than or equal to 20480"), "{long}");
}
