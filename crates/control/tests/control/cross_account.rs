//! Who may reach the functions of another account, and what `--auth policies` adds.

use hothouse_api::context::ServiceCaller;
use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Answer, Service, configured, request, service};

const OTHER: &str = "999999999999";
const OTHER_ROOT: &str = "arn:aws:iam::999999999999:root";
const SESSION: &str = "arn:aws:sts::999999999999:assumed-role/r/session";

async fn allow(service: &Service, function: &str, members: Value) {
    let mut permission = json!({ "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": OTHER });
    for (name, value) in members.as_object().unwrap() {
        permission[name] = value.clone();
    }
    let added = service.post(&format!("/{function}/policy"), permission).await;
    assert_eq!(added.status, 201, "{:#}", added.body);
}

async fn invoke(service: &Service, function: &str) -> Answer {
    service.post(&format!("/{function}/invocations"), json!({})).await
}

fn refusal(user: &str, action: &str, resource: &str) -> String {
    format!(
        "403 AccessDeniedException: User: {user} is not authorized to perform: lambda:{action} on resource: {resource} \
         because no resource-based policy allows the lambda:{action} action"
    )
}

#[tokio::test]
async fn other_accounts_are_refused_in_aws_words() {
    let service = service().await;
    service.created(json!({})).await;
    let other = service.asked_by(OTHER, None);
    assert_eq!(invoke(&other, ARN).await.error(), refusal(OTHER_ROOT, "InvokeFunction", ARN));
    // Whether there is a function is not told.
    let none = "arn:aws:lambda:us-east-1:123456789012:function:none";
    assert_eq!(invoke(&other, none).await.error(), refusal(OTHER_ROOT, "InvokeFunction", none));
    let partial = invoke(&other, "123456789012:function:f").await;
    assert_eq!(partial.error(), refusal(OTHER_ROOT, "InvokeFunction", ARN));
    let session = service.asked_by(OTHER, Some(SESSION));
    let reading = session.get(&format!("/{ARN}/configuration?Qualifier=1")).await;
    assert_eq!(reading.error(), refusal(SESSION, "GetFunctionConfiguration", &format!("{ARN}:1")));
}

#[tokio::test]
async fn a_policy_opens_what_it_names_to_whom_it_names() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    allow(&service, "f:live", json!({})).await;
    let other = service.asked_by(OTHER, None);
    let live = format!("{ARN}:live");
    assert_eq!(invoke(&other, &live).await.status, 200);
    assert_eq!(other.post(&format!("/{ARN}/invocations?Qualifier=live"), json!({})).await.status, 200);
    for function in [ARN, &format!("{ARN}:1"), &format!("{ARN}:$LATEST")] {
        assert_eq!(invoke(&other, function).await.status, 403, "{function}");
    }
    let reading = other.get(&format!("/{live}/configuration")).await;
    assert_eq!(reading.error(), refusal(OTHER_ROOT, "GetFunctionConfiguration", &live));
    assert_eq!(invoke(&service.asked_by("888888888888", None), &live).await.status, 403);
    // A name alone is one's own function.
    assert_eq!(invoke(&other, "f:live").await.status, 404);
    assert_eq!(service.delete("/f/policy/s?Qualifier=live").await.status, 204);
    assert_eq!(invoke(&other, &live).await.status, 403);
}

#[tokio::test]
async fn principals_and_actions_are_compared_as_aws_does() {
    let user = "arn:aws:iam::999999999999:user/u";
    let cases = [
        (json!({ "Principal": "*" }), None, true),
        (json!({ "Principal": OTHER }), Some(user), true),
        (json!({ "Principal": OTHER_ROOT }), Some(SESSION), true),
        (json!({ "Principal": user }), Some(user), true),
        (json!({ "Principal": user }), None, false),
        (json!({ "Principal": SESSION }), Some(SESSION), true),
        (json!({ "Principal": "arn:aws:iam::999999999999:role/path/r" }), Some(SESSION), true),
        (json!({ "Principal": "arn:aws:iam::999999999999:role/path/q" }), Some(SESSION), false),
        (json!({ "Principal": "arn:aws:iam::888888888888:role/r" }), Some(SESSION), false),
        (json!({ "Principal": "s3.amazonaws.com" }), None, false),
        (json!({ "Action": "lambda:*" }), None, true),
        (json!({ "Action": "*" }), None, true),
        (json!({ "Action": "lambda:invokefunction" }), None, true),
        (json!({ "Action": "lambda:GetFunction" }), None, false),
        // No caller here is known to be of an organization, or to come for a resource.
        (json!({ "Principal": "*", "PrincipalOrgID": "o-1234567890" }), None, false),
        (json!({ "Principal": "*", "SourceArn": "arn:aws:s3:::b" }), None, false),
        (json!({ "Principal": "*", "InvokedViaFunctionUrl": true }), None, false),
    ];
    for (permission, caller, expected) in cases {
        let service = service().await;
        service.created(json!({})).await;
        allow(&service, "f", permission.clone()).await;
        let other = service.asked_by(OTHER, caller);
        let status = invoke(&other, ARN).await.status;
        assert_eq!(status, if expected { 200 } else { 403 }, "{permission} {caller:?}");
    }
}

