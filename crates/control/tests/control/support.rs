//! A control plane with all that it needs, asked as over the wire.

use std::{
    io::{Cursor, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::{
    RequestContext,
    context::ServiceCaller,
    dispatch::{BodyLimits, dispatch},
    name::RequestId,
};
use hothouse_control::{
    Control, ControlConfig, Ports,
    code::{CodeStore, ObjectError, ObjectId, ObjectSource},
    delivery::{Deliveries, NoDeliveries},
    event_source_mapping::{EventSourceId, EventSources, Existing, LookupError},
    metrics::{Metric, Subject},
    network::{Network, NetworkError, NetworkSource},
    state::{MemoryStore, SqliteStore, Store},
};
use hothouse_execution::{
    Engine, EngineConfig,
    executor::{Executor, fake::FakeExecutor},
    ports::{
        Clock, CredentialError, CredentialSource, Credentials, LogAppender, LogEvent, LogSink, LogStream,
        SystemClock,
    },
    spec::FunctionSpec,
    timeline::Timeline,
};
use http::{HeaderMap, Method, Request, Response};
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/r";
pub(crate) const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
pub(crate) const FUNCTIONS: &str = "/2015-03-31/functions";

/// A control plane, and whose requests it gets.
pub(crate) struct Service {
    pub(crate) control: Control,
    pub(crate) account: &'static str,
    pub(crate) region: &'static str,
    /// The caller, if it is not the account's root user.
    pub(crate) caller_arn: Option<&'static str>,
    /// The service that calls, if one does.
    pub(crate) caller_service: Option<ServiceCaller>,
    pub(crate) engine: Engine,
}

/// A response of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// `CODE: message`, for errors.
    pub(crate) fn error(&self) -> String {
        let code = self.headers.get("x-amzn-errortype").expect("an error").to_str().unwrap();
        let message = self.body.get("message").or(self.body.get("Message")).unwrap();
        format!("{} {code}: {}", self.status, message.as_str().unwrap_or("null"))
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {:#}", self.body))
    }
}

pub(crate) async fn service() -> Service {
    configured(ControlConfig::default()).await
}

pub(crate) async fn configured(config: ControlConfig) -> Service {
    let code = CodeStore::ephemeral(&std::env::temp_dir(), config.limits.code_size_unzipped).unwrap();
    open(config, Arc::<MemoryStore>::default(), code, FakeExecutor::echo()).await
}

/// Over the data in a directory.
pub(crate) async fn durable(config: ControlConfig, directory: &Path) -> Service {
    let store = Arc::new(SqliteStore::open(&directory.join("state.db")).unwrap());
    let code = CodeStore::open(directory.join("code"), config.limits.code_size_unzipped).unwrap();
    open(config, store, code, FakeExecutor::echo()).await
}

pub(crate) async fn open(
    config: ControlConfig,
    store: Arc<dyn Store>,
    code: Arc<CodeStore>,
    executor: impl Executor + 'static,
) -> Service {
    open_at(config, store, code, executor, Arc::new(SystemClock)).await
}

/// With a clock of one's own.
pub(crate) async fn open_at(
    config: ControlConfig,
    store: Arc<dyn Store>,
    code: Arc<CodeStore>,
    executor: impl Executor + 'static,
    clock: Arc<dyn Clock>,
) -> Service {
    open_with(config, store, code, executor, clock, Arc::new(NoDeliveries)).await
}

/// With a clock and services of one's own.
pub(crate) async fn open_with(
    config: ControlConfig,
    store: Arc<dyn Store>,
    code: Arc<CodeStore>,
    executor: impl Executor + 'static,
    clock: Arc<dyn Clock>,
    deliveries: Arc<dyn Deliveries>,
) -> Service {
    let timeline = Timeline::default();
    let engine = Engine::new(
        EngineConfig::default(),
        hothouse_execution::Ports {
            executor: Arc::new(executor),
            sink: Arc::new(NoLogs),
            credentials: Arc::new(FixedCredentials),
            clock: Arc::clone(&clock),
            timeline: timeline.clone(),
            observer: None,
        },
    );
    let objects = Arc::new(Objects::default());
    let ports = Ports {
        engine: engine.clone(),
        store,
        code,
        objects,
        sources: Arc::new(Sources),
        deliveries,
        networks: Arc::new(Networks),
        clock,
        timeline,
    };
    let control = Control::open(config, ports).await.unwrap();
    Service {
        control,
        account: "123456789012",
        region: "us-east-1",
        caller_arn: None,
        caller_service: None,
        engine,
    }
}

impl Service {
    /// The same control plane, asked by somebody else.
    pub(crate) fn asked_by(&self, account: &'static str, caller_arn: Option<&'static str>) -> Self {
        Self {
            control: self.control.clone(),
            account,
            region: self.region,
            caller_arn,
            caller_service: None,
            engine: self.engine.clone(),
        }
    }

    /// The sum of all values of a metric, over all functions.
    pub(crate) fn counted(&self, metric: Metric) -> f64 {
        let totals = self.control.metrics().totals();
        let values = totals.iter().filter(|total| total.subject != Subject::Account);
        let values = values.flat_map(|total| &total.values).filter(|(known, _)| *known == metric);
        values.map(|(_, values)| values.sum()).sum()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(Request::builder().method(method).uri(path).body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        let (parts, body) = self.respond(request).await.into_parts();
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).unwrap(),
        };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The response as it goes out.
    pub(crate) async fn respond(&self, request: Request<impl Into<Bytes>>) -> Response<Bytes> {
        let trace =
            request.headers().get("x-amzn-trace-id").map(|header| header.to_str().unwrap().to_owned());
        let context = RequestContext {
            account: self.account.parse().unwrap(),
            region: self.region.parse().unwrap(),
            operation: None,
            request_id: RequestId::random(),
            caller_arn: self.caller_arn.map(str::to_owned),
            service: self.caller_service.clone().map(Box::new),
            trace_id: trace,
            trace: Default::default(),
            failed: Default::default(),
        };
        let (parts, body) = request.into_parts();
        let answer = dispatch(&self.control, context, &BodyLimits::default(), &parts, body.into()).await;
        let (parts, body) = answer.into_parts();
        Response::from_parts(parts, body.collect().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, &format!("{FUNCTIONS}{path}"), Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, &format!("{FUNCTIONS}{path}"), body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, &format!("{FUNCTIONS}{path}"), body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, &format!("{FUNCTIONS}{path}"), Value::Null).await
    }

    /// All items of a list, fetched one by one.
    pub(crate) async fn pages(&self, path: &str, member: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut query = "MaxItems=1".to_owned();
        loop {
            let page = self.call(Method::GET, &format!("{path}?{query}"), Value::Null).await.body;
            let found = page[member].as_array().unwrap_or_else(|| panic!("no {member} in {page:#}"));
            assert!(found.len() <= 1, "{page:#}");
            items.extend(found.iter().cloned());
            let Some(marker) = page["NextMarker"].as_str() else { break items };
            query = format!("MaxItems=1&Marker={marker}");
        }
    }

    /// Creates the function `f`, with members of one's own.
    pub(crate) async fn create(&self, members: Value) -> Answer {
        self.post("", request(members)).await
    }

    /// Creates the function `f` and asserts that it worked.
    pub(crate) async fn created(&self, members: Value) -> Answer {
        let answer = self.create(members).await;
        assert_eq!(answer.status, 201, "{:#}", answer.body);
        answer
    }

    pub(crate) async fn update_code(&self, members: Value) -> Answer {
        self.put("/f/code", members).await
    }

    pub(crate) async fn update_configuration(&self, members: Value) -> Answer {
        self.put("/f/configuration", members).await
    }

    pub(crate) async fn publish(&self, members: Value) -> Answer {
        self.post("/f/versions", members).await
    }
}

/// What CreateFunction needs, with members of one's own; `null` takes one away.
pub(crate) fn request(members: Value) -> Value {
    let mut request = json!({
        "FunctionName": "f",
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "index.handler",
        "Code": { "ZipFile": package("1") },
    });
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    request
}

/// A package with one file, as requests carry it.
pub(crate) fn package(content: &str) -> String {
    BASE64_STANDARD.encode(zip(content))
}

pub(crate) fn zip(content: &str) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("index.py", SimpleFileOptions::default()).unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

#[derive(Debug)]
struct NoLogs;

impl LogSink for NoLogs {
    fn open(&self, _: LogStream) -> Box<dyn LogAppender> {
        Box::new(NoLogs)
    }
}

impl LogAppender for NoLogs {
    fn append(&mut self, _: Vec<LogEvent>) -> Result<(), Vec<LogEvent>> {
        Ok(())
    }

    fn dropped(&mut self, _: u64, _: u64) {}
}

#[derive(Debug)]
struct FixedCredentials;

impl CredentialSource for FixedCredentials {
    fn assume_role<'a>(&'a self, _: &'a FunctionSpec) -> BoxFuture<'a, Result<Credentials, CredentialError>> {
        let text = || "none".to_owned();
        let credentials =
            Credentials { access_key_id: text(), secret_access_key: text(), session_token: text() };
        Box::pin(std::future::ready(Ok(credentials)))
    }
}

/// One VPC, with subnets and security groups that end in a digit.
#[derive(Debug)]
struct Networks;

impl NetworkSource for Networks {
    fn vpc<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, Result<Option<String>, NetworkError>> {
        let unknown = |id: &&String| !id.ends_with(|character: char| character.is_ascii_digit());
        let subnet = network.subnets.iter().find(unknown).map(|id| NetworkError {
            operation: "DescribeSubnets",
            code: "InvalidSubnetID.NotFound".into(),
            message: format!("The subnet ID '{id}' does not exist"),
        });
        let group = network.security_groups.iter().find(unknown).map(|id| NetworkError {
            operation: "DescribeSecurityGroups",
            code: "InvalidGroup.NotFound".into(),
            message: format!("The security group '{id}' does not exist"),
        });
        let vpc = (network.region.as_str() == "us-east-1").then(|| "vpc-1".to_owned());
        Box::pin(std::future::ready(subnet.or(group).map_or(Ok(vpc), Err)))
    }
}

/// One bucket with one package; it remembers what was asked for.
#[derive(Default)]
struct Objects {
    asked: Mutex<Vec<ObjectId>>,
}

impl ObjectSource for Objects {
    fn fetch<'a>(&'a self, object: &'a ObjectId, _: u64) -> BoxFuture<'a, Result<Bytes, ObjectError>> {
        self.asked.lock().unwrap().push(object.clone());
        let content = match (object.bucket.as_str(), object.key.as_str()) {
            ("bucket", "key") => Ok(zip(object.version.as_deref().unwrap_or("newest")).into()),
            ("bucket", _) => Err(ObjectError::no_such_key()),
            ("nowhere", _) => Err(ObjectError::NoEndpoint),
            _ => Err(ObjectError::no_such_bucket()),
        };
        Box::pin(std::future::ready(content))
    }
}

/// Every queue and stream there is, but for those called `missing`; `unreachable` ones nobody can tell about.
struct Sources;

impl EventSources for Sources {
    fn look_up<'a>(&'a self, source: &'a EventSourceId) -> BoxFuture<'a, Result<Existing, LookupError>> {
        let found = match source.name.rsplit('/').next() {
            Some("missing") => Err(LookupError::Missing),
            Some("unreachable") => Err(LookupError::Transport("connection refused".into())),
            Some("nowhere") => Err(LookupError::NoEndpoint),
            _ => Ok(Existing { visibility_timeout: Some(30) }),
        };
        Box::pin(std::future::ready(found))
    }
}
