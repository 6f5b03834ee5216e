//! Inputs of CloudWatch Logs' operations: reading them and AWS's constraints on them.
//!
//! Must not touch the store.

use serde_json::{Map, Value};

use super::operations::ApiError;

/// The retention periods that AWS allows, in days.
const RETENTION_DAYS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// The JSON object of a request.
#[derive(Debug)]
pub(super) struct Input(Map<String, Value>);

impl Input {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Input(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Input(members)),
            Ok(_) => Err(ApiError::serialization("the request is not a JSON object")),
            Err(error) => Err(ApiError::serialization(&error.to_string())),
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ApiError> {
        self.value(key).map(|value| value.as_str().ok_or_else(|| wrong_type(key, "a string"))).transpose()
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        self.value(key).map(|value| value.as_i64().ok_or_else(|| wrong_type(key, "an integer"))).transpose()
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, ApiError> {
        self.value(key).map(|value| value.as_bool().ok_or_else(|| wrong_type(key, "a boolean"))).transpose()
    }

    /// A list of strings; empty if there is none.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, ApiError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| wrong_type(key, "a list of strings"))
    }

    /// A time in milliseconds since the epoch.
    pub(super) fn time(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let time = self.integer(key)?;
        match time {
            Some(time) if time < 0 => {
                Err(constraint(key, &time.to_string(), "Member must have value greater than or equal to 0"))
            }
            _ => Ok(time),
        }
    }

    /// A page's size, at most `maximum`, which is also the default.
    pub(super) fn limit(&self, maximum: i64) -> Result<usize, ApiError> {
        match self.integer("limit")? {
            None => Ok(maximum as usize),
            Some(limit) if limit < 1 => Err(constraint(
                "limit",
                &limit.to_string(),
                "Member must have value greater than or equal to 1",
            )),
            Some(limit) if limit > maximum => Err(constraint(
                "limit",
                &limit.to_string(),
                &format!("Member must have value less than or equal to {maximum}"),
            )),
            Some(limit) => Ok(limit as usize),
        }
    }

    /// The required name of a log group.
    pub(super) fn group_name(&self) -> Result<&str, ApiError> {
        let name = self.text("logGroupName")?.ok_or_else(|| missing("logGroupName"))?;
        check_group_name("logGroupName", name)?;
        Ok(name)
    }

    /// A log group by `logGroupName` or by `logGroupIdentifier`, a name or an ARN.
    pub(super) fn group(&self) -> Result<&str, ApiError> {
        match (self.text("logGroupName")?, self.text("logGroupIdentifier")?) {
            (Some(_), Some(_)) => Err(ApiError::invalid(
                "LogGroup name and LogGroup identifier are mutually exclusive parameters.",
            )),
            (None, Some(identifier)) => {
                let name = group_of_arn(identifier).unwrap_or(identifier);
                check_group_name("logGroupIdentifier", name)?;
                Ok(name)
            }
            (Some(_), None) | (None, None) => self.group_name(),
        }
    }

    /// The required name of a log stream.
    pub(super) fn stream_name(&self) -> Result<&str, ApiError> {
        let name = self.text("logStreamName")?.ok_or_else(|| missing("logStreamName"))?;
        check_stream_name("logStreamName", name)?;
        Ok(name)
    }

    pub(super) fn retention_days(&self) -> Result<i64, ApiError> {
        let days = self.integer("retentionInDays")?.ok_or_else(|| missing("retentionInDays"))?;
        if RETENTION_DAYS.contains(&days) {
            return Ok(days);
        }
        let allowed = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        Err(constraint(
            "retentionInDays",
            &days.to_string(),
            &format!("Member must satisfy enum value set: [{allowed}]"),
        ))
    }

    pub(super) fn one_of<'a>(&'a self, key: &str, allowed: &[&str]) -> Result<Option<&'a str>, ApiError> {
        match self.text(key)? {
            Some(value) if !allowed.contains(&value) => Err(constraint(
                key,
                value,
                &format!("Member must satisfy enum value set: [{}]", allowed.join(", ")),
            )),
            value => Ok(value),
        }
    }

    /// Tags as they are kept: a JSON object of strings.
    pub(super) fn tags(&self) -> Result<Map<String, Value>, ApiError> {
        match self.value("tags") {
            None => Ok(Map::new()),
            Some(Value::Object(tags)) if tags.values().all(Value::is_string) => Ok(tags.clone()),
            Some(_) => Err(wrong_type("tags", "a map of strings")),
        }
    }
}

/// The name in `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, with or without `:*`.
pub(super) fn group_of_arn(arn: &str) -> Option<&str> {
    let rest = arn.strip_prefix("arn:")?.split_once(":log-group:")?.1;
    Some(rest.strip_suffix(":*").unwrap_or(rest))
}

pub(super) fn check_group_name(key: &str, name: &str) -> Result<(), ApiError> {
    check_length(key, name)?;
    match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte)) {
        true => Ok(()),
        false => {
            Err(constraint(key, name, r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+"))
        }
    }
}

pub(super) fn check_stream_name(key: &str, name: &str) -> Result<(), ApiError> {
    check_length(key, name)?;
    match name.contains([':', '*']) {
        true => Err(constraint(key, name, "Member must satisfy regular expression pattern: [^:*]*")),
        false => Ok(()),
    }
}

fn check_length(key: &str, name: &str) -> Result<(), ApiError> {
    match name.chars().count() {
        0 => Err(constraint(key, name, "Member must have length greater than or equal to 1")),
        1..=512 => Ok(()),
        _ => Err(constraint(key, name, "Member must have length less than or equal to 512")),
    }
}

/// AWS's wording of a broken constraint.
pub(super) fn constraint(key: &str, value: &str, constraint: &str) -> ApiError {
    ApiError::invalid(format!(
        "1 validation error detected: Value '{value}' at '{key}' failed to satisfy constraint: {constraint}"
    ))
}

pub(super) fn missing(key: &str) -> ApiError {
    ApiError::invalid(format!(
        "1 validation error detected: Value null at '{key}' failed to satisfy constraint: Member must not be null"
    ))
}

fn wrong_type(key: &str, expected: &str) -> ApiError {
    ApiError::serialization(&format!("`{key}` is not {expected}"))
}
