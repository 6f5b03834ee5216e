//! Processes of the benchmark: on which core they run, and that they end with it.
//!
//! Must not know what they do.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use super::{BenchError, io_error};

/// A child process that is killed when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Owned {
    child: Child,
}

impl Owned {
    /// Starts a command; its stdout is a pipe.
    pub(super) fn start(command: &mut Command) -> Result<Self, BenchError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io_error(format!("start `{name}`")))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output, once.
    pub(super) fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().expect("taken only once"))
    }

    /// One line of its output.
    pub(super) fn line(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        let mut output = self.output();
        output.read_line(&mut line).map_err(io_error("read what a part of the benchmark says"))?;
        self.child.stdout = Some(output.into_inner());
        Ok(line.trim().to_owned())
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(mut self) -> Result<(), BenchError> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| BenchError::Io { what: "signal a process".to_owned(), source: error.into() })?;
        self.child.wait().map_err(io_error("wait for a process"))?;
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program as one of its parts.
pub(super) fn part(arguments: &[&str]) -> Result<Command, BenchError> {
    let program = std::env::current_exe().map_err(io_error("find this program"))?;
    let mut command = Command::new(program);
    command.arg("bench-part").args(arguments);
    Ok(command)
}

/// A command that runs on `core` together with everything that it starts, or anywhere.
pub(super) fn on_core(core: Option<usize>, program: &OsStr) -> Result<Command, BenchError> {
    let Some(core) = core else { return Ok(Command::new(program)) };
    let mut command = part(&["pinned", "--core", &core.to_string(), "--"])?;
    command.arg(program);
    Ok(command)
}

/// Keeps this thread, and what it starts, on one core.
pub(super) fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

/// As many open files as this process may have: a thousand callers need more than is usual.
pub(super) fn open_many_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?)
}

/// Lets this thread run where it could at first.
pub(super) struct Pinned {
    before: rustix::thread::CpuSet,
}

impl Pinned {
    /// Keeps this thread on one core until the value is dropped.
    pub(super) fn to(core: Option<usize>) -> io::Result<Self> {
        let before = rustix::thread::sched_getaffinity(None)?;
        pin(core)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before, so it is now.
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

/// Replaces this program; returns only if that fails.
pub(super) fn become_another(command: &[String]) -> io::Error {
    match command.split_first() {
        Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        None => io::Error::other("no command was given"),
    }
}
