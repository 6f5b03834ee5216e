//! An extension on AWS's own crate: tells in the log what it hears, of events and of telemetry.

use lambda_extension::{
    Error, Extension, LambdaEvent, LambdaTelemetry, LambdaTelemetryRecord, NextEvent, SharedService,
    service_fn,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Extension::new()
        .with_events_processor(service_fn(hear))
        // Not those of extensions: each line that tells of one would be another.
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_processor(SharedService::new(service_fn(receive)))
        .run()
        .await
}

async fn hear(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(event) => println!("rust-extension: invoked {}", event.request_id),
        NextEvent::Shutdown(event) => println!("rust-extension: shutdown {}", event.shutdown_reason),
    }
    Ok(())
}

async fn receive(batch: Vec<LambdaTelemetry>) -> Result<(), Error> {
    for event in batch {
        match event.record {
            LambdaTelemetryRecord::Function(text) => println!("rust-extension: function {}", text.trim_end()),
            LambdaTelemetryRecord::PlatformInitReport { metrics, .. } => {
                println!("rust-extension: initReport {}", metrics.duration_ms > 0.0);
            }
            LambdaTelemetryRecord::PlatformRuntimeDone { request_id, spans, .. } => {
                println!("rust-extension: runtimeDone {request_id} {}", spans.len());
            }
            LambdaTelemetryRecord::PlatformReport { request_id, metrics, .. } => {
                println!("rust-extension: report {request_id} {}", metrics.memory_size_mb);
            }
            _ => {}
        }
    }
    Ok(())
}
