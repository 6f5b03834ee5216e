//! The share of CPUs that a sandbox has.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{fs, path::PathBuf};

use common::*;
use hothouse_sandbox::{Missing, Sandbox};

/// The group that shares out CPUs to this process.
fn group_of(pid: u32) -> PathBuf {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let candidates = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            // The tree's own group is below the sandbox's.
            "" => Some(PathBuf::from(format!("/sys/fs/cgroup{path}")).parent()?.parent()?.to_owned()),
            _ if controllers.split(',').any(|controller| controller == "cpu") => {
                Some(PathBuf::from(format!("/sys/fs/cgroup/{controllers}{path}")))
            }
            _ => None,
        }
    });
    candidates.into_iter().find(|path| path.join("cpu.stat").exists()).unwrap()
}

fn statistic(group: &std::path::Path, name: &str) -> u64 {
    let text = fs::read_to_string(group.join("cpu.stat")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_share_holds_from_when_it_is_put_into_force() {
    const MILLIS: u32 = 72;
    const PERIODS: u64 = 10;
    let Some(template) = isolated_with(Missing::CpuLimit) else { return };
    let mut spec = spec();
    spec.limits.cpu_millis = Some(MILLIS);
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let (process, mut output) = start(&mut sandbox, "echo ready; while :; do :; done");
    assert_eq!(output.line(), "ready");
    let pid = process.id().unwrap();
    let group = group_of(pid);
    let clock = || {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    // More than a share allows in one period.
    let start = clock();
    eventually("it runs", || clock() > start + 20_000_000);
    assert_eq!(statistic(&group, "nr_throttled"), 0);

    sandbox.limit_cpu(true).unwrap();
    eventually("it is held back", || statistic(&group, "nr_throttled") > 2);
    let (clock_before, periods_before) = (clock(), statistic(&group, "nr_periods"));
    eventually("periods pass", || statistic(&group, "nr_periods") >= periods_before + PERIODS);
    let (ran, periods) = (clock() - clock_before, statistic(&group, "nr_periods") - periods_before);
    let allowed = u64::from(MILLIS) * 100_000 * periods;
    assert!(ran < allowed * 2, "ran {ran} ns in {periods} periods, and {allowed} are allowed");

    sandbox.limit_cpu(false).unwrap();
    let start = clock();
    let throttled = statistic(&group, "nr_throttled");
    eventually("it runs free", || clock() > start + 50_000_000);
    assert!(statistic(&group, "nr_throttled") <= throttled + 1);
}
