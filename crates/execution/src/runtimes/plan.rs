//! How a function's runtime process is started: command line, mounts, variables.
//!
//! Must not start it, nor know which isolation it gets beyond where its paths are.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::{
    archive::Archive,
    bootstrap,
    catalog::Catalog,
    client::{self, Client},
    debugger::Debugger,
    family::{Family, Language, Line},
    interpreter::Interpreter,
};
use crate::spec::FunctionSpec;

/// A directory or file of the host that appears, read-only, inside the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path on the host.
    pub source: PathBuf,
    /// Path inside the environment.
    pub target: PathBuf,
}

/// Whose paths the process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// A sandbox with a mount namespace: `/var/task`, `/opt`, `/var/runtime`, `/var/lang`.
    Sandbox,
    /// No mount namespace: the host's own paths.
    Host {
        /// The directory that the layers were merged into.
        opt: PathBuf,
    },
}

/// Where the four trees of an environment are, as its process sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The function's code: `/var/task`.
    pub task: PathBuf,
    /// The layers: `/opt`.
    pub opt: PathBuf,
    /// The runtime's own files: `/var/runtime`.
    pub runtime: PathBuf,
    /// The language: `/var/lang`.
    pub lang: PathBuf,
}

impl Roots {
    /// The paths of AWS.
    pub fn sandbox() -> Self {
        Self {
            task: PathBuf::from("/var/task"),
            opt: PathBuf::from("/opt"),
            runtime: PathBuf::from("/var/runtime"),
            lang: PathBuf::from("/var/lang"),
        }
    }

    /// Where a file is whose path someone wrote down as it is on AWS: in the code or in a layer, which need not be there.
    fn locate(&self, path: &str) -> String {
        let shown = [("/var/task/", &self.task), ("/opt/", &self.opt)];
        let found = shown.iter().find_map(|(prefix, root)| Some(root.join(path.strip_prefix(prefix)?)));
        found.map_or_else(|| path.to_owned(), |path| path.to_string_lossy().into_owned())
    }
}

/// Everything about a version's runtime process that does not differ between its environments.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Command line; the first element is the executable.
    pub argv: Vec<OsString>,
    /// Besides code and layers, in the order in which they have to be made. Empty in the layout of the host.
    pub mounts: Vec<Mount>,
    /// The runtime's own variables, which the customer's may override (see `environment::env_vars`).
    pub environment: Vec<(String, String)>,
    /// Where the process sees its trees.
    pub roots: Roots,
    /// Whether our client runs, so that the process gets the connected socket of the Runtime API as descriptor 3.
    pub own_client: bool,
    /// Whether the client understands `_LAMBDA_TELEMETRY_LOG_FD`.
    pub telemetry: bool,
    /// The interpreter's path on the host; `None` for a bootstrap.
    pub interpreter: Option<PathBuf>,
    /// How a debugger attaches.
    pub debugger: Debugger,
    /// What would make environments of this kind start sooner and is not there yet.
    pub training: Option<Box<Training>>,
    /// What the user should know, once: another version of the language is used.
    pub warning: Option<String>,
}

/// How an archive of Java's classes is made: by a virtual machine that answers one event without a function.
#[derive(Debug, Clone)]
pub struct Training {
    /// What is made.
    pub archive: Archive,
    /// Command line.
    pub argv: Vec<OsString>,
    /// What stands in for a function.
    pub spec: FunctionSpec,
}

/// The process cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The function has no bootstrap. AWS's wording; `error_type` is `Runtime.InvalidEntrypoint`.
    #[error("Couldn't find valid bootstrap(s): [{}]", tried.join(" "))]
    InvalidEntrypoint {
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// No interpreter, or under a strict policy none of this line.
    #[error("{wanted} is not installed, so `{runtime}` cannot run; {hint}")]
    NotInstalled {
        /// Runtime identifier.
        runtime: String,
        /// Language and line.
        wanted: String,
        /// How to get it.
        hint: String,
    },
    /// The runtime needs AWS's client, which was not synced.
    #[error(
        "AWS's runtime interface client for {language} is not installed; `hothouse runtimes sync {runtime}` gets it"
    )]
    NotSynced {
        /// Runtime identifier.
        runtime: String,
        /// Its language.
        language: Language,
    },
    /// Retired by AWS, or a language that Hothouse has no client for.
    #[error("the runtime `{runtime}` is not supported; package the function for `provided.al2023` instead")]
    Unsupported {
        /// Runtime identifier.
        runtime: String,
    },
    /// Our client could not be written.
    #[error("failed to write the runtime's files below `{directory}`")]
    RuntimeFiles {
        /// `<data directory>/runtimes`.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PlanError {
    /// The `errorType` with which AWS reports it to the caller, if this is the function's fault.
    pub fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::InvalidEntrypoint { .. } => Some("Runtime.InvalidEntrypoint"),
            Self::NotInstalled { .. }
            | Self::NotSynced { .. }
            | Self::Unsupported { .. }
            | Self::RuntimeFiles { .. } => None,
        }
    }
}

