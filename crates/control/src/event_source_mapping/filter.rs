//! Filter patterns: rules of EventBridge's kind about the records of an event source.
//!
//! A pattern is parsed whole, so that one that cannot mean anything is refused when it is given. Must not know what a
//! record looks like.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use serde_json::{Map, Value};

/// An object of rules, all of which must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// What must hold for each member of a record.
    pub members: BTreeMap<String, Node>,
    /// `$or`: patterns of which one must hold as well.
    pub any: Vec<Pattern>,
}

/// What must hold for one member.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// The member is an object, for which all of this holds.
    Object(Pattern),
    /// One of these rules holds for the member, or for one of its items if it is an array.
    Rules(Vec<Rule>),
}

/// A rule about one value.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// It is this: text, number, boolean or null, and of the same type.
    Equals(Value),
    /// It is the same text but for the case of its letters.
    EqualsIgnoreCase(String),
    /// It is text that begins so.
    Prefix(Affix),
    /// It is text that ends so.
    Suffix(Affix),
    /// It is text like this.
    Wildcard(Wildcard),
    /// It is a number in this range.
    Numeric(Range),
    /// It is there, and not so.
    AnythingBut(Excluded),
    /// It is there, or is not.
    Exists(bool),
    /// It is an address of this network.
    Cidr {
        /// Any address of it.
        address: IpAddr,
        /// Leading bits that all its addresses share.
        bits: u8,
    },
}

/// The beginning or the end of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affix {
    /// The text.
    pub text: String,
    /// Whether the case of letters does not matter.
    pub ignore_case: bool,
}

/// A text with gaps: each part follows somewhere behind the one before. The first is the beginning and the last the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// What is between the gaps.
    pub parts: Vec<String>,
}

/// A range of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// One number.
    Exactly(f64),
    /// All between two bounds.
    Between {
        /// The lower bound.
        from: Option<Bound>,
        /// The upper bound.
        to: Option<Bound>,
    },
}

/// An end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Where it is.
    pub value: f64,
    /// Whether it belongs to the range.
    pub inclusive: bool,
}

/// What `anything-but` excludes: whatever matches one of the list.
#[derive(Debug, Clone, PartialEq)]
pub enum Excluded {
    /// These texts or numbers.
    Values(Vec<Value>),
    /// These texts, in whatever case.
    IgnoreCase(Vec<String>),
    /// Texts that begin so.
    Prefixes(Vec<String>),
    /// Texts that end so.
    Suffixes(Vec<String>),
    /// Texts like these.
    Wildcards(Vec<Wildcard>),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not JSON.
    #[error("the pattern is not valid JSON")]
    Json,
    /// It is not an object.
    #[error("the pattern is not an object")]
    NotAnObject,
    /// An object or an array has nothing in it.
    #[error("`{0}` is empty")]
    Empty(String),
    /// A member is neither an object nor an array of rules.
    #[error("`{0}` must be an object or an array")]
    Scalar(String),
    /// A rule within an array is none.
    #[error("`{0}` has an unknown rule")]
    UnknownRule(String),
    /// A known rule has a value that it cannot have.
    #[error("rule `{0}` has an invalid value")]
    InvalidValue(&'static str),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) => object("$", &members),
            Ok(_) => Err(PatternError::NotAnObject),
            Err(_) => Err(PatternError::Json),
        }
    }
}

impl Pattern {
    /// Whether this member's value as a whole is compared, instead of the members of an object.
    pub fn has_rules_for(&self, member: &str) -> bool {
        matches!(self.members.get(member), Some(Node::Rules(_)))
            || self.any.iter().any(|pattern| pattern.has_rules_for(member))
    }
}

fn object(name: &str, members: &Map<String, Value>) -> Result<Pattern, PatternError> {
    if members.is_empty() {
        return Err(PatternError::Empty(name.to_owned()));
    }
    let mut pattern = Pattern { members: BTreeMap::new(), any: Vec::new() };
    for (name, value) in members {
        match value {
            Value::Object(members) => {
                pattern.members.insert(name.clone(), Node::Object(object(name, members)?));
            }
            Value::Array(items) if name == "$or" && is_alternative(items) => {
                let patterns = items.iter().filter_map(Value::as_object);
                pattern.any = patterns.map(|members| object(name, members)).collect::<Result<_, _>>()?;
            }
            Value::Array(items) if items.is_empty() => return Err(PatternError::Empty(name.clone())),
            Value::Array(items) => {
                let rules = items.iter().map(|item| rule(name, item)).collect::<Result<_, _>>()?;
                pattern.members.insert(name.clone(), Node::Rules(rules));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(PatternError::Scalar(name.clone()));
            }
        }
    }
    Ok(pattern)
}

