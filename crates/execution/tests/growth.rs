//! Environments come and go by the thousands, and nothing grows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hothouse_api::generated::Runtime;
use hothouse_execution::{
    Engine, EngineConfig, ScalingRate,
    executor::{ProcessExecutor, ProcessExecutorConfig},
    invocation::Outcome,
    runtimes::{Catalog, Policy, SearchPaths},
    spec::FunctionSpec,
};
use hothouse_sandbox::{Isolation, Level, Network};
use support::{MemorySink, engine, invocation, spec};
use tokio::time::Instant;

/// How many environments, unless `HOTHOUSE_TEST_ENVIRONMENTS` says another number.
const ENVIRONMENTS: usize = 10_000;

/// So many live at a time.
const ALIVE: usize = 8;

/// Before the first look: allocators, caches and threads have what they need by then.
const WARM_UP: usize = 500;

/// Resident memory may differ by so much between the looks. It is less than a kilobyte for each of 10,000.
const MEMORY_BYTES: u64 = 8 << 20;

/// The kernel ends network namespaces in its own time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime without a single process of its own but the shell, on one connection. Told to, it leaves, or leaves
/// something behind that nobody waits for.
const BOOTSTRAP: &str = r#"#!/bin/bash
read_answer() {
  length=0
  while IFS= read -r line <&3; do
    line=${line%$'\r'}
    case ${line,,} in
      '') break ;;
      content-length:*) length=${line#*: } ;;
      lambda-runtime-aws-request-id:*) id=${line#*: } ;;
    esac
  done
  IFS= read -r -N "$length" body <&3
}
exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}"
while true; do
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n' >&3
  read_answer
  event=$body
  case $event in
    '"leave"') exit 3 ;;
    '"daemon"') (setsid sleep 1000 >/dev/null 2>&1 &) ;;
  esac
  echo "got $event"
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s' \
    "$id" "${#event}" "$event" >&3
  read_answer
done
"#;

/// It starts more of one function than AWS would in that time.
const AT_ANY_RATE: ScalingRate = ScalingRate { burst: 0, period: Duration::from_secs(10) };

#[tokio::test]
async fn environments_leave_nothing_however_many() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let code = directory.path().join("code");
    fs::create_dir(&code).unwrap();
    fs::write(code.join("bootstrap"), BOOTSTRAP).unwrap();
    fs::set_permissions(code.join("bootstrap"), fs::Permissions::from_mode(0o755)).unwrap();
    let search = SearchPaths {
        path: vec!["/usr/bin".into()],
        data_dir: directory.path().to_owned(),
        ..SearchPaths::default()
    };
    let catalog = Catalog::discover(&search, Policy::default());
    let executor = ProcessExecutor::new(ProcessExecutorConfig {
        isolation: Level::Best,
        network: Network::Own,
        // Always as many when nothing starts, so that they can be told from what was left behind.
        ready_memory: 1 << 20,
        ..ProcessExecutorConfig::new(catalog)
    });
    let isolation = executor.isolation().unwrap();
    let full = isolation == Isolation::Full;
    // Only root keeps sandboxes ready.
    let ready = usize::from(isolation != Isolation::None && rustix::process::geteuid().is_root());
    let (engine, sink) = engine(executor, EngineConfig { scaling: AT_ANY_RATE, ..EngineConfig::default() });
    let spec = FunctionSpec { runtime: Runtime::ProvidedAl2023, code, ..spec() };
    let namespaces_before = network_namespaces();

    let services = control_groups_of_a_living_one(&engine, &spec).await;
    assert_eq!(services.is_empty(), !full, "groups are where full isolation is");
    run(&engine, &spec, WARM_UP).await;
    let before = Traces::settled(&services, ready).await;
    let memory = memory(&sink);

    let count = environments();
    let begun = Instant::now();
    run(&engine, &spec, count).await;
    let each = begun.elapsed() / u32::try_from(count).unwrap();

    let after =
        until("as much is there as before", || Some(Traces::now(&services)).filter(|now| *now <= before))
            .await;
    let grown = self::memory(&sink).saturating_sub(memory);
    println!("{count} environments, {each:?} each: {before:?} before, {after:?} after, {grown} bytes grown");
    assert!(grown < MEMORY_BYTES, "{grown} bytes more after {count} environments");
    // Others on this machine make some, too, but not thousands.
    until("network namespaces are gone", || {
        (network_namespaces()? <= namespaces_before? + ALIVE + 100).then_some(()).or((!full).then_some(()))
    })
    .await;
    engine.shut_down().await;
    assert!(children().is_empty(), "those that were ready end with the engine");
    for service in &services {
        assert!(
            !service.exists() || fs::read_dir(service).unwrap().all(|entry| !entry.unwrap().path().is_dir())
        );
    }
}

