//! Runtime management and recursion: what is said once and then held to.

use hothouse_control::ControlConfig;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Answer, Service, durable, service};

const RUNTIME: &str =
    "arn:aws:lambda:us-east-1::runtime:07a48df201798d627f2b950f03bb227aab4a655a1d019c3296406f95937e2525";

async fn runtime(service: &Service, method: Method, function: &str, body: Value) -> Answer {
    let (function, query) = function.split_once('?').unwrap_or((function, ""));
    let path = format!("/2021-07-20/functions/{function}/runtime-management-config?{query}");
    service.call(method, &path, body).await
}

async fn recursion(service: &Service, method: Method, function: &str, body: Value) -> Answer {
    service.call(method, &format!("/2024-08-31/functions/{function}/recursion-config"), body).await
}

#[tokio::test]
async fn runtime_is_managed_version_by_version() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    let auto =
        |qualifier: &str| json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": format!("{ARN}:{qualifier}") });
    assert_eq!(runtime(&service, Method::GET, "f", Value::Null).await.body, auto("$LATEST"));
    let manual = json!({ "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME });
    let put = runtime(&service, Method::PUT, "f:1", manual).await;
    let shown = json!({
        "UpdateRuntimeOn": "Manual",
        "FunctionArn": format!("{ARN}:1"),
        "RuntimeVersionArn": RUNTIME,
    });
    assert_eq!((put.status, &put.body), (200, &shown));
    assert_eq!(runtime(&service, Method::GET, "f?Qualifier=1", Value::Null).await.body, shown);
    assert_eq!(
        runtime(&service, Method::GET, "f?Qualifier=$LATEST", Value::Null).await.body,
        auto("$LATEST")
    );
    let shown = async |function: &str| {
        let configuration = service.get(&format!("/{function}/configuration")).await.body;
        let whole = service.get(&format!("/{function}")).await.body;
        assert_eq!(whole["Configuration"], configuration);
        configuration["RuntimeVersionConfig"]["RuntimeVersionArn"].clone()
    };
    assert_eq!(shown("f:1").await, RUNTIME);
    assert_ne!(shown("f").await, RUNTIME);
    let update = json!({ "UpdateRuntimeOn": "FunctionUpdate" });
    let put = runtime(&service, Method::PUT, "f:1", update).await.body;
    assert_eq!(put, json!({ "UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": format!("{ARN}:1") }));
    assert_ne!(shown("f:1").await, RUNTIME);
}

#[tokio::test]
async fn runtime_management_that_makes_no_sense_is_refused() {
    let service = service().await;
    service.created(json!({ "Publish": true })).await;
    service.post("/f/aliases", json!({ "Name": "live", "FunctionVersion": "1" })).await;
    let invalid = "400 InvalidParameterValueException";
    let missing =
        "404 ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:123456789012:function";
    let aliases =
        format!("{invalid}: The provided function name {ARN}:live is invalid. Aliases are not allowed.");
    let elsewhere = RUNTIME.replace("us-east-1", "eu-west-1");
    let auto = json!({ "UpdateRuntimeOn": "Auto" });
    let cases = [
        ("f:live", auto.clone(), aliases.clone()),
        ("f?Qualifier=2", auto.clone(), format!("{missing}:f:2")),
        ("g", auto.clone(), format!("{missing}:g")),
        (
            "f:1?Qualifier=2",
            auto,
            format!("{invalid}: The derived qualifier from the function name does not match the specified qualifier."),
        ),
        (
            "f",
            json!({ "UpdateRuntimeOn": "Manual" }),
            format!("{invalid}: RuntimeVersionArn is required when UpdateRuntimeOn is Manual."),
        ),
        (
            "f",
            json!({ "UpdateRuntimeOn": "Auto", "RuntimeVersionArn": RUNTIME }),
            format!("{invalid}: RuntimeVersionArn can only be specified when UpdateRuntimeOn is Manual."),
        ),
        (
            "f",
            json!({ "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": elsewhere }),
            format!("{invalid}: The runtime version {elsewhere} does not exist in us-east-1."),
        ),
        (
            "f",
            json!({ "UpdateRuntimeOn": "Never" }),
            "400 ValidationException: 1 validation error detected: Value 'Never' at 'updateRuntimeOn' failed to \
             satisfy constraint: Member must satisfy enum value set: [Auto, Manual, FunctionUpdate]"
                .to_owned(),
        ),
    ];
    for (function, body, expected) in cases {
        let error = runtime(&service, Method::PUT, function, body).await.error();
        if expected.contains("enum value set") {
            // AWS's order of the values is its own.
            assert_eq!(error.split('[').next(), expected.split('[').next());
        } else {
            assert_eq!(error, expected);
        }
    }
    assert_eq!(runtime(&service, Method::GET, "f:live", Value::Null).await.error(), aliases);
    assert_eq!(runtime(&service, Method::GET, "g:1", Value::Null).await.error(), format!("{missing}:g:1"));
}

#[tokio::test]
async fn circles_are_broken_unless_allowed() {
    let service = service().await;
    let missing =
        "404 ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:123456789012:function:f";
    let allow = json!({ "RecursiveLoop": "Allow" });
    assert_eq!(recursion(&service, Method::GET, "f", Value::Null).await.error(), missing);
    assert_eq!(recursion(&service, Method::PUT, "f", allow.clone()).await.error(), missing);
    service.created(json!({})).await;
    let terminate = json!({ "RecursiveLoop": "Terminate" });
    assert_eq!(recursion(&service, Method::GET, "f", Value::Null).await.body, terminate);
    let put = recursion(&service, Method::PUT, "f", allow.clone()).await;
    assert_eq!((put.status, &put.body), (200, &allow));
    assert_eq!(recursion(&service, Method::GET, "f", Value::Null).await.body, allow);
    assert_eq!(recursion(&service, Method::PUT, "f", terminate.clone()).await.body, terminate);
    assert_eq!(recursion(&service, Method::GET, "f", Value::Null).await.body, terminate);
    assert_eq!(
        recursion(&service, Method::PUT, "f", json!({ "RecursiveLoop": "InvalidValue" })).await.error(),
        "400 ValidationException: 1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to \
         satisfy constraint: Member must satisfy enum value set: [Terminate, Allow]"
    );
    let qualified = recursion(&service, Method::GET, "f:1", Value::Null).await.error();
    assert!(qualified.starts_with("400 ValidationException"), "{qualified}");
}

#[tokio::test]
async fn both_stay_in_their_account_and_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let both = async |service: &Service| {
        let first = runtime(service, Method::GET, "f", Value::Null).await.body;
        [first, recursion(service, Method::GET, "f", Value::Null).await.body]
    };
    let before = {
        let mut service = durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({})).await;
        let defaults = both(&service).await;
        let manual = json!({ "UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME });
        runtime(&service, Method::PUT, "f", manual).await;
        recursion(&service, Method::PUT, "f", json!({ "RecursiveLoop": "Allow" })).await;
        let before = both(&service).await;
        service.account = "210987654321";
        service.created(json!({})).await;
        let theirs = both(&service).await;
        assert_eq!(theirs[0]["UpdateRuntimeOn"], defaults[0]["UpdateRuntimeOn"]);
        assert_eq!(theirs[1], defaults[1]);
        service.control.shut_down().await;
        before
    };
    let service = durable(ControlConfig::default(), directory.path()).await;
    assert_eq!(both(&service).await, before);
}
