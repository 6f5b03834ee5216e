//! What an invocation allocates: the same however large its payload is, but for the buffers that a payload is read into.
//!
//! In a process of its own, whose allocator counts. Counts are exact, so that this needs no patience and no quiet machine.

#![expect(clippy::unwrap_used, reason = "what is not as expected ends the test")]

#[path = "control/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use std::{alloc::System, sync::Arc};

use bytes::Bytes;
use hothouse_control::{ControlConfig, code::CodeStore, state::MemoryStore};
use hothouse_execution::executor::fake::FakeExecutor;
use http::Request;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{FUNCTIONS, Service, open};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Invocations over which small ones are averaged.
const INVOCATIONS: usize = 100_000;

/// A small invocation, the stand-in for its runtime included, allocates so many bytes.
const SMALL: usize = 48 * 1024;

/// What may lie around a large payload.
const AROUND: usize = 512 * 1024;

const LARGE: usize = 4 << 20;

/// A function that answers every event with `answer`.
async fn answering(answer: Bytes) -> Service {
    let executor = FakeExecutor::new(move |mut runtime| {
        let answer = answer.clone();
        async move {
            loop {
                let event = runtime.next().await;
                runtime.respond(&event.request_id, answer.clone()).await;
            }
        }
    });
    let config = ControlConfig::default();
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    let service = open(config, Arc::<MemoryStore>::default(), code, executor).await;
    service.created(json!({})).await;
    // Start it; what stays is not counted.
    for _ in 0..10 {
        invoke(&service, &Bytes::from_static(b"{}")).await;
    }
    service
}

async fn invoke(service: &Service, event: &Bytes) -> usize {
    let request = Request::builder().method("POST").uri(format!("{FUNCTIONS}/f/invocations"));
    let response = service.respond(request.body(event.clone()).unwrap()).await;
    assert_eq!(response.status(), 200);
    response.body().len()
}

fn text(length: usize) -> Bytes {
    let mut text = vec![b'a'; length];
    text[0] = b'"';
    text[length - 1] = b'"';
    text.into()
}

/// Bytes that are allocated while this runs; what grows in place counts by how much it grows.
async fn allocated<T>(work: impl Future<Output = T>) -> usize {
    let region = Region::new(ALLOCATOR);
    work.await;
    region.change().bytes_allocated
}

/// One test, as counts are the process's.
#[tokio::test]
async fn payloads_are_not_copied_and_nothing_is_kept() {
    // The event goes from the caller's buffer to the runtime's socket as it is. What is counted is the reading of it by the
    // stand-in for the runtime: once from its socket, and once more into one piece.
    let service = answering(Bytes::from_static(b"{}")).await;
    let event = text(LARGE);
    // The socket between them is as large as what it has held.
    invoke(&service, &event).await;
    let bytes = allocated(invoke(&service, &event)).await;
    println!("{bytes} bytes for an event of {LARGE}");
    assert!(bytes < 2 * LARGE + AROUND, "an event of {LARGE} bytes made {bytes}");

    // Of many small ones each allocates the same, and nothing stays.
    let event = Bytes::from_static(br#"{"key":"value","n":12345}"#);
    let region = Region::new(ALLOCATOR);
    for _ in 0..INVOCATIONS {
        invoke(&service, &event).await;
    }
    let change = region.change();
    let each = change.bytes_allocated / INVOCATIONS;
    println!("{each} bytes in {} allocations for an invocation", change.allocations / INVOCATIONS);
    assert!(each < SMALL, "{each} bytes for an invocation");
    let left = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    assert!(left < INVOCATIONS, "{left} bytes are left of {INVOCATIONS} invocations");

    // An answer is read from the runtime's socket, and once more into one piece; from there on it is passed on as it is.
    let service = answering(text(LARGE)).await;
    let event = Bytes::from_static(b"{}");
    let bytes = allocated(invoke(&service, &event)).await;
    println!("{bytes} bytes for an answer of {LARGE}");
    assert!(bytes < 2 * LARGE + AROUND, "an answer of {LARGE} bytes made {bytes}");
}
