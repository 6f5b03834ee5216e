//! Whether bytes are a JSON document, and if not, what Jackson says about them: AWS passes Jackson's words on.
//!
//! Words and columns of bytes that are no UTF-8 and of control characters are recorded; those of other faults follow
//! Jackson's own rules, unverified at AWS. One pass, no allocation, nothing is built. Must not judge what the document says.

/// Why bytes are no JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFault {
    message: String,
    line: usize,
    column: usize,
}

impl std::fmt::Display for JsonFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { message, line, column } = self;
        write!(
            f,
            "{message}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); \
             line: {line}, column: {column}]"
        )
    }
}

impl std::error::Error for JsonFault {}

/// Checks that `document` is one JSON value.
pub fn check(document: &[u8]) -> Result<(), JsonFault> {
    let mut scanner = Scanner { document, next: 0, nesting: Nesting::default() };
    scanner.document().map_err(|fault| {
        let read = &document[..fault.at.min(document.len())];
        let line_start = read.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        JsonFault {
            message: fault.message,
            line: read.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: read.len() - line_start + 1,
        }
    })
}

const VALUE: &str = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";

struct Fault {
    message: String,
    /// How many bytes had been read.
    at: usize,
}

struct Scanner<'a> {
    document: &'a [u8],
    /// Index of the first byte that is not read yet.
    next: usize,
    nesting: Nesting,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        let Some(first) = self.token()? else {
            return Err(self.fault("No content to map due to end-of-input"));
        };
        let mut value = first;
        loop {
            // A value was begun with the byte `value`; objects and arrays lead to their first value.
            match value {
                b'{' => {
                    self.enter(Container::Object)?;
                    match self.token()? {
                        Some(b'}') => self.nesting.leave(),
                        byte => {
                            value = self.name_and_colon(byte)?;
                            continue;
                        }
                    }
                }
                b'[' => {
                    self.enter(Container::Array)?;
                    match self.token()? {
                        Some(b']') => self.nesting.leave(),
                        byte => {
                            value = self.required(byte)?;
                            continue;
                        }
                    }
                }
                b'"' => self.text()?,
                b'-' | b'0'..=b'9' => self.number(value)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                other => return Err(self.unexpected_value(other)),
            }
            // The value is over: close what it closes, then go to the next one.
            value = loop {
                let Some(container) = self.nesting.innermost() else { return self.end() };
                let byte = self.token()?;
                match (container, byte) {
                    (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => self.nesting.leave(),
                    (Container::Object, Some(b',')) => {
                        let byte = self.token()?;
                        break self.name_and_colon(byte)?;
                    }
                    (Container::Array, Some(b',')) => {
                        let byte = self.token()?;
                        break self.required(byte)?;
                    }
                    (_, None) => return Err(self.unclosed(container)),
                    (Container::Object, Some(b']')) => {
                        return Err(self.fault("Unexpected close marker ']': expected '}'"));
                    }
                    (Container::Array, Some(b'}')) => {
                        return Err(self.fault("Unexpected close marker '}': expected ']'"));
                    }
                    (container, Some(byte)) => {
                        let expected =
                            format!("was expecting comma to separate {} entries", container.name());
                        return Err(self.unexpected(byte, &expected));
                    }
                }
            };
        }
    }

    /// Nothing but white space may follow.
    fn end(&mut self) -> Result<(), Fault> {
        match self.token()? {
            None => Ok(()),
            Some(byte) => Err(self.unexpected(byte, "expected end of input")),
        }
    }

    /// Reads a member's name and its colon, and the first byte of its value. `byte` is the name's first.
    fn name_and_colon(&mut self, byte: Option<u8>) -> Result<u8, Fault> {
        match byte {
            Some(b'"') => self.text()?,
            Some(other) => {
                return Err(self.unexpected(other, "was expecting double-quote to start field name"));
            }
            None => return Err(self.unclosed(Container::Object)),
        }
        match self.token()? {
            Some(b':') => {}
            Some(other) => {
                return Err(self.unexpected(other, "was expecting a colon to separate field name and value"));
            }
            None => return Err(self.unclosed(Container::Object)),
        }
        let byte = self.token()?;
        self.required(byte)
    }

    fn required(&self, byte: Option<u8>) -> Result<u8, Fault> {
        byte.ok_or_else(|| self.unclosed(self.nesting.innermost().unwrap_or(Container::Object)))
    }

    /// Reads the next byte that is no white space.
    fn token(&mut self) -> Result<Option<u8>, Fault> {
        while let Some(&byte) = self.document.get(self.next) {
            self.next += 1;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                0..b' ' => {
                    return Err(self.fault(&format!(
                        "Illegal character ((CTRL-CHAR, code {byte})): only regular white space (\\r, \\n, \\t) is allowed between tokens"
                    )));
                }
                _ => return Ok(Some(byte)),
            }
        }
        Ok(None)
    }

    /// Reads the rest of a text whose opening quote is read.
    fn text(&mut self) -> Result<(), Fault> {
        loop {
            let Some(&byte) = self.document.get(self.next) else {
                return Err(
                    self.fault("Unexpected end-of-input: was expecting closing quote for a string value")
                );
            };
            self.next += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                0..b' ' => {
                    let message = format!(
                        "Illegal unquoted character ({}): has to be escaped using backslash to be included in string value",
                        describe(byte)
                    );
                    return Err(self.fault(&message));
                }
                0x80.. => self.multibyte(byte)?,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let end = "Unexpected end-of-input in character escape sequence";
        let Some(&byte) = self.document.get(self.next) else { return Err(self.fault(end)) };
        self.next += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let Some(&digit) = self.document.get(self.next) else { return Err(self.fault(end)) };
                    self.next += 1;
                    if !digit.is_ascii_hexdigit() {
                        let expected = "expected a hex-digit for character escape sequence";
                        return Err(self.unexpected(digit, expected));
                    }
                }
                Ok(())
            }
            other => Err(self.fault(&format!("Unrecognized character escape {}", describe(other)))),
        }
    }

    /// Reads the rest of a character whose first byte is read and is no ASCII.
    fn multibyte(&mut self, first: u8) -> Result<(), Fault> {
        let rest = match first {
            0xC0..=0xDF => 1,
            0xE0..=0xEF => 2,
            0xF0..=0xF7 => 3,
            _ => return Err(self.fault(&format!("Invalid UTF-8 start byte 0x{first:x}"))),
        };
        for _ in 0..rest {
            let Some(&byte) = self.document.get(self.next) else {
                return Err(self.fault("Unexpected end-of-input in VALUE_STRING"));
            };
            self.next += 1;
            if byte & 0xC0 != 0x80 {
                return Err(self.fault(&format!("Invalid UTF-8 middle byte 0x{byte:x}")));
            }
        }
        Ok(())
    }

    /// Reads the rest of a number whose first byte is read.
    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let mut leading = first;
        if first == b'-' {
            leading = match self.document.get(self.next) {
                Some(&digit) if digit.is_ascii_digit() => digit,
                Some(&other) => {
                    self.next += 1;
                    let expected = "expected digit (0-9) to follow minus sign, for valid numeric value";
                    return Err(self.unexpected(other, expected));
                }
                None => return Err(self.fault("Unexpected end-of-input in a Number value")),
            };
            self.next += 1;
        }
        let more = self.digits();
        if leading == b'0' && more > 0 {
            return Err(self.fault("Invalid numeric value: Leading zeroes not allowed"));
        }
        if self.document.get(self.next) == Some(&b'.') {
            self.next += 1;
            self.some_digits("Decimal point not followed by a digit")?;
        }
        if let Some(b'e' | b'E') = self.document.get(self.next) {
            self.next += 1;
            if let Some(b'+' | b'-') = self.document.get(self.next) {
                self.next += 1;
            }
            self.some_digits("Exponent indicator not followed by a digit")?;
        }
        // At the root only white space may follow; in containers the next token is checked there.
        match self.document.get(self.next) {
            Some(&byte) if self.nesting.innermost().is_none() && !byte.is_ascii_whitespace() => {
                self.next += 1;
                Err(self.unexpected(byte, "Expected space separating root-level values"))
            }
            _ => Ok(()),
        }
    }

    fn some_digits(&mut self, complaint: &str) -> Result<(), Fault> {
        if self.digits() > 0 {
            return Ok(());
        }
        match self.document.get(self.next) {
            Some(&byte) => {
                self.next += 1;
                Err(self.unexpected(byte, complaint))
            }
            None => Err(self.fault("Unexpected end-of-input in a Number value")),
        }
    }

    fn digits(&mut self) -> usize {
        let count = self.document[self.next..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.next += count;
        count
    }

    /// Reads the rest of a word whose first byte is read.
    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        let start = self.next - 1;
        let same =
            word.iter().zip(&self.document[start..]).take_while(|(expected, byte)| expected == byte).count();
        let follows = self.document.get(start + word.len());
        if same == word.len() && !follows.is_some_and(|byte| is_word_byte(*byte)) {
            self.next = start + word.len();
            return Ok(());
        }
        self.next = start + same;
        Err(self.unrecognized(start))
    }

    /// A byte at which no value can begin.
    fn unexpected_value(&mut self, byte: u8) -> Fault {
        if byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$' {
            return self.unrecognized(self.next - 1);
        }
        self.unexpected(byte, &format!("expected a valid value {VALUE}"))
    }

    /// A word that is none of JSON's; it began at `start` and is read up to `next`. The byte behind it is read as well.
    fn unrecognized(&mut self, start: usize) -> Fault {
        while let Some(&byte) = self.document.get(self.next) {
            self.next += 1;
            if byte >= 0x80 && self.multibyte(byte).is_err() {
                return self.fault(&format!("Invalid UTF-8 start byte 0x{byte:x}"));
            }
            if !is_word_byte(byte) {
                let word = String::from_utf8_lossy(&self.document[start..self.next - 1]);
                return self.fault(&format!("Unrecognized token '{word}': was expecting {VALUE}"));
            }
        }
        let word = String::from_utf8_lossy(&self.document[start..]);
        self.fault(&format!("Unrecognized token '{word}': was expecting {VALUE}"))
    }

    fn enter(&mut self, container: Container) -> Result<(), Fault> {
        if self.nesting.enter(container) {
            return Ok(());
        }
        Err(self.fault(&format!(
            "Document nesting depth ({}) exceeds the maximum allowed ({}, from `StreamReadConstraints.getMaxNestingDepth()`)",
            Nesting::LIMIT + 1,
            Nesting::LIMIT
        )))
    }

    fn unclosed(&self, container: Container) -> Fault {
        self.fault(&format!("Unexpected end-of-input: expected close marker for {}", container.name()))
    }

    /// The byte was read; Jackson points at it, not behind it.
    fn unexpected(&self, byte: u8, expected: &str) -> Fault {
        Fault { message: format!("Unexpected character ({}): {expected}", describe(byte)), at: self.next - 1 }
    }

    fn fault(&self, message: &str) -> Fault {
        Fault { message: message.to_owned(), at: self.next }
    }
}

