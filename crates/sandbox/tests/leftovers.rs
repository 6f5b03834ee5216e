//! Sandboxes come and go without a trace.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use common::*;
use hothouse_sandbox::{Ending, Isolation, Missing, Mount, Network, Ready, Sandbox, Template};

const ROUNDS: usize = 200;

/// Everything that could be left behind, counted.
fn traces() -> BTreeMap<&'static str, usize> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let children = fs::read_to_string("/proc/thread-self/children").unwrap().split_whitespace().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    BTreeMap::from([
        ("descriptors", descriptors),
        ("mounts", mounts),
        ("children", children),
        // Allocators map and unmap; only growth with the rounds would be a leak.
        ("mappings", maps / 20),
        ("control groups", control_groups().len()),
    ])
}

/// Groups of this process's sandboxes. Its directory is the one that it has locked.
fn control_groups() -> Vec<PathBuf> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let ours = std::process::id().to_string();
    let locked: Vec<u64> = locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(4) == Some(&ours.as_str()))
        .filter_map(|fields| fields.get(5)?.rsplit(':').next()?.parse().ok())
        .collect();
    let entries =
        |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let hierarchies: Vec<PathBuf> =
        entries("/sys/fs/cgroup".into()).chain([PathBuf::from("/sys/fs/cgroup")]).collect();
    let services =
        || hierarchies.iter().flat_map(|path| entries(path.join("hothouse"))).filter(|path| path.is_dir());
    let name = services()
        .find(|path| fs::metadata(path).is_ok_and(|metadata| locked.contains(&metadata.ino())))
        .and_then(|path| path.file_name().map(ToOwned::to_owned));
    let of_ours = services().filter(|path| path.file_name() == name.as_deref());
    of_ours.flat_map(entries).filter(|path| path.is_dir()).collect()
}

fn has_groups(template: &Template) -> bool {
    match template.isolation() {
        Isolation::Full => true,
        Isolation::Partial(missing) => !missing.contains(&Missing::MemoryLimit),
        Isolation::None => false,
    }
}

#[test]
fn two_hundred_sandboxes_leave_nothing() {
    let marker = marker();
    for template in levels() {
        if has_groups(&template) {
            let mut spec = spec();
            spec.limits.memory_bytes = Some(64 * MEGABYTE);
            let _sandbox = Sandbox::create(&template, spec).unwrap();
            assert!(!control_groups().is_empty(), "they can be counted");
        }
        let round = |number: usize| {
            let mut spec = spec();
            spec.limits.memory_bytes = Some(64 * MEGABYTE);
            spec.network = Network::Relayed;
            spec.listeners = vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001)];
            // Every other one was made ahead, and some of those were in vain.
            let ready = number.is_multiple_of(2).then(|| Ready::make(&template, &spec).unwrap()).flatten();
            if number.is_multiple_of(8) && ready.is_some() {
                return;
            }
            let mut sandbox = match ready {
                Some(ready) => {
                    let mut failing = spec.clone();
                    failing.mounts =
                        vec![Mount::read_only("/usr", "/var/task"), Mount::read_only("/no", "/opt")];
                    match ready.fit(if number % 8 == 2 { failing } else { spec.clone() }) {
                        Ok(sandbox) => sandbox,
                        Err(_) => Sandbox::create(&template, spec).unwrap(),
                    }
                }
                None => Sandbox::create(&template, spec).unwrap(),
            };
            let sockets = sandbox.take_sockets();
            match number % 3 {
                // Ends by itself, with a daemon left.
                0 => {
                    let (exit, _) =
                        run(&mut sandbox, &format!("setsid sleep {marker} > /dev/null 2>&1 & exit 3"));
                    assert!(matches!(exit.ending, Ending::Exited(3)), "{exit:?}");
                }
                // Is dropped while it runs.
                1 => {
                    let (process, mut output) = start(&mut sandbox, &format!("echo ready; sleep {marker}"));
                    assert_eq!(output.line(), "ready");
                    drop(process);
                }
                // Is dropped before it has begun, after its sandbox.
                _ => {
                    let (process, _output) = start(&mut sandbox, &format!("sleep {marker}"));
                    drop(sandbox);
                    drop(process);
                }
            }
            drop(sockets);
        };
        (0..8).for_each(round);
        let before = traces();
        (0..ROUNDS).for_each(round);
        assert_eq!(traces(), before, "{}", template.isolation());
    }
    assert!(processes_with(&marker).is_empty());
}
