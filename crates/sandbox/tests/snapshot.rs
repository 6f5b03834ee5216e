//! Copies of a program that has come to rest: what they have of it, and what is their own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use common::*;
use hothouse_sandbox::{
    Command, Ending, Isolation, Limits, Process, Sandbox, SandboxSpec, Snapshot, Template, Unfit,
};

/// A Python that the sandbox can show, if the machine has one in `/usr`.
const PYTHON: &str = "/usr/bin/python3";

/// Waits for a line on descriptor 3, and executes it, again and again.
const SERVE: &str = "
import os
def serve():
    while True:
        line = b''
        while not line.endswith(b'\\n'):
            byte = os.read(3, 1)
            if not byte: os._exit(0)
            line += byte
        try:
            answer = str(eval(line, globals()))
        except BaseException as error:
            answer = type(error).__name__ + ': ' + str(error)
        os.write(3, answer.encode() + b'\\n')
";

/// A program, and our end of its descriptor 3.
struct Program {
    process: Process,
    line: UnixStream,
    output: Output,
}

impl Program {
    fn ask(&mut self, question: &str) -> String {
        ask(&mut self.line, question)
    }
}

fn ask(line: &mut UnixStream, question: &str) -> String {
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    writeln!(line, "{question}").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while line.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

fn template_with_copies() -> Option<Template> {
    let template = isolated()?;
    if !std::path::Path::new(PYTHON).exists() {
        skip("there is no Python in /usr/bin");
        return None;
    }
    Some(template)
}

fn copied() -> SandboxSpec {
    SandboxSpec { copied: true, ..spec() }
}

fn begin(sandbox: &mut Sandbox, setup: &str) -> Program {
    let (line, theirs) = UnixStream::pair().unwrap();
    let code = format!("{setup}\n{SERVE}\nserve()");
    let (mut command, output) = with_output(Command {
        arguments: [PYTHON, "-S", "-c", &code].map(Into::into).into(),
        directory: "/var".into(),
        ..Command::default()
    });
    command.descriptors.push((theirs.into(), 3));
    let process = sandbox.spawn(command).unwrap();
    let mut program = Program { process, line, output };
    assert_eq!(program.ask("1 + 1"), "2");
    program
}

fn take(sandbox: &Sandbox, program: &Program) -> Result<Snapshot, Unfit> {
    Snapshot::take(sandbox, &program.process, &[1, 2, 3], 3)
}

fn restore(snapshot: &Snapshot, original: &Process) -> (Sandbox, Program) {
    let mut place = snapshot.place(spec()).unwrap();
    let copy = restore_in(snapshot, original, &mut place);
    (place, copy)
}

fn restore_in(snapshot: &Snapshot, original: &Process, place: &mut Sandbox) -> Program {
    let (line, theirs) = UnixStream::pair().unwrap();
    let (command, output) = with_output(Command::default());
    let mut given = command.descriptors;
    given.push((theirs.into(), 3));
    let process = snapshot.restore(original, place, given).unwrap();
    Program { process, line, output }
}

macro_rules! snapshot {
    ($sandbox:ident, $program:ident, $snapshot:ident, $setup:expr) => {
        let Some(template) = template_with_copies() else { return };
        let mut $sandbox = Sandbox::create(&template, copied()).unwrap();
        let mut $program = begin(&mut $sandbox, $setup);
        let $snapshot = match take(&$sandbox, &$program) {
            Ok(snapshot) => snapshot,
            Err(error) if cfg!(not(target_arch = "x86_64")) || is_less_isolated(&template) => {
                return skip(&format!("no snapshots: {error}"));
            }
            Err(error) => panic!("{error}"),
        };
        assert!($program.process.try_wait().unwrap().is_none());
    };
}

fn is_less_isolated(template: &Template) -> bool {
    template.isolation() != &Isolation::Full
}

#[test]
fn copies_have_the_memory_of_the_original_and_go_their_own_ways() {
    snapshot!(sandbox, program, snapshot, "import random; values = [1]; random.seed(7)");
    let (_first_place, mut first) = restore(&snapshot, &program.process);
    let (_second_place, mut second) = restore(&snapshot, &program.process);
    assert_eq!(first.ask("values.append(2)"), "None");
    assert_eq!(first.ask("values"), "[1, 2]");
    assert_eq!(second.ask("values"), "[1]");
    // As AWS has it: generators are copied, too.
    assert_eq!(first.ask("random.random()"), second.ask("random.random()"));
    assert_ne!(first.ask("random.SystemRandom().random()"), second.ask("random.SystemRandom().random()"));
    assert_ne!(first.ask("os.getpid()"), second.ask("os.getpid()"));
    assert_eq!(first.ask("os.getcwd()"), "/var");
    drop((first.process, second.process));
    assert!(program.process.try_wait().unwrap().is_none());
}

#[test]
fn a_copy_has_its_own_files_which_begin_as_the_originals() {
    let setup = "
import os
os.makedirs('/tmp/a/b')
log = open('/tmp/a/log', 'w+')
log.write('begun'); log.flush()
os.symlink('/etc/passwd', '/tmp/link')
os.chmod('/tmp/a/b', 0o500)
open('/dev/shm/shared', 'w').write('memory')
hole = open('/tmp/hole', 'wb'); hole.truncate(8 << 20); hole.close()
";
    snapshot!(sandbox, program, snapshot, setup);
    let (mut place, mut first) = restore(&snapshot, &program.process);
    let (_second_place, mut second) = restore(&snapshot, &program.process);
    for copy in [&mut first, &mut second] {
        assert_eq!(copy.ask("open('/tmp/a/log').read()"), "begun");
        assert_eq!(copy.ask("os.readlink('/tmp/link')"), "/etc/passwd");
        assert_eq!(
            copy.ask("oct(os.stat('/tmp/a/b').st_mode), os.stat('/tmp/a').st_uid"),
            "('0o40500', 993)"
        );
        assert_eq!(copy.ask("open('/dev/shm/shared').read()"), "memory");
        assert_eq!(copy.ask("os.stat('/tmp/hole').st_size, os.stat('/tmp/hole').st_blocks"), "(8388608, 0)");
    }
    // An open file goes on where it was, in the copy's own.
    assert_eq!(first.ask("log.write(' first'), log.flush()"), "(6, None)");
    assert_eq!(second.ask("log.write(' 2'), log.flush()"), "(2, None)");
    assert_eq!(first.ask("open('/tmp/a/log').read()"), "begun first");
    assert_eq!(second.ask("open('/tmp/a/log').read()"), "begun 2");
    assert_eq!(first.ask("os.mkdir('/tmp/a/new')"), "None");
    assert_eq!(second.ask("os.path.exists('/tmp/a/new')"), "False");
    // What another copy finds there is what this one has left.
    drop(first);
    let mut third = restore_in(&snapshot, &program.process, &mut place);
    assert_eq!(third.ask("os.path.exists('/tmp/a/new'), open('/tmp/a/log').read()"), "(True, 'begun first')");
}

#[test]
fn connections_of_the_original_are_dead_and_new_ones_are_the_copys() {
    let setup = "
import socket
listener = socket.socket(); listener.bind(('127.0.0.1', 7000)); listener.listen()
client = socket.create_connection(('127.0.0.1', 7000)); server, _ = listener.accept()
";
    snapshot!(sandbox, program, snapshot, setup);
    let (_place, mut copy) = restore(&snapshot, &program.process);
    assert!(copy.ask("client.send(b'x')").starts_with("BrokenPipeError"));
    assert!(copy.ask("client.recv(1)").starts_with("OSError"));
    assert!(copy.ask("socket.create_connection(('127.0.0.1', 7000))").starts_with("ConnectionRefusedError"));
    assert_eq!(copy.ask("(s := socket.socket()).bind(('127.0.0.1', 7000))"), "None");
    assert_eq!(copy.ask("s.listen() or socket.create_connection(('127.0.0.1', 7000)).send(b'x')"), "1");
}

#[test]
fn output_and_ends_are_the_copys() {
    snapshot!(sandbox, program, snapshot, "import subprocess");
    let (_first_place, mut first) = restore(&snapshot, &program.process);
    let (_second_place, mut second) = restore(&snapshot, &program.process);
    assert_eq!(first.ask("os.write(1, b'one')"), "3");
    assert_eq!(second.ask("os.write(2, b'two')"), "3");
    // What a copy has started ends with it.
    let marker = marker();
    assert_eq!(second.ask(&format!("subprocess.Popen(['/bin/sleep', '{marker}']).pid > 0")), "True");
    eventually("it sleeps", || processes_with(&marker).len() == 1);
    writeln!(first.line, "os._exit(7)").unwrap();
    writeln!(second.line, "os.kill(os.getpid(), 11)").unwrap();
    assert!(matches!(end_of(first.process).ending, Ending::Exited(7)));
    assert!(matches!(end_of(second.process).ending, Ending::Signaled(11)));
    assert_eq!((first.output.read(), second.output.read()), ("one".into(), "two".into()));
    eventually("it is ended", || processes_with(&marker).is_empty());
    assert!(program.process.try_wait().unwrap().is_none());
}

#[test]
fn a_copy_is_frozen_and_killed_alone() {
    snapshot!(sandbox, program, snapshot, "");
    let (_first_place, first) = restore(&snapshot, &program.process);
    let (_second_place, mut second) = restore(&snapshot, &program.process);
    first.process.freeze().unwrap();
    assert_eq!(second.ask("1"), "1");
    let Program { process, mut line, .. } = first;
    process.thaw().unwrap();
    assert_eq!(ask(&mut line, "2"), "2");
    process.freeze().unwrap();
    process.kill().unwrap();
    assert!(matches!(end_of(process).ending, Ending::Signaled(9)));
    assert_eq!(second.ask("3"), "3");
    second.process.signal(15).unwrap();
    assert!(matches!(end_of(second.process).ending, Ending::Signaled(15)));
    // The original is none of them.
    let (_third_place, mut third) = restore(&snapshot, &program.process);
    assert_eq!(third.ask("4"), "4");
    // With it, all end.
    program.process.kill().unwrap();
    assert!(matches!(end_of(third.process).ending, Ending::Signaled(9)));
}

/// What a program may do, as far as the kernel tells.
const POWER: &str = "[line for line in open('/proc/self/status') if line.split(':')[0] in \
     ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'Uid', 'Gid', 'Groups', 'SigBlk', 'SigIgn')]";

#[test]
fn a_copy_has_no_more_power_than_any_program() {
    let calls = "
import ctypes, errno, resource, socket, signal
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    ctypes.set_errno(0)
    libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return errno.errorcode.get(ctypes.get_errno(), 'done')
";
    snapshot!(sandbox, program, snapshot, calls);
    let mut other_sandbox = Sandbox::create(&isolated().unwrap(), spec()).unwrap();
    let mut ordinary = begin(&mut other_sandbox, calls);
    let (_place, mut copy) = restore(&snapshot, &program.process);
    let (_other_place, mut sibling) = restore(&snapshot, &program.process);
    let id = |program: &Program| program.process.id().unwrap();
    for question in [
        POWER,
        "os.getuid(), os.geteuid(), os.getgroups()",
        "os.stat('/etc/passwd').st_uid, os.stat('/tmp').st_uid, os.stat('/proc/self').st_uid",
        "sorted(os.listdir('/'))",
        "os.uname().nodename",
        // unshare, setns, mount, chroot, ptrace, process_vm_readv, pidfd_getfd
        "[call(272, flag) for flag in (0x10000000, 0x20000, 0x40000000)]",
        "[call(308, os.open('/proc/self/ns/' + name, 0), 0) for name in ('user', 'mnt', 'net', 'pid')]",
        "call(165, b'tmpfs', b'/tmp', b'tmpfs', 0, 0), call(161, b'/tmp'), call(101, 16, 1, 0, 0), call(310, 1, 0, 0, 0, 0, 0)",
        "call(438, 0, 0, 0)",
        // setuid and setgid of root, and of others
        "[call(number, 0) for number in (105, 106)] + [call(number, 65537) for number in (105, 106)]",
        "[call(157, 23, number) for number in range(3)], call(157, 24, 1)",
        "resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_NPROC)",
        "sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd))",
        "[os.access(path, os.W_OK) for path in ('/', '/etc/passwd', '/usr', '/proc/sys/kernel/hostname', '/proc/1/mem')]",
        "[os.path.exists('/proc/' + name) for name in ('kcore', 'sys', 'self')], open('/proc/kcore', 'rb').read(1)",
        "os.path.exists('/var/task'), os.listdir('/var/task'), os.listdir('/tmp')",
    ] {
        assert_eq!(copy.ask(question), ordinary.ask(question), "{question}");
    }
    // It sees neither the original nor other copies, and cannot reach them.
    assert_eq!(
        copy.ask("[name for name in os.listdir('/proc') if name.isdigit()] == [str(os.getpid())]"),
        "True"
    );
    let inner: u32 = sibling.ask("os.getpid()").parse().unwrap();
    assert_eq!(copy.ask(&format!("os.path.exists('/proc/{inner}')")), "False");
    assert_eq!(
        copy.ask(&format!("call(62, {inner}, 9), call(62, 1, 9), call(62, -1, 0)")),
        "('EPERM', 'EPERM', 'done')"
    );
    assert_eq!(copy.ask("os.getsid(0) == os.getpid() and call(62, 0, 0)"), "done");
    assert_eq!(sibling.ask("1"), "1");
    // Namespaces are its own, but for those of processes and names.
    let namespaces = |program: u32| {
        ["user", "mnt", "net", "ipc"]
            .map(|name| std::fs::read_link(format!("/proc/{program}/ns/{name}")).unwrap())
    };
    let [original, first, second] = [&program, &copy, &sibling].map(|program| namespaces(id(program)));
    for (index, namespace) in first.iter().enumerate() {
        assert_ne!(namespace, &original[index]);
        assert_ne!(namespace, &second[index]);
    }
    // It is somebody else outside.
    let owner = |program: u32| {
        let status = std::fs::read_to_string(format!("/proc/{program}/status")).unwrap();
        status.lines().find(|line| line.starts_with("Uid:")).unwrap().to_owned()
    };
    assert_ne!(owner(id(&copy)), owner(id(&sibling)));
    assert_ne!(owner(id(&copy)), owner(id(&program)));
    drop((ordinary, other_sandbox));
}

#[test]
fn memory_counts_where_it_is_used() {
    snapshot!(sandbox, program, snapshot, "block = bytearray(32 << 20)");
    let limits = Limits { memory_bytes: Some(64 * MEGABYTE), ..spec().limits };
    let mut place = snapshot.place(SandboxSpec { limits, ..spec() }).unwrap();
    let mut copy = restore_in(&snapshot, &program.process, &mut place);
    if place.memory_peak().is_none() {
        return skip("the machine limits no memory");
    }
    // What it shares with the original does not count, what it changes does.
    assert!(place.memory_peak().unwrap() < 16 * MEGABYTE);
    assert_eq!(copy.ask("block.__setitem__(slice(0, 24 << 20), bytes(24 << 20))"), "None");
    assert!(place.memory_peak().unwrap() > 24 * MEGABYTE);
    writeln!(copy.line, "bytearray(b'x' * (128 << 20))").unwrap();
    let exit = end_of(copy.process);
    assert!(exit.out_of_memory, "{exit:?}");
}

#[test]
fn what_cannot_be_copied_is_refused_and_goes_on() {
    let Some(template) = template_with_copies() else { return };
    for (setup, reason) in [
        (
            "import threading, time; threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
            "threads",
        ),
        ("import subprocess; child = subprocess.Popen(['/bin/sleep', '3600'])", "processes"),
        ("import mmap; shared = mmap.mmap(-1, 4096)", "memory"),
        ("import os; pipe = os.pipe()", "pipe"),
        ("import select; poller = select.epoll()", "eventpoll"),
        ("import socket; pair = socket.socketpair()", "local socket"),
        ("import os; file = open('/tmp/x', 'w'); os.unlink('/tmp/x')", "deleted"),
        ("import socket; s = socket.socket(socket.AF_UNIX); s.bind('/tmp/s'); s.close()", "socket or device"),
        ("[open(f'/dev/shm/{n}', 'w').close() for n in range(5000)]", "much"),
    ] {
        let mut sandbox = Sandbox::create(&template, copied()).unwrap();
        let mut program = begin(&mut sandbox, setup);
        let Err(refused) = take(&sandbox, &program) else { panic!("{setup}") };
        if is_less_isolated(&template) {
            return skip(&format!("no snapshots: {refused}"));
        }
        assert!(refused.to_string().contains(reason), "{setup}: {refused}");
        assert_eq!(program.ask("40 + 2"), "42", "{setup}");
    }
    // One that was not meant to be copied.
    let mut sandbox = Sandbox::create(&template, spec()).unwrap();
    let mut program = begin(&mut sandbox, "");
    assert!(take(&sandbox, &program).is_err());
    assert_eq!(program.ask("1"), "1");
}

#[test]
fn many_copies_are_made_at_once() {
    snapshot!(sandbox, program, snapshot, "");
    std::thread::scope(|scope| {
        let copies: Vec<_> = (0..32)
            .map(|number| {
                let (snapshot, original) = (&snapshot, &program.process);
                scope.spawn(move || {
                    let (place, mut copy) = restore(snapshot, original);
                    assert_eq!(copy.ask(&format!("open('/tmp/mine', 'x').write('{number:04}')")), "4");
                    (place, copy)
                })
            })
            .collect();
        let mut copies: Vec<_> = copies.into_iter().map(|copy| copy.join().unwrap()).collect();
        for (number, (_, copy)) in copies.iter_mut().enumerate() {
            assert_eq!(copy.ask("open('/tmp/mine').read()"), format!("{number:04}"));
        }
    });
}

#[test]
fn no_copies_are_made_of_what_has_ended() {
    snapshot!(sandbox, program, snapshot, "");
    let mut place = snapshot.place(spec()).unwrap();
    // Not by its own doing: it does nothing any more.
    let id = program.process.id().unwrap();
    // SAFETY: takes no pointers; it is a process of this test.
    unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
    wait_readable(&program.process);
    assert!(snapshot.restore(&program.process, &mut place, Vec::new()).is_err());
    assert_eq!(output_of(&mut place, "echo still a place; ls /tmp"), "still a place\n");
}

#[test]
fn a_copy_that_fails_leaves_the_original_as_it_was() {
    snapshot!(sandbox, program, snapshot, "value = 7");
    let mut place = snapshot.place(spec()).unwrap();
    // It gets nothing in the place of what the original was given.
    assert!(snapshot.restore(&program.process, &mut place, Vec::new()).is_err());
    let (_place, mut copy) = restore(&snapshot, &program.process);
    assert_eq!(copy.ask("value"), "7");
    assert!(program.process.try_wait().unwrap().is_none());
}
