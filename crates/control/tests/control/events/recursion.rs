//! Functions that invoke themselves in circles.

use hothouse_control::metrics::Metric;

use super::{
    records::{destinations, record, service as with_records},
    *,
};

const STOPPED: &str = "400 RecursiveInvocationException: Lambda has detected your function being invoked in a recursive \
                       loop with other Amazon Web Services resources and stopped your function's invocation.";

/// Invokes with the trace header that a function saw, as SDKs do.
async fn invoke(service: &Service, kind: &str, trace: &str) -> Answer {
    let request = Request::post(format!("{FUNCTIONS}/f/invocations"))
        .header("x-amz-invocation-type", kind)
        .header("x-amzn-trace-id", trace)
        .body("{}");
    service.send(request.unwrap()).await
}

/// Lets the function invoke itself until it is stopped or has run so often.
async fn circle(service: &Service, attempts: &Attempts, most: usize) -> Option<Answer> {
    let mut trace = String::new();
    for _ in 0..most {
        let answer = invoke(service, "RequestResponse", &trace).await;
        if answer.status != 200 {
            return Some(answer);
        }
        trace = attempts.all().last().unwrap().trace.clone();
    }
    None
}

async fn allow(service: &Service, recursive_loop: &str) {
    let body = json!({ "RecursiveLoop": recursive_loop });
    assert_eq!(service.call(Method::PUT, "/2024-08-31/functions/f/recursion-config", body).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn function_that_invokes_itself_is_stopped_after_sixteen_times() {
    let (service, attempts) = service().await;
    let stopped = circle(&service, &attempts, 50).await.expect("an end");
    assert_eq!(stopped.error(), STOPPED);
    assert_eq!(attempts.all().len(), 16);
    assert_eq!(service.counted(Metric::RecursiveInvocationsDropped), 1.0);
    // Another chain is another matter.
    assert_eq!(invoke(&service, "RequestResponse", "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn function_that_may_goes_on() {
    let (service, attempts) = service().await;
    allow(&service, "Allow").await;
    assert!(circle(&service, &attempts, 50).await.is_none());
    allow(&service, "Terminate").await;
    let trace = attempts.all().last().unwrap().trace.clone();
    assert_eq!(invoke(&service, "RequestResponse", &trace).await.error(), STOPPED);
}

#[tokio::test(start_paused = true)]
async fn event_that_is_stopped_is_told_of() {
    let (service, attempts, outside) = with_records().await;
    configure(&service, "$LATEST", destinations(None, Some("arn:aws:sqs:us-east-1:123456789012:q"))).await;
    circle(&service, &attempts, 16).await;
    let trace = attempts.all().last().unwrap().trace.clone();
    assert_eq!(invoke(&service, "Event", &trace).await.status, 202);
    assert_eq!(attempts.ever().await.len(), 16);
    let [told] = &outside.got()[..] else { panic!() };
    let record = record(told);
    assert_eq!(record["requestContext"]["condition"], "LoopDetected");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 0);
    assert!(record.get("responseContext").is_none());
}

#[tokio::test(start_paused = true)]
async fn circle_of_destinations_is_stopped() {
    let (service, attempts, _) = with_records().await;
    service.created(json!({ "FunctionName": "g" })).await;
    for (from, to) in [("f", "g"), ("g", "f")] {
        let path = format!("/2019-09-25/functions/{from}/event-invoke-config");
        let target = format!("arn:aws:lambda:us-east-1:123456789012:function:{to}");
        let answer = service.call(Method::PUT, &path, destinations(Some(&target), None)).await;
        assert_eq!(answer.status, 200);
    }
    accepted(&service, "f", json!({})).await;
    let ran = attempts.ever().await;
    // Each sixteen times; the next, to the first of them, is stopped.
    assert_eq!(ran.len(), 32);
    assert_eq!(service.counted(Metric::RecursiveInvocationsDropped), 1.0);
}