/// Whether `$or` is the operator. A member may also be called so: then it has rules like any other.
fn is_alternative(items: &[Value]) -> bool {
    const RULES: [&str; 8] =
        ["prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "anything-but", "exists", "cidr"];
    items.len() > 1
        && items.iter().all(|item| match item {
            Value::Object(members) => !members.keys().any(|name| RULES.contains(&name.as_str())),
            _ => false,
        })
}

fn rule(name: &str, item: &Value) -> Result<Rule, PatternError> {
    let members = match item {
        Value::Object(members) => members,
        Value::Array(_) => return Err(PatternError::UnknownRule(name.to_owned())),
        Value::Number(_) => {
            number("equals", item)?;
            return Ok(Rule::Equals(item.clone()));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => return Ok(Rule::Equals(item.clone())),
    };
    // Rules that are to hold together cannot be written in one object. Unverified: that AWS refuses it.
    let mut members = members.iter();
    let (Some((operator, value)), None) = (members.next(), members.next()) else {
        return Err(PatternError::UnknownRule(name.to_owned()));
    };
    match operator.as_str() {
        "equals-ignore-case" => Ok(Rule::EqualsIgnoreCase(text("equals-ignore-case", value)?)),
        "prefix" => Ok(Rule::Prefix(affix("prefix", value)?)),
        "suffix" => Ok(Rule::Suffix(affix("suffix", value)?)),
        "wildcard" => Ok(Rule::Wildcard(wildcard(&text("wildcard", value)?)?)),
        "numeric" => Ok(Rule::Numeric(numeric(value).ok_or(PatternError::InvalidValue("numeric"))?)),
        "anything-but" => Ok(Rule::AnythingBut(excluded(value)?)),
        "exists" => Ok(Rule::Exists(value.as_bool().ok_or(PatternError::InvalidValue("exists"))?)),
        "cidr" => {
            let (address, bits) =
                value.as_str().and_then(network).ok_or(PatternError::InvalidValue("cidr"))?;
            Ok(Rule::Cidr { address, bits })
        }
        _ => Err(PatternError::UnknownRule(name.to_owned())),
    }
}

fn text(rule: &'static str, value: &Value) -> Result<String, PatternError> {
    value.as_str().map(str::to_owned).ok_or(PatternError::InvalidValue(rule))
}

/// One text, or a list of them.
fn texts(rule: &'static str, value: &Value) -> Result<Vec<String>, PatternError> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(|item| text(rule, item)).collect(),
        _ => Ok(vec![text(rule, value)?]),
    }
}

fn affix(rule: &'static str, value: &Value) -> Result<Affix, PatternError> {
    match value {
        Value::Object(members) => match (members.len(), members.get("equals-ignore-case")) {
            (1, Some(value)) => Ok(Affix { text: text(rule, value)?, ignore_case: true }),
            _ => Err(PatternError::InvalidValue(rule)),
        },
        _ => Ok(Affix { text: text(rule, value)?, ignore_case: false }),
    }
}

/// `\*` and `\\` stand for themselves; gaps cannot follow each other.
fn wildcard(pattern: &str) -> Result<Wildcard, PatternError> {
    const INVALID: PatternError = PatternError::InvalidValue("wildcard");
    let mut parts = vec![String::new()];
    let mut letters = pattern.chars();
    let mut in_gap = false;
    while let Some(letter) = letters.next() {
        match letter {
            '*' if in_gap => return Err(INVALID),
            '*' => parts.push(String::new()),
            _ => {
                let letter = match letter {
                    '\\' => letters.next().filter(|escaped| matches!(escaped, '*' | '\\')).ok_or(INVALID)?,
                    _ => letter,
                };
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            }
        }
        in_gap = letter == '*';
    }
    Ok(Wildcard { parts })
}

fn number(rule: &'static str, value: &Value) -> Result<f64, PatternError> {
    /// EventBridge compares numbers of this size only.
    const LARGEST: f64 = 5e9;
    value.as_f64().filter(|number| number.abs() <= LARGEST).ok_or(PatternError::InvalidValue(rule))
}

/// `["=", 1]`, `[">", 1]`, `["<=", 1]`, or a lower and an upper bound, in this order.
fn numeric(value: &Value) -> Option<Range> {
    let term = |pair: &[Value]| match pair {
        [operator, value] => Some((operator.as_str()?.to_owned(), number("numeric", value).ok()?)),
        _ => None,
    };
    let terms: Vec<_> = value.as_array()?.chunks(2).map(term).collect::<Option<_>>()?;
    let bound =
        |(operator, value): &(String, f64)| Bound { value: *value, inclusive: operator.ends_with('=') };
    let is_lower = |(operator, _): &(String, f64)| matches!(operator.as_str(), ">" | ">=");
    let is_upper = |(operator, _): &(String, f64)| matches!(operator.as_str(), "<" | "<=");
    match terms.as_slice() {
        [(operator, value)] if operator == "=" => Some(Range::Exactly(*value)),
        [term] if is_lower(term) => Some(Range::Between { from: Some(bound(term)), to: None }),
        [term] if is_upper(term) => Some(Range::Between { from: None, to: Some(bound(term)) }),
        [from, to] if is_lower(from) && is_upper(to) && from.1 < to.1 => {
            Some(Range::Between { from: Some(bound(from)), to: Some(bound(to)) })
        }
        _ => None,
    }
}

fn excluded(value: &Value) -> Result<Excluded, PatternError> {
    const INVALID: PatternError = PatternError::InvalidValue("anything-but");
    match value {
        Value::String(_) | Value::Number(_) => Ok(Excluded::Values(vec![value.clone()])),
        Value::Array(items)
            if !items.is_empty()
                && (items.iter().all(Value::is_string) || items.iter().all(Value::is_number)) =>
        {
            Ok(Excluded::Values(items.clone()))
        }
        Value::Object(members) => {
            let mut members = members.iter();
            let (Some((operator, value)), None) = (members.next(), members.next()) else {
                return Err(INVALID);
            };
            let texts = texts("anything-but", value)?;
            match operator.as_str() {
                "equals-ignore-case" => Ok(Excluded::IgnoreCase(texts)),
                "prefix" | "suffix" if texts.iter().any(String::is_empty) => Err(INVALID),
                "prefix" => Ok(Excluded::Prefixes(texts)),
                "suffix" => Ok(Excluded::Suffixes(texts)),
                "wildcard" => Ok(Excluded::Wildcards(
                    texts.iter().map(|text| wildcard(text)).collect::<Result<_, _>>()?,
                )),
                _ => Err(INVALID),
            }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => Err(INVALID),
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(pattern: Value) -> Result<Pattern, PatternError> {
        pattern.to_string().parse()
    }

    /// The rules for `k`.
    fn rules(rules: Value) -> Result<Vec<Rule>, PatternError> {
        match parse(json!({ "k": rules }))?.members.remove("k") {
            Some(Node::Rules(rules)) => Ok(rules),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn objects_nest_and_arrays_hold_rules() {
        let pattern = parse(json!({ "body": { "key": ["a", null, true, 5] }, "id": [""] })).unwrap();
        let Node::Object(body) = &pattern.members["body"] else { panic!("{pattern:?}") };
        let values = [json!("a"), json!(null), json!(true), json!(5)].map(Rule::Equals);
        assert_eq!(body.members["key"], Node::Rules(values.to_vec()));
        assert!(pattern.has_rules_for("id"));
        assert!(!pattern.has_rules_for("body") && !pattern.has_rules_for("none"));
    }

    #[test]
    fn each_operator_has_its_rule() {
        let affix = |text: &str, ignore_case| Affix { text: text.into(), ignore_case };
        let parts = |parts: &[&str]| Wildcard { parts: parts.iter().map(|part| (*part).into()).collect() };
        let bound = |value, inclusive| Some(Bound { value, inclusive });
        let cases = [
            (json!({ "prefix": "a" }), Rule::Prefix(affix("a", false))),
            (json!({ "prefix": "" }), Rule::Prefix(affix("", false))),
            (json!({ "suffix": { "equals-ignore-case": "B" } }), Rule::Suffix(affix("B", true))),
            (json!({ "equals-ignore-case": "a" }), Rule::EqualsIgnoreCase("a".into())),
            (json!({ "wildcard": "*a*b\\*" }), Rule::Wildcard(parts(&["", "a", "b*"]))),
            (json!({ "wildcard": "a\\*" }), Rule::Wildcard(parts(&["a*"]))),
            (json!({ "numeric": ["=", 1.5] }), Rule::Numeric(Range::Exactly(1.5))),
            (
                json!({ "numeric": [">", 0, "<=", 5] }),
                Rule::Numeric(Range::Between { from: bound(0.0, false), to: bound(5.0, true) }),
            ),
            (
                json!({ "numeric": ["<", 5] }),
                Rule::Numeric(Range::Between { from: None, to: bound(5.0, false) }),
            ),
            (json!({ "anything-but": "a" }), Rule::AnythingBut(Excluded::Values(vec![json!("a")]))),
            (
                json!({ "anything-but": [1, 2] }),
                Rule::AnythingBut(Excluded::Values(vec![json!(1), json!(2)])),
            ),
            (
                json!({ "anything-but": { "prefix": "a" } }),
                Rule::AnythingBut(Excluded::Prefixes(vec!["a".into()])),
            ),
            (
                json!({ "anything-but": { "suffix": ["a", "b"] } }),
                Rule::AnythingBut(Excluded::Suffixes(vec!["a".into(), "b".into()])),
            ),
            (
                json!({ "anything-but": { "equals-ignore-case": "a" } }),
                Rule::AnythingBut(Excluded::IgnoreCase(vec!["a".into()])),
            ),
            (
                json!({ "anything-but": { "wildcard": "a*" } }),
                Rule::AnythingBut(Excluded::Wildcards(vec![parts(&["a", ""])])),
            ),
            (json!({ "exists": false }), Rule::Exists(false)),
            (json!({ "cidr": "10.0.0.0/24" }), Rule::Cidr { address: IpAddr::from([10, 0, 0, 0]), bits: 24 }),
        ];
        for (operator, rule) in cases {
            assert_eq!(rules(json!([operator])), Ok(vec![rule]), "{operator}");
        }
    }

    #[test]
    fn alternatives_are_patterns_of_their_own() {
        let pattern = parse(json!({ "$or": [{ "a": [1] }, { "b": [2] }] })).unwrap();
        assert_eq!((pattern.members.len(), pattern.any.len()), (0, 2));
        assert!(pattern.has_rules_for("b"));
        let pattern = parse(json!({ "$or": [{ "prefix": "a" }, { "suffix": "b" }] })).unwrap();
        assert_eq!((pattern.members.len(), pattern.any.len()), (1, 0));
    }

    #[test]
    fn what_cannot_mean_anything_is_refused() {
        for text in ["", "{", "simple", "{}x"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::Json), "{text}");
        }
        for value in [json!(null), json!("text"), json!([]), json!(1)] {
            assert_eq!(parse(value.clone()), Err(PatternError::NotAnObject), "{value}");
        }
        for value in [json!({}), json!({ "k": [] }), json!({ "k": {} })] {
            assert!(matches!(parse(value.clone()), Err(PatternError::Empty(_))), "{value}");
        }
        for value in [json!("text"), json!(1), json!(null), json!(true)] {
            assert!(matches!(parse(json!({ "k": value })), Err(PatternError::Scalar(_))), "{value}");
        }
        for item in
            [json!(["a"]), json!({}), json!({ "Prefix": "a" }), json!({ "prefix": "a", "suffix": "b" })]
        {
            assert!(matches!(rules(json!([item])), Err(PatternError::UnknownRule(_))), "{item}");
        }
        let invalid = [
            json!({ "prefix": 1 }),
            json!({ "prefix": { "equals-ignore-case": 1 } }),
            json!({ "suffix": { "prefix": "a" } }),
            json!({ "equals-ignore-case": ["a"] }),
            json!({ "wildcard": "a**" }),
            json!({ "wildcard": "a\\b" }),
            json!({ "wildcard": "a\\" }),
            json!({ "numeric": 1 }),
            json!({ "numeric": [] }),
            json!({ "numeric": ["<"] }),
            json!({ "numeric": ["!", 1] }),
            json!({ "numeric": ["<", "1"] }),
            json!({ "numeric": ["<", 5, ">", 0] }),
            json!({ "numeric": [">", 5, "<", 0] }),
            json!({ "numeric": [">", 0, "<", 5, "<", 6] }),
            json!({ "numeric": ["=", 6e9] }),
            json!({ "anything-but": [] }),
            json!({ "anything-but": [1, "a"] }),
            json!({ "anything-but": null }),
            json!({ "anything-but": { "prefix": "" } }),
            json!({ "anything-but": { "prefix": [] } }),
            json!({ "anything-but": { "exists": "a" } }),
            json!({ "exists": "true" }),
            json!({ "cidr": "10.0.0.0" }),
            json!({ "cidr": "10.0.0.0/33" }),
            json!(6e9),
        ];
        for item in invalid {
            assert!(matches!(rules(json!([item])), Err(PatternError::InvalidValue(_))), "{item}");
        }
    }
}
