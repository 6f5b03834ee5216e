//! An executor without processes, for tests: each "process" is a script that speaks to the Runtime API.
//!
//! Must not be part of the shipped binary (feature `fake`).

use std::{fmt, io, os::fd::OwnedFd, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Connection, Created, Executor, ExtensionProcess, Instance, Launch, Runtime, SnapshotTemplate, StartError,
};
use crate::fault::{Exit, ExitStatus, Fault};

mod extension;

pub use extension::FakeExtension;

type Script = dyn Fn(FakeRuntime) -> BoxFuture<'static, Exit> + Send + Sync;

type ExtensionScript = dyn Fn(FakeExtension) -> BoxFuture<'static, Exit> + Send + Sync;

/// Runs a script in place of each runtime process.
#[derive(Clone)]
pub struct FakeExecutor {
    script: Arc<Script>,
    extensions: Extensions,
    /// Whether runtimes end when they are asked to.
    obedient: bool,
    /// Whether runtimes can be forked.
    forks: bool,
    orders: Orders,
}

/// The names of external extensions, and what each does.
type Extensions = Arc<Vec<(String, Box<ExtensionScript>)>>;

/// What environments were told, in order.
type Orders = Arc<std::sync::Mutex<Vec<Order>>>;

/// What an environment was told to do with its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// [`Instance::freeze`].
    Freeze,
    /// [`Instance::thaw`].
    Thaw,
    /// [`Instance::limit_cpu`].
    LimitCpu,
    /// [`Instance::terminate`].
    Terminate,
    /// [`Instance::kill_runtime`].
    KillRuntime,
    /// [`Instance::kill_extension`].
    KillExtension(usize),
    /// [`Instance::kill`].
    Kill,
}

impl fmt::Debug for FakeExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeExecutor").finish_non_exhaustive()
    }
}

impl FakeExecutor {
    /// An executor whose processes run `script`; what it returns is how the process exits.
    pub fn new<F>(script: impl Fn(FakeRuntime) -> F + Send + Sync + 'static) -> FakeExecutor
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        FakeExecutor {
            script: Arc::new(move |runtime| Box::pin(script(runtime))),
            extensions: Extensions::default(),
            obedient: true,
            forks: false,
            orders: Orders::default(),
        }
    }

    /// With one more external extension, which runs this script.
    #[must_use]
    pub fn with_extension<F>(
        mut self,
        name: &str,
        script: impl Fn(FakeExtension) -> F + Send + Sync + 'static,
    ) -> FakeExecutor
    where
        F: Future<Output = Exit> + Send + 'static,
    {
        let all = Arc::get_mut(&mut self.extensions).expect("no environment has been made");
        all.push((name.to_owned(), Box::new(move |extension| Box::pin(script(extension)))));
        self
    }

    /// With runtimes that do not end when they are asked to.
    #[must_use]
    pub fn disobedient(mut self) -> FakeExecutor {
        self.obedient = false;
        self
    }

    /// With runtimes that others can be forked from: their scripts are told by [`FakeRuntime::is_forked`].
    #[must_use]
    pub fn forking(mut self) -> FakeExecutor {
        self.forks = true;
        self
    }

    /// What all environments were told so far, and will be.
    pub fn orders(&self) -> Arc<std::sync::Mutex<Vec<Order>>> {
        self.orders.clone()
    }

    /// Processes that answer every event with itself, for ever.
    pub fn echo() -> FakeExecutor {
        FakeExecutor::new(|mut runtime| async move {
            loop {
                let event = runtime.next().await;
                runtime.respond(&event.request_id, event.payload).await;
            }
        })
    }
}

impl Executor for FakeExecutor {
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        Box::pin(async move { Ok(self.instance(launch, false)) })
    }
}

impl FakeExecutor {
    fn instance(&self, launch: Launch, forked: bool) -> Created {
        let instance = FakeInstance {
            executor: self.clone(),
            launch,
            forked,
            starts: 0,
            process: None,
            extension_processes: Vec::new(),
        };
        Created { instance: Box::new(instance), runtime_api: None }
    }
}