/// Starts and stops so many environments, some at a time. They end in all the ways that environments do.
async fn run(engine: &Engine, spec: &FunctionSpec, count: usize) {
    let workers = (0..ALIVE).map(|worker| async move {
        for number in (worker..count).step_by(ALIVE) {
            let event = match number % 16 {
                7 => "\"leave\"",
                11 => "\"daemon\"",
                _ => "1",
            };
            let version = engine.version(spec.clone());
            let outcome = version.invoke(invocation(event)).await.unwrap().outcome;
            match outcome {
                Outcome::Success(body) => assert_eq!(body, event),
                Outcome::Error(body) => assert_eq!(event, "\"leave\"", "{}", String::from_utf8_lossy(&body)),
            }
            version.retire();
            // As many again may be ending.
            until("older ones have ended", || (engine.environments().len() <= 2 * ALIVE).then_some(())).await;
        }
    });
    futures_util::future::join_all(workers).await;
    until("all have ended", || engine.environments().is_empty().then_some(())).await;
}

/// What could be left behind, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Traces(BTreeMap<&'static str, usize>);

impl PartialOrd for Traces {
    /// Only if nothing is more.
    fn partial_cmp(&self, other: &Traces) -> Option<std::cmp::Ordering> {
        if self == other {
            return Some(std::cmp::Ordering::Equal);
        }
        let less = self.0.iter().all(|(what, count)| *count <= other.0[what]);
        less.then_some(std::cmp::Ordering::Less)
    }
}

impl Traces {
    fn now(services: &BTreeSet<PathBuf>) -> Traces {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        Traces(BTreeMap::from([
            ("processes", children().len()),
            ("descriptors", fs::read_dir("/proc/self/fd").unwrap().count()),
            // Those of others are in directories of others.
            ("mounts", mounts.lines().filter(|mount| !mount.contains("/pytest-of-")).count()),
            ("control groups", services.iter().map(|service| directories(service)).sum()),
        ]))
    }

    /// Once nothing of the environments is there any more, as far as that can be seen from one look.
    /// Those that are ready for the next ones are there.
    async fn settled(services: &BTreeSet<PathBuf>, ready: usize) -> Traces {
        until("the first ones are gone", || {
            let now = Traces::now(services);
            (now.0["processes"] == ready).then_some(now)
        })
        .await
    }
}

/// Processes that any of our threads has started.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Our own directories of control groups: those that a living environment is below of.
async fn control_groups_of_a_living_one(engine: &Engine, spec: &FunctionSpec) -> BTreeSet<PathBuf> {
    let version = engine.version(spec.clone());
    version.invoke(invocation("1")).await.unwrap();
    let mut found = BTreeSet::new();
    for pid in children() {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let names = text.lines().filter_map(|line| line.split("/hothouse/").nth(1)?.split('/').next());
        for name in names {
            let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
            let all = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
            found.extend(
                all.map(|hierarchy| hierarchy.join("hothouse").join(name)).filter(|path| path.is_dir()),
            );
        }
    }
    version.retire();
    until("it has ended", || engine.environments().is_empty().then_some(())).await;
    found
}

/// All below this one.
fn directories(path: &Path) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).map(|path| 1 + directories(&path)).sum()
}

/// Resident memory, without what the test itself keeps of the log.
fn memory(sink: &Arc<MemorySink>) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    // Each line has a string's three words, and the allocator's rounding.
    let kept: usize = sink.lines().iter().map(|line| line.len() + 48).sum();
    (kilobytes * 1024).saturating_sub(kept as u64)
}

/// On the whole machine, if the kernel tells us.
fn network_namespaces() -> Option<usize> {
    let slabs = fs::read_to_string("/proc/slabinfo").ok()?;
    let line = slabs.lines().find_map(|line| line.strip_prefix("net_namespace "))?;
    line.split_whitespace().next()?.parse().ok()
}

async fn until<T>(what: &str, condition: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a test asks how much time it may take")]
fn environments() -> usize {
    std::env::var("HOTHOUSE_TEST_ENVIRONMENTS").map_or(ENVIRONMENTS, |count| count.parse().unwrap())
}
