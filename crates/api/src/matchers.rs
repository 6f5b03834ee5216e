//! Patterns that are matched by hand: those with look-around or Unicode classes, which the small regular expression engine
//! does not have, and those of every invocation, where an engine would cost more than all else.
//!
//! Must not match anything but what the pattern says; property tests compare where an engine can.

use crate::{function_ref, model::Pattern, name::is_name_byte};

/// Whether the whole of a text matches.
pub(crate) fn matches(pattern: &Pattern, text: &str) -> bool {
    match BY_HAND.iter().find(|(source, _)| *source == pattern.source) {
        Some((_, matcher)) => matcher(text),
        None => pattern.regex().is_match(text),
    }
}

type Matcher = fn(&str) -> bool;

/// Patterns by their source, so that a changed pattern never meets an old matcher.
const BY_HAND: [(&str, Matcher); 9] = [
    (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
        |text| function_ref::split(text).is_some(),
    ),
    (r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+", |text| {
        matches!(text, "$LATEST" | "$LATEST.PUBLISHED")
            || (!text.is_empty() && text.bytes().all(|byte| is_name_byte(byte) || byte == b'$'))
    }),
    (r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)", is_name_but_no_number),
    (r"((?!^\d+$)^[0-9a-zA-Z-_]+$)", is_name_but_no_number),
    (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]{1,64})(:((?!\d+$)[0-9a-zA-Z-_]+))?",
        is_function_url_name,
    ),
    // `[^$]*` may be empty, and the first character may not be `$` anyway.
    (r"(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)", |text| {
        let first_is_valid =
            text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        first_is_valid && !text.starts_with("system.") && !text.contains('$')
    }),
    (r"[0-9A-Za-z\.\-_]*(?<!\.)", |text| {
        text.bytes().all(|byte| is_name_byte(byte) || byte == b'.') && !text.ends_with('.')
    }),
    (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", |text| {
        // `is_alphabetic` also has some marks that `\p{L}` has not; AWS's own documentation calls them letters.
        text.chars().all(|c| {
            c.is_alphabetic()
                || c.is_numeric()
                || (c.is_whitespace() && !c.is_control())
                || "_.:/=+-@".contains(c)
        })
    }),
    // `.` has no line ends in Java; as it stands for whole texts, nothing else is refused.
    (r".*", |text| !text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])),
];

fn is_name_but_no_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_name_byte) && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// As any function's name, but with at most 64 characters, no dots, and an alias as the qualifier.
fn is_function_url_name(text: &str) -> bool {
    function_ref::split(text).is_some_and(|parts| {
        parts.name.len() <= 64
            && !parts.name.contains('.')
            && parts.qualifier.is_none_or(is_name_but_no_number)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_lite::Regex;

    use super::*;
    use crate::{
        generated::Operation,
        model::{Shape, Structure},
    };

    fn patterns() -> Vec<&'static Pattern> {
        fn visit(shape: &'static Shape, found: &mut Vec<&'static Pattern>) {
            match shape {
                Shape::Structure(inner) => structure(inner, found),
                Shape::List { member, .. } => visit(member, found),
                Shape::Map { key, value, .. } => {
                    visit(key, found);
                    visit(value, found);
                }
                Shape::Text { pattern: Some(pattern), .. } => found.push(pattern),
                _ => {}
            }
        }
        fn structure(structure: &'static Structure, found: &mut Vec<&'static Pattern>) {
            structure.members.iter().for_each(|member| visit(member.shape, found));
        }
        let mut found = Vec::new();
        Operation::ALL.iter().for_each(|operation| structure(operation.input(), &mut found));
        found
    }

    #[test]
    fn every_pattern_compiles_or_is_matched_by_hand() {
        let patterns = patterns();
        assert!(patterns.len() > 100);
        for pattern in patterns {
            let by_hand = BY_HAND.iter().any(|(source, _)| *source == pattern.source);
            assert!(by_hand || Regex::new(pattern.source).is_ok(), "{}", pattern.source);
        }
    }

    #[test]
    fn every_matcher_belongs_to_a_pattern() {
        let patterns = patterns();
        for (source, _) in BY_HAND {
            assert!(patterns.iter().any(|pattern| pattern.source == source), "{source}");
        }
    }

    proptest! {
        #[test]
        fn matchers_are_what_their_patterns_say(text in r"(arn:aws:lambda:)?[a-z0-9A-Z:$._\n-]{0,12}(\$LATEST)?") {
            for (source, matcher) in BY_HAND {
                if let Ok(regex) = Regex::new(&format!(r"\A(?:{source})\z")) {
                    // Rust's `.` knows one line end only.
                    prop_assert_eq!(matcher(&text), regex.is_match(&text), "{} on {}", source, text);
                }
            }
        }
    }

    #[test]
    fn what_looks_around_is_refused() {
        let matches = |source: &str, text: &str| {
            let (_, matcher) = BY_HAND.iter().find(|(known, _)| *known == source).unwrap();
            matcher(text)
        };
        assert!(!matches(r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "42"));
        assert!(matches(r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "v42"));
        assert!(!matches(r"[0-9A-Za-z\.\-_]*(?<!\.)", "bucket."));
        assert!(!matches(r"(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)", "system.users"));
        assert!(matches(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Größe 1/2 @ö"));
        assert!(!matches(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "no!"));
    }
}
