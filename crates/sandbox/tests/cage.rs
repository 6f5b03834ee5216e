//! What programs inside can see and do: needs a machine that allows namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::*;
use hothouse_sandbox::{Ending, Isolation, Level, Missing, Mount, Network, Sandbox, SpawnError, probe};

#[test]
fn probing_says_what_a_template_gives() {
    let template = template(Level::Best);
    let found = probe(Level::Best, Network::Relayed);
    assert_eq!(found, (template.isolation().clone(), template.network(Network::Relayed)));
    assert_eq!(probe(Level::None, Network::Own), (Isolation::None, Network::Host));
    eprintln!("isolation here: {}", template.isolation());
}

#[test]
fn no_privilege_is_left() {
    let Some(template) = isolated_with(Missing::SystemCallFilter) else { return };
    let text = output_of(&mut sandbox(&template), "cat /proc/self/status; id; echo $$; hostname");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000\n")), "{set}: {text}");
    }
    assert!(text.contains("NoNewPrivs:\t1\n") && text.contains("Seccomp:\t2\n"), "{text}");
    assert!(
        text.contains("Uid:\t993\t993\t993\t993\n") && text.contains("Gid:\t990\t990\t990\t990\n"),
        "{text}"
    );
    assert!(text.contains("uid=993(sbx_user1051) gid=990(sbx_user1051)"), "{text}");
    assert!(!text.lines().any(|line| line == "1"), "{text}");
    assert!(text.ends_with("169.254.1.2\n"), "{text}");
}

#[test]
fn the_host_is_out_of_sight() {
    let Some(template) = isolated() else { return };
    let mut sandbox = sandbox(&template);
    let secret = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    fs::write(secret.path().join("secret"), "x").unwrap();
    let text = output_of(
        &mut sandbox,
        &format!(
            "ls -d /root /home /run /etc/shadow {} 2>/dev/null; ls -A /tmp; ls -A /sys; ls -A /var/task; echo end",
            secret.path().display()
        ),
    );
    assert_eq!(text, "end\n", "neither files of the host…");

    let text = output_of(
        &mut sandbox,
        "cd /proc; for entry in *; do case $entry in [0-9]*) echo $entry;; esac; done",
    );
    let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids, [1, 2], "… nor its processes");

    let text = output_of(&mut sandbox, "cat /proc/1/cmdline; cat /proc/1/comm");
    assert_eq!(text.trim_matches('\0'), "init\n", "the service's arguments are secret");
    for file in ["environ", "maps", "mem", "fd/0", "root/etc", "cwd/etc"] {
        let (exit, text) =
            run(&mut sandbox, &format!("ls -L /proc/1/{file} >/dev/null && head -c 1 /proc/1/{file}"));
        assert!(!matches!(exit.ending, Ending::Exited(0)), "{file}: {text}");
    }
    let text = output_of(
        &mut sandbox,
        "cat /proc/kcore /proc/kmsg /proc/keys /proc/kallsyms /proc/timer_list 2>/dev/null | wc -c",
    );
    assert_eq!(text.trim(), "0");
}

#[test]
fn nothing_but_tmp_can_be_written() {
    let Some(template) = isolated() else { return };
    let code = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o777)).tempdir().unwrap();
    fs::set_permissions(code.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(code.path().join("handler"), "code").unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount::read_only(code.path(), "/var/task"));
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    assert_eq!(output_of(&mut sandbox, "cat /var/task/handler"), "code");
    for path in [
        "/x",
        "/var/x",
        "/var/task/x",
        "/var/task/handler",
        "/opt/x",
        "/etc/x",
        "/usr/x",
        "/dev/x",
        "/proc/x",
        "/etc/passwd",
    ] {
        let (exit, text) = run(&mut sandbox, &format!("echo x > {path}"));
        assert!(!matches!(exit.ending, Ending::Exited(0)), "{path}: {text}");
    }
    let mounts = output_of(&mut sandbox, "cat /proc/self/mounts");
    for place in ["/", "/usr", "/var/task", "/proc/sys"] {
        let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(place)).unwrap();
        assert!(line.split(' ').nth(3).unwrap().starts_with("ro,nosuid,nodev"), "{line}");
    }
    let writable = output_of(
        &mut sandbox,
        "find / -xdev -writable ! -type l 2>/dev/null | grep -v -e ^/dev/ -e ^/proc -e '^/tmp$'; echo end",
    );
    assert_eq!(writable, "end\n");
    output_of(&mut sandbox, "echo x > /tmp/x && cat /tmp/x && echo x > /dev/shm/x && echo x > /dev/null");
    assert_eq!(fs::read_dir(code.path()).unwrap().count(), 1);
}

/// With Landlock or without: what it must not break, and what only it forbids.
#[test]
fn a_second_lock_is_not_in_the_way() {
    let Some(template) = isolated() else { return };
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount { source: shared.path().into(), target: "/opt".into(), writable: true });
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let text = output_of(
        &mut sandbox,
        "set -e
        for place in /tmp /dev/shm /opt; do
            cd $place; mkdir a b; echo text > a/file; mv a/file b/file; ln b/file a/link; ln -s link a/symbolic
            : > a/symbolic; mkfifo a/pipe; rm -r a b
        done
        echo x > /dev/null; echo x > /proc/self/comm; echo out > /dev/stdout; echo done",
    );
    assert_eq!(text, "out\ndone\n");

    const ASK_VERSION: u32 = 1;
    const SCOPES: libc::c_long = 6;
    // SAFETY: without a structure the kernel only answers its version.
    let version = unsafe { libc::syscall(444, std::ptr::null::<u8>(), 0_usize, ASK_VERSION) };
    if version < SCOPES {
        return skip("the kernel has no Landlock that forbids signals");
    }
    // The same user, so only Landlock forbids it.
    assert_eq!(output_of(&mut sandbox, "kill -0 1 2> /dev/null || echo refused; kill -0 $$"), "refused\n");
}

