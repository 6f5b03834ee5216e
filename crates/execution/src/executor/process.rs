//! Plain processes of this machine, in the sandbox.
//!
//! Must not know invocations or the Runtime API: it makes the socket, others speak on it.

mod archives;
mod early;
mod instance;
mod places;
mod programs;
mod ready;
mod snapshot;
mod turns;
mod zygotes;

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_sandbox::{
    Identity, Isolation, Level, Limit, Limits, Mount, Network, Sandbox, SandboxSpec, Template, TemplateSpec,
};
use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::{
    archives::Archives,
    early::Early,
    instance::{Environments, NotStartable, Place, ProcessInstance},
    places::Places,
    ready::{Shelf, Wanted},
    snapshot::{Copies, Original},
    turns::Turns,
    zygotes::Zygotes,
};
use super::{
    Created, Executor, Launch, StartError,
    debugger::Ports,
    descriptors,
    memory::Shortage,
    network::{Relays, Sockets, XRAY_DAEMON},
};
use crate::{
    environment::env_vars::{self, Inputs, Service},
    extensions,
    fault::Fault,
    ports::{SegmentOrigin, SegmentSink},
    runtimes::{Catalog, Layout, Plan, PlanError},
    spec::FunctionSpec,
};

/// What AWS's images begin with. It is there on AWS too, where it has started nothing.
const ENTRYPOINT: &[u8] = b"#!/bin/sh
# Starts the runtime for the handler that is named.
[ $# -eq 0 ] || export _HANDLER=\"$1\"
exec /var/runtime/bootstrap
";

/// What a debugger in the function's processes may take beside their memory size: `debugpy` is a process of its own.
const DEBUGGER_MEMORY_MB: u32 = 512;

/// So many versions at most are remembered that may be asked for soon.
const EXPECTED: usize = 8;

/// How processes are made.
#[derive(Debug)]
pub struct ProcessExecutorConfig {
    /// The interpreters of the machine.
    pub catalog: Catalog,
    /// How much isolation environments must have.
    pub isolation: Level,
    /// A network of their own, with a way out or without, or the host's, which is also what they have where the
    /// machine cannot give what is asked for.
    pub network: Network,
    /// How functions reach the service, if they do.
    pub service: Option<ServiceAddress>,
    /// Where X-Ray segments go that functions send to the daemon's address.
    pub segments: Arc<dyn SegmentSink>,
    /// The daemon's address on the host's network, as it is told to functions there.
    pub xray_daemon: SocketAddr,
    /// Who functions are, as they see themselves.
    pub identity: Identity,
    /// Whether functions have the share of CPUs that their memory size buys, as on AWS, or all that they can get.
    pub cpu_limit: bool,
    /// Memory, in bytes, that interpreters and sandboxes may take that are kept ready for the next environments; 0 for none.
    pub ready_memory: u64,
}

impl ProcessExecutorConfig {
    /// Functions as on AWS with what the machine gives, without a service to call and without anyone who reads
    /// their segments.
    pub fn new(catalog: Catalog) -> ProcessExecutorConfig {
        ProcessExecutorConfig {
            catalog,
            isolation: Level::Best,
            network: Network::Host,
            service: None,
            segments: Arc::new(NoSegments),
            xray_daemon: SocketAddr::from((Ipv4Addr::LOCALHOST, 2000)),
            identity: Identity {
                uid: 993,
                gid: 990,
                name: "sbx_user1051".into(),
                home: "/home/sbx_user1051".into(),
            },
            cpu_limit: true,
            ready_memory: 128 * 1024 * 1024,
        }
    }
}

#[derive(Debug)]
struct NoSegments;

impl SegmentSink for NoSegments {
    fn datagram(&self, _: Option<&SegmentOrigin>, _: Bytes) {}
}

/// The service, as functions reach it.
#[derive(Debug, Clone)]
pub struct ServiceAddress {
    /// Its port on loopback.
    pub port: u16,
    /// Whether SDKs are pointed at it (`AWS_ENDPOINT_URL`).
    pub announce: bool,
    /// Serves the sockets that are made for it inside environments.
    pub door: Arc<dyn InnerDoor>,
}

/// The service's door into an environment that has a network of its own.
pub trait InnerDoor: Send + Sync + fmt::Debug {
    /// Serves this listener until `gone`.
    fn serve(&self, listener: TcpListener, gone: CancellationToken);
}

/// Runs functions as sandboxed processes.
#[derive(Debug, Clone)]
pub struct ProcessExecutor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ProcessExecutorConfig,
    /// One root for all functions with the same runtime.
    templates: Mutex<HashMap<Vec<Shown>, Template>>,
    /// What was prepared for a version, as long as the version lives.
    prepared: Mutex<HashMap<(usize, Debugged), PreparedFor>>,
    /// Sandboxes made ahead.
    shelf: Arc<Shelf>,
    shortage: Shortage,
    turns: Arc<Turns>,
    /// Where copies of runtimes will be.
    places: Places,
    /// Interpreters that are copied in bursts.
    zygotes: Arc<Zygotes>,
    /// What makes Java start sooner.
    archives: Archives,
    /// Versions that may be asked for soon, until something was made ahead for them.
    expected: mpsc::Sender<Arc<FunctionSpec>>,
    expectations: Mutex<Option<mpsc::Receiver<Arc<FunctionSpec>>>>,
    /// Where debuggers connect to.
    debugger_ports: Ports,
    /// Warnings that were given: one function has many versions, and many functions one runtime.
    warned: Mutex<HashSet<String>>,
}

