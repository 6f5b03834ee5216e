//! The model of AWS Lambda as botocore publishes it, read into types.
//!
//! Must not know Rust's side of the generator.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// All that is generated from.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) source: String,
    pub(crate) operations: Vec<Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) method: String,
    /// Path with `{labels}`; the query that some operations are told apart by is in `discriminator`.
    pub(crate) path: String,
    pub(crate) discriminator: Option<(String, String)>,
    pub(crate) status: u16,
    pub(crate) input: String,
    pub(crate) output: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Kept as the model writes them: messages print `1.0` and `1` differently.
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
    pub(crate) pattern: Option<String>,
    /// Not to be repeated in messages.
    pub(crate) sensitive: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Structure(Structure),
    List(String),
    Map { key: String, value: String },
    String,
    Enum(Vec<String>),
    Integer,
    Long,
    Double,
    Boolean,
    Blob,
    Timestamp,
}

#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) members: Vec<Member>,
    pub(crate) exception: Option<Exception>,
    pub(crate) event_stream: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) shape: String,
    pub(crate) required: bool,
    pub(crate) location: Location,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Body,
    /// The body is this member and nothing else.
    Payload,
    Label,
    Query(String),
    Header(String),
    Status,
}

#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) status: u16,
    pub(crate) fault: bool,
}

impl Model {
    pub(crate) fn read(document: &Value) -> Self {
        let shapes: BTreeMap<String, Shape> = object(&document["shapes"])
            .iter()
            .map(|(name, shape)| (name.clone(), Shape::read(name, shape)))
            .collect();
        let operations =
            object(&document["operations"]).iter().map(|(_, value)| Operation::read(value)).collect();
        Self { source: text(&document["source"]).to_owned(), operations, shapes }
    }

    pub(crate) fn shape(&self, name: &str) -> &Shape {
        self.shapes.get(name).unwrap_or_else(|| panic!("the model has no shape `{name}`"))
    }

    pub(crate) fn structure(&self, name: &str) -> &Structure {
        match &self.shape(name).kind {
            Kind::Structure(structure) => structure,
            other => panic!("`{name}` is no structure but {other:?}"),
        }
    }

    /// Structures that are an operation's input.
    pub(crate) fn is_input(&self, name: &str) -> bool {
        self.operations.iter().any(|operation| operation.input == name)
    }
}

impl Operation {
    fn read(value: &Value) -> Self {
        known_keys(
            "operation",
            value,
            &["name", "http", "input", "output", "errors", "idempotent", "readonly", "deprecated"],
        );
        let http = &value["http"];
        known_keys("http", http, &["method", "requestUri", "responseCode"]);
        let (path, discriminator) = match text(&http["requestUri"]).split_once('?') {
            Some((path, query)) => {
                let (name, value) = query.split_once('=').expect("a query in a path is `name=value`");
                (path, Some((name.to_owned(), value.to_owned())))
            }
            None => (text(&http["requestUri"]), None),
        };
        Self {
            name: text(&value["name"]).to_owned(),
            method: text(&http["method"]).to_owned(),
            path: path.to_owned(),
            discriminator,
            status: status(&http["responseCode"]),
            input: text(&value["input"]["shape"]).to_owned(),
            output: value.get("output").map(|output| text(&output["shape"]).to_owned()),
        }
    }
}

