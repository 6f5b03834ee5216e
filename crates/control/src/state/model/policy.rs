//! Resource-based policies of functions, their versions and aliases, and of layer versions.
//!
//! Must not decide what a policy allows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A resource-based policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `Version`, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `Id`, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its statements, in the order in which they were added.
    pub statements: Vec<Statement>,
    /// What clients compare before they change it.
    pub revision_id: Uuid,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// `Sid`, unique within the policy, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The statement as it is shown: JSON.
    pub document: String,
}
