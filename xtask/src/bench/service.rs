//! The service under measurement: its process, and the few control-plane calls that measuring needs.
//!
//! Must not be on a measured path: invokes go through `load`.

use std::{
    io::{BufRead, Write},
    net::TcpListener,
    ops::Deref,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use base64::Engine as _;
use serde_json::{Value, json};

use super::{
    BenchError,
    http::{Connection, request},
    io_error,
    load::Target,
    process::{self, Owned},
};

pub(super) const FUNCTIONS: &str = "/2015-03-31/functions";

/// How long a function may take to become active or updated.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A function as it is created.
#[derive(Debug, Clone)]
pub(super) struct Package {
    /// `Runtime`.
    pub(super) runtime: String,
    /// `Handler`.
    pub(super) handler: &'static str,
    /// The file's name in the archive.
    pub(super) file: &'static str,
    /// The file.
    pub(super) content: Vec<u8>,
}

/// A running service.
#[derive(Debug)]
pub(super) struct Service {
    process: Owned,
    caller: Caller,
    /// From the start of the process to its `Ready.`.
    pub(super) ready_after: Duration,
}

/// How a service is started.
#[derive(Debug, Clone, Default)]
pub(super) struct Launch<'a> {
    /// Another binary than the optimised one.
    pub(super) binary: Option<&'a Path>,
    /// One core, or anywhere.
    pub(super) core: Option<usize>,
    /// Where it keeps its data; in memory only, if nowhere.
    pub(super) directory: Option<&'a Path>,
    /// More options.
    pub(super) options: &'a [&'a str],
}

impl Service {
    /// Starts it.
    pub(super) fn launch(launch: &Launch<'_>) -> Result<Self, BenchError> {
        let binary: PathBuf = match launch.binary {
            Some(binary) => binary.to_owned(),
            None => super::optimised_binary()?,
        };
        let probe = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = probe.map_err(io_error("find a free port"))?.port();
        let mut command = process::on_core(launch.core, binary.as_os_str())?;
        command.args(["start", "--log-level", "error", "--listen", &format!("127.0.0.1:{port}")]);
        match launch.directory {
            Some(directory) => command.arg("--data-dir").arg(directory),
            None => command.arg("--ephemeral"),
        };
        command.args(launch.options);
        // What it says to people would stand between the figures.
        command.stderr(Stdio::null());
        let started = Instant::now();
        let mut process = Owned::start(&mut command)?;
        let mut lines = process.output().lines();
        let mut said = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line == "Ready." => break,
                Some(Ok(line)) => said.push(line),
                Some(Err(_)) | None => return Err(BenchError::NotReady(said.join("\n"))),
            }
        }
        let ready_after = started.elapsed();
        // What it prints later must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, caller: Caller { port }, ready_after })
    }

    /// The service's own process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Who calls it, for tasks of their own.
    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    /// Asks the service to end, and waits.
    pub(super) fn stop(self) -> Result<(), BenchError> {
        self.process.stop()
    }
}

impl Deref for Service {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// Whoever calls a running service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    port: u16,
}

impl Caller {
    /// Whoever calls what listens at this port of the machine.
    pub(super) fn new(port: u16) -> Self {
        Self { port }
    }

    /// A connection that is kept.
    pub(super) async fn connect(&self) -> Result<Connection, BenchError> {
        Connection::open(self.port).await.map_err(io_error("connect to the service"))
    }

    /// A function's invoke path, with the usual event.
    pub(super) fn target(&self, name: &str) -> Target {
        Target::new(self.port, &format!("{FUNCTIONS}/{name}/invocations"))
    }

    /// The same with an event that occupies its environment for a while.
    pub(super) fn sleeping(&self, name: &str, seconds: f64) -> Target {
        // Whole seconds without a fraction: not every language would send it back.
        let event = format!("{{\"sleep\":{seconds}}}");
        Target::with_event(self.port, &format!("{FUNCTIONS}/{name}/invocations"), event.as_bytes())
    }

    /// A version's invoke path, with the usual event.
    pub(super) fn qualified(&self, name: &str, version: &str) -> Target {
        Target::new(self.port, &format!("{FUNCTIONS}/{name}/invocations?Qualifier={version}"))
    }

