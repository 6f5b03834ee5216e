//! CBOR (RFC 8949), as far as Smithy's protocol uses it.
//!
//! Must not know operations.

use super::value::Value;

/// Values within values: more than any request has.
const DEPTH: usize = 16;

/// Reads one value. Nothing if it is not CBOR, or of a kind that the model does not have.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader { bytes };
    let value = reader.value(DEPTH)?;
    reader.bytes.is_empty().then_some(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

/// How long something is.
enum Length {
    Known(u64),
    UntilBreak,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn unsigned(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, low: u8) -> Option<Length> {
        Some(Length::Known(match low {
            0..=23 => low.into(),
            24..=27 => self.unsigned(1 << (low - 24))?,
            31 => return Some(Length::UntilBreak),
            _ => return None,
        }))
    }

    fn known(&mut self, low: u8) -> Option<u64> {
        match self.length(low)? {
            Length::Known(length) => Some(length),
            Length::UntilBreak => None,
        }
    }

    fn at_break(&mut self) -> bool {
        let there = self.bytes.first() == Some(&0xff);
        if there {
            self.bytes = &self.bytes[1..];
        }
        there
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let first = self.byte()?;
        let low = first & 0x1f;
        Some(match first >> 5 {
            0 => Value::Number(self.known(low)? as f64),
            1 => Value::Number(-1.0 - self.known(low)? as f64),
            3 => Value::Text(self.text(low)?),
            4 => {
                let mut items = Vec::new();
                let length = self.length(low)?;
                while self.more(&length, items.len()) {
                    items.push(self.value(depth)?);
                }
                Value::List(items)
            }
            5 => {
                let mut members = Vec::new();
                let length = self.length(low)?;
                while self.more(&length, members.len()) {
                    let Value::Text(name) = self.value(depth)? else { return None };
                    members.push((name, self.value(depth)?));
                }
                Value::Structure(members)
            }
            6 => {
                let tag = self.known(low)?;
                match (tag, self.value(depth)?) {
                    (1, Value::Number(seconds)) => Value::Time(seconds),
                    (_, value) => value,
                }
            }
            7 => match low {
                20 => Value::Boolean(false),
                21 => Value::Boolean(true),
                22 | 23 => Value::Null,
                25 => Value::Number(half(self.unsigned(2)? as u16)),
                26 => Value::Number(f32::from_bits(self.unsigned(4)? as u32).into()),
                27 => Value::Number(f64::from_bits(self.unsigned(8)?)),
                _ => return None,
            },
            _ => return None,
        })
    }

    fn text(&mut self, low: u8) -> Option<String> {
        match self.length(low)? {
            Length::Known(length) => {
                let bytes = self.take(usize::try_from(length).ok()?)?;
                std::str::from_utf8(bytes).ok().map(str::to_owned)
            }
            Length::UntilBreak => {
                let mut text = String::new();
                while !self.at_break() {
                    let first = self.byte()?;
                    let length = if first >> 5 == 3 { self.known(first & 0x1f)? } else { return None };
                    text.push_str(std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()?);
                }
                Some(text)
            }
        }
    }

    fn more(&mut self, length: &Length, read: usize) -> bool {
        match length {
            Length::Known(length) => (read as u64) < *length,
            Length::UntilBreak => !self.at_break(),
        }
    }
}

fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}

/// Appends a value.
pub(super) fn encode(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(0xf6),
        Value::Boolean(value) => bytes.push(0xf4 + u8::from(*value)),
        Value::Number(number) => {
            bytes.push(0xfb);
            bytes.extend(number.to_bits().to_be_bytes());
        }
        Value::Time(seconds) => {
            bytes.push(0xc1);
            encode(&Value::Number(*seconds), bytes);
        }
        Value::Text(text) => {
            head(3, text.len(), bytes);
            bytes.extend(text.as_bytes());
        }
        Value::List(items) => {
            head(4, items.len(), bytes);
            items.iter().for_each(|item| encode(item, bytes));
        }
        Value::Structure(members) | Value::Map(members) => {
            head(5, members.len(), bytes);
            for (name, value) in members {
                head(3, name.len(), bytes);
                bytes.extend(name.as_bytes());
                encode(value, bytes);
            }
        }
    }
}

fn head(kind: u8, length: usize, bytes: &mut Vec<u8>) {
    match length {
        0..=23 => bytes.push(kind << 5 | length as u8),
        _ => {
            bytes.push(kind << 5 | 27);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let list = Value::List(vec![Value::Number(1.5), Value::Boolean(true), Value::Null]);
        let value = Value::of([("a", list), ("b", Value::Time(1.0)), ("c", Value::text("x".repeat(300)))]);
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        assert_eq!(decode(&bytes), Some(value));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "it ends early");
        }
    }

    #[test]
    fn forms_that_other_clients_write() {
        let number = |bytes: &[u8]| decode(bytes);
        assert_eq!(number(&[0x18, 60]), Some(Value::Number(60.0)));
        assert_eq!(number(&[0x20]), Some(Value::Number(-1.0)));
        assert_eq!(number(&[0xf9, 0x3e, 0x00]), Some(Value::Number(1.5)));
        assert_eq!(number(&[0xfa, 0x3f, 0xc0, 0, 0]), Some(Value::Number(1.5)));
        let indefinite = [0xbf, 0x7f, 0x61, b'a', 0xff, 0x9f, 0x01, 0xff, 0xff];
        let members = vec![("a".to_owned(), Value::List(vec![Value::Number(1.0)]))];
        assert_eq!(decode(&indefinite), Some(Value::Structure(members)));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert_eq!(decode(&[0x81; 100_000]), None, "too deep");
        assert_eq!(decode(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "too long");
        assert_eq!(decode(&[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
