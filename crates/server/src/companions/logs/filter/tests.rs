//! Patterns against messages: AWS's examples in short, and properties of the parser.

use proptest::prelude::*;

use super::FilterPattern;

fn matches(pattern: &str, message: &str) -> bool {
    match FilterPattern::parse(pattern) {
        Ok(parsed) => parsed.matches(message),
        Err(error) => panic!("`{pattern}`: {error}"),
    }
}

fn refused(pattern: &str) -> String {
    FilterPattern::parse(pattern).expect_err(pattern).to_string()
}

#[test]
fn terms_are_required_optional_or_excluded() {
    assert!(matches("", "anything"));
    assert!(matches("  ", ""));
    assert!(matches("ERROR", "[ERROR 400] BAD REQUEST"));
    assert!(!matches("ERROR", "error"));
    assert!(matches("ERROR REQUEST", "[ERROR 400] BAD REQUEST"));
    assert!(!matches("ERROR REQUEST", "[ERROR 400]"));
    assert!(matches("?ERROR ?WARN", "WARN"));
    assert!(!matches("?ERROR ?WARN", "INFO"));
    assert!(!matches("ERROR -REQUEST", "ERROR REQUEST"));
    assert!(matches("-REQUEST", "ERROR"));
    assert!(matches(r#""BAD REQUEST""#, "[ERROR 400] BAD REQUEST"));
    assert!(matches(r#""say \"hi\"""#, r#"they say "hi""#));
    assert!(matches(r#"-"BAD REQUEST" ERROR"#, "ERROR REQUEST BAD"));
    assert!(matches("%4[0-9]{2}%", "status 404"));
    assert_eq!(refused("user-id"), "Invalid character(s) in term 'user-id'");
    assert_eq!(refused("-"), "Invalid filter pattern: a term expected at character 1");
    refused(r#""open"#);
    refused("%(%");
}

#[test]
fn columns_stand_for_fields() {
    let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    assert!(matches("[ip, user, name, time, request, status, bytes]", line));
    assert!(matches("[ip, user, name, time, request=*.html*, status=4*, bytes]", line));
    assert!(!matches("[ip, user, name, time, request, status=5*, bytes]", line));
    assert!(matches("[ip, user, name, time, request, status, bytes > 1000]", line));
    assert!(matches("[..., status = 404 || status = 500, bytes]", line));
    assert!(matches("[ip = 127.0.0.1, ...]", line));
    assert!(matches("[ip, ..., bytes < 2000 && bytes > 1000]", line));
    assert!(matches("[ip, , name = frank, ...]", line));
    assert!(matches("[a, b, c, d, e, f, bytes = %^15%]", line));
    // The last column takes the rest of the line; a line that is too short does not match.
    assert!(matches("[level = ERROR, rest = \"a b  c\"]", "ERROR a b  c"));
    assert!(matches("[level != ERROR && level != WARN, rest]", "INFO a b"));
    assert!(!matches("[a, b, c]", "one two"));
    refused("[a, b");
    refused("[a, ..., b, ...]");
    refused("[a = 1 || b = 2]");
    refused("[a] b");
}

#[test]
fn json_is_compared_by_selector() {
    let event = r#"{"type": "UpdateTrail", "ip": "111.111.5.6", "codes": [1, 12.5, -3], "flag": true, "none": null,
                    "user": {"name.first": "Ann", "tags": [{"k": "a"}, {"k": "b"}]}, "text": "12"}"#;
    for pattern in [
        r#"{ $.type = "UpdateTrail" }"#,
        r#"{$.type=UpdateTrail}"#,
        r#"{ $.type = "Update*" && $.ip != 123.123.* }"#,
        r#"{ $.ip = 111.111.* }"#,
        r#"{ $.ip = %111\.111\.[0-9]+\.6% }"#,
        "{ $.codes[0] = 1 }",
        "{ $.codes[1] >= 1.25e1 }",
        "{ $.codes[*] < 0 }",
        "{ $.flag IS TRUE }",
        "{ $.none IS NULL }",
        "{ $.other NOT EXISTS }",
        "{ $.flag EXISTS }",
        r#"{ $.user["name.first"] = "Ann" }"#,
        "{ $.user.tags[*].k = b }",
        "{ $.user.tags[1].k = b && ($.codes[0] = 2 || $.codes[0] = 1) }",
        "{ $.type = no || $.flag IS TRUE && $.codes[0] = 1 }",
    ] {
        assert!(matches(pattern, event), "{pattern}");
    }
    for pattern in [
        r#"{ $.type = "updatetrail" }"#,
        "{ $.codes[5] = 1 }",
        "{ $.other != 1 }",
        "{ $.none = 1 }",
        "{ $.flag IS FALSE }",
        "{ $.text > 10 }",
        "{ ($.type = no || $.flag IS TRUE) && $.codes[0] = 2 }",
    ] {
        assert!(!matches(pattern, event), "{pattern}");
    }
    assert!(!matches("{ $.a = 1 }", "not json"));
    for broken in
        ["{ $.a = }", "{ a = 1 }", "{ $.a }", "{ $.a = 1", "{ $.a = 1 } x", "{ $.a IS 1 }", "{ $ = 1 }", "{}"]
    {
        refused(broken);
    }
    refused(&format!("{{ {}$.a = 1 }}", "(".repeat(500)));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(pattern in "\\PC{0,60}", message in "\\PC{0,60}") {
        if let Ok(parsed) = FilterPattern::parse(&pattern) {
            parsed.matches(&message);
        }
    }

    #[test]
    fn nothing_that_resembles_a_pattern_makes_it_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", "(", ")", "$", ".", "a", "\"", "%", "\\", "*", "=", "!=", "<=", ">", "&&", "||", "...", ",",
                " ", "IS", "NOT", "EXISTS", "NULL", "1", "-", "?", "é", "'",
            ]),
            0..24,
        ),
        message in "[a1 \"\\[\\]{}:,é]{0,30}",
    ) {
        if let Ok(parsed) = FilterPattern::parse(&parts.concat()) {
            parsed.matches(&message);
        }
    }

    #[test]
    fn a_quoted_phrase_finds_exactly_the_messages_that_contain_it(
        phrase in "\\PC{1,12}",
        before in "\\PC{0,12}",
        after in "\\PC{0,12}",
        other in "\\PC{0,24}",
    ) {
        let quoted = format!("\"{}\"", phrase.replace('\\', "\\\\").replace('"', "\\\""));
        let containing = format!("{before}{phrase}{after}");
        prop_assert!(matches(&quoted, &containing));
        prop_assert_eq!(matches(&quoted, &other), other.contains(&phrase));
        let excluded = format!("-{quoted}");
        prop_assert_eq!(matches(&excluded, &other), !other.contains(&phrase));
    }

    #[test]
    fn a_json_value_is_found_by_its_own_text(value in "[^*\\p{C}]{1,12}", key in "[a-z_]{1,8}", other in "[a-z]{1,8}") {
        let event = serde_json::json!({ "outer": [{ &key: &value }] }).to_string();
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let pattern = format!("{{ $.outer[0].{key} = \"{quoted}\" }}");
        prop_assert!(matches(&pattern, &event));
        let different = format!("{{ $.outer[*].{key} = \"{other}\" }}");
        prop_assert_eq!(matches(&different, &event), value == other);
    }
}