/// Whether a debugger is to be attached.
type Debugged = bool;

/// What was prepared, and for which version.
type PreparedFor = (Weak<FunctionSpec>, Arc<Prepared>);

/// A path of the host, and where it is shown.
type Shown = (PathBuf, PathBuf);

/// All that the environments of one version have in common.
#[derive(Debug)]
struct Prepared {
    plan: Plan,
    template: Template,
    /// Names of the external extensions, in the order in which they are started.
    extensions: Vec<String>,
    /// The interpreter that can become theirs, if one may be started before they are known.
    early: Option<Arc<Early>>,
}

impl ProcessExecutor {
    /// An executor; nothing runs before the first environment is asked for.
    pub fn new(config: ProcessExecutorConfig) -> ProcessExecutor {
        descriptors::raise_limit();
        let (expected, expectations) = mpsc::channel(EXPECTED);
        ProcessExecutor {
            inner: Arc::new(Inner {
                shelf: Arc::new(Shelf::new(config.ready_memory)),
                shortage: Shortage::default(),
                turns: Arc::new(Turns::new()),
                places: Places::new(config.ready_memory > 0),
                zygotes: Arc::new(Zygotes::new(config.ready_memory > 0)),
                archives: Archives::new(),
                expected,
                expectations: Mutex::new(Some(expectations)),
                config,
                templates: Mutex::default(),
                prepared: Mutex::default(),
                debugger_ports: Ports::default(),
                warned: Mutex::default(),
            }),
        }
    }

    /// The isolation that environments will have. Makes a template, which takes some milliseconds: it blocks.
    ///
    /// # Errors
    /// The machine does not give what the configuration demands.
    pub fn isolation(&self) -> Result<Isolation, StartError> {
        Ok(self.inner.template(Vec::new())?.isolation().clone())
    }

    /// The network that environments will have: the configured one, or the host's where the machine cannot give it.
    ///
    /// # Errors
    /// As for [`ProcessExecutor::isolation`], which it blocks as.
    pub fn network(&self) -> Result<Network, StartError> {
        let config = &self.inner.config;
        Ok(self.inner.template(Vec::new())?.network(config.network))
    }

    /// The interpreters of the machine.
    pub fn catalog(&self) -> &Catalog {
        &self.inner.config.catalog
    }

