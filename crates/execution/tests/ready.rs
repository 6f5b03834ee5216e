//! Sandboxes that are kept ready: each is used once, by a function whose own it then is, and replaced.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use hothouse_api::generated::Runtime;
use hothouse_execution::{
    Engine, EngineConfig,
    executor::{ProcessExecutor, ProcessExecutorConfig},
    invocation::Outcome,
    runtimes::{Catalog, Policy, SearchPaths},
    spec::FunctionSpec,
};
use hothouse_sandbox::{Isolation, Level, Network};
use support::{engine, invocation, spec};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers with what its code's directory says, and with the size of `/tmp` in KiB.
const BOOTSTRAP: &str = r#"#!/bin/bash
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
  id=$(curl -sS -D - -o /dev/null "$api/next" | grep -i request-id | tr -d '\r' | cut -d' ' -f2)
  curl -sS -o /dev/null "$api/$id/response" -d "\"$(cat /var/task/name) $(df -k --output=size /tmp | tail -n 1 | tr -d ' ')\""
done
"#;

#[tokio::test]
async fn each_is_used_once_by_a_function_whose_own_it_then_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let search = SearchPaths {
        path: vec!["/usr/bin".into()],
        data_dir: directory.path().to_owned(),
        ..SearchPaths::default()
    };
    let executor = ProcessExecutor::new(ProcessExecutorConfig {
        isolation: Level::Best,
        network: Network::Own,
        ..ProcessExecutorConfig::new(Catalog::discover(&search, Policy::default()))
    });
    if executor.isolation().unwrap() == Isolation::None || !rustix::process::geteuid().is_root() {
        println!("skipped: only root keeps sandboxes ready");
        return;
    }
    let (engine, sink) = engine(executor, EngineConfig::default());
    assert!(inits().is_empty(), "nobody has asked for one");

    let first = function(directory.path(), "first", 512);
    assert_eq!(invoke(&engine, &first).await, "\"first 524288\"", "{:?}", sink.lines());
    // One that waits may not be on the shelf yet, so not every attempt finds it there.
    let deadline = Instant::now() + PATIENCE;
    let (mut found, mut number) = (0, 0);
    while found < 2 {
        assert!(Instant::now() < deadline, "none of {number} functions ran where a sandbox was ready");
        let used = with_programs();
        let ready = one_that_waits().await;
        number += 1;
        let (name, size) = (format!("number {number}"), 512 + number);
        let function = function(directory.path(), &name, size);
        assert_eq!(invoke(&engine, &function).await, format!("\"{name} {}\"", size * 1024));
        let new = with_programs().difference(&used).copied().collect::<Vec<_>>();
        assert_eq!(new.len(), 1, "one function, one init: {new:?}");
        found += usize::from(new == [ready]);
    }
    // One that died meanwhile is not used, and nobody notices.
    let ready = one_that_waits().await;
    let process = rustix::process::Pid::from_raw(i32::try_from(ready).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    assert_eq!(invoke(&engine, &function(directory.path(), "fourth", 512)).await, "\"fourth 524288\"");
    assert!(!has_program(ready));
    engine.shut_down().await;
    assert!(inits().is_empty(), "those that wait end with the engine");
}

/// A version that says its name.
fn function(directory: &Path, name: &str, storage: u32) -> FunctionSpec {
    let code = directory.join(name);
    fs::create_dir(&code).unwrap();
    fs::write(code.join("name"), name).unwrap();
    fs::write(code.join("bootstrap"), BOOTSTRAP).unwrap();
    fs::set_permissions(code.join("bootstrap"), fs::Permissions::from_mode(0o755)).unwrap();
    FunctionSpec { runtime: Runtime::ProvidedAl2023, code, ephemeral_storage_mb: storage, ..spec() }
}

/// In an environment of its own, which stays.
async fn invoke(engine: &Engine, function: &FunctionSpec) -> String {
    match engine.version(function.clone()).invoke(invocation("1")).await.unwrap().outcome {
        Outcome::Success(body) | Outcome::Error(body) => String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Children that any of our threads has started.
fn inits() -> BTreeSet<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

fn has_program(init: u32) -> bool {
    fs::read_to_string(format!("/proc/{init}/task/{init}/children")).is_ok_and(|text| !text.trim().is_empty())
}

/// Other children of ours have our name.
fn is_init(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "init\n")
}

fn with_programs() -> BTreeSet<u32> {
    inits().into_iter().filter(|init| has_program(*init)).collect()
}

/// Waits until an init waits for its purpose.
async fn one_that_waits() -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(ready) = inits().into_iter().find(|child| is_init(*child) && !has_program(*child)) {
            return ready;
        }
        assert!(Instant::now() < deadline, "none is made ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
