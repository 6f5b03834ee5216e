//! Floors F2 to F5: what it costs to start an interpreter, or a program, that does nothing.
//!
//! Must not start shims: the programs that version managers put in front would make every ratio look good.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{BenchError, io_error};

/// A program with arguments that ends at once.
#[derive(Debug, Clone)]
pub(super) struct Floor {
    /// Its name in the report.
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Floor {
    /// F2.
    pub(super) fn python() -> Result<Self, BenchError> {
        let program = ask("python3", &["-c", "import sys; print(sys.executable)"])
            .ok_or(BenchError::Missing("python3"))?;
        Ok(Self { name: "F2 python3 -I -S -c pass", program, arguments: words(&["-I", "-S", "-c", "pass"]) })
    }

    /// F3.
    pub(super) fn node() -> Result<Self, BenchError> {
        let program = ask("node", &["-p", "process.execPath"]).ok_or(BenchError::Missing("node"))?;
        Ok(Self { name: "F3 node -e 0", program, arguments: words(&["-e", "0"]) })
    }

    /// F4: an empty program, linked statically, built into `folder`.
    pub(super) fn program(folder: &Path) -> Result<Self, BenchError> {
        let source = folder.join("nothing.rs");
        let program = folder.join("nothing");
        std::fs::create_dir_all(folder).map_err(io_error("make a folder for the empty program"))?;
        std::fs::write(&source, "fn main() {}\n").map_err(io_error("write the empty program"))?;
        let options =
            ["-Copt-level=3", "-Cpanic=abort", "-Ctarget-feature=+crt-static", "-Cstrip=symbols", "-o"];
        let built = Command::new("rustc").args(options).arg(&program).arg(&source).status();
        if !built.map_err(io_error("start rustc"))?.success() {
            return Err(BenchError::Command("rustc nothing.rs".to_owned()));
        }
        Ok(Self { name: "F4 empty static program", program, arguments: Vec::new() })
    }

    /// F5: a program of one line in Java, compiled into `folder`.
    pub(super) fn java(folder: &Path) -> Result<Self, BenchError> {
        let program =
            ask("sh", &["-c", "readlink -f \"$(command -v java)\""]).ok_or(BenchError::Missing("java"))?;
        std::fs::create_dir_all(folder).map_err(io_error("make a folder for the Java program"))?;
        let source = folder.join("Hello.java");
        let text =
            "class Hello { public static void main(String[] none) { System.out.println(\"hello\"); } }\n";
        std::fs::write(&source, text).map_err(io_error("write the Java program"))?;
        let built = Command::new("javac").arg("-d").arg(folder).arg(&source).status();
        if !built.map_err(|_| BenchError::Missing("javac"))?.success() {
            return Err(BenchError::Command("javac Hello.java".to_owned()));
        }
        let mut arguments = words(&["-Xshare:auto", "-cp"]);
        arguments.extend([folder.into(), "Hello".into()]);
        Ok(Self { name: "F5 java Hello", program, arguments })
    }

    /// From before the start to after the end, once.
    pub(super) fn once(&self) -> Result<Duration, BenchError> {
        self.at_once(1)
    }

    /// So many at once, from before the first start to after the last end.
    pub(super) fn at_once(&self, count: usize) -> Result<Duration, BenchError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let cannot = || io_error(format!("start `{}`", self.program.display()));
        let started = Instant::now();
        let all: Result<Vec<_>, _> = (0..count).map(|_| command.spawn()).collect();
        let mut succeeded = true;
        for mut one in all.map_err(cannot())? {
            succeeded &= one.wait().map_err(cannot())?.success();
        }
        let took = started.elapsed();
        if succeeded { Ok(took) } else { Err(BenchError::Command(self.name.to_owned())) }
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The path that a program prints about itself.
fn ask(program: &str, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_file().then_some(path)
}
