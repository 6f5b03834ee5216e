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
    path::PathBuf,
};

use common::*;
use hothouse_sandbox::{Ending, Sandbox};

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

/// Groups of sandboxes, of whatever service: other tests of this kind do not run at the same time.
fn control_groups() -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let roots = hierarchies.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    let services = roots.flat_map(|root| fs::read_dir(root.join("hothouse")).into_iter().flatten().flatten());
    let groups = services.flat_map(|service| fs::read_dir(service.path()).into_iter().flatten().flatten());
    groups.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn two_hundred_sandboxes_leave_nothing() {
    for template in levels() {
        let round = |number: usize| {
            let mut spec = spec();
            spec.limits.memory_bytes = Some(64 * MEGABYTE);
            let mut sandbox = Sandbox::create(&template, spec).unwrap();
            let listener = sandbox.listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001)).unwrap();
            match number % 3 {
                // Ends by itself, with a daemon left.
                0 => {
                    let (exit, _) = run(&mut sandbox, "setsid sleep 3600 > /dev/null 2>&1 & exit 3");
                    assert!(matches!(exit.ending, Ending::Exited(3)), "{exit:?}");
                }
                // Is dropped while it runs.
                1 => {
                    let (process, mut output) = start(&mut sandbox, "echo ready; sleep 3600");
                    assert_eq!(output.line(), "ready");
                    drop(process);
                }
                // Is dropped before it has begun, after its sandbox.
                _ => {
                    let (process, _output) = start(&mut sandbox, "sleep 3600");
                    drop(sandbox);
                    drop(process);
                }
            }
            drop(listener);
        };
        (0..3).for_each(round);
        let before = traces();
        (0..ROUNDS).for_each(round);
        assert_eq!(traces(), before, "{}", template.isolation());
    }
    assert!(processes_with("sleep\x003600").is_empty());
}