/// Jackson's description of a character; bytes are not decoded for it.
fn describe(byte: u8) -> String {
    let character = char::from(byte);
    if character.is_control() {
        format!("(CTRL-CHAR, code {byte})")
    } else {
        format!("'{character}' (code {byte})")
    }
}

/// Part of what Jackson takes for one word: an identifier of Java.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

impl Container {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "Object",
            Self::Array => "Array",
        }
    }
}

/// The open containers, a bit each: set for objects.
struct Nesting {
    bits: [u64; Self::LIMIT.div_ceil(64)],
    depth: usize,
}

impl Nesting {
    /// Jackson's own limit.
    const LIMIT: usize = 1000;

    fn enter(&mut self, container: Container) -> bool {
        if self.depth == Self::LIMIT {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        match container {
            Container::Object => self.bits[word] |= 1 << bit,
            Container::Array => self.bits[word] &= !(1 << bit),
        }
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<Container> {
        let index = self.depth.checked_sub(1)?;
        let is_object = self.bits[index / 64] >> (index % 64) & 1 == 1;
        Some(if is_object { Container::Object } else { Container::Array })
    }
}

impl Default for Nesting {
    fn default() -> Self {
        Self { bits: [0; Self::LIMIT.div_ceil(64)], depth: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(document: &[u8]) -> (String, usize, usize) {
        let JsonFault { message, line, column } = check(document).unwrap_err();
        (message, line, column)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn nearly_json_is_judged_as_by_serde(document in r#"[\[\]{},:"0-9eE.+\-tfn \\u]{0,24}"#) {
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(&document);
            prop_assert_eq!(check(document.as_bytes()).is_ok(), serde.is_ok(), "{}: {:?}", document, serde);
        }

        #[test]
        fn pieces_of_json_are_judged_as_by_serde(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u00e9\"", "\"ä\"", "1", "-0.5e+3", "true", "false", "null", " ", "\n",
                ]),
                0..12,
            )
        ) {
            let document = pieces.concat();
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(&document);
            prop_assert_eq!(check(document.as_bytes()).is_ok(), serde.is_ok(), "{}: {:?}", document, serde);
        }

        #[test]
        fn no_bytes_panic(document in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&document);
        }
    }

