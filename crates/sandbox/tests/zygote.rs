//! Programs that are copies of a zygote: what they are, what they cannot do, and what becomes of them when something fails.

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
    os::fd::OwnedFd,
    path::Path,
    thread,
};

use common::*;
use hothouse_sandbox::{
    Command, Ending, Level, Limit, Mount, Network, Process, Ready, Sandbox, SpawnError, Template,
    TemplateSpec, Zygote,
};

const PYTHON: &str = "/usr/bin/python3";

/// What a child does: the code comes by descriptor 4.
const PROGRAM: &str = "exec(open(4).read())";

/// A template in which our client for Python is shown, or a line that says why the test is skipped.
fn template() -> Option<Template> {
    if !Path::new(PYTHON).exists() {
        skip("no Python of the machine's own");
        return None;
    }
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/python");
    let template = Template::create(TemplateSpec {
        level: Level::Best,
        network: Network::Relayed,
        identity: identity(),
        mounts: vec![Mount::read_only(fs::canonicalize(client).unwrap(), "/var/runtime")],
        directories: ["/var/task", "/opt", "/var/runtime"].map(Into::into).into(),
        ..TemplateSpec::default()
    });
    Some(template.unwrap())
}

fn python(code: &str) -> Command {
    Command {
        arguments: [PYTHON, "-S", "-B", "-c", code].map(Into::into).into(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: "/".into(),
        descriptors: vec![],
    }
}

/// A zygote that does this before it waits for orders.
fn zygote_after(template: &Template, code: &str) -> Result<Option<Zygote>, SpawnError> {
    let code = format!(
        "import sys; sys.path.insert(0, '/var/runtime'); import hothouse_zygote\n{code}\n\
         hothouse_zygote.fork_into_sandboxes(); {PROGRAM}"
    );
    Zygote::start(template, &python(&code))
}

/// A template and its zygote.
fn zygote() -> Option<(Template, Zygote)> {
    let template = template()?;
    let Some(zygote) = zygote_after(&template, "").unwrap() else {
        skip("only root has zygotes");
        return None;
    };
    Some((template, zygote))
}

/// A program of this code: the pipe that it comes by, and what it prints.
fn program(code: &str) -> (Command, Output) {
    let (mut command, output) = with_output(python(PROGRAM));
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(code.as_bytes()).unwrap();
    command.descriptors.push((OwnedFd::from(reader), 4));
    (command, output)
}

/// A child of the zygote, without fail.
fn born(sandbox: &mut Sandbox, zygote: &Zygote, code: &str) -> (Process, Output) {
    let (command, output) = program(code);
    let (process, failure) = sandbox.spawn_from(zygote, command).unwrap();
    assert!(failure.is_none(), "{failure:?}");
    (process, output)
}

/// A sandbox that was made ahead, or one made now where the machine gave this template less.
fn ready(template: &Template) -> Sandbox {
    match Ready::make(template, &spec()).unwrap() {
        Some(ready) => ready.fit(spec()).unwrap(),
        None => Sandbox::create(template, spec()).unwrap(),
    }
}

#[test]
fn a_child_is_what_a_program_of_its_own_would_be() {
    let Some((template, zygote)) = zygote() else { return };
    let look = r#"
import os
differ = ('Vm', 'Rss', 'Pid', 'Tgid', 'NS', 'Ngid', 'voluntary', 'nonvoluntary', 'FDSize')
print(*[line for line in open('/proc/self/status') if not line.startswith(differ)])
print(os.getresuid(), os.getresgid(), os.getgroups(), os.getppid(), os.getcwd(), oct(os.umask(0)))
print(os.getpid() == os.getsid(0) == os.getpgrp(), os.uname().nodename)
print(*[[name, os.stat('/proc/self/ns/' + name).st_ino] for name in sorted(os.listdir('/proc/self/ns'))])
for name in 'limits', 'oom_score_adj', 'loginuid', 'comm', 'coredump_filter', 'timerslack_ns', 'mountinfo':
    print(open('/proc/self/' + name).read())
print(*[character for character in open('/proc/self/cgroup').read() if not character.isdigit()])
print(os.readlink('/proc/self/exe'), os.readlink('/proc/self/root'), os.stat('/proc/self/maps').st_uid)
for number in range(1024):
    try: print(number, os.readlink(f'/proc/self/fd/{number}').split(':')[0])
    except OSError: pass
print(open('/proc/net/dev').read().count(':'))
for path in '/tmp/x', '/var/task/x', '/x', '/dev/shm/x', '/proc/self/oom_score_adj', '/proc/1/environ':
    try: open(path, 'w'); print('may write', path)
    except OSError as error: print(error)
for what in (lambda: os.chroot('/tmp'), lambda: os.setuid(0), lambda: os.nice(-1), lambda: os.mknod('/tmp/n', 0o20666, 5),
             lambda: os.kill(1, 9), lambda: os.link('/tmp/x', '/dev/shm/y')):
    try: print(what())
    except OSError as error: print(error)
import _ctypes, _socket, ssl, random
print(random.random() != 0, ssl.RAND_bytes(1) != b'', len(os.environ))
"#;
    let mut seen = Vec::new();
    for is_ready in [true, false] {
        let make = || if is_ready { ready(&template) } else { sandbox(&template) };
        for child in [true, false] {
            let mut sandbox = make();
            let (process, output) = if child {
                born(&mut sandbox, &zygote, look)
            } else {
                let (command, output) = program(look);
                (sandbox.spawn(command).unwrap(), output)
            };
            let text = output.read();
            let exit = process.wait().unwrap();
            assert!(matches!(exit.ending, Ending::Exited(0)), "{exit:?} {text}");
            // Numbers of namespaces, mounts, devices and groups are each sandbox's own.
            let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
            let told: Vec<_> =
                words.filter(|word| word.parse::<u32>().map_or(true, |number| number < 20)).collect();
            seen.push((told.join(" "), text));
        }
    }
    assert_eq!(seen[0].0, seen[1].0, "{}{}", seen[0].1, seen[1].1);
    assert_eq!(seen[2].0, seen[3].0, "{}{}", seen[2].1, seen[3].1);
}

#[test]
fn an_init_reports_the_end_of_what_it_adopted() {
    let Some((template, zygote)) = zygote() else { return };
    for (code, expected) in [("raise SystemExit(7)", Ok(7)), ("import os; os.kill(os.getpid(), 11)", Err(11))]
    {
        let (process, _output) = born(&mut ready(&template), &zygote, code);
        let exit = end_of(process);
        match (exit.ending, expected) {
            (Ending::Exited(code), Ok(expected)) => assert_eq!(code, expected),
            (Ending::Signaled(signal), Err(expected)) => assert_eq!(signal, expected),
            (ending, _) => panic!("{ending:?}"),
        }
        assert!(exit.peak_memory.unwrap() > MEGABYTE);
    }
}

#[test]
fn a_frozen_child_is_killed_with_all_that_it_started() {
    let Some((template, zygote)) = zygote() else { return };
    let mut sandbox = ready(&template);
    let marker = marker();
    let code = format!(
        "import os; os.spawnv(os.P_NOWAIT, '/bin/sleep', ['sleep', '{marker}']); print('go', flush=True)
while True: pass"
    );
    let (process, mut output) = born(&mut sandbox, &zygote, &code);
    assert_eq!(output.line(), "go");
    eventually("it has started one", || processes_with(&marker).len() == 1);
    process.freeze().unwrap();
    process.kill().unwrap();
    assert!(matches!(end_of(process).ending, Ending::Signaled(9)));
    assert!(processes_with(&marker).is_empty());
    // The place is as good as before.
    let (process, output) = born(&mut sandbox, &zygote, "print(6 * 7)");
    assert_eq!(output.read(), "42\n");
    drop(process);
}

#[test]
fn what_the_memory_limit_kills_is_told() {
    let Some((template, zygote)) = zygote() else { return };
    if isolated_with(hothouse_sandbox::Missing::MemoryLimit).is_none() {
        return;
    }
    let mut spec = spec();
    spec.limits.memory_bytes = Some(48 * MEGABYTE);
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let (process, _output) = born(&mut sandbox, &zygote, "print(len(b'x' * (100 << 20)))");
    assert!(end_of(process).out_of_memory);
}

#[test]
fn many_are_born_at_once() {
    let Some((template, zygote)) = zygote() else { return };
    let seen: Vec<String> = thread::scope(|scope| {
        let birth = |number: usize| {
            let (template, zygote) = (&template, &zygote);
            scope.spawn(move || {
                let mut sandbox = sandbox(template);
                let code = format!(
                    "import os; open('/tmp/mine', 'x'); print({number}, os.listdir('/tmp'), os.getpid())"
                );
                let (process, output) = born(&mut sandbox, zygote, &code);
                let text = output.read();
                assert!(matches!(end_of(process).ending, Ending::Exited(0)), "{text}");
                text
            })
        };
        let births: Vec<_> = (0..24).map(birth).collect();
        births.into_iter().map(|birth| birth.join().unwrap()).collect()
    });
    for (number, text) in seen.iter().enumerate() {
        assert!(text.starts_with(&format!("{number} ['mine'] ")), "{text}");
    }
    assert!(zygote.is_alive());
}

#[test]
fn where_no_child_can_be_made_the_program_is_started() {
    let Some((template, zygote)) = zygote() else { return };
    let other = self::template().unwrap();
    // A directory that is not there, and a zygote that is not of this template's: the program says so itself.
    let (mut command, output) = program("print('mine')");
    command.directory = "/nowhere".into();
    let (process, failure) = ready(&template).spawn_from(&zygote, command).unwrap();
    let failure = failure.unwrap();
    assert!(
        matches!(failure, SpawnError::Step { step: hothouse_sandbox::Step::Directory, .. }),
        "{failure:?}"
    );
    assert!(matches!(end_of(process).ending, Ending::NotSetUp { .. }));
    drop(output);
    let (command, output) = program("print('mine')");
    let (process, failure) = ready(&other).spawn_from(&zygote, command).unwrap();
    assert!(failure.is_some());
    assert_eq!(output.read(), "mine\n");
    assert!(matches!(end_of(process).ending, Ending::Exited(0)));
    assert!(zygote.is_alive());
}

#[test]
fn one_that_died_or_does_not_answer_costs_no_program() {
    let Some(template) = template() else { return };
    // Ends when it is to fork, ends in the middle, and cannot be entered.
    let spoils = [
        "def fork(*_): sys.exit(1)
hothouse_zygote.fork = fork",
        "def become(*_): import posix; posix._exit(1)
hothouse_zygote.become = become",
        "import posix
def fork(): raise OSError(11, 'no')
posix.fork = fork",
    ];
    for spoil in spoils {
        let Some(zygote) = zygote_after(&template, spoil).unwrap() else {
            return skip("only root has zygotes");
        };
        assert!(zygote.is_alive());
        let (command, output) = program("print('mine')");
        let (process, failure) = ready(&template).spawn_from(&zygote, command).unwrap();
        assert!(failure.is_some(), "{spoil}");
        assert_eq!(output.read(), "mine\n");
        assert!(matches!(end_of(process).ending, Ending::Exited(0)));
    }
}

#[test]
fn one_that_is_not_alone_is_none() {
    let Some((template, _)) = zygote() else { return };
    let thread = "import _thread, time
def start():
    ran = []
    _thread.start_new_thread(lambda: (ran.append(1), time.sleep(3600)), ())
    while not ran: pass
";
    let threaded = format!("{thread}start()");
    let child = "import posix, time
if posix.fork() == 0: posix._exit(0)";
    for spoil in [&threaded, child, "raise OSError"] {
        assert!(zygote_after(&template, spoil).is_err(), "{spoil}");
    }
    // Afterwards: it forks once more, and ends.
    let late = format!(
        "{thread}before = hothouse_zygote.is_clean
calls = []
def is_clean():
    calls.append(1)
    if len(calls) == 2: start()
    return before()
hothouse_zygote.is_clean = is_clean"
    );
    let zygote = zygote_after(&template, &late).unwrap().unwrap();
    let (process, output) = born(&mut ready(&template), &zygote, "print('mine')");
    assert_eq!(output.read(), "mine\n");
    drop(process);
    eventually("it has ended", || !zygote.is_alive());
}

#[test]
fn a_child_has_no_way_to_its_zygote() {
    let Some((template, zygote)) = zygote() else { return };
    let look = "
import os
# The one that stood between the zygote and us is about to be reaped.
while len([name for name in os.listdir('/proc') if name.isdigit()]) > 2: pass
print(os.listdir('/proc').count('1'))
import _socket
for number in range(3, 700):
    try: print(_socket.socket(fileno=os.dup(number)))
    except OSError: pass
print(open('/proc/self/environ').read(), len(open('/proc/self/maps').read()) > 0)
";
    let (process, output) = born(&mut ready(&template), &zygote, look);
    assert_eq!(output.read(), "1\nPATH=/usr/bin:/bin\0 True\n");
    drop(process);
}

#[test]
fn inits_that_are_born_elsewhere_are_those_of_their_own_sandboxes() {
    let Some((template, zygote)) = zygote() else { return };
    let look = "
import os, resource, socket
open('/tmp/mine', 'x')
print(socket.gethostname(), resource.getrlimit(resource.RLIMIT_NOFILE), os.getuid(), len(os.listdir('/tmp')))
";
    // The first is what the nursery is made for, the second is like it, and the third is not.
    for number in [1, 1, 2] {
        let mut spec = spec();
        let limit = 1000 + number;
        spec.limits.open_files = Some(Limit::both(limit));
        spec.hostname = format!("host-{number}");
        let mut sandbox = Sandbox::create(&template, spec).unwrap();
        let (process, output) = born(&mut sandbox, &zygote, look);
        assert_eq!(output.read(), format!("host-{number} ({limit}, {limit}) {} 1\n", identity().uid));
        assert!(matches!(end_of(process).ending, Ending::Exited(0)));
    }
}

#[test]
fn a_dropped_zygote_ends_and_its_children_stay() {
    let Some((template, zygote)) = zygote() else { return };
    let mut sandbox = ready(&template);
    let (theirs, mut commands) = io::pipe().unwrap();
    let (mut command, mut output) = program("print('go', flush=True); print(open(5).readline())");
    command.descriptors.push((theirs.into(), 5));
    let (process, failure) = sandbox.spawn_from(&zygote, command).unwrap();
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(output.line(), "go");
    drop(zygote);
    commands.write_all(b"on\n").unwrap();
    assert_eq!(output.line(), "on");
    assert!(matches!(end_of(process).ending, Ending::Exited(0)));
}
