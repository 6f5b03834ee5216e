//! What a runtime process is told so that a debugger can attach to it.
//!
//! Must not open a port, nor decide who is debugged.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::SystemTime,
};

use super::{
    family::{Language, Line},
    interpreter::Interpreter,
    plan::{Layout, Mount},
};
use crate::spec::FunctionSpec;

/// How a debugger attaches to the processes of one version.
#[derive(Debug, Clone, Default)]
pub struct Debugger {
    kind: Kind,
    /// Where in the command line options of the interpreter go.
    options_at: usize,
    /// The port that the function's own variables name.
    own_port: Option<u16>,
}

#[derive(Debug, Clone, Default)]
enum Kind {
    /// Only the function knows: its port is passed through.
    #[default]
    Unknown,
    /// Node's inspector. Variables of the function may start it in a way of their own (`--inspect-brk`).
    Inspector { own: bool },
    /// `debugpy`, which our client starts.
    Debugpy { line: Line, package: Package },
    /// `debugpy`, which the function has to start: AWS's client runs it.
    DebugpyByFunction { line: Line },
    /// Java's debug wire protocol. Variables of the function may start it in a way of their own (`suspend=y`).
    Jdwp { own: bool },
}

/// Where this machine has `debugpy`, for functions that do not bring it.
#[derive(Debug, Clone)]
struct Package {
    /// Directories that may hold it: the interpreter's packages.
    directories: Vec<PathBuf>,
    /// Whose editors may have brought it.
    home: Option<PathBuf>,
    /// Whether it has to be shown inside.
    mounted: bool,
    /// Where it was found, once someone looked.
    found: OnceLock<Option<PathBuf>>,
}

/// What our client for Python is told, and takes out of the environment.
const PYTHON_VARIABLE: &str = "_HOTHOUSE_DEBUGGER";

/// Where the machine's `debugpy` appears inside; AWS has nothing there.
const PYTHON_DIRECTORY: &str = "/var/debugger";

/// The oldest Python that the `debugpy` of editors runs on. On an older one it tries for half a minute, and fails.
const EDITORS_LINE: Line = Line { major: 3, minor: 10 };

/// Directories in a home that editors of the VS Code family keep their extensions in.
const EDITORS: [&str; 5] = [".vscode", ".vscode-server", ".vscode-insiders", ".vscode-oss", ".cursor"];

impl Debugger {
    /// For a runtime process whose interpreter's options go to `options_at` in its command line.
    pub(super) fn new(
        spec: &FunctionSpec,
        (interpreter, line): (&Interpreter, Line),
        own_client: bool,
        options_at: usize,
        (layout, home): (&Layout, Option<&Path>),
    ) -> Self {
        let flags = |names: &[&str]| -> Vec<&str> {
            names
                .iter()
                .filter_map(|&name| spec.environment.get(name))
                .flat_map(|text| text.split_whitespace())
                .collect()
        };
        let (kind, own_port) = match interpreter.language {
            Language::Node => {
                let flags = flags(&["NODE_OPTIONS"]);
                let own = flags.iter().any(|flag| starts_inspector(flag));
                (Kind::Inspector { own }, flags.iter().rev().find_map(|flag| inspector_port(flag)))
            }
            Language::Java => {
                let flags = flags(&["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"]);
                let own = flags.iter().find_map(|flag| jdwp_options(flag));
                (Kind::Jdwp { own: own.is_some() }, own.and_then(jdwp_port))
            }
            Language::Python if own_client => {
                let library =
                    |name: &str, packages| interpreter.prefix().join("lib").join(name).join(packages);
                let package = Package {
                    // Debian's has its packages in directories of other names.
                    directories: vec![
                        library(&format!("python{}", Language::Python.display(line)), "site-packages"),
                        library("python3", "dist-packages"),
                    ],
                    home: home.filter(|_| line >= EDITORS_LINE).map(Path::to_owned),
                    mounted: *layout == Layout::Sandbox,
                    found: OnceLock::new(),
                };
                (Kind::Debugpy { line, package }, None)
            }
            Language::Python => (Kind::DebugpyByFunction { line }, None),
            Language::Ruby => (Kind::Unknown, None),
        };
        Self { kind, options_at, own_port }
    }

