//! 10,000 functions with 100,000 versions: what they take of memory, and that every page of them can be read.
//!
//! In a process of its own, whose memory is nobody else's. Must not judge times: `cargo xtask bench` does.

#![expect(clippy::unwrap_used, reason = "what is not as expected ends the test")]

#[path = "control/support.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod support;

use std::{collections::BTreeMap, fs, sync::Arc};

use futures_util::future::BoxFuture;
use hothouse_api::name::{self, RequestId};
use hothouse_control::{
    ControlConfig,
    code::CodeStore,
    state::{
        Change, Event, EventContent, MemoryStore, SqliteStore, State, Store, StoreError, model::FunctionKey,
    },
};
use hothouse_execution::executor::fake::FakeExecutor;
use serde_json::json;

const FUNCTIONS: usize = 10_000;
const VERSIONS: usize = 10;

/// Has a state that was made elsewhere.
#[derive(Debug)]
struct Given(std::sync::Mutex<Option<State>>);

impl Store for Given {
    fn load(&self) -> Result<State, StoreError> {
        Ok(self.0.lock().unwrap().take().unwrap())
    }

    fn commit(&self, changes: Arc<[Change]>) -> BoxFuture<'static, Result<(), StoreError>> {
        MemoryStore::default().commit(changes)
    }

    fn event_content(
        &self,
        key: FunctionKey,
        id: RequestId,
    ) -> BoxFuture<'static, Result<Option<EventContent>, StoreError>> {
        MemoryStore::default().event_content(key, id)
    }
}

#[tokio::test]
async fn many_functions_and_versions_are_small_and_can_be_paged_through() {
    let directory = tempfile::tempdir().unwrap();
    // One function and its versions as the service makes them; the others are like it.
    {
        let service = support::durable(ControlConfig::default(), directory.path()).await;
        service.created(json!({ "Environment": { "Variables": { "KEY": "value" } } })).await;
        for number in 0..VERSIONS {
            service.update_configuration(json!({ "Description": format!("number {number}") })).await;
            assert_eq!(service.publish(json!({})).await.status, 201);
        }
        service.control.shut_down().await;
    }
    let model = SqliteStore::open(&directory.path().join("state.db")).unwrap().load().unwrap();
    let (key, function) = model.all_functions().next().unwrap();
    let before = resident();
    let mut state = State::default();
    for number in 0..FUNCTIONS {
        let mut key = key.clone();
        key.name = format!("function-{number:05}").parse().unwrap();
        // As a store gives them: nothing is shared among versions.
        let own = |version: &hothouse_control::state::model::Version| {
            let mut version = version.clone();
            version.configuration = Arc::new((*version.configuration).clone());
            Arc::new(version)
        };
        let mut change = |event| state.apply(&Change::Function { key: key.clone(), event });
        change(Event::Created { latest: own(&function.latest), tags: BTreeMap::new() });
        for version in function.versions.values() {
            change(Event::Published { version: own(version) });
        }
    }
    let each = (resident() - before) / (FUNCTIONS * (VERSIONS + 1));
    assert!(each < 1024, "{each} bytes for a version");

    let store = Arc::new(Given(std::sync::Mutex::new(Some(state))));
    let code = CodeStore::open(directory.path().join("code"), 1 << 20).unwrap();
    let service = support::open(ControlConfig::default(), store, code, FakeExecutor::echo()).await;
    for (query, expected) in [("", FUNCTIONS), ("FunctionVersion=ALL&", FUNCTIONS * (VERSIONS + 1))] {
        let (mut seen, mut last, mut marker) = (0, String::new(), String::new());
        loop {
            let page = service.get(&format!("?{query}{marker}")).await;
            for function in page.body["Functions"].as_array().unwrap() {
                let arn = function["FunctionName"].as_str().unwrap();
                assert!(arn >= last.as_str());
                arn.clone_into(&mut last);
                seen += 1;
            }
            let Some(next) = page.body.get("NextMarker") else { break };
            marker = format!("Marker={}", next.as_str().unwrap());
        }
        assert_eq!(seen, expected);
    }
    let latest = name::Version::Latest.to_string();
    assert_eq!(service.get("/function-09999").await.body["Configuration"]["Version"], latest);
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
