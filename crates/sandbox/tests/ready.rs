//! Sandboxes made ahead: what they become, and what becomes of those that nobody wanted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::PermissionsExt,
};

use common::*;
use hothouse_sandbox::{Ending, Missing, Mount, Ready, Sandbox, SandboxSpec, Template, TemplateSpec};

/// One that is ready, or a line that says why there is none.
fn ready(template: &Template, spec: &SandboxSpec) -> Option<Ready> {
    let ready = Ready::make(template, spec).unwrap();
    if ready.is_none() {
        skip("only root keeps sandboxes ready");
    }
    ready
}

/// Inits below this thread.
fn children() -> Vec<u32> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn limited(megabytes: u64) -> SandboxSpec {
    let mut spec = spec();
    spec.limits.memory_bytes = Some(megabytes * MEGABYTE);
    spec.limits.cpu_millis = Some(100);
    spec
}

#[test]
fn it_becomes_what_a_new_one_would_be() {
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
    let Some(ready) = ready(&template, &before) else { return };
    assert!(ready.suits(&template, &spec));
    let mut made = [ready.fit(spec.clone()).unwrap(), Sandbox::create(&template, spec).unwrap()];
    for sandbox in &mut made {
        assert_eq!(sandbox.take_sockets().listeners.len(), 1);
    }
    // Numbers of mounts and namespaces are nobody else's; a mount has that of the one that it is in as well.
    let look = "cat /var/task/file; id; hostname; ulimit -n -s -l; ls -a / /proc/sys /dev /opt /tmp
        grep -v -e ^Vm -e ^Rss -e switches -e ^Speculation -e ^Mems -e ^Cpus /proc/self/status
        cut -d ' ' -f 4- /proc/self/mountinfo | sort
        ls /proc/self/fd; cat /proc/1/cmdline; cat /proc/kallsyms /proc/keys
        stat -c '%U %a' /tmp; df -k /tmp | tail -1; env; echo x > /var/task/no || echo refused";
    // Whatever is told of a tree is told of the first, and of one that comes after it.
    for attempt in ["first", "second"] {
        let [one, other] = made.each_mut().map(|sandbox| output_of(sandbox, look));
        assert!(one.starts_with("of this function\n") && one.ends_with("refused\n"), "{one}");
        assert!(one.contains(" 4096 "), "{attempt}: the size of /tmp: {one}");
        if attempt == "first" {
            assert_eq!(one, other);
        }
        let lines = |text: &str| text.lines().filter(|line| !line.contains(" /proc")).count();
        assert_eq!(lines(&one), lines(&other), "{attempt}: {one}{other}");
    }
}

#[test]
fn its_ceilings_are_those_of_its_last_specification() {
    let Some(template) = isolated_with(Missing::MemoryLimit) else { return };
    for (before, after) in [(64, 48), (32, 48)] {
        let Some(ready) = ready(&template, &limited(before)) else { return };
        let mut sandbox = ready.fit(limited(after)).unwrap();
        let (exit, _) = run(&mut sandbox, "head -c 40m /dev/zero | tail -c 36m | wc -c");
        assert!(matches!(exit.ending, Ending::Exited(0)) && !exit.out_of_memory, "{exit:?}");
        let (exit, text) = run(&mut sandbox, "head -c 80m /dev/zero | tail -c 76m | wc -c");
        assert!(exit.out_of_memory, "from {before} to {after}: {exit:?} {text}");
    }
}

#[test]
fn only_what_it_can_become_suits() {
    let Some(template) = isolated() else { return };
    let Some(ready) = ready(&template, &limited(64)) else { return };
    assert!(ready.suits(&template, &limited(128)));
    let mut others = [limited(64), limited(64), limited(64), limited(64)];
    others[0].hostname = "other".into();
    others[1].limits.memory_bytes = None;
    others[2].limits.open_files = None;
    others[3].mounts.push(Mount { source: "/tmp".into(), target: "/opt".into(), writable: true });
    for other in others {
        assert!(!ready.suits(&template, &other), "{other:?}");
    }
    assert!(!ready.suits(&isolated().unwrap(), &limited(64)), "a template that is only alike");
}

#[test]
fn one_that_died_is_not_alive_and_does_no_harm() {
    let Some(template) = isolated() else { return };
    let Some(ready) = ready(&template, &spec()) else { return };
    assert!(ready.is_alive());
    let [init] = children()[..] else { panic!("{:?}", children()) };
    // SAFETY: takes no pointers; it is our child, and nobody has reaped it.
    unsafe { libc::kill(init as libc::pid_t, libc::SIGKILL) };
    eventually("it is told", || !ready.is_alive());
    assert!(ready.fit(spec()).is_err());
    assert!(children().is_empty());
}

#[test]
fn one_that_dies_after_it_was_fitted_is_replaced_by_another_init() {
    let Some(template) = isolated() else { return };
    let Some(ready) = ready(&template, &spec()) else { return };
    let mounts = vec![Mount::read_only("/etc/ssl", "/opt")];
    let mut sandbox = ready.fit(SandboxSpec { mounts, ..spec() }).unwrap();
    let [init] = children()[..] else { panic!("{:?}", children()) };
    // SAFETY: as above.
    unsafe { libc::kill(init as libc::pid_t, libc::SIGKILL) };
    let state = || fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
    eventually("it has ended", || state().contains(") Z "));
    assert_eq!(output_of(&mut sandbox, "test -e /opt/certs && echo there"), "there\n");
}

#[test]
fn a_mount_that_cannot_be_made_is_an_error_and_leaves_no_init() {
    let Some(template) = isolated() else { return };
    for (source, target) in [("/nowhere", "/opt"), ("/etc/ssl", "/nowhere")] {
        let Some(ready) = ready(&template, &spec()) else { return };
        let mounts = vec![Mount::read_only("/etc/ssl", "/var/task"), Mount::read_only(source, target)];
        assert!(ready.fit(SandboxSpec { mounts, ..spec() }).is_err(), "{source} at {target}");
        assert!(children().is_empty());
    }
}

#[test]
fn its_init_holds_none_of_the_services_memory_while_it_waits() {
    const BALLAST: usize = 64 << 20;
    let Some(template) = isolated() else { return };
    let mut ballast = vec![1_u8; BALLAST];
    let Some(ready) = ready(&template, &spec()) else { return };
    let [init] = children()[..] else { panic!("{:?}", children()) };
    ballast.fill(2);
    let memory = fs::read_to_string(format!("/proc/{init}/smaps_rollup")).unwrap();
    let private = memory.lines().filter(|line| line.starts_with("Private_"));
    let kilobytes: u64 =
        private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert!(kilobytes < 1024, "{kilobytes} KiB");
    assert_eq!(ballast[BALLAST / 2], 2);
    drop(ready);
    assert!(children().is_empty());
}

#[test]
fn templates_made_at_once_are_given_as_much_as_one_made_alone() {
    let given = || {
        let template = Template::create(TemplateSpec::default()).unwrap();
        // An ordinary user's power isolates as well, but keeps no sandbox ready.
        (template.isolation().clone(), Ready::make(&template, &spec()).unwrap().is_some())
    };
    let alone = given();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(given(), alone)));
        }
    });
}
