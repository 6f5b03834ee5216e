//! Process trees that are frozen: nothing of them runs, and they can be ended all the same.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use common::*;
use hothouse_sandbox::{Ending, Process};

/// The group of the second version that a process is in, if that is one of ours.
fn group(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
    path.contains("/hothouse/").then_some(path)
}

/// The group by which a process is frozen, if it is in one.
fn freezer(pid: u32) -> Option<String> {
    group(pid).filter(|path| path.ends_with("/program"))
}

/// Whether the process has come to rest: its group says so, or it is stopped.
fn rests(pid: u32) -> bool {
    match group(pid) {
        Some(path) => ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().any(|hierarchy| {
            fs::read_to_string(format!("{hierarchy}{path}/cgroup.events"))
                .is_ok_and(|events| events.contains("frozen 1"))
        }),
        None => {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        }
    }
}

/// The process that started this one, or adopted it.
fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Nanoseconds that each has run.
fn clocks(pids: &[u32]) -> Vec<u64> {
    let clock = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    pids.iter().map(clock).collect()
}

#[test]
fn nothing_of_a_frozen_tree_runs() {
    for template in levels() {
        let mut place = sandbox(&template);
        let marker = marker();
        // The program, a child, and a daemon that left session and process group by two forks.
        let text = format!(
            "busy='while :; do :; done # {marker}'
            sh -c \"$busy\" & (setsid sh -c \"$busy\" &) ; echo ready; exec sh -c \"$busy\""
        );
        let (process, mut output) = start(&mut place, &text);
        assert_eq!(output.line(), "ready");
        // Not those that were on their way to become one of them.
        let busy = || {
            let mut pids = processes_with(&marker);
            pids.retain(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.starts_with(b"sh\0-c\0while")
            });
            pids
        };
        eventually("three are busy", || busy().len() == 3);
        let mut pids = busy();
        if freezer(process.id().unwrap()).is_none() && !template.has_own_root() {
            // Only the process group can be stopped, so that is all that is promised.
            let group = process.id().unwrap() as libc::pid_t;
            // SAFETY: takes no pointers.
            pids.retain(|pid| unsafe { libc::getpgid(*pid as libc::pid_t) } == group);
        }
        process.freeze().unwrap();
        eventually("all rest", || pids.iter().all(|pid| rests(*pid)));
        assert!(!rests(parent(process.id().unwrap())), "who ends the tree with the service is awake");
        let before = clocks(&pids);
        // Somebody else has all the time he needs.
        assert_eq!(
            output_of(&mut sandbox(&template), "for i in $(seq 20000); do :; done; echo done"),
            "done\n"
        );
        assert_eq!(clocks(&pids), before, "{}", template.isolation());
        process.thaw().unwrap();
        eventually("all run", || clocks(&pids).iter().zip(&before).all(|(now, before)| now > before));
    }
}

#[test]
fn what_happens_meanwhile_is_met_when_thawed() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let mut command = script(
            "trap 'signal=yes' TERM; echo ready; until [ \"$signal $last\" = 'yes two' ]; do read line && last=$line; done; echo $signal $last",
        );
        let (input, mut writer) = std::io::pipe().unwrap();
        command.descriptors.push((input.into(), 0));
        let (command, mut output) = with_output(command);
        let process = sandbox.spawn(command).unwrap();
        assert_eq!(output.line(), "ready");
        process.freeze().unwrap();
        eventually("it rests", || rests(process.id().unwrap()));
        process.signal(libc::SIGTERM).unwrap();
        writer.write_all(b"one\ntwo\n").unwrap();
        process.thaw().unwrap();
        process.thaw().unwrap();
        assert_eq!(output.read(), "yes two\n");
        let exit = end_of(process);
        assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?}");
    }
}

