//! Finds interpreters by reading directories.
//!
//! Must not run a program: the service is ready before anything is asked (see [`super::Interpreter::release`]).

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    family::{Family, Language},
    interpreter::{Interpreter, Release, Source},
};

/// Where to look, as the configuration says. An absent place is no error.
#[derive(Debug, Clone, Default)]
pub struct SearchPaths {
    /// The directories of `PATH`.
    pub path: Vec<PathBuf>,
    /// The user's home, for version managers in their usual places.
    pub home: Option<PathBuf>,
    /// `PYENV_ROOT`; `~/.pyenv` if absent.
    pub pyenv_root: Option<PathBuf>,
    /// `NVM_DIR`; `~/.nvm` if absent.
    pub nvm_dir: Option<PathBuf>,
    /// `JAVA_HOME`.
    pub java_home: Option<PathBuf>,
    /// Directories of Java installations: `/usr/lib/jvm` on most systems.
    pub jvm_dirs: Vec<PathBuf>,
    /// A runtime identifier or a language (`python3.12`, `python`), and an executable or its prefix.
    pub extra: Vec<(String, PathBuf)>,
    /// Hothouse's data directory: clients and SDKs are kept under its `runtimes`.
    pub data_dir: PathBuf,
}

/// Every interpreter in those places, each real file once, preferred ones first.
pub(super) fn interpreters(search: &SearchPaths) -> Vec<Interpreter> {
    let mut found = Found::default();
    for (name, path) in &search.extra {
        if let Some(language) = language_named(name) {
            for executable in [path.clone(), path.join("bin").join(program(language))] {
                found.add(language, &executable, Source::Configured);
            }
        }
    }
    for manager in managers(search) {
        found.add_versions(&manager);
    }
    if let Some(home) = &search.java_home {
        found.add(Language::Java, &home.join("bin/java"), Source::System);
    }
    for directory in search.path.iter().filter(|directory| is_worth_searching(directory)) {
        for (language, name) in programs() {
            found.add(language, &directory.join(name), Source::System);
        }
    }
    found.interpreters.sort_by_key(|interpreter| match interpreter.source {
        Source::Configured => 0,
        Source::Manager(_) => 1,
        Source::System => 2,
    });
    found.interpreters
}

#[derive(Default)]
struct Found {
    seen: BTreeSet<PathBuf>,
    interpreters: Vec<Interpreter>,
}

impl Found {
    fn add(&mut self, language: Language, executable: &Path, source: Source) {
        let Ok(real) = fs::canonicalize(executable) else { return };
        // A shim is a script, or a link to a program of another name (`volta-shim`, `snap`).
        let named = real
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(program(language)));
        if !named || !is_program(&real) || !self.seen.insert(real.clone()) {
            return;
        }
        let release = release_from_files(language, &real);
        self.interpreters.push(Interpreter::new(language, real, source, release));
    }

    fn add_versions(&mut self, manager: &Manager) {
        let Ok(entries) = fs::read_dir(&manager.root) else { return };
        let mut versions: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        for version in versions {
            if version.file_name().and_then(|name| name.to_str()).is_some_and(|name| manager.accepts(name)) {
                let source = manager.name.map_or(Source::System, Source::Manager);
                self.add(manager.language, &version.join(manager.executable), source);
            }
        }
    }
}

/// A tool that keeps one directory per installed version.
struct Manager {
    /// `None`: the system's own directory.
    name: Option<&'static str>,
    language: Language,
    root: PathBuf,
    executable: &'static str,
}

impl Manager {
    /// Whether a directory of this name is a version of the language itself: not PyPy, not a virtual environment, and
    /// not a free-threaded build, which has another ABI than Lambda's.
    fn accepts(&self, name: &str) -> bool {
        if self.language == Language::Java {
            return true;
        }
        let name = name.strip_prefix("cpython-").or_else(|| name.strip_prefix('v')).unwrap_or(name);
        Release::parse_start(name).is_some_and(|(_, rest)| {
            rest.is_empty() || ["a", "b", "rc", "-"].iter().any(|suffix| rest.starts_with(suffix))
        })
    }
}

