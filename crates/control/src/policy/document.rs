//! Policy documents as customers write them, read into what can be evaluated.
//!
//! Must not evaluate: `evaluate` does. Nor show anything: statements are shown as they were written.

use hothouse_api::name::AccountId;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    condition::Condition,
    pattern,
    principal::{is_identity, is_service},
};
use crate::state::model::policy::{Policy, Statement};

/// Reads a whole document that is to be the policy of this resource, and gives it a revision.
///
/// # Errors
/// If it is no policy, or is not about this resource.
pub(crate) fn read(text: &str, resource: &str) -> Result<Policy, Malformed> {
    let document: Value = serde_json::from_str(text).map_err(|_| "It is not JSON.")?;
    let members = document.as_object().ok_or("It is not a JSON object.")?;
    let version = member(members, "Version")?;
    if version.as_ref().is_some_and(|version| version != "2012-10-17" && version != "2008-10-17") {
        return Err("Its Version is neither 2012-10-17 nor 2008-10-17.".to_owned());
    }
    if let Some(name) = members.keys().find(|name| !matches!(name.as_str(), "Version" | "Id" | "Statement")) {
        return Err(format!("A policy has no member {name}."));
    }
    let written = match members.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err("It has no Statement.".to_owned()),
    };
    let mut statements: Vec<Statement> = Vec::new();
    for statement in written {
        Parsed::of(statement)?.check_subject(resource)?;
        let id = statement.get("Sid").map(|id| id.as_str().ok_or("A Sid is not a text.")).transpose()?;
        if id.is_some() && statements.iter().any(|other| other.id.as_deref() == id) {
            return Err("Two of its statements have the same Sid.".to_owned());
        }
        statements.push(Statement { id: id.map(str::to_owned), document: statement.to_string() });
    }
    Ok(Policy { version, id: member(members, "Id")?, statements, revision_id: Uuid::new_v4() })
}

fn member(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Malformed> {
    let text =
        |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("Its {name} is not a text."));
    members.get(name).map(text).transpose()
}

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

impl Parsed {
    /// Whether it is about something that can be done to this resource.
    ///
    /// Unverified: how far AWS looks at this.
    fn check_subject(&self, resource: &str) -> Result<(), Malformed> {
        let (Listed::In(actions) | Listed::NotIn(actions)) = &self.actions;
        if let Some(action) = actions.iter().find(|action| !is_action(action)) {
            return Err(format!("{action} is no action of Lambda."));
        }
        match &self.resources {
            Listed::In(resources) if !resources.iter().any(|one| pattern::matches(one, resource)) => {
                Err(format!("The Resource of a statement is not {resource}."))
            }
            _ => Ok(()),
        }
    }
}

/// `*`, or `lambda:` and a name that may have wildcards.
fn is_action(text: &str) -> bool {
    let name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'*' | b'?'))
    };
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(service, rest)| service.eq_ignore_ascii_case("lambda") && name(rest))
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
