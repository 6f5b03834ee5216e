//! Floor F1: the least that an invoke can cost. A relay of bare hyper passes an event from a caller to a runtime
//! and the result back, as two exchanges over TCP; it knows no functions, logs or limits.
//!
//! Must not be tuned to look slow: it is what the service is compared with.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, Read, Write},
    net::TcpStream,
    process::Command,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use super::{
    BenchError, http,
    load::Target,
    process::{self, Owned},
};

/// The relay and its runtimes, each a process.
pub(super) struct Relay {
    /// Where events are sent.
    pub(super) target: Target,
    /// Where runtimes ask for them.
    api: u16,
    // They end before it does: the end of a relay is an error to them.
    runtimes: Vec<Owned>,
    _process: Owned,
}

impl Relay {
    /// Starts the relay with `runtimes` runtimes, all on one core or all anywhere.
    pub(super) fn start(runtimes: usize, core: Option<usize>) -> Result<Self, BenchError> {
        let mut relay = Self::alone(core)?;
        for _ in 0..runtimes {
            let port = relay.api.to_string();
            relay.join(process::part(&["runtime", "--port", &port])?.args(on(core)))?;
        }
        Ok(relay)
    }

    /// Starts it without a runtime.
    pub(super) fn alone(core: Option<usize>) -> Result<Self, BenchError> {
        let mut process = Owned::start(process::part(&["relay"])?.args(on(core)))?;
        let line = process.line()?;
        let mut ports = line.split(' ').filter_map(|port| port.parse::<u16>().ok());
        let (Some(events), Some(api)) = (ports.next(), ports.next()) else {
            return Err(BenchError::NotReady(line));
        };
        Ok(Self { target: Target::new(events, "/invoke"), api, runtimes: Vec::new(), _process: process })
    }

    /// Starts a runtime of it.
    pub(super) fn join(&mut self, runtime: &mut Command) -> Result<(), BenchError> {
        runtime.env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", self.api));
        self.runtimes.push(Owned::start(runtime)?);
        Ok(())
    }
}

/// The option of a part that runs on one core.
fn on(core: Option<usize>) -> Vec<String> {
    core.iter().flat_map(|core| ["--core".to_owned(), core.to_string()]).collect()
}

struct Event {
    body: Bytes,
    reply: oneshot::Sender<Bytes>,
}

#[derive(Default)]
struct Exchange {
    events: VecDeque<Event>,
    runtimes: Vec<oneshot::Sender<Event>>,
    /// Replies by request number; runtimes answer in any order.
    pending: Vec<Option<oneshot::Sender<Bytes>>>,
}

type Shared = Arc<Mutex<Exchange>>;

const NEXT: &str = "/2018-06-01/runtime/invocation/next";

/// Serves until the process is killed; prints the port for events and the port for runtimes.
pub(super) fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let events = TcpListener::bind(("127.0.0.1", 0)).await?;
        let api = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{} {}", events.local_addr()?.port(), api.local_addr()?.port());
        let shared = Shared::default();
        let mut connections = JoinSet::new();
        loop {
            let (stream, is_event) = tokio::select! {
                accepted = events.accept() => (accepted?.0, true),
                accepted = api.accept() => (accepted?.0, false),
            };
            stream.set_nodelay(true)?;
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&shared), request, is_event));
                let server = http1::Builder::new()
                    .pipeline_flush(true)
                    .serve_connection(TokioIo::new(stream), service);
                // The other side hung up; nothing follows from it here.
                let _ = server.await;
            });
        }
    })
}

async fn answer(
    shared: Shared,
    request: Request<Incoming>,
    is_event: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok(match (is_event, path.as_str()) {
        (true, _) => invoke(&shared, body).await,
        (false, NEXT) => next(&shared).await,
        (false, path) => respond(&shared, path, body),
    })
}

async fn invoke(shared: &Shared, body: Bytes) -> Response<Full<Bytes>> {
    let (reply, answer) = oneshot::channel();
    {
        let mut exchange = shared.lock().expect("no holder panics");
        let mut event = Event { body, reply };
        loop {
            let Some(runtime) = exchange.runtimes.pop() else {
                exchange.events.push_back(event);
                break;
            };
            match runtime.send(event) {
                Ok(()) => break,
                // That runtime has gone.
                Err(back) => event = back,
            }
        }
    }
    match answer.await {
        Ok(body) => response(200, body, &[("x-amz-executed-version", "$LATEST")]),
        Err(_) => response(502, Bytes::new(), &[]),
    }
}

