//! Policy documents as customers write them, read into what can be evaluated.
//!
//! Must not evaluate: `evaluate` does. Nor show anything: statements are shown as they were written.

use hothouse_api::name::AccountId;
use serde_json::{Map, Value};

use super::{
    condition::Condition,
    principal::{is_identity, is_service},
};

/// A statement, understood.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(super) denies: bool,
    pub(super) principals: Listed<Vec<Who>>,
    pub(super) actions: Listed<Vec<String>>,
    pub(super) resources: Listed<Vec<String>>,
    pub(super) conditions: Vec<Condition>,
}

/// What is in a list, or what is not.
#[derive(Debug)]
pub(super) enum Listed<T> {
    In(T),
    NotIn(T),
}

/// One of a statement's principals.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Who {
    Everyone,
    /// Everyone of an account.
    Account(AccountId),
    /// An identity's ARN.
    Identity(String),
    Service(String),
    /// Whom nobody can be here, such as a federated user.
    Other,
}

/// What is wrong with a document, as a sentence.
pub(crate) type Malformed = String;

impl Parsed {
    /// # Errors
    /// If it is no statement.
    pub(crate) fn of(statement: &Value) -> Result<Self, Malformed> {
        const KNOWN: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        let members = statement.as_object().ok_or("A statement must be an object.")?;
        if let Some(name) = members.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(format!("A statement has no member {name}."));
        }
        let denies = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err("The Effect of a statement must be Allow or Deny.".to_owned()),
        };
        Ok(Self {
            denies,
            principals: listed(members, "Principal", "NotPrincipal", principals)?,
            actions: listed(members, "Action", "NotAction", texts)?,
            resources: listed(members, "Resource", "NotResource", texts)?,
            conditions: members.get("Condition").map_or(Ok(Vec::new()), Condition::all)?,
        })
    }
}

/// The values of the one of two members that must be there.
fn listed<T>(
    members: &Map<String, Value>,
    name: &str,
    contrary: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Listed<T>, Malformed> {
    let wrong = |name| format!("The {name} of a statement is not what it must be.");
    match (members.get(name), members.get(contrary)) {
        (Some(value), None) => read(value).map(Listed::In).ok_or_else(|| wrong(name)),
        (None, Some(value)) => read(value).map(Listed::NotIn).ok_or_else(|| wrong(contrary)),
        (None, None) | (Some(_), Some(_)) => {
            Err(format!("A statement must have exactly one of {name} and {contrary}."))
        }
    }
}

/// A text, or a list of texts that is not empty.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(text).collect(),
        Value::String(_) => Some(vec![text(value)?]),
        _ => None,
    }
}

fn principals(value: &Value) -> Option<Vec<Who>> {
    let Value::Object(kinds) = value else {
        return (value.as_str() == Some("*")).then(|| vec![Who::Everyone]);
    };
    let mut principals = Vec::new();
    for (kind, values) in kinds {
        for text in texts(values)? {
            principals.push(match kind.as_str() {
                "AWS" => identity(text)?,
                "Service" if text == "*" => Who::Other,
                "Service" => is_service(&text).then_some(Who::Service(text))?,
                "Federated" | "CanonicalUser" => Who::Other,
                _ => return None,
            });
        }
    }
    (!principals.is_empty()).then_some(principals)
}

fn identity(text: String) -> Option<Who> {
    if text == "*" {
        return Some(Who::Everyone);
    }
    if let Ok(account) = text.parse() {
        return Some(Who::Account(account));
    }
    if !is_identity(&text) {
        return None;
    }
    Some(match text.strip_suffix(":root").and_then(|rest| rest.rsplit(':').next()) {
        Some(account) => Who::Account(account.parse().ok()?),
        None => Who::Identity(text),
    })
}
