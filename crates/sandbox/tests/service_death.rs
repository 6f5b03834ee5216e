//! Whatever becomes of the service, nothing of its sandboxes stays.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::parent_id,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::*;
use hothouse_sandbox::{Level, Ready, Sandbox, Template, Zygote};

/// A service of its own process: starts programs in each of two sandboxes, freezes one, and waits to be killed.
/// Prints when it is ready.
#[test]
#[ignore = "run by the other test, which kills it"]
fn service() {
    for template in levels() {
        let marker = marker_of(parent_id(), template.has_own_root());
        let mut spec = spec();
        spec.limits.memory_bytes = Some(64 * MEGABYTE);
        let limited = spec.clone();
        let mut sandbox = Sandbox::create(&template, spec).unwrap();
        // A child that left the session, and a program that ignores what it can.
        let text = format!("trap '' TERM HUP INT; setsid sleep {marker} & echo ready; sleep {marker}");
        let (process, mut output) = start(&mut sandbox, &text);
        assert_eq!(output.line(), "ready");
        let (frozen, mut output_of_frozen) = start(&mut sandbox, &text);
        assert_eq!(output_of_frozen.line(), "ready");
        eventually("all have started", || processes_with(&marker).len() >= 6);
        frozen.freeze().unwrap();
        // Nobody takes this one.
        let ready = Ready::make(&template, &limited).unwrap();
        let zygote = zygote(&template, &marker);
        std::mem::forget((ready, zygote, sandbox, process, output, frozen, output_of_frozen, template));
    }
    writeln!(std::io::stderr(), "service ready").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// One that waits for orders as the real ones do, for as long as the service is there.
fn zygote(template: &Template, marker: &str) -> Option<Zygote> {
    const PYTHON: &str = "/usr/bin/python3";
    if !Path::new(PYTHON).exists() {
        return None;
    }
    let code = format!("import socket; s = socket.socket(fileno=3); s.send(bytes(16)); s.recv(1) # {marker}");
    let command = hothouse_sandbox::Command {
        arguments: [PYTHON, "-S", "-c", &code].map(Into::into).into(),
        directory: "/".into(),
        ..Default::default()
    };
    let zygote = Zygote::start(template, &command).unwrap()?;
    assert_eq!(processes_with(marker).len(), 7);
    Some(zygote)
}

/// Time to sleep of the programs that `test` has started through its service.
fn marker_of(test: u32, own_root: bool) -> String {
    format!("7200.{test:08}{}", u32::from(own_root))
}

#[test]
fn a_killed_service_takes_everything_along() {
    let mut service = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "service", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(service.stderr.take().unwrap()).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains("service ready")),
        "the service did not start"
    );
    for own_root in [template(Level::Best).has_own_root(), false] {
        let running = || processes_with(&marker_of(std::process::id(), own_root)).len();
        eventually("four sleeps and two shells run", || running() >= 6);
    }

    let below = descendants(service.id());
    assert!(below.len() >= 6, "{below:?}");
    service.kill().unwrap();
    service.wait().unwrap();

    eventually("every init has ended, that too which waited for a program", || {
        below.iter().all(|pid| !is_running(*pid))
    });

    for own_root in [true, false] {
        eventually("all have ended", || processes_with(&marker_of(std::process::id(), own_root)).is_empty());
    }
    // The next service sweeps what control groups are left.
    // Those of others too, who may be ending right now.
    eventually("nothing is left", || {
        drop(template(Level::Best));
        abandoned_groups().is_empty()
    });
}

/// Everyone below this process.
fn descendants(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = texts
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| descendants(*child).into_iter().chain([*child])).collect()
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Directories of services whose lock nobody holds. The lock is in the memory hierarchy, or in the only one.
fn abandoned_groups() -> Vec<String> {
    let services = |hierarchy: &str| {
        let entries =
            fs::read_dir(format!("/sys/fs/cgroup/{hierarchy}/hothouse")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.path())
    };
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let locked = |path: &PathBuf| fs::File::open(path).is_ok_and(|lock| lock.try_lock().is_err());
    let alive: Vec<String> = ["memory", ""].into_iter().flat_map(services).filter(locked).map(name).collect();
    let all = ["memory", "pids", "cpu", ""].into_iter().flat_map(services).map(name);
    all.filter(|name| !alive.contains(name)).collect()
}
