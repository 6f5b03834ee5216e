//! Structures and enums.
//!
//! Must not generate what is by hand: names, ARNs, the bytes of a stream of events.

use std::fmt::Write as _;

use super::{
    model::{Kind, Location, Member, Model, Shape, Structure},
    naming, overrides,
};

pub(crate) fn generate(model: &Model) -> String {
    let mut out = format!("//! Structures and enums of AWS Lambda's API ({}).\n\n", model.source);
    out.push_str(
        "use std::collections::BTreeMap;\n\nuse bytes::Bytes;\nuse serde::{Deserialize, Serialize};\n\n",
    );
    out.push_str("use crate::{blob, enumeration::enumeration, event_stream::{self, EventStream}, timestamp::Timestamp};\n\n");
    for (name, shape) in &model.shapes {
        match &shape.kind {
            Kind::Structure(structure) if structure.exception.is_some() => {}
            Kind::Structure(structure) if structure.event_stream => {
                event_stream(&mut out, model, name, structure)
            }
            Kind::Structure(structure) => self::structure(&mut out, model, name, structure),
            Kind::Enum(values) => {
                let extra = overrides::extra_value(name).map(str::to_owned);
                let values: Vec<String> = values.iter().cloned().chain(extra).collect();
                enumeration(&mut out, name, &values);
            }
            _ => {}
        }
    }
    assert_no_recursion(model);
    out
}

fn structure(out: &mut String, model: &Model, name: &str, structure: &Structure) {
    let rust_name = overrides::rust_name(name);
    let input = model.is_input(name);
    let default = if has_default(model, name) { "Default, " } else { "" };
    let page = page(model, name);
    writeln!(out, "/// <https://docs.aws.amazon.com/lambda/latest/api/API_{page}.html>").expect(INFALLIBLE);
    // A stream is there once, and cannot be looked at without taking it.
    let streams = structure.members.iter().any(|member| is_event_stream(model, &member.shape));
    let value = if streams { "" } else { "Clone, PartialEq, " };
    writeln!(out, "#[derive(Debug, {value}{default}Serialize, Deserialize)]").expect(INFALLIBLE);
    if structure.members.is_empty() {
        writeln!(out, "pub struct {rust_name} {{}}\n").expect(INFALLIBLE);
        return;
    }
    writeln!(out, "pub struct {rust_name} {{").expect(INFALLIBLE);
    for member in &structure.members {
        let shape = model.shape(&member.shape);
        writeln!(out, "/// {}", describe(member, shape)).expect(INFALLIBLE);
        let (blob, plain) = (matches!(shape.kind, Kind::Blob), input && member.required);
        if is_beside_json(model, name, member) {
            out.push_str("#[serde(skip)]\n");
        } else {
            let with = match (blob, plain) {
                (true, true) => ", with = \"blob\"",
                (true, false) => ", default, with = \"blob::option\"",
                (false, _) => "",
            };
            let skip = if plain { "" } else { ", skip_serializing_if = \"Option::is_none\"" };
            writeln!(out, "#[serde(rename = {:?}{with}{skip})]", member.name).expect(INFALLIBLE);
        }
        let ty = rust_type(model, &member.shape);
        let ty = if plain { ty } else { format!("Option<{ty}>") };
        writeln!(out, "pub {}: {ty},", naming::member(&member.name)).expect(INFALLIBLE);
    }
    out.push_str("}\n\n");
}

fn enumeration(out: &mut String, name: &str, values: &[String]) {
    writeln!(
        out,
        "enumeration! {{\n    /// Values of `{name}`.\n    pub enum {} {{",
        overrides::rust_name(name)
    )
    .expect(INFALLIBLE);
    let mut seen = std::collections::BTreeSet::new();
    for value in values {
        let variant = naming::camel(value);
        assert!(seen.insert(variant.clone()), "two values of `{name}` are both `{variant}`");
        writeln!(out, "        /// `{value}`\n        {variant} = {value:?},").expect(INFALLIBLE);
    }
    out.push_str("    }\n}\n\n");
}

