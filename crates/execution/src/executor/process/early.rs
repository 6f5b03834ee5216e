//! Interpreters that are started before it is known for which function, and the functions that may have one.
//!
//! What the runtime client does then is told in `ARCHITECTURE.md`. Must not decide how many there are, nor when.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use hothouse_sandbox::Command;

use super::instance::{self, log_pipe};
use crate::{environment::env_vars, executor::StartError, runtimes::Plan, spec::FunctionSpec};

/// The last argument of a client that waits for its assignment.
const OPTION: &str = "--await-assignment";

/// Instead of it, for one whose copies wait for theirs.
const ZYGOTE: &str = "--zygote";

/// Our client for Python, whose interpreter can be copied.
const PYTHON_CLIENT: &str = "bootstrap.py";

/// Our client for Node.js, and the option with which V8 compiles whatever is loaded at once, not at its first call: who
/// waits has the time. The client takes it back before it has a function.
const NODE_CLIENT: &str = "index.mjs";
const COMPILE_AT_ONCE: &str = "--no-lazy";

/// Beginnings of variables that an interpreter, or what it is linked with, reads as it starts: a function that sets one
/// has an interpreter of its own. So does one whose variable only might be read then.
const READ_AT_THE_START: &[&str] = &[
    // The interpreters themselves. Node.js has directories below `HOME` in its search path.
    "PYTHON",
    "NODE_",
    "HOME",
    // The dynamic linker and the C library: search paths, tunables, memory, character sets, time zones.
    "LD_",
    "GLIBC_",
    "MALLOC_",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "TZDIR",
    "LC_",
    "LANG",
    // Libraries that are part of the interpreters: libuv, OpenSSL, ICU, mimalloc.
    "UV_",
    "OPENSSL_",
    "SSL_",
    "ICU_",
    "MIMALLOC_",
];

/// Directories of libraries in which the dynamic linker has looked before there was a function's code, or a layer. One
/// that it has found missing it never looks into again.
const LIBRARIES: [&str; 2] = ["lib", "glibc-hwcaps"];

/// How an interpreter is started that waits for its function. Alike are those that can be each other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Early {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    telemetry: bool,
}

impl Early {
    /// The one that can become this function's, if it may have one that was started before it was known. Blocks.
    pub(super) fn of(spec: &FunctionSpec, plan: &Plan) -> Option<Early> {
        let reads_early =
            |name: &String| READ_AT_THE_START.iter().any(|beginning| name.starts_with(beginning));
        let brings_libraries =
            || [Some(&spec.code), spec.layers.as_ref()].into_iter().flatten().any(|root| has_libraries(root));
        if !plan.own_client || spec.environment.keys().any(reads_early) || brings_libraries() {
            return None;
        }
        let mut arguments = plan.argv.clone();
        if arguments.last().is_some_and(|client| Path::new(client).ends_with(NODE_CLIENT)) {
            arguments.insert(1, COMPILE_AT_ONCE.into());
        }
        arguments.push(OPTION.into());
        Some(Early { arguments, environment: env_vars::early(plan), telemetry: plan.telemetry })
    }

    /// What to start, and what to keep of it.
    pub(super) fn command(&self) -> Result<(Command, Waiting), StartError> {
        let (ours, theirs) = UnixStream::pair().map_err(StartError::machine("make a socket pair"))?;
        ours.set_nonblocking(true).map_err(StartError::machine("make a socket non-blocking"))?;
        let (output, written) = log_pipe()?;
        let mut descriptors = instance::log_descriptors(&written, self.telemetry)?;
        descriptors.push((theirs.into(), 3));
        let command = Command {
            arguments: self.arguments.clone(),
            environment: instance::variables(&self.environment).collect(),
            directory: "/".into(),
            descriptors,
        };
        Ok((command, Waiting { connection: ours, output }))
    }
}

#[cfg(test)]
impl Early {
    /// One with this command line, besides the option.
    pub(super) fn with<const N: usize>(arguments: [&str; N]) -> Early {
        let arguments = arguments.iter().copied().chain([OPTION]).map(Into::into).collect();
        Early { arguments, environment: Vec::new(), telemetry: false }
    }
}

impl Early {
    /// How to start one that makes copies of itself, where the client can.
    pub(super) fn zygote(&self) -> Option<Command> {
        let (_, arguments) = self.arguments.split_last()?;
        let is_python = arguments.iter().any(|argument| Path::new(argument).ends_with(PYTHON_CLIENT));
        is_python.then(|| Command {
            arguments: arguments.iter().cloned().chain([ZYGOTE.into()]).collect(),
            environment: instance::variables(&self.environment).collect(),
            directory: "/".into(),
            descriptors: Vec::new(),
        })
    }
}

/// Whether there is a directory of libraries, with or without processors' names.
fn has_libraries(root: &Path) -> bool {
    let [plain, of_processors] = LIBRARIES.map(|name| root.join(name));
    let is_library = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains(".so"))
    };
    of_processors.exists()
        || plain.join(LIBRARIES[1]).exists()
        || std::fs::read_dir(plain).is_ok_and(|mut entries| entries.any(is_library))
}

