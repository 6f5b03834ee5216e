//! Validation: the model's constraints over a bound input, with the messages that AWS has for them.
//!
//! Must not know rules that span members or need state: those are the operations' own. The two that AWS checks at this
//! point with another kind of error are in [`afterwards`].

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    bind::Bound,
    error::ApiError,
    function_ref::FunctionRef,
    generated::{ErrorKind, Operation},
    matchers,
    model::{ListMessage, Location, Member, Pattern, Range, Shape, Structure},
};

/// Checks a bound input.
pub(crate) fn validate(operation: Operation, bound: &Bound) -> Result<(), ApiError> {
    let mut violations = Violations {
        messages: Vec::new(),
        has_own_runtime_rule: has_own_runtime_rule(operation),
        may_be_managed: may_be_managed(operation, &bound.members),
    };
    violations.structure("", operation.input(), &bound.members);
    violations.payload(operation.input(), bound.payload.len());
    let Violations { messages, .. } = violations;
    if messages.is_empty() {
        return afterwards(operation, &bound.members);
    }
    Err(ApiError::new(
        ErrorKind::Validation,
        format!(
            "{} validation error{} detected: {}",
            messages.len(),
            if messages.len() == 1 { "" } else { "s" },
            messages.join("; ")
        ),
    ))
}

/// Rules with a validation's wording that AWS answers with InvalidParameterValueException.
fn afterwards(operation: Operation, members: &Map<String, Value>) -> Result<(), ApiError> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    // Recorded: `test_create_lambda_exceptions`. The message lacks the usual beginning.
    if has_own_runtime_rule(operation)
        && let Some(runtime) = text("Runtime")
        && let Some(member) = operation.input().members.iter().find(|member| member.name == "Runtime")
        && let Shape::Enum { values, printed, .. } = member.shape
        && !values.contains(&runtime)
    {
        let list = printed.unwrap_or(values).join(", ");
        return Err(ApiError::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "Value {runtime} at 'runtime' failed to satisfy constraint: \
                 Member must satisfy enum value set: [{list}] or be a valid ARN"
            ),
        ));
    }
    // Recorded: `test_function_arns`, `test_function_name_and_qualifier_validation[function_name_too_long-create_function]`.
    if operation == Operation::CreateFunction
        && let Some(reference) = text("FunctionName").and_then(|name| name.parse::<FunctionRef>().ok())
        && reference.name().as_str().len() > 64
    {
        let name = reference.name();
        return Err(ApiError::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: \
                 Member must have length less than or equal to 64"
            ),
        ));
    }
    Ok(())
}

fn has_own_runtime_rule(operation: Operation) -> bool {
    matches!(operation, Operation::CreateFunction | Operation::UpdateFunctionConfiguration)
}

/// Whether this may be about a function on a capacity provider. An update need not say so: it is held against the wider
/// bounds, and whoever knows the function refuses what is beyond the others.
fn may_be_managed(operation: Operation, members: &Map<String, Value>) -> bool {
    match operation {
        Operation::CreateFunction => {
            members.get("CapacityProviderConfig").is_some_and(|sent| !sent.is_null())
        }
        Operation::UpdateFunctionConfiguration => true,
        _ => false,
    }
}

/// Upper bounds for functions on a capacity provider, where they are not those of AWS's own machines.
const MANAGED_MAXIMA: [(&str, i64); 3] =
    [("ephemeralStorage.size", 32_768), ("memorySize", 32_768), ("timeout", 5400)];

struct Violations {
    messages: Vec<String>,
    has_own_runtime_rule: bool,
    may_be_managed: bool,
}

impl Violations {
    fn structure(&mut self, path: &str, structure: &'static Structure, members: &Map<String, Value>) {
        // Recorded: `qualifier` comes before `functionName`, `compatibleRuntimes` before `compatibleArchitectures`; both are
        // the model's order reversed. What is wrong with one member keeps its order.
        for member in structure.members.iter().rev() {
            let path = match path {
                "" => member.spelled.to_owned(),
                _ => format!("{path}.{}", member.spelled),
            };
            match members.get(member.name) {
                Some(value) => self.value(&path, member, member.shape, value),
                None if member.required && !matches!(member.shape, Shape::Blob { .. }) => {
                    self.messages
                        .push(format!("Value null at '{path}' failed to satisfy constraint: {NOT_NULL}"));
                }
                None => {}
            }
        }
    }

    /// A payload is no part of the document, but its size may be bounded.
    fn payload(&mut self, structure: &'static Structure, size: usize) {
        for member in structure.members {
            if let (Location::Payload, Shape::Blob { length }) = (member.location, member.shape) {
                self.range(member.spelled, member, &Value::Null, *length, size);
            }
        }
    }