    /// The port to take if no other was asked for and this one is free: the function's own, or the language's usual
    /// one, which IDEs try by themselves.
    pub fn preferred_port(&self) -> Option<u16> {
        let usual = match self.kind {
            Kind::Inspector { .. } => Some(9229),
            Kind::Debugpy { .. } | Kind::DebugpyByFunction { .. } => Some(5678),
            Kind::Jdwp { .. } => Some(5005),
            Kind::Unknown => None,
        };
        self.own_port.or(usual)
    }

    /// The command line with what makes the process listen at this port of its loopback.
    pub fn arguments(&self, argv: &[OsString], port: u16) -> Vec<OsString> {
        let options: Vec<String> = match &self.kind {
            Kind::Inspector { own: true } => vec![format!("--inspect-port=127.0.0.1:{port}")],
            // Its address would be printed to the function's log.
            Kind::Inspector { own: false } => {
                vec![format!("--inspect=127.0.0.1:{port}"), "--inspect-publish-uid=http".to_owned()]
            }
            // A debugger cannot stop in modules of the standard library that are compiled in, and says so in the log.
            Kind::Debugpy { line, .. } | Kind::DebugpyByFunction { line }
                if *line >= (Line { major: 3, minor: 11 }) =>
            {
                vec!["-Xfrozen_modules=off".to_owned()]
            }
            Kind::Jdwp { own: false } => vec![format!(
                "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,quiet=y,address=127.0.0.1:{port}"
            )],
            Kind::Debugpy { .. }
            | Kind::DebugpyByFunction { .. }
            | Kind::Jdwp { own: true }
            | Kind::Unknown => Vec::new(),
        };
        let (before, after) = argv.split_at(self.options_at.min(argv.len()));
        before
            .iter()
            .cloned()
            .chain(options.into_iter().map(OsString::from))
            .chain(after.iter().cloned())
            .collect()
    }

    /// A variable that the process needs besides. Quick after [`Debugger::mount`].
    pub fn variable(&self, port: u16) -> Option<(OsString, OsString)> {
        let Kind::Debugpy { package, .. } = &self.kind else { return None };
        let mut value = OsString::from(format!("127.0.0.1:{port}"));
        if let Some(directory) = package.find() {
            value.push("@");
            value.push(if package.mounted { Path::new(PYTHON_DIRECTORY) } else { directory });
        }
        Some((PYTHON_VARIABLE.into(), value))
    }

    /// What has to be shown inside besides. Reads directories at first: it blocks.
    pub fn mount(&self) -> Option<Mount> {
        let Kind::Debugpy { package, .. } = &self.kind else { return None };
        let directory = package.find().filter(|_| package.mounted)?;
        // Nothing else of that directory: the function must not find what it would miss on AWS.
        let target = Path::new(PYTHON_DIRECTORY).join("debugpy");
        Some(Mount { source: directory.join("debugpy"), target })
    }

    /// What a person does to attach, if the function's code is at `task`.
    pub fn instructions(&self, task: &Path) -> String {
        let ide = format!("attach an IDE, with the remote root {}", task.display());
        match self.kind {
            Kind::Inspector { .. } => format!("Node inspector: {ide}, or open chrome://inspect"),
            Kind::Debugpy { .. } => {
                format!("if the function, its Python or VS Code brings debugpy: {ide}")
            }
            Kind::DebugpyByFunction { .. } => format!("if the function calls debugpy.listen: {ide}"),
            Kind::Jdwp { .. } => "Java debug wire protocol: attach an IDE to this remote JVM".to_owned(),
            Kind::Unknown => "if the function listens there on its loopback".to_owned(),
        }
    }
}

