//! Echoes its event and what the context says; fails or ends when the event asks for it.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (payload, context) = event.into_parts();
    match payload["do"].as_str() {
        Some("context") => Ok(json!({
            "request_id": context.request_id,
            "function_name": context.env_config.function_name,
            "invoked_function_arn": context.invoked_function_arn,
            "has_deadline": context.deadline > 0,
        })),
        Some("fail") => Err("on purpose".into()),
        Some("leave") => std::process::exit(payload["code"].as_i64().unwrap_or(1) as i32),
        _ => Ok(payload),
    }
}
