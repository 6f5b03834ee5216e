//! Delivery to real listeners on loopback.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};

use super::*;
use crate::{
    executor::HostLoopback,
    telemetry::{Api, subscription::Buffering},
};

/// Whatever takes this long has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Delivery {
    outbox: Arc<Outbox>,
    _task: JoinSet<()>,
}

impl Delivery {
    fn start(destination: Destination) -> Delivery {
        let subscription = Subscription {
            api: Api::Telemetry,
            schema: Schema::Telemetry20220701,
            types: vec![Category::Platform, Category::Function],
            buffering: Buffering { max_items: 1000, max_bytes: 262_144, timeout_ms: 25 },
            destination: destination.clone(),
        };
        let outbox = Arc::new(Outbox::new(&subscription, true));
        let mut task = JoinSet::new();
        task.spawn(run(outbox.clone(), destination, Arc::new(HostLoopback)));
        Delivery { outbox, _task: task }
    }

    fn http(port: u16) -> Delivery {
        let host = "sandbox.localdomain".to_owned();
        Delivery::start(Destination::Http { put: false, host, port, path: "/x?y".to_owned() })
    }

    fn say(&self, text: &str) {
        let content = Content::Output { category: Category::Function, bytes: text.as_bytes(), json: false };
        let event = Event { time: Timestamp::UNIX_EPOCH, content };
        self.outbox.push(&event, Schema::Telemetry20220701, Instant::now());
    }
}

/// A request, as a listener reads it: its head, and the records in its body.
async fn request(stream: &mut TcpStream) -> (String, Vec<Value>) {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let end = at + 4 + length.parse::<usize>().unwrap();
                while bytes.len() < end {
                    assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
                }
                assert_eq!(bytes.len(), end);
                let events: Vec<Value> = serde_json::from_slice(&bytes[at + 4..]).unwrap();
                return (head, events.into_iter().map(|mut event| event["record"].take()).collect());
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "no request came");
        }
    };
    timeout(LIMIT, read).await.unwrap()
}

async fn answer(stream: &mut TcpStream, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nOK");
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(LIMIT, listener.accept()).await.unwrap().unwrap().0
}

#[tokio::test]
async fn batches_come_over_one_connection_as_arrays() {
    let (listener, port) = listen().await;
    let delivery = Delivery::http(port);
    delivery.say("one");
    delivery.say("two");
    let mut stream = accept(&listener).await;
    let (head, records) = request(&mut stream).await;
    assert!(head.starts_with("POST /x?y HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: sandbox.localdomain:{port}")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(records, ["one", "two"]);
    // While this batch is unanswered, others wait.
    delivery.say("three");
    answer(&mut stream, "200 OK").await;
    assert_eq!(request(&mut stream).await.1, ["three"]);
}

#[tokio::test]
async fn a_listener_that_comes_late_gets_everything() {
    let (listener, port) = listen().await;
    drop(listener);
    let delivery = Delivery::http(port);
    delivery.say("one");
    let tried = async {
        while delivery.outbox.inside().buffer.due().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, tried).await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(request(&mut stream).await.1, ["one"]);
    answer(&mut stream, "200 OK").await;
    // One that closes its connections gets the next batch on another.
    drop(stream);
    delivery.say("two");
    let mut stream = accept(&listener).await;
    assert_eq!(request(&mut stream).await.1, ["two"]);
}

#[tokio::test]
async fn what_is_refused_again_and_again_is_lost_and_said_to_be() {
    let (listener, port) = listen().await;
    let delivery = Delivery::http(port);
    delivery.say("one");
    let mut stream = accept(&listener).await;
    for _ in 0..REFUSALS {
        assert_eq!(request(&mut stream).await.1, ["one"]);
        answer(&mut stream, "500 Internal Server Error").await;
    }
    delivery.say("two");
    assert_eq!(request(&mut stream).await.1, ["two"]);
    answer(&mut stream, "200 OK").await;
    let (_, records) = request(&mut stream).await;
    assert_eq!(records[0]["droppedRecords"], 1);
    assert_eq!(
        records[0]["reason"],
        "Some logs were dropped because the downstream consumer is slower than the logs production rate"
    );
}

#[tokio::test]
async fn nothing_is_sent_to_processes_that_do_not_run() {
    let (listener, port) = listen().await;
    let delivery = Delivery::http(port);
    delivery.outbox.set_awake(false);
    delivery.say("one");
    delivery.outbox.drain();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let nobody = timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err() && delivery.outbox.inside().buffer.due().is_some());
    delivery.outbox.set_awake(true);
    let mut stream = accept(&listener).await;
    assert_eq!(request(&mut stream).await.1, ["one"]);
}

#[tokio::test]
async fn tcp_gets_a_line_an_event() {
    let (listener, port) = listen().await;
    let delivery = Delivery::start(Destination::Tcp { port });
    delivery.say("one\n");
    delivery.say("two");
    let mut lines = BufReader::new(accept(&listener).await).lines();
    for text in ["one\n", "two"] {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event, json!({ "time": "1970-01-01T00:00:00.000Z", "type": "function", "record": text }));
    }
    delivery.say("three");
    let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("three"), "{line}");
}

#[tokio::test]
async fn a_listener_that_does_not_answer_costs_a_bounded_buffer() {
    let (listener, port) = listen().await;
    let delivery = Delivery::http(port);
    delivery.say("first");
    let mut stream = accept(&listener).await;
    assert_eq!(request(&mut stream).await.1, ["first"]);
    for _ in 0..100_000 {
        delivery.say("flood");
    }
    answer(&mut stream, "200 OK").await;
    assert_eq!(request(&mut stream).await.1.len(), 1000);
    answer(&mut stream, "200 OK").await;
    assert_eq!(request(&mut stream).await.1[0]["droppedRecords"], 99_000);
}
