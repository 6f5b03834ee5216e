//! A process that is held by the kernel's interface for debuggers, and made to make system calls, one at a time.
//!
//! It runs no instruction of its own meanwhile. All calls must come from one thread, as the kernel demands. Must not know
//! what the calls are for.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    time::{Duration, Instant},
};

use libc::{c_int, c_long, c_void, pid_t, user_regs_struct};

use crate::syscall::{self, Errno};

/// A process that can be stopped is at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The instruction `syscall`.
const SYSTEM_CALL: [u8; 2] = [0x0f, 0x05];

/// Codes between kernel and debugger: the interrupted call is to be made again.
const RESTART: std::ops::RangeInclusive<i64> = -514..=-512;
/// The like for calls that need to know how far they came.
const RESTART_BLOCK: i64 = -516;

/// `PTRACE_O_SUSPEND_SECCOMP`: calls that we have it make pass its filter.
const SUSPEND_FILTER: c_int = 1 << 21;

/// What follows from our hold: its children are held from birth, and whoever is held ends if we do.
const OPTIONS: c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_EXITKILL
    | SUSPEND_FILTER;

/// The kernel's size of a set of signals.
const SIGNAL_SET_BYTES: usize = 8;

/// A process that is held in the middle of a system call. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Tracee {
    pid: pid_t,
    registers: user_regs_struct,
    /// Where there is an instruction that makes a system call.
    instruction: u64,
    signals: u64,
    held: bool,
}

impl Tracee {
    /// Stops a process, frozen or not.
    pub(super) fn seize(pid: pid_t) -> io::Result<Self> {
        request(libc::PTRACE_SEIZE, pid, 0, OPTIONS as usize)?;
        let stopped = request(libc::PTRACE_INTERRUPT, pid, 0, 0).and_then(|_| wait_for_stop(pid, PATIENCE));
        match stopped.and_then(|_| Self::held(pid)) {
            Ok(held) => Ok(held),
            Err(error) => {
                // As it was, if it is still there.
                let _ = request(libc::PTRACE_DETACH, pid, 0, 0);
                Err(error)
            }
        }
    }

