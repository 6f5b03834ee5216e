//! Environments of real processes: our Python client, and a bootstrap of three lines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use hothouse_api::generated::Runtime;
use hothouse_execution::{
    EngineConfig,
    executor::{ProcessExecutor, ProcessExecutorConfig},
    invocation::Outcome,
    runtimes::{Catalog, Policy, SearchPaths},
};
use hothouse_sandbox::{Isolation, Level, Network};
use support::{engine, invocation, spec};

fn executor(data: &Path, isolation: Level, network: Network) -> ProcessExecutor {
    let search =
        SearchPaths { path: vec!["/usr/bin".into()], data_dir: data.to_owned(), ..SearchPaths::default() };
    let catalog = Catalog::discover(&search, Policy::default());
    ProcessExecutor::new(ProcessExecutorConfig { isolation, network, ..ProcessExecutorConfig::new(catalog) })
}

fn write(directory: &Path, name: &str, mode: u32, text: &str) {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn answer(outcome: Outcome) -> String {
    match outcome {
        Outcome::Success(body) => format!("ok {}", String::from_utf8_lossy(&body)),
        Outcome::Error(body) => format!("error {}", String::from_utf8_lossy(&body)),
    }
}

const BOOTSTRAP: &str = r#"
set -o pipefail
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$headers" | tr -d '\r' | cut -d' ' -f2)
  echo "in $(pwd)"
  curl -sS -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\"got\":$event}"
done
"#;

#[tokio::test]
async fn a_bootstrap_answers_at_every_level() {
    for (level, network) in
        [(Level::Best, Network::Host), (Level::Best, Network::Own), (Level::None, Network::Host)]
    {
        let directory = tempfile::tempdir().unwrap();
        let code = directory.path().join("code");
        std::fs::create_dir(&code).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let executor = executor(directory.path(), level, network);
        // With a root of its own, `/bin/sh` is bash, as on Amazon Linux.
        let plain = matches!(executor.isolation().unwrap(), Isolation::None);
        let shell = if plain { "#!/bin/bash" } else { "#!/bin/sh" };
        write(&code, "bootstrap", 0o755, &format!("{shell}{BOOTSTRAP}"));
        let (engine, sink) = engine(executor, EngineConfig::default());
        let mut spec = spec();
        spec.runtime = Runtime::ProvidedAl2023;
        spec.code = code;
        let version = engine.version(spec);
        let outcome = version.invoke(invocation("{\"n\":1}")).await.unwrap().outcome;
        assert_eq!(answer(outcome), "ok {\"got\":{\"n\":1}}", "{level:?} {network:?} {:?}", sink.lines());
        engine.shut_down().await;
        assert!(sink.lines().iter().any(|line| line.starts_with("in /")), "{:?}", sink.lines());
    }
}

#[tokio::test]
async fn python_functions_run_in_our_client() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let code = directory.path().join("code");
    std::fs::create_dir(&code).unwrap();
    let source = "import os, sys\n\ndef handler(event, context):\n    print('hello')\n    if event.get('exit'): os._exit(event['exit'])\n    return [event, context.function_name, os.getcwd(), os.getuid()]\n";
    write(&code, "handler.py", 0o644, source);
    let (engine, sink) =
        engine(executor(directory.path(), Level::Best, Network::Host), EngineConfig::default());
    let mut spec = spec();
    spec.runtime = Runtime::Python311;
    spec.code = code;
    spec.timeout = Duration::from_secs(10);
    let version = engine.version(spec);
    for _ in 0..2 {
        let outcome = version.invoke(invocation("{\"n\": 1}")).await.unwrap().outcome;
        let answer = answer(outcome);
        assert!(answer.starts_with("ok [{\"n\": 1}, \"f\", \"/"), "{answer} {:?}", sink.lines());
    }
    let crashed = answer(version.invoke(invocation("{\"exit\": 3}")).await.unwrap().outcome);
    assert!(crashed.contains("Runtime exited with error: exit status 3"), "{crashed}");
    let mut tailed = invocation("{}");
    tailed.tail = true;
    let completed = version.invoke(tailed).await.unwrap();
    let tail = String::from_utf8(completed.log_tail.unwrap().to_vec()).unwrap();
    assert!(
        tail.starts_with("START ") && tail.contains("\nhello\nEND ") && tail.contains("Max Memory Used: "),
        "{tail}"
    );
    engine.shut_down().await;
}
