//! What requests and answers consist of, whatever the protocol.
//!
//! Must not know operations.

use super::Refusal;

/// A value of the model. What comes by the query protocol is all text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
    /// Seconds since the epoch.
    Time(f64),
    List(Vec<Value>),
    /// A structure of the model.
    Structure(Vec<(String, Value)>),
    /// A map of the model, whose keys are data.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// A structure, without members that are absent.
    pub(super) fn of<const N: usize>(members: [(&str, Value); N]) -> Self {
        let there = members.into_iter().filter(|(_, value)| *value != Value::Null);
        Self::Structure(there.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn option(value: Option<Value>) -> Self {
        value.unwrap_or(Value::Null)
    }

    /// A member, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Structure(members) | Self::Map(members) => {
                let found = members.iter().find(|(known, _)| known == name).map(|(_, value)| value);
                found.filter(|value| **value != Value::Null)
            }
            _ => None,
        }
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&str>, Refusal> {
        self.get(name)
            .map(|value| match value {
                Value::Text(text) => Ok(text.as_str()),
                _ => Err(wrong_type(name, "a string")),
            })
            .transpose()
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        let there = self.string(name)?.filter(|text| !text.is_empty());
        there.ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        let wrong = || wrong_type(name, "a number");
        self.get(name).map(|value| value.as_number().ok_or_else(wrong)).transpose()
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) | Value::Time(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.get(name)
            .map(|value| match value {
                Value::Boolean(value) => Ok(*value),
                Value::Text(text) if text == "true" => Ok(true),
                Value::Text(text) if text == "false" => Ok(false),
                _ => Err(wrong_type(name, "a boolean")),
            })
            .transpose()
    }

    /// Milliseconds since the epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let wrong = || wrong_type(name, "a timestamp");
        let Some(value) = self.get(name) else { return Ok(None) };
        let seconds = match value {
            Value::Text(text) => {
                let time = text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond() as f64 / 1000.0);
                time.ok().or_else(|| text.parse().ok()).ok_or_else(wrong)?
            }
            value => value.as_number().ok_or_else(wrong)?,
        };
        // Ten thousand years.
        if !(0.0..3e11).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Some((seconds * 1000.0).round() as i64))
    }

    /// A list; empty if there is none.
    pub(super) fn list(&self, name: &str) -> Result<&[Value], Refusal> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::List(items)) => Ok(items),
            // An empty list by the query protocol.
            Some(Value::Text(text)) if text.is_empty() => Ok(&[]),
            Some(_) => Err(wrong_type(name, "a list")),
        }
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<&str>, Refusal> {
        let texts = self.list(name)?.iter().map(|item| match item {
            Value::Text(text) => Ok(text.as_str()),
            _ => Err(wrong_type(name, "a list of strings")),
        });
        texts.collect()
    }

    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>, Refusal> {
        let wrong = || wrong_type(name, "a list of numbers");
        self.list(name)?.iter().map(|item| item.as_number().ok_or_else(wrong)).collect()
    }
}

fn wrong_type(name: &str, what: &str) -> Refusal {
    Refusal::invalid(format!("The parameter {name} must be {what}."))
}
