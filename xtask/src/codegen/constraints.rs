//! Constraint tables: what binding and validation know about every input.
//!
//! Must not generate code, only tables.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    model::{Kind, Location, Member, Model, Shape},
    naming, overrides,
};

pub(crate) fn generate(model: &Model) -> String {
    let mut out = format!("//! What the members of each input must satisfy ({}).\n\n", model.source);
    out.push_str("use crate::model::{ListMessage, Location, Member, Pattern, Range, Shape, Structure};\n\n");
    let mut reached = BTreeSet::new();
    for operation in &model.operations {
        reach(model, &operation.input, &mut reached);
    }
    for name in reached {
        let shape = model.shape(name);
        let constant = naming::constant(name);
        match &shape.kind {
            Kind::Structure(structure) => {
                writeln!(out, "pub(crate) static {constant}: Structure = Structure {{ members: &[")
                    .expect(INFALLIBLE);
                structure.members.iter().for_each(|member| self::member(&mut out, model, member));
                out.push_str("] };\n\n");
            }
            _ => {
                writeln!(out, "static {constant}: Shape = {};\n", rule(model, name, shape))
                    .expect(INFALLIBLE);
            }
        }
    }
    out
}

fn reach<'a>(model: &'a Model, name: &'a str, reached: &mut BTreeSet<&'a str>) {
    if !reached.insert(name) {
        return;
    }
    match &model.shape(name).kind {
        Kind::Structure(structure) => {
            structure.members.iter().for_each(|member| reach(model, &member.shape, reached));
        }
        Kind::List(member) => reach(model, member, reached),
        Kind::Map { key, value } => {
            reach(model, key, reached);
            reach(model, value, reached);
        }
        _ => {}
    }
}

fn member(out: &mut String, model: &Model, member: &Member) {
    let location = match &member.location {
        Location::Body => "Location::Body".to_owned(),
        Location::Payload => "Location::Payload".to_owned(),
        Location::Label => "Location::Label".to_owned(),
        Location::Query(name) => format!("Location::Query({name:?})"),
        Location::Header(name) => format!("Location::Header({:?})", name.to_ascii_lowercase()),
        Location::Status => panic!("`{}` is an input bound to the status", member.name),
    };
    // AWS's messages spell members with a small first letter.
    let mut spelled = member.name.clone();
    spelled[..1].make_ascii_lowercase();
    writeln!(
        out,
        "Member {{ name: {:?}, spelled: {spelled:?}, required: {}, sensitive: {}, location: {location}, shape: {} }},",
        member.name,
        member.required,
        model.shape(&member.shape).sensitive,
        reference(model, &member.shape)
    )
    .expect(INFALLIBLE);
}

fn reference(model: &Model, name: &str) -> String {
    let constant = naming::constant(name);
    match &model.shape(name).kind {
        Kind::Structure(_) => format!("&Shape::Structure(&{constant})"),
        _ => format!("&{constant}"),
    }
}

fn rule(model: &Model, name: &str, shape: &Shape) -> String {
    let range = |literal: fn(&str) -> String| {
        let bound = |bound: Option<&str>| match bound {
            Some(bound) => format!("Some({})", literal(bound)),
            None => "None".to_owned(),
        };
        let max = shape.max.as_deref().map(|max| overrides::maximum(name, max));
        format!("Range {{ min: {}, max: {} }}", bound(shape.min.as_deref()), bound(max))
    };
    let whole = |bound: &str| {
        bound.parse::<i64>().unwrap_or_else(|_| panic!("`{bound}` is no whole number")).to_string()
    };
    let real = |bound: &str| {
        format!("{:?}", bound.parse::<f64>().unwrap_or_else(|_| panic!("`{bound}` is no number")))
    };
    if shape.pattern.is_some() {
        assert!(matches!(shape.kind, Kind::String), "`{name}` has a pattern, but is no text");
    }
    match &shape.kind {
        Kind::Structure(_) => panic!("structures are referred to, not repeated"),
        Kind::List(member) => {
            let message = overrides::list_message(name);
            format!(
                "Shape::List {{ member: {}, items: {}, message: ListMessage::{message} }}",
                reference(model, member),
                range(whole)
            )
        }
        Kind::Map { key, value } => format!(
            "Shape::Map {{ key: {}, value: {}, items: {} }}",
            reference(model, key),
            reference(model, value),
            range(whole)
        ),
        Kind::String => {
            let pattern = match &shape.pattern {
                Some(pattern) => {
                    let printed = overrides::printed_pattern(name, pattern);
                    if printed == pattern {
                        format!("Some(Pattern::new(r##\"{pattern}\"##))")
                    } else {
                        format!("Some(Pattern::printed_as(r##\"{pattern}\"##, r##\"{printed}\"##))")
                    }
                }
                None => "None".to_owned(),
            };
            format!("Shape::Text {{ length: {}, pattern: {pattern} }}", range(whole))
        }
        Kind::Enum(values) => {
            let printed = match overrides::printed_enum(name) {
                Some(printed) => format!("Some(&{printed:?})"),
                None => "None".to_owned(),
            };
            format!("Shape::Enum {{ name: {name:?}, values: &{values:?}, printed: {printed} }}")
        }
        Kind::Integer => format!("Shape::Integer {{ range: {} }}", range(whole)),
        Kind::Long => format!("Shape::Long {{ range: {} }}", range(whole)),
        Kind::Double => format!("Shape::Double {{ range: {} }}", range(real)),
        Kind::Boolean => "Shape::Boolean".to_owned(),
        Kind::Blob => format!("Shape::Blob {{ length: {} }}", range(whole)),
        Kind::Timestamp => "Shape::Timestamp".to_owned(),
    }
}

const INFALLIBLE: &str = "writing to a string cannot fail";
