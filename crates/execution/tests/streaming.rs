//! Answers that are taken while the function makes them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use hothouse_execution::{
    EngineConfig, VersionHandle,
    executor::fake::{EXIT_0, FakeExecutor, FakeRuntime},
    fault::{Exit, ExitStatus},
    invocation::{Invocation, Outcome},
    response::{End, Failure, Part, ResponseStream},
};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};

use support::{MemorySink, engine, invocation, spec};

const SECOND: Duration = Duration::from_secs(1);

fn version<F>(
    config: EngineConfig,
    script: impl Fn(FakeRuntime) -> F + Send + Sync + 'static,
) -> (VersionHandle, Arc<MemorySink>)
where
    F: Future<Output = Exit> + Send + 'static,
{
    let (engine, sink) = engine(FakeExecutor::new(script), config);
    (engine.version(spec()), sink)
}

async fn begun(version: &VersionHandle, event: &'static str) -> ResponseStream {
    version.stream(invocation(event)).await.unwrap()
}

fn chunk(text: &'static str) -> Part {
    Part::Chunk(Bytes::from_static(text.as_bytes()))
}

fn success() -> Part {
    Part::End(End::default())
}

/// The chunks in one piece, and what went wrong.
async fn rest(stream: ResponseStream) -> (String, Option<Failure>) {
    let mut payload = Vec::new();
    let parts: Vec<Part> = stream.collect().await;
    for part in parts {
        match part {
            Part::Chunk(chunk) => payload.extend_from_slice(&chunk),
            Part::End(end) => return (String::from_utf8(payload).unwrap(), end.failure),
        }
    }
    panic!("a stream without an end");
}

fn error_type(failure: Option<Failure>) -> String {
    failure.expect("a failure").error_type
}

/// Streams `one`, then waits for a word, which it streams, too.
fn waiting() -> (VersionHandle, Arc<MemorySink>, mpsc::Sender<&'static str>) {
    let (say, words) = mpsc::channel(4);
    let words = Arc::new(Mutex::new(words));
    let (version, sink) = version(EngineConfig::default(), move |mut runtime| {
        let words = words.clone();
        async move {
            loop {
                let event = runtime.next().await;
                let mut stream = runtime.stream(&event.request_id, "text/plain").await;
                stream.send("one").await;
                let Some(word) = words.lock().await.recv().await else { continue };
                stream.send(word).await;
                assert_eq!(stream.end().await, 202);
            }
        }
    });
    (version, sink, say)
}

