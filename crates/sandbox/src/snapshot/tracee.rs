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

/// A system call: its number and six arguments.
pub(super) type Call = [u64; 7];

/// Makes calls in a row, up to one that fails. They stand at `rbx`, each with room for its result; `r12` is their count.
const CALLER: [u8; 51] = [
    0x48, 0x8b, 0x03, // next: mov rax, [rbx]
    0x48, 0x8b, 0x7b, 0x08, // mov rdi, [rbx + 8]
    0x48, 0x8b, 0x73, 0x10, // mov rsi, [rbx + 16]
    0x48, 0x8b, 0x53, 0x18, // mov rdx, [rbx + 24]
    0x4c, 0x8b, 0x53, 0x20, // mov r10, [rbx + 32]
    0x4c, 0x8b, 0x43, 0x28, // mov r8, [rbx + 40]
    0x4c, 0x8b, 0x4b, 0x30, // mov r9, [rbx + 48]
    0x0f, 0x05, // syscall
    0x48, 0x89, 0x43, 0x38, // mov [rbx + 56], rax
    0x48, 0x83, 0xc3, 0x40, // add rbx, 64
    0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, // cmp rax, -4095
    0x73, 0x05, // jae done
    0x49, 0xff, 0xcc, // dec r12
    0x75, 0xce, // jnz next
    0xcc, // done: int3
];

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

    /// In memory, a call and its result.
    pub(super) const CALL_BYTES: usize = size_of::<[u64; 8]>();

    /// Writes what [`Tracee::calls`] needs.
    pub(super) fn write_code(&self, to: u64) -> io::Result<()> {
        self.write(to, &CALLER)
    }

    /// Has it make calls in a row without being stopped between them, up to the first that fails. They are written to the
    /// memory at `place`; the code for it is at `code`.
    pub(super) fn calls(&mut self, code: u64, place: u64, calls: &[Call]) -> io::Result<()> {
        if calls.is_empty() {
            return Ok(());
        }
        let words = calls.iter().flat_map(|call| call.iter().chain(&[0]));
        let mut memory: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
        self.write(place, &memory)?;
        let registers = user_regs_struct {
            rip: code,
            rbx: place,
            r12: calls.len() as u64,
            orig_rax: u64::MAX,
            ..self.registers
        };
        self.set_registers(&registers)?;
        request(libc::PTRACE_CONT, self.pid, 0, 0)?;
        wait_for_stop(self.pid, PATIENCE)?;
        if self.current_registers()?.rip != code + CALLER.len() as u64 {
            return Err(io::Error::other("the program was stopped between calls"));
        }
        self.read(place, &mut memory)?;
        for call in memory.chunks_exact(Self::CALL_BYTES) {
            let (_, result) = call.split_at(size_of::<Call>());
            checked(result.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))?;
        }
        Ok(())
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
        checked(self.current_registers()?.rax)
    }

    fn current_registers(&self) -> io::Result<user_regs_struct> {
        // SAFETY: an all-zero value is valid; the kernel writes as much as the structure is large.
        let mut registers: user_regs_struct = unsafe { mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.pid, 0, (&raw mut registers).addr())?;
        Ok(registers)
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

/// What a call has returned, or its error.
fn checked(result: u64) -> io::Result<u64> {
    match result as i64 {
        error @ -4095..0 => Err(io::Error::from_raw_os_error(-error as i32)),
        _ => Ok(result),
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Command, Stdio},
        thread,
    };

    use super::*;

    #[test]
    fn calls_in_a_row_end_with_the_first_that_fails() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id() as pid_t;
        let begin = Instant::now();
        while !fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap().starts_with("0 0x0 ") {
            assert!(begin.elapsed() < PATIENCE, "it does not read");
            thread::yield_now();
        }
        let mut held = Tracee::seize(pid).unwrap();
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let arguments = [0, 8192, access as u64, kind as u64, u64::MAX, 0];
        let code = held.call(libc::SYS_mmap, &arguments).unwrap();
        held.write_code(code).unwrap();
        let access = libc::PROT_READ | libc::PROT_EXEC;
        held.call(libc::SYS_mprotect, &[code, 4096, access as u64]).unwrap();

        let umask = |mask| [libc::SYS_umask as u64, mask, 0, 0, 0, 0, 0];
        let fails = [libc::SYS_close as u64, 1 << 20, 0, 0, 0, 0, 0];
        held.calls(code, code + 4096, &[umask(0o11), umask(0o22)]).unwrap();
        assert_eq!(held.call(libc::SYS_umask, &[0o33]).unwrap(), 0o22);
        let error = held.calls(code, code + 4096, &[umask(0o44), fails, umask(0o55)]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(held.call(libc::SYS_umask, &[0]).unwrap(), 0o44);
        held.release().unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}