/// See [`Catalog::plan`].
pub(super) fn plan(catalog: &Catalog, spec: &FunctionSpec, layout: &Layout) -> Result<Plan, PlanError> {
    match Family::of(spec.runtime.as_str()) {
        Family::Provided => provided(spec, layout),
        Family::Managed(language, line) => managed(catalog, spec, layout, language, line),
        Family::Unsupported => Err(PlanError::Unsupported { runtime: spec.runtime.as_str().to_owned() }),
    }
}

fn provided(spec: &FunctionSpec, layout: &Layout) -> Result<Plan, PlanError> {
    let roots = match layout {
        Layout::Sandbox => Roots::sandbox(),
        Layout::Host { opt } => Roots { task: spec.code.clone(), opt: opt.clone(), ..Roots::sandbox() },
    };
    let bootstrap = bootstrap::find(&spec.code, spec.layers.as_deref(), &roots.task, &roots.opt)
        .map_err(|tried| PlanError::InvalidEntrypoint { tried })?;
    Ok(Plan {
        argv: vec![bootstrap.into()],
        mounts: Vec::new(),
        environment: variables(Family::Provided, spec.runtime.as_str(), &roots),
        roots,
        own_client: false,
        telemetry: false,
        interpreter: None,
        debugger: Debugger::default(),
        training: None,
        warning: None,
    })
}

fn managed(
    catalog: &Catalog,
    spec: &FunctionSpec,
    layout: &Layout,
    language: Language,
    line: Line,
) -> Result<Plan, PlanError> {
    let runtime = spec.runtime.as_str();
    let selection = catalog.select(runtime, language, line)?;
    let interpreter = selection.interpreter;
    let used = interpreter.line().unwrap_or(line);
    let needs_sync = matches!(language, Language::Java | Language::Ruby);
    if needs_sync && client::synced(catalog.directory(), &client::directory_name(language, used)).is_none() {
        return Err(PlanError::NotSynced { runtime: runtime.to_owned(), language });
    }
    let client = Client::choose(catalog.directory(), language, used, catalog.policy().official_clients);
    let runtime_directory = client::runtime_directory(catalog.directory(), interpreter, used, client)
        .map_err(|source| PlanError::RuntimeFiles { directory: catalog.directory().to_owned(), source })?;

    let (executable, roots, mut mounts) = match layout {
        Layout::Sandbox => {
            let roots = Roots::sandbox();
            let (executable, mut mounts) = interpreter.placement();
            mounts.extend(mask_site_packages(catalog, interpreter, used, &mounts));
            mounts.push(Mount { source: runtime_directory.clone(), target: roots.runtime.clone() });
            (executable, roots, mounts)
        }
        Layout::Host { opt } => {
            let roots = Roots {
                task: spec.code.clone(),
                opt: opt.clone(),
                runtime: runtime_directory.clone(),
                lang: interpreter.prefix().to_owned(),
            };
            (interpreter.executable.clone(), roots, Vec::new())
        }
    };

    let wrapper = spec.environment.get("AWS_LAMBDA_EXEC_WRAPPER");
    // An archive holds paths, so it suits environments that all have the same ones.
    let is_archived = language == Language::Java && *layout == Layout::Sandbox;
    let archive = is_archived.then(|| Archive::of(interpreter, used, &runtime_directory)).flatten();
    let archive = archive.filter(|archive| java::fits(spec, archive));
    let (archive, missing) = match archive {
        Some(archive) if catalog.is_whole(&archive) => (Some(archive), None),
        missing => (None, missing),
    };
    mounts.extend(archive.as_ref().map(Archive::mount));
    let training =
        missing.map(|archive| Box::new(java::training(archive, spec, Path::new(&executable), &roots, used)));
    let mut command = vec![OsString::from(executable)];
    let archive = archive.as_ref();
    command.extend(arguments(spec, (language, used), client, &roots, &runtime_directory, archive));
    let length = command.len();
    let argv = match wrapper {
        Some(wrapper) => wrapped(&roots.locate(wrapper), command),
        None => command,
    };
    let options_at = argv.len() - length + 1;
    let mut environment = variables(Family::Managed(language, line), runtime, &roots);
    if language == Language::Python && client == Client::Own && *layout != Layout::Sandbox {
        environment.push(("_HOTHOUSE_OPT".to_owned(), roots.opt.to_string_lossy().into_owned()));
    }
    Ok(Plan {
        debugger: Debugger::new(
            spec,
            (interpreter, used),
            client == Client::Own,
            options_at,
            (layout, catalog.home()),
        ),
        argv,
        mounts,
        environment,
        roots,
        // A wrapper may close or reuse descriptors that it does not know; by TCP the client works all the same.
        own_client: client == Client::Own && wrapper.is_none(),
        telemetry: has_telemetry(language, line),
        interpreter: Some(interpreter.executable.clone()),
        training,
        warning: selection.warning,
    })
}