    #[test]
    fn numbers_are_as_strict_as_the_grammar() {
        for number in ["0", "-0", "10", "0.5", "-1.25e+10", "1E2", "1e-2"] {
            assert_eq!(check(number.as_bytes()), Ok(()), "{number}");
        }
        for number in
            ["01", "-01", "-", "+1", ".5", "1.", "1.e2", "1e", "1e+", "1x", "0x1", "--1", "1 2", "NaN"]
        {
            assert!(check(number.as_bytes()).is_err(), "{number}");
            assert!(check(format!("[{number}]").as_bytes()).is_err(), "[{number}]");
        }
    }

    #[test]
    fn recorded_complaints_are_repeated() {
        assert_eq!(fault(b"n\x87r"), ("Invalid UTF-8 start byte 0x87".to_owned(), 1, 3));
        assert_eq!(
            fault(b"\x99\xeb").0,
            "Unexpected character ((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
        );
        assert_eq!(
            fault(b"Hello World"),
            (
                "Unrecognized token 'Hello': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
                    .to_owned(),
                1,
                7
            )
        );
    }

    #[test]
    fn lines_and_columns_are_counted() {
        let (message, line, column) = fault(b"{\n \"a\": 1,\n x}");
        assert_eq!(
            message,
            "Unexpected character ('x' (code 120)): was expecting double-quote to start field name"
        );
        assert_eq!((line, column), (3, 2));
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(1000).as_bytes()), Ok(()));
        assert!(fault(nested(1001).as_bytes()).0.starts_with("Document nesting depth (1001)"));
    }
}
