//! Durable functions, and operations on executions that are not there.

use http::Method;
use serde_json::{Value, json};

use crate::support::{ARN, Service, service};

const EXECUTIONS: &str = "/2025-12-01/durable-executions";
const EXECUTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/id";
const CALLBACKS: &str = "/2025-12-01/durable-execution-callbacks";
const INVALID: &str = "400 InvalidParameterValueException";

fn encoded(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F").replace('+', "%2B")
}

async fn list(service: &Service, function: &str, query: &str) -> crate::support::Answer {
    let path = format!("/2025-12-01/functions/{function}/durable-executions{query}");
    service.call(Method::GET, &path, Value::Null).await
}

#[tokio::test]
async fn durable_functions_are_kept_and_shown() {
    let service = service().await;
    let created = service.created(json!({ "DurableConfig": { "ExecutionTimeout": 60 } })).await;
    let config = json!({ "ExecutionTimeout": 60, "RetentionPeriodInDays": 14 });
    assert_eq!(created.body["DurableConfig"], config);
    assert_eq!(service.get("/f/configuration").await.body["DurableConfig"], config);
    let update = json!({ "DurableConfig": {
        "RetentionPeriodInDays": 7,
        "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
    } });
    let updated = service.update_configuration(update).await.body;
    assert_eq!(
        updated["DurableConfig"],
        json!({
            "ExecutionTimeout": 60,
            "RetentionPeriodInDays": 7,
            "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        })
    );
    let without_key = json!({ "DurableConfig": { "KMSKeyArn": "", "ExecutionTimeout": 120 } });
    let updated = service.update_configuration(without_key).await.body;
    assert_eq!(updated["DurableConfig"], json!({ "ExecutionTimeout": 120, "RetentionPeriodInDays": 7 }));
    let published = service.publish(json!({})).await.body;
    assert_eq!(published["DurableConfig"], updated["DurableConfig"]);
    let kept = service.update_configuration(json!({ "Description": "d" })).await.body;
    assert_eq!(kept["DurableConfig"], updated["DurableConfig"]);
}

#[tokio::test]
async fn functions_become_durable_at_creation_only() {
    let service = service().await;
    let timeless = json!({ "DurableConfig": { "RetentionPeriodInDays": 7 } });
    assert_eq!(
        service.create(timeless).await.error(),
        format!(
            "{INVALID}: You cannot create a function with a durable configuration without an executionTimeout"
        )
    );
    service.created(json!({})).await;
    let late = service.update_configuration(json!({ "DurableConfig": { "ExecutionTimeout": 60 } })).await;
    assert!(late.error().starts_with(INVALID), "{:#}", late.body);
    assert_eq!(service.get("/f/configuration").await.body.get("DurableConfig"), None);
}

#[tokio::test]
async fn invocations_of_durable_functions_say_what_is_wrong() {
    let service = service().await;
    service.created(json!({ "DurableConfig": { "ExecutionTimeout": 60 } })).await;
    let unqualified = format!("{INVALID}: You cannot invoke a durable function using an unqualified ARN.");
    for path in ["/f/invocations", &format!("/{ARN}/invocations")] {
        assert_eq!(service.post(path, json!({})).await.error(), unqualified);
    }
    for path in ["/f/invocations?Qualifier=$LATEST", &format!("/{ARN}:$LATEST/invocations")] {
        assert_eq!(
            service.post(path, json!({})).await.error(),
            "501 NotImplementedException: Hothouse does not run durable functions (DurableConfig) yet: nothing here keeps \
             durable executions. To run the code as a plain function, create the function without DurableConfig."
        );
    }
}

#[tokio::test]
async fn executions_that_are_not_there_are_not_found() {
    let service = service().await;
    service.created(json!({ "Publish": true, "DurableConfig": { "ExecutionTimeout": 60 } })).await;
    let missing = format!("404 ResourceNotFoundException: Durable execution not found: {EXECUTION}");
    for (method, path) in [
        (Method::GET, ""),
        (Method::GET, "?IncludeExecutionData=false"),
        (Method::GET, "/history?MaxItems=1000&ReverseOrder=true"),
        (Method::POST, "/stop"),
        (Method::POST, "/pause"),
        (Method::POST, "/resume"),
        (Method::DELETE, ""),
    ] {
        for arn in [EXECUTION, &encoded(EXECUTION)] {
            let path = format!("{EXECUTIONS}/{arn}{path}");
            let answer = service.call(method.clone(), &path, Value::Null).await;
            assert_eq!(answer.error(), missing, "{method} {path}");
        }
    }
    let stop = json!({ "ErrorType": "T", "ErrorMessage": "m" });
    let stopped = service.call(Method::POST, &format!("{EXECUTIONS}/{EXECUTION}/stop"), stop).await;
    assert_eq!(stopped.error(), missing);
}

#[tokio::test]
async fn who_runs_an_execution_is_told_of_the_token() {
    let service = service().await;
    let updates = json!([{ "Id": "1", "Type": "STEP", "Action": "START" }]);
    let path = format!("{EXECUTIONS}/{EXECUTION}");
    let body = json!({ "CheckpointToken": "dG9rZW4=", "Updates": updates });
    let checkpoint = service.call(Method::POST, &format!("{path}/checkpoint"), body).await;
    let state =
        service.call(Method::GET, &format!("{path}/state?CheckpointToken=dG9rZW4%3D"), Value::Null).await;
    for answer in [checkpoint, state] {
        assert_eq!(answer.error(), format!("{INVALID}: Invalid Checkpoint Token"));
    }
}

#[tokio::test]
async fn callbacks_that_are_not_there_are_not_found() {
    let service = service().await;
    let id = "a+b/c==";
    for (path, body) in [
        ("succeed", json!({ "any": "result" })),
        ("fail", json!({ "ErrorMessage": "m" })),
        ("fail", Value::Null),
        ("heartbeat", Value::Null),
    ] {
        let path = format!("{CALLBACKS}/{}/{path}", encoded(id));
        let answer = service.call(Method::POST, &path, body).await;
        assert_eq!(answer.error(), format!("404 ResourceNotFoundException: Callback not found: {id}"));
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_it_is_looked_for() {
    let service = service().await;
    let update = |update: Value| json!({ "CheckpointToken": "dG9rZW4=", "Updates": [update] });
    let checkpoint = format!("/{EXECUTION}/checkpoint");
    let history = format!("/{EXECUTION}/history?MaxItems=1001");
    let cases = [
        (
            Method::GET,
            "/arn:aws:lambda:us-east-1:123456789012:function:f:alias/durable-execution/n/i",
            Value::Null,
        ),
        (Method::GET, &history, Value::Null),
        (Method::POST, &checkpoint, json!({ "CheckpointToken": "*" })),
        (Method::POST, &checkpoint, json!({})),
        (Method::POST, &checkpoint, update(json!({ "Id": "1", "Type": "STEP" }))),
        (Method::POST, &checkpoint, update(json!({ "Id": "1", "Type": "JUMP", "Action": "START" }))),
    ];
    for (method, path, body) in cases {
        let error = service.call(method, &format!("{EXECUTIONS}{path}"), body).await.error();
        assert!(error.starts_with("400 ValidationException: "), "{path}: {error}");
    }
}

#[tokio::test]
async fn functions_have_no_executions() {
    let service = service().await;
    service.created(json!({ "Publish": true, "DurableConfig": { "ExecutionTimeout": 60 } })).await;
    let filters = "?Qualifier=1&DurableExecutionName=n&Statuses=RUNNING&Statuses=FAILED&StartedAfter=2026-01-01T00:00:00Z\
                   &ReverseOrder=true&MaxItems=1000";
    for (function, query) in [("f", ""), ("f", filters), ("f:1", ""), (ARN, "?Qualifier=$LATEST")] {
        let listed = list(&service, function, query).await;
        assert_eq!((listed.status, listed.body), (200, json!({ "DurableExecutions": [] })));
    }
    let missing = "404 ResourceNotFoundException: Function not found";
    assert_eq!(list(&service, "f", "?Qualifier=2").await.error(), format!("{missing}: {ARN}:2"));
    assert_eq!(list(&service, "f", "?Qualifier=none").await.error(), format!("{missing}: {ARN}:none"));
    let other = ARN.replace(":f", ":g").replace("gunction", "function");
    assert_eq!(list(&service, "g", "").await.error(), format!("{missing}: {other}"));
    assert_eq!(list(&service, "f", "?Marker=x").await.error(), format!("{INVALID}: Marker is invalid"));
    for query in ["?Statuses=IDLE", "?MaxItems=1001", "?DurableExecutionName=*"] {
        let error = list(&service, "f", query).await.error();
        assert!(error.starts_with("400 ValidationException: "), "{query}: {error}");
    }
}
