//! Filter patterns: terms, space-delimited columns, and JSON conditions (the latter in `json_filter`).
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>.
//! Must not read events from anywhere: a pattern is text in, a yes or no per message out.

use std::{fmt, iter::Peekable, str::CharIndices};

use regex_lite::Regex;

use super::json_filter::Condition;

/// A parsed `filterPattern`.
#[derive(Debug, Clone)]
pub(super) enum FilterPattern {
    /// The empty pattern.
    Everything,
    /// `ERROR "access denied" ?a ?b -c %regex%`.
    Terms { required: Vec<Matcher>, any: Vec<Matcher>, excluded: Vec<Matcher> },
    /// `[ip, ..., status = 4*, bytes > 10]`.
    Columns(Columns),
    /// `{ $.level = "ERROR" }`.
    Json(Condition),
}

/// The pattern cannot be parsed; the text is AWS's where AWS's is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterPatternError {
    #[error("Invalid character(s) in term '{0}'")]
    Character(String),
    #[error("Invalid filter pattern: {expected} expected at character {at}")]
    Expected { expected: &'static str, at: usize },
    #[error("Invalid filter pattern: a quoted phrase or regular expression has no end")]
    Unclosed,
    #[error("Invalid filter pattern: `%{0}%` is not a regular expression")]
    Regex(String),
    #[error("Invalid filter pattern: parentheses are nested too deeply")]
    Nesting,
    #[error("Invalid filter pattern: `...` may stand once")]
    Ellipsis,
}

/// What a word, a field or a JSON string is compared with.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// Text, in which `*` stands for anything where the whole value is compared.
    Text(String),
    /// `%…%`.
    Regex(Regex),
}

/// Comparisons of columns and JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl FilterPattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, FilterPatternError> {
        let trimmed = pattern.trim();
        match trimmed.chars().next() {
            None => Ok(FilterPattern::Everything),
            Some('{') => Condition::parse(trimmed).map(FilterPattern::Json),
            Some('[') => Columns::parse(trimmed).map(FilterPattern::Columns),
            Some(_) => terms(trimmed),
        }
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        match self {
            FilterPattern::Everything => true,
            FilterPattern::Terms { required, any, excluded } => {
                // AWS ignores the optional terms where there are required ones.
                let chosen = match required.is_empty() {
                    true => any.is_empty() || any.iter().any(|term| term.occurs_in(message)),
                    false => required.iter().all(|term| term.occurs_in(message)),
                };
                chosen && !excluded.iter().any(|term| term.occurs_in(message))
            }
            FilterPattern::Columns(columns) => columns.match_message(message),
            FilterPattern::Json(condition) => condition.match_message(message),
        }
    }
}

fn terms(pattern: &str) -> Result<FilterPattern, FilterPatternError> {
    let mut cursor = Cursor::new(pattern);
    let (mut required, mut any, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        cursor.skip_space();
        let kind = match cursor.peek() {
            None => break,
            Some('?') => {
                cursor.next();
                &mut any
            }
            Some('-') => {
                cursor.next();
                &mut excluded
            }
            Some(_) => &mut required,
        };
        let matcher = match cursor.quoted()? {
            Some(matcher) => matcher,
            None => {
                let word = cursor.take_while(|c| !c.is_whitespace());
                if word.is_empty() {
                    return Err(cursor.expected("a term"));
                }
                if !word.chars().all(|c| c.is_alphanumeric() || c == '_') {
                    return Err(FilterPatternError::Character(word.to_owned()));
                }
                Matcher::Text(word.to_owned())
            }
        };
        kind.push(matcher);
    }
    Ok(FilterPattern::Terms { required, any, excluded })
}

impl Matcher {
    /// Whether a message contains it.
    fn occurs_in(&self, message: &str) -> bool {
        match self {
            Matcher::Text(text) => message.contains(text.as_str()),
            Matcher::Regex(regex) => regex.is_match(message),
        }
    }

    /// Whether it describes the whole value.
    pub(super) fn describes(&self, value: &str) -> bool {
        match self {
            Matcher::Text(text) => wildcard(text, value),
            Matcher::Regex(regex) => regex.is_match(value),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Matcher::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
            Matcher::Regex(_) => None,
        }
    }
}

impl Comparison {
    /// For numbers.
    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }
}

/// `*` stands for any text, everything else for itself.
fn wildcard(pattern: &str, value: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

// === columns ===

/// A space-delimited pattern.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    before: Vec<Column>,
    /// Columns behind `...`, if it stands there.
    after: Option<Vec<Column>>,
}

/// One column: alternatives of conditions that hold together. A mere name has none.
#[derive(Debug, Clone)]
struct Column {
    alternatives: Vec<Vec<(Comparison, Matcher)>>,
}

impl Columns {
    fn parse(pattern: &str) -> Result<Self, FilterPatternError> {
        let mut cursor = Cursor::new(pattern);
        cursor.next();
        let mut columns = Columns { before: Vec::new(), after: None };
        loop {
            cursor.skip_space();
            if cursor.accept("...") {
                if columns.after.replace(Vec::new()).is_some() {
                    return Err(FilterPatternError::Ellipsis);
                }
            } else {
                let column = Column::parse(&mut cursor)?;
                columns.after.as_mut().unwrap_or(&mut columns.before).push(column);
            }
            cursor.skip_space();
            if cursor.accept(",") {
                continue;
            }
            if !cursor.accept("]") {
                return Err(cursor.expected("`,` or `]`"));
            }
            cursor.skip_space();
            return if cursor.peek().is_none() { Ok(columns) } else { Err(cursor.expected("the end")) };
        }
    }

