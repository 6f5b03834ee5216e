//! Statements as AddPermission and AddLayerVersionPermission write them.
//!
//! Must not read statements: `evaluate` does.

use serde_json::{Map, Value, json};

use super::Principal;
use crate::state::model::policy::Statement;

/// A permission, from which a statement is made.
#[derive(Debug)]
pub(crate) struct Grant {
    /// `Sid`.
    pub(crate) id: String,
    /// Who is allowed something.
    pub(crate) principal: Principal,
    /// What, such as `lambda:InvokeFunction`.
    pub(crate) action: String,
    /// The ARN of the function, version, alias or layer version.
    pub(crate) resource: String,
    /// When.
    pub(crate) conditions: Conditions,
}

/// What must hold for a statement to apply.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Vec<(&'static str, &'static str, String)>);

impl Conditions {
    /// Another condition: operator, key and value. Nothing, if there is no value.
    #[must_use]
    pub(crate) fn and(
        mut self,
        operator: &'static str,
        key: &'static str,
        value: Option<impl Into<String>>,
    ) -> Self {
        self.0.extend(value.map(|value| (operator, key, value.into())));
        self
    }

    fn show(self) -> Map<String, Value> {
        let mut shown = Map::new();
        for (operator, key, value) in self.0 {
            shown.entry(operator).or_insert_with(|| json!({}))[key] = value.into();
        }
        shown
    }
}

impl From<Grant> for Statement {
    fn from(grant: Grant) -> Self {
        let mut shown = json!({
            "Sid": grant.id,
            "Effect": "Allow",
            "Principal": grant.principal.show(),
            "Action": grant.action,
            "Resource": grant.resource,
        });
        let conditions = grant.conditions.show();
        if !conditions.is_empty() {
            shown["Condition"] = conditions.into();
        }
        Self { id: Some(grant.id), document: shown.to_string() }
    }
}
