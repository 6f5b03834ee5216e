//! Deliveries to a server on the loopback that answers what a test says.

use std::{collections::VecDeque, convert::Infallible, sync::Mutex};

use bytes::Bytes;
use hothouse_control::delivery::Deliveries as _;
use hothouse_execution::ports::SystemClock;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::companions::forward::{ForwarderConfig, Keys};

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    Answer(u16, &'static str),
    Hang,
    HangUp,
}

use Reply::{Answer, Hang, HangUp};

const OK: Reply = Answer(200, "{}");

struct Seen {
    line: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

/// Ends with the test.
struct Server {
    url: String,
    script: Arc<Script>,
    _connections: JoinSet<()>,
}

impl Server {
    async fn that(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script =
            Arc::new(Script { replies: Mutex::new(replies.into_iter().collect()), ..Script::default() });
        let mut connections = JoinSet::new();
        let accepting = script.clone();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let script = accepting.clone();
                open.spawn(async move {
                    let serve = service_fn(move |request| answer(script.clone(), request));
                    // An error is what `HangUp` is for.
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(socket), serve).await;
                });
            }
        });
        Server { url, script, _connections: connections }
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.seen.lock().unwrap())
    }

    fn deliveries(&self) -> Deliveries {
        deliveries(Some(self.url.clone()), None, PATIENCE)
    }
}

async fn answer(
    script: Arc<Script>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    script.seen.lock().unwrap().push(Seen {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec())?,
    });
    let reply = script.replies.lock().unwrap().pop_front().expect("no more requests than the test tells of");
    match reply {
        Answer(status, body) => Ok(Response::builder().status(status).body(Full::from(body))?),
        Hang => Ok(std::future::pending::<Result<_, Infallible>>().await?),
        HangUp => Err("hangs up".into()),
    }
}

fn deliveries(endpoint: Option<String>, keys: Option<Keys>, patience: Patience) -> Deliveries {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = ForwarderConfig { endpoint, ca_file: None, keys };
    let forwarder = Arc::new(Forwarder::new(config, clock.clone()).unwrap());
    Deliveries { clients: Clients::new(forwarder, patience), clock }
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
}

fn attributes() -> Vec<Attribute> {
    vec![
        Attribute { name: "RequestID", data_type: "String", value: "id".into() },
        Attribute { name: "ErrorCode", data_type: "Number", value: "200".into() },
    ]
}

fn to_queue() -> Delivery {
    Delivery::Queue {
        arn: "arn:aws:sqs:eu-central-1:210987654321:letters".into(),
        body: r#"{"a": "ü"}"#.into(),
        attributes: attributes(),
        trace: Some("Root=1-2-3".into()),
    }
}

fn to_topic() -> Delivery {
    Delivery::Topic {
        arn: "arn:aws:sns:eu-west-1:123456789012:news".into(),
        message: "what & why".into(),
        attributes: attributes(),
    }
}

fn to_bus() -> Delivery {
    Delivery::EventBus {
        arn: "arn:aws:events:eu-west-1:123456789012:event-bus/default".into(),
        source: "lambda".into(),
        detail_type: "Result".into(),
        resources: vec!["arn:one".into(), "arn:two".into()],
        detail: r#"{"version":"1.0"}"#.into(),
        trace: Some("Root=1-2-3".into()),
    }
}

fn to_bucket() -> Delivery {
    Delivery::Bucket {
        arn: "arn:aws:s3:::records.kept".into(),
        key: "aws/lambda/a b.json".into(),
        body: Bytes::from_static(b"{}"),
    }
}

