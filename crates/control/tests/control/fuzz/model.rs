//! The model of the API as tests read it: what an operation takes, and whether an answer has the shape that it promises.
//!
//! Read from the model itself and not from the generated code, which would agree with its own mistakes.

use serde_json::{Map, Value};

/// The model, with what is generated from it left aside.
pub(crate) struct Model {
    pub(crate) operations: Vec<Operation>,
    shapes: Map<String, Value>,
}

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) input: Option<String>,
    pub(crate) output: Option<String>,
    /// Codes of its errors, as the wire has them.
    pub(crate) errors: Vec<String>,
}

impl Model {
    pub(crate) fn load() -> Self {
        let mut model: Value =
            serde_json::from_str(include_str!("../../../../../models/lambda.json")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let operations = model["operations"].as_object().unwrap().values();
        let operations = operations
            .map(|operation| Operation {
                name: text(&operation["name"]),
                method: text(&operation["http"]["method"]),
                path: text(&operation["http"]["requestUri"]),
                input: operation["input"]["shape"].as_str().map(str::to_owned),
                output: operation["output"]["shape"].as_str().map(str::to_owned),
                errors: operation["errors"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|error| match error["shape"].as_str().unwrap() {
                        // The wire's name differs from the model's.
                        "RequestTooLargeException" => "RequestEntityTooLargeException".to_owned(),
                        other => other.to_owned(),
                    })
                    .collect(),
            })
            .collect();
        let Value::Object(shapes) = model["shapes"].take() else { panic!("the model has no shapes") };
        Self { operations, shapes }
    }

    pub(crate) fn shape(&self, name: &str) -> &Value {
        &self.shapes[name]
    }

    /// Members of a structure: name and reference.
    pub(crate) fn members(&self, structure: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.shape(structure)["members"].as_object().into_iter().flatten()
    }

    pub(crate) fn is_required(&self, structure: &str, member: &str) -> bool {
        let required = self.shape(structure)["required"].as_array();
        required.into_iter().flatten().any(|name| name == member)
    }

    /// What keeps a document from being this shape, if anything.
    pub(crate) fn misfit(&self, name: &str, value: &Value, path: &str) -> Option<String> {
        let shape = self.shape(name);
        let fits = match shape["type"].as_str().unwrap() {
            "structure" => {
                let Some(given) = value.as_object() else { return Some(format!("{path} is {value}")) };
                let stranger = given.keys().find(|key| shape["members"].get(*key).is_none());
                if let Some(stranger) = stranger {
                    return Some(format!("{path} has {stranger}, which {name} has not"));
                }
                return self.members(name).find_map(|(member, reference)| {
                    let path = format!("{path}.{member}");
                    let elsewhere = !reference["location"].is_null();
                    match given.get(member) {
                        Some(value) => self.misfit(reference["shape"].as_str().unwrap(), value, &path),
                        None if elsewhere || !self.is_required(name, member) => None,
                        None if LEFT_OUT.contains(&(name, member)) => None,
                        None => Some(format!("{path} is missing")),
                    }
                });
            }
            "list" => {
                let Some(items) = value.as_array() else { return Some(format!("{path} is {value}")) };
                let member = shape["member"]["shape"].as_str().unwrap();
                return items.iter().find_map(|item| self.misfit(member, item, &format!("{path}[]")));
            }
            "map" => {
                let Some(entries) = value.as_object() else { return Some(format!("{path} is {value}")) };
                let member = shape["value"]["shape"].as_str().unwrap();
                return entries.values().find_map(|entry| self.misfit(member, entry, &format!("{path}{{}}")));
            }
            "string" => match (value.as_str(), shape["enum"].as_array()) {
                (Some(text), Some(values)) => {
                    // AWS sends one value that its model does not have.
                    values.iter().any(|known| known == text)
                        || (name == "LastUpdateStatusReasonCode" && text == "Creating")
                }
                (text, _) => text.is_some(),
            },
            "blob" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" | "long" => value.is_i64(),
            "double" | "timestamp" => value.is_number(),
            other => panic!("the model has a new type of shape: {other}"),
        };
        (!fits).then(|| format!("{path} is {value}, which is no {name}"))
    }
}

/// Members that the model requires and AWS leaves out, as recorded.
const LEFT_OUT: [(&str, &str); 1] = [("GetFunctionCodeSigningConfigResponse", "CodeSigningConfigArn")];