    fn match_message(&self, message: &str) -> bool {
        let fields = fields(message);
        let fits = |columns: &[Column], fields: &[Field<'_>]| {
            columns.iter().zip(fields).all(|(column, field)| column.describes(field.text))
        };
        let named = self.before.len() + self.after.as_ref().map_or(0, Vec::len);
        if fields.len() < named {
            return false;
        }
        match (&self.after, self.before.split_last()) {
            (Some(after), _) => {
                fits(&self.before, &fields) && fits(after, &fields[fields.len() - after.len()..])
            }
            // The last column takes what is left of the line.
            (None, Some((last, others))) if fields.len() > named => {
                fits(others, &fields) && last.describes(message[fields[others.len()].start..].trim_end())
            }
            (None, _) => fits(&self.before, &fields),
        }
    }
}

impl Column {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, FilterPatternError> {
        let name = cursor.name();
        let mut alternatives = vec![Vec::new()];
        loop {
            cursor.skip_space();
            let Some(comparison) = cursor.comparison() else {
                // A column may be a mere name, or nothing: `[, , status]`.
                let bare = alternatives.iter().all(Vec::is_empty);
                return if bare { Ok(Column { alternatives }) } else { Err(cursor.expected("a comparison")) };
            };
            cursor.skip_space();
            let value = match cursor.quoted()? {
                Some(value) => value,
                None => {
                    let word = cursor.take_while(|c| !c.is_whitespace() && !",]&|()".contains(c));
                    if word.is_empty() {
                        return Err(cursor.expected("a value"));
                    }
                    Matcher::Text(word.to_owned())
                }
            };
            alternatives.last_mut().expect("there is always one").push((comparison, value));
            cursor.skip_space();
            let more = if cursor.accept("&&") {
                true
            } else if cursor.accept("||") {
                alternatives.push(Vec::new());
                true
            } else {
                false
            };
            if !more {
                return Ok(Column { alternatives });
            }
            cursor.skip_space();
            let again = cursor.name();
            if again != name {
                return Err(cursor.expected("the name of the same column"));
            }
        }
    }

    fn describes(&self, field: &str) -> bool {
        self.alternatives.iter().any(|conditions| {
            conditions.iter().all(|(comparison, value)| match comparison {
                Comparison::Equal => value.describes(field),
                Comparison::NotEqual => !value.describes(field),
                _ => match (field.parse(), value.number()) {
                    (Ok(field), Some(value)) => comparison.holds(field, value),
                    _ => false,
                },
            })
        })
    }
}

/// A part of a message, and where it starts.
struct Field<'a> {
    start: usize,
    text: &'a str,
}

/// Splits at white space; `"…"` and `[…]` are one field, without their marks.
fn fields(message: &str) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = message.trim_start();
    while let Some(first) = rest.chars().next() {
        let start = message.len() - rest.len();
        let close = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let enclosed = close.and_then(|close| rest[1..].find(close).map(|at| at + 1));
        let (text, end) = match enclosed {
            Some(end) => (&rest[1..end], end + 1),
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        fields.push(Field { start, text });
        rest = rest[end..].trim_start();
    }
    fields
}

// === reading a pattern ===

/// A place in a pattern's text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.text).finish()
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { text, characters: text.char_indices().peekable() }
    }

    pub(super) fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|(_, c)| *c)
    }

    pub(super) fn next(&mut self) -> Option<char> {
        self.characters.next().map(|(_, c)| c)
    }

    fn at(&mut self) -> usize {
        self.characters.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    pub(super) fn rest(&mut self) -> &'a str {
        let at = self.at();
        &self.text[at..]
    }

    pub(super) fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let start = self.at();
        while self.characters.next_if(|(_, c)| accept(*c)).is_some() {}
        let end = self.at();
        &self.text[start..end]
    }

    /// Takes `literal` if it stands here.
    pub(super) fn accept(&mut self, literal: &str) -> bool {
        let stands = self.rest().starts_with(literal);
        if stands {
            for _ in literal.chars() {
                self.next();
            }
        }
        stands
    }

    pub(super) fn expected(&mut self, expected: &'static str) -> FilterPatternError {
        FilterPatternError::Expected { expected, at: self.at() }
    }

    fn name(&mut self) -> &'a str {
        self.take_while(|c| c.is_alphanumeric() || "_-$.".contains(c))
    }

    pub(super) fn comparison(&mut self) -> Option<Comparison> {
        const SIGNS: [(&str, Comparison); 6] = [
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("=", Comparison::Equal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        SIGNS.into_iter().find(|(sign, _)| self.accept(sign)).map(|(_, comparison)| comparison)
    }

    /// A `"phrase"` or a `%regular expression%`, if one begins here.
    pub(super) fn quoted(&mut self) -> Result<Option<Matcher>, FilterPatternError> {
        let Some(mark @ ('"' | '%')) = self.peek() else { return Ok(None) };
        self.next();
        let mut text = String::new();
        loop {
            match self.next().ok_or(FilterPatternError::Unclosed)? {
                c if c == mark => break,
                '\\' => match self.next().ok_or(FilterPatternError::Unclosed)? {
                    c if c == mark => text.push(c),
                    // Regular expressions keep their escapes; in phrases only `"` and `\` have one.
                    '\\' if mark == '"' => text.push('\\'),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        if mark == '"' {
            return Ok(Some(Matcher::Text(text)));
        }
        match Regex::new(&text) {
            Ok(regex) => Ok(Some(Matcher::Regex(regex))),
            Err(_) => Err(FilterPatternError::Regex(text)),
        }
    }
}

#[cfg(test)]
mod tests;