fn managers(search: &SearchPaths) -> Vec<Manager> {
    let mut managers = Vec::new();
    let mut add = |name, language, root: Option<PathBuf>, executable| {
        managers.extend(root.map(|root| Manager { name: Some(name), language, root, executable }));
    };
    let at_home = |path: &str| search.home.as_ref().map(|home| home.join(path));

    let pyenv = search.pyenv_root.clone().or_else(|| at_home(".pyenv"));
    add("pyenv", Language::Python, pyenv.map(|root| root.join("versions")), "bin/python3");
    add("uv", Language::Python, at_home(".local/share/uv/python"), "bin/python3");
    let nvm = search.nvm_dir.clone().or_else(|| at_home(".nvm"));
    add("nvm", Language::Node, nvm.map(|root| root.join("versions/node")), "bin/node");
    add("fnm", Language::Node, at_home(".local/share/fnm/node-versions"), "installation/bin/node");
    add("volta", Language::Node, at_home(".volta/tools/image/node"), "bin/node");
    add("rbenv", Language::Ruby, at_home(".rbenv/versions"), "bin/ruby");
    add("sdkman", Language::Java, at_home(".sdkman/candidates/java"), "bin/java");
    for (language, asdf, mise) in [
        (Language::Python, "python", "python"),
        (Language::Node, "nodejs", "node"),
        (Language::Java, "java", "java"),
        (Language::Ruby, "ruby", "ruby"),
    ] {
        let executable = executable_below_prefix(language);
        add("asdf", language, at_home(".asdf/installs").map(|root| root.join(asdf)), executable);
        add("mise", language, at_home(".local/share/mise/installs").map(|root| root.join(mise)), executable);
    }
    managers.extend(search.jvm_dirs.iter().map(|root| Manager {
        name: None,
        language: Language::Java,
        root: root.clone(),
        executable: "bin/java",
    }));
    managers
}

fn executable_below_prefix(language: Language) -> &'static str {
    match language {
        Language::Python => "bin/python3",
        Language::Node => "bin/node",
        Language::Java => "bin/java",
        Language::Ruby => "bin/ruby",
    }
}

fn program(language: Language) -> &'static str {
    match language {
        Language::Python => "python3",
        Language::Node => "node",
        Language::Java => "java",
        Language::Ruby => "ruby",
    }
}

/// The file names to look for in a directory of `PATH`: fewer calls than reading a directory of thousands.
fn programs() -> impl Iterator<Item = (Language, String)> {
    let plain = Language::ALL.into_iter().map(|language| (language, program(language).to_owned()));
    let pythons = (8..=20).map(|minor| (Language::Python, format!("python3.{minor}")));
    let rubies = (2..=9).map(|minor| (Language::Ruby, format!("ruby3.{minor}")));
    pythons.chain(rubies).chain(plain).chain([(Language::Node, "nodejs".to_owned())])
}

/// Directories of shims answer for whichever version is chosen at the moment, and cost 100 ms a start.
fn is_worth_searching(directory: &Path) -> bool {
    directory.is_absolute() && !directory.components().any(|part| part.as_os_str() == "shims")
}

/// The language that a runtime identifier or a language's name means.
pub(super) fn language_named(name: &str) -> Option<Language> {
    match Family::of(name) {
        Family::Managed(language, _) => Some(language),
        Family::Provided | Family::Unsupported => Language::ALL.into_iter().find(|language| {
            [language.identifier(), program(*language)].contains(&name)
                || name.eq_ignore_ascii_case(language.name())
        }),
    }
}

fn is_program(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return false;
    }
    let mut start = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start != *b"#!"
}

/// The version, if names or small files beside the executable tell it.
fn release_from_files(language: Language, executable: &Path) -> Option<Release> {
    let prefix = executable.parent()?.parent()?;
    match language {
        Language::Python | Language::Ruby => {
            let name = executable.file_name()?.to_str()?;
            // `python3` without a minor version does not tell enough, and plain `ruby` nothing.
            let numbers = name.find(|c: char| c.is_ascii_digit()).map(|start| &name[start..]);
            let named = numbers.filter(|numbers| numbers.contains('.')).and_then(Release::parse_start);
            let directory = release_of_directory(prefix);
            match (named, directory) {
                // Both: the directory's name has the patch level too.
                (Some((named, _)), Some(directory))
                    if (named.major, named.minor) == (directory.major, directory.minor) =>
                {
                    Some(directory)
                }
                (Some((named, _)), _) => Some(named),
                (None, directory) => directory,
            }
        }
        Language::Node => release_of_node_header(&prefix.join("include/node/node_version.h"))
            .or_else(|| release_of_directory(prefix)),
        Language::Java => {
            // A Java 8 runtime inside a JDK is `…/jre/bin/java`; the file is one level up.
            let text = [prefix.join("release"), prefix.join("../release")]
                .iter()
                .find_map(|path| fs::read_to_string(path).ok())?;
            let version = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
            Release::parse_start(version.trim_matches('"')).map(|(release, _)| release.java())
        }
    }
}

/// `…/versions/3.12.1`, `…/node/v20.11.0`, `…/cpython-3.12.1-linux-x86_64-gnu`, `…/v20.11.0/installation`.
fn release_of_directory(prefix: &Path) -> Option<Release> {
    let version = if prefix.ends_with("installation") { prefix.parent()? } else { prefix };
    let name = version.file_name()?.to_str()?;
    let name = name.strip_prefix("cpython-").or_else(|| name.strip_prefix('v')).unwrap_or(name);
    Release::parse_start(name).map(|(release, _)| release).filter(|release| release.patch.is_some())
}