/// Packages that a developer installed for this interpreter must not be there for a function, which on AWS would
/// miss them. Our client starts without them anyway; this is for AWS's client and for child processes.
fn mask_site_packages(
    catalog: &Catalog,
    interpreter: &Interpreter,
    line: Line,
    mounts: &[Mount],
) -> Option<Mount> {
    let is_moved = mounts.iter().any(|mount| mount.target == Path::new("/var/lang"));
    let inside = format!("lib/python{}/site-packages", Language::Python.display(line));
    if interpreter.language != Language::Python || !is_moved || !interpreter.prefix().join(&inside).is_dir() {
        return None;
    }
    let empty = catalog.directory().join("empty");
    // The directory above was written a moment ago; without this one the packages stay visible, no more.
    std::fs::create_dir_all(&empty).ok()?;
    Some(Mount { source: empty, target: Path::new("/var/lang").join(inside) })
}

/// What follows the executable on the command line.
fn arguments(
    spec: &FunctionSpec,
    (language, used): (Language, Line),
    client: Client,
    roots: &Roots,
    runtime_directory: &Path,
    archive: Option<&Archive>,
) -> Vec<OsString> {
    let handler = || OsString::from(&spec.handler);
    match (language, client) {
        // `-S`: importing `site` costs more than everything else, and would find the developer's packages.
        (Language::Python, Client::Own) => vec!["-S".into(), roots.runtime.join("bootstrap.py").into()],
        (Language::Python, Client::Official) => vec!["-m".into(), "awslambdaric".into(), handler()],
        (Language::Node, _) => {
            let mut arguments: Vec<OsString> = node_options(spec.memory_mb).into();
            match client {
                Client::Own => arguments.push(roots.runtime.join("index.mjs").into()),
                Client::Official => {
                    let main = roots.runtime.join("node_modules/aws-lambda-ric/bin/index.mjs");
                    arguments.extend([main.into(), handler()]);
                }
            }
            arguments
        }
        (Language::Java, _) => java::arguments(spec, roots, used, archive),
        (Language::Ruby, _) => {
            let main = roots.runtime.join(ruby_client(runtime_directory)).join("bin/aws_lambda_ric");
            vec![main.into(), handler()]
        }
    }
}

/// The options that Node has on Lambda: `global.gc`, large headers, and a heap that fits the memory size, so that
/// a leak ends with V8's message instead of being killed.
fn node_options(memory_mb: u32) -> [OsString; 4] {
    let new_space = memory_mb / 10;
    [
        "--expose-gc".to_owned(),
        "--max-http-header-size=81920".to_owned(),
        format!("--max-semi-space-size={}", new_space / 2),
        format!("--max-old-space-size={}", memory_mb - new_space),
    ]
    .map(OsString::from)
}

