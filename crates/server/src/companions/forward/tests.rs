//! Forwarding to servers on the loopback that answer what a test says.

use std::time::{Duration, SystemTime};

use futures_util::stream;
use hothouse_execution::ports::SystemClock;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;
use crate::companions::body;

const LIMIT: Duration = Duration::from_secs(20);
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=123456789012/20261123/eu-west-1/sqs/aws4_request, \
                             SignedHeaders=host, Signature=00";

fn forwarder(endpoint: Option<String>, keys: Option<Keys>) -> Forwarder {
    let config = ForwarderConfig { endpoint, ca_file: None, keys };
    Forwarder::new(config, Arc::new(SystemClock)).unwrap()
}

fn keys() -> Keys {
    Keys::new("AKIAOTHER", "secret")
}

async fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads until `end` has come.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).ends_with(end) {
        let read = tokio::time::timeout(LIMIT, socket.read_buf(&mut text)).await.expect("in time").unwrap();
        assert!(read > 0, "ended after {}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

fn request(path: &str, headers: &[(&str, &str)], body: Body) -> (Request<Body>, Credential) {
    let mut builder = Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(body).unwrap();
    let credential = Credential::of(request.headers(), request.uri());
    (request, credential)
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(body::read(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// Sends a request and gives the head that arrives.
async fn arrives(keys: Option<Keys>, path: &str, headers: &[(&str, &str)]) -> String {
    arrives_of(keys, None, path, headers).await
}

async fn arrives_of(keys: Option<Keys>, own: Option<Keys>, path: &str, headers: &[(&str, &str)]) -> String {
    let (listener, url) = upstream().await;
    let forwarder = forwarder(Some(url), keys);
    let (request, credential) = request(path, headers, body::whole(Bytes::new()));
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_until(&mut socket, "\r\n\r\n").await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        head
    };
    let (head, response) = tokio::join!(serve, forwarder.forward(request, &credential, own));
    assert_eq!(text(response).await, "ok");
    head
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (listener, url) = upstream().await;
    let forwarder = forwarder(Some(url), None);
    let (chunks, receiver) = mpsc::channel::<&'static str>(1);
    let frames = stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(chunk.as_bytes()))), receiver))
    });
    let (request, credential) =
        request("/", &[("authorization", AUTHORIZATION)], BodyExt::boxed_unsync(StreamBody::new(frames)));
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_until(&mut socket, "first\r\n").await;
        // The answer begins before the request has ended.
        let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
        socket.write_all(begin).await.unwrap();
        read_until(&mut socket, "second\r\n0\r\n\r\n").await;
        socket.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    };
    let exchange = async {
        chunks.send("first").await.unwrap();
        let mut response = forwarder.forward(request, &credential, None).await;
        let begin = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(begin, "one");
        chunks.send("second").await.unwrap();
        drop(chunks);
        assert_eq!(text(response).await, "two");
    };
    tokio::time::timeout(LIMIT, async { tokio::join!(serve, exchange) }).await.expect("in time");
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let headers = [
        ("host", "sqs.us-east-1.localhost:4566"),
        ("authorization", AUTHORIZATION),
        ("x-amz-date", "20261123T000000Z"),
        ("connection", "keep-alive, x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("user-agent", "test"),
    ];
    let head = arrives(None, "/a%2Fb//c?x=%20&y=+", &headers).await;
    assert!(head.starts_with("POST /a%2Fb//c?x=%20&y=+ HTTP/1.1\r\n"), "{head}");
    for kept in
        ["host: sqs.us-east-1.localhost:4566\r\n", "x-amz-date: 20261123T000000Z\r\n", "user-agent: test\r\n"]
    {
        assert!(head.contains(kept), "{kept} in {head}");
    }
    assert!(head.contains(&format!("authorization: {AUTHORIZATION}\r\n")), "{head}");
    for gone in ["connection:", "x-mine:", "te:"] {
        assert!(!head.contains(&format!("\n{gone}")), "{gone} in {head}");
    }
}

#[tokio::test]
async fn a_new_signature_takes_the_place_of_the_old() {
    let headers = [
        ("host", "sqs.us-east-1.localhost:4566"),
        ("authorization", AUTHORIZATION),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-security-token", "old"),
    ];
    let head = arrives(Some(keys()), "/", &headers).await;
    assert!(head.contains("host: 127.0.0.1:"), "{head}");
    assert!(head.contains("Credential=AKIAOTHER/"), "{head}");
    assert!(head.contains("/eu-west-1/sqs/aws4_request"), "{head}");
    assert!(!head.contains("20200101") && !head.contains("x-amz-security-token"), "{head}");
    assert_eq!(head.matches("authorization:").count(), 1);
}

fn of_a_role() -> Keys {
    Keys::temporary(hothouse_execution::ports::Credentials {
        access_key_id: "ASIAROLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        session_token: "token".to_owned(),
    })
}

#[tokio::test]
async fn a_role_that_the_endpoint_knows_stays_that_role() {
    let headers = [("host", "localhost:4566"), ("authorization", AUTHORIZATION)];
    let head = arrives_of(Some(keys()), Some(of_a_role()), "/", &headers).await;
    assert!(head.contains(&format!("authorization: {AUTHORIZATION}\r\n")), "{head}");
    assert!(head.contains("host: localhost:4566\r\n"), "{head}");
}

