//! What a function answered, as an HTTP response.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>. Must not add what belongs to the request: its
//! id, its trace, its origin.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, value::RawValue};

use super::event::HOP_BY_HOP;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that are the service's to write. Unverified: the list, and that those of functions are renamed as API
/// Gateway renames them.
const REMAPPED: [&str; 5] = ["connection", "content-length", "date", "server", "www-authenticate"];

/// The response to a request. What is no response is a bad gateway.
pub(super) fn respond(answer: &Bytes) -> Response<Bytes> {
    read(answer).unwrap_or_else(bad_gateway)
}

/// Unverified: the content type.
pub(super) fn bad_gateway() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"Internal Server Error"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// The response that a function's answer means.
fn read(answer: &Bytes) -> Option<Response<Bytes>> {
    // Never goes deeper than a member, so that it does not matter how deep an answer is.
    let whole: &RawValue = serde_json::from_slice(answer).ok()?;
    let text = whole.get().trim_matches([' ', '\t', '\n', '\r']);
    let mut response = match text.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            match members.get("statusCode").filter(|code| code.get() != "null") {
                Some(_) => integration(&members)?,
                None => Response::new(compact(text).into()),
            }
        }
        b'"' => Response::new(serde_json::from_str::<String>(text).ok()?.into()),
        _ => Response::new(compact(text).into()),
    };
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(JSON);
    Some(response)
}

/// An object that tells status, headers, cookies and body.
///
/// Unverified: which deviations AWS forgives, but for a status as text.
fn integration(members: &BTreeMap<Cow<'_, str>, &RawValue>) -> Option<Response<Bytes>> {
    let member = |name: &str| members.get(name).copied().filter(|value| value.get() != "null");
    let text = match member("body") {
        // Whatever else it is, it is its text, as recorded.
        Some(body) if body.get().starts_with('"') => serde_json::from_str::<String>(body.get()).ok()?,
        Some(body) => compact(body.get()),
        None => String::new(),
    };
    let is_encoded = match member("isBase64Encoded") {
        Some(flag) => serde_json::from_str::<bool>(flag.get()).ok()?,
        None => false,
    };
    let body = if is_encoded { BASE64_STANDARD.decode(text).ok()?.into() } else { text.into() };
    let mut response = Response::new(body);
    head(&mut response, member("statusCode"), member("headers"), member("cookies"))?;
    Some(response)
}

/// Status and headers, as whole answers and streamed ones tell them.
pub(super) fn head<B>(
    response: &mut Response<B>,
    status: Option<&RawValue>,
    headers: Option<&RawValue>,
    cookies: Option<&RawValue>,
) -> Option<()> {
    if let Some(status) = status {
        *response.status_mut() = status_code(status)?;
    }
    if let Some(headers) = headers {
        let headers: BTreeMap<String, &RawValue> = serde_json::from_str(headers.get()).ok()?;
        for (name, value) in headers {
            insert(response.headers_mut(), &name, value)?;
        }
    }
    if let Some(cookies) = cookies {
        let cookies: Vec<String> = serde_json::from_str(cookies.get()).ok()?;
        for cookie in cookies {
            let cookie = HeaderValue::from_str(&cookie).ok()?;
            response.headers_mut().try_append(header::SET_COOKIE, cookie).ok()?;
        }
    }
    Some(())
}

/// A number, or its text.
fn status_code(value: &RawValue) -> Option<StatusCode> {
    let number = match serde_json::from_str(value.get()).ok()? {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    // Those below announce an answer and are none.
    let number = u16::try_from(number).ok().filter(|number| (200..600).contains(number))?;
    StatusCode::from_u16(number).ok()
}

fn insert(headers: &mut HeaderMap, name: &str, value: &RawValue) -> Option<()> {
    let text = match serde_json::from_str(value.get()).ok()? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => return Some(()),
        Value::Array(_) | Value::Object(_) => return None,
    };
    let value = HeaderValue::from_str(&text).ok()?;
    let name: HeaderName = name.parse().ok()?;
    let name = if REMAPPED.contains(&name.as_str()) {
        HeaderName::try_from(format!("x-amzn-remapped-{name}")).ok()?
    } else if HOP_BY_HOP.contains(&name.as_str()) {
        return Some(());
    } else {
        name
    };
    // There is an end to how many a response can have.
    headers.try_append(name, value).ok()?;
    Some(())
}