fn event_stream(out: &mut String, model: &Model, name: &str, structure: &Structure) {
    writeln!(
        out,
        "/// An event of the stream `{name}`.\n#[derive(Debug, Clone, PartialEq)]\npub enum {name} {{"
    )
    .expect(INFALLIBLE);
    for member in &structure.members {
        writeln!(out, "/// `{0}`\n{0}({1}),", member.name, overrides::rust_name(&member.shape))
            .expect(INFALLIBLE);
    }
    writeln!(
        out,
        "}}\n\nimpl event_stream::Event for {name} {{
            fn message(self) -> Result<event_stream::Message, serde_json::Error> {{
                match self {{"
    )
    .expect(INFALLIBLE);
    for Member { name, shape, .. } in &structure.members {
        let members = &model.structure(shape).members;
        match members.iter().find(|member| member.location == Location::Payload) {
            Some(payload) => {
                assert_eq!(members.len(), 1, "`{shape}` has more than its payload");
                let payload = naming::member(&payload.name);
                writeln!(
                    out,
                    "Self::{name}(event) => Ok(event_stream::Message::payload({name:?}, event.{payload})),"
                )
            }
            None => writeln!(out, "Self::{name}(event) => event_stream::Message::json({name:?}, &event),"),
        }
        .expect(INFALLIBLE);
    }
    out.push_str("}\n}\n}\n\n");
}

/// AWS has pages for data types and for operations; what only an operation uses stands on the operation's page.
fn page<'a>(model: &'a Model, name: &'a str) -> &'a str {
    let operation = model.operations.iter().find(|operation| {
        operation.input == name || (operation.output.as_deref() == Some(name) && name.ends_with("Response"))
    });
    operation.map_or(name, |operation| &operation.name)
}

/// Whether a member never is in a JSON document: raw payloads, streams, and what of an output travels in headers and status.
/// Members of an input that travel in path, query and headers are put into the document that is validated.
fn is_beside_json(model: &Model, structure: &str, member: &Member) -> bool {
    match member.location {
        Location::Payload => {
            matches!(model.shape(&member.shape).kind, Kind::Blob) || is_event_stream(model, &member.shape)
        }
        Location::Header(_) | Location::Status => {
            !model.is_input(structure) && !overrides::is_also_in_body(structure, &member.name)
        }
        Location::Body | Location::Label | Location::Query(_) => false,
    }
}

/// The wire's name, and the bounds that the model gives.
fn describe(member: &Member, shape: &Shape) -> String {
    let place = match &member.location {
        Location::Body => String::new(),
        Location::Payload => ", the body".to_owned(),
        Location::Label => ", in the path".to_owned(),
        Location::Query(name) => format!(", query `{name}`"),
        Location::Header(name) => format!(", header `{name}`"),
        Location::Status => ", the status".to_owned(),
    };
    let unit = match shape.kind {
        Kind::String => " characters",
        Kind::List(_) | Kind::Map { .. } => " items",
        Kind::Blob => " bytes",
        _ => "",
    };
    let bounds = match (&shape.min, &shape.max) {
        (Some(min), Some(max)) => format!(", {min} to {max}{unit}"),
        (None, Some(max)) => format!(", at most {max}{unit}"),
        (Some(min), None) => format!(", at least {min}{unit}"),
        (None, None) => String::new(),
    };
    format!("`{}`{place}{bounds}.", member.name)
}

/// The type of a shape's values.
pub(crate) fn rust_type(model: &Model, name: &str) -> String {
    match &model.shape(name).kind {
        Kind::Structure(structure) if structure.event_stream => {
            format!("EventStream<{}>", overrides::rust_name(name))
        }
        Kind::Structure(_) | Kind::Enum(_) => overrides::rust_name(name).to_owned(),
        Kind::List(member) => format!("Vec<{}>", rust_type(model, member)),
        Kind::Map { key, value } => {
            format!("BTreeMap<{}, {}>", rust_type(model, key), rust_type(model, value))
        }
        Kind::String => "String".to_owned(),
        Kind::Integer => "i32".to_owned(),
        Kind::Long => "i64".to_owned(),
        Kind::Double => "f64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Blob => "Bytes".to_owned(),
        Kind::Timestamp => "Timestamp".to_owned(),
    }
}

/// Everything but an input that requires an enum.
fn has_default(model: &Model, name: &str) -> bool {
    let input = model.is_input(name);
    model.structure(name).members.iter().filter(|member| input && member.required).all(|member| match &model
        .shape(&member.shape)
        .kind
    {
        Kind::Structure(_) => has_default(model, &member.shape),
        Kind::Enum(_) | Kind::Timestamp => false,
        _ => true,
    })
}

pub(crate) fn is_event_stream(model: &Model, name: &str) -> bool {
    matches!(&model.shape(name).kind, Kind::Structure(structure) if structure.event_stream)
}

/// No structure holds itself, not even through lists. One that does would need a `Box` here and a depth in validation.
fn assert_no_recursion(model: &Model) {
    fn visit<'a>(model: &'a Model, name: &'a str, path: &mut Vec<&'a str>) {
        assert!(!path.contains(&name), "`{name}` holds itself: {path:?}");
        path.push(name);
        match &model.shape(name).kind {
            Kind::Structure(structure) => {
                structure.members.iter().for_each(|member| visit(model, &member.shape, path));
            }
            Kind::List(member) => visit(model, member, path),
            Kind::Map { key, value } => {
                visit(model, key, path);
                visit(model, value, path);
            }
            _ => {}
        }
        path.pop();
    }
    model.shapes.keys().for_each(|name| visit(model, name, &mut Vec::new()));
}

const INFALLIBLE: &str = "writing to a string cannot fail";
