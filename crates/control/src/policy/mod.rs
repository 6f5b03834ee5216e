//! Resource-based policies: how statements are written, kept together and shown, for functions and for layers.
//!
//! Must not know which resource a policy belongs to.

mod condition;
mod document;
mod evaluate;
mod pattern;
mod principal;
mod statement;

use std::iter;

use hothouse_api::{ApiError, ErrorKind};
use uuid::Uuid;

pub(crate) use document::read;
pub(crate) use evaluate::Access;
pub(crate) use principal::Principal;
pub(crate) use statement::{Conditions, Grant};

use crate::{
    error::{conflict, not_found},
    state::model::policy::{Policy, Statement},
};

/// Bytes of a policy's document: the same for functions and layers.
const MOST_BYTES: usize = 20_480;

/// The policy with one more statement, and a revision of its own.
///
/// # Errors
/// If it has a statement of this id, or would become too long.
pub(crate) fn with(before: Option<&Policy>, statement: Statement) -> Result<Policy, ApiError> {
    let mut policy = match before {
        Some(before) => before.clone(),
        None => Policy {
            version: Some("2012-10-17".to_owned()),
            id: Some("default".to_owned()),
            statements: Vec::new(),
            revision_id: Uuid::nil(),
        },
    };
    if let Some(id) = &statement.id
        && policy.statements.iter().any(|other| other.id.as_ref() == Some(id))
    {
        return Err(conflict(format!(
            "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the \
             existing statement."
        )));
    }
    policy.statements.push(statement);
    policy.revision_id = Uuid::new_v4();
    checked(policy)
}

/// The policy, if it is short enough.
///
/// # Errors
/// If it is not.
pub(crate) fn checked(policy: Policy) -> Result<Policy, ApiError> {
    let size = document(&policy).len();
    if size <= MOST_BYTES {
        return Ok(policy);
    }
    Err(ApiError::new(
        ErrorKind::PolicyLengthExceeded,
        format!("The final policy size ({size}) is bigger than the limit ({MOST_BYTES})."),
    ))
}

/// The policy without a statement, and with a revision of its own; none if nothing is left of it.
///
/// # Errors
/// If it has no statement of this id.
pub(crate) fn without(before: &Policy, id: &str) -> Result<Option<Policy>, ApiError> {
    let mut policy = before.clone();
    policy.statements.retain(|statement| statement.id.as_deref() != Some(id));
    if policy.statements.len() == before.statements.len() {
        return Err(statement_not_found(id));
    }
    policy.revision_id = Uuid::new_v4();
    Ok((!policy.statements.is_empty()).then_some(policy))
}

pub(crate) fn statement_not_found(id: &str) -> ApiError {
    not_found(format!("Statement {id} is not found in resource policy."))
}

/// The policy as it is shown: JSON.
pub(crate) fn document(policy: &Policy) -> String {
    let text = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{}:{}", quoted(name), quoted(value)))
    };
    let statements: Vec<&str> =
        policy.statements.iter().map(|statement| statement.document.as_str()).collect();
    let members: Vec<String> = text("Version", &policy.version)
        .into_iter()
        .chain(text("Id", &policy.id))
        .chain(iter::once(format!("\"Statement\":[{}]", statements.join(","))))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Which operation tells a policy's revision.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::enum_variant_names, reason = "they are the operations' names")]
pub(crate) enum RevisionFrom {
    GetPolicy,
    GetLayerPolicy,
    GetResourcePolicy,
}

/// Checks a precondition against the revisions that satisfy it.
///
/// # Errors
/// If one was given and it is none of them.
pub(crate) fn check_revision(now: &[Uuid], known: Option<&str>, from: RevisionFrom) -> Result<(), ApiError> {
    if known.is_none_or(|known| now.iter().any(|now| now.to_string() == known)) {
        return Ok(());
    }
    let api = match from {
        RevisionFrom::GetPolicy => "GetPolicy",
        RevisionFrom::GetLayerPolicy => "GetLayerPolicy",
        // Unverified: the wording of the operations before it, with its own name.
        RevisionFrom::GetResourcePolicy => "GetResourcePolicy",
    };
    Err(ApiError::new(
        ErrorKind::PreconditionFailed,
        format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {api} API to retrieve the \
             latest Revision Id"
        ),
    ))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
