//! InvokeWithResponseStream.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Buf as _, Bytes};
use hothouse_control::{ControlConfig, Limits, code::CodeStore, state::MemoryStore};
use hothouse_execution::executor::fake::FakeExecutor;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::support::{ARN, Service, configured, open, package, service};

/// Answers as the event says: fails with a document (or one of so many control characters), answers with so many bytes, or tells about itself.
async fn telling() -> Service {
    let executor = FakeExecutor::new(|mut runtime| async move {
        loop {
            let event = runtime.next().await;
            let payload: Value = serde_json::from_slice(&event.payload).unwrap();
            runtime.print("a line\n");
            let document = match &payload["fail"] {
                Value::String(document) => Some(document.clone()),
                fail => fail.as_u64().map(|count| "\u{1}".repeat(count as usize)),
            };
            if let Some(document) = document {
                runtime.fail(&event.request_id, "Oops", document).await;
                continue;
            }
            let header = |name: &str| event.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let answer = match payload["bytes"].as_u64() {
                Some(count) => large(count as usize),
                None => json!({
                    "arn": header("lambda-runtime-invoked-function-arn"),
                    "client": header("lambda-runtime-client-context"),
                })
                .to_string(),
            };
            runtime.respond(&event.request_id, answer).await;
        }
    });
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    open(config, Arc::<MemoryStore>::default(), code, executor).await
}

/// No two chunks of it are alike.
fn large(count: usize) -> String {
    (0..).map(|number: usize| format!("{number:08}")).take(count / 8).collect()
}

async fn stream(service: &Service, target: &str, headers: &[(&str, &str)], event: Value) -> Response<Bytes> {
    let (function, query) = target.split_once('?').unwrap_or((target, ""));
    let uri = format!("/2021-11-15/functions/{function}/response-streaming-invocations?{query}");
    let mut request = Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.respond(request.body(event.to_string()).unwrap()).await
}

/// Chunks of payload, and the event that ends them.
fn events(response: &Response<Bytes>) -> (Vec<Bytes>, Value) {
    assert_eq!(response.status(), 200, "{response:?}");
    assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
    let mut body = response.body().clone();
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let (total, headers) = (body.get_u32() as usize, body.get_u32() as usize);
        body.advance(4);
        let head = body.split_to(headers);
        let payload = body.split_to(total - 12 - headers - 4);
        body.advance(4);
        if head.windows(14).any(|window| window == b"InvokeComplete") {
            assert!(body.is_empty(), "something behind the end: {body:?}");
            return (chunks, serde_json::from_slice(&payload).unwrap());
        }
        assert!(head.windows(12).any(|window| window == b"PayloadChunk"), "{head:?}");
        chunks.push(payload);
    }
    panic!("a stream without an end");
}

fn error(response: &Response<Bytes>) -> String {
    let code = response.headers()["x-amzn-errortype"].to_str().unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_slice(response.body()).unwrap();
    let message = document.get("message").or(document.get("Message")).unwrap();
    format!("{} {code}: {}", response.status().as_u16(), message.as_str().unwrap())
}

#[tokio::test]
async fn payload_comes_in_chunks_and_then_the_end() {
    let service = telling().await;
    service.created(json!({ "Publish": true })).await;
    let response = stream(&service, "f?Qualifier=1", &[], json!({})).await;
    assert_eq!(response.headers()["x-amz-executed-version"], "1");
    let (chunks, end) = events(&response);
    assert_eq!((chunks.len(), end), (1, json!({})));
    let told: Value = serde_json::from_slice(&chunks[0]).unwrap();
    assert_eq!(told["arn"], format!("{ARN}:1"));

    for (bytes, lengths) in [
        (0, vec![]),
        (1 << 20, vec![1 << 20]),
        (5 << 20, vec![1 << 20; 5]),
        ((1 << 20) + 8, vec![1 << 20, 8]),
    ] {
        let response = stream(&service, "f", &[], json!({ "bytes": bytes })).await;
        assert_eq!(response.headers()["x-amz-executed-version"], "$LATEST");
        let (chunks, _) = events(&response);
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), lengths);
        assert!(chunks.concat() == large(bytes).as_bytes(), "other bytes than the function answered");
    }
}