    /// Makes the place of an environment, which may be that of a copy.
    fn create_place(
        &self,
        launch: Launch,
        original: Option<Arc<Original>>,
    ) -> BoxFuture<'_, Result<Created, StartError>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let debugging = launch.debug;
            let origin = SegmentOrigin {
                account: launch.spec.account,
                region: launch.spec.region.clone(),
                environment: launch.environment,
            };
            // Clones and mounts block; the reactor must not.
            let turns = inner.turns.clone();
            let copier = launch.template.then(|| self.clone());
            let made = turns.make(move || inner.create(launch, original, copier)).await;
            let (mut instance, mut sockets) = match made.map_err(StartError::machine("start a thread"))? {
                // What the function did wrong shows when its process should start, and again at each attempt.
                Err(StartError::Function(fault)) => {
                    return Ok(Created { instance: Box::new(NotStartable { fault }), runtime_api: None });
                }
                made => made?,
            };
            let relayed = sockets.relayed();
            let runtime_api = TcpListener::from_std(sockets.runtime_api)
                .map_err(StartError::machine("register the Runtime API socket"))?;
            if let (Some(listener), Some(service)) = (sockets.door, &self.inner.config.service) {
                let listener = TcpListener::from_std(listener)
                    .map_err(StartError::machine("register the endpoint's socket"))?;
                let gone = CancellationToken::new();
                service.door.serve(listener, gone.clone());
                instance.door = Some(gone.drop_guard());
            }
            let relays = Relays::start(relayed, origin, self.inner.config.segments.clone())
                .map_err(StartError::machine("register the sockets of the network"))?;
            instance.relays = Some(relays);
            if let Some(debugging) = debugging {
                instance.open_debugger(&self.inner.debugger_ports, debugging).await;
            }
            Ok(Created { instance: Box::new(instance), runtime_api: Some(runtime_api) })
        })
    }
}

impl Executor for ProcessExecutor {
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        self.create_place(launch, None)
    }

    fn is_short_of_memory(&self) -> bool {
        self.inner.shortage.is_there()
    }

    fn expect(&self, spec: Arc<FunctionSpec>) {
        // Whoever makes a thousand functions will not call the last one of them next.
        let _ = self.inner.expected.try_send(spec);
    }

    fn tend(&self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let inner = self.inner.clone();
        let expectations = lock(&inner.expectations).take();
        Box::pin(async move {
            let shelf = inner.shelf.clone().tend(stop.clone());
            let expecting = async {
                let Some(mut expectations) = expectations else { return };
                while let Some(Some(spec)) = stop.run_until_cancelled(expectations.recv()).await {
                    let inner = inner.clone();
                    let _ = spawn_blocking(move || inner.expect(&spec)).await;
                }
            };
            tokio::join!(
                shelf,
                expecting,
                inner.zygotes.clone().tend(stop.clone()),
                archives::tend(&inner, &stop),
                places::tend(&inner, &stop)
            );
        })
    }
}

impl Inner {
    fn template(&self, shown: Vec<Shown>) -> Result<Template, StartError> {
        let mut templates = lock(&self.templates);
        if let Some(template) = templates.get(&shown) {
            return Ok(template.clone());
        }
        let spec = TemplateSpec {
            level: self.config.isolation,
            network: self.config.network,
            identity: self.config.identity.clone(),
            mounts: shown
                .iter()
                .map(|(source, target)| Mount::read_only(source, target))
                .chain(bash_as_shell())
                .collect(),
            directories: ["/var/task", "/opt", "/var/runtime", "/var/lang"].map(PathBuf::from).into(),
            files: vec![("/etc/hosts".into(), HOSTS.to_vec())],
            programs: vec![("/lambda-entrypoint.sh".into(), ENTRYPOINT.to_vec())],
        };
        let template = Template::create(spec).map_err(StartError::Sandbox)?;
        templates.insert(shown, template.clone());
        Ok(template)
    }

