//! Rules about the text of files: length, module docs, stray notes, `unsafe`, white space, private paths.
//!
//! Must not parse Rust: lines are enough, and what lines cannot tell is left to clippy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Finding, TidyError};

/// A longer source file is asking to be two. The in-file test module does not count.
const LONGEST: usize = 600;

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 1] = [("crates/api/src/generated/", "written by `cargo xtask codegen`")];

/// Endings of the files that are read; whatever else is there is data.
const TEXTS: [&str; 16] = [
    "rs", "toml", "md", "py", "js", "mjs", "cjs", "sh", "yaml", "yml", "json", "txt", "go", "java", "html",
    "xml",
];
const SOURCES: [&str; 8] = ["rs", "py", "js", "mjs", "cjs", "sh", "go", "java"];

/// Looks at each of `files`, which are relative to `root`.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>, TidyError> {
    let private = private_folders(root);
    let mut findings = Vec::new();
    for path in files {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !TEXTS.contains(&ending) && !path.starts_with(".ci") {
            continue;
        }
        let bytes =
            fs::read(root.join(path)).map_err(|source| TidyError::Read { path: path.clone(), source })?;
        match String::from_utf8(bytes) {
            Ok(text) => look(path, ending, &text, &private, &mut findings),
            Err(_) => findings.push(Finding::new(path, 1, "is not UTF-8", "save it as UTF-8")),
        }
    }
    Ok(findings)
}

/// Folders of the machine at hand that no file may name.
fn private_folders(root: &Path) -> Vec<String> {
    let mut folders = vec![root.to_string_lossy().into_owned()];
    folders.extend(
        std::env::home_dir().map(|home| home.join(".").to_string_lossy().trim_end_matches('.').to_owned()),
    );
    // In a container the repository may be `/src` and the home `/`: too short to mean anything.
    folders.retain(|folder| folder.len() > 5);
    folders
}

fn look(path: &Path, ending: &str, text: &str, private: &[String], findings: &mut Vec<Finding>) {
    let mut find = |line, what: String, hint| findings.push(Finding::new(path, line, what, hint));
    let is_rust = ending == "rs";
    let is_source = SOURCES.contains(&ending);

    if is_source && !LONG_FILES.iter().any(|(prefix, _)| path.starts_with(prefix)) {
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > LONGEST {
            let hint = "split it by what its parts are responsible for (tests in the file do not count)";
            find(LONGEST + 1, format!("has {lines} lines, more than {LONGEST}"), hint);
        }
    }
    if is_rust && !documented(text) {
        let hint = "begin with `//!`: what the module is responsible for, and one thing it must not do";
        find(1, "has no module documentation".to_owned(), hint);
    }
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        if line.ends_with([' ', '\t', '\r']) {
            find(last, "has trailing white space".to_owned(), "remove it");
        }
        if let Some(note) = stray_note(line) {
            find(last, format!("`{note}` without an issue"), "file an issue and write its number: `(#12)`");
        }
        if is_rust && !path.starts_with("crates/sandbox") && is_unsafe(line) {
            let hint = "unsafe code lives in crates/sandbox (invariant 2); offer a safe function there";
            find(last, "has unsafe code".to_owned(), hint);
        }
        if let Some(folder) = private.iter().find(|folder| names(line, folder)) {
            let hint = "ask for the path at run time, or describe it in words";
            find(last, format!("names `{folder}`, a folder of this machine"), hint);
        }
    }
    // Recorded data ends as it was recorded.
    let is_data = matches!(ending, "json" | "txt");
    if !is_data && !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
        find(last, "must end with exactly one newline".to_owned(), "add it, or remove the empty lines");
    }
}

/// Whether a path in this line begins with `folder`; a folder of the same name elsewhere is another.
fn names(line: &str, folder: &str) -> bool {
    let is_inner = |before: char| before.is_ascii_alphanumeric() || "./_-}".contains(before);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(is_inner))
}

/// Whether the first thing after comments and attributes is `//!`.
fn documented(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    lines
        .find(|line| !line.starts_with("//") || line.starts_with("//!"))
        .is_some_and(|line| line.starts_with("//!"))
}

/// A note to oneself in a comment, without the number of an issue right behind it.
fn stray_note(line: &str) -> Option<&'static str> {
    // Put together here, so that this file has no such note itself.
    const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    NOTES.into_iter().find(|note| {
        line.match_indices(note).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = &line[at + note.len()..];
            let word = !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let comment = ["//", "#", "<!--", "*"].iter().any(|sign| line[..at].contains(sign));
            word && comment && !after.starts_with("(#")
        })
    })
}

/// Whether a line opens a block, function, implementation or trait of that kind.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = concat!("un", "safe");
    code.match_indices(word).any(|(at, _)| {
        let rest = code[at + word.len()..].trim_start();
        let own_word =
            !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"' || c == '`');
        own_word && ["{", "fn ", "impl", "extern", "trait"].iter().any(|what| rest.starts_with(what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        look(Path::new(path), ending, text, &["/somewhere/private".to_owned()], &mut findings);
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_fine_file_has_no_finding() {
        assert!(
            found("crates/api/src/name.rs", "// written by hand\n//! Names.\n\nfn main() {}\n").is_empty()
        );
    }

    #[test]
    fn long_files_are_found_but_tests_and_generated_files_are_not_counted() {
        let long = format!("//! Docs.\n{}", "fn f() {}\n".repeat(700));
        assert_eq!(found("crates/control/src/alias.rs", &long), ["601: has 701 lines, more than 600"]);
        assert!(found("crates/api/src/generated/shapes.rs", &long).is_empty());
        let tests = format!("//! Docs.\n#[cfg(test)]\n{}", "fn f() {}\n".repeat(700));
        assert!(found("crates/control/src/alias.rs", &tests).is_empty());
    }

    #[test]
    fn module_documentation_is_wanted_in_rust_only() {
        assert_eq!(found("xtask/src/main.rs", "fn main() {}\n"), ["1: has no module documentation"]);
        assert!(found("tests/python/conftest.py", "import os\n").is_empty());
    }

    #[test]
    fn notes_need_an_issue() {
        let note = concat!("TO", "DO");
        assert_eq!(
            found("a.py", &format!("x = 1  # {note}: later\n")),
            [format!("1: `{note}` without an issue")]
        );
        assert!(found("a.py", &format!("x = 1  # {note}(#12): later\n")).is_empty());
        assert!(found("a.py", &format!("x = '{note}'\nMY_{note}_LIST = 1\n")).is_empty());
    }

    #[test]
    fn unsafe_code_is_for_the_sandbox() {
        let text = concat!("//! Docs.\nfn f() {\n    un", "safe { g() }\n}\n");
        assert_eq!(found("crates/server/src/main.rs", text), ["3: has unsafe code"]);
        assert!(found("crates/sandbox/src/init.rs", text).is_empty());
        assert!(found("crates/server/src/main.rs", concat!("//! No un", "safe { } here.\n")).is_empty());
    }

    #[test]
    fn white_space_newlines_and_private_paths_are_found() {
        assert_eq!(
            found("a.md", "one \ntwo"),
            ["1: has trailing white space", "2: must end with exactly one newline"]
        );
        assert_eq!(
            found("a.md", "see /somewhere/private/notes\n"),
            ["1: names `/somewhere/private`, a folder of this machine"]
        );
        assert!(found("a.md", "see /proc/1/somewhere/private/notes\n").is_empty());
    }
}
