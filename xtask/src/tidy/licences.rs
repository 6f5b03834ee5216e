//! The licences under which our dependencies may be used, given that the binary is Apache-2.0.
//!
//! Must not accept a licence that nobody has read: a new one is added here by hand.

use std::path::PathBuf;

use serde_json::Value;

use super::Finding;

/// Permissive licences. MPL-2.0 and stronger ones need a decision first.
const ALLOWED: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
];

/// Looks at every package that is not ours.
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let others =
        metadata["packages"].as_array().into_iter().flatten().filter(|package| !package["source"].is_null());
    others
        .filter(|package| !package["license"].as_str().is_some_and(allowed))
        .map(|package| {
            let (name, version) = (&package["name"], &package["version"]);
            let licence = package["license"].as_str().unwrap_or("no licence");
            let what = format!("{name} {version} is under `{licence}`").replace('"', "");
            let hint = "use another library, or add the licence to tidy's list after reading it";
            Finding::new(PathBuf::from("Cargo.lock"), 1, what, hint)
        })
        .collect()
}

/// Whether an SPDX expression leaves a choice that is allowed. `/` is the old spelling of `OR`.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut tokens = tokens(&expression).into_iter().peekable();
    let result = any_of(&mut tokens);
    result && tokens.peek().is_none()
}

type Tokens<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in expression.split_whitespace() {
        let inner = word.trim_start_matches('(');
        tokens.extend(std::iter::repeat_n("(", word.len() - inner.len()));
        let name = inner.trim_end_matches(')');
        if !name.is_empty() {
            tokens.push(name);
        }
        tokens.extend(std::iter::repeat_n(")", inner.len() - name.len()));
    }
    tokens
}

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        result |= all_of(tokens);
    }
    result
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        result &= one(tokens);
    }
    result
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    if tokens.next_if_eq(&"(").is_some() {
        let result = any_of(tokens);
        return tokens.next_if_eq(&")").is_some() && result;
    }
    let Some(name) = tokens.next() else { return false };
    if tokens.next_if_eq(&"WITH").is_some() {
        let exception = tokens.next().unwrap_or_default();
        return ALLOWED.contains(&format!("{name} WITH {exception}").as_str());
    }
    ALLOWED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_allowed_if_one_branch_is() {
        for fine in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "Apache-2.0 AND (MIT OR (ISC AND GPL-3.0))",
        ] {
            assert!(allowed(fine), "{fine}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "", "Apache-2.0 WITH something", "MPL-2.0"]
        {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
