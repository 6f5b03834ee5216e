//! Init's own life: it starts programs as it is told, passes signals on, reaps, and ends the tree.
//!
//! As for all of init, only async-signal-safe work is allowed. Must not set anything up.

use std::{
    ffi::c_int,
    mem,
    os::fd::{AsRawFd, RawFd},
};

use super::{close_all_but, exit, run_program};
use crate::{
    error::Step,
    helper::Failure,
    isolation::Mode,
    launch::{Launch, Program},
    parcel::Opened,
    process::{Order, OrderKind, Report, ReportKind},
    syscall::{self, Errno},
};

/// Programs of one tree.
const PROGRAMS: usize = 16;

/// Copies of a program at one time.
const COPIES: usize = 1024;

/// The programs of this tree, by their number; zero for those that have ended.
pub(super) struct Programs {
    processes: [libc::pid_t; PROGRAMS],
    count: usize,
    lasting: bool,
    /// Copies of the program, and whom to tell of the end of each. Zero where there is none.
    copies: [(libc::pid_t, RawFd); COPIES],
}

impl Programs {
    /// None yet. A `lasting` tree does not end with a program.
    pub(super) fn new(lasting: bool) -> Self {
        Self { processes: [0; PROGRAMS], count: 0, lasting, copies: [(0, -1); COPIES] }
    }

    pub(super) fn add(&mut self, process: libc::pid_t) {
        if let Some(place) = self.processes.get_mut(self.count) {
            *place = process;
            self.count += 1;
        }
    }

    fn process(&self, number: u32) -> Option<libc::pid_t> {
        self.processes.get(number as usize).copied().filter(|process| *process > 0)
    }

    fn running(&self) -> impl Iterator<Item = libc::pid_t> {
        self.processes.into_iter().filter(|process| *process > 0)
    }
}

/// Waits for ends of programs, for orders, or for the service's end.
pub(super) fn watch(launch: &Launch, mut programs: Programs, ended: RawFd, mode: Mode) -> ! {
    let control = launch.control.as_raw_fd();
    loop {
        let mut sources = [control, ended].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: pointer and count are of one array.
        unsafe { libc::poll(sources.as_mut_ptr(), 2, -1) };
        let [orders, children] = sources.map(|source| source.revents != 0);
        if children && reap(control, ended, &mut programs) && !programs.lasting {
            end_tree(&programs, mode);
        }
        if orders {
            match next_order(control) {
                Some(Order { kind: OrderKind::SIGNAL, signal: libc::SIGKILL, program }) => {
                    // With what it started, as far as that has not left its group.
                    programs
                        .process(program)
                        .into_iter()
                        .for_each(|process| send_signal(-process, libc::SIGKILL));
                }
                Some(Order { kind: OrderKind::SIGNAL, signal, program }) => {
                    programs.process(program).into_iter().for_each(|process| send_signal(process, signal));
                }
                Some(Order { kind: OrderKind::SIGNAL_ALL, signal, .. }) if mode != Mode::Plain => {
                    // Everyone in this tree but us.
                    send_signal(-1, signal);
                }
                Some(Order { kind: OrderKind::SIGNAL_ALL, signal, .. }) => {
                    programs.running().for_each(|process| send_signal(-process, signal));
                }
                Some(_) => end_tree(&programs, mode),
                None => match next_parcel(launch, &mut programs, ended) {
                    Some(()) => {}
                    // Told to end, or the service is gone.
                    None => end_tree(&programs, mode),
                },
            }
        }
    }
}

/// Starts one more program, or takes note of a copy. `None` if there is nobody who wants that.
fn next_parcel(launch: &Launch, programs: &mut Programs, ended: RawFd) -> Option<()> {
    let control = launch.control.as_raw_fd();
    let order = Opened::receive(control).ok()??;
    if order.kind() == OrderKind::NOTE_COPY {
        return note_copy(order, programs);
    }
    let program = Program::of(order).filter(|_| programs.lasting)?;
    let number = programs.count as u32;
    let full = Failure { step: Step::Clone, errno: Errno(libc::EAGAIN), action: None };
    let started = if programs.count < PROGRAMS { run_program(launch, &program, false) } else { Err(full) };
    match started {
        Ok(process) => programs.add(process),
        Err(failure) => {
            programs.add(0);
            let kind =
                if failure.step == Step::Exec { ReportKind::NOT_EXECUTED } else { ReportKind::NOT_SET_UP };
            report(control, Report::failure(kind, number, failure.step, failure.errno.0));
        }
    }
    // What the program was given is its own.
    close_all_but([control, ended, launch.freezer.unwrap_or(control), control]).ok()
}

