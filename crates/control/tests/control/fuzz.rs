//! Requests at random for every operation: whatever comes, the answer is one that AWS could have given, and what was
//! answered is still so after a restart.
//!
//! `HOTHOUSE_TEST_SEED` makes a run again, `HOTHOUSE_TEST_REQUESTS` makes it longer.

mod model;
mod requests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hothouse_api::{ErrorKind, dispatch::operation};
use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{MemoryStore, SqliteStore},
};
use hothouse_execution::executor::fake::FakeExecutor;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::support::{Service, open};
use model::{Model, Operation};
use requests::{Aim, Generator};

/// An account and a region.
type Caller = (&'static str, &'static str);

/// Who requests come from; the first is the usual one.
const CALLERS: [Caller; 3] =
    [("123456789012", "us-east-1"), ("210987654321", "us-east-1"), ("123456789012", "eu-west-1")];

#[tokio::test]
async fn whatever_comes_is_answered_as_aws_could() {
    let code = CodeStore::ephemeral(&std::env::temp_dir(), 1 << 20).unwrap();
    let service = open(config(), Arc::<MemoryStore>::default(), code, FakeExecutor::echo()).await;
    let seed = number("HOTHOUSE_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let model = Model::load();
    let mut run = Run::new(&model, seed);
    run.send_all(&service, number("HOTHOUSE_TEST_REQUESTS").unwrap_or(30_000)).await;
    let idle = model.operations.iter().map(|operation| operation.name.as_str());
    let idle: Vec<&str> = idle.filter(|name| !run.succeeded.contains(*name)).collect();
    assert!(idle.len() < 18, "seed {seed}: never worked: {idle:?}");
    service.control.shut_down().await;
}

#[tokio::test]
async fn what_was_answered_is_so_after_a_restart() {
    let seed = number("HOTHOUSE_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let model = Model::load();
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        let store = Arc::new(SqliteStore::open(&directory.path().join("state.db")).unwrap());
        let code = CodeStore::open(directory.path().join("code"), 1 << 20).unwrap();
        open(config(), store, code, FakeExecutor::echo()).await
    };
    let mut run = Run::new(&model, seed);
    for _ in 0..3 {
        let service = start().await;
        run.send_all(&service, 1000).await;
        service.control.shut_down().await;
        let before = run.read_all(&service).await;
        drop(service);
        let again = start().await;
        let after = run.read_all(&again).await;
        again.control.shut_down().await;
        assert!(before.len() > 3, "seed {seed}: hardly anything was read: {:?}", before.keys());
        for (what, answer) in before {
            assert_eq!(after[&what], answer, "seed {seed}: {what} before and after the restart");
        }
    }
}

fn config() -> ControlConfig {
    let mut config = ControlConfig::default();
    // So small that the quota is met sometimes.
    config.limits.total_code_size = 100_000;
    config
}

/// A setting of these tests.
fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "tests are no part of the service")]
    std::env::var(name).ok()?.parse().ok()
}

