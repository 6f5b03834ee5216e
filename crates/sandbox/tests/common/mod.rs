//! What the tests share: templates of each level, programs that are shell scripts, waiting for conditions.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses some of it")]

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use hothouse_sandbox::{
    Command, Ending, Exit, Identity, Isolation, Level, Limit, Limits, Missing, Network, Process, Sandbox,
    SandboxSpec, Template, TemplateSpec,
};

/// Nothing here takes long, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const MEGABYTE: u64 = 1 << 20;

pub(crate) fn identity() -> Identity {
    Identity { uid: 993, gid: 990, name: "sbx_user1051".into(), home: "/home/sbx_user1051".into() }
}

pub(crate) fn template(level: Level) -> Template {
    Template::create(TemplateSpec {
        level,
        network: Network::Relayed,
        identity: identity(),
        directories: [PathBuf::from("/var/task"), PathBuf::from("/opt")].into(),
        ..TemplateSpec::default()
    })
    .unwrap()
}

/// A template with a root of its own, or `None` and a line that says why the test is skipped.
pub(crate) fn isolated() -> Option<Template> {
    let template = template(Level::Best);
    if template.has_own_root() {
        return Some(template);
    }
    skip("the machine allows no namespaces");
    None
}

/// As [`isolated`], with this feature.
pub(crate) fn isolated_with(feature: Missing) -> Option<Template> {
    let template = isolated()?;
    if let Isolation::Partial(missing) = template.isolation()
        && missing.contains(&feature)
    {
        skip(&format!("the machine gives no {feature}"));
        return None;
    }
    Some(template)
}

pub(crate) fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// One template of each level that the machine has.
pub(crate) fn levels() -> Vec<Template> {
    let best = template(Level::Best);
    let none = template(Level::None);
    assert_eq!(none.isolation(), &Isolation::None);
    if best.has_own_root() { vec![best, none] } else { vec![none] }
}

pub(crate) fn spec() -> SandboxSpec {
    SandboxSpec {
        tmp_bytes: 16 * MEGABYTE,
        hostname: "169.254.1.2".into(),
        limits: Limits {
            open_files: Some(Limit::both(1024)),
            processes: Some(100),
            locked_bytes: Some(Limit::both(65536)),
            stack_bytes: Some(Limit { soft: 8388608, hard: Limit::UNLIMITED }),
            ..Limits::default()
        },
        network: Network::Own,
        ..SandboxSpec::default()
    }
}

pub(crate) fn sandbox(template: &Template) -> Sandbox {
    Sandbox::create(template, spec()).unwrap()
}

/// A shell script as a program.
pub(crate) fn script(text: &str) -> Command {
    Command {
        arguments: ["/bin/sh", "-c", text].map(Into::into).into(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: "/".into(),
        descriptors: vec![],
    }
}

/// A program's standard output and error, as they come.
pub(crate) struct Output(File);

impl Output {
    /// All until every writer has gone.
    pub(crate) fn read(mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }
}

/// Adds a pipe as standard output and error.
pub(crate) fn with_output(mut command: Command) -> (Command, Output) {
    let (reader, writer) = io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    command.descriptors.push((writer.try_clone().unwrap(), 1));
    command.descriptors.push((writer, 2));
    (command, Output(File::from(OwnedFd::from(reader))))
}

pub(crate) fn start(sandbox: &mut Sandbox, text: &str) -> (Process, Output) {
    let (command, output) = with_output(script(text));
    (sandbox.spawn(command).unwrap(), output)
}

/// Runs a script to its end.
pub(crate) fn run(sandbox: &mut Sandbox, text: &str) -> (Exit, String) {
    let (process, output) = start(sandbox, text);
    let text = output.read();
    (end_of(process), text)
}

/// What a script prints that must succeed.
pub(crate) fn output_of(sandbox: &mut Sandbox, text: &str) -> String {
    let (exit, output) = run(sandbox, text);
    assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?}: {output}");
    output
}

/// Waits as a reactor would: until the descriptor is readable.
pub(crate) fn end_of(mut process: Process) -> Exit {
    wait_readable(&process);
    process.try_wait().unwrap().expect("a readable process has ended")
}

pub(crate) fn wait_readable(source: &impl AsFd) {
    let mut poll = libc::pollfd { fd: source.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry.
    let count = unsafe { libc::poll(&raw mut poll, 1, PATIENCE.as_millis() as i32) };
    assert_eq!(count, 1, "nothing happened in time");
}

/// Polls until the condition holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// A time to sleep, in seconds, that no other test on this machine sleeps: it marks processes.
pub(crate) fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("3600.{:08}{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Host processes whose command line holds `marker`.
pub(crate) fn processes_with(marker: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(marker)
        })
        .collect()
}
