//! Conditions: an operator, a key, and the values that it is compared with.
//!
//! Must not know where the keys' values come from.

use serde_json::Value;

use super::{document::Malformed, pattern};

/// An operator, a key and the values that it is compared with.
#[derive(Debug)]
pub(super) struct Condition {
    test: Test,
    /// It asks for the contrary.
    negated: bool,
    /// It holds if the key has no value.
    if_absent: bool,
    /// In lower case: keys are compared without case.
    key: String,
    values: Vec<String>,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    EqualWithoutCase,
    Like,
    Arn,
    Bool,
    /// Whether there is no value.
    Null,
    Number(Order),
    Date(Order),
    /// Addresses and bytes: no key that has a value here has one of these.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Reads a statement's `Condition`.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn all(value: &Value) -> Result<Vec<Self>, Malformed> {
        let wrong = || "The Condition of a statement is not what it must be.".to_owned();
        let mut conditions = Vec::new();
        for (operator, keys) in value.as_object().ok_or_else(wrong)? {
            for (key, values) in keys.as_object().ok_or_else(wrong)? {
                let condition = Self::of(operator, key.to_ascii_lowercase(), values);
                conditions.push(condition.ok_or_else(|| {
                    format!("The Condition {operator} of {key} in a statement is not what it must be.")
                })?);
            }
        }
        Ok(conditions)
    }

    fn of(operator: &str, key: String, values: &Value) -> Option<Self> {
        // Keys have one value here, so that all of them are any of them, but if there is none.
        let (operator, for_all) = match operator.split_once(':') {
            Some(("ForAllValues", operator)) => (operator, true),
            Some(("ForAnyValue", operator)) => (operator, false),
            Some(_) => return None,
            None => (operator, false),
        };
        let (operator, if_exists) =
            operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
        let (test, negated) = test(operator)?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            _ => None,
        };
        let values = match value_list(values) {
            Some(values) => values.iter().map(text).collect::<Option<_>>()?,
            None => vec![text(values)?],
        };
        Some(Self { test, negated, if_absent: if_exists || for_all || negated, key, values })
    }

    /// Whether it holds, given the value that a key has.
    pub(super) fn holds(&self, value_of: impl Fn(&str) -> Option<String>) -> bool {
        let value = value_of(&self.key);
        if self.test == Test::Null {
            return self.values.iter().any(|wanted| wanted == if value.is_none() { "true" } else { "false" });
        }
        match value {
            None => self.if_absent,
            Some(value) => {
                self.values.iter().any(|wanted| compare(self.test, &value, wanted)) != self.negated
            }
        }
    }
}

fn value_list(values: &Value) -> Option<&[Value]> {
    values.as_array().map(Vec::as_slice)
}

/// An operator's test, and whether it asks for the contrary.
fn test(operator: &str) -> Option<(Test, bool)> {
    let order = |name: &str| {
        Some(match name {
            "Equals" | "NotEquals" => Order::Equal,
            "LessThan" => Order::Less,
            "LessThanEquals" => Order::LessOrEqual,
            "GreaterThan" => Order::Greater,
            "GreaterThanEquals" => Order::GreaterOrEqual,
            _ => return None,
        })
    };
    let test = match operator {
        "StringEquals" | "StringNotEquals" => Test::Equal,
        "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => Test::EqualWithoutCase,
        "StringLike" | "StringNotLike" => Test::Like,
        "ArnEquals" | "ArnNotEquals" | "ArnLike" | "ArnNotLike" => Test::Arn,
        "Bool" => Test::Bool,
        "Null" => Test::Null,
        "IpAddress" | "NotIpAddress" | "BinaryEquals" => Test::Foreign,
        _ => match (operator.strip_prefix("Numeric"), operator.strip_prefix("Date")) {
            (Some(name), _) => Test::Number(order(name)?),
            (None, Some(name)) => Test::Date(order(name)?),
            (None, None) => return None,
        },
    };
    Some((test, operator.contains("Not")))
}

fn compare(test: Test, value: &str, wanted: &str) -> bool {
    match test {
        Test::Equal => value == wanted,
        Test::EqualWithoutCase | Test::Bool => value.eq_ignore_ascii_case(wanted),
        Test::Like => pattern::matches(wanted, value),
        Test::Arn => arn_matches(wanted, value),
        Test::Number(order) => in_order(order, value.parse::<f64>().ok(), wanted.parse().ok()),
        Test::Date(order) => in_order(order, seconds(value), seconds(wanted)),
        Test::Null | Test::Foreign => false,
    }
}

