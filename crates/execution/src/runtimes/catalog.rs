//! The interpreters of this machine, and the choice among them.
//!
//! Must not mount or start anything.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    archive::Archive,
    discovery::{self, SearchPaths},
    family::{Language, Line},
    interpreter::Interpreter,
    plan::{self, Layout, Plan, PlanError},
};
use crate::spec::FunctionSpec;

/// How strictly, and with whose clients, functions are run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// A missing release line is an error instead of a warning.
    pub strict: bool,
    /// AWS's published clients for Python and Node, where synced, instead of ours.
    pub official_clients: bool,
}

/// What was found on this machine.
#[derive(Debug)]
pub struct Catalog {
    interpreters: Vec<Interpreter>,
    /// `<data directory>/runtimes`.
    directory: PathBuf,
    tool_directories: Vec<PathBuf>,
    home: Option<PathBuf>,
    policy: Policy,
    /// Archives that were found whole: one is read once, since nobody who can change it is to be feared.
    whole: Mutex<HashSet<PathBuf>>,
}

/// An interpreter chosen for a runtime.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    /// What will run the function.
    pub interpreter: &'a Interpreter,
    /// Why it is not what was asked for, and how to get that.
    pub warning: Option<String>,
}

impl Catalog {
    /// Looks for interpreters. Reads directories only, about a millisecond: programs are run when a choice needs it.
    pub fn discover(search: &SearchPaths, policy: Policy) -> Self {
        Self {
            interpreters: discovery::interpreters(search),
            directory: search.data_dir.join("runtimes"),
            tool_directories: search.path.clone(),
            home: search.home.clone(),
            policy,
            whole: Mutex::default(),
        }
    }

    /// Everything that was found, preferred ones first.
    pub fn interpreters(&self) -> &[Interpreter] {
        &self.interpreters
    }

    /// Where clients and SDKs are kept.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where package tools are looked for: `PATH`.
    pub(super) fn tool_directories(&self) -> &[PathBuf] {
        &self.tool_directories
    }

    /// The user's home.
    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The policy given at discovery.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether this archive can be used. Reads it at first: it blocks.
    pub(super) fn is_whole(&self, archive: &Archive) -> bool {
        let known = || self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(archive.directory()) {
            return archive.directory().is_dir();
        }
        let is_whole = archive.is_whole();
        if is_whole {
            known().insert(archive.directory().to_owned());
        }
        is_whole
    }

    /// Chooses the interpreter for a managed runtime. May run interpreters once to learn their versions: it blocks.
    ///
    /// Without the line itself, the nearest *newer* one is taken: code written for an older release nearly always
    /// runs on a newer one, whereas newer syntax, or newer class files, cannot be loaded at all by an older one.
    /// Only if nothing newer is here, the nearest older.
    ///
    /// # Errors
    /// [`PlanError::NotInstalled`] without any interpreter of the language, or under a strict policy without this
    /// line.
    pub fn select(&self, runtime: &str, language: Language, line: Line) -> Result<Selection<'_>, PlanError> {
        let candidates: Vec<(Line, &Interpreter)> = self
            .interpreters
            .iter()
            .filter(|interpreter| interpreter.language == language)
            .filter_map(|interpreter| Some((interpreter.line()?, interpreter)))
            .filter(|(line, _)| *line >= language.oldest())
            .collect();
        let lines = || candidates.iter().map(|(line, _)| *line);
        let newer = lines().filter(|candidate| *candidate >= line).min();
        let nearest = newer.or_else(|| lines().max());
        let not_installed = || PlanError::NotInstalled {
            runtime: runtime.to_owned(),
            wanted: format!("{language} {}", language.display(line)),
            hint: install_hint(language, line),
        };
        let nearest = nearest.ok_or_else(not_installed)?;
        if nearest != line && self.policy.strict {
            return Err(not_installed());
        }
        let interpreter = candidates
            .iter()
            .find(|(candidate, _)| *candidate == nearest)
            .map(|(_, interpreter)| *interpreter)
            .expect("the nearest line came from the candidates");
        let warning = (nearest != line).then(|| {
            format!(
                "{language} {wanted} is not installed, so `{runtime}` runs on {language} {used} ({path}); {hint}",
                wanted = language.display(line),
                used = language.display(nearest),
                path = interpreter.executable.display(),
                hint = install_hint(language, line),
            )
        });
        Ok(Selection { interpreter, warning })
    }

    /// Describes how a version's runtime process is started. Writes our client's files at first use and may run
    /// interpreters: it blocks, so call it where blocking is allowed.
    ///
    /// # Errors
    /// See [`PlanError`]; [`PlanError::InvalidEntrypoint`] is the function's own fault and becomes its outcome.
    pub fn plan(&self, spec: &FunctionSpec, layout: &Layout) -> Result<Plan, PlanError> {
        plan::plan(self, spec, layout)
    }
}

/// How to get a release line, in one clause.
pub(super) fn install_hint(language: Language, line: Line) -> String {
    let version = language.display(line);
    match language {
        Language::Python => format!("`pyenv install {version}` or `uv python install {version}` gets it"),
        Language::Node => format!("`nvm install {version}` gets it"),
        Language::Java => {
            format!("install a JDK {version}, for example from your distribution or with SDKMAN")
        }
        Language::Ruby => format!("`rbenv install {version}` gets the newest patch with ruby-build"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::{Family, fixtures::Tree};

    fn catalog(tree: &Tree, strict: bool) -> Catalog {
        Catalog::discover(&tree.search(), Policy { strict, ..Policy::default() })
    }

    fn select(catalog: &Catalog, runtime: &str) -> Result<(String, Option<String>), PlanError> {
        let Family::Managed(language, line) = Family::of(runtime) else { panic!("{runtime} is managed") };
        let selection = catalog.select(runtime, language, line)?;
        let release = selection.interpreter.release().expect("fake interpreters tell their version");
        Ok((release.to_string(), selection.warning))
    }

    #[test]
    fn the_nearest_newer_line_stands_in_else_the_nearest_older() {
        let tree = Tree::new();
        for release in ["3.7.16", "3.9.18", "3.11.7", "3.12.1"] {
            tree.pyenv_python(release);
        }
        let catalog = catalog(&tree, false);
        assert_eq!(select(&catalog, "python3.11").unwrap(), ("3.11.7".to_owned(), None));
        for (runtime, expected) in
            [("python3.8", "3.9.18"), ("python3.10", "3.11.7"), ("python3.14", "3.12.1")]
        {
            let (release, warning) = select(&catalog, runtime).unwrap();
            assert_eq!(release, expected, "{runtime}");
            let warning = warning.unwrap();
            assert!(warning.contains(runtime) && warning.contains("pyenv install"), "{warning}");
        }
    }

    #[test]
    fn a_strict_policy_takes_the_line_itself_or_nothing() {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        let catalog = catalog(&tree, true);
        assert_eq!(select(&catalog, "python3.12").unwrap().0, "3.12.1");
        let error = select(&catalog, "python3.13").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Python 3.13 is not installed, so `python3.13` cannot run; \
             `pyenv install 3.13` or `uv python install 3.13` gets it"
        );
    }

    #[test]
    fn lines_older_than_our_clients_never_stand_in() {
        let tree = Tree::new();
        tree.pyenv_python("3.7.16");
        assert!(matches!(select(&catalog(&tree, false), "python3.8"), Err(PlanError::NotInstalled { .. })));
    }
}