/// Makes environments whose scripts are told that they are forks.
#[derive(Debug)]
struct FakeTemplate(FakeExecutor);

impl SnapshotTemplate for FakeTemplate {
    fn create(&self, launch: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        Box::pin(async move { Ok(self.0.instance(launch, true)) })
    }
}

/// Says how the process ended, once.
type ExitPromise = Arc<std::sync::Mutex<Option<oneshot::Sender<Exit>>>>;

/// A task that stands for a process.
struct FakeProcess {
    task: JoinHandle<()>,
    exit: ExitPromise,
}

/// What a process and its environment have in common: the two ends of a connection and of a pipe.
struct Tied {
    client: SendRequest<FakeBody>,
    connection: Connection,
    written: OwnedFd,
    output: OwnedFd,
}

#[expect(clippy::disallowed_methods, reason = "ends with the connection, which its process holds")]
async fn tie() -> Result<Tied, StartError> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (output, written) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK)
        .map_err(|error| StartError::Machine { step: "make a pipe", source: error.into() })?;
    let (client, connection) = handshake(TokioIo::new(theirs))
        .await
        .map_err(|error| StartError::Machine { step: "connect", source: std::io::Error::other(error) })?;
    tokio::spawn(connection);
    Ok(Tied { client, connection: Box::new(ours), written, output })
}

impl FakeProcess {
    #[expect(clippy::disallowed_methods, reason = "the task stands for a process, which can be ended")]
    fn run(script: BoxFuture<'static, Exit>) -> (FakeProcess, oneshot::Receiver<Exit>) {
        let (exit, exited) = oneshot::channel();
        let exit = Arc::new(std::sync::Mutex::new(Some(exit)));
        let sender = exit.clone();
        let task = tokio::spawn(async move {
            let how = script.await;
            if let Some(sender) = sender.lock().expect("no panics").take() {
                let _ = sender.send(how);
            }
        });
        (FakeProcess { task, exit }, exited)
    }

    fn end(&self, signal: i32) {
        self.task.abort();
        if let Some(sender) = self.exit.lock().expect("no panics").take() {
            let _ = sender.send(Exit { status: ExitStatus::Signal(signal), out_of_memory: false });
        }
    }
}

struct FakeInstance {
    executor: FakeExecutor,
    launch: Launch,
    forked: bool,
    starts: usize,
    process: Option<FakeProcess>,
    extension_processes: Vec<FakeProcess>,
}

impl fmt::Debug for FakeInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeInstance").field("starts", &self.starts).finish_non_exhaustive()
    }
}

impl Instance for FakeInstance {
    fn start(&mut self) -> BoxFuture<'_, Result<Runtime, StartError>> {
        Box::pin(async move {
            self.starts += 1;
            let Tied { client, connection, written, output } = tie().await?;
            let runtime = FakeRuntime {
                client,
                output: written,
                launch: self.launch.clone(),
                starts: self.starts,
                forked: self.forked,
            };
            let (process, exited) = FakeProcess::run((self.executor.script)(runtime));
            self.process = Some(process);
            Ok(Runtime { connection: Some(connection), output, exited })
        })
    }

    fn template(&mut self) -> BoxFuture<'_, Option<Arc<dyn SnapshotTemplate>>> {
        let template = FakeTemplate(self.executor.clone());
        let template = self.executor.forks.then(|| Arc::new(template) as Arc<dyn SnapshotTemplate>);
        Box::pin(std::future::ready(template))
    }

    fn is_forked(&self) -> bool {
        self.forked
    }

    fn freeze(&mut self) {
        self.told(Order::Freeze);
    }

    fn thaw(&mut self) {
        self.told(Order::Thaw);
    }

    fn limit_cpu(&mut self) {
        self.told(Order::LimitCpu);
    }

    fn extensions(&self) -> Vec<String> {
        self.executor.extensions.iter().map(|(name, _)| name.clone()).collect()
    }

    fn start_extension(&mut self, index: usize) -> BoxFuture<'_, Result<ExtensionProcess, StartError>> {
        Box::pin(async move {
            if index == 0 {
                self.extension_processes.clear();
            }
            let (name, script) = &self.executor.extensions[index];
            let Tied { client, connection, written, output } = tie().await?;
            let starts = self.starts + 1;
            let extension = FakeExtension::new(client, written, name.clone(), starts);
            let (process, exited) = FakeProcess::run(script(extension));
            self.extension_processes.push(process);
            Ok(ExtensionProcess { connection: Some(connection), output, exited })
        })
    }

    fn terminate(&mut self) {
        self.told(Order::Terminate);
        if self.executor.obedient
            && let Some(process) = &self.process
        {
            process.end(15);
        }
    }

    fn kill_runtime(&mut self) {
        self.told(Order::KillRuntime);
        if let Some(process) = &self.process {
            process.end(9);
        }
    }

    fn kill_extension(&mut self, index: usize) {
        self.told(Order::KillExtension(index));
        self.extension_processes[index].end(9);
    }

    fn kill(&mut self) {
        self.told(Order::Kill);
        for process in self.process.take().into_iter().chain(self.extension_processes.drain(..)) {
            process.end(9);
        }
    }

    fn peak_memory(&mut self) -> u64 {
        36 * 1024 * 1024
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        if self.process.is_some() || !self.extension_processes.is_empty() {
            self.kill();
        }
        Box::pin(std::future::ready(()))
    }
}