#[tokio::test]
async fn functions_error_and_log_are_told_at_the_end() {
    let service = telling().await;
    service.created(json!({})).await;
    let document = r#"{"errorType":"Oops","errorMessage":"ö"}"#;
    let response = stream(&service, "f", &[], json!({ "fail": document })).await;
    assert!(response.headers().get("x-amz-function-error").is_none());
    let failed = json!({ "ErrorCode": "Unhandled", "ErrorDetails": document });
    assert_eq!(events(&response), (vec![], failed));

    let context = BASE64_STANDARD.encode(r#"{"custom":{}}"#);
    let headers = [("x-amz-log-type", "Tail"), ("x-amz-client-context", context.as_str())];
    let (chunks, end) = events(&stream(&service, "f", &headers, json!({})).await);
    let told: Value = serde_json::from_slice(&chunks.concat()).unwrap();
    assert_eq!(told["client"], r#"{"custom":{}}"#);
    assert_eq!(end.as_object().unwrap().keys().collect::<Vec<_>>(), ["LogResult"]);
    let log = BASE64_STANDARD.decode(end["LogResult"].as_str().unwrap()).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(log.starts_with("START RequestId: ") && log.contains("\na line\n"), "{log}");
}

/// SDKs refuse messages of more than 16 MiB.
#[tokio::test]
async fn details_of_an_error_stay_short_enough_to_be_read() {
    let service = telling().await;
    service.created(json!({})).await;
    let response = stream(&service, "f", &[], json!({ "fail": 4 << 20 })).await;
    let (_, end) = events(&response);
    assert_eq!(end["ErrorDetails"], "\u{1}".repeat(1 << 20));
    assert!(response.body().len() < 16 << 20);
}

#[tokio::test]
async fn what_fails_before_the_stream_is_told_as_by_invoke() {
    let service = telling().await;
    service.created(json!({})).await;
    let fails = async |target: &str, headers: &[(&str, &str)]| {
        error(&stream(&service, target, headers, json!({})).await)
    };
    assert_eq!(
        fails("g", &[]).await,
        "404 ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:123456789012:function:g:$LATEST"
    );
    assert_eq!(
        fails("f?Qualifier=9", &[]).await,
        format!("404 ResourceNotFoundException: Function not found: {ARN}:9")
    );
    assert!(
        fails("f", &[("x-amz-client-context", "{}")])
            .await
            .starts_with("400 InvalidRequestContentException: ")
    );
    assert!(
        fails("f", &[("x-amz-invocation-type", "Event")])
            .await
            .ends_with("enum value set: [RequestResponse, DryRun]")
    );
    service
        .call(
            http::Method::PUT,
            "/2017-10-31/functions/f/concurrency",
            json!({ "ReservedConcurrentExecutions": 0 }),
        )
        .await;
    assert_eq!(fails("f", &[]).await, "429 TooManyRequestsException: Rate Exceeded.");
}

#[tokio::test]
async fn dry_run_looks_but_does_not_run() {
    let service = service().await;
    service.created(json!({ "Code": { "ZipFile": package("1") } })).await;
    let dry = [("x-amz-invocation-type", "DryRun")];
    let response = stream(&service, "f", &dry, json!({})).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (204, 0));
    assert!(response.headers().get("x-amz-executed-version").is_none());
    assert!(service.engine.environments().is_empty());
    assert!(
        error(&stream(&service, "g", &dry, json!({})).await).starts_with("404 ResourceNotFoundException")
    );
}

#[tokio::test]
async fn payload_has_the_limit_of_invoke() {
    let limits = Limits { request_payload: 10, ..Limits::default() };
    let service = configured(ControlConfig { limits, ..ControlConfig::default() }).await;
    service.created(json!({})).await;
    let payload = |length: usize| json!("x".repeat(length - 2));
    assert_eq!(stream(&service, "f", &[], payload(10)).await.status(), 200);
    assert_eq!(
        error(&stream(&service, "f", &[], payload(11)).await),
        "413 RequestEntityTooLargeException: Request must be smaller than 10 bytes for the InvokeWithResponseStream operation"
    );
}