    fn prepare(&self, spec: &Arc<FunctionSpec>, debugged: Debugged) -> Result<Arc<Prepared>, StartError> {
        let key = (Arc::as_ptr(spec) as usize, debugged);
        // While the weak reference is alive, no other version can have this address.
        if let Some((version, prepared)) = lock(&self.prepared).get(&key)
            && version.strong_count() > 0
        {
            return Ok(prepared.clone());
        }
        // Where paths are depends on whether there is a root of its own, which an empty template tells.
        let layout = if self.template(Vec::new())?.has_own_root() {
            Layout::Sandbox
        } else {
            Layout::Host { opt: spec.layers.clone().unwrap_or_else(|| PathBuf::from("/opt")) }
        };
        let plan = self.config.catalog.plan(spec, &layout).map_err(plan_error)?;
        if let Some(warning) = &plan.warning
            && lock(&self.warned).insert(warning.clone())
        {
            tracing::warn!(function = %spec.function_name, "{warning}");
        }
        let for_debugger = debugged.then(|| plan.debugger.mount()).flatten();
        let shown = plan
            .mounts
            .iter()
            .chain(&for_debugger)
            .map(|mount| (mount.source.clone(), mount.target.clone()))
            .collect();
        let extensions = spec.layers.as_deref().map(extensions_of).transpose()?.unwrap_or_default();
        let template = self.template(shown)?;
        let is_usual = template.has_own_root() && !debugged && extensions.is_empty();
        let early = is_usual.then(|| Early::of(spec, &plan)).flatten().map(Arc::new);
        let prepared = Arc::new(Prepared { template, plan, extensions, early });
        if !debugged {
            self.archives.want(&prepared);
        }
        let mut all = lock(&self.prepared);
        if all.len() == all.capacity() {
            all.retain(|_, (version, _)| version.strong_count() > 0);
        }
        all.insert(key, (Arc::downgrade(spec), prepared.clone()));
        Ok(prepared)
    }

    /// Has something made ahead for a version, if anything can be. Blocks.
    fn expect(&self, spec: &Arc<FunctionSpec>) {
        // What is wrong with it shows when it is invoked.
        let Ok(prepared) = self.prepare(spec, false) else { return };
        if prepared.template.has_own_root() {
            let sandbox = self.sandbox_spec(spec, &prepared, false);
            let early = prepared.early.as_ref();
            self.shelf.expect(&Wanted { template: &prepared.template, early, spec: &sandbox });
        }
    }

    fn sandbox_spec(&self, spec: &FunctionSpec, prepared: &Prepared, debugged: Debugged) -> SandboxSpec {
        let mut mounts = Vec::new();
        if prepared.template.has_own_root() {
            mounts.push(Mount::read_only(spec.code.clone(), "/var/task"));
            mounts.extend(spec.layers.as_ref().map(|layers| Mount::read_only(layers, "/opt")));
        }
        let tmp_bytes = megabytes(spec.ephemeral_storage_mb);
        // A debugger works in the function's processes, and must not be starved by what the function may have.
        let debugger_mb = if debugged { DEBUGGER_MEMORY_MB } else { 0 };
        let is_cpu_limited = self.config.cpu_limit && !debugged;
        let mut sandbox_spec = SandboxSpec {
            mounts,
            tmp_bytes,
            hostname: "169.254.100.1".to_owned(),
            limits: Limits {
                open_files: Some(Limit::both(1024)),
                processes: Some(742),
                core_bytes: Some(Limit::both(10 * 1024 * 1024 * 1024)),
                locked_bytes: Some(Limit::both(65536)),
                stack_bytes: Some(Limit { soft: 8 * 1024 * 1024, hard: Limit::UNLIMITED }),
                // The kernel counts what is in `/tmp` as memory, AWS does not.
                memory_bytes: Some(megabytes(spec.memory_mb + debugger_mb) + tmp_bytes),
                cpu_millis: is_cpu_limited.then(|| cpu_millis(spec.memory_mb)),
            },
            network: self.config.network,
            ..SandboxSpec::default()
        };
        Sockets::want(&mut sandbox_spec, self.config.service.as_ref());
        sandbox_spec
    }

