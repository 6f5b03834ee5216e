//! Wiring: makes a running service from a configuration.
//!
//! Must not decide anything that a request asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hothouse_api::{
    dispatch::BodyLimits,
    name::{AccountId, Region},
};
use hothouse_control::{
    Control, ControlConfig, OpenError,
    code::{CodeError, CodeStore},
    state::{MemoryStore, SqliteStore, Store, StoreError},
};
use hothouse_execution::{
    Engine, EngineConfig, ScalingRate,
    debug::{DebugFunctions, DebugMode},
    executor::{
        Identity, InnerDoor, Isolation as Isolated, Level, Network as SandboxNetwork, ProcessExecutor,
        ProcessExecutorConfig, ServiceAddress, StartError as ExecutorError, fitting_environments,
    },
    ports::{Clock, CredentialSource, SystemClock},
    runtimes::{Catalog, Language, Line, Policy},
    timeline::Timeline,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Verifier,
    companions::{
        Companions,
        deliveries::Deliveries,
        forward::{EndpointError, Forwarder, ForwarderConfig, Keys},
        logs::{LogStore, LogStoreConfig, StoreError as LogStoreError},
        metrics::{CloudWatch, Collector},
        networks::Networks,
        objects::Objects,
        sources::Sources,
        sts::{SecretError, Sts},
        xray::{self, Daemon, DaemonError, Xray},
    },
    config::{Auth, DebugSetting, Isolation, Limits, Network, ServiceConfig},
    debug_file::DebugFile,
    door::{Admission, Connections, Door},
    function_url::{FunctionUrls, Signers},
};

/// Logs may take this much of the disk, or of memory when nothing is kept.
const LOG_BYTES: u64 = 1 << 30;
const EPHEMERAL_LOG_BYTES: u64 = 64 << 20;

/// A synchronous invocation's response may be so many bytes larger than its event.
const RESPONSE_MARGIN: u64 = 100;

