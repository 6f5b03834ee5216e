//! Requests through the whole of dispatch, against services that answer at once.

use std::{future::Future, pin::pin, sync::Mutex, task::Context};

use http::{HeaderValue, Request, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::generated::{
    DeleteFunctionRequest, DeleteFunctionResponse, FunctionConfiguration, GetFunctionRequest,
    GetFunctionResponse, InvocationRequest, InvocationResponse, InvocationType, InvokeAsyncRequest,
    InvokeAsyncResponse, InvokeResponseStreamUpdate, InvokeWithResponseStreamCompleteEvent,
    InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponse, InvokeWithResponseStreamResponseEvent,
    ListProvisionedConcurrencyConfigsRequest, TagResourceRequest, UntagResourceRequest,
};

/// Implements nothing.
struct Nothing;

impl Lambda for Nothing {}

/// Answers from what it is asked, and remembers what that was.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<String>>,
}

impl Lambda for Echo {
    async fn invoke(
        &self,
        _: RequestContext,
        input: InvocationRequest,
    ) -> Result<InvocationResponse, ApiError> {
        let status = match input.invocation_type {
            Some(InvocationType::Event) => 202,
            Some(InvocationType::DryRun) => 204,
            Some(InvocationType::RequestResponse) | None => 200,
        };
        Ok(InvocationResponse {
            status_code: Some(status),
            executed_version: Some("$LATEST".to_owned()),
            function_error: input.qualifier,
            payload: input.payload,
            ..InvocationResponse::default()
        })
    }

    async fn invoke_async(
        &self,
        _: RequestContext,
        input: InvokeAsyncRequest,
    ) -> Result<InvokeAsyncResponse, ApiError> {
        self.seen.lock().unwrap().push(format!("{input:?}"));
        Ok(InvokeAsyncResponse { status: Some(202) })
    }

    async fn invoke_with_response_stream(
        &self,
        _: RequestContext,
        input: InvokeWithResponseStreamRequest,
    ) -> Result<InvokeWithResponseStreamResponse, ApiError> {
        let complete = InvokeWithResponseStreamCompleteEvent {
            error_code: input.qualifier,
            ..InvokeWithResponseStreamCompleteEvent::default()
        };
        Ok(InvokeWithResponseStreamResponse {
            status_code: Some(200),
            executed_version: Some("7".to_owned()),
            event_stream: input.invocation_type.is_none().then(|| {
                crate::event_stream::EventStream::new(futures_util::stream::iter([
                    InvokeWithResponseStreamResponseEvent::PayloadChunk(InvokeResponseStreamUpdate {
                        payload: input.payload,
                    }),
                    InvokeWithResponseStreamResponseEvent::InvokeComplete(complete),
                ]))
            }),
            response_stream_content_type: None,
        })
    }

    async fn get_function(
        &self,
        _: RequestContext,
        input: GetFunctionRequest,
    ) -> Result<GetFunctionResponse, ApiError> {
        let configuration = FunctionConfiguration {
            function_name: Some(input.function_name),
            ..FunctionConfiguration::default()
        };
        Ok(GetFunctionResponse { configuration: Some(configuration), ..GetFunctionResponse::default() })
    }

    async fn delete_function(
        &self,
        _: RequestContext,
        _: DeleteFunctionRequest,
    ) -> Result<DeleteFunctionResponse, ApiError> {
        Ok(DeleteFunctionResponse::default())
    }

    async fn tag_resource(&self, _: RequestContext, input: TagResourceRequest) -> Result<(), ApiError> {
        self.seen.lock().unwrap().push(format!("{} {:?}", input.resource, input.tags));
        Ok(())
    }

    async fn untag_resource(&self, _: RequestContext, input: UntagResourceRequest) -> Result<(), ApiError> {
        self.seen.lock().unwrap().push(input.tag_keys.join(","));
        Ok(())
    }
}