impl FakeInstance {
    fn told(&self, order: Order) {
        self.executor.orders.lock().expect("no panics").push(order);
    }
}

type FakeBody = UnsyncBoxBody<Bytes, io::Error>;

/// What a script does as a runtime.
pub struct FakeRuntime {
    client: SendRequest<FakeBody>,
    output: OwnedFd,
    launch: Launch,
    starts: usize,
    forked: bool,
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeRuntime").field("starts", &self.starts).finish_non_exhaustive()
    }
}

/// An event, as `next` gave it.
#[derive(Debug)]
pub struct FakeEvent {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub request_id: String,
    /// The payload.
    pub payload: Bytes,
    /// All headers.
    pub headers: HeaderMap,
}

impl FakeRuntime {
    /// How this environment was launched.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// 1 for the environment's first process, 2 for the next.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Whether it goes on behind `restore/next`, as a fork of a template.
    pub fn is_forked(&self) -> bool {
        self.forked
    }

    /// Asks for credentials with this token.
    pub async fn credentials(&mut self, token: &str) -> Response<Bytes> {
        let headers = [("Authorization", token)];
        call(&mut self.client, "GET", "/2021-04-23/credentials", &headers, Bytes::new()).await
    }

    /// Waits to be restored; returns the status. Never returns if the environment has gone.
    pub async fn restore_next(&mut self) -> StatusCode {
        self.call("GET", "restore/next", &[], Bytes::new()).await.status()
    }

    /// Waits for an event. Never returns if the environment has gone.
    pub async fn next(&mut self) -> FakeEvent {
        let response = self.call("GET", "invocation/next", &[], Bytes::new()).await;
        let (parts, payload) = response.into_parts();
        let id = parts.headers.get("lambda-runtime-aws-request-id").and_then(|id| id.to_str().ok());
        FakeEvent { request_id: id.unwrap_or_default().to_owned(), payload, headers: parts.headers }
    }

    /// Posts a response; returns the status.
    pub async fn respond(&mut self, id: &str, body: impl Into<Bytes>) -> StatusCode {
        self.call("POST", &format!("invocation/{id}/response"), &[], body.into()).await.status()
    }

    /// Begins a response that is streamed.
    pub async fn stream(&mut self, id: &str, content_type: &str) -> FakeStream {
        let (frames, body) = mpsc::channel(1);
        let body = futures_util::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let request = Request::builder()
            .method("POST")
            .uri(format!("/2018-06-01/runtime/invocation/{id}/response"))
            .header("host", "runtime")
            .header("content-type", content_type)
            .header("lambda-runtime-function-response-mode", "streaming")
            .header("trailer", format!("{ERROR_TYPE}, {ERROR_BODY}"))
            .body(StreamBody::new(body).boxed_unsync())
            .expect("scripts make valid requests");
        if self.client.ready().await.is_err() {
            std::future::pending::<()>().await;
        }
        FakeStream { frames, answer: Box::pin(self.client.send_request(request)) }
    }

