//! Invoke.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hothouse_control::{ControlConfig, Limits, code::CodeStore, state::MemoryStore};
use hothouse_execution::executor::fake::FakeExecutor;
use http::Request;
use serde_json::{Value, json};

use crate::support::{ARN, Answer, FUNCTIONS, Service, configured, open, package, service};

/// Answers with what the environment was made of and what came with the event; with an error if the event says so.
async fn telling() -> Service {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            let payload: Value = serde_json::from_slice(&event.payload).unwrap();
            if payload["fail"] == true {
                runtime.fail(&event.request_id, "Oops", r#"{"errorType":"Oops","errorMessage":"no"}"#).await;
                continue;
            }
            let spec = &runtime.launch().spec;
            let header = |name: &str| event.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let told = json!({
                "version": spec.version,
                "memory": spec.memory_mb,
                "handler": spec.handler,
                "code": std::fs::read_to_string(spec.code.join("index.py")).unwrap(),
                "arn": header("lambda-runtime-invoked-function-arn"),
                "client": header("lambda-runtime-client-context"),
                "id": event.request_id,
            });
            runtime.print("a line\n");
            runtime.respond(&event.request_id, told.to_string()).await;
        }
    });
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    open(config, Arc::<MemoryStore>::default(), code, executor).await
}

