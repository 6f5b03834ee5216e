//! Reserved concurrency.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Service, service};

async fn put(service: &Service, executions: u32) -> crate::support::Answer {
    let path = "/2017-10-31/functions/f/concurrency";
    service.call(Method::PUT, path, json!({ "ReservedConcurrentExecutions": executions })).await
}

async fn get(service: &Service) -> Value {
    service.call(Method::GET, "/2019-09-30/functions/f/concurrency", Value::Null).await.body
}

#[tokio::test]
async fn reservation_comes_and_goes() {
    let service = service().await;
    assert_eq!(
        put(&service, 1).await.error(),
        "404 ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"
    );
    service.created(json!({})).await;
    assert_eq!(get(&service).await, json!({}));
    assert_eq!(put(&service, 10).await.body, json!({ "ReservedConcurrentExecutions": 10 }));
    assert_eq!(get(&service).await, json!({ "ReservedConcurrentExecutions": 10 }));
    assert_eq!(service.get("/f").await.body["Concurrency"], json!({ "ReservedConcurrentExecutions": 10 }));
    assert_eq!(
        put(&service, 901).await.error(),
        "400 InvalidParameterValueException: Specified ReservedConcurrentExecutions for function decreases account's \
         UnreservedConcurrentExecution below its minimum value of [100]."
    );
    let gone = service.call(Method::DELETE, "/2017-10-31/functions/f/concurrency", Value::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(get(&service).await, json!({}));
}

#[tokio::test]
async fn function_with_nothing_reserved_is_switched_off() {
    let service = service().await;
    service.created(json!({})).await;
    put(&service, 0).await;
    let answer = service.post("/f/invocations", json!({})).await;
    assert_eq!(answer.error(), "429 TooManyRequestsException: Rate Exceeded.");
    assert_eq!(answer.text("Reason"), "ReservedFunctionConcurrentInvocationLimitExceeded");
    put(&service, 1).await;
    for _ in 0..3 {
        assert_eq!(service.post("/f/invocations", json!({})).await.status, 200);
    }
}