/// Takes note of a copy of the program: its end will be told to a socket of its own. A tree with copies lasts.
fn note_copy(order: Opened, programs: &mut Programs) -> Option<()> {
    let (&[process], &[socket]) = (order.numbers(), order.descriptors()) else { return None };
    order.discard();
    match programs.copies.iter_mut().find(|(process, _)| *process == 0) {
        Some(place) => {
            *place = (process as libc::pid_t, socket);
            programs.lasting = true;
            report(socket, Report::waiting());
        }
        // Which the other end is told by its being closed.
        None => syscall::close(socket),
    }
    Some(())
}

pub(super) fn report(control: RawFd, message: Report) {
    // SAFETY: pointer and size are of one value of plain data. A service that is gone is no matter.
    unsafe {
        libc::send(control, (&raw const message).cast(), size_of::<Report>(), libc::MSG_NOSIGNAL);
    }
}

/// `None`, and the message stays, if what comes is no such order, or nothing will.
fn next_order(control: RawFd) -> Option<Order> {
    let mut order = Order { kind: OrderKind(0), signal: 0, program: 0 };
    // SAFETY: pointer and size are of one value of plain data, for which any bytes are valid.
    let receive = |order: &mut Order, flags| unsafe {
        libc::recv(control, (&raw mut *order).cast(), size_of::<Order>(), flags)
    };
    let length = size_of::<Order>() as isize;
    if receive(&mut order, libc::MSG_PEEK | libc::MSG_TRUNC) != length {
        return None;
    }
    (receive(&mut order, 0) == length).then_some(order)
}

fn send_signal(to: libc::pid_t, signal: c_int) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(to, signal) };
}

/// Reaps all that have ended, and reports the programs among them; whether there were some.
fn reap(control: RawFd, ended: RawFd, programs: &mut Programs) -> bool {
    let mut any = false;
    // SAFETY: all buffers are valid to be written; an all-zero `rusage` is valid.
    unsafe {
        let mut news: libc::signalfd_siginfo = mem::zeroed();
        libc::read(ended, (&raw mut news).cast(), size_of::<libc::signalfd_siginfo>());
        loop {
            let mut status = 0;
            let mut usage: libc::rusage = mem::zeroed();
            let pid = libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage);
            if pid <= 0 {
                return any;
            }
            if let Some(copy) = programs.copies.iter_mut().find(|(process, _)| *process == pid) {
                let (_, socket) = mem::replace(copy, (0, -1));
                report(socket, Report::end(0, status, usage.ru_maxrss as u64 * 1024));
                syscall::close(socket);
            }
            if let Some(number) = programs.processes.iter().position(|process| *process == pid) {
                programs.processes[number] = 0;
                any = true;
                report(control, Report::end(number as u32, status, usage.ru_maxrss as u64 * 1024));
            }
        }
    }
}

/// Ends everything. In a process tree of its own, the kernel ends everyone when its first process ends.
fn end_tree(programs: &Programs, mode: Mode) -> ! {
    if mode == Mode::Plain {
        programs.running().for_each(|process| send_signal(-process, libc::SIGKILL));
        while kill_children() {}
    }
    exit(0)
}

/// Kills all children and waits for one; orphans of theirs become ours. Whether there may be more.
fn kill_children() -> bool {
    let mut buffer = [0_u8; 4096];
    // SAFETY: buffer and length belong together; nothing else takes a pointer but the status, which may be absent.
    unsafe {
        if let Ok(file) = syscall::open(c"/proc/thread-self/children", libc::O_RDONLY, 0) {
            let count = libc::read(file, buffer.as_mut_ptr().cast(), buffer.len());
            syscall::close(file);
            let text = buffer.get(..count.max(0) as usize).unwrap_or_default();
            // A number that the buffer cut in two is not ended by a space, and left for the next round.
            let mut pid: libc::pid_t = 0;
            for &byte in text {
                if byte.is_ascii_digit() {
                    pid = pid.wrapping_mul(10).wrapping_add((byte - b'0').into());
                } else {
                    if pid > 1 {
                        libc::kill(pid, libc::SIGKILL);
                    }
                    pid = 0;
                }
            }
        }
        libc::waitpid(-1, std::ptr::null_mut(), 0) > 0
    }
}
