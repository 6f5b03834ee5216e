//! Configuration: one typed table of every option, and the only place that reads flags, environment and files.
//!
//! An option's value comes from the first of: its flag, its `HOTHOUSE_*` variable, LocalStack's (or AWS's) name for it,
//! the file `hothouse.toml`, its default. Must not act on what it reads: it opens no socket and makes no directory.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hothouse_execution::{ports::Observer, runtimes::SearchPaths};

mod auth;
pub(crate) mod debug;
mod file;
mod flags;
mod keys;
mod settings;
mod table;
mod values;

pub(crate) use auth::{Auth, AuthKey, AuthKeysError};
pub(crate) use debug::{DebugFileError, DebugSetting};
pub(crate) use flags::{ClientFlags, Flags, ServiceFlags};
pub(crate) use keys::{AccessKey, SecretKey};
pub(crate) use settings::{SETTINGS, Setting};
pub(crate) use table::{markdown, with_markdown};

/// Everything that the service needs to know before it starts.
#[derive(Debug, Clone)]
pub(crate) struct ServiceConfig {
    /// Addresses to serve the API on; never empty. Port 0 lets the system choose.
    pub(crate) listen: Vec<SocketAddr>,
    /// State, code, logs and AWS SDKs for functions.
    pub(crate) data_dir: PathBuf,
    /// Keep nothing: `data_dir` then holds only what `runtimes sync` put there.
    pub(crate) ephemeral: bool,
    /// Where requests for services that Hothouse does not have go.
    pub(crate) aws_endpoint: Option<AwsEndpoint>,
    /// Names besides loopback ones that a request's `Host` may carry, lower case; a leading `.` admits subdomains.
    pub(crate) allow_hosts: Vec<String>,
    /// Values of `Origin` (`https://app.example.com`) that may use the API from a browser.
    pub(crate) allow_origins: Vec<String>,
    /// What is asked of callers.
    pub(crate) auth: Auth,
    /// How long an idle environment stays.
    pub(crate) keep_alive: Duration,
    /// Ceiling for bringing an environment up.
    pub(crate) environment_startup_timeout: Duration,
    /// Which functions are debugged.
    pub(crate) debug: DebugSetting,
    /// How long answers are held back for what functions still log.
    pub(crate) post_invoke_wait: Duration,
    /// Name of the user that functions run as.
    pub(crate) function_user: String,
    /// Whether functions get `AWS_ENDPOINT_URL`, so that their SDK calls come back here.
    pub(crate) inject_aws_endpoint: bool,
    /// CreateFunction and UpdateFunction* answer when the function is `Active`.
    pub(crate) synchronous_create: bool,
    /// Pause before the first retry of an asynchronous invocation.
    pub(crate) retry_base_delay: Duration,
    /// How long resources stay in states that end by themselves.
    pub(crate) delays: Delays,
    /// AWS's quotas.
    pub(crate) limits: Limits,
    /// How much isolation an environment must have.
    pub(crate) isolation: Isolation,
    /// What an environment may reach.
    pub(crate) network: Network,
    /// Whether idle environments stand still.
    pub(crate) freeze: bool,
    /// Streamed answers have AWS's bandwidth.
    pub(crate) shape_streamed_responses: bool,
    /// Whether functions have the share of CPUs that their memory size buys.
    pub(crate) cpu_limit: bool,
    /// Bytes of memory for what is started ahead.
    pub(crate) ready_memory: u64,
    /// Environments over all functions; also bounds what one burst may start.
    pub(crate) max_environments: Option<usize>,
    /// Refuse a runtime whose exact version is missing instead of taking the nearest.
    pub(crate) strict_runtimes: bool,
    /// Use AWS's own runtime clients where they are installed.
    pub(crate) official_clients: bool,
    /// Where interpreters are looked for.
    pub(crate) search_paths: SearchPaths,
    /// What to log: a level, or `tracing` directives.
    pub(crate) log_level: String,
    /// How long running invocations may go on after a signal.
    pub(crate) shutdown_timeout: Duration,
    /// Not a setting: who hears of finished invocations (the `dev` command).
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// Another AWS endpoint, for the services that Hothouse does not have.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AwsEndpoint {
    /// `http://` or `https://`, host, optional port and path.
    pub(crate) url: String,
    /// PEM file of the authority that signed its certificate.
    pub(crate) authority: Option<PathBuf>,
    /// Keys to sign forwarded requests with anew.
    pub(crate) keys: Option<AccessKey>,
}