fn release_of_node_header(header: &Path) -> Option<Release> {
    let text = fs::read_to_string(header).ok()?;
    let number = |name: &str| -> Option<u16> {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse().ok())?
        })
    };
    Some(Release {
        major: number("NODE_MAJOR_VERSION")?,
        minor: number("NODE_MINOR_VERSION")?,
        patch: number("NODE_PATCH_VERSION"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::fixtures::Tree;

    fn shown(interpreters: &[Interpreter]) -> Vec<String> {
        interpreters
            .iter()
            .map(|interpreter| {
                let release = interpreter.release().map_or("?".to_owned(), |release| release.to_string());
                format!("{} {release} {}", interpreter.language, interpreter.source)
            })
            .collect()
    }

    #[test]
    fn version_managers_and_the_system_are_searched_without_running_anything() {
        let tree = Tree::new();
        tree.program("home/.pyenv/versions/3.12.1/bin/python3.12");
        tree.link("home/.pyenv/versions/3.12.1/bin/python3", "python3.12");
        tree.program("home/.local/share/uv/python/cpython-3.14.0rc2-linux-x86_64-gnu/bin/python3.14");
        tree.link("home/.local/share/uv/python/cpython-3.14.0rc2-linux-x86_64-gnu/bin/python3", "python3.14");
        tree.program("home/.nvm/versions/node/v22.11.0/bin/node");
        tree.program("home/.local/share/fnm/node-versions/v18.20.4/installation/bin/node");
        tree.program("home/.volta/tools/image/node/24.1.0/bin/node");
        tree.program("home/.asdf/installs/ruby/3.4.2/bin/ruby");
        tree.program("usr/lib/jvm/temurin-21/bin/java");
        tree.write("usr/lib/jvm/temurin-21/release", b"IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"21.0.3\"\n", 0o644);
        tree.program("usr/lib/jvm/java-8/jre/bin/java");
        tree.write("usr/lib/jvm/java-8/release", b"JAVA_VERSION=\"1.8.0_402\"\n", 0o644);
        tree.link("usr/lib/jvm/java-8/bin/java", "../jre/bin/java");
        tree.program("usr/bin/python3.11");
        tree.link("usr/bin/python3", "python3.11");
        tree.program("usr/bin/node");
        let header =
            "#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 3\n#define NODE_PATCH_VERSION 2\n";
        tree.write("usr/include/node/node_version.h", header.as_bytes(), 0o644);

        assert_eq!(
            shown(&interpreters(&tree.search())),
            [
                "Python 3.12.1 pyenv",
                "Python 3.14.0 uv",
                "Node.js 22.11.0 nvm",
                "Node.js 18.20.4 fnm",
                "Node.js 24.1.0 volta",
                "Ruby 3.4.2 asdf",
                "Java 8.0 system",
                "Java 21.0.3 system",
                "Python 3.11 system",
                "Node.js 20.3.2 system",
            ]
        );
    }

    #[test]
    fn shims_and_other_implementations_are_not_interpreters() {
        let tree = Tree::new();
        tree.write("home/.pyenv/shims/python3.12", b"#!/bin/sh\nexec pyenv exec\n", 0o755);
        tree.program("home/.pyenv/versions/pypy3.10-7.3.12/bin/pypy3");
        tree.link("home/.pyenv/versions/pypy3.10-7.3.12/bin/python3", "pypy3");
        tree.program("home/.pyenv/versions/3.13.0t/bin/python3.13t");
        tree.link("home/.pyenv/versions/3.13.0t/bin/python3", "python3.13t");
        tree.program("home/.volta/bin/volta-shim");
        tree.link("usr/bin/node", tree.path("home/.volta/bin/volta-shim"));
        tree.write("usr/bin/ruby", b"#!/usr/bin/env bash\n", 0o755);
        tree.write("usr/bin/java", b"\x7fELF", 0o644);
        assert_eq!(shown(&interpreters(&tree.search())), [""; 0]);
    }

    #[test]
    fn a_configured_interpreter_comes_first_and_once() {
        let tree = Tree::new();
        tree.program("home/.pyenv/versions/3.12.1/bin/python3.12");
        tree.link("home/.pyenv/versions/3.12.1/bin/python3", "python3.12");
        let chosen = tree.program("opt/python/bin/python3.12");
        tree.link("opt/python/bin/python3", "python3.12");
        let mut search = tree.search();
        search.extra = vec![
            ("python3.12".to_owned(), tree.path("opt/python")),
            ("python".to_owned(), tree.path("opt/python/bin/python3.12")),
            ("cobol".to_owned(), tree.path("opt/python")),
        ];
        let found = interpreters(&search);
        assert_eq!(shown(&found), ["Python 3.12 configured", "Python 3.12.1 pyenv"]);
        assert_eq!(found[0].executable, chosen);
    }

    #[test]
    fn a_directory_that_path_repeats_is_searched_once() {
        let tree = Tree::new();
        tree.program("usr/bin/python3.11");
        tree.link("bin", "usr/bin");
        let mut search = tree.search();
        search.path.extend([tree.path("bin"), PathBuf::from("relative")]);
        assert_eq!(shown(&interpreters(&search)), ["Python 3.11 system"]);
    }
}
