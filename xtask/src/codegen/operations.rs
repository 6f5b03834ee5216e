//! Operations: the trait that a service implements, routes, and the calls between the two.
//!
//! Must not generate binding or validation: those run over the tables in `constraints.rs`.

use std::{cmp::Reverse, fmt::Write as _};

use super::{
    model::{Kind, Location, Model, Operation},
    naming, overrides, shapes,
};

pub(crate) fn generate(model: &Model) -> String {
    let mut out = format!("//! Operations of AWS Lambda's API ({}).\n\n", model.source);
    out.push_str("use std::future::{Future, ready};\n\n");
    out.push_str("use super::{constraints, shapes::*};\n");
    out.push_str("use crate::{bind::Bound, context::RequestContext, enumeration::enumeration, error::ApiError, model::Structure, respond::Reply};\n\n");
    kinds(&mut out, model);
    service(&mut out, model);
    routes(&mut out, model);
    calls(&mut out, model);
    out
}

fn kinds(out: &mut String, model: &Model) {
    out.push_str("enumeration! {\n    /// An operation of the API.\n    pub enum Operation {\n");
    for operation in &model.operations {
        let Operation { name, method, path, .. } = operation;
        writeln!(out, "        /// `{method} {path}`\n        {} = {name:?},", variant(operation))
            .expect(INFALLIBLE);
    }
    out.push_str("    }\n}\n\nimpl Operation {\n");
    out.push_str("/// The status of a success.\npub fn status(self) -> u16 {\nmatch self {\n");
    let status = |operation: &Operation| overrides::status(&operation.name, operation.status);
    let mut statuses: Vec<u16> = model.operations.iter().map(status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for value in statuses {
        let names: Vec<String> = model
            .operations
            .iter()
            .filter(|operation| status(operation) == value)
            .map(|operation| format!("Self::{}", variant(operation)))
            .collect();
        writeln!(out, "{} => {value},", names.join(" | ")).expect(INFALLIBLE);
    }
    out.push_str(
        "}\n}\n\n/// Labels of the path, in order, with the segments (from 0) that they start at.\n",
    );
    out.push_str("pub(crate) fn labels(self) -> &'static [(usize, &'static str)] {\nmatch self {\n");
    for operation in &model.operations {
        let labels: Vec<String> = segments(operation)
            .enumerate()
            .filter_map(|(index, segment)| label(segment).map(|label| format!("({index}, {label:?})")))
            .collect();
        writeln!(out, "Self::{} => &[{}],", variant(operation), labels.join(", ")).expect(INFALLIBLE);
    }
    out.push_str("}\n}\n\n/// How many segments the path has.\npub(crate) fn segments(self) -> usize {\nmatch self {\n");
    for operation in &model.operations {
        writeln!(out, "Self::{} => {},", variant(operation), segments(operation).count()).expect(INFALLIBLE);
    }
    out.push_str("}\n}\n\n/// The input, for binding and validation.\npub(crate) fn input(self) -> &'static Structure {\nmatch self {\n");
    for operation in &model.operations {
        writeln!(
            out,
            "Self::{} => &constraints::{},",
            variant(operation),
            naming::constant(&operation.input)
        )
        .expect(INFALLIBLE);
    }
    out.push_str("}\n}\n}\n\n");
}

fn service(out: &mut String, model: &Model) {
    out.push_str(
        "/// AWS Lambda. An operation that is not overridden answers that it is not implemented yet.\npub trait Lambda: Send + Sync {\n",
    );
    for operation in &model.operations {
        let (name, input) = (&operation.name, overrides::rust_name(&operation.input));
        let output = operation.output.as_deref().map_or("()", overrides::rust_name);
        writeln!(
            out,
            "/// <https://docs.aws.amazon.com/lambda/latest/api/API_{name}.html>
            fn {}(&self, context: RequestContext, input: {input}) -> impl Future<Output = Result<{output}, ApiError>> + Send {{
                let _ = (context, input);
                ready(Err(ApiError::not_implemented(Operation::{})))
            }}\n",
            naming::member(name),
            variant(operation),
        )
        .expect(INFALLIBLE);
    }
    out.push_str("}\n\n");
}

/// One `match` over method and segments. More literal segments go first, so that a label never hides a literal.
fn routes(out: &mut String, model: &Model) {
    out.push_str(
        "/// The operation of a method and a path's segments (still percent-encoded). `query` tells whether the query has that name and value.
        pub(crate) fn route(method: &str, segments: &[&str], query: impl Fn(&str, &str) -> bool) -> Option<Operation> {
            Some(match (method, segments) {\n",
    );
    let mut operations: Vec<&Operation> = model.operations.iter().collect();
    operations.sort_by_key(|operation| {
        let spans = segments(operation).filter_map(label).any(overrides::spans_segments);
        let literals = segments(operation).filter(|segment| label(segment).is_none()).count();
        // Invocations are nearly all that comes.
        (
            operation.name != "Invoke",
            spans,
            Reverse(literals),
            operation.discriminator.is_none(),
            &operation.name,
        )
    });
    for operation in operations {
        let pattern: Vec<String> = segments(operation)
            .map(|segment| match label(segment) {
                Some(label) if overrides::spans_segments(label) => "_, ..".to_owned(),
                Some(_) => "_".to_owned(),
                None => format!("{segment:?}"),
            })
            .collect();
        let guard = match &operation.discriminator {
            Some((name, value)) => format!(" if query({name:?}, {value:?})"),
            None => String::new(),
        };
        writeln!(
            out,
            "({:?}, [{}]){guard} => Operation::{},",
            operation.method,
            pattern.join(", "),
            variant(operation)
        )
        .expect(INFALLIBLE);
    }
    out.push_str("_ => return None,\n})\n}\n\n");
}

fn calls(out: &mut String, model: &Model) {
    out.push_str(
        "/// Decodes the input of an operation, has it done, and renders its output.
        pub(crate) async fn call<S: Lambda + ?Sized>(
            service: &S,
            operation: Operation,
            context: RequestContext,
            bound: Bound,
        ) -> Result<Reply, ApiError> {
            match operation {\n",
    );
    for operation in &model.operations {
        let (method, input) = (naming::member(&operation.name), overrides::rust_name(&operation.input));
        let payload = model
            .structure(&operation.input)
            .members
            .iter()
            .find(|member| member.location == Location::Payload && is_blob(model, &member.shape));
        writeln!(out, "Operation::{} => {{", variant(operation)).expect(INFALLIBLE);
        match payload {
            Some(member) => {
                let value = if member.required { "payload" } else { "Some(payload)" };
                writeln!(
                    out,
                    "let (mut input, payload) = bound.decode_with_payload::<{input}>()?;\ninput.{} = {value};",
                    naming::member(&member.name)
                )
            }
            None => writeln!(out, "let input = bound.decode::<{input}>()?;"),
        }
        .expect(INFALLIBLE);
        match &operation.output {
            None => writeln!(out, "service.{method}(context, input).await?;\nOk(Reply::empty(operation))"),
            Some(output) => {
                let reply = match is_bound(model, output) {
                    true => format!("Ok({}(output))", renderer(operation)),
                    false => format!("Ok({})", reply(model, operation, output, "operation")),
                };
                let binding = if reply.contains("output") { "let output = " } else { "" };
                writeln!(out, "{binding}service.{method}(context, input).await?;\n{reply}")
            }
        }
        .expect(INFALLIBLE);
        out.push_str("}\n");
    }
    out.push_str("}\n}\n\n");
    for operation in &model.operations {
        if let Some(output) = operation.output.as_deref().filter(|output| is_bound(model, output)) {
            writeln!(
                out,
                "/// Renders the output of `{}`.\npub(crate) fn {}(output: {}) -> Reply {{\n{}\n}}\n",
                operation.name,
                renderer(operation),
                overrides::rust_name(output),
                reply(model, operation, output, &format!("Operation::{}", variant(operation))),
            )
            .expect(INFALLIBLE);
        }
    }
}

/// Whether members of an output travel beside the body.
fn is_bound(model: &Model, output: &str) -> bool {
    model.structure(output).members.iter().any(|member| member.location != Location::Body)
}

fn renderer(operation: &Operation) -> String {
    format!("render_{}", naming::snake(&operation.name))
}

/// The expression that renders `output`.
fn reply(model: &Model, operation: &Operation, output: &str, variant: &str) -> String {
    let members = &model.structure(output).members;
    let mut expression = String::new();
    let payload = members.iter().find(|member| member.location == Location::Payload);
    let in_body = members
        .iter()
        .any(|member| member.location == Location::Body || overrides::is_also_in_body(output, &member.name));
    expression += &match payload {
        Some(member) if is_blob(model, &member.shape) => {
            format!("Reply::payload({variant}, output.{})", naming::member(&member.name))
        }
        Some(member) => {
            assert!(
                shapes::is_event_stream(model, &member.shape),
                "`{output}` has a payload that is neither a blob nor events"
            );
            format!("Reply::events({variant}, output.{})", naming::member(&member.name))
        }
        // An empty structure is `{}`, except where the status says that there is no content.
        None if in_body
            || (members.is_empty() && overrides::status(&operation.name, operation.status) != 204) =>
        {
            format!("Reply::json({variant}, &output)")
        }
        None => format!("Reply::empty({variant})"),
    };
    for member in members {
        let name = naming::member(&member.name);
        match &member.location {
            Location::Header(header) => {
                assert!(
                    matches!(model.shape(&member.shape).kind, Kind::String | Kind::Enum(_)),
                    "`{name}` is no text, but bound to a header"
                );
                write!(expression, ".header({:?}, output.{name})", header.to_ascii_lowercase())
                    .expect(INFALLIBLE);
            }
            Location::Status => write!(expression, ".status(output.{name})").expect(INFALLIBLE),
            Location::Body | Location::Payload => {}
            Location::Label | Location::Query(_) => {
                panic!("`{output}.{name}` is an output bound to the request")
            }
        }
    }
    expression
}

fn is_blob(model: &Model, shape: &str) -> bool {
    matches!(model.shape(shape).kind, Kind::Blob)
}

fn variant(operation: &Operation) -> String {
    naming::camel(&operation.name)
}

fn segments(operation: &Operation) -> impl Iterator<Item = &str> {
    operation.path.strip_prefix('/').expect("paths start with a slash").split('/')
}

fn label(segment: &str) -> Option<&str> {
    let label = segment.strip_prefix('{')?.strip_suffix('}')?;
    assert!(!label.ends_with('+'), "`{segment}` is greedy, which no label was");
    Some(label)
}

const INFALLIBLE: &str = "writing to a string cannot fail";