fn context() -> RequestContext {
    RequestContext {
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        operation: None,
        request_id: "2ab5a0c5-3c2b-4b3f-8d3b-0b8a4e1c9f00".parse().unwrap(),
        caller_arn: None,
        service: None,
        trace_id: None,
        trace: Default::default(),
        failed: Default::default(),
    }
}

/// Services of these tests are never pending.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

fn send(service: &impl Lambda, method: &str, target: &str, body: &str) -> Response<Bytes> {
    send_with(service, method, target, &[], body.to_owned().into())
}

fn send_with(
    service: &impl Lambda,
    method: &str,
    target: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    whole(dispatch(service, context(), &BodyLimits::default(), &parts, body))
}

fn whole(answer: impl Future<Output = Response<Body>>) -> Response<Bytes> {
    let (parts, body) = ready(answer).into_parts();
    Response::from_parts(parts, ready(body.collect()).unwrap())
}

fn document(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn every_operation_is_routed_to_itself() {
    for &operation in Operation::ALL {
        let modelled = operation_route(operation);
        let (method, target) = modelled.split_once(' ').unwrap();
        let uri: Uri = target.parse().unwrap();
        let found = super::operation(&method.parse().unwrap(), &uri);
        assert_eq!(found, Some(operation), "{modelled}");
    }
}

/// Method and path from the model that is checked in, with an ARN in every label.
fn operation_route(operation: Operation) -> String {
    let model: Value = serde_json::from_str(include_str!("../../../../models/lambda.json")).unwrap();
    let http = &model["operations"][operation.as_str()]["http"];
    let mut target = String::new();
    for (index, part) in http["requestUri"].as_str().unwrap().split(['{', '}']).enumerate() {
        target += if index % 2 == 1 { "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Ax%2Fy" } else { part };
    }
    format!("{} {target}", http["method"].as_str().unwrap())
}

#[test]
fn what_is_not_built_says_so() {
    for &operation in Operation::ALL {
        let error = ApiError::not_implemented(operation);
        let response = error.respond(context().request_id);
        assert_eq!(response.status(), 501);
        assert_eq!(header(&response, "x-amzn-errortype"), Some("NotImplementedException"));
    }
    let response = send(&Nothing, "GET", "/2016-08-19/account-settings/", "");
    assert_eq!(response.status(), 501);
    assert_eq!(
        document(&response),
        json!({"message": "Hothouse does not implement GetAccountSettings yet."})
    );
    assert_eq!(response.extensions().get::<Operation>(), Some(&Operation::GetAccountSettings));
    assert!(response.extensions().get::<Arc<ApiError>>().is_some());
}

#[test]
fn queries_tell_operations_apart() {
    let operation = |target: &'static str| super::operation(&Method::GET, &Uri::from_static(target));
    assert_eq!(operation("/2018-10-31/layers"), Some(Operation::ListLayers));
    assert_eq!(
        operation("/2018-10-31/layers?Arn=a&find=LayerVersion"),
        Some(Operation::GetLayerVersionByArn)
    );
    let concurrency = "/2019-09-30/functions/f/provisioned-concurrency?List=ALL";
    assert_eq!(operation(concurrency), Some(Operation::ListProvisionedConcurrencyConfigs));
    assert_eq!(
        operation("/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1"),
        Some(Operation::GetProvisionedConcurrencyConfig)
    );
    // The type is used by the trait only.
    let _ = ListProvisionedConcurrencyConfigsRequest::default();
}

#[test]
fn arns_with_bare_slashes_are_understood() {
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/id";
    let target = format!("/2025-12-01/durable-executions/{arn}/history");
    let uri: Uri = target.parse().unwrap();
    assert_eq!(super::operation(&Method::GET, &uri), Some(Operation::GetDurableExecutionHistory));
    let path = Path::new(&target);
    let (parts, ()) = Request::builder().uri(&target).body(()).unwrap().into_parts();
    let bound =
        bind::bind(Operation::GetDurableExecutionHistory, path.segments(), &parts, Bytes::new()).unwrap();
    assert_eq!(bound.members["DurableExecutionArn"], arn);
}

#[test]
fn a_path_of_no_operation_is_forbidden() {
    for (method, target) in
        [("GET", "/"), ("PATCH", "/2015-03-31/functions"), ("GET", "/2015-03-31/functions/f/nothing")]
    {
        let response = send(&Nothing, method, target, "");
        assert_eq!(response.status(), 403);
        assert_eq!(header(&response, "x-amzn-errortype"), Some("AccessDeniedException"));
    }
}

#[test]
fn an_invocation_passes_its_payload_untouched() {
    let payload = Bytes::from_static(b" {\"b\":1,  \"a\":[1e2]}\n");
    let response =
        send_with(&Echo::default(), "POST", "/2015-03-31/functions/f/invocations", &[], payload.clone());
    assert_eq!(response.status(), 200);
    assert_eq!(response.body().as_ptr(), payload.as_ptr(), "the payload was copied");
    assert_eq!(header(&response, "x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(header(&response, "x-amzn-requestid"), Some("2ab5a0c5-3c2b-4b3f-8d3b-0b8a4e1c9f00"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(header(&response, "x-amz-function-error"), None);
}

#[test]
fn an_invocation_is_bound_from_headers_and_query() {
    let send = |kind: &str, target: &str| {
        send_with(&Echo::default(), "POST", target, &[("x-amz-invocation-type", kind)], Bytes::new())
    };
    let response = send("DryRun", "/2015-03-31/functions/f/invocations?Qualifier=live");
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "x-amz-function-error"), Some("live"));
    assert_eq!(response.body(), "{}", "an empty payload is an empty object");
    assert_eq!(send("Event", "/2015-03-31/functions/f/invocations").status(), 202);
    let response = send("Later", "/2015-03-31/functions/f/invocations");
    assert_eq!(
        document(&response),
        json!({"message": "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"})
    );
}

#[test]
fn the_usual_invocation_takes_the_short_way() {
    let target = "/2015-03-31/functions/f/invocations?Qualifier=live";
    let (parts, ()) =
        Request::builder().uri(target).header("authorization", "x").body(()).unwrap().into_parts();
    let path = Path::new(parts.uri.path());
    assert!(bind::usual_invocation(path.segments(), &parts).is_some());
}

#[test]
fn a_payload_that_is_no_json_is_refused_in_awss_words() {
    let response = send_with(
        &Echo::default(),
        "POST",
        "/2015-03-31/functions/f/invocations",
        &[],
        Bytes::from_static(b"n\x87r"),
    );
    assert_eq!(response.status(), 400);
    assert_eq!(header(&response, "x-amzn-errortype"), Some("InvalidRequestContentException"));
    assert_eq!(
        document(&response),
        json!({
            "Type": "User",
            "message": "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte 0x87\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]",
        })
    );
}

#[test]
fn a_payload_that_is_too_large_is_refused() {
    let payload = |size: usize| Bytes::from(format!("\"{}\"", "a".repeat(size - 2)));
    let target = "/2015-03-31/functions/f/invocations";
    assert_eq!(send_with(&Echo::default(), "POST", target, &[], payload(6_291_456)).status(), 200);
    let response = send_with(&Echo::default(), "POST", target, &[], payload(6_291_457));
    assert_eq!(response.status(), 413);
    assert_eq!(header(&response, "x-amzn-errortype"), Some("RequestEntityTooLargeException"));
    assert_eq!(
        document(&response)["message"],
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    );
    let event = [("x-amz-invocation-type", "Event")];
    assert_eq!(send_with(&Echo::default(), "POST", target, &event, payload(1_048_577)).status(), 413);
}

#[test]
fn a_stream_of_events_is_the_body() {
    let target = "/2021-11-15/functions/f/response-streaming-invocations?Qualifier=live";
    let response = send(&Echo::default(), "POST", target, "[1]");
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(header(&response, "x-amz-executed-version"), Some("7"));
    let length = |at: usize| u32::from_be_bytes(response.body()[at..at + 4].try_into().unwrap()) as usize;
    let (first, second) = response.body().split_at(length(0));
    assert_eq!(second.len(), length(first.len()));
    // The checksum of the message follows its payload.
    let text = |message: &[u8]| String::from_utf8_lossy(&message[12..message.len() - 4]).into_owned();
    assert_eq!(
        [text(first), text(second)],
        [
            "\u{b}:event-type\u{7}\0\u{c}PayloadChunk\r:content-type\u{7}\0\u{18}application/octet-stream\r:message-type\u{7}\0\u{5}event[1]",
            "\u{b}:event-type\u{7}\0\u{e}InvokeComplete\r:content-type\u{7}\0\u{10}application/json\r:message-type\u{7}\0\u{5}event{\"ErrorCode\":\"live\"}",
        ]
    );
    let dry =
        send_with(&Echo::default(), "POST", target, &[("x-amz-invocation-type", "DryRun")], Bytes::new());
    assert_eq!((dry.body().len(), header(&dry, "content-type")), (0, Some("application/json")));
}

#[test]
fn invoke_async_repeats_its_status_in_the_body() {
    let response = send(&Echo::default(), "POST", "/2014-11-13/functions/f/invoke-async", "[]");
    assert_eq!(response.status(), 202);
    assert_eq!(document(&response), json!({"Status": 202}));
}

#[test]
fn labels_are_decoded() {
    let target = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af";
    let response = send(&Echo::default(), "GET", target, "");
    assert_eq!(
        document(&response),
        json!({"Configuration": {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"}})
    );
}

#[test]
fn deleting_a_function_answers_without_content() {
    let response = send(&Echo::default(), "DELETE", "/2015-03-31/functions/f", "");
    assert_eq!(response.status(), 204);
    assert!(response.body().is_empty());
}

#[test]
fn lists_in_queries_and_maps_in_bodies_are_bound() {
    let service = Echo::default();
    let tags = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af";
    assert_eq!(send(&service, "DELETE", &format!("{tags}?tagKeys=a%20b&tagKeys=c"), "").status(), 204);
    assert_eq!(send(&service, "POST", tags, r#"{"Tags":{"k":"v"},"Unknown":1}"#).status(), 204);
    let seen = service.seen.lock().unwrap();
    assert_eq!(*seen, ["a b,c", "arn:aws:lambda:us-east-1:123456789012:function:f {\"k\": \"v\"}"]);
}

#[test]
fn wrong_types_are_told_apart() {
    let message = |body: &str| {
        let response = send(&Nothing, "PUT", "/2015-03-31/functions/f/configuration", body);
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(header(&response, "x-amzn-errortype"), Some("SerializationException"), "{body}");
        document(&response)["Message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message(r#"{"Timeout":"3"}"#), "STRING_VALUE can not be converted to an Integer");
    assert_eq!(message(r#"{"Handler":3}"#), "NUMBER_VALUE can not be converted to a String");
    assert_eq!(message(r#"{"Layers":{}}"#), "Start of structure or map found where not expected");
    assert_eq!(message(r#"{"Layers":"a"}"#), "Expected list or null");
    assert_eq!(message(r#"{"VpcConfig":[]}"#), "Start of list found where not expected");
    assert!(
        message(r#"{"Timeout":1.5}"#).ends_with("TruncatingBigDecimal can not be converted to an Integer")
    );
    assert!(
        message("{'a':1}").starts_with("Unexpected character (''' (code 39)): was expecting double-quote")
    );
}

#[test]
fn documents_that_are_no_structure_are_told_apart() {
    let message = |body: &[u8]| {
        let target = "/2015-03-31/functions/f/configuration";
        let response = send_with(&Nothing, "PUT", target, &[], Bytes::copy_from_slice(body));
        let text = document(&response).get("Message").and_then(Value::as_str).map(str::to_owned);
        (response.status().as_u16(), text.unwrap_or_default())
    };
    assert_eq!(message(b"[]"), (400, "Start of list found where not expected".into()));
    assert_eq!(message(b"5"), (400, "Expected structure or null".into()));
    assert_eq!(message(b"\"\""), (400, "Expected structure or null".into()));
    assert_eq!(message(b"{\"Handler\":\"a\0\"}").0, 400);
    assert_eq!(message(b"{\"Handler\":\"\xff\"}").0, 400);
    assert_eq!(message(b"{\"Timeout\":1e999}").1, "The document holds a value that can not be converted");
    // Nested too deep for a reader that recurses, and too deep for Jackson.
    for depth in [200, 1001, 1_000_000] {
        let (status, _) =
            message(&[b"{\"Unknown\":".as_slice(), &b"[".repeat(depth), &b"]".repeat(depth), b"}"].concat());
        assert_eq!(status, 400, "{depth}");
    }
    // What is not there, and what is not known, is nothing wrong.
    for body in ["", "null", "{}", r#"{"Unknown":[{"a":[null]}]}"#, r#"{"Handler":"\u0041","Handler":"b"}"#] {
        assert_eq!(message(body.as_bytes()).0, 501, "{body}");
    }
}

#[test]
fn queries_have_types_too() {
    let answer = |query: &str| {
        let response = send(&Nothing, "GET", &format!("/2015-03-31/functions?{query}"), "");
        let document = document(&response);
        let text = document.get("Message").or(document.get("message")).and_then(Value::as_str);
        (response.status().as_u16(), text.unwrap().to_owned())
    };
    for query in ["MaxItems=abc", "MaxItems=", "MaxItems=1.5", "MaxItems=99999999999999999999"] {
        assert_eq!(answer(query), (400, "STRING_VALUE can not be converted to an Integer".into()), "{query}");
    }
    assert!(
        answer("MaxItems=2147483648").1.ends_with("TruncatingBigDecimal can not be converted to an Integer")
    );
    assert_eq!(
        answer("MaxItems=0").1,
        "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1"
    );
    assert_eq!(
        answer("MaxItems=10001").1,
        "1 validation error detected: Value '10001' at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 10000"
    );
    // The first of several counts; what is unknown, empty or badly encoded does not matter.
    for query in
        ["MaxItems=1&MaxItems=abc", "&&&==&", "Unknown=%ff", "Marker=%zz", "Marker=%00", "%4daxItems=1"]
    {
        assert_eq!(answer(query).0, 501, "{query}");
    }
}

#[test]
fn each_operation_has_its_largest_request() {
    let limits = BodyLimits { package: 40, other: 20, event: 10 };
    for &operation in Operation::ALL {
        let route = operation_route(operation);
        let (method, path) = route.split_once(' ').unwrap();
        let (parts, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        let limit = limits.of(operation);
        let send =
            |size: usize| ready(dispatch(&Nothing, context(), &limits, &parts, vec![b' '; size].into()));
        assert_ne!(send(limit).status(), 413, "{operation}");
        let response = send(limit + 1);
        assert_eq!(response.status(), 413, "{operation}");
        assert_eq!(header(&response, "x-amzn-errortype"), Some("RequestEntityTooLargeException"));
    }
}

#[test]
fn null_is_as_good_as_absent() {
    let body = r#"{"Timeout":null,"Environment":{"Variables":null}}"#;
    assert_eq!(send(&Nothing, "PUT", "/2015-03-31/functions/f/configuration", body).status(), 501);
}

#[test]
fn a_header_that_cannot_be_written_is_our_fault() {
    let reply = Reply::empty(Operation::Invoke).header("x-amz-function-error", Some("line\nbreak"));
    assert_eq!(reply.finish(context().request_id).unwrap_err().kind(), ErrorKind::Service);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_usual_invocation_is_bound_as_any_other(
        name in r"[a-zA-Z0-9:$%._-]{1,20}|arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af",
        query in r"(&?Qualifier=[a-zA-Z$LATES0-9_-]{0,8}|&?[a-z]{1,3}=){0,2}",
        kind in prop::option::of(prop::sample::select(vec!["Event", "DryRun", "RequestResponse", "Other", ""])),
        log in prop::option::of(prop::sample::select(vec!["Tail", "None", "tail"])),
        client_context in prop::option::of("[a-zA-Z0-9+/=]{0,12}"),
    ) {
        let target = format!("/2015-03-31/functions/{name}/invocations?{query}");
        let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
        let mut request = Request::builder().method("POST").uri(uri).header("x-amz-date", "20251125T000000Z");
        for (header, value) in
            [("x-amz-invocation-type", kind), ("x-amz-log-type", log), ("x-amz-client-context", client_context.as_deref())]
        {
            if let Some(value) = value {
                request = request.header(header, value);
            }
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let path = Path::new(parts.uri.path());
        if let Some(usual) = bind::usual_invocation(path.segments(), &parts) {
            let bound = bind::bind(Operation::Invoke, path.segments(), &parts, Bytes::new()).unwrap();
            prop_assert!(validate::validate(Operation::Invoke, &bound).is_ok());
            prop_assert_eq!(usual, bound.decode::<InvocationRequest>().unwrap());
        }
    }

    #[test]
    fn no_request_panics(
        method in "GET|POST|PUT|DELETE|PATCH|HEAD",
        operation in 0..Operation::ALL.len(),
        path in "(/[a-zA-Z0-9:$%._-]{0,12}){0,18}/?",
        use_route in any::<bool>(),
        query in r"[a-zA-Z&=%0-9+.$-]{0,40}",
        header_value in prop::collection::vec(0x20..=0xFF_u8, 0..20),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            json_text().prop_map(String::into_bytes),
        ],
    ) {
        let (method, path) = if use_route {
            let route = operation_route(Operation::ALL[operation]);
            let (method, path) = route.split_once(' ').unwrap();
            (method.to_owned(), path.to_owned())
        } else {
            (method, path)
        };
        let separator = if path.contains('?') { '&' } else { '?' };
        let Ok(uri) = format!("{path}{separator}{query}").parse::<Uri>() else { return Ok(()) };
        let mut request = Request::builder().method(method.as_str()).uri(uri).body(()).unwrap();
        if let Ok(value) = HeaderValue::from_bytes(&header_value) {
            for name in ["x-amz-invocation-type", "x-amz-client-context", "x-amz-tenant-id", "content-type"] {
                request.headers_mut().insert(name, value.clone());
            }
        }
        let (parts, ()) = request.into_parts();
        let response = whole(dispatch(&Nothing, context(), &BodyLimits::default(), &parts, body.into()));
        prop_assert!(response.status().is_client_error() || response.status() == 501);
        prop_assert!(serde_json::from_slice::<Value>(response.body()).is_ok());
        prop_assert!(response.headers().contains_key(header::CONTENT_TYPE));
    }
}

/// Documents whose members have names that operations know, with values of any type.
fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f32>()
            .prop_filter("JSON has no infinity", |number| number.is_finite())
            .prop_map(|number| number.to_string()),
        "[a-z.:$-]{0,12}".prop_map(|text| format!("{text:?}")),
    ];
    let name = prop::sample::select(vec![
        "FunctionName",
        "Role",
        "Code",
        "ZipFile",
        "Runtime",
        "Layers",
        "VpcConfig",
        "SubnetIds",
        "Timeout",
        "Tags",
        "Environment",
        "Variables",
        "RoutingConfig",
        "AdditionalVersionWeights",
        "Name",
        "Architectures",
        "Updates",
        "DestinationConfig",
        "StartingPositionTimestamp",
        "FilterCriteria",
        "Filters",
        "SelfManagedEventSource",
        "Endpoints",
    ]);
    scalar.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