async fn invoke(service: &Service, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method("POST").uri(format!("{FUNCTIONS}/{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.send(request.body("{}").unwrap()).await
}

#[tokio::test]
async fn invocation_reaches_the_version_that_is_meant() {
    let service = telling().await;
    service.created(json!({ "Code": { "ZipFile": package("one") }, "Publish": true })).await;
    service.update_code(json!({ "ZipFile": package("two"), "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    let cases = [
        ("f/invocations", "$LATEST", "two", ARN.to_owned()),
        ("f:$LATEST/invocations", "$LATEST", "two", format!("{ARN}:$LATEST")),
        ("f/invocations?Qualifier=1", "1", "one", format!("{ARN}:1")),
        ("123456789012:function:f:2/invocations", "2", "two", format!("{ARN}:2")),
        ("f:live/invocations", "1", "one", format!("{ARN}:live")),
    ];
    for (target, version, code, arn) in cases {
        let answer = invoke(&service, target, &[]).await;
        assert_eq!(answer.status, 200, "{target}: {:#}", answer.body);
        assert_eq!(answer.headers["x-amz-executed-version"], version, "{target}");
        assert_eq!(answer.headers["x-amzn-requestid"].to_str().unwrap(), answer.text("id"), "{target}");
        assert!(answer.headers.get("x-amz-function-error").is_none());
        assert_eq!(
            (answer.text("version"), answer.text("code"), answer.text("arn")),
            (version, code, arn.as_str())
        );
    }
    for (target, arn) in [
        ("f:none", format!("{ARN}:none")),
        ("f:9", format!("{ARN}:9")),
        ("g", "arn:aws:lambda:us-east-1:123456789012:function:g:$LATEST".into()),
    ] {
        let error = invoke(&service, &format!("{target}/invocations"), &[]).await.error();
        assert_eq!(error, format!("404 ResourceNotFoundException: Function not found: {arn}"));
    }
}

#[tokio::test]
async fn updates_reach_the_next_invocation() {
    let service = telling().await;
    service.created(json!({})).await;
    for memory in [256, 512] {
        service.update_configuration(json!({ "MemorySize": memory })).await;
        assert_eq!(invoke(&service, "f/invocations", &[]).await.body["memory"], memory);
    }
    service.delete("/f").await;
    service.created(json!({ "Handler": "other.handler" })).await;
    assert_eq!(invoke(&service, "f/invocations", &[]).await.text("handler"), "other.handler");
}

#[tokio::test]
async fn environments_survive_what_does_not_concern_them() {
    let service = telling().await;
    service.created(json!({})).await;
    invoke(&service, "f/invocations", &[]).await;
    let resource = format!("/2017-03-31/tags/{ARN}");
    service.call(http::Method::POST, &resource, json!({ "Tags": { "a": "b" } })).await;
    service.publish(json!({})).await;
    invoke(&service, "f/invocations", &[]).await;
    let environments = service.engine.environments();
    assert_eq!(environments.iter().map(|environment| environment.invocations).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn no_invocation_is_lost_while_its_version_is_replaced() {
    let service = telling().await;
    service.created(json!({})).await;
    let invocations = async {
        for _ in 0..200 {
            let answer = invoke(&service, "f/invocations", &[]).await;
            assert_eq!(answer.status, 200, "{:#}", answer.body);
        }
    };
    let updates = async {
        for index in 0..40 {
            let updated = service.update_code(json!({ "ZipFile": package(&index.to_string()) })).await;
            assert_eq!(updated.status, 200);
        }
    };
    tokio::join!(invocations, updates);
}

#[tokio::test]
async fn functions_errors_and_logs_come_back() {
    let service = telling().await;
    service.created(json!({})).await;
    let failed = service.post("/f/invocations", json!({ "fail": true })).await;
    assert_eq!((failed.status, failed.text("errorMessage")), (200, "no"));
    assert_eq!(failed.headers["x-amz-function-error"], "Unhandled");

    let context = BASE64_STANDARD.encode(r#"{"custom":{}}"#);
    let headers = [("x-amz-log-type", "Tail"), ("x-amz-client-context", context.as_str())];
    let answer = invoke(&service, "f/invocations", &headers).await;
    assert_eq!(answer.text("client"), r#"{"custom":{}}"#);
    let log = BASE64_STANDARD.decode(&answer.headers["x-amz-log-result"]).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(
        log.starts_with("START RequestId: ") && log.contains("\na line\n") && log.contains("\nREPORT "),
        "{log}"
    );

    let error = invoke(&service, "f/invocations", &[("x-amz-client-context", "{}")]).await.error();
    assert!(error.starts_with("400 InvalidRequestContentException: Client context"), "{error}");
}

#[tokio::test]
async fn dry_run_looks_but_does_not_run() {
    let service = service().await;
    service.created(json!({})).await;
    let dry = [("x-amz-invocation-type", "DryRun")];
    let answer = invoke(&service, "f/invocations", &dry).await;
    assert_eq!((answer.status, &answer.body), (204, &Value::Null));
    assert!(answer.headers.get("x-amz-executed-version").is_none());
    assert!(service.engine.environments().is_empty());
    assert!(
        invoke(&service, "g/invocations", &dry).await.error().starts_with("404 ResourceNotFoundException")
    );
}

#[tokio::test]
async fn what_is_not_built_yet_says_so() {
    let service = service().await;
    service.created(json!({})).await;
    let image = json!({
        "FunctionName": "image",
        "Runtime": null,
        "Handler": null,
        "PackageType": "Image",
        "Code": { "ImageUri": "repository:tag" },
    });
    service.created(image).await;
    for kind in ["RequestResponse", "Event"] {
        let headers = [("x-amz-invocation-type", kind)];
        let error = invoke(&service, "image/invocations", &headers).await.error();
        assert!(error.contains("PackageType Image"), "{error}");
    }
}

#[tokio::test]
async fn payload_has_a_limit() {
    let limits = Limits { request_payload: 10, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let payload = |length: usize| json!("x".repeat(length - 2));
    assert_eq!(service.post("/f/invocations", payload(10)).await.status, 200);
    assert_eq!(
        service.post("/f/invocations", payload(11)).await.error(),
        "413 RequestEntityTooLargeException: Request must be smaller than 10 bytes for the InvokeFunction operation"
    );
}

#[tokio::test]
async fn weighted_alias_sends_some_invocations_to_each_version() {
    let service = telling().await;
    service.created(json!({ "Publish": true })).await;
    service.update_code(json!({ "ZipFile": package("2"), "Publish": true })).await;
    let routing = |weight: f64| json!({ "AdditionalVersionWeights": { "2": weight } });
    let alias = json!({ "Name": "live", "FunctionVersion": "1", "RoutingConfig": routing(0.5) });
    service.post("/f/aliases", alias).await;
    let versions = async |count: usize| {
        let mut versions = std::collections::BTreeSet::new();
        for _ in 0..count {
            let answer = invoke(&service, "f:live/invocations", &[]).await;
            versions.insert(answer.headers["x-amz-executed-version"].to_str().unwrap().to_owned());
        }
        versions.into_iter().collect::<Vec<_>>()
    };
    // All to one side has a chance of one in 2^99.
    assert_eq!(versions(100).await, ["1", "2"]);
    for (weight, version) in [(0.0, "1"), (1.0, "2")] {
        service.put("/f/aliases/live", json!({ "RoutingConfig": routing(weight) })).await;
        assert_eq!(versions(20).await, [version]);
    }
}