    /// The same with an event that occupies the environment for so many seconds.
    pub(super) fn qualified_sleeping(&self, name: &str, version: &str, seconds: u32) -> Target {
        let path = format!("{FUNCTIONS}/{name}/invocations?Qualifier={version}");
        Target::with_event(self.port, &path, format!("{{\"sleep\":{seconds}}}").as_bytes())
    }

    /// The same path, for events that nobody waits for.
    pub(super) fn taking_events(&self, name: &str) -> Target {
        Target::taking_events(self.port, &format!("{FUNCTIONS}/{name}/invocations"))
    }

    /// Creates a function and waits until it is active.
    pub(super) async fn create(&self, name: &str, package: &Package) -> Result<(), BenchError> {
        self.create_with(name, package, Value::Null).await
    }

    /// The same with more members of the request.
    pub(super) async fn create_with(
        &self,
        name: &str,
        package: &Package,
        more: Value,
    ) -> Result<(), BenchError> {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        archive.start_file(package.file, zip::write::SimpleFileOptions::default().unix_permissions(0o755))?;
        archive.write_all(&package.content).map_err(io_error("write an archive"))?;
        let archive = archive.finish()?.into_inner();
        self.create_from(name, &package.runtime, package.handler, &archive, more).await
    }

    /// The same from an archive.
    pub(super) async fn create_from(
        &self,
        name: &str,
        runtime: &str,
        handler: &str,
        archive: &[u8],
        more: Value,
    ) -> Result<(), BenchError> {
        let mut body = json!({
            "FunctionName": name,
            "Runtime": runtime,
            "Handler": handler,
            "Role": "arn:aws:iam::000000000000:role/bench",
            "Timeout": 60,
            // One CPU's worth: with less, the figures would be those of the function's CPU share.
            "MemorySize": 1769,
            "Code": { "ZipFile": base64::engine::general_purpose::STANDARD.encode(archive) },
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            body[member] = value.clone();
        }
        self.call("create a function", "POST", FUNCTIONS, Some(body)).await?;
        self.settled(name).await.map(drop)
    }

    /// Changes the configuration, so that the next invocation needs a new environment.
    pub(super) async fn renew(&self, name: &str, variables: Value) -> Result<(), BenchError> {
        let path = format!("{FUNCTIONS}/{name}/configuration");
        let body = json!({ "Environment": { "Variables": variables } });
        self.call("update a function", "PUT", &path, Some(body)).await?;
        self.settled(name).await.map(drop)
    }

    /// Deletes a function.
    pub(super) async fn delete(&self, name: &str) -> Result<(), BenchError> {
        self.call("delete a function", "DELETE", &format!("{FUNCTIONS}/{name}"), None).await.map(drop)
    }

    /// Waits until a function is active and its last update done.
    pub(super) async fn settled(&self, name: &str) -> Result<Value, BenchError> {
        self.settled_at(&format!("{FUNCTIONS}/{name}/configuration")).await
    }

    /// Waits for what has this configuration, a function or a version; returns it.
    pub(super) async fn settled_at(&self, path: &str) -> Result<Value, BenchError> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let configuration = self.call("get a function", "GET", path, None).await?;
            let is = |member: &str, value| configuration.get(member).is_none_or(|found| found == value);
            if is("State", "Active") && is("LastUpdateStatus", "Successful") {
                return Ok(configuration);
            }
            if Instant::now() > deadline || configuration["State"] == "Failed" {
                let body = configuration.to_string();
                return Err(BenchError::Answer { what: "wait for a function", status: 200, body });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks for something and returns the document of its success.
    pub(super) async fn call(
        &self,
        what: &'static str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, BenchError> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut connection = self.connect().await?;
        let request = request(method, path, body.as_bytes());
        let answer = connection.exchange(&request).await.map_err(io_error(what))?;
        let unexpected = || BenchError::Answer {
            what,
            status: answer.status,
            body: String::from_utf8_lossy(answer.body).into_owned(),
        };
        if !(200..300).contains(&answer.status) {
            return Err(unexpected());
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(answer.body).map_err(|_| unexpected())
    }
}