impl Shape {
    fn read(name: &str, value: &Value) -> Self {
        known_keys(
            name,
            value,
            &[
                "type",
                "members",
                "required",
                "min",
                "max",
                "pattern",
                "enum",
                "member",
                "key",
                "value",
                "payload",
                "exception",
                "error",
                "fault",
                "box",
                "sensitive",
                "deprecated",
                "event",
                "eventstream",
                "streaming",
            ],
        );
        let reference = |key: &str| text(&value[key]["shape"]).to_owned();
        let kind = match text(&value["type"]) {
            "structure" => Kind::Structure(Structure::read(value)),
            "list" => Kind::List(reference("member")),
            "map" => Kind::Map { key: reference("key"), value: reference("value") },
            "string" => match value.get("enum") {
                Some(values) => Kind::Enum(list(values).iter().map(|value| text(value).to_owned()).collect()),
                None => Kind::String,
            },
            "integer" => Kind::Integer,
            "long" => Kind::Long,
            "double" => Kind::Double,
            "boolean" => Kind::Boolean,
            "blob" => Kind::Blob,
            "timestamp" => Kind::Timestamp,
            other => panic!("`{name}` has the unknown type `{other}`"),
        };
        let bound = |key: &str| value.get(key).map(ToString::to_string);
        let pattern = value.get("pattern").map(|pattern| text(pattern).to_owned());
        let sensitive = value.get("sensitive").is_some();
        Self { kind, min: bound("min"), max: bound("max"), pattern, sensitive }
    }
}

impl Structure {
    fn read(value: &Value) -> Self {
        let required: Vec<&str> =
            value.get("required").map(list).unwrap_or_default().iter().map(text).collect();
        let payload = value.get("payload").map(text);
        let members = object(&value["members"])
            .iter()
            .map(|(name, member)| {
                known_keys(
                    name,
                    member,
                    &["shape", "location", "locationName", "idempotencyToken", "eventpayload"],
                );
                let location_name = || text(&member["locationName"]).to_owned();
                let location = match member.get("location").map(text) {
                    None if payload == Some(name) || member.get("eventpayload").is_some() => {
                        Location::Payload
                    }
                    None => {
                        assert!(
                            member.get("locationName").is_none(),
                            "`{name}` has another name in the body"
                        );
                        Location::Body
                    }
                    Some("uri") => {
                        assert_eq!(&location_name(), name, "labels are named as their members");
                        Location::Label
                    }
                    Some("querystring") => Location::Query(location_name()),
                    Some("header") => Location::Header(location_name()),
                    Some("statusCode") => Location::Status,
                    Some(other) => panic!("`{name}` is bound to the unknown place `{other}`"),
                };
                Member {
                    name: name.clone(),
                    shape: text(&member["shape"]).to_owned(),
                    required: required.contains(&name.as_str()),
                    location,
                }
            })
            .collect();
        let exception = value.get("exception").map(|_| Exception {
            status: status(&value["error"]["httpStatusCode"]),
            fault: value.get("fault").is_some(),
        });
        Self { members, exception, event_stream: value.get("eventstream").is_some() }
    }
}

/// The model without documentation, and with a note of where it came from, as it is checked in.
pub(crate) fn stripped(document: &Value, botocore: &str) -> String {
    let mut kept = Map::new();
    kept.insert("source".to_owned(), format!("botocore {botocore}, lambda/2015-03-31").into());
    for key in ["metadata", "operations", "shapes"] {
        kept.insert(key.to_owned(), without_prose(&document[key]));
    }
    format!("{:#}\n", Value::Object(kept))
}

fn without_prose(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                // A member of a structure may be called like this, but then its value is an object.
                .filter(|(key, value)| {
                    !(value.is_string()
                        && matches!(key.as_str(), "documentation" | "deprecatedMessage" | "deprecatedSince"))
                })
                .map(|(key, value)| (key.clone(), without_prose(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_prose).collect()),
        other => other.clone(),
    }
}

/// A trait that the generator does not know could change what must be generated.
fn known_keys(what: &str, value: &Value, known: &[&str]) {
    for key in object(value).keys() {
        assert!(known.contains(&key.as_str()), "`{what}` has the unknown trait `{key}`");
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("expected an object, not {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("expected a list, not {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected text, not {value}"))
}

fn status(value: &Value) -> u16 {
    value
        .as_u64()
        .and_then(|status| status.try_into().ok())
        .unwrap_or_else(|| panic!("expected a status, not {value}"))
}
