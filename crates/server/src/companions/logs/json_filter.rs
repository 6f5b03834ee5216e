//! JSON filter patterns: `{ ($.user.id = 1) && ($.tags[*] = "a*" || $.error IS NULL) }`.
//!
//! Must not look at anything but one message at a time.

use serde_json::Value;

use super::filter::{Comparison, Cursor, FilterPatternError, Matcher};

/// Parentheses within parentheses that a pattern may have.
const NESTING: usize = 32;

/// A condition on a JSON document.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Compare(Selector, Comparison, Matcher),
    /// `IS TRUE`, `IS FALSE`, `IS NULL`.
    Is(Selector, Value),
    /// `EXISTS`, `NOT EXISTS`.
    Exists(Selector, bool),
}

/// Where in a document.
#[derive(Debug, Clone)]
pub(super) struct Selector(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
    /// `[*]` or `.*`.
    Every,
}

impl Condition {
    /// Parses a pattern that begins with `{`.
    pub(super) fn parse(pattern: &str) -> Result<Self, FilterPatternError> {
        let mut cursor = Cursor::new(pattern);
        cursor.next();
        let condition = any(&mut cursor, 0)?;
        cursor.skip_space();
        if !cursor.accept("}") {
            return Err(cursor.expected("`&&`, `||` or `}`"));
        }
        cursor.skip_space();
        if cursor.peek().is_some() {
            return Err(cursor.expected("the end"));
        }
        Ok(condition)
    }

    /// Messages that are not JSON match no condition.
    pub(super) fn match_message(&self, message: &str) -> bool {
        serde_json::from_str(message).is_ok_and(|document: Value| self.holds(&document))
    }

    fn holds(&self, document: &Value) -> bool {
        match self {
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(document)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(document)),
            Condition::Compare(selector, comparison, operand) => {
                selector.any(document, &|value| compare(value, *comparison, operand))
            }
            Condition::Is(selector, expected) => selector.any(document, &|value| value == expected),
            Condition::Exists(selector, expected) => selector.any(document, &|_| true) == *expected,
        }
    }
}

fn compare(value: &Value, comparison: Comparison, operand: &Matcher) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            if let (Some(left), Some(right)) = (number.as_f64(), operand.number()) {
                return comparison.holds(left, right);
            }
            number.to_string()
        }
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return false,
    };
    match comparison {
        Comparison::Equal => operand.describes(&text),
        Comparison::NotEqual => !operand.describes(&text),
        Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual => {
            false
        }
    }
}

fn any(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, FilterPatternError> {
    let mut conditions = vec![all(cursor, depth)?];
    while accept_sign(cursor, "||") {
        conditions.push(all(cursor, depth)?);
    }
    Ok(single_or(conditions, Condition::Any))
}

fn all(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, FilterPatternError> {
    let mut conditions = vec![one(cursor, depth)?];
    while accept_sign(cursor, "&&") {
        conditions.push(one(cursor, depth)?);
    }
    Ok(single_or(conditions, Condition::All))
}

fn single_or(mut conditions: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match conditions.len() {
        1 => conditions.remove(0),
        _ => many(conditions),
    }
}

fn accept_sign(cursor: &mut Cursor<'_>, sign: &str) -> bool {
    cursor.skip_space();
    cursor.accept(sign)
}

fn one(cursor: &mut Cursor<'_>, depth: usize) -> Result<Condition, FilterPatternError> {
    if depth > NESTING {
        return Err(FilterPatternError::Nesting);
    }
    if accept_sign(cursor, "(") {
        let condition = any(cursor, depth + 1)?;
        return if accept_sign(cursor, ")") { Ok(condition) } else { Err(cursor.expected("`)`")) };
    }
    let selector = selector(cursor)?;
    cursor.skip_space();
    if let Some(comparison) = cursor.comparison() {
        cursor.skip_space();
        return Ok(Condition::Compare(selector, comparison, operand(cursor)?));
    }
    match keyword(cursor).as_str() {
        "EXISTS" => Ok(Condition::Exists(selector, true)),
        "NOT" => match keyword(cursor).as_str() {
            "EXISTS" => Ok(Condition::Exists(selector, false)),
            _ => Err(cursor.expected("`EXISTS`")),
        },
        "IS" => match keyword(cursor).as_str() {
            "TRUE" => Ok(Condition::Is(selector, Value::Bool(true))),
            "FALSE" => Ok(Condition::Is(selector, Value::Bool(false))),
            "NULL" => Ok(Condition::Is(selector, Value::Null)),
            _ => Err(cursor.expected("`TRUE`, `FALSE` or `NULL`")),
        },
        _ => Err(cursor.expected("a comparison, `IS`, `EXISTS` or `NOT EXISTS`")),
    }
}

fn keyword(cursor: &mut Cursor<'_>) -> String {
    cursor.skip_space();
    cursor.take_while(|c| c.is_ascii_alphabetic()).to_ascii_uppercase()
}

fn operand(cursor: &mut Cursor<'_>) -> Result<Matcher, FilterPatternError> {
    if let Some(quoted) = cursor.quoted()? {
        return Ok(quoted);
    }
    let word = cursor.take_while(|c| !c.is_whitespace() && !"(){}&|\"".contains(c));
    if word.is_empty() { Err(cursor.expected("a value")) } else { Ok(Matcher::Text(word.to_owned())) }
}

fn selector(cursor: &mut Cursor<'_>) -> Result<Selector, FilterPatternError> {
    if !cursor.accept("$") {
        return Err(cursor.expected("a selector (`$.name`)"));
    }
    let mut steps = Vec::new();
    loop {
        if cursor.accept("[") {
            steps.push(bracketed(cursor)?);
        } else if cursor.accept(".") {
            if cursor.accept("*") {
                steps.push(Step::Every);
                continue;
            }
            let key = cursor.take_while(|c| c.is_alphanumeric() || "_-@:".contains(c));
            if key.is_empty() {
                return Err(cursor.expected("a property's name"));
            }
            steps.push(Step::Key(key.to_owned()));
        } else {
            return if steps.is_empty() { Err(cursor.expected("`.` or `[`")) } else { Ok(Selector(steps)) };
        }
    }
}

fn bracketed(cursor: &mut Cursor<'_>) -> Result<Step, FilterPatternError> {
    let step = if cursor.accept("*") {
        Step::Every
    } else if let Some(quote @ ('"' | '\'')) = cursor.peek() {
        cursor.next();
        let key = cursor.take_while(|c| c != quote).to_owned();
        cursor.next();
        Step::Key(key)
    } else {
        let index = cursor.take_while(|c| c.is_ascii_digit()).parse();
        Step::Index(index.map_err(|_| cursor.expected("an index, `*` or a quoted name"))?)
    };
    if cursor.accept("]") { Ok(step) } else { Err(cursor.expected("`]`")) }
}

impl Selector {
    /// Whether `accept` takes one of the values that the selector finds.
    fn any(&self, document: &Value, accept: &dyn Fn(&Value) -> bool) -> bool {
        walk(&self.0, document, accept)
    }
}

fn walk(steps: &[Step], value: &Value, accept: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return accept(value) };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            members.get(key).is_some_and(|value| walk(rest, value, accept))
        }
        (Step::Index(index), Value::Array(items)) => {
            items.get(*index).is_some_and(|value| walk(rest, value, accept))
        }
        (Step::Every, Value::Array(items)) => items.iter().any(|value| walk(rest, value, accept)),
        (Step::Every, Value::Object(members)) => members.values().any(|value| walk(rest, value, accept)),
        _ => false,
    }
}
