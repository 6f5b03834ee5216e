//! Function URLs: configurations, who is behind an id, and whom it lets in.

use bytes::Bytes;
use futures_util::StreamExt;
use hothouse_api::{RequestContext, generated::Operation, name::RequestId};
use hothouse_control::ControlConfig;
use hothouse_execution::{
    invocation::Outcome,
    response::{End, Part},
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, configured, durable, service},
};

const RECORDED: &str = include_str!("recorded/settings.json");

async fn call(service: &Service, method: Method, function: &str, body: Value) -> Answer {
    let (function, query) = function.split_once('?').unwrap_or((function, ""));
    service.call(method, &format!("/2021-10-31/functions/{function}/url?{query}"), body).await
}

async fn create(service: &Service, function: &str, body: Value) -> Answer {
    call(service, Method::POST, function, body).await
}

async fn update(service: &Service, function: &str, body: Value) -> Answer {
    call(service, Method::PUT, function, body).await
}

async fn get(service: &Service, function: &str) -> Answer {
    call(service, Method::GET, function, Value::Null).await
}

async fn delete(service: &Service, function: &str) -> Answer {
    call(service, Method::DELETE, function, Value::Null).await
}

async fn list(service: &Service, function: &str, query: &str) -> Answer {
    service.call(Method::GET, &format!("/2021-10-31/functions/{function}/urls?{query}"), Value::Null).await
}

fn none() -> Value {
    json!({ "AuthType": "NONE" })
}

/// The function `f` with an alias.
async fn with_alias(name: &str) -> Service {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": name, "FunctionVersion": "1" })).await;
    service
}

/// The id in a URL, and what follows it.
fn id(answer: &Answer) -> (String, String) {
    let url = answer.text("FunctionUrl").strip_prefix("http://").unwrap();
    let (id, host) = url.split_once('.').unwrap();
    (id.to_owned(), host.to_owned())
}

#[tokio::test]
async fn urls_live_as_recorded() {
    let service = service().await;
    service.created(json!({})).await;
    // The recording has a name of its own for the function.
    let recorded = RECORDED.replace("<resource:1>", "<function-name:1>");
    let mut scenario = Scenario::of(&recorded, "url_lifecycle");
    let created = create(&service, "f", none()).await;
    assert_eq!(created.status, 201);
    scenario.check("url_creation", &created.body);
    let again = create(&service, "f", none()).await;
    assert_eq!(again.status, 409);
    scenario.check("failed_duplication", &again.body);
    scenario.check("get_url_config", &get(&service, "f").await.body);
    let updated = update(&service, "f", json!({ "AuthType": "AWS_IAM" })).await;
    scenario.check("updated_url_config", &updated.body);
    assert_eq!(delete(&service, "f").await.status, 204);
    scenario.check("failed_getter", &get(&service, "f").await.body);
    scenario.all_checked();

    let (id, host) = id(&created);
    assert_eq!(host, "lambda-url.us-east-1.localhost:4566/");
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    assert!(id.len() == 32 && id.bytes().all(allowed), "{id}");
}

#[tokio::test]
async fn refusals_are_as_recorded() {
    let service = with_alias("urlalias").await;
    let mut scenario = Scenario::of(RECORDED, "url_exceptions");
    let nowhere = "arn:aws:lambda:us-east-1:123456789012:function:doesnotexist";
    let cases = [
        ("name_doesnotexist", "doesnotexist"),
        ("name_doesnotexist_qualifier", "doesnotexist?Qualifier=1"),
        ("arn_doesnotexist", nowhere),
        ("qualifier_version", "f?Qualifier=1"),
        ("qualifier_version_doesnotexist", "f?Qualifier=2"),
        ("qualifier_alias_doesnotexist", "f?Qualifier=doesnotexist"),
        ("qualifier_latest", "f?Qualifier=$LATEST"),
        ("qualifier_alias_doesnotmatch_arn", &format!("{ARN}:urlalias?Qualifier=other")),
        ("config_doesnotexist", "f"),
    ];
    for (name, function) in cases {
        if name != "config_doesnotexist" {
            let answer = create(&service, function, none()).await;
            scenario.check(&format!("create_function_url_config_{name}"), &answer.body);
        }
        let answer = update(&service, function, none()).await;
        scenario.check(&format!("update_function_url_config_{name}"), &answer.body);
        let answer = get(&service, function).await;
        scenario.check(&format!("get_function_url_config_{name}"), &answer.body);
        // AWS failed to answer this one.
        if name != "qualifier_alias_doesnotmatch_arn" {
            let answer = delete(&service, function).await;
            scenario.check(&format!("delete_function_url_config_{name}"), &answer.body);
        }
    }
    scenario.all_checked();
    let error = list(&service, "doesnotexist", "").await.error();
    assert_eq!(error, "404 ResourceNotFoundException: Function does not exist");
    let error = create(&service, "f", json!({ "AuthType": "NONE", "InvokeMode": "UNKNOWN" })).await.error();
    assert_eq!(
        error,
        "400 ValidationException: 1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy \
         constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"
    );
}