    fn held(pid: pid_t) -> io::Result<Self> {
        // SAFETY: all-zero values are valid; the kernel writes as much as the structures are large.
        let (registers, signals) = unsafe {
            let mut registers: user_regs_struct = mem::zeroed();
            let mut signals = 0_u64;
            request(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers).addr())?;
            request(libc::PTRACE_GETSIGMASK, pid, SIGNAL_SET_BYTES, (&raw mut signals).addr())?;
            (registers, signals)
        };
        // Behind the one that it is in the middle of; before the one that it is about to make, if we held it before.
        let interrupted = registers.orig_rax as i64 >= 0;
        let instruction = registers.rip.wrapping_sub(if interrupted { 2 } else { 0 });
        let mut held = Self { pid, registers, instruction, signals, held: false };
        let mut found = [0_u8; 2];
        held.read(instruction, &mut found)?;
        if found != SYSTEM_CALL {
            return Err(io::Error::other("the program does not wait in a system call"));
        }
        // SAFETY: the set is read only. The trap by which we get it back must come through.
        let all_but_trap = !(1_u64 << (libc::SIGTRAP - 1));
        request(libc::PTRACE_SETSIGMASK, pid, SIGNAL_SET_BYTES, (&raw const all_but_trap).addr())?;
        held.held = true;
        Ok(held)
    }

    pub(super) fn pid(&self) -> pid_t {
        self.pid
    }

    /// Has it make a system call; its result.
    pub(super) fn call(&mut self, number: c_long, arguments: &[u64]) -> io::Result<u64> {
        self.begin(number, arguments)?;
        self.result()
    }

    /// Has it clone itself; the result, and the child, which is held.
    pub(super) fn clone(&mut self, arguments: &[u64]) -> io::Result<(u64, Self)> {
        self.begin(libc::SYS_clone, arguments)?;
        let status = wait_for_stop(self.pid, PATIENCE)?;
        if status >> 16 == 0 {
            // No child was made.
            return self.answer().and_then(|_| Err(io::ErrorKind::Unsupported.into()));
        }
        let mut child = 0_u64;
        request(libc::PTRACE_GETEVENTMSG, self.pid, 0, (&raw mut child).addr())?;
        let mut child = Self { pid: child as pid_t, held: true, ..*self };
        wait_for_stop(child.pid, PATIENCE)?;
        request(libc::PTRACE_SINGLESTEP, self.pid, 0, 0)?;
        let number = self.result()?;
        child.signals = self.signals;
        Ok((number, child))
    }

    fn begin(&self, number: c_long, arguments: &[u64]) -> io::Result<()> {
        let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
        let registers = user_regs_struct {
            rip: self.instruction,
            rax: number as u64,
            // The interrupted call is not made again now.
            orig_rax: u64::MAX,
            rdi: argument(0),
            rsi: argument(1),
            rdx: argument(2),
            r10: argument(3),
            r8: argument(4),
            r9: argument(5),
            ..self.registers
        };
        self.set_registers(&registers)?;
        request(libc::PTRACE_SINGLESTEP, self.pid, 0, 0).map(drop)
    }

    fn result(&mut self) -> io::Result<u64> {
        wait_for_stop(self.pid, PATIENCE)?;
        self.answer()
    }

    fn answer(&self) -> io::Result<u64> {
        // SAFETY: an all-zero value is valid; the kernel writes as much as the structure is large.
        let mut registers: user_regs_struct = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.pid, 0, (&raw mut registers).addr())?;
        match registers.rax as i64 {
            error @ -4095..0 => Err(io::Error::from_raw_os_error(-error as i32)),
            _ => Ok(registers.rax),
        }
    }

    fn set_registers(&self, registers: &user_regs_struct) -> io::Result<()> {
        request(libc::PTRACE_SETREGS, self.pid, 0, ptr::from_ref(registers).addr()).map(drop)
    }

    /// Reads its memory.
    pub(super) fn read(&self, from: u64, into: &mut [u8]) -> io::Result<()> {
        let ours = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let theirs = libc::iovec { iov_base: from as *mut c_void, iov_len: into.len() };
        // SAFETY: our part is one slice that may be written to; the kernel checks theirs.
        let count = unsafe { libc::process_vm_readv(self.pid, &raw const ours, 1, &raw const theirs, 1, 0) };
        whole(count, into.len())
    }

    /// Writes to its memory.
    pub(super) fn write(&self, to: u64, from: &[u8]) -> io::Result<()> {
        let ours = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        let theirs = libc::iovec { iov_base: to as *mut c_void, iov_len: from.len() };
        // SAFETY: our part is one slice, and only read; the kernel checks theirs.
        let count = unsafe { libc::process_vm_writev(self.pid, &raw const ours, 1, &raw const theirs, 1, 0) };
        whole(count, from.len())
    }

    /// Lets it go on where it was: the call that it was in is made again.
    pub(super) fn release(mut self) -> io::Result<()> {
        let mut registers = self.registers;
        if registers.orig_rax as i64 >= 0 {
            let answer = registers.rax as i64;
            if RESTART.contains(&answer) {
                registers.rip = self.instruction;
                registers.rax = registers.orig_rax;
            } else if answer == RESTART_BLOCK {
                registers.rax = -i64::from(libc::EINTR) as u64;
            }
            registers.orig_rax = u64::MAX;
        }
        self.set_registers(&registers)?;
        let signals = self.signals;
        request(libc::PTRACE_SETSIGMASK, self.pid, SIGNAL_SET_BYTES, (&raw const signals).addr())?;
        request(libc::PTRACE_DETACH, self.pid, 0, 0)?;
        self.held = false;
        Ok(())
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if self.held {
            // SAFETY: takes no pointers. Whom we hold is not reaped by anyone else.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            // As its debugger we are told of its end first; its parent is told next.
            let _ = wait_for_end(self.pid);
        }
    }
}

fn whole(count: isize, wanted: usize) -> io::Result<()> {
    match count {
        -1 => Err(io::Error::last_os_error()),
        count if count as usize == wanted => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn request(request: libc::c_uint, pid: pid_t, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: what `data` points to, callers have made as large as the request demands.
    let result = unsafe { libc::ptrace(request, pid, address as *mut c_void, data as *mut c_void) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Waits until it has stopped; how. An end is an error.
fn wait_for_stop(pid: pid_t, patience: Duration) -> io::Result<c_int> {
    let begin = Instant::now();
    let mut rounds = 0_u32;
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid to be written.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if found == pid {
            return match status {
                status if !libc::WIFSTOPPED(status) => Err(io::Error::other("the program ended")),
                status if libc::WSTOPSIG(status) == libc::SIGTRAP => Ok(status),
                _ => Err(io::Error::other("the program was stopped by somebody else")),
            };
        }
        if found < 0 {
            return Err(io::Error::last_os_error());
        }
        if begin.elapsed() > patience {
            return Err(io::ErrorKind::TimedOut.into());
        }
        rounds += 1;
        if rounds > 20 {
            // SAFETY: no descriptors, only a time.
            unsafe { libc::usleep(20) };
        } else {
            std::thread::yield_now();
        }
    }
}

fn wait_for_end(pid: pid_t) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid to be written.
        let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if found < 0 || (found == pid && !libc::WIFSTOPPED(status)) || begin.elapsed() > PATIENCE {
            return Ok(());
        }
        // SAFETY: no descriptors, only a time.
        unsafe { libc::usleep(50) };
    }
}

/// A duplicate of a descriptor of another process.
pub(super) fn take_descriptor(process: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the result is a new descriptor.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    match syscall::check(taken) {
        // SAFETY: as above.
        Ok(taken) => Ok(unsafe { OwnedFd::from_raw_fd(taken as RawFd) }),
        Err(Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
    }
}