#[tokio::test]
async fn what_is_allowed_happens_to_the_function_of_the_other_account() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    allow(&service, "f", json!({ "Action": "lambda:*" })).await;
    let other = service.asked_by(OTHER, None);
    other.created(json!({ "Description": "theirs" })).await;
    assert_eq!(other.get(&format!("/{ARN}/configuration")).await.text("FunctionArn"), ARN);
    let alias = other.post(&format!("/{ARN}/aliases"), json!({ "Name": "a", "FunctionVersion": "1" })).await;
    assert_eq!(alias.text("AliasArn"), format!("{ARN}:a"));
    assert_eq!(service.get("/f/aliases/a").await.status, 200);
    assert_eq!(other.get("/f/aliases/a").await.status, 404);
    assert_eq!(other.delete(&format!("/{ARN}")).await.status, 204);
    assert_eq!(service.get("/f").await.status, 404);
    assert_eq!(other.get("/f").await.status, 200);
}

#[tokio::test]
async fn operations_that_no_policy_can_allow_are_refused_without_a_message() {
    let service = service().await;
    service.created(json!({})).await;
    allow(&service, "f", json!({ "Action": "*" })).await;
    let other = service.asked_by(OTHER, None);
    let denied = "403 AccessDeniedException: null";
    assert_eq!(other.create(json!({ "FunctionName": ARN })).await.error(), denied);
    let configuration = other.put(&format!("/{ARN}/configuration"), json!({ "Timeout": 5 })).await;
    assert_eq!(configuration.error(), denied);
    let permission = json!({ "StatementId": "t", "Action": "lambda:*", "Principal": "*" });
    assert_eq!(other.post(&format!("/{ARN}/policy"), permission).await.error(), denied);
    assert_eq!(other.delete(&format!("/{ARN}/policy/s")).await.error(), denied);
}

#[tokio::test]
async fn regions_stay_apart_whatever_a_policy_says() {
    let service = service().await;
    service.created(json!({})).await;
    allow(&service, "f", json!({ "Principal": "*" })).await;
    let elsewhere = Service { region: "eu-west-1", ..service.asked_by(OTHER, None) };
    assert_eq!(
        invoke(&elsewhere, ARN).await.error(),
        "404 ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    );
}

fn bucket(source_arn: &str, source_account: &str) -> Option<ServiceCaller> {
    Some(ServiceCaller {
        principal: "s3.amazonaws.com".to_owned(),
        source_arn: Some(source_arn.to_owned()),
        source_account: Some(source_account.parse().unwrap()),
    })
}

#[tokio::test]
async fn services_need_a_policy_only_if_that_is_wanted() {
    let caller_service = bucket("arn:aws:s3:::b", OTHER);
    let lenient = service().await;
    lenient.created(json!({})).await;
    let s3 = Service { caller_service: caller_service.clone(), ..lenient.asked_by(lenient.account, None) };
    assert_eq!(invoke(&s3, "f").await.status, 200);

    let strict = configured(ControlConfig { enforce_policies: true, ..ControlConfig::default() }).await;
    strict.created(json!({})).await;
    let s3 = Service { caller_service, ..strict.asked_by(strict.account, None) };
    assert_eq!(invoke(&s3, "f").await.error(), refusal("s3.amazonaws.com", "InvokeFunction", ARN));
    let permission = json!({
        "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::b*",
        "SourceAccount": OTHER,
    });
    allow(&strict, "f", permission).await;
    assert_eq!(invoke(&s3, "f").await.status, 200);
    for caller_service in [bucket("arn:aws:s3:::c", OTHER), bucket("arn:aws:s3:::b", "888888888888")] {
        let s3 = Service { caller_service, ..strict.asked_by(strict.account, None) };
        assert_eq!(invoke(&s3, "f").await.status, 403);
    }
    let mut other = bucket("arn:aws:s3:::b", OTHER).unwrap();
    other.principal = "sns.amazonaws.com".to_owned();
    let sns = Service { caller_service: Some(other), ..strict.asked_by(strict.account, None) };
    assert_eq!(invoke(&sns, "f").await.error(), refusal("sns.amazonaws.com", "InvokeFunction", ARN));
    // Who is of the account needs none.
    assert_eq!(invoke(&strict, "f").await.status, 200);
}

#[tokio::test]
async fn no_input_makes_a_foreign_request_ours() {
    let service = service().await;
    service.created(json!({})).await;
    let other = service.asked_by(OTHER, None);
    let create = request(json!({ "FunctionName": "123456789012:function:g" }));
    assert_eq!(other.post("", create).await.status, 403);
    let listed = other.call(Method::GET, "/2015-03-31/functions/", Value::Null).await;
    assert_eq!(listed.body["Functions"], json!([]));
}