/// The gem's directory, relative to the runtime directory: `gems/aws_lambda_ric-3.1.3`.
fn ruby_client(runtime_directory: &Path) -> PathBuf {
    std::fs::read_dir(runtime_directory.join("gems"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name.as_encoded_bytes().starts_with(b"aws_lambda_ric-"))
        .map_or_else(|| PathBuf::from(RUBY_CLIENT), |name| Path::new("gems").join(name))
}

const RUBY_CLIENT: &str = "gems/aws_lambda_ric-3.1.3";

/// Starts the wrapper with the original command line as its arguments. A shell does it because a wrapper may lack its
/// `#!` line, and so that a missing wrapper is exit status 127 with a line in the log, as on AWS.
fn wrapped(wrapper: &str, command: Vec<OsString>) -> Vec<OsString> {
    const SCRIPT: &str = "\
        if [ ! -f \"$0\" ]; then echo \"$0: does not exist\"; exit 127; fi; \
        if [ ! -x \"$0\" ]; then echo \"$0: is not an executable\"; exit 126; fi; \
        exec \"$0\" \"$@\"";
    ["/bin/sh", "-c", SCRIPT, wrapper].into_iter().map(OsString::from).chain(command).collect()
}

/// On AWS Python's, Node's and Ruby's clients take the variable out of the environment; Java's of 17 and later leaves
/// it, older ones are not given it.
fn has_telemetry(language: Language, line: Line) -> bool {
    language != Language::Java || line.major >= 17
}

/// The runtime's own variables (`lifecycle.md` §4.1 and §4.2 of our notes), except credentials.
pub(crate) fn variables(family: Family, runtime: &str, roots: &Roots) -> Vec<(String, String)> {
    let path = |root: &Path, rest: &str| root.join(rest).to_string_lossy().into_owned();
    let text = |root: &Path| root.to_string_lossy().into_owned();
    let join = |parts: &[String]| parts.join(":");
    let mut variables: Vec<(&str, String)> = Vec::new();

    let (lang_bin, lang_lib) = (path(&roots.lang, "bin"), path(&roots.lang, "lib"));
    // Recorded: Ruby has the language twice, the runtimes on Amazon Linux 2 without a language not at all.
    let times = match family {
        Family::Managed(Language::Ruby, _) => 2,
        Family::Provided if runtime != "provided.al2023" => 0,
        Family::Managed(..) | Family::Provided | Family::Unsupported => 1,
    };
    let mut search = vec![lang_bin; times];
    search.extend(["/usr/local/bin", "/usr/bin/", "/bin"].map(str::to_owned));
    search.push(path(&roots.opt, "bin"));
    variables.push(("PATH", join(&search)));
    let mut libraries = vec![lang_lib; times];
    libraries.extend(["/lib64", "/usr/lib64"].map(str::to_owned));
    for root in [&roots.runtime, &roots.task] {
        libraries.extend([text(root), path(root, "lib")]);
    }
    libraries.push(path(&roots.opt, "lib"));
    variables.push(("LD_LIBRARY_PATH", join(&libraries)));

    if let Family::Managed(language, line) = family {
        // AWS starts these through a shell script, which leaves two variables behind.
        if language != Language::Java {
            variables.push(("PWD", text(&roots.task)));
            variables.push(("SHLVL", "0".to_owned()));
        }
        if has_telemetry(language, line) {
            variables.push(("_LAMBDA_TELEMETRY_LOG_FD", TELEMETRY_DESCRIPTOR.to_string()));
        }
        match language {
            Language::Python => {
                variables.push(("PYTHONPATH", text(&roots.runtime)));
                if line >= (Line { major: 3, minor: 12 }) {
                    variables.push(("LC_CTYPE", "C.UTF-8".to_owned()));
                }
            }
            Language::Node => {
                let modules = [
                    path(&roots.opt, &format!("nodejs/node{}/node_modules", line.major)),
                    path(&roots.opt, "nodejs/node_modules"),
                    path(&roots.runtime, "node_modules"),
                    text(&roots.runtime),
                    text(&roots.task),
                ];
                variables.push(("NODE_PATH", join(&modules)));
                if line.major < 20 {
                    variables.push(("NODE_EXTRA_CA_CERTS", path(&roots.runtime, "ca-cert.pem")));
                }
            }
            Language::Java => {}
            Language::Ruby => {
                let interface = format!("{}.0", Language::Ruby.display(line));
                variables.push(("GEM_HOME", text(&roots.runtime)));
                let gems = [
                    path(&roots.task, &format!("vendor/bundle/ruby/{interface}")),
                    path(&roots.opt, &format!("ruby/gems/{interface}")),
                    text(&roots.runtime),
                    path(&roots.runtime, &format!("ruby/{interface}")),
                ];
                variables.push(("GEM_PATH", join(&gems)));
                let libraries = [
                    path(&roots.runtime, &format!("{RUBY_CLIENT}/lib")),
                    text(&roots.task),
                    path(&roots.runtime, "lib"),
                    path(&roots.opt, "ruby/lib"),
                ];
                variables.push(("RUBYLIB", join(&libraries)));
            }
        }
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The descriptor that AWS's runtimes write their log frames to.
pub const TELEMETRY_DESCRIPTOR: i32 = 62;

mod java;
#[cfg(test)]
mod tests;
