//! Segments through the service's own interface, with a clock that can be moved.

use std::time::Duration;

use hothouse_execution::environment::EnvironmentId;

use super::{invocation::Invoked, *};

const TRACE: &str = "1-58406520-a006649127e371903a2de979";

#[derive(Debug)]
struct MovedClock(Mutex<SystemTime>);

impl MovedClock {
    fn new() -> Arc<Self> {
        Arc::new(MovedClock(Mutex::new(UNIX_EPOCH + Duration::from_secs(1_795_392_000))))
    }
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn scope(account: &str) -> Scope {
    Scope { account: account.parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn own() -> Scope {
    scope("000000000000")
}

fn segment(id: u64, trace: &str) -> Value {
    json!({ "id": format!("{id:016x}"), "trace_id": trace, "name": "test", "start_time": 10.0, "end_time": 10.5 })
}

fn send(xray: &Xray, document: &Value) {
    xray.datagram(None, format!("{{\"format\": \"json\", \"version\": 1}}\n{document}").into());
}

fn ask(xray: &Xray, scope: &Scope, path: &str, input: &Value) -> (StatusCode, Value) {
    let (parts, ()) = http::Request::post(path).body(()).unwrap().into_parts();
    let response = xray.handle(scope, &parts, input.to_string().as_bytes());
    (response.status(), serde_json::from_slice(response.body()).unwrap())
}

fn names(trace: &Value) -> Vec<&str> {
    trace["segments"].as_array().unwrap().iter().map(|segment| segment["name"].as_str().unwrap()).collect()
}

#[test]
fn a_datagram_becomes_a_segment_of_its_trace() {
    let xray = Xray::new(MovedClock::new());
    let mut first = segment(1, TRACE);
    first["metadata"] = json!({ "kept": ["as", "sent"] });
    send(&xray, &first);
    let mut second = segment(2, TRACE);
    second["name"] = "earlier".into();
    second["start_time"] = 9.5.into();
    send(&xray, &second);
    let trace = xray.get(TRACE).unwrap();
    assert_eq!(names(&trace), ["earlier", "test"]);
    assert_eq!(trace["segments"][1], first);
    assert_eq!(xray.get("Root=1-58406520-a006649127e371903a2de979;Sampled=1").unwrap(), trace);
    assert_eq!(xray.get("1-58406520-000000000000000000000000"), None);
    assert_eq!(xray.list()["traces"][0]["duration"], json!(1.0));
}

#[test]
fn an_end_replaces_a_beginning_and_never_the_other_way_round() {
    let xray = Xray::new(MovedClock::new());
    let mut begun = segment(1, TRACE);
    begun["in_progress"] = true.into();
    begun.as_object_mut().unwrap().remove("end_time");
    send(&xray, &begun);
    assert_eq!(xray.list()["traces"][0]["inProgress"], json!(true));
    send(&xray, &segment(1, TRACE));
    send(&xray, &begun);
    assert_eq!(xray.get(TRACE).unwrap()["segments"], json!([segment(1, TRACE)]));
}

#[test]
fn what_is_no_segment_is_counted() {
    let xray = Xray::new(MovedClock::new());
    let header = "{\"format\":\"json\",\"version\":1}\n";
    let good = segment(1, TRACE).to_string();
    let mut large = segment(1, TRACE);
    large["metadata"] = "x".repeat(70_000).into();
    let broken = [
        String::new(),
        good.clone(),
        format!("{{\"format\":\"json\",\"version\":2}}\n{good}"),
        format!("{header}{{"),
        format!("{header}{}", json!({ "id": "1" })),
        format!("{header}{}", segment(1, "1-58406520")),
        format!("{header}{}", good.replace("0000000000000001", "no hex")),
        format!("{header}{large}"),
    ];
    for datagram in &broken {
        xray.datagram(None, datagram.clone().into());
    }
    xray.datagram(None, Bytes::from_static(b"{\"format\":\"json\",\"version\":1}\n\xff"));
    assert_eq!(xray.list(), json!({ "traces": [], "malformed": broken.len() + 1, "dropped": 0 }));
}

#[test]
fn old_and_large_traces_make_room() {
    let clock = MovedClock::new();
    let xray = Xray::new(clock.clone());
    send(&xray, &segment(1, TRACE));
    *clock.0.lock().unwrap() += Duration::from_secs(25 * 3600);
    let mut heavy = segment(0, TRACE);
    heavy["metadata"] = "x".repeat(60_000).into();
    // More than all traces together may take, and one that has more than its share.
    for number in 1..500u64 {
        heavy["id"] = format!("{number:016x}").into();
        heavy["trace_id"] = format!("1-58406521-{:024x}", number.min(450)).into();
        send(&xray, &heavy);
    }
    let list = xray.list();
    assert_eq!(xray.get(TRACE), None, "it is older than a day");
    assert_eq!(xray.get("1-58406521-000000000000000000000001"), None, "others needed the room");
    assert!(xray.get("1-58406521-0000000000000000000001c2").is_some(), "the newest stays");
    assert!(list["dropped"].as_u64().unwrap() > 0, "{}", list["dropped"]);
    let kept: u64 =
        list["traces"].as_array().unwrap().iter().map(|trace| trace["segments"].as_u64().unwrap()).sum();
    assert!(kept * 60_000 < 32 << 20, "{kept}");
}

#[test]
fn the_api_gives_back_what_was_put() {
    let xray = Xray::new(MovedClock::new());
    let mut document = segment(1, TRACE);
    document["annotations"] = json!({ "color": "red", "count": 2 });
    document["fault"] = true.into();
    document["http"] = json!({ "response": { "status": 500 } });
    let put = json!({ "TraceSegmentDocuments": [document.to_string(), "{}", "{\"id\":\"x\",\"trace_id\":\"1\",\"name\":\"\",\"start_time\":1}"] });
    let (status, answer) = ask(&xray, &own(), "/TraceSegments", &put);
    assert_eq!(status, StatusCode::OK);
    let unprocessed = answer["UnprocessedTraceSegments"].as_array().unwrap();
    assert_eq!(unprocessed.len(), 2);
    assert_eq!((&unprocessed[0]["ErrorCode"], &unprocessed[0]["Id"]), (&json!("ParseError"), &Value::Null));
    assert_eq!(
        (&unprocessed[1]["ErrorCode"], &unprocessed[1]["Id"]),
        (&json!("InvalidTraceId"), &json!("x"))
    );

    let wanted = json!({ "TraceIds": [TRACE, "1-58406520-000000000000000000000000"] });
    let (_, answer) = ask(&xray, &own(), "/Traces", &wanted);
    assert_eq!(
        answer["Traces"],
        json!([{ "Id": TRACE, "Duration": 0.5, "LimitExceeded": false,
            "Segments": [{ "Id": "0000000000000001", "Document": document.to_string() }] }])
    );
    let (_, answer) = ask(&xray, &scope("123456789012"), "/Traces", &wanted);
    assert_eq!(answer["Traces"], json!([]));

    let (_, answer) = ask(&xray, &own(), "/TraceSummaries", &json!({ "StartTime": 9, "EndTime": 11 }));
    let summary = &answer["TraceSummaries"][0];
    assert_eq!((&summary["Id"], &summary["HasFault"]), (&json!(TRACE), &json!(true)));
    assert_eq!(summary["Http"]["HttpStatus"], json!(500));
    assert_eq!(summary["Annotations"]["count"][0]["AnnotationValue"], json!({ "NumberValue": 2 }));
    let (_, answer) = ask(&xray, &own(), "/TraceSummaries", &json!({ "StartTime": 11, "EndTime": 12 }));
    assert_eq!(answer["TraceSummaries"], json!([]));

    let filtered = json!({ "StartTime": 9, "EndTime": 11, "FilterExpression": "fault" });
    assert_eq!(ask(&xray, &own(), "/TraceSummaries", &filtered).0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&xray, &own(), "/GetSamplingRules", &json!({})).1, json!({ "SamplingRuleRecords": [] }));
    assert_eq!(ask(&xray, &own(), "/Groups", &json!({})).0, StatusCode::NOT_IMPLEMENTED);
}

#[test]
fn a_trace_belongs_to_the_account_of_the_function_that_sent_it() {
    let xray = Xray::new(MovedClock::new());
    let origin = SegmentOrigin {
        account: "123456789012".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        environment: EnvironmentId::random(),
    };
    let datagram = format!("{{\"format\":\"json\",\"version\":1}}\n{}", segment(1, TRACE));
    xray.datagram(Some(&origin), datagram.into());
    let wanted = json!({ "TraceIds": [TRACE] });
    assert_eq!(ask(&xray, &own(), "/Traces", &wanted).1["Traces"], json!([]));
    assert_eq!(
        ask(&xray, &scope("123456789012"), "/Traces", &wanted).1["Traces"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn an_invocation_is_the_parent_of_what_its_function_sends() {
    let xray = Xray::new(MovedClock::new());
    let header = format!("Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:fe460cdd:0");
    let sent = format!("Root={TRACE};Parent=9a9197af755a6419");
    let path = "/2015-03-31/functions/000000000000%3Afunction%3Awork%3Alive/invocations";
    let function = function_in(path).unwrap();
    let invoked = Invoked {
        function: &function,
        request_id: hothouse_api::name::RequestId::random(),
        sent: Some(&sent),
        header: &header,
        took: Duration::from_millis(250),
        status: StatusCode::OK,
        failed: true,
    };
    // Neither sampled, nor ours to describe.
    let unsampled = header.replace("Sampled=1", "Sampled=0");
    xray.invoked(own(), &Invoked { header: &unsampled, ..invoked });
    xray.invoked(own(), &Invoked { sent: Some(&header), ..invoked });
    assert_eq!(xray.get(TRACE), None);

    xray.invoked(own(), &invoked);
    let segment = xray.get(TRACE).unwrap()["segments"][0].take();
    assert_eq!(
        (&segment["id"], &segment["parent_id"]),
        (&json!("53995c3f42cd8ad8"), &json!("9a9197af755a6419"))
    );
    assert_eq!((&segment["name"], &segment["fault"]), (&json!("work"), &json!(true)));
    assert_eq!(segment["resource_arn"], "arn:aws:lambda:us-east-1:000000000000:function:work");
    assert_eq!(xray.list()["traces"][0]["duration"], json!(0.25));
}

#[tokio::test]
async fn the_daemon_takes_segments_and_tells_that_there_are_no_rules() {
    use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, net::UdpSocket};

    let xray = Xray::new(MovedClock::new());
    let daemon = Daemon::start(xray.clone(), own()).await.unwrap();
    let second = Daemon::start(xray.clone(), own()).await.unwrap();
    assert_ne!(daemon.address(), second.address(), "whoever comes second takes another port");

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagram = format!("{{\"format\":\"json\",\"version\":1}}\n{}", segment(1, TRACE));
    let arrived = async {
        while xray.get(TRACE).is_none() {
            socket.send_to(datagram.as_bytes(), daemon.address()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the segment arrives");

    let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
    let request =
        "POST /GetSamplingRules HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("{\"SamplingRuleRecords\":[]}"), "{answer}");

    let address = daemon.address();
    daemon.close().await;
    UdpSocket::bind(address).await.expect("the port is free again");
    second.close().await;
}