/// JSON without the blanks between its parts, as AWS writes it anew.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    json.chars()
        .filter(|character| {
            if in_text {
                in_text = escaped || *character != '"';
                escaped = !escaped && *character == '\\';
                return true;
            }
            in_text = *character == '"';
            !matches!(character, ' ' | '\t' | '\n' | '\r')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str) -> Response<Bytes> {
        respond(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[track_caller]
    fn is_bad_gateway(text: &str) {
        let response = answer(text);
        assert_eq!(response.status(), 502, "{text}");
        assert_eq!(response.body(), "Internal Server Error");
    }

    #[test]
    fn whatever_is_no_response_is_its_body() {
        for (answered, body) in [
            (r#" {"hello": "world"} "#, r#"{"hello":"world"}"#),
            (r#"{"a b": " \" : \\", "c" :[1, 2.50]}"#, r#"{"a b":" \" : \\","c":[1,2.50]}"#),
            (r#"["hello", 3, true]"#, r#"["hello",3,true]"#),
            (r#""hello""#, "hello"),
            (r#""h\u00e4 \n""#, "hä \n"),
            ("3", "3"),
            ("3.1", "3.1"),
            ("true", "true"),
            ("null", "null"),
            (r#"{"statusCode":null}"#, r#"{"statusCode":null}"#),
            (r#"{"StatusCode":418}"#, r#"{"StatusCode":418}"#),
        ] {
            let response = answer(answered);
            assert_eq!(
                (response.status().as_u16(), &response.body()[..]),
                (200, body.as_bytes()),
                "{answered}"
            );
            assert_eq!(response.headers()["content-type"], "application/json");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(answer(&deep).body(), &deep);
        assert_eq!(answer(&format!("{{\"a\":{deep}}}")).status(), 200);
    }

    #[test]
    fn a_response_tells_status_headers_cookies_and_body() {
        let response = answer(
            r#"{"statusCode": 201, "body": "{\"a\": 1}", "headers": {"Content-Type": "text/x", "X-Number": 5, "X-Flag": true,
                "X-None": null, "Set-Cookie": "c=3"}, "cookies": ["a=1; HttpOnly", "b=2"], "multiValueHeaders": {"x": ["y"]}}"#,
        );
        assert_eq!((response.status().as_u16(), &response.body()[..]), (201, &b"{\"a\": 1}"[..]));
        let headers = response.headers();
        assert_eq!(
            (&headers["content-type"], &headers["x-number"], &headers["x-flag"]),
            (&"text/x".parse().unwrap(), &"5".parse().unwrap(), &"true".parse().unwrap())
        );
        assert!(!headers.contains_key("x-none") && !headers.contains_key("x"));
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["c=3", "a=1; HttpOnly", "b=2"]);

        let response = answer(r#"{"statusCode": 200}"#);
        assert_eq!(
            (response.headers()["content-type"].as_bytes(), response.body().len()),
            (&b"application/json"[..], 0)
        );
        let response = answer(r#"{"statusCode": 200, "body": {"a": [1, " "]}}"#);
        assert_eq!(response.body(), r#"{"a":[1," "]}"#);
        let response = answer(r#"{"statusCode": 200, "body": "//8=", "isBase64Encoded": true}"#);
        assert_eq!(&response.body()[..], b"\xff\xff");
        let response = answer(
            r#"{"statusCode": "418", "body": null, "headers": null, "cookies": null, "isBase64Encoded": null}"#,
        );
        assert_eq!((response.status().as_u16(), response.body().len()), (418, 0));
    }

    #[test]
    fn headers_of_the_service_are_renamed_and_those_of_the_connection_dropped() {
        let response = answer(
            r#"{"statusCode": 200, "headers": {"Content-Length": "99", "Date": "then", "WWW-Authenticate": "Basic",
                "Connection": "close", "Transfer-Encoding": "chunked", "Keep-Alive": "x"}}"#,
        );
        let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-type",
                "x-amzn-remapped-connection",
                "x-amzn-remapped-content-length",
                "x-amzn-remapped-date",
                "x-amzn-remapped-www-authenticate"
            ]
        );
    }

    #[test]
    fn what_is_no_response_is_a_bad_gateway() {
        for text in [
            "",
            "hello",
            "{",
            r#"{"statusCode":"abc"}"#,
            r#"{"statusCode":true}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":101}"#,
            r#"{"statusCode":600}"#,
            r#"{"statusCode":200.5}"#,
            r#"{"statusCode":-200}"#,
            r#"{"statusCode":200,"body":"a","isBase64Encoded":true}"#,
            r#"{"statusCode":200,"isBase64Encoded":"true"}"#,
            r#"{"statusCode":200,"headers":["a"]}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#,
            r#"{"statusCode":200,"headers":{"a":["b"]}}"#,
            r#"{"statusCode":200,"cookies":"a=1"}"#,
            r#"{"statusCode":200,"cookies":[1]}"#,
        ] {
            is_bad_gateway(text);
        }
        let headers: Vec<_> = (0..40_000).map(|number| format!("\"a{number}\":\"\"")).collect();
        is_bad_gateway(&format!(r#"{{"statusCode":200,"headers":{{{}}}}}"#, headers.join(",")));
    }

    proptest! {
        #[test]
        fn compact_json_means_the_same(text in "([ \\n{}\\[\\]:,\"\\\\a1é]|null){0,30}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(compact(&text), value.to_string());
            }
        }

        #[test]
        fn every_answer_is_a_response(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let response = respond(&bytes.into());
            prop_assert!(matches!(response.status().as_u16(), 200 | 502));
        }
    }
}