impl fmt::Debug for AwsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEndpoint")
            .field("url", &self.url)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// How long resources stay in states that end by themselves; by default not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delays {
    /// `Pending` of a new function or version.
    pub(crate) function_create: Duration,
    /// `InProgress` of an update.
    pub(crate) function_update: Duration,
    /// Without invocations until a function is `Inactive`; zero is for ever.
    pub(crate) function_idle: Duration,
    /// `Creating`, `Enabling`, `Disabling`, `Updating` and `Deleting` of an event source mapping.
    pub(crate) event_source_mapping: Duration,
    /// `Pending` and `Deleting` of a capacity provider.
    pub(crate) capacity_provider: Duration,
    /// `IN_PROGRESS` of provisioned concurrency.
    pub(crate) provisioned_concurrency: Duration,
}

/// Quotas, by default AWS's. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Invocations at once in an account and region.
    pub(crate) concurrent_executions: u32,
    /// Synchronous invocations in a second, for each that may run at once; 0 for any number.
    pub(crate) invocation_rate: u32,
    /// Environments that a function may get within ten seconds; 0 for any number.
    pub(crate) scaling_rate: u32,
    /// Part of it that no function may reserve.
    pub(crate) minimum_unreserved_concurrency: u32,
    /// All archives of an account and region together.
    pub(crate) total_code_size: u64,
    /// One uploaded archive.
    pub(crate) code_size_zipped: u64,
    /// One function's extracted code, layers included.
    pub(crate) code_size_unzipped: u64,
    /// Body of CreateFunction and UpdateFunctionCode.
    pub(crate) create_function_request_size: u64,
    /// A function's variables, names and values.
    pub(crate) max_function_envvar_size: u64,
    /// A synchronous invocation's event, and its answer.
    pub(crate) max_function_payload_size: u64,
    /// An answer that is streamed.
    pub(crate) max_streamed_response_size: u64,
    /// MB of memory of one function.
    pub(crate) memory_size: u32,
}

/// How much isolation an environment must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// As much as the machine allows, reported at start.
    Best,
    /// All of it, or the service does not start.
    Full,
    /// Some may be missing, but not all.
    Partial,
    /// Plain processes.
    None,
}

/// What an environment may reach over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// A network of its own with a way out where the machine allows it, else the host's.
    Auto,
    /// The host's network.
    Host,
    /// Only the Runtime API and Hothouse's own endpoint.
    Isolated,
}

/// What the commands that talk to a running service need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientConfig {
    /// `http://HOST:PORT`, without a final slash.
    pub(crate) endpoint: String,
    /// Region of the functions.
    pub(crate) region: String,
    /// Account of the functions: twelve digits.
    pub(crate) account: String,
    /// What to sign with, should the service ask for it.
    pub(crate) key: Option<SecretKey>,
}

/// An option's value, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The option.
    pub(crate) name: &'static str,
    /// Texts as given, one an item for options that may be repeated.
    pub(crate) texts: Vec<String>,
    /// Who gave them.
    pub(crate) source: Source,
}