#[tokio::test]
async fn members_are_kept_and_shown_where_aws_shows_them() {
    let service = service().await;
    service.created(json!({})).await;
    let cors = json!({
        "AllowCredentials": true,
        "AllowHeaders": ["x-one"],
        "AllowMethods": ["GET", "*"],
        "AllowOrigins": ["https://example.com"],
        "ExposeHeaders": ["x-two"],
        "MaxAge": 86400,
    });
    let members = json!({ "AuthType": "AWS_IAM", "Cors": cors, "InvokeMode": "RESPONSE_STREAM" });
    let created = create(&service, "f", members).await.body;
    assert_eq!(created["Cors"], cors);
    assert_eq!(created["InvokeMode"], "RESPONSE_STREAM");
    assert_eq!(created.get("LastModifiedTime"), None);
    let got = get(&service, "f").await.body;
    assert_eq!(
        (&got["Cors"], &got["AuthType"], &got["InvokeMode"]),
        (&cors, &json!("AWS_IAM"), &json!("RESPONSE_STREAM"))
    );

    // What is not sent stays; what is sent replaces the old as a whole.
    let updated = update(&service, "f", json!({ "Cors": { "MaxAge": 1 } })).await.body;
    assert_eq!(updated["Cors"], json!({ "MaxAge": 1 }));
    assert_eq!((&updated["AuthType"], updated.get("InvokeMode")), (&json!("AWS_IAM"), None));
    assert_eq!(
        (&updated["CreationTime"], &updated["FunctionUrl"]),
        (&created["CreationTime"], &created["FunctionUrl"])
    );
    assert_eq!(get(&service, "f").await.body["InvokeMode"], "RESPONSE_STREAM");
    let updated = update(&service, "f", json!({ "InvokeMode": "BUFFERED" })).await.body;
    assert_eq!(updated["InvokeMode"], "BUFFERED");

    for (cors, member) in [
        (json!({ "MaxAge": 86401 }), "cors.maxAge"),
        (json!({ "AllowMethods": ["OPTIONS"] }), "cors.allowMethods"),
        (json!({ "AllowOrigins": [""] }), "cors.allowOrigins"),
        (json!({ "AllowHeaders": vec!["x"; 101] }), "cors.allowHeaders"),
    ] {
        let error = update(&service, "f", json!({ "Cors": cors })).await.error();
        assert!(error.starts_with("400 ValidationException") && error.contains(member), "{error}");
    }
}

