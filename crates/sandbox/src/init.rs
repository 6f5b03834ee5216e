//! The child: first process of the tree. It joins the sandbox, gives up every privilege, starts the program, reaps
//! orphans and reports how the program ended. With it the whole tree ends, unless it was told that the tree is for several
//! programs: then it starts what it is told to, and reports each end.
//!
//! It is a copy of one thread of the service, so only async-signal-safe work is allowed: no allocation, no lock, no
//! panic, and no return. It keeps nothing of the service's open.

mod watch;

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    mem,
    os::fd::{AsRawFd, RawFd},
};

use crate::{
    error::Step,
    forget::forget_the_service,
    helper::Failure,
    isolation::Mode,
    launch::{Launch, Program, Users},
    mounts,
    parcel::{DESCRIPTORS, Opened},
    process::{OrderKind, Report, ReportKind},
    syscall::{self, Errno},
};
use watch::{Programs, report, watch};

/// Files of `/proc` that tell about the machine or reach into it. Most are readable by root only; that is not
/// relied upon.
const MASKED: &[&std::ffi::CStr] = &[
    c"/proc/kallsyms",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/kmsg",
    c"/proc/sched_debug",
    c"/proc/sysrq-trigger",
    c"/proc/timer_list",
];

/// The like that only root may read or write: needed where a program is root to the rest of the machine (see below).
const MASKED_FROM_ROOT: &[&std::ffi::CStr] = &[
    c"/proc/dynamic_debug/control",
    c"/proc/iomem",
    c"/proc/ioports",
    c"/proc/kpagecgroup",
    c"/proc/kpagecount",
    c"/proc/kpageflags",
    c"/proc/latency_stats",
    c"/proc/mtrr",
    c"/proc/slabinfo",
    c"/proc/timer_stats",
    c"/proc/vmallocinfo",
];