    fn value(&mut self, path: &str, member: &Member, shape: &'static Shape, value: &Value) {
        match (shape, value) {
            (Shape::Structure(structure), Value::Object(members)) => self.structure(path, structure, members),
            (Shape::List { member: item, items, message }, Value::Array(values)) => {
                self.range(path, member, value, *items, values.len());
                if let Shape::Structure(_) | Shape::List { .. } | Shape::Map { .. } = item {
                    for (index, value) in values.iter().enumerate() {
                        let path = format!("{path}.{}.member", index + 1);
                        if value.is_null() {
                            self.push(&path, member, value, NOT_NULL);
                        }
                        self.value(&path, member, item, value);
                    }
                } else if values.iter().any(|value| !satisfies(item, value)) {
                    let constraint = match message {
                        ListMessage::Nested => {
                            format!("Member must satisfy constraint: [{}]", listed(item, true))
                        }
                        ListMessage::WithoutNull => {
                            format!("Member must satisfy constraint: [{}]", listed(item, false))
                        }
                        ListMessage::Flat => listed(item, false),
                    };
                    self.push(path, member, value, &constraint);
                }
            }
            (Shape::Map { key, value: entry, items }, Value::Object(entries)) => {
                self.range(path, member, value, *items, entries.len());
                if entries.keys().any(|text| !satisfies(key, &Value::String(text.clone()))) {
                    let constraint = format!("Map keys must satisfy constraint: [{}]", listed(key, false));
                    self.push(path, member, value, &constraint);
                }
                if entries.values().any(|value| !satisfies(entry, value)) {
                    let constraint = format!("Map value must satisfy constraint: [{}]", listed(entry, true));
                    self.push(path, member, value, &constraint);
                }
            }
            (Shape::Enum { name: "Runtime", .. }, _) if path == "runtime" && self.has_own_runtime_rule => {}
            // Recorded: `test_layer_exceptions`. The filter of a list knows more runtimes than can be published for.
            (Shape::Enum { name: "Runtime", .. }, _) if path == "compatibleRuntime" => {
                if !satisfies(shape, value) {
                    let constraint = format!("Member must satisfy enum value set: [{FILTER_RUNTIMES}]");
                    self.push(path, member, value, &constraint);
                }
            }
            _ => {
                let managed =
                    MANAGED_MAXIMA.iter().find(|(bounded, _)| self.may_be_managed && *bounded == path);
                for constraint in constraints(shape) {
                    let constraint = match (constraint, managed) {
                        (Constraint::MaxValue(_), Some((_, max))) => {
                            Constraint::MaxValue(Number::Whole(*max))
                        }
                        (constraint, _) => constraint,
                    };
                    if !constraint.holds(value) {
                        self.push(path, member, value, &constraint.to_string());
                    }
                }
            }
        }
    }

    fn range(&mut self, path: &str, member: &Member, value: &Value, range: Range<i64>, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(max) = range.max.filter(|max| count > *max) {
            self.push(path, member, value, &Constraint::MaxLength(max).to_string());
        }
        if let Some(min) = range.min.filter(|min| count < *min) {
            self.push(path, member, value, &Constraint::MinLength(min).to_string());
        }
    }

    fn push(&mut self, path: &str, member: &Member, value: &Value, constraint: &str) {
        let shown = match value {
            _ if member.sensitive => String::new(),
            Value::Null => "null ".to_owned(),
            value => format!("'{}' ", Shown(value)),
        };
        self.messages.push(format!("Value {shown}at '{path}' failed to satisfy constraint: {constraint}"));
    }
}

/// One thing that a value must satisfy, and how AWS says it.
enum Constraint {
    MaxLength(i64),
    MinLength(i64),
    /// Of a blob, before base64.
    MaxSize(i64),
    MinSize(i64),
    MaxValue(Number),
    MinValue(Number),
    Pattern(&'static Pattern),
    Enum {
        values: &'static [&'static str],
        printed: &'static [&'static str],
    },
}

/// A bound, printed as Java prints its type.
#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Constraint {
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::MaxLength(max), Value::String(text)) => length(text) <= *max,
            (Self::MinLength(min), Value::String(text)) => length(text) >= *min,
            (Self::MaxSize(max), Value::String(text)) => decoded_size(text) <= *max,
            (Self::MinSize(min), Value::String(text)) => decoded_size(text) >= *min,
            (Self::MaxValue(max), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| number <= max.as_f64())
            }
            (Self::MinValue(min), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| number >= min.as_f64())
            }
            (Self::Pattern(pattern), Value::String(text)) => matchers::matches(pattern, text),
            (Self::Enum { values, .. }, Value::String(text)) => values.contains(&text.as_str()),
            _ => false,
        }
    }
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            // Bounds are far below 2^53.
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxLength(max) | Self::MaxSize(max) => {
                write!(f, "Member must have length less than or equal to {max}")
            }
            Self::MinLength(min) | Self::MinSize(min) => {
                write!(f, "Member must have length greater than or equal to {min}")
            }
            Self::MaxValue(max) => write!(f, "Member must have value less than or equal to {max}"),
            Self::MinValue(min) => write!(f, "Member must have value greater than or equal to {min}"),
            Self::Pattern(pattern) => {
                write!(f, "Member must satisfy regular expression pattern: {}", pattern.printed)
            }
            Self::Enum { printed, .. } => {
                write!(f, "Member must satisfy enum value set: [{}]", printed.join(", "))
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => write!(f, "{number:?}"),
        }
    }
}