#[tokio::test]
async fn each_alias_has_a_url_of_its_own() {
    let service = with_alias("a").await;
    service.post("/f/aliases", json!({ "Name": "b", "FunctionVersion": "1" })).await;
    let mut ids = Vec::new();
    for function in ["f?Qualifier=b", "f:a", "f"] {
        ids.push(id(&create(&service, function, none()).await));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let arns = |body: &Value| -> Vec<String> {
        let configs = body["FunctionUrlConfigs"].as_array().unwrap();
        configs.iter().map(|config| config["FunctionArn"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(&service, "f", "").await.body;
    assert_eq!(arns(&all), [ARN.to_owned(), format!("{ARN}:a"), format!("{ARN}:b")]);
    assert_eq!(all["FunctionUrlConfigs"][0], get(&service, "f").await.body);
    let mut seen = Vec::new();
    let mut marker = String::new();
    loop {
        let page = list(&service, "f", &format!("MaxItems=1{marker}")).await.body;
        seen.extend(arns(&page));
        let Some(next) = page["NextMarker"].as_str() else { break };
        marker = format!("&Marker={next}");
    }
    assert_eq!(seen, arns(&all));
    assert_eq!(
        list(&service, "f", "Marker=*").await.error(),
        "400 InvalidParameterValueException: Marker is invalid"
    );

    // It goes with its alias, and with its function.
    service.delete("/f/aliases/a").await;
    assert_eq!(get(&service, "f:a").await.status, 404);
    service.delete("/f").await;
    service.created(json!({})).await;
    assert_eq!(list(&service, "f", "").await.body, json!({ "FunctionUrlConfigs": [] }));
}

#[tokio::test]
async fn tag_names_the_url() {
    let service = service().await;
    service.created(json!({ "Publish": true, "Tags": { "_custom_id_": "my-id" } })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    service.post("/f/aliases", json!({ "Name": "Live", "FunctionVersion": "1" })).await;
    assert_eq!(id(&create(&service, "f", none()).await).0, "my-id");
    assert_eq!(id(&create(&service, "f:live", none()).await).0, "my-id-live");
    // What is no host's name, or another's, is not taken.
    assert_eq!(id(&create(&service, "f:Live", none()).await).0.len(), 32);
    service.created(json!({ "FunctionName": "g", "Tags": { "_custom_id_": "my-id" } })).await;
    assert_eq!(id(&create(&service, "g", none()).await).0.len(), 32);
    delete(&service, "f").await;
    delete(&service, "g").await;
    assert_eq!(id(&create(&service, "g", none()).await).0, "my-id");
}

#[tokio::test]
async fn urls_stay_in_their_account_and_region() {
    let mut service = service().await;
    service.created(json!({})).await;
    create(&service, "f", none()).await;
    service.region = "eu-west-1";
    assert_eq!(
        get(&service, ARN).await.error(),
        "404 ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    );
    service.created(json!({})).await;
    assert_eq!(get(&service, "f").await.status, 404);
    service.region = "us-east-1";
    service.account = "210987654321";
    service.created(json!({})).await;
    assert_eq!(get(&service, "f").await.status, 404);
    assert_eq!(get(&service, ARN).await.status, 403);
}

#[tokio::test]
async fn urls_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let before = {
        let service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({})).await;
        create(&service, "f", json!({ "AuthType": "NONE", "Cors": { "MaxAge": 1 } })).await;
        let before = get(&service, "f").await.body;
        service.control.shut_down().await;
        before
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(get(&service, "f").await.body, before);
}

// === who is behind an id, and whom it lets in ===

/// What calling a URL comes to: the function's name, or the refusal.
fn reach(service: &Service, url: &Answer, context: &RequestContext) -> String {
    let Some(found) = service.control.function_url(&id(url).0) else { return "unknown".to_owned() };
    match service.control.admit_to_url(&found, context) {
        Ok(()) => format!("{}/{}/{}", found.account(), found.region(), found.function()),
        Err(error) => error.to_string(),
    }
}

fn caller(account: &str, arn: Option<&str>) -> RequestContext {
    RequestContext {
        account: account.parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        operation: Some(Operation::Invoke),
        request_id: RequestId::random(),
        caller_arn: arn.map(str::to_owned),
        service: None,
        trace_id: None,
        trace: Default::default(),
        failed: Default::default(),
    }
}

async fn allow(service: &Service, function: &str, id: &str, principal: &str, auth_type: &str) {
    let body = json!({
        "StatementId": id,
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": principal,
        "FunctionUrlAuthType": auth_type,
    });
    let answer = service.post(&format!("/{function}/policy"), body).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
}

const FORBIDDEN: &str = "AccessDeniedException: Forbidden. For troubleshooting Function URL authorization issues, see: \
                         https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
const LET_IN: &str = "123456789012/us-east-1/f";

#[tokio::test]
async fn a_public_url_needs_a_public_statement() {
    let service = service().await;
    service.created(json!({})).await;
    let url = create(&service, "f", none()).await;
    let owner = caller("123456789012", None);
    assert_eq!(reach(&service, &url, &owner), FORBIDDEN, "not even its owner's account");
    for (id, principal, auth_type) in [("iam", "*", "AWS_IAM"), ("account", "123456789012", "NONE")] {
        allow(&service, "f", id, principal, auth_type).await;
        assert_eq!(reach(&service, &url, &owner), FORBIDDEN);
    }
    let other_action = json!({ "StatementId": "a", "Action": "lambda:InvokeFunction", "Principal": "*" });
    assert_eq!(service.post("/f/policy", other_action).await.status, 201);
    assert_eq!(reach(&service, &url, &owner), FORBIDDEN);
    allow(&service, "f", "none", "*", "NONE").await;
    assert_eq!(reach(&service, &url, &owner), LET_IN);
    assert_eq!(reach(&service, &url, &caller("999999999999", None)), LET_IN);
    service.delete("/f/policy/none").await;
    assert_eq!(reach(&service, &url, &owner), FORBIDDEN);
}

#[tokio::test]
async fn a_url_with_authentication_needs_a_word_on_other_accounts() {
    let service = service().await;
    service.created(json!({})).await;
    let url = create(&service, "f", json!({ "AuthType": "AWS_IAM" })).await;
    assert_eq!(reach(&service, &url, &caller("123456789012", None)), LET_IN);
    let user = caller("999999999999", Some("arn:aws:iam::999999999999:user/u"));
    let another = caller("999999999999", Some("arn:aws:iam::999999999999:user/v"));
    allow(&service, "f", "public", "*", "NONE").await;
    assert_eq!(reach(&service, &url, &user), FORBIDDEN);
    allow(&service, "f", "user", "arn:aws:iam::999999999999:user/u", "AWS_IAM").await;
    assert_eq!(reach(&service, &url, &user), LET_IN);
    assert_eq!(reach(&service, &url, &another), FORBIDDEN);
    allow(&service, "f", "account", "999999999999", "AWS_IAM").await;
    assert_eq!(reach(&service, &url, &another), LET_IN);
}

#[tokio::test]
async fn a_denial_binds_the_own_account_where_policies_do() {
    for (enforce_policies, expected) in [(false, LET_IN), (true, FORBIDDEN)] {
        let service = configured(ControlConfig { enforce_policies, ..ControlConfig::default() }).await;
        service.created(json!({})).await;
        let url = create(&service, "f", json!({ "AuthType": "AWS_IAM" })).await;
        let statement = json!({
            "Effect": "Deny",
            "Principal": "*",
            "Action": "lambda:InvokeFunctionUrl",
            "Resource": ARN,
            "Condition": { "StringEquals": { "lambda:FunctionUrlAuthType": "AWS_IAM" } },
        });
        let policy = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
        let path = format!("/2026-07-09/resource-policy/{}", ARN.replace(':', "%3A"));
        let answer = service.call(Method::PUT, &path, json!({ "Policy": policy })).await;
        assert_eq!(answer.status, 200, "{:#}", answer.body);
        assert_eq!(reach(&service, &url, &caller("123456789012", None)), expected);
    }
}

#[tokio::test]
async fn ids_lead_to_what_is_there_and_to_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let anyone = caller("999999999999", None);
    let urls = {
        let mut service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({ "Publish": true })).await;
        for name in ["a", "b"] {
            service.post("/f/aliases", json!({ "Name": name, "FunctionVersion": "1" })).await;
        }
        let mut urls = Vec::new();
        for function in ["f", "f:a", "f:b"] {
            urls.push(create(&service, function, none()).await);
            allow(&service, function, "s", "*", "NONE").await;
        }
        service.region = "eu-west-1";
        service.created(json!({})).await;
        urls.push(create(&service, "f", none()).await);
        allow(&service, "f", "s", "*", "NONE").await;
        service.region = "us-east-1";
        service.delete("/f/aliases/b").await;
        let expected = [LET_IN, LET_IN, FORBIDDEN, "123456789012/eu-west-1/f"];
        assert_eq!(urls.iter().map(|url| reach(&service, url, &anyone)).collect::<Vec<_>>(), expected);
        service.control.shut_down().await;
        urls
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    let called = |service: &Service| urls.iter().map(|url| reach(service, url, &anyone)).collect::<Vec<_>>();
    let elsewhere = "123456789012/eu-west-1/f";
    assert_eq!(called(&service), [LET_IN, LET_IN, FORBIDDEN, elsewhere]);
    // The URL of an alias that was is neither shown nor taken over by the next of its name.
    assert_eq!(get(&service, "f:b").await.status, 404);
    assert_eq!(delete(&service, "f:b").await.status, 404);
    assert_eq!(list(&service, "f", "").await.body["FunctionUrlConfigs"].as_array().unwrap().len(), 2);
    service.post("/f/aliases", json!({ "Name": "b", "FunctionVersion": "1" })).await;
    assert_eq!(get(&service, "f:b").await.status, 404);
    assert_eq!(called(&service), [LET_IN, LET_IN, "unknown", elsewhere]);
    assert_eq!(create(&service, "f:b", none()).await.status, 201);
    delete(&service, "f").await;
    assert_eq!(called(&service), ["unknown", LET_IN, "unknown", elsewhere]);
    service.delete("/f").await;
    assert_eq!(called(&service), ["unknown", "unknown", "unknown", elsewhere]);
}

#[tokio::test]
async fn a_url_invokes_what_it_is_of() {
    let service = with_alias("a").await;
    let url = create(&service, "f:a", none()).await;
    allow(&service, "f:a", "s", "*", "NONE").await;
    let found = service.control.function_url(&id(&url).0).unwrap();
    let context = caller("123456789012", None);
    let event = Bytes::from_static(b"{\"version\":\"2.0\"}");
    let outcome = service.control.invoke_url(&found, &context, event.clone()).await.unwrap();
    assert_eq!(outcome, Outcome::Success(event.clone()));
    assert!(context.trace.get().unwrap().starts_with("Root="));
    let answer = service.control.stream_url(&found, &context, event.clone()).await.unwrap();
    assert_eq!(answer.collect::<Vec<_>>().await, [Part::Chunk(event), Part::End(End::default())]);
    let large = Bytes::from(vec![b' '; 6_291_457]);
    let error = service.control.invoke_url(&found, &context, large.clone()).await.unwrap_err();
    assert_eq!(error.kind().status(), 413);
    let error = service.control.stream_url(&found, &context, large).await.unwrap_err();
    assert_eq!(error.kind().status(), 413);
}