/// Directories of `/proc` through which the machine is changed. Only root may, but where we had to make a user namespace
/// of our own, the program can be root to the rest of the machine without being anything inside.
const READ_ONLY: &[&std::ffi::CStr] =
    &[c"/proc/acpi", c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/scsi", c"/proc/sys"];

/// More likely to be killed for memory than the service, and than anything else on the machine.
pub(crate) const KILL_FIRST: &[u8] = b"500";

/// In an order of the kind [`OrderKind::FIT`]: options of `/tmp`, and where each mount belongs that comes along.
pub(crate) const FIT_MEMORY: usize = 0;
const FIT_TARGETS: usize = 1;

/// Sets up, runs the program, and ends. Never returns.
pub(crate) fn run(launch: &mut Launch, mode: Mode) -> ! {
    let control = launch.control.as_raw_fd();
    match start(launch, mode) {
        Ok(Some((programs, ended))) => watch(launch, programs, ended, mode),
        // The service is gone, or has no use for this sandbox.
        Ok(None) => exit(0),
        Err(failure) => {
            let kind =
                if failure.step == Step::Exec { ReportKind::NOT_EXECUTED } else { ReportKind::NOT_SET_UP };
            report(control, Report::failure(kind, 0, failure.step, failure.errno.0));
            exit(1)
        }
    }
}

fn exit(code: c_int) -> ! {
    // SAFETY: takes no pointers; runs no handler of the service's.
    unsafe { libc::_exit(code) }
}

/// From the clone to the program's exec: its process, and the descriptor that tells of ended children. `None` if no
/// program came.
fn start(launch: &mut Launch, mode: Mode) -> Result<Option<(Programs, RawFd)>, Failure> {
    let at = Failure::at;
    let control = launch.control.as_raw_fd();
    enter(launch, mode)?;
    // Now, because later we may not look at ourselves unless we look already.
    let memory = syscall::open(c"/proc/self/maps", libc::O_RDONLY, 0).map_err(at(Step::Init))?;
    let mut early = None;
    if launch.ahead {
        // It may wait for long, and nobody waits for it.
        forget_the_service(memory, launch);
        report(control, Report::waiting());
        let Some(mut order) = Opened::receive(control).map_err(at(Step::Init))? else { return Ok(None) };
        if order.kind() == OrderKind::RUN {
            early = start_early(launch, order)?;
            report(control, Report::waiting());
            let Some(next) = Opened::receive(control).map_err(at(Step::Init))? else { return Ok(None) };
            order = next;
        }
        if order.kind() != OrderKind::FIT {
            return Ok(None);
        }
        fit(&order)?;
        if early.is_none() {
            // Whoever waits for this need not wait for the rest.
            report(control, Report::waiting());
        }
    }
    if mode == Mode::Plain {
        // Orphans come to us, so that we can find and end them.
        control_process(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(at(Step::Init))?;
    }
    give_up_power(launch, mode)?;
    // Our memory is a copy of the service's, secrets included: nobody inside may look at it, though they are the
    // same user.
    control_process(libc::PR_SET_DUMPABLE, 0).map_err(at(Step::Init))?;

    if let Some(running) = early {
        // From now on the program may be told whose it is.
        report(control, Report::waiting());
        return Ok(Some(running));
    }
    let ended = ended_children().map_err(at(Step::Init))?;
    let Some(order) = Opened::receive(control).map_err(at(Step::Init))? else {
        return Ok(None);
    };
    let mut freezer = control;
    let programs = if order.kind() == OrderKind::ADOPT {
        let Some(&program) = order.numbers().first() else { return Ok(None) };
        let mut programs = Programs::new(false);
        programs.add(program as libc::pid_t);
        // If it has ended already, nobody will say so again.
        // SAFETY: takes no pointers. The signal is blocked, so it waits to be read.
        unsafe { libc::kill(libc::getpid(), libc::SIGCHLD) };
        programs
    } else {
        let Some(order) = Program::of(order) else { return Ok(None) };
        let mut programs = Programs::new(order.shares_its_tree());
        programs.add(run_program(launch, &order, false)?);
        freezer = launch.freezer.filter(|_| order.shares_its_tree()).unwrap_or(control);
        programs
    };
    close_all_but([control, ended, freezer, if launch.ahead { control } else { memory }])?;
    if !launch.ahead {
        forget_the_service(memory, launch);
    }
    Ok(Some((programs, ended)))
}

/// Starts the program of a sandbox that does not have its mounts yet, for which we keep our power: the program has none.
/// What runs until we have given it up, too, is the service's own: it reads nothing of a function before its assignment,
/// which is sent after that. And it is another user in a user namespace of its own, so that it could not reach us anyway.
fn start_early(launch: &Launch, order: Opened) -> Result<Option<(Programs, RawFd)>, Failure> {
    let at = Failure::at;
    let control = launch.control.as_raw_fd();
    let Users::Join { namespace, .. } = launch.users else {
        return Err(Failure { step: Step::UserNamespace, errno: Errno(libc::EPERM), action: None });
    };
    let Some(order) = Program::of(order) else { return Ok(None) };
    let ended = ended_children().map_err(at(Step::Init))?;
    let mut programs = Programs::new(false);
    programs.add(run_program(launch, &order, true)?);
    close_all_but([control, ended, namespace, control])?;
    Ok(Some((programs, ended)))
}

fn close_all_but(mut kept: [RawFd; 4]) -> Result<(), Failure> {
    kept.sort_unstable();
    syscall::close_all_but(&kept).map_err(Failure::at(Step::Init))
}

/// Joins the sandbox, as far as that is the same whatever will run in it.
fn enter(launch: &Launch, mode: Mode) -> Result<(), Failure> {
    let at = Failure::at;
    syscall::close_all_but(&launch.kept).map_err(at(Step::Init))?;
    hide_the_service(launch.command_line);
    for &group in &launch.groups {
        syscall::write_all(group, b"0").map_err(at(Step::JoinControlGroup))?;
    }
    if let Some(network) = launch.network {
        syscall::setns(network, libc::CLONE_NEWNET).map_err(at(Step::NetworkNamespace))?;
    }
    if let Some(mounts) = launch.mounts {
        syscall::setns(mounts, libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?;
        if !launch.ahead {
            // `/proc` is of this tree, the other mounts are of the sandbox: a copy of its namespace holds both. Only the
            // first tree may be in the namespace itself; those after it cover its `/proc` with theirs.
            syscall::unshare(libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?;
        }
        mount_proc(mode, launch.hides_processes).map_err(at(Step::Proc))?;
        // SAFETY: pointer and length are of one buffer.
        let named = unsafe { libc::sethostname(launch.hostname.as_ptr().cast(), launch.hostname.len()) };
        syscall::check(named.into()).map_err(at(Step::Hostname))?;
    }
    // Best effort: only who gets killed first depends on it.
    let _ = syscall::write_file(c"/proc/self/oom_score_adj", KILL_FIRST);
    for (resource, limit) in &launch.limits {
        set_limit(*resource, limit).map_err(at(Step::Limits))?;
    }
    Ok(())
}

/// Shows what an order says is shown in a sandbox that was made ahead.
fn fit(order: &Opened) -> Result<(), Failure> {
    let at = Failure::at;
    if let Some(options) = order.text(FIT_MEMORY) {
        mounts::resize_memory(c"/tmp", options).map_err(at(Step::Mount))?;
    }
    for (index, &tree) in order.descriptors().iter().enumerate() {
        let target = order.text(FIT_TARGETS + index).unwrap_or_default();
        syscall::move_mount(tree, target).map_err(at(Step::Mount))?;
        syscall::close(tree);
    }
    Ok(())
}

/// Wipes the copy of the service's command line, which everyone inside could read as ours.
pub(crate) fn hide_the_service((start, length): (usize, usize)) {
    // SAFETY: the range is the kernel's own account of where the arguments of this program are; the C standard lets a
    // program write to them, and this is a copy that nobody else uses.
    unsafe {
        std::ptr::write_bytes(start as *mut u8, 0, length);
        libc::prctl(libc::PR_SET_NAME, c"init".as_ptr());
    }
}

fn mount_proc(mode: Mode, hides_processes: bool) -> syscall::Result {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let options = if hides_processes { c"hidepid=2" } else { c"" };
    syscall::mount(c"proc", c"/proc", c"proc", flags, options)?;
    let from_root = if mode == Mode::Unprivileged { MASKED_FROM_ROOT } else { &[] };
    for path in MASKED.iter().chain(from_root) {
        if_there(syscall::mount(c"/dev/null", path, c"", libc::MS_BIND, c""))?;
    }
    for path in READ_ONLY {
        let bound = syscall::mount(path, path, c"", libc::MS_BIND, c"");
        if_there(bound.and_then(|()| {
            let flags = flags | libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
            syscall::mount(c"none", path, c"", flags, c"")
        }))?;
    }
    Ok(())
}

/// A kernel may be built without a file; then there is nothing to hide.
fn if_there(result: syscall::Result) -> syscall::Result {
    match result {
        Err(Errno(libc::ENOENT)) => Ok(()),
        other => other,
    }
}

fn set_limit(resource: crate::launch::Resource, limit: &libc::rlimit) -> syscall::Result {
    // SAFETY: `limit` is valid to be read.
    syscall::check(unsafe { libc::setrlimit(resource, limit) }.into()).map(drop)
}

pub(crate) fn control_process(option: c_int, value: libc::c_ulong) -> syscall::Result {
    // SAFETY: none of the options that we use takes a pointer.
    syscall::check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into()).map(drop)
}

/// Becomes who may do nothing, for good.
fn give_up_power(launch: &Launch, mode: Mode) -> Result<(), Failure> {
    let at = Failure::at;
    if mode != Mode::Plain {
        drop_privileges(launch)?;
    }
    if let Some(limit) = &launch.processes {
        set_limit(libc::RLIMIT_NPROC, limit).map_err(at(Step::Limits))?;
    }
    control_process(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(at(Step::Capabilities))
}

/// Becomes the unprivileged user, in a user namespace of its own, without any capability.
fn drop_privileges(launch: &Launch) -> Result<(), Failure> {
    let at = Failure::at;
    if matches!(launch.users, Users::Host) {
        // Whoever changes user loses the right to do this.
        drop_bounding_set().map_err(at(Step::Capabilities))?;
    }
    if let Some((uid, gid)) = launch.identity {
        // SAFETY: the empty list needs no pointer. A raw system call, because the C library's would signal the
        // service's other threads, which this process does not have.
        let left = unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
        syscall::check(left).map_err(at(Step::Identity))?;
        if let Users::Join { namespace, uid, gid } = launch.users {
            syscall::setns(namespace, libc::CLONE_NEWUSER).map_err(at(Step::UserNamespace))?;
            // Whoever enters has every capability there, and none elsewhere.
            drop_bounding_set().map_err(at(Step::Capabilities))?;
            become_user(uid, gid).map_err(at(Step::Identity))?;
        } else {
            become_user(uid, gid).map_err(at(Step::Identity))?;
        }
    }
    if let Users::Make(map) = &launch.users {
        // Who changed user may not write to its own files in `/proc`, as the maps are, unless it is dumpable.
        control_process(libc::PR_SET_DUMPABLE, 1).map_err(at(Step::UserNamespace))?;
        syscall::unshare(libc::CLONE_NEWUSER).map_err(at(Step::UserNamespace))?;
        map.write().map_err(at(Step::UserNamespace))?;
        drop_bounding_set().map_err(at(Step::Capabilities))?;
    }
    drop_capabilities().map_err(at(Step::Capabilities))
}

fn become_user(uid: libc::uid_t, gid: libc::gid_t) -> syscall::Result {
    // SAFETY: take no pointers. Raw system calls, as above.
    unsafe {
        syscall::check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))
            .and_then(|_| syscall::check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)))
            .map(drop)
    }
}