/// Delivers one thing, and gives the only request.
async fn arrives(keys: Option<Keys>, delivery: Delivery, answer: &'static str) -> Seen {
    let server = Server::that([Answer(200, answer)]).await;
    let deliveries = deliveries(Some(format!("{}/under/", server.url)), keys, PATIENCE);
    deliveries.deliver(&scope(), delivery).await.unwrap();
    let mut seen = server.seen();
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

#[tokio::test]
async fn a_message_reaches_its_queue() {
    let seen = arrives(None, to_queue(), r#"{"MessageId": "1", "MD5OfMessageBody": "2"}"#).await;
    assert_eq!(seen.line, "POST /under/");
    assert_eq!(seen.header("x-amz-target"), "AmazonSQS.SendMessage");
    let signature = seen.header("authorization");
    assert!(signature.contains("Credential=210987654321/"), "{signature}");
    assert!(signature.contains("/eu-central-1/sqs/aws4_request"), "{signature}");
    let host = seen.header("host");
    assert_eq!(
        seen.json(),
        json!({
            "QueueUrl": format!("http://{host}/under/210987654321/letters"),
            "MessageBody": r#"{"a": "ü"}"#,
            "MessageAttributes": {
                "RequestID": {"DataType": "String", "StringValue": "id"},
                "ErrorCode": {"DataType": "Number", "StringValue": "200"},
            },
            "MessageSystemAttributes": {
                "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-2-3"},
            },
        })
    );
}

#[tokio::test]
async fn a_message_reaches_its_topic() {
    let answer = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
    let seen = arrives(None, to_topic(), answer).await;
    let signature = seen.header("authorization");
    assert!(signature.contains("/eu-west-1/sns/aws4_request"), "{signature}");
    for part in [
        "Action=Publish&",
        "TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Anews",
        "Message=what%20%26%20why",
        "MessageAttributes.entry.1.",
        "MessageAttributes.entry.2.",
        "Value.DataType=Number&",
        "Value.StringValue=200",
    ] {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
}

#[tokio::test]
async fn an_event_reaches_its_bus() {
    let answer = r#"{"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}"#;
    let seen = arrives(None, to_bus(), answer).await;
    assert_eq!(seen.header("x-amz-target"), "AWSEvents.PutEvents");
    let signature = seen.header("authorization");
    assert!(signature.contains("/eu-west-1/events/aws4_request"), "{signature}");
    let mut body = seen.json();
    let time = body["Entries"][0].as_object_mut().unwrap().remove("Time").unwrap();
    assert!(time.is_number(), "{time}");
    assert_eq!(
        body,
        json!({"Entries": [{
            "EventBusName": "arn:aws:events:eu-west-1:123456789012:event-bus/default",
            "Source": "lambda",
            "DetailType": "Result",
            "Resources": ["arn:one", "arn:two"],
            "Detail": r#"{"version":"1.0"}"#,
            "TraceHeader": "Root=1-2-3",
        }]})
    );
}

#[tokio::test]
async fn an_object_reaches_its_bucket_with_the_configured_keys() {
    let seen = arrives(Some(Keys::new("AKIAOTHER", "secret")), to_bucket(), "").await;
    assert_eq!(seen.line, "PUT /under/records.kept/aws/lambda/a%20b.json?x-id=PutObject");
    let signature = seen.header("authorization");
    assert!(signature.contains("Credential=AKIAOTHER/"), "{signature}");
    assert!(signature.contains("/eu-west-1/s3/aws4_request"), "{signature}");
    assert_eq!(seen.header("content-length"), "2");
    assert_eq!(seen.body, "{}");
}

#[tokio::test]
async fn accounts_and_regions_never_share_a_client() {
    let server = Server::that(vec![Answer(200, ""); 60]).await;
    let deliveries = server.deliveries();
    // More than are kept, twice.
    for number in (0..30).chain(0..30) {
        let account = format!("{number:012}");
        let scope = Scope { account: account.parse().unwrap(), ..scope() };
        deliveries.deliver(&scope, to_bucket()).await.unwrap();
        let signature = server.seen().remove(0).header("authorization").to_owned();
        assert!(signature.contains(&format!("Credential={account}/")), "{signature}");
    }
}

async fn fails(delivery: Delivery, replies: Vec<Reply>) -> DeliveryError {
    let server = Server::that(replies).await;
    server.deliveries().deliver(&scope(), delivery).await.unwrap_err()
}

#[tokio::test]
async fn what_a_service_refuses_it_will_refuse_again() {
    let missing = r#"{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "There is none."}"#;
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code>\
                  <Message>Not you.</Message></Error><RequestId>1</RequestId></ErrorResponse>";
    let no_bucket = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>Gone.</Message></Error>";
    let no_entry =
        r#"{"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NotAuthorized", "ErrorMessage": "No."}]}"#;
    for (delivery, reply, expected) in [
        (to_queue(), Answer(400, missing), "SQS refused it with QueueDoesNotExist: There is none."),
        (to_topic(), Answer(403, denied), "SNS refused it with AuthorizationError: Not you."),
        (to_bucket(), Answer(404, no_bucket), "S3 refused it with NoSuchBucket: Gone."),
        (to_bus(), Answer(200, no_entry), "EventBridge refused it with NotAuthorized: No."),
        // No service at all.
        (to_queue(), Answer(404, "<html>"), "SQS refused it with 404: without a message"),
        (to_topic(), Answer(501, ""), "SNS refused it with 501: without a message"),
    ] {
        // Sometimes the SDK believes in a second attempt.
        let error = fails(delivery, vec![reply.clone(), reply]).await;
        assert!(matches!(error, DeliveryError::Refused { .. }) && !error.is_passing(), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn faults_and_throttling_pass() {
    let throttled = r#"{"__type": "RequestThrottled", "message": "Slowly."}"#;
    let busy = r#"{"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}"#;
    let broken = r#"{"FailedEntryCount": 1, "Entries": [{}]}"#;
    for (delivery, reply) in [
        (to_queue(), Answer(503, "")),
        (to_queue(), Answer(400, throttled)),
        (to_queue(), HangUp),
        (to_topic(), Answer(500, "<html>")),
        (to_topic(), Answer(429, "")),
        (to_bus(), Answer(200, busy)),
        (to_bus(), Answer(200, broken)),
        (to_bus(), Answer(200, "<html>")),
        (to_bucket(), Answer(503, "<Error><Code>SlowDown</Code></Error>")),
    ] {
        let service = delivery.service();
        let error = fails(delivery, vec![reply.clone(), reply]).await;
        assert!(error.is_passing(), "{error:?}");
        assert_eq!(error.to_string(), format!("failed to reach {service}"));
    }
}

#[tokio::test]
async fn a_fault_is_met_with_a_second_request() {
    let sent = r#"{"MessageId": "1"}"#;
    for first in [Answer(503, ""), HangUp] {
        let server = Server::that([first, Answer(200, sent)]).await;
        server.deliveries().deliver(&scope(), to_queue()).await.unwrap();
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    let server = Server::that([Hang, Hang]).await;
    let patience = Patience { request: Duration::from_millis(50), delivery: Duration::from_secs(20) };
    let deliveries = deliveries(Some(server.url.clone()), None, patience);
    let error = deliveries.deliver(&scope(), to_queue()).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(hothouse_execution::chain(&error).contains("timeout"), "{}", hothouse_execution::chain(&error));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn who_does_not_listen_may_come_back() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let deliveries = deliveries(Some(url.clone()), None, PATIENCE);
    let error = deliveries.deliver(&scope(), to_queue()).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    let causes = hothouse_execution::chain(&error);
    assert!(causes.contains(&url) && causes.contains("refused"), "{causes}");
}

#[tokio::test]
async fn without_an_endpoint_there_is_nobody() {
    let deliveries = deliveries(None, None, PATIENCE);
    for delivery in [to_queue(), to_topic(), to_bus(), to_bucket()] {
        let name = delivery.service();
        let error = deliveries.deliver(&scope(), delivery).await.unwrap_err();
        assert!(matches!(error, DeliveryError::NoEndpoint { service } if service == name), "{error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    let server = Server::that([OK]).await;
    let deliveries = server.deliveries();
    let bad = |arn: &str| Delivery::Topic { arn: arn.into(), message: String::new(), attributes: Vec::new() };
    for arn in ["", "arn:aws:sns", "arn:aws:sns:nowhere:123456789012:t", "arn:aws:sns:eu-west-1:1:t"] {
        let error = deliveries.deliver(&scope(), bad(arn)).await.unwrap_err();
        assert!(matches!(&error, DeliveryError::Refused { code, .. } if code == "InvalidArn"), "{error:?}");
    }
    let nowhere = Delivery::Bucket { arn: String::new(), key: "key".into(), body: Bytes::new() };
    let error = deliveries.deliver(&scope(), nowhere).await.unwrap_err();
    assert!(!error.is_passing(), "{error:?}");
    assert!(server.seen().is_empty());
}