/// Who gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// Nobody.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag `--{name}`"),
            Self::Variable(name) => write!(f, "environment variable `{name}`"),
            Self::File { path, line } => write!(f, "`{}`, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A value does not fit its option.
    #[error("invalid value `{text}` for option `{option}` ({source_of_value})")]
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
        /// Who gave it.
        source_of_value: Source,
        /// What would fit.
        hint: String,
    },
    /// Two options do not go together.
    #[error("option `{option}` needs option `{needs}` ({source_of_value})")]
    Incomplete {
        /// The option that was given.
        option: &'static str,
        /// The option that is missing.
        needs: &'static str,
        /// Who gave it.
        source_of_value: Source,
    },
    /// The file that `--config` names, or `hothouse.toml`, cannot be read.
    #[error("failed to read configuration file `{path}`")]
    ReadFile {
        /// The file.
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("failed to parse `{path}`, line {line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// The file has a key that no option has.
    #[error("unknown option `{key}` (`{path}`, line {line})")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What was probably meant.
        hint: String,
    },
    /// The file that `--debug-config` names cannot be used.
    #[error(transparent)]
    DebugFile(#[from] DebugFileError),
    /// The file that `--auth-keys` names cannot be used.
    #[error(transparent)]
    AuthKeys(#[from] AuthKeysError),
    /// Neither `--data-dir` nor a home directory.
    #[error("failed to choose a data directory: no home directory is known")]
    NoHome,
}

impl ConfigError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Value { hint, .. } | Self::UnknownKey { hint, .. } => Some(hint.clone()),
            Self::Incomplete { needs, .. } => Some(format!("give `--{needs}` too")),
            Self::DebugFile(error) => Some(error.hint()),
            Self::AuthKeys(error) => Some(error.hint()),
            Self::NoHome => Some("give `--data-dir DIR`, or `--ephemeral` to keep nothing".to_owned()),
            Self::ReadFile { .. } => Some("`--config FILE` names another file".to_owned()),
            Self::Syntax { .. } => None,
        }
    }
}

/// The variables of a process; tests bring their own.
pub(crate) trait Environment {
    /// The value of a variable that is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Debug)]
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is where configuration is read")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Parses a duration argument that is not an option of the table.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    values::duration(text)
}

/// All options, each from the first source that has it.
#[derive(Debug)]
pub(crate) struct Configuration {
    resolved: Vec<Resolved>,
    data_home: Option<PathBuf>,
    /// No option, so that nobody shows it.
    variables_key: Option<SecretKey>,
    /// What the environment says about interpreters; options are added when they are asked for.
    machine: SearchPaths,
}

impl Configuration {
    /// Looks every option up.
    pub(crate) fn read(flags: &Flags, environment: &dyn Environment) -> Result<Self, ConfigError> {
        let file = match &flags.config_file {
            Some(path) => file::read(path)?,
            None if Path::new(file::NAME).exists() => file::read(Path::new(file::NAME))?,
            None => Vec::new(),
        };
        let resolved = SETTINGS
            .iter()
            .map(|setting| resolve(setting, flags, environment, &file))
            .collect::<Result<Vec<_>, _>>()?;
        let path = |name| environment.get(name).map(PathBuf::from);
        let machine = SearchPaths {
            path: environment.get("PATH").iter().flat_map(std::env::split_paths).collect(),
            home: path("HOME"),
            pyenv_root: path("PYENV_ROOT"),
            nvm_dir: path("NVM_DIR"),
            java_home: path("JAVA_HOME"),
            jvm_dirs: vec![PathBuf::from("/usr/lib/jvm")],
            ..SearchPaths::default()
        };
        // The XDG specification says that relative paths are to be ignored.
        let data_home = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
        Ok(Self { resolved, data_home, variables_key: keys::of_environment(environment), machine })
    }

    /// Every option with its value and where that came from, in the table's order.
    pub(crate) fn resolved(&self) -> &[Resolved] {
        &self.resolved
    }

