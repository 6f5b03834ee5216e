//! What the suite needs on the machine: Debian packages where it may, Python and npm packages in the project.
//!
//! Must not change anything outside the repository, the target folder and, as root on Debian, its packages.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Verdict,
    counts::Counts,
    workshop::{Workshop, succeeds, there_is},
};

/// A program of the suite and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 8] = [
    ("curl", "curl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    // aws-lambda-ric builds its native part from sources.
    ("g++", "g++"),
    ("cmake", "cmake"),
    ("autoconf", "autoconf"),
    ("automake", "automake"),
    ("libtoolize", "libtool"),
];

/// Interpreters that may carry the virtual environment, best first.
const PYTHONS: [&str; 7] =
    ["python3", "python3.13", "python3.12", "python3.11", "python3.14", "python3.10", "/usr/bin/python3"];

/// Installs Debian packages for programs that are missing. Whatever cannot be installed is left to the steps,
/// which say what they skip.
pub(super) fn packages(_: &Workshop) -> Verdict {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !there_is(program)).map(|(_, package)| *package).collect();
    if python().is_none() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        println!("    nothing is missing");
        return Verdict::Ran(Counts::default());
    }
    if !is_root() || !there_is("apt-get") {
        return Verdict::Ran(Counts::skipped(&format!(
            "packages: {} missing, and this user or system cannot install Debian packages",
            missing.join(", ")
        )));
    }
    println!("    apt-get install {}", missing.join(" "));
    let installed = succeeds(Command::new("apt-get").args(["update", "-q"]))
        && Command::new("apt-get")
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .is_ok_and(|status| status.success());
    Verdict::Ran(match installed {
        true => Counts::default(),
        false => Counts::skipped(&format!("packages: apt-get could not install {}", missing.join(", "))),
    })
}

/// Makes the virtual environment with the pinned packages of `tests/python/requirements.txt`.
pub(super) fn venv(workshop: &Workshop) -> Verdict {
    let Some(python) = python() else {
        return Verdict::Skipped("no Python 3.10 or newer with the venv module".to_owned());
    };
    let requirements = workshop.root.join("tests/python/requirements.txt");
    let venv = workshop.venv();
    let result = installed_once(&requirements, &venv.join("installed-requirements.txt"), || {
        println!("    {python} -m venv {}", venv.display());
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv))?;
        println!("    pip install -r {}", requirements.display());
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements))
    });
    verdict(result)
}

/// Installs the JavaScript SDK's test package beside its sources' copy in the target folder.
pub(super) fn npm(workshop: &Workshop) -> Verdict {
    if !there_is("npm") {
        return Verdict::Skipped("npm is not installed".to_owned());
    }
    // The SDK wants Node.js 20, and the tests a checksum that came with 20.15.
    let able = "process.exit(typeof require('zlib').crc32 === 'function' ? 0 : 1)";
    if !succeeds(Command::new("node").args(["-e", able])) {
        return Verdict::Skipped("Node.js is older than 20.15".to_owned());
    }
    let source = workshop.root.join("tests/sdk-js");
    let folder = workshop.scratch().join("sdk-js");
    let lock = source.join("package-lock.json");
    let result = installed_once(&lock, &folder.join("installed-lock.json"), || {
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), folder.join(file))?;
        }
        println!("    npm ci in {}", folder.display());
        run(Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder))
    });
    verdict(result)
}

/// Runs `install` unless it already ran with this very list.
fn installed_once(list: &Path, stamp: &Path, install: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let wanted = fs::read(list)?;
    if fs::read(stamp).is_ok_and(|installed| installed == wanted) {
        println!("    up to date");
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted)
}

fn verdict(result: io::Result<()>) -> Verdict {
    match result {
        Ok(()) => Verdict::Ran(Counts::default()),
        Err(error) => Verdict::Broken(error.to_string()),
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`{}` ended with {status}", PathBuf::from(command.get_program()).display())))
}

/// The first interpreter that can make the virtual environment.
fn python() -> Option<&'static str> {
    let able = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    PYTHONS.into_iter().find(|python| succeeds(Command::new(python).args(["-c", able])))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
