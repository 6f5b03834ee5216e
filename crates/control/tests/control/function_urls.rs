//! Function URL configurations.

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    support::{ARN, Answer, Service, durable, service},
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