    /// The service's part.
    pub(crate) fn service(&self) -> Result<ServiceConfig, ConfigError> {
        let service = ServiceConfig {
            listen: self.list("listen", values::address)?,
            data_dir: self.data_dir()?,
            ephemeral: self.one("ephemeral", values::boolean)?,
            aws_endpoint: self.aws_endpoint()?,
            allow_hosts: self.list("allow-host", values::host)?,
            allow_origins: self.list("allow-origin", values::origin)?,
            auth: self.auth()?,
            keep_alive: self.one("keep-alive", values::duration)?,
            environment_startup_timeout: self.one("environment-startup-timeout", values::duration)?,
            debug: self.debug()?,
            post_invoke_wait: self.one("post-invoke-wait", values::duration)?,
            function_user: self.one("function-user", values::user_name)?,
            freeze: self.one("freeze", values::boolean)?,
            shape_streamed_responses: self.one("shape-streamed-responses", values::boolean)?,
            cpu_limit: self.one("cpu-limit", values::boolean)?,
            ready_memory: self.one("ready-memory", values::size)?,
            inject_aws_endpoint: self.one("inject-aws-endpoint", values::boolean)?,
            synchronous_create: self.one("synchronous-create", values::boolean)?,
            retry_base_delay: self.one("retry-base-delay", values::duration)?,
            delays: Delays {
                function_create: self.one("function-create-delay", values::duration)?,
                function_update: self.one("function-update-delay", values::duration)?,
                function_idle: self.one("function-idle-delay", values::duration)?,
                event_source_mapping: self.one("event-source-mapping-delay", values::duration)?,
                capacity_provider: self.one("capacity-provider-delay", values::duration)?,
                provisioned_concurrency: self.one("provisioned-concurrency-delay", values::duration)?,
            },
            limits: Limits {
                concurrent_executions: self.one("limit-concurrent-executions", values::count)?,
                invocation_rate: self.one("limit-invocation-rate", values::count)?,
                scaling_rate: self.one("limit-scaling-rate", values::count)?,
                minimum_unreserved_concurrency: self
                    .one("limit-minimum-unreserved-concurrency", values::count)?,
                total_code_size: self.one("limit-total-code-size", values::size)?,
                code_size_zipped: self.one("limit-code-size-zipped", values::size)?,
                code_size_unzipped: self.one("limit-code-size-unzipped", values::size)?,
                create_function_request_size: self.one("limit-create-function-request-size", values::size)?,
                max_function_envvar_size: self.one("limit-max-function-envvar-size", values::size)?,
                max_function_payload_size: self.one("limit-max-function-payload-size", values::size)?,
                max_streamed_response_size: self.one("limit-max-streamed-response-size", values::size)?,
                memory_size: self.one("limit-memory-size", values::count)?,
            },
            isolation: self.one("isolation", values::isolation)?,
            network: self.one("network", values::network)?,
            max_environments: self.optional("max-environments", values::positive)?,
            strict_runtimes: self.one("strict-runtimes", values::boolean)?,
            official_clients: self.one("official-clients", values::boolean)?,
            search_paths: self.search_paths()?,
            log_level: self.one("log-level", values::log_level)?,
            shutdown_timeout: self.one("shutdown-timeout", values::duration)?,
            observer: None,
        };
        Ok(service)
    }

    /// The client's part.
    pub(crate) fn client(&self) -> Result<ClientConfig, ConfigError> {
        Ok(ClientConfig {
            endpoint: self.one("endpoint", values::http_url)?,
            region: self.one("region", values::region)?,
            account: self.one("account", values::account)?,
            key: keys::chosen(self)?,
        })
    }

    /// Whether the user named a service to talk to.
    pub(crate) fn has_endpoint_flag(&self) -> bool {
        matches!(self.find("endpoint").source, Source::Flag(_))
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        if let Some(path) = self.optional("data-dir", values::path)? {
            return Ok(path);
        }
        let data_home = self
            .data_home
            .clone()
            .or_else(|| self.machine.home.as_ref().map(|home| home.join(".local/share")));
        Ok(data_home.ok_or(ConfigError::NoHome)?.join("hothouse"))
    }

    fn search_paths(&self) -> Result<SearchPaths, ConfigError> {
        let extra = self.list("runtime-path", values::runtime_path)?;
        Ok(SearchPaths { extra, data_dir: self.data_dir()?, ..self.machine.clone() })
    }

    /// Directories in which the user's shell looks for programs.
    pub(crate) fn program_path(&self) -> &[PathBuf] {
        &self.machine.path
    }

    /// A file is enough to debug its functions; `--debug false` makes it have no effect.
    fn debug(&self) -> Result<DebugSetting, ConfigError> {
        let all = self.one("debug", values::boolean)?;
        let path = self.optional("debug-config", values::path)?;
        let refused = !all && self.find("debug").source != Source::Default;
        Ok(match path {
            Some(path) if !refused => {
                let functions = debug::read(&path)?;
                DebugSetting::File { path, functions }
            }
            Some(_) => DebugSetting::Off,
            None if all => DebugSetting::All,
            None => DebugSetting::Off,
        })
    }