#[tokio::test]
async fn chunks_come_before_the_function_has_ended() {
    let (version, sink, say) = waiting();
    let mut stream = begun(&version, "{}").await;
    assert_eq!((stream.is_streamed(), stream.content_type(), stream.end()), (true, Some("text/plain"), None));
    assert_eq!(stream.next().await, Some(chunk("one")));
    assert!(!sink.lines().iter().any(|line| line.starts_with("REPORT")));
    say.send("two").await.unwrap();
    assert_eq!(stream.next().await, Some(chunk("two")));
    assert_eq!(stream.next().await, Some(success()));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn the_tail_comes_with_the_end() {
    let (version, _, say) = waiting();
    let mut stream = version.stream(Invocation { tail: true, ..invocation("{}") }).await.unwrap();
    assert_eq!(stream.next().await, Some(chunk("one")));
    say.send("two").await.unwrap();
    assert_eq!(stream.next().await, Some(chunk("two")));
    let Some(Part::End(End { failure: None, log_tail: Some(tail) })) = stream.next().await else { panic!() };
    let tail = String::from_utf8(tail.to_vec()).unwrap();
    assert!(tail.starts_with("START ") && tail.contains("\nREPORT "), "{tail}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_stream() {
    let (version, sink, say) = waiting();
    let (text, failure) = rest(begun(&version, "{}").await).await;
    assert_eq!(text, "one");
    let failure = failure.unwrap();
    assert_eq!(failure.error_type, "Sandbox.Timedout");
    let document = String::from_utf8(failure.document.to_vec()).unwrap();
    assert!(document.contains("Task timed out after 3.00 seconds"), "{document}");
    assert!(sink.lines().iter().any(|line| line.contains("Status: timeout")));
    say.send("two").await.unwrap();
    assert_eq!(rest(begun(&version, "{}").await).await, ("onetwo".to_owned(), None));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_holds_the_function_up_and_its_time_counts() {
    const CHUNK: usize = 100_000;
    let (told, mut sent) = mpsc::channel(1);
    let (version, _) = version(EngineConfig::default(), move |mut runtime| {
        let told = told.clone();
        async move {
            let event = runtime.next().await;
            let mut stream = runtime.stream(&event.request_id, "text/plain").await;
            let mut bytes = 0;
            while timeout(SECOND, stream.send(vec![b'x'; CHUNK])).await.is_ok() {
                bytes += CHUNK;
            }
            told.send(bytes).await.unwrap();
            std::future::pending().await
        }
    });
    let stream = begun(&version, "{}").await;
    let sent = sent.recv().await.unwrap();
    // The fake's own connection holds a megabyte of it.
    assert!(sent < (1 << 20) + (2 << 20), "{sent} bytes were taken that nobody read");
    tokio::time::sleep(3 * SECOND).await;
    let (text, failure) = rest(stream).await;
    assert!(!text.is_empty() && text.len() <= sent);
    assert_eq!(error_type(failure), "Sandbox.Timedout");
}

#[tokio::test]
async fn a_process_that_ends_and_a_response_that_breaks_off_are_the_same_to_the_caller() {
    let (go, wait) = mpsc::channel::<()>(1);
    let wait = Arc::new(Mutex::new(wait));
    let (version, sink) = version(EngineConfig::default(), move |mut runtime| {
        let wait = wait.clone();
        async move {
            let event = runtime.next().await;
            let mut stream = runtime.stream(&event.request_id, "text/plain").await;
            stream.send("part").await;
            let _ = wait.lock().await.recv().await;
            if event.payload == "\"break\"" {
                stream.break_off().await;
                return std::future::pending().await;
            }
            Exit { status: ExitStatus::Code(7), out_of_memory: false }
        }
    });
    for event in ["\"exit\"", "\"break\""] {
        let mut stream = begun(&version, event).await;
        assert_eq!(stream.next().await, Some(chunk("part")));
        go.send(()).await.unwrap();
        let (text, failure) = rest(stream).await;
        let failure = failure.unwrap();
        assert_eq!((&*text, &*failure.error_type), ("", "Runtime.TruncatedResponse"), "{event}");
        assert!(failure.document.is_empty());
    }
    let report = sink.lines().into_iter().find(|line| line.starts_with("REPORT")).unwrap();
    assert!(report.contains("Error Type: Runtime.ExitError"), "{report}");
}

#[tokio::test]
async fn trailers_tell_what_went_wrong() {
    let (version, sink) = version(EngineConfig::default(), |mut runtime| async move {
        loop {
            let event = runtime.next().await;
            let mut stream = runtime.stream(&event.request_id, "text/plain").await;
            stream.send("part").await;
            assert_eq!(stream.fail("Midway", r#"{"errorType":"Midway"}"#).await, 202);
        }
    });
    for _ in 0..2 {
        let (text, failure) = rest(begun(&version, "{}").await).await;
        let expected = Failure { error_type: "Midway".into(), document: r#"{"errorType":"Midway"}"#.into() };
        assert_eq!((&*text, failure), ("part", Some(expected)));
    }
    assert_eq!(sink.lines().iter().filter(|line| line.starts_with("INIT_START")).count(), 1, "it stays warm");
    // For who takes the answer whole, the error is the answer.
    let outcome = version.invoke(invocation("{}")).await.unwrap().outcome;
    assert_eq!(outcome, Outcome::Error(r#"{"errorType":"Midway"}"#.into()));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_run() {
    let (done, mut ended) = mpsc::channel(1);
    let (version, _) = version(EngineConfig::default(), move |mut runtime| {
        let done = done.clone();
        async move {
            loop {
                let event = runtime.next().await;
                let mut stream = runtime.stream(&event.request_id, "text/plain").await;
                for _ in 0..50 {
                    stream.send(vec![b'x'; 100_000]).await;
                }
                done.send(stream.end().await).await.unwrap();
            }
        }
    });
    let mut stream = begun(&version, "{}").await;
    assert!(matches!(stream.next().await, Some(Part::Chunk(_))));
    drop(stream);
    assert_eq!(ended.recv().await.unwrap(), 202);
    let (text, failure) = rest(begun(&version, "{}").await).await;
    assert_eq!((text.len(), failure), (5_000_000, None));
}

#[tokio::test]
async fn more_than_the_limit_ends_the_stream_at_once() {
    let config = EngineConfig { streamed_response_limit: 10, ..EngineConfig::default() };
    let (go, wait) = mpsc::channel::<()>(1);
    let (told, mut answers) = mpsc::channel(1);
    let wait = Arc::new(Mutex::new(wait));
    let (version, _) = version(config, move |mut runtime| {
        let (wait, told) = (wait.clone(), told.clone());
        async move {
            loop {
                let event = runtime.next().await;
                let mut stream = runtime.stream(&event.request_id, "text/plain").await;
                stream.send(event.payload.clone()).await;
                if event.payload.len() > 10 {
                    let _ = wait.lock().await.recv().await;
                }
                told.send(stream.end().await.as_u16()).await.unwrap();
            }
        }
    });
    assert_eq!(rest(begun(&version, "0123456789").await).await, ("0123456789".to_owned(), None));
    assert_eq!(answers.recv().await, Some(202));
    let (text, failure) = rest(begun(&version, "0123456789ab").await).await;
    assert_eq!((&*text, &*error_type(failure)), ("0123456789", "Function.ResponseSizeTooLarge"));
    go.send(()).await.unwrap();
    assert_eq!(answers.recv().await, Some(413));
    assert_eq!(rest(begun(&version, "01").await).await, ("01".to_owned(), None));
}

#[tokio::test]
async fn the_service_ends_a_stream_when_it_ends() {
    let executor = FakeExecutor::new(|mut runtime| async move {
        let event = runtime.next().await;
        let mut stream = runtime.stream(&event.request_id, "text/plain").await;
        stream.send("one").await;
        std::future::pending().await
    });
    let (engine, _) = engine(executor, EngineConfig::default());
    let mut stream = begun(&engine.version(spec()), "{}").await;
    assert_eq!(stream.next().await, Some(chunk("one")));
    engine.shut_down().await;
    assert_eq!(error_type(rest(stream).await.1), "Sandbox.Failure");
}

#[tokio::test]
async fn who_wants_the_answer_whole_gets_it_whole_and_who_streams_it_need_not_be_streamed_to() {
    let (version, _) = version(EngineConfig::default(), |mut runtime| async move {
        loop {
            let event = runtime.next().await;
            match &event.payload[..] {
                b"\"fail\"" => drop(runtime.fail(&event.request_id, "Function.Oops", "{}").await),
                b"\"exit\"" => return EXIT_0,
                b"\"stream\"" => {
                    let mut stream = runtime.stream(&event.request_id, "text/plain").await;
                    stream.send("a").await;
                    stream.send("b").await;
                    stream.end().await;
                }
                _ => drop(runtime.respond(&event.request_id, event.payload).await),
            }
        }
    });
    let whole = version.invoke(invocation("\"stream\"")).await.unwrap().outcome;
    assert_eq!(whole, Outcome::Success("ab".into()));

    let stream = begun(&version, "1").await;
    assert_eq!((stream.is_streamed(), stream.end()), (false, Some(&End::default())));
    assert_eq!(rest(stream).await, ("1".to_owned(), None));
    for (event, expected) in [("\"fail\"", "Function.Oops"), ("\"exit\"", "Runtime.ExitError")] {
        let stream = begun(&version, event).await;
        assert!(!stream.is_streamed());
        let (text, failure) = rest(stream).await;
        assert_eq!((&*text, &*error_type(failure)), ("", expected));
    }
}

#[tokio::test]
async fn while_it_streams_a_runtime_may_do_nothing_else() {
    let (told, mut answers) = mpsc::channel(4);
    let (version, _) = version(EngineConfig::default(), move |mut runtime| {
        let told = told.clone();
        async move {
            let event = runtime.next().await;
            assert_eq!(runtime.respond(&event.request_id, "1").await, 202);
            let mut stream = runtime.stream(&event.request_id, "text/plain").await;
            stream.send("2").await;
            told.send(stream.end().await.as_u16()).await.unwrap();
            let event = runtime.next().await;
            let stream = runtime.stream(&event.request_id, "text/plain").await;
            told.send(stream.end().await.as_u16()).await.unwrap();
            told.send(runtime.fail(&event.request_id, "X", "{}").await.as_u16()).await.unwrap();
            std::future::pending().await
        }
    });
    assert_eq!(rest(begun(&version, "{}").await).await, ("1".to_owned(), None));
    assert_eq!(answers.recv().await, Some(403), "it has answered");
    assert_eq!(rest(begun(&version, "{}").await).await, (String::new(), None));
    assert_eq!(answers.recv().await, Some(202), "a stream may be empty");
    assert_eq!(answers.recv().await, Some(403));
}
