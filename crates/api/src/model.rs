//! The form of the constraint tables: what the generated tables say about inputs.
//!
//! Must not check anything: `validate` does.

use std::sync::OnceLock;

use regex_lite::Regex;

/// A structure and its members, in the model's order.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) members: &'static [Member],
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    /// As the wire spells it.
    pub(crate) name: &'static str,
    /// As AWS's messages spell it.
    pub(crate) spelled: &'static str,
    pub(crate) required: bool,
    /// Messages do not repeat the value.
    pub(crate) sensitive: bool,
    pub(crate) location: Location,
    pub(crate) shape: &'static Shape,
}

/// Where a request carries a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the JSON document.
    Body,
    /// The body is this member and nothing else.
    Payload,
    /// In the path.
    Label,
    /// In the query, under this name.
    Query(&'static str),
    /// In this header (lower case).
    Header(&'static str),
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Shape {
    Structure(&'static Structure),
    List {
        member: &'static Shape,
        items: Range<i64>,
        message: ListMessage,
    },
    Map {
        key: &'static Shape,
        value: &'static Shape,
        items: Range<i64>,
    },
    Text {
        length: Range<i64>,
        pattern: Option<Pattern>,
    },
    /// `printed` is how messages list the values, if not in the model's way.
    Enum {
        name: &'static str,
        values: &'static [&'static str],
        printed: Option<&'static [&'static str]>,
    },
    Integer {
        range: Range<i64>,
    },
    Long {
        range: Range<i64>,
    },
    Double {
        range: Range<f64>,
    },
    Boolean,
    Blob {
        length: Range<i64>,
    },
    Timestamp,
}

/// How messages speak of what items of a list must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListMessage {
    /// `Member must satisfy constraint: […, Member must not be null]`.
    Nested,
    /// The same, without a word on null.
    WithoutNull,
    /// As if it were the list's own constraint.
    Flat,
}

/// Bounds, both inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<T> {
    pub(crate) min: Option<T>,
    pub(crate) max: Option<T>,
}

/// A regular expression that the whole of a text must match. Compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) source: &'static str,
    /// As messages print it.
    pub(crate) printed: &'static str,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    pub(crate) const fn new(source: &'static str) -> Self {
        Self::printed_as(source, source)
    }

    pub(crate) const fn printed_as(source: &'static str, printed: &'static str) -> Self {
        Self { source, printed, compiled: OnceLock::new() }
    }

    /// The compiled expression. Only for sources that `validate` does not match by hand.
    pub(crate) fn regex(&self) -> &Regex {
        self.compiled.get_or_init(|| {
            Regex::new(&format!(r"\A(?:{})\z", self.source))
                .expect("every pattern of the tables is compiled by a test")
        })
    }
}