/// The service did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("failed to make the data directory `{path}`")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The machine does not give the isolation that was demanded.
    #[error("failed to isolate functions")]
    Isolation(#[source] ExecutorError),
    /// The machine cannot keep functions from the network, as was demanded.
    #[error("failed to isolate functions from the network: this machine gives them none of their own")]
    NoNetwork,
    /// The state cannot be opened.
    #[error("failed to open the state")]
    Store(#[from] StoreError),
    /// The deployment packages cannot be opened.
    #[error("failed to open the code store")]
    Code(#[from] CodeError),
    /// The control plane cannot start.
    #[error("failed to start the control plane")]
    Control(#[from] OpenError),
    /// CloudWatch Logs cannot start.
    #[error("failed to open the logs")]
    Logs(#[from] LogStoreError),
    /// STS cannot start.
    #[error("failed to open the secret of the token service")]
    Sts(#[from] SecretError),
    /// Nothing takes the segments of functions.
    #[error("failed to {0}")]
    Xray(#[from] DaemonError),
    /// The other AWS endpoint cannot be used.
    #[error("failed to {0}")]
    Endpoint(#[from] EndpointError),
}

impl StartError {
    /// Whether another service has the data directory.
    pub(crate) fn is_directory_in_use(&self) -> bool {
        matches!(self, StartError::Store(StoreError::InUse { .. }))
    }
}

/// The service, before it runs.
#[derive(Debug)]
pub(crate) struct Service;

/// A service that answers requests.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it listens, port 0 resolved.
    pub(crate) addresses: Vec<SocketAddr>,
    summary: Vec<String>,
    connections: Connections,
    control: Control,
    engine: Engine,
    logs: LogStore,
    xray_daemon: Daemon,
    inner_door: Arc<LateDoor>,
    /// Ends the collecting of metrics.
    _collector: Collector,
    /// Ends the following of the debug configuration.
    _debug_file: Option<DebugFile>,
    grace: Duration,
}

impl Service {
    /// Starts everything; when it returns, requests are answered.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub(crate) async fn start(config: ServiceConfig) -> Result<Running, StartError> {
        // First, since a second service on the same port must not touch the first one's data.
        let (listeners, addresses) = listen(&config.listen).await?;
        let directory = (!config.ephemeral).then_some(config.data_dir.as_path());
        if let Some(path) = directory {
            std::fs::create_dir_all(path)
                .map_err(|source| StartError::DataDirectory { path: path.to_owned(), source })?;
        }

        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let timeline = Timeline::default();
        let forwarder = Arc::new(Forwarder::new(forwarder_config(&config), clock.clone())?);
        let maximum_bytes = if config.ephemeral { EPHEMERAL_LOG_BYTES } else { LOG_BYTES };
        let logs = LogStore::open(
            LogStoreConfig { directory: directory.map(Into::into), maximum_bytes },
            clock.clone(),
        )?;
        let keys = config.auth.keys.clone();
        let verifies = keys.is_some();
        let sts = Sts::open(directory, clock.clone())?.ask_first(forwarder.clone());
        let sts = Arc::new(match keys {
            Some(keys) => sts.with_keys(keys),
            None => sts.with_usual_keys(),
        });
        // Callers of function URLs must always sign where the URL says so.
        let url_verifier = Arc::new(Verifier::new(sts.clone(), clock.clone()));
        let verifier = verifies.then(|| url_verifier.clone());
        let credentials: Arc<dyn CredentialSource> = sts.clone();

        let region: Region = "us-east-1".parse().expect("a region");
        let xray = Xray::new(clock.clone());
        let scope = xray::Scope { account: AccountId::DEFAULT, region: region.clone() };
        let xray_daemon = Daemon::start(xray.clone(), scope).await?;

        let inner_door = Arc::new(LateDoor::default());
        let executor = ProcessExecutor::new(ProcessExecutorConfig {
            segments: Arc::new(xray.clone()),
            xray_daemon: xray_daemon.address(),
            ..executor_config(&config, addresses[0].port(), inner_door.clone())
        });
        let isolation = executor.isolation().map_err(StartError::Isolation)?;
        let (debug, debug_file) = debug(&config.debug);
        let network = executor.network().map_err(StartError::Isolation)?;
        let mut summary = summary(&executor, &isolation);
        let wanted = sandbox_network(config.network);
        if (wanted, network) == (SandboxNetwork::Own, SandboxNetwork::Host) {
            return Err(StartError::NoNetwork);
        }
        if network != wanted {
            summary.push(format!("Network: {}", network_words(wanted, network)));
        }
        summary.extend(debug_summary(&config.debug));
        summary.extend(auth_summary(&config.auth));
        let environments = config.max_environments.unwrap_or_else(fitting_environments);
        if environments < config.limits.concurrent_executions as usize {
            summary.push(format!(
                "Environments: {environments} at most (--max-environments); invocations beyond wait for their turn"
            ));
        }
        let engine = Engine::new(
            EngineConfig {
                keep_alive: config.keep_alive,
                startup_timeout: config.environment_startup_timeout,
                freeze: config.freeze,
                post_invoke_wait: config.post_invoke_wait,
                response_limit: config.limits.max_function_payload_size as usize,
                streamed_response_limit: config.limits.max_streamed_response_size as usize,
                shape_streamed_responses: config.shape_streamed_responses,
                environments,
                // AWS: 2,500 for 1,000 invocations that may run.
                tenant_environments: (config.limits.concurrent_executions as usize).saturating_mul(5) / 2,
                scaling: ScalingRate { burst: config.limits.scaling_rate as usize, ..ScalingRate::default() },
                debug,
            },
            hothouse_execution::Ports {
                executor: Arc::new(executor),
                sink: Arc::new(logs.clone()),
                credentials,
                clock: clock.clone(),
                timeline: timeline.clone(),
                observer: config.observer.clone(),
            },
        );

        let control = Control::open(
            control_config(&config, addresses[0]),
            hothouse_control::Ports {
                engine: engine.clone(),
                store: store(&config)?,
                code: code_store(&config)?,
                deliveries: Arc::new(Deliveries::new(forwarder.clone(), clock.clone())),
                networks: Arc::new(Networks::new(forwarder.clone())),
                objects: Arc::new(Objects::new(forwarder.clone(), region.clone())),
                sources: Arc::new(Sources::new(forwarder.clone())),
                clock,
                timeline: timeline.clone(),
            },
        )
        .await?;

        let metrics = CloudWatch::new(control.clone());
        let collector = Collector::start(metrics.clone());
        let function_urls = FunctionUrls::new(
            control.clone(),
            engine.clone(),
            Signers { verifier: url_verifier, sts: sts.clone() },
            xray.clone(),
        );
        let door = Arc::new(Door {
            function_urls,
            control: control.clone(),
            engine: engine.clone(),
            timeline,
            companions: Companions {
                logs: logs.clone(),
                metrics: metrics.clone(),
                sts,
                verifier: verifier.clone(),
                xray,
                forwarder,
                default_region: region,
            },
            verifier,
            admission: Admission { hosts: config.allow_hosts, origins: config.allow_origins },
            limits: BodyLimits {
                package: config.limits.create_function_request_size as usize,
                other: event_limit(config.limits.max_function_payload_size),
                ..BodyLimits::default()
            },
        });
        let connections = Connections::default();
        inner_door.set(Some((door.clone(), connections.clone())));
        for listener in listeners {
            connections.serve(listener, door.clone(), CancellationToken::new());
        }
        Ok(Running {
            addresses,
            summary,
            connections,
            control,
            engine,
            logs,
            xray_daemon,
            _collector: collector,
            inner_door,
            _debug_file: debug_file,
            grace: config.shutdown_timeout,
        })
    }
}

impl Running {
    /// Lines about isolation and runtimes, for people.
    pub(crate) fn summary(&self) -> &[String] {
        &self.summary
    }

    /// Stops accepting, lets running invocations end, and ends the environments.
    pub(crate) async fn shutdown(self) {
        tokio::join!(self.connections.close(self.grace), self.control.finish_attempts(self.grace));
        self.engine.shut_down().await;
        self.xray_daemon.close().await;
        // The executor has the door and the door the executor: whoever parts them lets both go, and with them what
        // they hold of the machine.
        self.inner_door.set(None);
        self.control.shut_down().await;
        self.logs.close().await;
    }
}

/// The service's door into environments: made before the door itself, as environments are what is behind it.
#[derive(Debug, Default)]
struct LateDoor {
    door: Mutex<Option<(Arc<Door>, Connections)>>,
}

impl LateDoor {
    fn set(&self, door: Option<(Arc<Door>, Connections)>) {
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = door;
    }
}

impl InnerDoor for LateDoor {
    fn serve(&self, listener: TcpListener, gone: CancellationToken) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((door, connections)) = &*door {
            connections.serve(listener, door.clone(), gone);
        }
    }
}

async fn listen(addresses: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for &address in addresses {
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        bound.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

fn forwarder_config(config: &ServiceConfig) -> ForwarderConfig {
    let endpoint = config.aws_endpoint.clone();
    ForwarderConfig {
        endpoint: endpoint.as_ref().map(|endpoint| endpoint.url.clone()),
        ca_file: endpoint.as_ref().and_then(|endpoint| endpoint.authority.clone()),
        keys: endpoint.and_then(|endpoint| endpoint.keys).map(|keys| Keys::new(keys.id, keys.secret)),
    }
}

fn executor_config(config: &ServiceConfig, port: u16, door: Arc<dyn InnerDoor>) -> ProcessExecutorConfig {
    let policy = Policy { strict: config.strict_runtimes, official_clients: config.official_clients };
    ProcessExecutorConfig {
        identity: identity(&config.function_user),
        cpu_limit: config.cpu_limit,
        ready_memory: config.ready_memory,
        isolation: match config.isolation {
            Isolation::Best => Level::Best,
            Isolation::Full => Level::Full,
            Isolation::Partial => Level::Partial,
            Isolation::None => Level::None,
        },
        network: sandbox_network(config.network),
        service: Some(ServiceAddress { port, announce: config.inject_aws_endpoint, door }),
        ..ProcessExecutorConfig::new(Catalog::discover(&config.search_paths, policy))
    }
}

/// What a sandbox is asked for.
pub(crate) fn sandbox_network(configured: Network) -> SandboxNetwork {
    match configured {
        Network::Auto => SandboxNetwork::Relayed,
        Network::Host => SandboxNetwork::Host,
        Network::Isolated => SandboxNetwork::Own,
    }
}

/// The network that environments have, for people.
pub(crate) fn network_words(wanted: SandboxNetwork, found: SandboxNetwork) -> &'static str {
    match (wanted, found) {
        (_, SandboxNetwork::Relayed) => "each environment has its own",
        (_, SandboxNetwork::Own) => "each environment has its own, without a way out",
        (SandboxNetwork::Host, SandboxNetwork::Host) => "the host's",
        (SandboxNetwork::Own | SandboxNetwork::Relayed, SandboxNetwork::Host) => {
            "the host's, as this machine cannot give environments their own"
        }
    }
}

/// Who functions are: AWS's user under whatever name, or root.
fn identity(user: &str) -> Identity {
    match user {
        "root" => Identity { uid: 0, gid: 0, name: user.to_owned(), home: "/root".into() },
        name => {
            let home = PathBuf::from(format!("/home/{name}"));
            Identity { uid: 993, gid: 990, name: name.to_owned(), home }
        }
    }
}

fn summary(executor: &ProcessExecutor, isolation: &Isolated) -> Vec<String> {
    let mut found: BTreeMap<Language, BTreeSet<Line>> = BTreeMap::new();
    for interpreter in executor.catalog().interpreters() {
        let language = interpreter.language;
        if let Some(line) = interpreter.line().filter(|line| *line >= language.oldest()) {
            found.entry(language).or_default().insert(line);
        }
    }
    let runtimes: Vec<String> = found
        .into_iter()
        .map(|(language, lines)| {
            let lines: Vec<String> = lines.into_iter().map(|line| language.display(line)).collect();
            format!("{language} {}", lines.join(", "))
        })
        .collect();
    let runtimes = if runtimes.is_empty() { "none but custom ones".to_owned() } else { runtimes.join("; ") };
    vec![format!("Isolation: {isolation}"), format!("Runtimes: {runtimes} (`hothouse doctor` tells more)")]
}

/// Which functions are debugged, and what follows the file that says it.
fn debug(setting: &DebugSetting) -> (DebugMode, Option<DebugFile>) {
    let (path, functions) = match setting {
        DebugSetting::Off => return (DebugMode::Off, None),
        DebugSetting::All => return (DebugMode::All, None),
        DebugSetting::File { path, functions } => (path, functions),
    };
    let live = DebugFunctions::from(functions.clone());
    let file = DebugFile::follow(path.clone(), functions.clone(), live.clone())
        .inspect_err(|error| {
            tracing::warn!(
                %error,
                "failed to watch `{}`: changes of it need a restart", path.display()
            );
        })
        .ok();
    (DebugMode::Functions(live), file)
}

fn debug_summary(setting: &DebugSetting) -> Option<String> {
    let which = match setting {
        DebugSetting::Off => return None,
        DebugSetting::All => "all functions".to_owned(),
        DebugSetting::File { path, functions } => {
            let names: Vec<String> = functions
                .keys()
                .map(|target| format!("{}:{}", target.function_arn.name(), target.version))
                .collect();
            let names = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            format!("{names} (`{}`)", path.display())
        }
    };
    Some(format!("Debugging: {which}; time limits are 1 h there"))
}

fn auth_summary(auth: &Auth) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(keys) = &auth.keys {
        let keys: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        lines.push(format!("Signatures are verified; keys: {}", keys.join(", ")));
    }
    if auth.policies {
        lines.push("Policies bind services, and deny their own account".to_owned());
    }
    lines
}

fn control_config(config: &ServiceConfig, address: SocketAddr) -> ControlConfig {
    // An address that means "all of them" is no place to send anyone to.
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let Limits { concurrent_executions, minimum_unreserved_concurrency, invocation_rate, .. } = config.limits;
    ControlConfig {
        base_url: format!("http://{host}:{}", address.port()),
        synchronous_create: config.synchronous_create,
        enforce_policies: config.auth.policies,
        retry_base_delay: config.retry_base_delay,
        create_delay: config.delays.function_create,
        update_delay: config.delays.function_update,
        idle_delay: config.delays.function_idle,
        mapping_delay: config.delays.event_source_mapping,
        capacity_provider_delay: config.delays.capacity_provider,
        provisioned_concurrency_delay: config.delays.provisioned_concurrency,
        limits: hothouse_control::Limits {
            concurrent_executions,
            minimum_unreserved_concurrency,
            invocation_rate,
            total_code_size: config.limits.total_code_size,
            code_size_zipped: config.limits.code_size_zipped,
            code_size_unzipped: config.limits.code_size_unzipped,
            environment_size: config.limits.max_function_envvar_size as usize,
            request_payload: event_limit(config.limits.max_function_payload_size),
            memory_size: config.limits.memory_size,
            ..hothouse_control::Limits::default()
        },
        ..ControlConfig::default()
    }
}

/// The option counts as LocalStack's does: it is the limit of the response.
fn event_limit(response_limit: u64) -> usize {
    response_limit.saturating_sub(RESPONSE_MARGIN) as usize
}

fn store(config: &ServiceConfig) -> Result<Arc<dyn Store>, StoreError> {
    Ok(if config.ephemeral {
        Arc::<MemoryStore>::default()
    } else {
        Arc::new(SqliteStore::open(&config.data_dir.join("state.db"))?)
    })
}

fn code_store(config: &ServiceConfig) -> Result<Arc<CodeStore>, CodeError> {
    let limit = config.limits.code_size_unzipped;
    if config.ephemeral {
        CodeStore::ephemeral(&std::env::temp_dir(), limit)
    } else {
        CodeStore::open(config.data_dir.join("code"), limit)
    }
}