fn in_order(order: Order, value: Option<f64>, wanted: Option<f64>) -> bool {
    let (Some(value), Some(wanted)) = (value, wanted) else { return false };
    match order {
        Order::Equal => value == wanted,
        Order::Less => value < wanted,
        Order::LessOrEqual => value <= wanted,
        Order::Greater => value > wanted,
        Order::GreaterOrEqual => value >= wanted,
    }
}

/// Seconds since the epoch, of a date or of such seconds.
fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().or_else(|| {
        let date = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let time = text.parse().ok().or_else(|| date().map(|date| date.timestamp()));
        time.map(|time: jiff::Timestamp| time.as_millisecond() as f64 / 1000.0)
    })
}

/// Each of an ARN's six parts is matched for itself.
fn arn_matches(pattern: &str, arn: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    loop {
        match (patterns.next(), parts.next()) {
            (Some(pattern), Some(part)) if pattern::matches(pattern, part) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn holds(conditions: Value, value: Option<&str>) -> bool {
        let conditions = Condition::all(&conditions).unwrap();
        conditions.iter().all(|condition| {
            condition.holds(|key| if key == "aws:key" { value.map(str::to_owned) } else { None })
        })
    }

    #[test]
    fn operators_compare_as_aws_says() {
        let cases = [
            ("StringEquals", "a", "a", true),
            ("StringEquals", "a", "A", false),
            ("StringEqualsIgnoreCase", "a", "A", true),
            ("StringNotEquals", "a", "b", true),
            ("StringLike", "a*c?", "abbcd", true),
            ("StringNotLike", "a*", "abc", false),
            ("ArnLike", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", true),
            ("ArnEquals", "arn:aws:*:::b", "arn:aws:s3:::b", true),
            // A star does not reach beyond its part, but for the last.
            ("ArnLike", "arn:*:b", "arn:aws:s3:::b", false),
            ("ArnLike", "arn:aws:s3:::*", "arn:aws:s3:::a:b", true),
            ("ArnNotLike", "arn:aws:s3:::b", "arn:aws:s3:::c", true),
            ("Bool", "true", "true", true),
            ("NumericLessThan", "10", "9", true),
            ("NumericGreaterThanEquals", "10", "9.5", false),
            ("DateGreaterThan", "2020-01-01", "2020-01-01T00:00:01Z", true),
            ("DateLessThan", "2020-01-01T00:00:00Z", "1577836801", false),
            ("IpAddress", "127.0.0.1/32", "127.0.0.1", false),
        ];
        for (operator, wanted, value, expected) in cases {
            let conditions = json!({ operator: { "aws:Key": wanted } });
            assert_eq!(holds(conditions, Some(value)), expected, "{value} {operator} {wanted}");
        }
    }

    #[test]
    fn one_value_of_several_suffices_but_every_key_must_hold() {
        assert!(holds(json!({ "StringEquals": { "aws:key": ["a", "b"] } }), Some("b")));
        assert!(!holds(json!({ "StringNotEquals": { "aws:key": ["a", "b"] } }), Some("b")));
        assert!(!holds(json!({ "StringEquals": { "aws:key": "a", "aws:other": "a" } }), Some("a")));
    }

    #[test]
    fn keys_without_a_value_satisfy_only_who_does_not_insist() {
        for (operator, expected) in [
            ("StringEquals", false),
            ("StringEqualsIfExists", true),
            ("StringNotEquals", true),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("IpAddress", false),
        ] {
            assert_eq!(holds(json!({ operator: { "aws:key": "a" } }), None), expected, "{operator}");
        }
        assert!(holds(json!({ "Null": { "aws:key": true } }), None));
        assert!(!holds(json!({ "Null": { "aws:key": "true" } }), Some("a")));
        assert!(holds(json!({ "Null": { "aws:key": "false" } }), Some("a")));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for conditions in [
            json!("a"),
            json!({ "StringEquals": "a" }),
            json!({ "StringEqual": { "aws:key": "a" } }),
            json!({ "Some:StringEquals": { "aws:key": "a" } }),
            json!({ "DateAfter": { "aws:key": "a" } }),
            json!({ "StringEquals": { "aws:key": { "a": "b" } } }),
        ] {
            assert!(Condition::all(&conditions).is_err(), "{conditions}");
        }
    }
}
