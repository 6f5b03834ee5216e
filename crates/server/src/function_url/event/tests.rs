//! Events, member by member.

use proptest::prelude::*;

use super::*;

/// A request from outside at a fixed time.
fn event_of(uri: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Value {
    event_with(uri, headers, body, None)
}

fn event_with(uri: &str, headers: &[(&str, &[u8])], body: &[u8], signer: Option<&Signer>) -> Value {
    let mut request = http::Request::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    let parts = request.body(()).unwrap().into_parts().0;
    let received = Received {
        parts: &parts,
        path: parts.uri.path(),
        body: &Bytes::copy_from_slice(body),
        url_id: "abc",
        host: "abc.lambda-url.us-east-1.localhost:4566",
        peer: "127.0.0.1".parse().unwrap(),
        request_id: "6b1e1c5c-6ff1-4a35-8a4f-000000000001".parse().unwrap(),
        time: 1_583_348_638_390,
        trace: "Root=1-5e6722a7-cc56ea46db7ae02d4da47e00",
        signer,
    };
    serde_json::from_slice(&received.event()).unwrap()
}

#[test]
fn everything_is_told_in_order() {
    let event = event_of(
        "/my/path?parameter1=value1&parameter1=value2&parameter2=value",
        &[
            ("Header1", b"value1"),
            ("header1", b"value2"),
            ("Cookie", b"cookie1=1; cookie2=2"),
            ("User-Agent", b"agent"),
            ("Content-Type", b"text/plain; charset=utf-8"),
            ("Connection", b"keep-alive"),
        ],
        "Grüße".as_bytes(),
    );
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1=1", "cookie2=2"],
        "headers": {
            "content-type": "text/plain; charset=utf-8",
            "header1": "value1,value2",
            "host": "abc.lambda-url.us-east-1.localhost:4566",
            "user-agent": "agent",
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
            "x-amzn-tls-version": "TLSv1.3",
            "x-amzn-trace-id": "Root=1-5e6722a7-cc56ea46db7ae02d4da47e00",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "4566",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": { "parameter1": "value1,value2", "parameter2": "value" },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": "abc.lambda-url.us-east-1.localhost:4566",
            "domainPrefix": "abc",
            "http": {
                "method": "POST",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "agent",
            },
            "requestId": "6b1e1c5c-6ff1-4a35-8a4f-000000000001",
            "routeKey": "$default",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390_i64,
        },
        "body": "Grüße",
        "isBase64Encoded": false,
    });
    assert_eq!(event.to_string(), expected.to_string());
}

#[test]
fn what_has_nothing_to_tell_is_left_out() {
    let event = event_of("/", &[], b"");
    for member in ["cookies", "queryStringParameters", "body"] {
        assert_eq!(event.get(member), None, "{member}");
    }
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["requestContext"].get("authorizer"), None);
    assert_eq!(event["requestContext"]["http"].get("userAgent"), None);
}

#[test]
fn a_signer_is_told() {
    let signer = Signer {
        access_key: "AKIA".into(),
        account: "123456789012".parse().unwrap(),
        user_id: "AROA:session".into(),
        user_arn: "arn:aws:sts::123456789012:assumed-role/r/session".into(),
    };
    let context = &event_with("/", &[], b"", Some(&signer))["requestContext"];
    assert_eq!(context["accountId"], "123456789012");
    let expected = json!({
        "accessKey": "AKIA",
        "accountId": "123456789012",
        "callerId": "AROA:session",
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": "arn:aws:sts::123456789012:assumed-role/r/session",
        "userId": "AROA:session",
    });
    assert_eq!(context["authorizer"]["iam"], expected);
}

#[test]
fn path_and_query_are_kept_as_sent_and_parameters_decoded() {
    let event = event_of("/pa2%Fth/1//?q=a+b&multi=foo&multi=%2Fbar&empty&=x&&%C3%BC=%ff", &[], b"");
    assert_eq!(event["rawPath"], "/pa2%Fth/1//");
    let encoded = event_of("/pa2%25Fth/%C3%BC%ff", &[], b"");
    assert_eq!(encoded["rawPath"], "/pa2%25Fth/%C3%BC%ff");
    assert_eq!(encoded["requestContext"]["http"]["path"], "/pa2%Fth/ü\u{fffd}");
    assert_eq!(event["rawQueryString"], "q=a+b&multi=foo&multi=%2Fbar&empty&=x&&%C3%BC=%ff");
    let expected = json!({ "q": "a b", "multi": "foo,/bar", "empty": "", "": "x", "ü": "\u{fffd}" });
    assert_eq!(event["queryStringParameters"], expected);
}

#[test]
fn bodies_are_text_only_where_the_content_type_says_so() {
    for (content_type, is_text) in [
        ("text/plain", true),
        ("TEXT/html; charset=utf-8", true),
        ("application/json", true),
        ("application/json;charset=utf-8", true),
        ("application/xml", true),
        ("application/javascript", true),
        ("application/x-www-form-urlencoded", false),
        ("multipart/form-data; boundary=x", false),
        ("application/octet-stream", false),
        ("image/png", false),
        ("", false),
    ] {
        let event = event_of("/", &[("content-type", content_type.as_bytes())], b"{}");
        let body = if is_text { "{}" } else { "e30=" };
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!(body), &json!(!is_text)),
            "{content_type}"
        );
    }
    assert_eq!(event_of("/", &[], b"{}")["body"], "e30=");
    // What is no text cannot be told as one, whatever it says about itself.
    let event = event_of("/", &[("content-type", b"text/plain")], b"\xff");
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
}

#[test]
fn cookies_of_several_headers_are_one_list_and_no_header() {
    let event = event_of("/", &[("cookie", b"a=1;b=2; "), ("cookie", b"c=\"3\"")], b"");
    assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=\"3\""]));
    assert_eq!(event["headers"].get("cookie"), None);
}

#[test]
fn who_forwards_is_put_behind_those_before() {
    let event = event_of("/", &[("x-forwarded-for", b"10.0.0.1"), ("x-forwarded-proto", b"https")], b"");
    assert_eq!(event["headers"]["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert_eq!(event["headers"]["x-forwarded-proto"], "http");
}

#[test]
fn headers_that_are_no_text_are_latin() {
    let event = event_of("/", &[("x-name", b"J\xfcrgen"), ("x-other", "Jürgen".as_bytes())], b"");
    assert_eq!(event["headers"]["x-name"], "Jürgen");
    assert_eq!(event["headers"]["x-other"], "Jürgen");
}

fn header_values() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![32..127u8, 128..=255u8, Just(b'\t')], 0..20)
}

proptest! {
    /// Whatever is sent is an event that says it.
    #[test]
    fn every_request_is_an_event(
        path in "/[A-Za-z0-9%.,;:@!$&'()*+=_~/-]{0,20}",
        query in "[A-Za-z0-9%.,;:@!$&'()*+=_~/?-]{0,30}",
        headers in prop::collection::vec(("[a-zA-Z-]{1,10}", header_values()), 0..5),
        body in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let uri = format!("{path}?{query}");
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let event = event_of(&uri, &headers, &body);
        prop_assert_eq!(&event["rawPath"], &path);
        prop_assert_eq!(&event["rawQueryString"], &query);
        let told = event["body"].as_str().unwrap_or_default();
        let decoded = match event["isBase64Encoded"].as_bool() {
            Some(true) => BASE64_STANDARD.decode(told).unwrap(),
            _ => told.as_bytes().to_vec(),
        };
        prop_assert_eq!(decoded, body);
        for value in event["headers"].as_object().unwrap().values() {
            prop_assert!(value.is_string());
        }
    }
}
