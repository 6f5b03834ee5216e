//! Programs that wait in a sandbox before it is known for whom: what they are then, and what they can reach before.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddrV4},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
};

use common::*;
use hothouse_sandbox::{Ending, Missing, Mount, Ready, Sandbox, SandboxSpec, Template};

/// A sandbox in which a script waits for a line before it does the rest, what it is told through, and its output. Or a
/// line that says why there is none.
fn early(template: &Template, spec: &SandboxSpec, rest: &str) -> Option<(Ready, io::PipeWriter, Output)> {
    early_script(template, spec, &format!("echo waiting; read line; {rest}"))
}

/// The same with a script of any kind.
fn early_script(
    template: &Template,
    spec: &SandboxSpec,
    text: &str,
) -> Option<(Ready, io::PipeWriter, Output)> {
    let Some(mut ready) = Ready::make(template, spec).unwrap() else {
        skip("only root keeps sandboxes ready");
        return None;
    };
    let (told, teller) = io::pipe().unwrap();
    let (mut command, output) = with_output(script(text));
    command.descriptors.push((OwnedFd::from(told), 0));
    if !ready.start(command).unwrap() {
        skip("the machine allows no user namespaces");
        return None;
    }
    Some((ready, teller, output))
}

/// The end, and all that was said but for the first line.
fn tell(
    mut sandbox: Sandbox,
    mut teller: io::PipeWriter,
    mut output: Output,
) -> (hothouse_sandbox::Exit, String) {
    let process = sandbox.take_program().unwrap();
    assert!(sandbox.take_program().is_none());
    assert_eq!(output.line(), "waiting");
    writeln!(teller, "go").unwrap();
    let text = output.read();
    (end_of(process), text)
}

#[test]
fn it_sees_what_a_program_sees_that_is_started_afterwards() {
    let Some(template) = isolated() else { return };
    let code = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    fs::write(code.path().join("file"), "of this function\n").unwrap();
    let spec = SandboxSpec {
        mounts: vec![Mount::read_only(code.path(), "/var/task")],
        tmp_bytes: 4 * MEGABYTE,
        listeners: vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9001)],
        ..spec()
    };
    let before = SandboxSpec { mounts: Vec::new(), tmp_bytes: 32 * MEGABYTE, ..spec.clone() };
    // Numbers of mounts, and of processes that were there before, are nobody else's.
    let look = "cat /var/task/file; id; hostname; ulimit -a; ls -a / /proc/sys /dev /opt /tmp
        grep -v -e ^Vm -e ^Rss -e switches -e ^Speculation -e ^Mems -e ^Cpus /proc/self/status
        cut -d ' ' -f 4- /proc/self/mountinfo | sort
        for namespace in cgroup ipc mnt net pid user uts; do
            test /proc/self/ns/$namespace -ef /proc/$$/ns/$namespace && echo same $namespace
        done
        ls /proc/self/fd; cat /proc/1/cmdline; cat /proc/kallsyms /proc/keys; cat /proc/self/oom_score_adj
        stat -c '%U %a' /tmp; df -k /tmp | tail -1; env; umask
        ls -l /proc/1/fd /proc/1/cwd; kill -9 1; cat /proc/1/environ; unshare -r true
        echo x > /var/task/no || echo refused";
    let Some((ready, teller, output)) = early(&template, &before, look) else { return };
    assert!(ready.is_alive() && ready.suits(&template, &spec));
    let (exit, of_early) = tell(ready.fit(spec.clone()).unwrap(), teller, output);
    assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?}: {of_early}");
    let mut other = Sandbox::create(&template, spec).unwrap();
    let (read, written) = io::pipe().unwrap();
    let (mut command, output) = with_output(script(&format!("echo waiting; read line; {look}")));
    command.descriptors.push((OwnedFd::from(read), 0));
    let process = other.spawn(command).unwrap();
    writeln!(&written, "go").unwrap();
    let of_late = output.read();
    end_of(process);
    assert!(of_early.starts_with("of this function\n") && of_early.ends_with("refused\n"), "{of_early}");
    assert_eq!(format!("waiting\n{of_early}"), of_late);
}

