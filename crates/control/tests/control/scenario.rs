//! Replies of AWS, with placeholders in angle brackets for what differs from run to run, against ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A scenario, and what its placeholders have turned out to stand for.
pub(crate) struct Scenario {
    recorded: Value,
    values: BTreeMap<String, String>,
    checked: BTreeSet<String>,
}

impl Scenario {
    /// The scenario of this name among recorded ones: JSON, by scenario and by the reply's name.
    pub(crate) fn of(recorded: &str, name: &str) -> Self {
        let mut all: Value = serde_json::from_str(recorded).unwrap();
        let values = [
            ("partition", "aws"),
            ("region", "us-east-1"),
            ("function-name:1", "f"),
            ("resource:1", "r"),
            ("repo_uri", "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo"),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { recorded: all[name].take(), values: values.into(), checked: BTreeSet::new() }
    }

    /// Compares a reply with the recorded one of this name. A placeholder stands for the same value all through the
    /// scenario, and for another than every other placeholder.
    #[track_caller]
    pub(crate) fn check(&mut self, name: &str, actual: &Value) {
        let expected = self.recorded[name].clone();
        assert!(expected.is_object(), "nothing recorded as {name}");
        self.checked.insert(name.to_owned());
        self.compare(name, &expected, actual);
    }

    /// Asserts that nothing of the scenario was left out.
    #[track_caller]
    pub(crate) fn all_checked(&self) {
        let recorded: BTreeSet<String> = self.recorded.as_object().unwrap().keys().cloned().collect();
        assert_eq!(self.checked, recorded);
    }

    #[track_caller]
    fn compare(&mut self, path: &str, expected: &Value, actual: &Value) {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                let names = |object: &serde_json::Map<String, Value>| {
                    let mut names: Vec<_> = object.keys().cloned().collect();
                    names.sort();
                    names
                };
                assert_eq!(names(actual), names(expected), "members of {path}");
                for (name, expected) in expected {
                    self.compare(&format!("{path}.{name}"), expected, &actual[name]);
                }
            }
            (Value::Array(expected), Value::Array(actual)) => {
                assert_eq!(actual.len(), expected.len(), "length of {path}");
                for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                    self.compare(&format!("{path}[{index}]"), expected, actual);
                }
            }
            (Value::String(expected), Value::Number(_))
                if expected == "<code-size>" || expected == "datetime" => {}
            (Value::String(expected), Value::String(actual)) => self.compare_text(path, expected, actual),
            _ => assert_eq!(actual, expected, "{path}"),
        }
    }

    #[track_caller]
    fn compare_text(&mut self, path: &str, expected: &str, actual: &str) {
        if expected == "date" {
            let digits = |text: &str| text.replace(|character: char| character.is_ascii_digit(), "0");
            let moments =
                ["0000-00-00T00:00:00.000+0000", "0000-00-00T00:00:00+0000", "0000-00-00T00:00:00.000000Z"];
            assert!(moments.contains(&digits(actual).as_str()), "{path}: {actual}");
            return;
        }
        let expected = expected.replace("111111111111", "123456789012");
        let mut known = expected.clone();
        for (name, value) in &self.values {
            known = known.replace(&format!("<{name}>"), value);
        }
        if actual == known {
            // An angle bracket may be one of the text itself.
            return;
        }
        let Some((before, rest)) = known.split_once('<') else {
            assert_eq!(actual, known, "{path}");
            return;
        };
        // The first time that a placeholder is seen, it takes whatever is in its place.
        let (name, after) = rest.split_once('>').unwrap();
        let value = actual.strip_prefix(before).and_then(|actual| actual.strip_suffix(after));
        let value = value.unwrap_or_else(|| panic!("{path}: {actual} is not like {expected}"));
        let same = self.values.iter().find(|(_, other)| *other == value);
        assert!(same.is_none(), "{path}: <{name}> is the same as {same:?}");
        self.values.insert(name.to_owned(), value.to_owned());
    }
}
