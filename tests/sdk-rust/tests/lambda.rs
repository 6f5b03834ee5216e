//! The AWS SDK for Rust against the running binary: a function's life as this SDK sees it.

use std::{
    io::{Cursor, Write},
    process::Stdio,
    time::Duration,
};

use aws_sdk_lambda::{
    Client,
    client::Waiters,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    primitives::Blob,
    types::{FunctionCode, InvocationType, LogType, Runtime},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const ROLE: &str = "arn:aws:iam::000000000000:role/test";
const HANDLER: &str = "
def handler(event, context):
    if event.get('fail'):
        raise ValueError('on purpose')
    print('hello from inside')
    return {'event': event, 'version': context.function_version}
";

/// The binary, serving on a port of its own; it is asked to end when a test is over.
struct Service {
    process: Child,
    endpoint: String,
}

impl Service {
    async fn start() -> Self {
        let binary = std::env::var("HOTHOUSE_TEST_BINARY").expect("HOTHOUSE_TEST_BINARY names the binary");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut process = Command::new(binary)
            .args(["start", "--ephemeral", "--listen", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == "Ready." {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), ready).await.expect("ready in time"));
        Self { process, endpoint: format!("http://{address}") }
    }

    fn client(&self) -> Client {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&self.endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Client::from_conf(config)
    }

    async fn stop(mut self) {
        let pid = self.process.id().expect("still running").to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(6), self.process.wait()).await;
        assert!(ended.expect("ends in time").unwrap().success());
    }
}

fn archive(source: &str) -> Blob {
    let mut bundle = zip::ZipWriter::new(Cursor::new(Vec::new()));
    bundle.start_file("main.py", zip::write::SimpleFileOptions::default()).unwrap();
    bundle.write_all(source.as_bytes()).unwrap();
    Blob::new(bundle.finish().unwrap().into_inner())
}

async fn create(client: &Client, name: &str) {
    client
        .create_function()
        .function_name(name)
        .runtime(Runtime::Python312)
        .handler("main.handler")
        .role(ROLE)
        .timeout(20)
        .code(FunctionCode::builder().zip_file(archive(HANDLER)).build())
        .send()
        .await
        .expect("the function is created");
    client
        .wait_until_function_active_v2()
        .function_name(name)
        .wait(Duration::from_secs(20))
        .await
        .expect("the function becomes active");
}

#[tokio::test]
async fn a_function_lives_from_create_to_delete() {
    let service = Service::start().await;
    let client = service.client();
    create(&client, "life").await;

    let answer = client
        .invoke()
        .function_name("life")
        .log_type(LogType::Tail)
        .payload(Blob::new(r#"{"n": 1}"#))
        .send()
        .await
        .expect("the function answers");
    assert_eq!(answer.function_error(), None);
    assert_eq!(answer.executed_version(), Some("$LATEST"));
    let payload = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
    assert_eq!(payload, r#"{"event": {"n": 1}, "version": "$LATEST"}"#);
    assert!(answer.log_result.is_some());

    let updated =
        client.update_function_code().function_name("life").zip_file(archive("handler = lambda e, c: 2\n"));
    updated.send().await.expect("the code is updated");
    client
        .wait_until_function_updated_v2()
        .function_name("life")
        .wait(Duration::from_secs(20))
        .await
        .expect("the update is finished");
    let answer =
        client.invoke().function_name("life").payload(Blob::new("{}")).send().await.expect("it answers");
    assert_eq!(answer.payload.unwrap().into_inner(), b"2");

    let version =
        client.publish_version().function_name("life").send().await.expect("a version is published");
    assert_eq!(version.version(), Some("1"));
    client
        .create_alias()
        .function_name("life")
        .name("live")
        .function_version("1")
        .send()
        .await
        .expect("an alias is made");
    let answer =
        client.invoke().function_name("life").qualifier("live").send().await.expect("the alias answers");
    assert_eq!(answer.executed_version(), Some("1"));

    let listed: Vec<_> = client
        .list_functions()
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .expect("functions are listed");
    assert_eq!(listed.iter().filter_map(|function| function.function_name()).collect::<Vec<_>>(), ["life"]);

    client.delete_function().function_name("life").send().await.expect("the function is deleted");
    let error = client.get_function().function_name("life").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    service.stop().await;
}

#[tokio::test]
async fn errors_are_of_the_modelled_kinds() {
    let service = Service::start().await;
    let client = service.client();
    create(&client, "errors").await;

    let answer =
        client.invoke().function_name("errors").payload(Blob::new(r#"{"fail": true}"#)).send().await.unwrap();
    assert_eq!(answer.status_code(), 200);
    assert_eq!(answer.function_error(), Some("Unhandled"));
    let body = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
    assert!(body.contains(r#""errorType": "ValueError""#), "{body}");

    let error = client.invoke().function_name("nobody").send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
    let error = client.invoke().function_name("errors").payload(Blob::new("{")).send().await.unwrap_err();
    assert!(error.into_service_error().is_invalid_request_content_exception());
    let again = client
        .create_function()
        .function_name("errors")
        .runtime(Runtime::Python312)
        .handler("main.handler")
        .role(ROLE)
        .code(FunctionCode::builder().zip_file(archive(HANDLER)).build());
    let error = again.send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_conflict_exception(), "{error:?}");

    let dry =
        client.invoke().function_name("errors").invocation_type(InvocationType::DryRun).send().await.unwrap();
    assert_eq!(dry.status_code(), 204);
    service.stop().await;
}
