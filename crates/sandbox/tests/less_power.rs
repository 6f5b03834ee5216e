//! The other tests once more, as somebody who may do less than root.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

use std::{
    env, fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
};

const NOBODY: u32 = 65534;

const TESTS: &[&str] = &[
    "programs",
    "shared",
    "cage",
    "network",
    "leftovers",
    "service_death",
    "init_memory",
    "freeze",
    "cpu",
    "identity",
    "attacks",
];

/// The newest test binary of that name beside ours.
fn test_binary(name: &str) -> Option<PathBuf> {
    let ours = env::current_exe().unwrap();
    let candidates = fs::read_dir(ours.parent().unwrap()).unwrap().flatten().filter(|entry| {
        let file = entry.file_name();
        let file = file.to_str().unwrap_or_default();
        file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-') && !rest.contains('.'))
    });
    candidates.max_by_key(|entry| entry.metadata().unwrap().modified().unwrap()).map(|entry| entry.path())
}

#[test]
fn an_ordinary_user_passes_the_same_tests() {
    run_tests("an ordinary user", |command| {
        command.uid(NOBODY).gid(NOBODY);
    });
}

/// As in a session of systemd's: by it, trees are frozen and ended although nobody else is asked.
#[test]
fn an_ordinary_user_with_a_control_group_passes_the_same_tests() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[2] == "cgroup2").then(|| PathBuf::from(fields[1]))
    });
    let group = point.map(|point| point.join(format!("hothouse-user-{}", std::process::id())));
    let Some(group) = group.filter(|group| fs::create_dir(group).is_ok()) else {
        eprintln!("skipped: no hierarchy of the second version to write to");
        return;
    };
    let _removed = Removed(group.clone());
    // Its member is a group below, as in a session.
    let member = group.join("terminal");
    fs::create_dir(&member).unwrap();
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        chown(group.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let entrance = fs::File::options().write(true).open(member.join("cgroup.procs")).unwrap();
    run_tests("an ordinary user with a control group", |command| {
        let entrance = entrance.try_clone().unwrap();
        command.uid(NOBODY).gid(NOBODY);
        // SAFETY: one write to a file that is open.
        unsafe { command.pre_exec(move || (&entrance).write_all(b"0")) };
    });
    assert!(!group.join("hothouse").exists(), "the service's groups are gone");
}

/// A group and the one below it.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("terminal"));
        let _ = fs::remove_dir(&self.0);
    }
}

/// As in many containers.
#[test]
fn root_that_may_not_mount_passes_the_same_tests() {
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    run_tests("root without `CAP_SYS_ADMIN`", |command| {
        // SAFETY: one system call without pointers.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
    });
}

fn run_tests(who: &str, become_them: impl Fn(&mut Command)) {
    // SAFETY: takes no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: not root, so the tests ran as an ordinary user already");
        return;
    }
    // The build directory may be in a place that others cannot read.
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    for name in TESTS {
        let Some(binary) = test_binary(name) else {
            eprintln!("skipped: {name} was not built");
            continue;
        };
        let copy = directory.path().join(name);
        // By another process: a descriptor of ours, open for writing, could be inherited by what the other test starts
        // meanwhile, and the copy could not be executed ("text file busy").
        assert!(Command::new("cp").arg(binary).arg(&copy).status().unwrap().success());
        let mut command = Command::new(&copy);
        command.args(["--nocapture", "--test-threads=2"]).current_dir("/").env("TMPDIR", "/tmp");
        become_them(&mut command);
        let output = command.output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        for line in
            text.lines().filter(|line| line.starts_with("skipped: ") || line.starts_with("isolation here"))
        {
            eprintln!("as {who}: {line}");
        }
        assert!(output.status.success(), "{name} as {who}:\n{text}");
    }
}
