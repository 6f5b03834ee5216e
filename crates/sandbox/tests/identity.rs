//! Who programs are, and that nothing makes them anyone else.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    ffi::CString,
    fs,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::PathBuf,
};

use common::*;
use hothouse_sandbox::{Identity, Missing, Mount, Sandbox, Template, TemplateSpec};

/// Whether the service has the power to map users, which these tests are about.
fn privileged() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    const SYS_ADMIN: u64 = 21;
    u64::from_str_radix(effective, 16).unwrap() >> SYS_ADMIN & 1 == 1
}

fn template_of(identity: Identity) -> Option<Template> {
    isolated_with(Missing::UserNamespace)?;
    if !privileged() {
        skip("only root can map other users than himself");
        return None;
    }
    let spec = TemplateSpec {
        identity,
        directories: [PathBuf::from("/var/task"), PathBuf::from("/opt")].into(),
        programs: vec![("/entry.sh".into(), b"#!/bin/sh\necho entered".to_vec())],
        ..TemplateSpec::default()
    };
    Some(Template::create(spec).unwrap())
}

#[test]
fn files_of_root_are_seen_as_roots() {
    let Some(template) = template_of(identity()) else { return };
    let code = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount::read_only(code.path(), "/var/task"));
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let text = output_of(
        &mut sandbox,
        "whoami; id -g; stat -c '%n %U %u %g %A' / /var/task /opt /tmp /usr /entry.sh /proc/1 $0; /entry.sh",
    );
    for line in [
        "sbx_user1051",
        "990",
        "/ root 0 0 drwxr-xr-x",
        "/var/task root 0 0 drwxr-xr-x",
        "/opt root 0 0 drwxr-xr-x",
        "/tmp root 0 0 drwxrwxrwt",
        "/usr root 0 0 drwxr-xr-x",
        "/entry.sh root 0 0 -rwxr-xr-x",
        "entered",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

/// A program of root's that takes root's place or capabilities when it is executed, if it is allowed to.
#[test]
fn nothing_that_is_executed_gives_power() {
    let Some(template) = template_of(identity()) else { return };
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let [user, capable] = ["user", "capable"].map(|name| directory.path().join(name));
    for path in [&user, &capable] {
        fs::copy("/bin/cat", path).unwrap();
    }
    fs::set_permissions(&user, fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(&capable, fs::Permissions::from_mode(0o755)).unwrap();
    // Version 2, effective; everything is permitted.
    let words = [0x0200_0001_u32, u32::MAX, 0, u32::MAX, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = CString::new(capable.as_os_str().as_bytes()).unwrap();
    // SAFETY: both are C strings, and the value has the length that is said.
    let set = unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if set != 0 {
        skip("file capabilities are not stored here, so only the bits of the mode are tried");
    }
    let mut spec = spec();
    spec.mounts.push(Mount::read_only(directory.path(), "/opt"));
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    for program in ["/opt/user", "/opt/capable"] {
        let text = output_of(&mut sandbox, &format!("{program} /proc/self/status"));
        assert!(text.contains("Uid:\t993\t993\t993\t993\nGid:\t990\t990\t990\t990\n"), "{program}: {text}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(text.contains(&format!("{set}:\t0000000000000000\n")), "{program}: {text}");
        }
    }
    let text = output_of(&mut sandbox, "cat /proc/self/uid_map; echo 0 0 1 > /proc/self/uid_map; true");
    let map: Vec<&str> = text.split_whitespace().take(6).collect();
    assert_eq!((&map[..4], map[5]), (&["0", "0", "1", "993"][..], "1"));
    assert!(is_nobody_else(map[4].parse().unwrap()), "{map:?}");
    for attempt in ["newuidmap $$ 0 0 1", "setpriv --reuid 0 true", "su -c true", "chown 0:0 /proc/self/fd/1"]
    {
        let (exit, output) = run(&mut sandbox, attempt);
        assert!(!matches!(exit.ending, hothouse_sandbox::Ending::Exited(0)), "{attempt}: {output}");
    }
}

/// A user that no system gives to anyone.
fn is_nobody_else(id: u32) -> bool {
    (0x7000_0000..0x7fff_0000).contains(&id)
}

/// `LAMBDA_INIT_USER=root`: root to himself, and an unprivileged user to the machine.
#[test]
fn who_is_root_inside_has_no_power_outside() {
    let root = Identity { uid: 0, gid: 0, name: "root".into(), home: "/root".into() };
    let Some(template) = template_of(root) else { return };
    let mut sandbox = Sandbox::create(&template, spec()).unwrap();
    let (process, mut output) = start(
        &mut sandbox,
        "id -un; id -u; id -g; grep -h ^Cap /proc/self/status; echo end; touch /tmp/x; exec sleep 60",
    );
    let lines: Vec<String> =
        std::iter::from_fn(|| Some(output.line()).filter(|line| line != "end")).collect();
    assert_eq!(lines[..3], ["root", "0", "0"]);
    assert_eq!(lines.len(), 8);
    assert!(lines[3..].iter().all(|line| line.ends_with("\t0000000000000000")), "{lines:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", process.id().unwrap())).unwrap();
    for kind in ["Uid:", "Gid:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        assert!(line.split_whitespace().all(|id| is_nobody_else(id.parse().unwrap())), "{line}");
    }
    drop(process);
    // Files of the host's root are somebody else's.
    let secret = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    fs::write(secret.path().join("secret"), "x").unwrap();
    fs::set_permissions(secret.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount { source: secret.path().into(), target: "/opt".into(), writable: true });
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    assert_eq!(output_of(&mut sandbox, "cat /opt/secret 2>/dev/null || echo refused"), "refused\n");
    assert_eq!(
        output_of(&mut sandbox, "stat -c %U /opt/secret; echo x 2>/dev/null > /opt/new || echo refused"),
        "nobody\nrefused\n"
    );
}

/// What is used up in a user namespace is charged to whom it belongs, and so to nobody who matters.
#[test]
fn a_user_namespace_belongs_to_the_user_that_programs_are() {
    let Some(template) = template_of(identity()) else { return };
    let mut sandbox = Sandbox::create(&template, spec()).unwrap();
    let (process, mut output) = start(&mut sandbox, "echo ready; exec sleep 60");
    assert_eq!(output.line(), "ready");
    let namespace = fs::File::open(format!("/proc/{}/ns/user", process.id().unwrap())).unwrap();
    const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;
    let mut owner: libc::uid_t = 0;
    // SAFETY: the kernel writes one number.
    let answer = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID as _, &raw mut owner) };
    assert!(answer == 0 && is_nobody_else(owner), "{owner}");
    // Nor does it belong to the user of another sandbox.
    let mut other = Sandbox::create(&template, spec()).unwrap();
    let map = |sandbox: &mut Sandbox| output_of(sandbox, "tail -n 1 /proc/self/uid_map");
    assert_ne!(map(&mut sandbox), map(&mut other));
    // Not while other tests make theirs.
    eventually("the service can be inspected as before", || {
        // SAFETY: takes no pointers.
        unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
    });
}