#[test]
fn a_frozen_tree_ends_at_once() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        for ending in [|process: &Process| process.kill().unwrap(), |_: &Process| {}] {
            let marker = marker();
            let (process, mut output) =
                start(&mut sandbox, &format!("setsid sleep {marker} & echo ready; exec sleep {marker}"));
            assert_eq!(output.line(), "ready");
            eventually("both sleep", || processes_with(&marker).len() == 2);
            process.freeze().unwrap();
            eventually("it rests", || rests(process.id().unwrap()));
            ending(&process);
            drop(process);
            assert!(processes_with(&marker).is_empty(), "{}", template.isolation());
        }
        // The place can be used again, and is not frozen.
        assert_eq!(output_of(&mut sandbox, "echo again"), "again\n");
    }
}

#[test]
fn orders_in_quick_succession_are_all_obeyed() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let (mut process, mut output) =
            start(&mut sandbox, "while read line; do :; done; sleep 60 & echo ready; wait");
        assert_eq!(output.line(), "ready");
        for round in 0..100 {
            process.freeze().unwrap();
            if round % 3 == 0 {
                process.freeze().unwrap();
            }
            process.thaw().unwrap();
        }
        process.freeze().unwrap();
        process.thaw().unwrap();
        process.kill().unwrap();
        // Whoever has just been told to end may be told anything.
        process.freeze().unwrap();
        process.thaw().unwrap();
        wait_readable(&process);
        assert!(process.try_wait().unwrap().is_some());
        process.freeze().unwrap();
        process.thaw().unwrap();
    }
}

/// A malicious program without isolation can kill its init. What it started ends all the same where a control group
/// keeps it together.
#[test]
fn who_kills_its_init_is_found() {
    let template = template(hothouse_sandbox::Level::None);
    let mut sandbox = sandbox(&template);
    let marker = marker();
    let text = format!(
        "(trap '' HUP; setsid sh -c 'while ! kill -9 $0; do :; done; exec sleep {marker}' $PPID > /dev/null 2>&1 < /dev/null &)
        exec sleep {marker}"
    );
    let mut command = script(&format!("echo ready; read line; {text}"));
    let (input, writer) = std::io::pipe().unwrap();
    command.descriptors.push((input.into(), 0));
    let (command, mut output) = with_output(command);
    let mut process = sandbox.spawn(command).unwrap();
    assert_eq!(output.line(), "ready");
    let kept_together = freezer(process.id().unwrap()).is_some();
    drop(writer);
    wait_readable(&process);
    let exit = process.try_wait().unwrap().unwrap();
    assert!(matches!(exit.ending, Ending::Signaled(libc::SIGKILL)), "{exit:?}");
    if kept_together {
        eventually("all have ended", || processes_with(&marker).is_empty());
        return;
    }
    skip("no control group keeps a program together that kills its init");
    for pid in processes_with(&marker) {
        // SAFETY: takes no pointers; the marker is ours alone.
        unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    }
}

/// `cargo test -p hothouse-sandbox --test freeze -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn costs() {
    for template in levels() {
        let mut sandbox = sandbox(&template);
        let mut command = script("echo ready; while read line; do echo $line; done");
        let (input, mut writer) = std::io::pipe().unwrap();
        command.descriptors.push((input.into(), 0));
        let (command, mut output) = with_output(command);
        let process = sandbox.spawn(command).unwrap();
        assert_eq!(output.line(), "ready");
        let mut taken: [Vec<Duration>; 3] = [const { Vec::new() }; 3];
        for round in 0..2000 {
            let start = Instant::now();
            process.freeze().unwrap();
            taken[0].push(start.elapsed());
            eventually("it rests", || rests(process.id().unwrap()));
            let start = Instant::now();
            process.thaw().unwrap();
            taken[1].push(start.elapsed());
            // From the order to the program's answer.
            writeln!(writer, "{round}").unwrap();
            assert_eq!(output.line(), round.to_string());
            taken[2].push(start.elapsed());
        }
        let mut plain = Vec::new();
        for round in 0..2000 {
            let start = Instant::now();
            writeln!(writer, "{round}").unwrap();
            assert_eq!(output.line(), round.to_string());
            plain.push(start.elapsed());
        }
        eprintln!("{}:", template.isolation());
        for (what, mut times) in ["freeze", "thaw", "thaw and answer", "answer alone"]
            .into_iter()
            .zip(taken.into_iter().chain([plain]))
        {
            times.sort();
            eprintln!("  {what}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
        }
    }
}