    fn aws_endpoint(&self) -> Result<Option<AwsEndpoint>, ConfigError> {
        let url = self.optional("aws-endpoint", values::endpoint_url)?;
        let authority = self.optional("aws-endpoint-ca", values::path)?;
        let id = self.optional("aws-endpoint-key", values::text)?;
        let secret = self.optional("aws-endpoint-secret", values::text)?;
        let keys = match (id, secret) {
            (Some(id), Some(secret)) => Some(AccessKey { id, secret }),
            (None, None) => None,
            (Some(_), None) => return Err(self.incomplete("aws-endpoint-key", "aws-endpoint-secret")),
            (None, Some(_)) => return Err(self.incomplete("aws-endpoint-secret", "aws-endpoint-key")),
        };
        match url {
            Some(url) => Ok(Some(AwsEndpoint { url, authority, keys })),
            None if authority.is_some() => Err(self.incomplete("aws-endpoint-ca", "aws-endpoint")),
            None if keys.is_some() => Err(self.incomplete("aws-endpoint-key", "aws-endpoint")),
            None => Ok(None),
        }
    }

    fn auth(&self) -> Result<Auth, ConfigError> {
        let checks = self.list("auth", values::auth_checks)?.concat();
        let keys = self.optional("auth-keys", values::path)?;
        let wants = |check| checks.contains(&check);
        let keys = match (wants(auth::Check::Sigv4), keys) {
            (true, Some(path)) => Some(auth::read(&path)?),
            (true, None) => return Err(self.incomplete("auth", "auth-keys")),
            (false, Some(_)) => return Err(self.incomplete("auth-keys", "auth sigv4")),
            (false, None) => None,
        };
        Ok(Auth { keys, policies: wants(auth::Check::Policies) })
    }

    fn incomplete(&self, option: &'static str, needs: &'static str) -> ConfigError {
        ConfigError::Incomplete { option, needs, source_of_value: self.find(option).source.clone() }
    }

    fn find(&self, name: &str) -> &Resolved {
        self.resolved.iter().find(|resolved| resolved.name == name).expect("every option is in the table")
    }

    fn list<T>(&self, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
        let found = self.find(name);
        found.texts.iter().map(|text| parse(text).map_err(|hint| invalid(found, text, hint))).collect()
    }

    fn optional<T>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.list(name, parse)?.pop())
    }

    fn one<T>(&self, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        Ok(self.optional(name, parse)?.expect("an option that is read as one value has a default"))
    }
}

fn invalid(resolved: &Resolved, text: &str, hint: String) -> ConfigError {
    ConfigError::Value {
        option: resolved.name,
        text: text.to_owned(),
        source_of_value: resolved.source.clone(),
        hint,
    }
}

fn resolve(
    setting: &'static Setting,
    flags: &Flags,
    environment: &dyn Environment,
    file: &[file::Entry],
) -> Result<Resolved, ConfigError> {
    let from = |texts, source| Ok(Resolved { name: setting.name, texts, source });
    if let Some(texts) = flags.values.get(setting.name) {
        return from(texts.clone(), Source::Flag(setting.name));
    }
    let variable = setting.variable();
    if let Some(text) = environment.get(&variable) {
        return from(setting.split(&text), Source::Variable(variable));
    }
    for alias in setting.aliases {
        let Some(text) = environment.get(alias.name) else { continue };
        let source = Source::Variable(alias.name.to_owned());
        let text = (alias.read)(&text).map_err(|hint| ConfigError::Value {
            option: setting.name,
            text,
            source_of_value: source.clone(),
            hint,
        })?;
        return from(setting.split(&text), source);
    }
    if let Some(entry) = file.iter().find(|entry| entry.name == setting.name) {
        return from(entry.texts.clone(), entry.source.clone());
    }
    from(setting.default.iter().map(|&text| text.to_owned()).collect(), Source::Default)
}

#[cfg(test)]
mod tests;
