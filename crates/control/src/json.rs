//! Whether a payload is JSON, and AWS's words if it is not.
//!
//! AWS parses with Jackson and shows its messages; what is wrong and where is told as Jackson would. Must not build
//! anything from the payload.

use hothouse_api::{ApiError, ErrorKind};
use serde::de::IgnoredAny;

/// Refuses what is no JSON document.
///
/// # Errors
/// `InvalidRequestContentException`.
pub(crate) fn check(payload: &[u8]) -> Result<(), ApiError> {
    let fault = match std::str::from_utf8(payload) {
        Ok(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => return Ok(()),
            Err(error) => syntax_fault(text, &error),
        },
        Err(error) => encoding_fault(payload, error.valid_up_to()),
    };
    Err(ApiError::new(
        ErrorKind::InvalidRequestContent,
        format!(
            "Could not parse request body into json: Could not parse payload into json: {}\n at [Source: REDACTED \
             (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]",
            fault.message, fault.line, fault.column
        ),
    ))
}

struct Fault {
    message: String,
    line: usize,
    column: usize,
}

impl Fault {
    /// Jackson names the place behind what it has read, in bytes, and counts from 1.
    fn behind(payload: &[u8], read: usize, message: String) -> Self {
        let before = &payload[..read.min(payload.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self { message, line, column: read - start + 1 }
    }
}

fn encoding_fault(payload: &[u8], index: usize) -> Fault {
    let first = payload[index];
    let starts_sequence = (0xC0..0xF8).contains(&first);
    match payload.get(index + 1) {
        Some(second) if starts_sequence => {
            Fault::behind(payload, index + 2, format!("Invalid UTF-8 middle byte 0x{second:x}"))
        }
        _ => Fault::behind(payload, index + 1, format!("Invalid UTF-8 start byte 0x{first:x}")),
    }
}

fn syntax_fault(text: &str, error: &serde_json::Error) -> Fault {
    const VALUE: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    let payload = text.as_bytes();
    if error.is_eof() {
        return Fault::behind(payload, payload.len(), "Unexpected end-of-input".into());
    }
    // Columns count bytes from 1, and the offending byte is the last that is counted.
    let start = text.split_inclusive('\n').take(error.line() - 1).map(str::len).sum::<usize>();
    let mut index = (start + error.column()).saturating_sub(1).min(payload.len() - 1);
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'$';
    let word_start = payload[..index].iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
    let word_end = payload[index..].iter().position(|byte| !is_word(byte)).map_or(payload.len(), |end| index + end);
    if is_word(&payload[index]) && payload[word_start].is_ascii_alphabetic() {
        let word = &text[word_start..word_end];
        return Fault::behind(
            payload,
            word_end + 1,
            format!("Unrecognized token '{word}': was expecting {VALUE}"),
        );
    }
    let character = text[index..].chars().next().unwrap_or_default();
    let code = u32::from(character);
    let shown = match character {
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => format!("(CTRL-CHAR, code {code})"),
        '\u{100}'.. => format!("'{character}' (code {code} / 0x{code:x})"),
        _ => format!("'{character}' (code {code})"),
    };
    let reason = error.to_string();
    let expected = if reason.starts_with("expected `,` or `}`") {
        "was expecting comma to separate Object entries".to_owned()
    } else if reason.starts_with("expected `,` or `]`") {
        "was expecting comma to separate Array entries".to_owned()
    } else if reason.starts_with("key must be a string") {
        "was expecting double-quote to start field name".to_owned()
    } else if reason.starts_with("expected `:`") {
        "was expecting a colon to separate field name and value".to_owned()
    } else {
        format!("expected a valid value {VALUE}")
    };
    Fault::behind(payload, index + character.len_utf8(), format!("Unexpected character ({shown}): {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(payload: &[u8]) -> String {
        let error = check(payload).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequestContent);
        let message = error.message().unwrap().to_owned();
        let rest = message.strip_prefix("Could not parse request body into json: Could not parse payload into json: ");
        rest.unwrap().replace("\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); ", "|")
    }

    #[test]
    fn any_document_is_json() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for payload in ["{}", "1", "\"text\"", "null", " [1, {\"a\": true}]\n", &deep] {
            check(payload.as_bytes()).unwrap();
        }
    }

    #[test]
    fn refusals_are_told_as_aws_tells_them() {
        let value = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
        let cases: [(&[u8], String); 10] = [
            // Recorded, but for the source, which AWS shows no more.
            (b"Hello World", format!("Unrecognized token 'Hello': was expecting {value}|line: 1, column: 7]")),
            (
                "\u{99}".as_bytes(),
                format!("Unexpected character ((CTRL-CHAR, code 153)): expected a valid value {value}|line: 1, column: 3]"),
            ),
            (b"\x87", "Invalid UTF-8 start byte 0x87|line: 1, column: 2]".into()),
            (b"\"\xc3\x28\"", "Invalid UTF-8 middle byte 0x28|line: 1, column: 4]".into()),
            (b"truex", format!("Unrecognized token 'truex': was expecting {value}|line: 1, column: 7]")),
            (
                b"{\"a\":\n  'b'}",
                format!("Unexpected character (''' (code 39)): expected a valid value {value}|line: 2, column: 4]"),
            ),
            (
                b"{\"a\": 1; }",
                "Unexpected character (';' (code 59)): was expecting comma to separate Object entries|line: 1, column: 9]"
                    .into(),
            ),
            (
                b"{1: 2}",
                "Unexpected character ('1' (code 49)): was expecting double-quote to start field name|line: 1, column: 3]"
                    .into(),
            ),
            (
                b"{\"a\" 2}",
                "Unexpected character ('2' (code 50)): was expecting a colon to separate field name and value|line: 1, column: 7]"
                    .into(),
            ),
            (b"{\"a\": ", "Unexpected end-of-input|line: 1, column: 7]".into()),
        ];
        for (payload, expected) in cases {
            assert_eq!(refusal(payload), expected, "{:?}", String::from_utf8_lossy(payload));
        }
    }
}
