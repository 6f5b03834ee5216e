//! Documents with a package in them, whose text is neither copied nor looked at as JSON: it becomes the body's memory.
//!
//! Must not judge a document: one that is not as expected is left to the usual way, which has a message for it.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memchr2};
use serde_json::{Map, Value};

use super::structure;
use crate::{
    model::{Location, Shape, Structure},
    name::RequestId,
};

/// A text from this length on is worth it.
const LONG: usize = 64 * 1024;

/// The members of a document that has a long blob in it. Any other document is given back.
pub(super) fn with_package(input: &Structure, body: Bytes) -> Result<Map<String, Value>, Bytes> {
    // Nobody can have guessed it, so what it replaces is what is found in its place.
    let mark = RequestId::random().to_string();
    let Some((text, mut members)) = around(input, &body, &mark) else { return Err(body) };
    let Some(place) = find(input, &mut members, &mark) else { return Err(body) };
    let mut body = Vec::from(body);
    body.truncate(text.end);
    body.drain(..text.start);
    *place = String::from_utf8(body).expect("base64 is ASCII");
    Ok(members)
}

/// Where a document has a long text, and its members with `mark` instead.
fn around(input: &Structure, body: &[u8], mark: &str) -> Option<(Range<usize>, Map<String, Value>)> {
    let text = long_text(body)?;
    let document = [&body[..text.start], mark.as_bytes(), &body[text.end..]].concat();
    let document = serde_json::from_slice(&document).ok()?;
    let members = structure(input, document, |location| location == Location::Body).ok()?;
    Some((text, members))
}

/// The first long text of a document, if it is base64 and so has no fault and no escapes in it.
fn long_text(document: &[u8]) -> Option<Range<usize>> {
    let mut next = 0;
    loop {
        let start = next + memchr(b'"', document.get(next..)?)? + 1;
        let mut end = start;
        loop {
            end += memchr2(b'"', b'\\', document.get(end..)?)?;
            if document[end] == b'"' {
                break;
            }
            // What a backslash stands before is never the end.
            end += 2;
        }
        if end - start >= LONG {
            return base64_simd::STANDARD.check(&document[start..end]).is_ok().then_some(start..end);
        }
        next = end + 1;
    }
}

/// The blob that is `mark`.
fn find<'a>(
    structure: &Structure,
    members: &'a mut Map<String, Value>,
    mark: &str,
) -> Option<&'a mut String> {
    members.iter_mut().find_map(|(name, value)| {
        let member = structure.members.iter().find(|member| member.name == name)?;
        match (member.shape, value) {
            (Shape::Blob { .. }, Value::String(text)) => (text == mark).then_some(text),
            (Shape::Structure(inner), Value::Object(members)) => find(inner, members, mark),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generated::Operation;

    fn bound(body: &str) -> Option<Map<String, Value>> {
        with_package(Operation::CreateFunction.input(), Bytes::from(body.to_owned())).ok()
    }

    #[test]
    fn package_is_where_it_was() {
        let package = "UEsF".repeat(LONG / 4);
        let documents = [
            format!(r#"{{"Code":{{"ZipFile":"{package}"}},"FunctionName":"f"}}"#),
            format!(r#" {{ "FunctionName" : "f", "Code" : {{ "ZipFile" : "{package}" }} }} "#),
            format!(
                r#"{{"FunctionName":"\u0066","No\\":"\"\\","Code":{{"S3Key":null,"ZipFile":"{package}"}}}}"#
            ),
        ];
        for document in documents {
            let members = bound(&document).unwrap();
            assert_eq!(Value::Object(members), json!({"FunctionName": "f", "Code": {"ZipFile": package}}));
        }
    }

    #[test]
    fn memory_of_the_body_is_that_of_the_package() {
        let body = Bytes::from(format!(r#"{{"Code":{{"ZipFile":"{}"}}}}"#, "UEsF".repeat(LONG)));
        let memory = body.as_ptr();
        let members = with_package(Operation::CreateFunction.input(), body).unwrap();
        let text = members["Code"]["ZipFile"].as_str().unwrap();
        assert_eq!((text.len(), text.as_ptr()), (4 * LONG, memory));
    }

    #[test]
    fn what_is_not_as_expected_goes_the_usual_way() {
        let package = "UEsF".repeat(LONG / 4);
        let short = &package[4..];
        for document in [
            String::new(),
            "\"".to_owned(),
            "\"\\".to_owned(),
            "null".to_owned(),
            format!(r#"{{"Code":{{"ZipFile":"{short}"}}}}"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}""#),
            format!(r#"{{"Code":{{"ZipFile":"{package}"}}}},"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}="}}}}"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}\n"}}}}"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}\/"}}}}"#),
            format!("{{\"Code\":{{\"ZipFile\":\"{package}\n\"}}}}"),
            format!(r#"{{"Code":{{"ZipFile":["{package}"]}}}}"#),
            format!(r#"{{"Code":{{"{package}":"ZipFile"}}}}"#),
            format!(r#"{{"Description":"{package}","Code":{{"ZipFile":""}}}}"#),
            format!(r#"{{"Code":{{"ZipFile":"{package}","ZipFile":"UEsF"}}}}"#),
            format!(r#"["{package}"]"#),
            format!(r#""{package}""#),
        ] {
            let body = Bytes::from(document);
            let given_back = with_package(Operation::CreateFunction.input(), body.clone()).unwrap_err();
            assert_eq!(given_back, body);
        }
    }
}