struct Run<'a> {
    model: &'a Model,
    seed: u64,
    generator: Generator<'a>,
    /// Operations that worked at least once.
    succeeded: BTreeSet<String>,
    /// Reading requests that worked, with who sent them.
    reads: BTreeSet<(Caller, String)>,
    count: u64,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, seed: u64) -> Self {
        let generator = Generator::new(model, seed);
        Self { model, seed, generator, succeeded: BTreeSet::new(), reads: BTreeSet::new(), count: 0 }
    }

    async fn send_all(&mut self, service: &Service, count: u64) {
        for _ in 0..count {
            let random = &mut self.generator.random;
            // Most operations need a function.
            let chosen = match random.u8(..16) {
                0 => self.model.operations.iter().find(|operation| operation.name == "CreateFunction"),
                _ => random.choice(&self.model.operations),
            };
            let chosen = chosen.unwrap();
            // What was made should last a while.
            if chosen.name.starts_with("Delete") && random.u8(..4) > 0 {
                continue;
            }
            let aim = match random.u8(..10) {
                0..=5 => Aim::Valid,
                6..=8 => Aim::Beside,
                _ => Aim::Damaged,
            };
            let caller = if random.u8(..20) == 0 { CALLERS[random.usize(1..3)] } else { CALLERS[0] };
            let Some(request) = self.generator.request(chosen, aim) else { continue };
            self.send(service, caller, request).await;
        }
    }

    async fn send(&mut self, service: &Service, caller: Caller, request: Request<Bytes>) {
        self.count += 1;
        let shown: String = format!("{} {} {:?}", request.method(), request.uri(), request.body())
            .chars()
            .take(1500)
            .collect();
        let about = format!("seed {}, request {}: {shown}", self.seed, self.count);
        // Damage may have made it another operation's.
        let meant = operation(request.method(), request.uri()).map(|operation| operation.as_str());
        let meant = self.model.operations.iter().find(|operation| Some(operation.name.as_str()) == meant);
        let uri = request.uri().to_string();
        let is_get = request.method() == Method::GET;
        let response = answer(service, caller, request);
        let response = tokio::time::timeout(Duration::from_secs(60), response).await;
        let response = response.unwrap_or_else(|_| panic!("{about}: no answer"));
        let status = response.status();
        if status.is_success() {
            let meant = meant.unwrap_or_else(|| panic!("{about}: an answer from nowhere"));
            self.succeeded.insert(meant.name.clone());
            let Some(document) = self.check_success(meant, &response, &about) else { return };
            if is_get {
                self.reads.insert((caller, uri));
            }
            self.generator.learn(&document);
        } else {
            check_error(meant, &response, &about);
        }
    }

    /// The answer's document, which is what the model says.
    fn check_success(&self, operation: &Operation, response: &Response<Bytes>, about: &str) -> Option<Value> {
        let body = response.body();
        let output = operation.output.as_deref();
        let payload = output.and_then(|output| self.model.shape(output)["payload"].as_str());
        if payload.is_some() {
            return None;
        }
        if response.status() == 204 {
            assert!(body.is_empty(), "{about}: a body without content: {body:?}");
            return None;
        }
        let Some(output) = output.filter(|_| !body.is_empty()) else {
            assert!(body.is_empty(), "{about}: a body that the model does not have: {body:?}");
            return None;
        };
        let document: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{about}: {error}"));
        // AWS leaves out the ARN of a configuration that is not there, which its model requires.
        let unsigned = operation.name == "GetFunctionCodeSigningConfig";
        if let Some(misfit) = self.model.misfit(output, &document, "answer").filter(|_| !unsigned) {
            panic!("{about}: {misfit}\n{document:#}");
        }
        Some(document)
    }

    async fn read_all(&self, service: &Service) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (caller, uri) in &self.reads {
            let request = Request::builder().uri(uri.as_str()).body(Bytes::new()).unwrap();
            let response = answer(service, *caller, request).await;
            let mut body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
            if uri.contains("/provisioned-concurrency") {
                forget_environments(&mut body);
            }
            all.insert(format!("{caller:?} {uri}"), body);
        }
        all
    }
}

/// Takes out what is told of the environments themselves: they are started again.
fn forget_environments(body: &mut Value) {
    if let Value::Array(items) = &mut body["ProvisionedConcurrencyConfigs"] {
        items.iter_mut().for_each(forget_environments);
    }
    if let Value::Object(members) = body {
        let told = ["Status", "StatusReason"];
        let counted = |name: &str| name.starts_with("Available") || name.starts_with("Allocated");
        members.retain(|name, _| !told.contains(&name.as_str()) && !counted(name));
    }
}

async fn answer(service: &Service, (account, region): Caller, request: Request<Bytes>) -> Response<Bytes> {
    Service { region, ..service.asked_by(account, None) }.respond(request).await
}

/// Codes of AWS's front end, which no operation lists.
const FRONT: [&str; 4] = [
    "ValidationException",
    "SerializationException",
    "AccessDeniedException",
    "RequestEntityTooLargeException",
];

/// Parts of messages that AWS sends without `Type`.
const UNTYPED: [&str; 3] = [
    "is greater than account's unreserved concurrency",
    "decreases account's UnreservedConcurrentExecution",
    "should not be lower than function's total provisioned concurrency",
];

fn check_error(operation: Option<&Operation>, response: &Response<Bytes>, about: &str) {
    let (status, body) = (response.status().as_u16(), response.body());
    let about = format!("{about}\n  -> {status} {body:?}");
    let code = response.headers().get("x-amzn-errortype").unwrap_or_else(|| panic!("{about}: no code"));
    let code = code.to_str().unwrap();
    if code == "NotImplementedException" {
        // Some members' values are not built, but all operations are.
        let name = operation.map_or("", |operation| operation.name.as_str());
        let whole = String::from_utf8_lossy(body).contains(&format!("does not implement {name} yet"));
        assert!(!whole, "{about}");
        return;
    }
    assert_ne!(status, 500, "{about}");
    let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == code).unwrap_or_else(|| panic!("{about}"));
    assert_eq!(status, kind.status(), "{about}");
    let document: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{about}: {error}"));
    let message = document.get(kind.message_key()).unwrap_or_else(|| panic!("{about}: no message"));
    assert!(message.is_string() || message.is_null(), "{about}: {message}");
    let untyped = UNTYPED.iter().any(|part| message.as_str().is_some_and(|message| message.contains(part)));
    let fault = kind.fault().filter(|_| !untyped);
    assert_eq!(document.get("Type").and_then(Value::as_str), fault, "{about}");
    if let Some(operation) = operation {
        let listed = operation.errors.iter().any(|listed| listed == code);
        assert!(listed || FRONT.contains(&code), "{about}: {} does not list {code}", operation.name);
    }
}