    /// Posts an error; returns the status.
    pub async fn fail(&mut self, id: &str, error_type: &str, body: impl Into<Bytes>) -> StatusCode {
        let headers = [("Lambda-Runtime-Function-Error-Type", error_type)];
        self.call("POST", &format!("invocation/{id}/error"), &headers, body.into()).await.status()
    }

    /// Posts an init error; returns the status.
    pub async fn init_error(&mut self, error_type: &str, body: impl Into<Bytes>) -> StatusCode {
        let headers = [("Lambda-Runtime-Function-Error-Type", error_type)];
        self.call("POST", "init/error", &headers, body.into()).await.status()
    }

    /// Writes to the log pipe.
    pub fn print(&self, text: &str) {
        let _ = rustix::io::write(&self.output, text.as_bytes());
    }

    /// Any call of the Runtime API.
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Bytes> {
        call(&mut self.client, method, &format!("/2018-06-01/runtime/{path}"), headers, body).await
    }
}

/// Makes a request. Never returns if the environment has gone.
async fn call(
    client: &mut SendRequest<FakeBody>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path).header("host", "runtime");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let request = request.body(body).expect("scripts make valid requests");
    let sent = async {
        client.ready().await.ok()?;
        let (parts, body) = client.send_request(request).await.ok()?.into_parts();
        Some(Response::from_parts(parts, body.collect().await.ok()?.to_bytes()))
    };
    match sent.await {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

/// A response that a script streams. Dropping it breaks the response off.
pub struct FakeStream {
    frames: mpsc::Sender<Result<Frame<Bytes>, io::Error>>,
    answer: BoxFuture<'static, hyper::Result<Response<Incoming>>>,
}

impl fmt::Debug for FakeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStream").finish_non_exhaustive()
    }
}

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

impl FakeStream {
    /// Sends a chunk, when there is room for it.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) {
        let _ = self.frames.send(Ok(Frame::data(chunk.into()))).await;
    }

    /// Ends the response; returns the status.
    pub async fn end(self) -> StatusCode {
        drop(self.frames);
        match self.answer.await {
            Ok(response) => response.status(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends the response with trailers that tell an error; returns the status.
    pub async fn fail(self, error_type: &'static str, document: &str) -> StatusCode {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, document);
        let trailers = HeaderMap::from_iter([
            (HeaderName::from_static(ERROR_TYPE), HeaderValue::from_static(error_type)),
            (HeaderName::from_static(ERROR_BODY), HeaderValue::try_from(encoded).expect("base64 is ASCII")),
        ]);
        let _ = self.frames.send(Ok(Frame::trailers(trailers))).await;
        self.end().await
    }

    /// Breaks the connection, on which the response is.
    pub async fn break_off(self) {
        let _ = self.frames.send(Err(io::ErrorKind::BrokenPipe.into())).await;
    }
}

/// `exit 0`.
pub const EXIT_0: Exit = Exit { status: ExitStatus::Code(0), out_of_memory: false };

/// An executor whose environments cannot start, by the function's own fault.
#[derive(Debug)]
pub struct NoEntrypoint;

impl Executor for NoEntrypoint {
    fn create(&self, _launch: Launch) -> BoxFuture<'_, Result<Created, StartError>> {
        Box::pin(async { Ok(Created { instance: Box::new(NoEntrypoint), runtime_api: None }) })
    }
}

impl Instance for NoEntrypoint {
    fn start(&mut self) -> BoxFuture<'_, Result<Runtime, StartError>> {
        Box::pin(async {
            Err(StartError::Function(Fault::invalid_entrypoint("/var/task/bootstrap /opt/bootstrap")))
        })
    }

    fn kill(&mut self) {}

    fn peak_memory(&mut self) -> u64 {
        0
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}