#[test]
fn while_it_waits_it_has_no_power_and_cannot_reach_its_init() {
    let Some(template) = isolated() else { return };
    let attempts = "grep -e ^Cap -e ^NoNewPrivs -e ^Seccomp: /proc/self/status
        for attempt in 'ls /proc/1/fd' 'ls /proc/1/root/' 'kill -9 1' 'kill -STOP 1' 'cat /proc/1/maps' \\
            'mount -t tmpfs none /opt' 'umount /tmp'; do
            $attempt >/dev/null 2>&1 && echo allowed: $attempt
        done; echo done; read more";
    let Some((ready, _teller, mut output)) = early_script(&template, &spec(), attempts) else { return };
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "done") {
        lines.push(output.line());
    }
    let held: Vec<_> = lines.iter().filter(|line| line.starts_with("Cap")).collect();
    assert!(held.len() == 5 && held.iter().all(|line| line.ends_with("\t0000000000000000")), "{lines:?}");
    assert!(lines.contains(&"NoNewPrivs:\t1".to_owned()), "{lines:?}");
    let allowed: Vec<_> = lines.iter().filter(|line| line.starts_with("allowed")).collect();
    // Signals to the first process of a tree from inside of it are nothing to it.
    let allowed: Vec<_> = allowed.iter().filter(|line| !line.contains("kill")).collect();
    assert!(allowed.is_empty(), "{allowed:?}");
    assert!(ready.is_alive());
}

#[test]
fn its_ceilings_and_its_end_are_those_of_the_sandbox() {
    let Some(template) = isolated_with(Missing::MemoryLimit) else { return };
    let limited = |megabytes: u64| {
        let mut spec = spec();
        spec.limits.memory_bytes = Some(megabytes * MEGABYTE);
        spec
    };
    let take = "head -c 80m /dev/zero | tail -c 76m | wc -c";
    for (before, after, dies) in [(256, 48, true), (48, 256, false)] {
        let Some((ready, teller, output)) = early(&template, &limited(before), take) else { return };
        assert!(ready.program_memory().is_some_and(|bytes| bytes > 0 && bytes < 16 * MEGABYTE));
        let (exit, text) = tell(ready.fit(limited(after)).unwrap(), teller, output);
        assert_eq!(exit.out_of_memory, dies, "from {before} to {after}: {exit:?} {text}");
    }
}

#[test]
fn one_that_ended_early_is_told_as_the_end_of_the_program() {
    let Some(template) = isolated() else { return };
    let Some((ready, teller, output)) = early(&template, &spec(), "exit 7") else { return };
    drop(teller);
    // Its init waits for an order, whatever became of the program.
    let all = output.read();
    assert_eq!(all, "waiting\n");
    assert!(ready.is_alive());
    let mut sandbox = ready.fit(spec()).unwrap();
    let exit = end_of(sandbox.take_program().unwrap());
    assert!(matches!(exit.ending, Ending::Exited(7)), "{exit:?}");
    // The place is as good as any.
    assert_eq!(output_of(&mut sandbox, "echo next"), "next\n");
}

#[test]
fn one_that_nobody_wanted_ends_with_its_sandbox() {
    let Some(template) = isolated() else { return };
    let marker = marker();
    let Some((ready, teller, mut output)) = early(&template, &spec(), &format!(": {marker}")) else { return };
    assert_eq!(output.line(), "waiting");
    assert_eq!(processes_with(&marker).len(), 1);
    drop(ready);
    assert!(processes_with(&marker).is_empty());
    drop(teller);
}

#[test]
fn one_that_cannot_be_executed_is_an_error() {
    let Some(template) = isolated() else { return };
    let Some(mut ready) = Ready::make(&template, &spec()).unwrap() else { return };
    let command = hothouse_sandbox::Command { arguments: vec!["/nowhere".into()], ..script("") };
    assert!(ready.start(command).is_err());
}
