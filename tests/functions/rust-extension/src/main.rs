//! An extension on AWS's own crate: tells in the log what it hears.

use lambda_extension::{Error, LambdaEvent, NextEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_extension::run(service_fn(hear)).await
}

async fn hear(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(event) => println!("rust-extension: invoked {}", event.request_id),
        NextEvent::Shutdown(event) => println!("rust-extension: shutdown {}", event.shutdown_reason),
    }
    Ok(())
}