async fn next(shared: &Shared) -> Response<Full<Bytes>> {
    let waiting = {
        let mut exchange = shared.lock().expect("no holder panics");
        match exchange.events.pop_front() {
            Some(event) => Ok(event),
            None => {
                let (sender, receiver) = oneshot::channel();
                exchange.runtimes.push(sender);
                Err(receiver)
            }
        }
    };
    let event = match waiting {
        Ok(event) => event,
        Err(receiver) => match receiver.await {
            Ok(event) => event,
            Err(_) => return response(500, Bytes::new(), &[]),
        },
    };
    let number = {
        let mut exchange = shared.lock().expect("no holder panics");
        let free = exchange.pending.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            exchange.pending.push(None);
            exchange.pending.len() - 1
        });
        exchange.pending[number] = Some(event.reply);
        number
    };
    let headers = [
        ("lambda-runtime-aws-request-id", format!("8476a536-e9f4-11e8-9739-{number:012}")),
        ("lambda-runtime-deadline-ms", "9999999999999".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".to_owned(),
        ),
    ];
    response(200, event.body, &headers.each_ref().map(|(name, value)| (*name, value.as_str())))
}

fn respond(shared: &Shared, path: &str, body: Bytes) -> Response<Full<Bytes>> {
    let number = path.rsplit(['/', '-']).nth(1).and_then(|number| number.parse::<usize>().ok());
    let reply =
        number.and_then(|number| shared.lock().expect("no holder panics").pending.get_mut(number)?.take());
    if let Some(reply) = reply {
        // A caller that went away is not waited for.
        let _ = reply.send(body);
    }
    response(202, Bytes::from_static(b"{\"status\":\"OK\"}\n"), &[])
}

fn response(status: u16, body: Bytes, headers: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let builder = headers
        .iter()
        .fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, *value))
        .header("content-type", "application/json");
    builder.body(Full::new(body)).expect("all parts are valid")
}

/// A runtime that sends every event back, with blocking sockets and nothing else.
pub(super) fn runtime(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (Vec::new(), Vec::new());
    loop {
        stream.write_all(format!("GET {NEXT} HTTP/1.1\r\nHost: relay\r\n\r\n").as_bytes())?;
        let Some(head) = read(&mut stream, &mut input)? else { return Ok(()) };
        let id = http::header(&input[..head.length], "lambda-runtime-aws-request-id").unwrap_or_default();
        output.clear();
        write!(
            output,
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: relay\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            head.body
        )?;
        output.extend_from_slice(&input[head.length..head.length + head.body]);
        stream.write_all(&output)?;
        if read(&mut stream, &mut input)?.is_none() {
            return Ok(());
        }
    }
}

/// Reads one message into `buffer`; nothing when the relay has gone.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<http::Head>> {
    buffer.clear();
    let mut part = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&part[..count]);
        if let Some(head) = http::head(buffer).filter(|head| buffer.len() >= head.length + head.body) {
            return Ok(Some(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_waits_for_a_runtime() {
        let shared = Shared::default();
        let waiting = Arc::clone(&shared);
        let mut callers = JoinSet::new();
        let caller = callers.spawn(async move { invoke(&waiting, Bytes::from_static(b"event")).await });
        while shared.lock().unwrap().events.is_empty() {
            assert!(!caller.is_finished(), "the event was answered before any runtime had it");
            tokio::task::yield_now().await;
        }
        let given = next(&shared).await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(given, "event");
        let path = "/2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-000000000000/response";
        respond(&shared, path, Bytes::from_static(b"answer"));
        let answer = callers.join_next().await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answer");
    }

    #[tokio::test]
    async fn a_runtime_that_has_gone_gets_no_event() {
        let shared = Shared::default();
        {
            let mut exchange = shared.lock().unwrap();
            let (gone, receiver) = oneshot::channel();
            drop(receiver);
            exchange.runtimes.push(gone);
        }
        let waiting = Arc::clone(&shared);
        let mut callers = JoinSet::new();
        let caller = callers.spawn(async move { invoke(&waiting, Bytes::from_static(b"event")).await });
        while shared.lock().unwrap().events.is_empty() {
            assert!(!caller.is_finished(), "the event went with the runtime");
            tokio::task::yield_now().await;
        }
    }
}
