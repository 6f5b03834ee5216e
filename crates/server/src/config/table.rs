//! The table of options as the README shows it.
//!
//! Must not hold facts of its own: everything comes from the table in `settings.rs`.

use std::fmt::Write as _;

use super::settings::{Alias, SETTINGS, Setting};

const BEGIN: &str = "<!-- options: begin (written by `hothouse config --readme README.md`) -->";
const END: &str = "<!-- options: end -->";

/// The table in Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "| flag and key in `hothouse.toml` | variable | also | default | what |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let aliases: Vec<String> = setting.aliases.iter().map(alias).collect();
        writeln!(
            text,
            "| `{}` | `{}` | {} | {} | {} |",
            setting.name,
            setting.variable(),
            aliases.join(", "),
            default(setting),
            setting.doc
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// `document` with the table between its markers brought up to date, or nothing if it has no markers.
pub(crate) fn with_markdown(document: &str) -> Option<String> {
    let begin = document.find(BEGIN)? + BEGIN.len();
    let end = begin + document[begin..].find(END)?;
    Some(format!("{}\n\n{}\n{}", &document[..begin], markdown(), &document[end..]))
}

fn alias(alias: &Alias) -> String {
    match alias.meaning {
        "" => format!("`{}`", alias.name),
        meaning => format!("`{}` ({meaning})", alias.name),
    }
}

fn default(setting: &Setting) -> String {
    match (setting.default_note, setting.default) {
        ("", []) => String::new(),
        ("", default) => format!("`{}`", default.join(", ")),
        (note, _) => note.to_owned(),
    }
}
