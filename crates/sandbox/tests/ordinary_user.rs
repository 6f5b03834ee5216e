//! The other tests once more, as somebody who is not root.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

const NOBODY: u32 = 65534;

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
    // SAFETY: takes no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: not root, so the tests ran as an ordinary user already");
        return;
    }
    // The build directory may be in a place that others cannot read.
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    for name in ["programs", "cage", "growth", "service_death", "init_memory"] {
        let Some(binary) = test_binary(name) else {
            eprintln!("skipped: {name} was not built");
            continue;
        };
        let copy = directory.path().join(name);
        fs::copy(binary, &copy).unwrap();
        let output = Command::new(&copy)
            .args(["--nocapture", "--test-threads=2"])
            .current_dir(Path::new("/"))
            .env("TMPDIR", "/tmp")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let text =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        for line in
            text.lines().filter(|line| line.starts_with("skipped: ") || line.starts_with("isolation here"))
        {
            eprintln!("as an ordinary user: {line}");
        }
        assert!(output.status.success(), "{name} as an ordinary user:\n{text}");
    }
}