/// The service's ends of what an interpreter was given that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) connection: UnixStream,
    pub(super) output: OwnedFd,
}

impl Waiting {
    /// Whether it still waits, or has not begun to.
    pub(super) fn is_alive(&self) -> bool {
        // It says nothing before it is told something.
        let said = (&self.connection).read(&mut [0]);
        said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Tells it whose it is: these are all its variables.
    pub(super) fn assign(&self, environment: &[(String, String)]) -> io::Result<()> {
        let mut message = vec![0; 4];
        for (name, value) in environment {
            if name.contains('\0') || value.contains('\0') {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            for text in [name, "=", value, "\0"] {
                message.extend_from_slice(text.as_bytes());
            }
        }
        let length = u32::try_from(message.len() - 4).map_err(io::Error::other)?;
        message[..4].copy_from_slice(&length.to_be_bytes());
        // Nothing else is in the socket, which has room for many times as much as a function may have.
        (&self.connection).write_all(&message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtimes::{Debugger, Roots, fixtures};

    fn plan() -> Plan {
        Plan {
            argv: vec!["/var/lang/bin/python3".into(), "/var/runtime/bootstrap.py".into()],
            mounts: Vec::new(),
            environment: vec![("PYTHONPATH".to_owned(), "/var/runtime".to_owned())],
            roots: Roots::sandbox(),
            own_client: true,
            telemetry: true,
            interpreter: None,
            debugger: Debugger::default(),
            training: None,
            warning: None,
        }
    }

    fn spec(variables: &[&str]) -> FunctionSpec {
        let environment = variables.iter().map(|name| ((*name).to_owned(), "value".to_owned())).collect();
        FunctionSpec { environment, code: "/nowhere".into(), ..fixtures::spec("python3.12") }
    }

    #[test]
    fn what_is_read_at_the_start_needs_a_start_of_its_own() {
        let early = Early::of(&spec(&["MINE", "TZ", "PATH", "AWS_REGION"]), &plan()).unwrap();
        assert_eq!(early.arguments.last().unwrap(), "--await-assignment");
        assert!(early.environment.iter().any(|(name, _)| name == "PYTHONPATH"));
        assert!(early.environment.iter().all(|(_, value)| value != "value"), "nothing is the function's");
        assert_eq!(Some(early), Early::of(&spec(&["OTHER"]), &plan()), "functions do not differ in it");
        let own = [
            "PYTHONUNBUFFERED",
            "PYTHONHASHSEED",
            "NODE_OPTIONS",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "LANG",
            "LC_ALL",
            "GLIBC_TUNABLES",
            "MALLOC_ARENA_MAX",
            "UV_THREADPOOL_SIZE",
            "SSL_CERT_FILE",
            "HOME",
            "TZDIR",
        ];
        for name in own {
            assert_eq!(Early::of(&spec(&["MINE", name]), &plan()), None, "{name}");
        }
        let without_client = Plan { own_client: false, ..plan() };
        assert_eq!(Early::of(&spec(&[]), &without_client), None);
    }

    #[test]
    fn node_compiles_ahead_while_it_waits() {
        let argv: Vec<OsString> = vec!["/var/lang/bin/node".into(), "/var/runtime/index.mjs".into()];
        let early = Early::of(&spec(&[]), &Plan { argv, ..plan() }).unwrap();
        let expected = ["/var/lang/bin/node", "--no-lazy", "/var/runtime/index.mjs", "--await-assignment"];
        assert_eq!(early.arguments, expected);
    }

    #[test]
    fn who_brings_libraries_needs_a_start_of_its_own() {
        let code = tempfile::tempdir().unwrap();
        let lib = code.path().join("lib");
        std::fs::create_dir(&lib).unwrap();
        std::fs::write(lib.join("handler.js"), "").unwrap();
        let of = |spec: &FunctionSpec| Early::of(spec, &plan()).is_some();
        let code = FunctionSpec { code: code.path().to_owned(), ..spec(&[]) };
        assert!(of(&code), "a directory of that name is not it");
        std::fs::write(lib.join("libfoo.so.1"), "").unwrap();
        assert!(!of(&code));
        let layers = FunctionSpec { layers: Some(code.code), ..spec(&[]) };
        assert!(!of(&layers));
    }

    #[test]
    fn an_assignment_is_a_length_and_the_variables() {
        let (connection, mut theirs) = UnixStream::pair().unwrap();
        connection.set_nonblocking(true).unwrap();
        let waiting = Waiting { connection, output: log_pipe().unwrap().0 };
        assert!(waiting.is_alive());
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(waiting.assign(&[variable("A", "zero\0")]).is_err());
        waiting.assign(&[variable("A", "1=2"), variable("B", "")]).unwrap();
        let mut read = [0; 13];
        theirs.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"\0\0\0\x09A=1=2\0B=\0".as_slice());
        drop(theirs);
        assert!(!waiting.is_alive());
        assert!(waiting.assign(&[]).is_err());
    }
}