fn drop_bounding_set() -> syscall::Result {
    for capability in 0..64 {
        match control_process(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // Behind the last one that this kernel knows.
            Err(Errno(libc::EINVAL)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn drop_capabilities() -> syscall::Result {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    control_process(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)?;
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [[0_u32; 3]; 2];
    // SAFETY: header and data have the layout of version 3: two times three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    syscall::check(result).map(drop)
}

/// A descriptor that is readable when a child has ended. All signals are blocked since before the clone.
fn ended_children() -> syscall::Result<RawFd> {
    // SAFETY: the set is valid to be written and read.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        // A handler of the service's would be inherited; a default action makes children zombies, which we want.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        syscall::check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC).into()).map(|fd| fd as RawFd)
    }
}

// === the program's process ===

/// What the program's process needs to know, and what it answers.
struct Execution<'a> {
    launch: &'a Launch,
    program: &'a Program,
    /// Whether the power that init still has is not for the program.
    powerful: bool,
    /// Why the program was not executed.
    failed: Cell<Option<Failure>>,
}

/// Starts the program: returns when it was executed, or could not be.
/// Power that init still has is given up on the way.
fn run_program(launch: &Launch, program: &Program, powerful: bool) -> Result<libc::pid_t, Failure> {
    const STACK_BYTES: usize = 32 * 1024;

    let execution = Execution { launch, program, powerful, failed: Cell::new(None) };
    let argument: *mut c_void = (&raw const execution).cast_mut().cast();
    let stack = syscall::map_memory(STACK_BYTES).map_err(Failure::at(Step::Clone))?;
    // SAFETY: the stack is new memory that nothing else touches; the body is async-signal-safe; we are suspended until
    // it has executed the program or ended, so the argument outlives it, and the stack can then be given back.
    let pid = unsafe {
        let memory = std::slice::from_raw_parts_mut(stack.cast::<mem::MaybeUninit<u8>>(), STACK_BYTES);
        let pid = syscall::clone_on_stack(libc::CLONE_VM | libc::SIGCHLD, memory, execute, argument);
        libc::munmap(stack, STACK_BYTES);
        pid
    };
    let pid = pid.map_err(Failure::at(Step::Clone))?;
    execution.failed.get().map_or(Ok(pid), Err)
}

extern "C" fn execute(execution: *mut c_void) -> c_int {
    // SAFETY: `run_program` passes one, and is suspended while we use it.
    let execution = unsafe { &*execution.cast::<Execution<'_>>() };
    let dropped = if execution.powerful { give_up_power(execution.launch, Mode::Privileged) } else { Ok(()) };
    if let Err(failure) = dropped.and_then(|()| become_program(execution.launch, execution.program)) {
        execution.failed.set(Some(failure));
    }
    127
}

/// Returns only if it failed.
fn become_program(launch: &Launch, program: &Program) -> Result<(), Failure> {
    let at = Failure::at;
    // SAFETY: takes no arguments.
    unsafe { libc::setsid() };
    // Init is one thread, so its death, and nothing else, sends this. In a process tree of its own the kernel does as
    // much; this is for plain processes.
    control_process(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map_err(at(Step::Init))?;
    if let Some(freezer) = launch.freezer {
        // Whoever opened the file may do this, which was the service.
        syscall::write_all(freezer, b"0").map_err(at(Step::JoinFreezer))?;
    }
    arrange_descriptors(program).map_err(at(Step::Descriptors))?;
    // SAFETY: takes no pointers.
    unsafe { libc::umask(0o022) };
    syscall::change_directory(program.directory()).map_err(at(Step::Directory))?;
    if let Some(rules) = &launch.rules {
        // Without it, everything else holds.
        rules.enforce();
    }
    load_filter(&launch.filter).map_err(at(Step::Filter))?;
    reset_signals();
    let path = program.path();
    // SAFETY: the pointers are to C strings of the order and end with a null pointer.
    unsafe {
        libc::execve(path.as_ptr(), program.arguments().as_ptr(), program.environment().as_ptr());
    }
    let mut errno = syscall::last_error();
    // "No such file" is also said of the interpreter that an existing file names.
    // SAFETY: `path` is a C string.
    if errno.0 == libc::ENOENT && unsafe { libc::access(path.as_ptr(), libc::F_OK) } == 0 {
        errno = Errno(libc::ELIBACC);
    }
    Err(Failure { step: Step::Exec, errno, action: None })
}

/// Puts the given descriptors at their numbers, with nothing else left after exec. Sources and targets may overlap,
/// so all sources are moved out of the way first.
fn arrange_descriptors(program: &Program) -> syscall::Result {
    let first_free = program.first_free();
    let mut moved = [-1; DESCRIPTORS];
    for ((source, _), moved) in program.given().zip(&mut moved) {
        // SAFETY: takes no pointers.
        let duplicate = unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, first_free) };
        *moved = syscall::check(duplicate.into())? as RawFd;
    }
    syscall::close_range(0, RawFd::MAX, true)?;
    for ((_, target), &moved) in program.given().zip(&moved) {
        // SAFETY: takes no pointers.
        syscall::check(unsafe { libc::dup2(moved, target) }.into())?;
    }
    Ok(())
}

fn load_filter(filter: &[libc::sock_filter]) -> syscall::Result {
    if filter.is_empty() {
        return Ok(());
    }
    let program =
        libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program is valid to be read, and only read.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    syscall::check(result).map(drop)
}

/// As a fresh process has them: exec resets handlers, but not what is ignored (Rust ignores SIGPIPE) or blocked.
pub(crate) fn reset_signals() {
    const SIGNALS: c_int = 64;
    /// All zero is the default action. Room enough for the kernel's structure on every architecture.
    const DEFAULT: [u64; 4] = [0; 4];
    // SAFETY: pointers and sizes are those that the kernel expects. The kernel's own call, because the C library's
    // refuses the signals that it uses itself. Those that cannot be set are refused, which is fine.
    unsafe {
        for signal in 1..=SIGNALS {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<c_void>(),
                SIGNALS / 8,
            );
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