#[tokio::test]
async fn a_role_signs_with_its_token() {
    let headers = [("authorization", AUTHORIZATION), ("x-amz-security-token", "old")];
    let (request, credential) = request("http://sqs.test/", &headers, body::whole(Bytes::new()));
    let signed = signing::sign_again(request, &credential, &of_a_role(), SystemClock.now()).await.unwrap();
    assert_eq!(signed.headers()["x-amz-security-token"], "token");
    let authorization = signed.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("Credential=ASIAROLE/"), "{authorization}");
    assert!(authorization.contains("x-amz-security-token"), "{authorization}");
}

#[tokio::test]
async fn a_presigned_url_is_signed_by_header_and_its_bucket_moves_into_the_path() {
    let url = "/key%20a?versionId=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00&X-Amz-Expires=60\
               &X-Amz-Credential=test%2F20261123%2Fus-west-2%2Fs3%2Faws4_request";
    let head = arrives(Some(keys()), url, &[("host", "photos.s3.localhost:4566")]).await;
    assert!(head.starts_with("POST /photos/key%20a?versionId=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("/us-west-2/s3/aws4_request"), "{head}");
    assert!(head.contains("x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"), "{head}");
}

#[tokio::test]
async fn an_unsigned_request_stays_unsigned() {
    let head = arrives(Some(keys()), "/public/object", &[("host", "localhost:4566")]).await;
    assert!(!head.contains("authorization"), "{head}");
    assert!(head.contains("host: localhost:4566\r\n"), "{head}");
}

#[tokio::test]
async fn chunks_with_signatures_cannot_be_signed_anew() {
    let forwarder = forwarder(Some("http://127.0.0.1:9".into()), Some(keys()));
    let headers = [
        ("authorization", AUTHORIZATION),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-target", "A.B"),
    ];
    let (request, credential) = request("/", &headers, body::whole(Bytes::new()));
    let response = forwarder.forward(request, &credential, None).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(text(response).await.contains("signed chunk by chunk"));
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let (listener, url) = upstream().await;
    drop(listener);
    let forwarder = forwarder(Some(url.clone()), None);
    let (request, credential) = request("/", &[("authorization", AUTHORIZATION)], body::whole(Bytes::new()));
    let response = forwarder.forward(request, &credential, None).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let text = text(response).await;
    assert!(text.contains(&url) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn without_an_endpoint_the_error_comes_in_the_protocol_of_the_client() {
    let forwarder = forwarder(None, None);
    let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    let s3 = AUTHORIZATION.replace("/sqs/", "/s3/");
    for (headers, content_type, start) in [
        (
            vec![("authorization", AUTHORIZATION), ("x-amz-target", "AmazonSQS.ListQueues")],
            "application/x-amz-json-1.1",
            "{",
        ),
        (vec![("authorization", AUTHORIZATION), form], "text/xml", "<ErrorResponse"),
        (vec![("authorization", s3.as_str())], "application/xml", "<?xml"),
        (vec![("authorization", AUTHORIZATION)], "application/json", "{"),
        (vec![("smithy-protocol", "rpc-v2-cbor")], "application/cbor", ""),
    ] {
        let (request, credential) = request("/", &headers, body::whole(Bytes::new()));
        let response = forwarder.forward(request, &credential, None).await;
        assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(response.headers()["content-type"], content_type);
        let bytes = body::read(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with(start) && text.contains("--aws-endpoint"), "{text}");
    }
}

#[test]
fn endpoints_are_checked_when_the_service_starts() {
    for bad in ["localhost:4566", "ftp://host", "http://", "//host", ""] {
        let config = ForwarderConfig { endpoint: Some(bad.into()), ..ForwarderConfig::default() };
        let error = Forwarder::new(config, Arc::new(SystemClock)).expect_err(bad);
        assert!(matches!(error, EndpointError::Url(_)), "{bad}: {error:?}");
    }
    let credential = Credential {
        region: Some("eu-west-1".parse().unwrap()),
        service: Some("sqs".into()),
        ..Credential::default()
    };
    let endpoint = Endpoint::parse("https://{service}.{region}.amazonaws.com/".into()).unwrap();
    let url = endpoint.of(&credential).unwrap().join(&"/queue?a=b".parse().unwrap()).unwrap();
    assert_eq!(url.to_string(), "https://sqs.eu-west-1.amazonaws.com/queue?a=b");
}

#[tokio::test]
async fn signatures_are_those_of_aws() {
    // The example of AWS's documentation of signature version 4, "get-vanilla" of its test suite.
    let keys = Keys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let credential = Credential {
        access_key_id: "x".into(),
        region: Some("us-east-1".parse().unwrap()),
        service: Some("service".into()),
        ..Credential::default()
    };
    let request = Request::builder()
        .uri("https://example.amazonaws.com/")
        .header("host", "example.amazonaws.com")
        .body(body::whole(Bytes::new()))
        .unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let signed = signing::sign_again(request, &credential, &keys, time).await.unwrap();
    let authorization = signed.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.ends_with("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        "{authorization}"
    );
}