    /// Makes the sandbox and the sockets in it. Blocks.
    fn create(
        &self,
        launch: Launch,
        original: Option<Arc<Original>>,
        copier: Option<ProcessExecutor>,
    ) -> Result<(ProcessInstance, Sockets), StartError> {
        // A start that is debugged takes as long as a person does.
        let starting = launch.debug.is_none().then(|| self.shelf.starting());
        let prepared = self.prepare(&launch.spec, launch.debug.is_some())?;
        let spec = &launch.spec;
        let mut sandbox_spec = self.sandbox_spec(spec, &prepared, launch.debug.is_some());
        sandbox_spec.copied = launch.template && prepared.template.has_own_root();
        let copied = original.and_then(|original| {
            let place = original.place(&sandbox_spec).ok()?;
            self.places.want(&original, sandbox_spec.clone());
            Some((place, original))
        });
        // A debugged one has other ceilings, and nobody waits for its start. One that is copied has other users.
        let is_usual = prepared.template.has_own_root() && launch.debug.is_none() && !launch.template;
        let (mut sandbox, early, birth, original) = match copied {
            Some((sandbox, original)) => (sandbox, None, None, Some(original)),
            None => {
                let birth = starting.as_ref().and(prepared.early.as_ref());
                let birth = birth.and_then(|early| self.zygotes.starting(&prepared.template, early));
                let early = prepared.early.as_ref();
                let wanted = Wanted { template: &prepared.template, early, spec: &sandbox_spec };
                let ready = is_usual.then(|| self.shelf.take(&wanted)).flatten();
                let fitted =
                    ready.and_then(|(ready, early)| Some((ready.fit(sandbox_spec.clone()).ok()?, early)));
                let (sandbox, early) = match fitted {
                    Some(fitted) => fitted,
                    None => (
                        Sandbox::create(&prepared.template, sandbox_spec).map_err(StartError::Sandbox)?,
                        None,
                    ),
                };
                (sandbox, early, birth.filter(|_| is_usual), None)
            }
        };
        let sockets =
            Sockets::take(&mut sandbox).map_err(StartError::machine("listen for the Runtime API"))?;
        let address =
            sockets.runtime_api.local_addr().map_err(StartError::machine("read a socket's address"))?;
        let xray_daemon = match prepared.template.network(self.config.network) {
            Network::Host => self.config.xray_daemon,
            Network::Own | Network::Relayed => XRAY_DAEMON.into(),
        };

        let environment = env_vars::variables(
            spec,
            &Inputs {
                plan: &prepared.plan,
                credentials: &launch.credentials,
                log_stream: &launch.log_stream,
                runtime_api: &address.to_string(),
                xray_daemon: &xray_daemon.to_string(),
                service: self.config.service.as_ref().map(|service| Service {
                    host: "127.0.0.1",
                    port: service.port,
                    announce: service.announce,
                }),
                initialization_type: launch.initialization.as_str(),
                credentials_token: launch.credentials_token.as_deref(),
                timeout: launch.timeout,
            },
        );
        let extension_environment = if prepared.extensions.is_empty() {
            Vec::new()
        } else {
            env_vars::of_extensions(spec, &prepared.plan, &environment)
        };
        let environments = Environments { runtime: environment, extensions: extension_environment };
        let place = Place { sandbox, early, starting, birth, original, copier };
        Ok((ProcessInstance::new(spec.clone(), prepared, environments, place, self.turns.clone()), sockets))
    }
}

/// Extensions listen for telemetry at the second name or the third.
const HOSTS: &[u8] = b"127.0.0.1 localhost sandbox.localdomain sandbox\n";

/// The external extensions in merged layers: whatever is directly in their directory and is none itself, by name. Blocks.
fn extensions_of(layers: &Path) -> Result<Vec<String>, StartError> {
    let failed = StartError::machine("read the extensions of layers");
    let entries = match std::fs::read_dir(layers.join(extensions::DIRECTORY)) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(&failed)?;
        if !entry.file_type().map_err(&failed)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// On Amazon Linux `/bin/sh` is bash, and bootstraps rely on it. Where the machine has another shell there, bash is
/// shown in its place.
fn bash_as_shell() -> Option<Mount> {
    let shell = std::fs::canonicalize("/bin/sh").ok()?;
    let bash = std::fs::canonicalize("/bin/bash").ok()?;
    (shell != bash).then(|| Mount::read_only(bash, shell))
}

fn megabytes(count: u32) -> u64 {
    u64::from(count) * 1024 * 1024
}

/// What AWS gives for this memory size: one CPU for 1769 MB. <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
fn cpu_millis(memory_mb: u32) -> u32 {
    memory_mb * 1000 / 1769
}

fn plan_error(error: PlanError) -> StartError {
    match error.error_type() {
        Some(error_type) => StartError::Function(Fault {
            error_type: error_type.to_owned(),
            message: error.to_string(),
            document: None,
        }),
        None => StartError::Runtime { message: crate::chain(&error) },
    }
}

impl StartError {
    fn machine(step: &'static str) -> impl Fn(io::Error) -> StartError {
        move |source| StartError::Machine { step, source }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave the data half-changed.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