impl Package {
    /// The directory that holds it, if the machine has it.
    fn find(&self) -> Option<&Path> {
        self.found.get_or_init(|| self.search()).as_deref()
    }

    fn search(&self) -> Option<PathBuf> {
        let has_it = |directory: &PathBuf| directory.join("debugpy/__init__.py").is_file();
        let installed = self.directories.iter().find(|directory| has_it(directory)).cloned();
        installed.or_else(|| {
            // The newest of them, as editors leave earlier ones behind for a while.
            let changed = |path: &PathBuf| fs::metadata(path).and_then(|found| found.modified());
            self.of_editors()
                .filter(has_it)
                .max_by_key(|path| changed(path).unwrap_or(SystemTime::UNIX_EPOCH))
        })
    }

    /// Where extensions of editors have their copy.
    fn of_editors(&self) -> impl Iterator<Item = PathBuf> {
        let extensions = self
            .home
            .iter()
            .flat_map(|home| EDITORS.map(|editor| fs::read_dir(home.join(editor).join("extensions"))));
        extensions
            .flatten()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ms-python.debugpy-"))
            .map(|entry| entry.path().join("bundled/libs"))
    }
}

/// Whether this option of Node makes it listen for a debugger.
fn starts_inspector(flag: &str) -> bool {
    matches!(flag.split('=').next(), Some("--inspect" | "--inspect-brk" | "--inspect-wait"))
}

/// `--inspect-brk=0.0.0.0:9229`: 9229.
fn inspector_port(flag: &str) -> Option<u16> {
    let (name, value) = flag.split_once('=')?;
    let takes_port = starts_inspector(flag) || matches!(name, "--inspect-port" | "--debug-port");
    takes_port.then(|| port_of(value)).flatten()
}

/// What follows `-agentlib:jdwp=`.
fn jdwp_options(flag: &str) -> Option<&str> {
    ["-agentlib:jdwp=", "-Xrunjdwp:"].iter().find_map(|prefix| flag.strip_prefix(prefix))
}

fn jdwp_port(options: &str) -> Option<u16> {
    options.split(',').find_map(|option| option.strip_prefix("address=")).and_then(port_of)
}

