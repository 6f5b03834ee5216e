//! Runtimes of functions that do not name one: the newest that this machine has.
//!
//! Must not refuse a language that is not installed: the service says so when the function is invoked.

use hothouse_api::generated::Runtime;
use hothouse_execution::runtimes::{Catalog, Family, Language, Policy, SearchPaths};

/// One runtime for each language that `dev` recognises by a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultRuntimes {
    /// For `.py`.
    pub(super) python: String,
    /// For `.mjs`, `.js`, `.cjs`.
    pub(super) node: String,
}

impl DefaultRuntimes {
    /// Looks at the machine. May run interpreters once to learn their versions: it blocks.
    pub(super) fn discover(search: &SearchPaths) -> Self {
        let catalog = Catalog::discover(search, Policy::default());
        let newest =
            |language, otherwise: Runtime| newest(&catalog, language).unwrap_or(otherwise).to_string();
        Self {
            python: newest(Language::Python, Runtime::Python313),
            node: newest(Language::Node, Runtime::Nodejs22X),
        }
    }
}

/// The newest runtime of AWS's that an interpreter here matches exactly.
fn newest(catalog: &Catalog, language: Language) -> Option<Runtime> {
    let found = catalog.interpreters().iter().filter(|interpreter| interpreter.language == language);
    let lines: Vec<_> = found.filter_map(|interpreter| interpreter.line()).collect();
    Runtime::ALL
        .iter()
        .filter_map(|&runtime| match Family::of(runtime.as_str()) {
            Family::Managed(of, line) if of == language && lines.contains(&line) => Some((line, runtime)),
            _ => None,
        })
        .max_by_key(|(line, _)| *line)
        .map(|(_, runtime)| runtime)
}