/// A simple shape's constraints, in the order in which AWS lists them.
fn constraints(shape: &'static Shape) -> Vec<Constraint> {
    fn bounds<T: Copy>(
        range: Range<T>,
        max: fn(T) -> Constraint,
        min: fn(T) -> Constraint,
    ) -> Vec<Constraint> {
        range.max.map(max).into_iter().chain(range.min.map(min)).collect()
    }
    match shape {
        Shape::Text { length, pattern } => {
            let mut constraints = bounds(*length, Constraint::MaxLength, Constraint::MinLength);
            constraints.extend(pattern.as_ref().map(Constraint::Pattern));
            constraints
        }
        Shape::Enum { values, printed, .. } => {
            vec![Constraint::Enum { values, printed: printed.unwrap_or(values) }]
        }
        Shape::Integer { range } | Shape::Long { range } => bounds(
            *range,
            |max| Constraint::MaxValue(Number::Whole(max)),
            |min| Constraint::MinValue(Number::Whole(min)),
        ),
        Shape::Double { range } => bounds(
            *range,
            |max| Constraint::MaxValue(Number::Real(max)),
            |min| Constraint::MinValue(Number::Real(min)),
        ),
        Shape::Blob { length } => bounds(*length, Constraint::MaxSize, Constraint::MinSize),
        Shape::Structure(_) | Shape::List { .. } | Shape::Map { .. } | Shape::Boolean | Shape::Timestamp => {
            Vec::new()
        }
    }
}

fn satisfies(shape: &'static Shape, value: &Value) -> bool {
    let counted = |range: &Range<i64>, count: usize| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        range.min.is_none_or(|min| count >= min) && range.max.is_none_or(|max| count <= max)
    };
    match (shape, value) {
        (_, Value::Null) => false,
        (Shape::List { member, items, .. }, Value::Array(values)) => {
            counted(items, values.len()) && values.iter().all(|value| satisfies(member, value))
        }
        _ => constraints(shape).iter().all(|constraint| constraint.holds(value)),
    }
}

/// All constraints of a shape, as messages about items and entries list them.
fn listed(shape: &'static Shape, with_null: bool) -> String {
    let mut parts: Vec<String> = constraints(shape).iter().map(ToString::to_string).collect();
    if let Shape::List { member, items, .. } = shape {
        // Unverified: as items of lists are described elsewhere.
        parts.extend(items.max.map(|max| Constraint::MaxLength(max).to_string()));
        parts.extend(items.min.map(|min| Constraint::MinLength(min).to_string()));
        parts.push(format!("Member must satisfy constraint: [{}]", listed(member, true)));
    }
    if with_null {
        parts.push(NOT_NULL.to_owned());
    }
    parts.join(", ")
}

/// Java counts UTF-16 units.
fn length(text: &str) -> i64 {
    i64::try_from(text.encode_utf16().count()).unwrap_or(i64::MAX)
}

/// The size of a blob, from its base64.
fn decoded_size(text: &str) -> i64 {
    let digits = text.trim_end_matches('=').len();
    i64::try_from(digits / 4 * 3 + digits % 4 * 3 / 4).unwrap_or(i64::MAX)
}

/// A value as Java's `toString` shows it: `[a, b]`, `{key=value}`.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Shown(item))?;
                }
                f.write_str("]")
            }
            Value::Object(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}={}", Shown(value))?;
                }
                f.write_str("}")
            }
            other => other.fmt(f),
        }
    }
}

const NOT_NULL: &str = "Member must not be null";

/// Recorded: `test_layer_exceptions`, January 2026.
const FILTER_RUNTIMES: &str = "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, \
    python2.7-greengrass, dotnetcore2.0, python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, \
    provided, dotnetcore3.1, dotnet8, java25, java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, \
    byol, nodejs10.x, provided.al2023, nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, \
    python3.12, nodejs14.x, nodejs8.9, nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15, provided.al2, \
    nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, python2.7";

#[cfg(test)]
mod tests;