/// The port of `PORT` or `HOST:PORT`.
fn port_of(address: &str) -> Option<u16> {
    address.rsplit(':').next()?.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::{
        Catalog, Policy,
        fixtures::{self, Tree},
    };

    /// A machine with one Python, Node and Java each, and its function's variables.
    fn debugger(runtime: &str, variables: &[(&str, &str)]) -> Debugger {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        tree.pyenv_python("3.9.1");
        tree.nvm_node("22.11.0");
        tree.program("usr/lib/jvm/temurin-21/bin/java");
        tree.write("usr/lib/jvm/temurin-21/release", b"JAVA_VERSION=\"21.0.3\"\n", 0o644);
        tree.synced("java", "lib/client.jar");
        plan(&tree, runtime, variables, &Layout::Sandbox)
    }

    fn plan(tree: &Tree, runtime: &str, variables: &[(&str, &str)], layout: &Layout) -> Debugger {
        let mut spec = fixtures::spec(runtime);
        spec.environment =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let catalog = Catalog::discover(&tree.search(), Policy::default());
        catalog.plan(&spec, layout).unwrap().debugger
    }

    fn arguments(debugger: &Debugger, port: u16) -> String {
        let argv = ["interpreter", "main"].map(OsString::from);
        let all = debugger.arguments(&argv, port);
        all.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn node_starts_its_inspector() {
        let plain = debugger("nodejs22.x", &[]);
        assert_eq!(plain.preferred_port(), Some(9229));
        assert_eq!(
            arguments(&plain, 7001),
            "interpreter --inspect=127.0.0.1:7001 --inspect-publish-uid=http main"
        );
    }

    #[test]
    fn an_inspector_that_the_function_starts_stays_as_it_is_but_for_the_address() {
        for (options, port) in [
            ("--inspect-brk=0.0.0.0:9333", Some(9333)),
            ("--enable-source-maps --inspect-wait=9333", Some(9333)),
            ("--inspect", Some(9229)),
            ("--inspect --inspect-port=[::1]:9444", Some(9444)),
        ] {
            let own = debugger("nodejs22.x", &[("NODE_OPTIONS", options)]);
            assert_eq!(own.preferred_port(), port, "{options}");
            assert_eq!(arguments(&own, 7001), "interpreter --inspect-port=127.0.0.1:7001 main", "{options}");
        }
        let other = debugger("nodejs22.x", &[("NODE_OPTIONS", "--inspect-publish-uid=http")]);
        assert!(arguments(&other, 7001).contains("--inspect=127.0.0.1:7001"));
    }

    #[test]
    fn our_client_for_python_is_told_the_address() {
        let modern = debugger("python3.12", &[]);
        assert_eq!(arguments(&modern, 7001), "interpreter -Xfrozen_modules=off main");
        assert_eq!(variable(&modern), "_HOTHOUSE_DEBUGGER=127.0.0.1:7001");
        assert_eq!(modern.mount(), None, "this machine has no debugpy");
        assert_eq!(arguments(&debugger("python3.9", &[]), 7001), "interpreter main");
    }

    fn variable(debugger: &Debugger) -> String {
        let (name, value) = debugger.variable(7001).unwrap();
        format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap())
    }

    #[test]
    fn the_machines_debugpy_is_shown_to_functions() {
        let tree = Tree::new();
        tree.pyenv_python("3.12.1");
        let editors = "home/.vscode-server/extensions/ms-python.debugpy-2025.8.0-linux-x64/bundled/libs";
        tree.write(&format!("{editors}/debugpy/__init__.py"), b"", 0o644);
        let of = |layout: &Layout| plan(&tree, "python3.12", &[], layout);
        let target = PathBuf::from("/var/debugger/debugpy");
        let expected = |directory: &str| {
            Some(Mount { source: tree.path(directory).join("debugpy"), target: target.clone() })
        };
        assert_eq!(of(&Layout::Sandbox).mount(), expected(editors));
        assert_eq!(variable(&of(&Layout::Sandbox)), "_HOTHOUSE_DEBUGGER=127.0.0.1:7001@/var/debugger");

        tree.pyenv_python("3.9.1");
        assert_eq!(plan(&tree, "python3.9", &[], &Layout::Sandbox).mount(), None, "it needs a newer Python");

        let packages = "home/.pyenv/versions/3.12.1/lib/python3.12/site-packages";
        tree.write(&format!("{packages}/debugpy/__init__.py"), b"", 0o644);
        assert_eq!(of(&Layout::Sandbox).mount(), expected(packages), "the interpreter's own comes first");
        let host = of(&Layout::Host { opt: tree.path("opt") });
        assert_eq!(host.mount(), None);
        assert_eq!(
            variable(&host),
            format!("_HOTHOUSE_DEBUGGER=127.0.0.1:7001@{}", tree.path(packages).display())
        );
    }

    #[test]
    fn java_listens_unless_the_function_has_it_listen() {
        let plain = debugger("java21", &[]);
        assert!(arguments(&plain, 7001).contains("suspend=n,quiet=y,address=127.0.0.1:7001"));
        let own = "-Xshare:off -agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address=0.0.0.0:5050";
        let own = debugger("java21", &[("_JAVA_OPTIONS", own)]);
        assert_eq!(own.preferred_port(), Some(5050));
        assert_eq!(arguments(&own, 5050), "interpreter main");
    }

    #[test]
    fn a_bootstrap_is_left_alone() {
        let unknown = Debugger::default();
        assert_eq!(unknown.preferred_port(), None);
        assert_eq!(arguments(&unknown, 7001), "interpreter main");
        assert_eq!(unknown.variable(7001), None);
    }
}