#[test]
fn a_writable_mount_is_written_through() {
    let Some(template) = isolated() else { return };
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount { source: shared.path().into(), target: "/opt".into(), writable: true });
    output_of(&mut Sandbox::create(&template, spec).unwrap(), "echo hello > /opt/file");
    assert_eq!(fs::read_to_string(shared.path().join("file")).unwrap(), "hello\n");
}

#[test]
fn a_mount_that_is_impossible_names_its_place() {
    let Some(template) = isolated() else { return };
    for (source, target) in [("/nowhere", "/var/task"), ("/usr", "/not/in/the/template")] {
        let mut spec = spec();
        spec.mounts.push(Mount::read_only(source, target));
        match Sandbox::create(&template, spec) {
            Err(SpawnError::Mount { target: named, .. }) => assert_eq!(named, Path::new(target)),
            other => panic!("{other:?}"),
        }
    }
    let mut spec = spec();
    spec.mounts.push(Mount::read_only("/usr", "/var/../etc"));
    assert!(matches!(Sandbox::create(&template, spec), Err(SpawnError::Path { .. })));
}

#[test]
fn tmp_has_its_size_and_outlives_processes() {
    let Some(template) = isolated() else { return };
    let mut one = sandbox(&template);
    assert_eq!(output_of(&mut one, "stat -c %a /tmp; echo kept > /tmp/file"), "1777\n");
    assert_eq!(output_of(&mut one, "cat /tmp/file; touch /tmp/more"), "kept\n");
    let (exit, text) = run(&mut one, "head -c 17000000 /dev/zero > /tmp/large");
    assert!(!matches!(exit.ending, Ending::Exited(0)));
    assert!(text.contains("No space left"), "{text}");
    assert_eq!(output_of(&mut one, "rm /tmp/large; ls /tmp"), "file\nmore\n");
    assert_eq!(output_of(&mut sandbox(&template), "ls /tmp"), "", "another's is another");
}

#[test]
fn attacks_begin_in_vain() {
    let Some(template) = isolated_with(Missing::SystemCallFilter) else { return };
    let mut sandbox = sandbox(&template);
    for text in [
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "chroot /usr /bin/true",
        "mknod /tmp/sda b 8 0",
        "hostname other",
        "kill -9 1 && kill -0 1 && exit 1",
        "su -c true",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "ls /sys/fs/cgroup/*",
        "dmesg",
        "umount /tmp",
        "chown 0:0 /tmp && exit 0; exit 1",
    ] {
        let (exit, output) = run(&mut sandbox, text);
        assert!(!matches!(exit.ending, Ending::Exited(0)), "{text}: {output}");
    }
}

#[test]
fn reaching_the_memory_limit_is_told() {
    let Some(template) = isolated_with(Missing::MemoryLimit) else { return };
    let mut spec = spec();
    spec.limits.memory_bytes = Some(64 * MEGABYTE);
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let (exit, output) = run(&mut sandbox, "exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    assert!(matches!(exit.ending, Ending::Signaled(libc::SIGKILL)), "{exit:?} {output}");
    assert!(exit.out_of_memory);
    let peak = exit.peak_memory.unwrap();
    assert!((60 * MEGABYTE..=64 * MEGABYTE).contains(&peak), "{peak}");
    // Of a child: the program itself goes on.
    let (exit, _) = run(&mut sandbox, "dd if=/dev/zero of=/dev/null bs=200M count=1; exit 6");
    assert!(matches!(exit.ending, Ending::Exited(6)), "{exit:?}");
    assert!(exit.out_of_memory);
    // And the place can still be used.
    let (exit, _) = run(&mut sandbox, "exit 0");
    assert!(matches!(exit.ending, Ending::Exited(0)) && !exit.out_of_memory, "{exit:?}");
    assert_eq!(sandbox.memory_peak(), Some(peak));
}

#[test]
fn the_number_of_processes_is_limited_for_each_sandbox_by_itself() {
    let Some(template) = isolated_with(Missing::UserNamespace) else { return };
    let mut spec = spec();
    spec.limits.processes = Some(20);
    let crowd = |count: u32| format!("for i in $(seq {count}); do sleep 100 & done; echo ready; read line");
    let mut sandboxes: Vec<Sandbox> =
        (0..3).map(|_| Sandbox::create(&template, spec.clone()).unwrap()).collect();
    let mut full = Vec::new();
    for sandbox in &mut sandboxes {
        let (input, writer) = std::io::pipe().unwrap();
        let (mut command, mut output) = with_output(script(&crowd(15)));
        command.descriptors.push((input.into(), 0));
        let process = sandbox.spawn(command).unwrap();
        assert_eq!(output.line(), "ready");
        full.push((process, writer));
    }
    drop(full);
    let (exit, text) = run(&mut sandboxes[0], &crowd(40));
    assert!(!matches!(exit.ending, Ending::Exited(0)) && text.contains("fork"), "{exit:?} {text}");
}
