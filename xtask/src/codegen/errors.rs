//! Error kinds: the model's exceptions and those beside it.
//!
//! Must not generate messages: those are the operations' affair.

use std::fmt::Write as _;

use super::{
    model::{Exception, Kind, Model, Structure},
    naming, overrides,
};

/// One row of the generated table.
struct Row {
    variant: String,
    about: String,
    code: String,
    status: u16,
    message_key: String,
    /// `Type` of the body.
    fault: Option<&'static str>,
}

pub(crate) fn generate(model: &Model) -> String {
    let rows: Vec<Row> = model
        .shapes
        .iter()
        .filter_map(|(name, shape)| match &shape.kind {
            Kind::Structure(structure) => {
                structure.exception.as_ref().map(|error| modelled(name, structure, error))
            }
            _ => None,
        })
        .chain(overrides::FRONT_ERRORS.iter().map(|error| Row {
            variant: variant(error.name),
            about: error.about.to_owned(),
            code: error.name.to_owned(),
            status: error.status,
            message_key: error.message_key.to_owned(),
            fault: None,
        }))
        .collect();

    let mut out = "//! Kinds of errors, as the model and AWS's front end have them.\n\n".to_owned();
    out.push_str("/// What went wrong, in AWS's terms.\n");
    out.push_str(
        "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]\npub enum ErrorKind {\n",
    );
    for row in &rows {
        writeln!(out, "/// {} ({})\n{},", row.about, row.status, row.variant).expect(INFALLIBLE);
    }
    out.push_str("}\n\nimpl ErrorKind {\n");
    table(&mut out, "/// Every kind.\npub const ALL: &'static [Self] = &", &rows);
    column(&mut out, &rows, "The code on the wire.", "code(self) -> &'static str", |row| {
        format!("{:?}", row.code)
    });
    column(&mut out, &rows, "The HTTP status.", "status(self) -> u16", |row| row.status.to_string());
    let about = "The body's key for the message; AWS is not of one mind about its capital.";
    column(&mut out, &rows, about, "message_key(self) -> &'static str", |row| {
        format!("{:?}", row.message_key)
    });
    let about = "The body's `Type`, if the body has one: whose fault it is.";
    column(&mut out, &rows, about, "fault(self) -> Option<&'static str>", |row| format!("{:?}", row.fault));
    out.push_str("}\n");
    out
}

fn modelled(name: &str, structure: &Structure, exception: &Exception) -> Row {
    let key = structure.members.iter().find(|member| member.name.eq_ignore_ascii_case("message"));
    let has_type = structure.members.iter().any(|member| member.name == "Type");
    assert!(has_type, "`{name}` has no `Type`");
    assert_eq!(exception.fault, exception.status >= 500, "`{name}` blames who its status does not");
    Row {
        variant: variant(name),
        about: format!("`{}`", overrides::wire_code(name)),
        code: overrides::wire_code(name).to_owned(),
        status: exception.status,
        message_key: key.unwrap_or_else(|| panic!("`{name}` has no message")).name.clone(),
        fault: Some(if exception.fault { "Service" } else { "User" }),
    }
}

/// `ResourceNotFoundException` → `ResourceNotFound`.
fn variant(name: &str) -> String {
    naming::camel(
        name.strip_suffix("Exception").unwrap_or_else(|| panic!("`{name}` is no exception by name")),
    )
}

fn table(out: &mut String, head: &str, rows: &[Row]) {
    let names: Vec<String> = rows.iter().map(|row| format!("Self::{}", row.variant)).collect();
    writeln!(out, "{head}[{}];\n", names.join(", ")).expect(INFALLIBLE);
}

fn column(out: &mut String, rows: &[Row], about: &str, signature: &str, value: impl Fn(&Row) -> String) {
    // Equal values share an arm.
    let mut arms: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let value = value(row);
        let variant = format!("Self::{}", row.variant);
        match arms.iter_mut().find(|(present, _)| *present == value) {
            Some((_, variants)) => variants.push(variant),
            None => arms.push((value, vec![variant])),
        }
    }
    writeln!(out, "/// {about}\npub fn {signature} {{\nmatch self {{").expect(INFALLIBLE);
    for (value, variants) in arms {
        writeln!(out, "{} => {value},", variants.join(" | ")).expect(INFALLIBLE);
    }
    out.push_str("}\n}\n\n");
}

const INFALLIBLE: &str = "writing to a string cannot fail";
