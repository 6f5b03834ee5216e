//! What a runtime process is told so that a debugger can attach to it.
//!
//! Must not open a port, nor decide who is debugged.

use std::ffi::OsString;

use super::family::{Language, Line};
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// Only the function knows: its port is passed through.
    #[default]
    Unknown,
    /// Node's inspector. Variables of the function may start it in a way of their own (`--inspect-brk`).
    Inspector { own: bool },
    /// `debugpy`, which our client starts if it can be imported; with AWS's client the function has to.
    Debugpy { line: Line, by_client: bool },
    /// Java's debug wire protocol. Variables of the function may start it in a way of their own (`suspend=y`).
    Jdwp { own: bool },
}

/// What our client for Python is told, and takes out of the environment.
const PYTHON_VARIABLE: &str = "_HOTHOUSE_DEBUGGER";

impl Debugger {
    /// For a runtime process whose interpreter's options go to `options_at` in its command line.
    pub(super) fn new(
        spec: &FunctionSpec,
        (language, line): (Language, Line),
        own_client: bool,
        options_at: usize,
    ) -> Self {
        let flags = |names: &[&str]| -> Vec<&str> {
            names
                .iter()
                .filter_map(|&name| spec.environment.get(name))
                .flat_map(|text| text.split_whitespace())
                .collect()
        };
        let (kind, own_port) = match language {
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
            Language::Python => (Kind::Debugpy { line, by_client: own_client }, None),
            Language::Ruby => (Kind::Unknown, None),
        };
        Self { kind, options_at, own_port }
    }

    /// The port to take if no other was asked for and this one is free: the function's own, or the language's usual
    /// one, which IDEs try by themselves.
    pub fn preferred_port(&self) -> Option<u16> {
        let usual = match self.kind {
            Kind::Inspector { .. } => Some(9229),
            Kind::Debugpy { .. } => Some(5678),
            Kind::Jdwp { .. } => Some(5005),
            Kind::Unknown => None,
        };
        self.own_port.or(usual)
    }

    /// The command line with what makes the process listen at this port of its loopback.
    pub fn arguments(&self, argv: &[OsString], port: u16) -> Vec<OsString> {
        let options: Vec<String> = match self.kind {
            Kind::Inspector { own: true } => vec![format!("--inspect-port=127.0.0.1:{port}")],
            // Its address would be printed to the function's log.
            Kind::Inspector { own: false } => {
                vec![format!("--inspect=127.0.0.1:{port}"), "--inspect-publish-uid=http".to_owned()]
            }
            // A debugger cannot stop in modules of the standard library that are compiled in, and says so in the log.
            Kind::Debugpy { line, .. } if line >= (Line { major: 3, minor: 11 }) => {
                vec!["-Xfrozen_modules=off".to_owned()]
            }
            Kind::Jdwp { own: false } => vec![format!(
                "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,quiet=y,address=127.0.0.1:{port}"
            )],
            Kind::Debugpy { .. } | Kind::Jdwp { own: true } | Kind::Unknown => Vec::new(),
        };
        let (before, after) = argv.split_at(self.options_at.min(argv.len()));
        before
            .iter()
            .cloned()
            .chain(options.into_iter().map(OsString::from))
            .chain(after.iter().cloned())
            .collect()
    }

    /// A variable that the process needs besides.
    pub fn variable(&self, port: u16) -> Option<(OsString, OsString)> {
        let by_client = matches!(self.kind, Kind::Debugpy { by_client: true, .. });
        by_client.then(|| (PYTHON_VARIABLE.into(), format!("127.0.0.1:{port}").into()))
    }

    /// What a person does to attach.
    pub fn instructions(&self) -> &'static str {
        match self.kind {
            Kind::Inspector { .. } => {
                "Node inspector: attach an IDE (remote root /var/task), or open chrome://inspect"
            }
            Kind::Debugpy { by_client: true, .. } => {
                "debugpy, if the function or a layer brings it: attach an IDE (remote root /var/task)"
            }
            Kind::Debugpy { by_client: false, .. } => {
                "if the function calls debugpy.listen: attach an IDE (remote root /var/task)"
            }
            Kind::Jdwp { .. } => "Java debug wire protocol: attach an IDE (remote JVM debug)",
            Kind::Unknown => "if the function listens there on its loopback",
        }
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
    use crate::runtimes::fixtures;

    fn debugger(runtime: &str, variables: &[(&str, &str)]) -> Debugger {
        let mut spec = fixtures::spec(runtime);
        spec.environment =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let crate::runtimes::Family::Managed(language, line) = crate::runtimes::Family::of(runtime) else {
            panic!("{runtime} is managed");
        };
        Debugger::new(&spec, (language, line), true, 1)
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
        let expected = (OsString::from("_HOTHOUSE_DEBUGGER"), OsString::from("127.0.0.1:7001"));
        assert_eq!(modern.variable(7001), Some(expected));
        assert_eq!(arguments(&debugger("python3.9", &[]), 7001), "interpreter main");
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
