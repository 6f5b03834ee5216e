//! A nursery: a small process in which inits are born, so that the service itself need not be copied for each.
//!
//! What a copy of the service costs is its tables of memory, and then a fault for each page that the service changes while
//! the copy still shares it. The nursery is such a copy once, has forgotten all but one launch, and is copied in its turn:
//! each order tells what differs from that launch. Must not be relied upon: whoever is refused clones the service.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use crate::{
    error::{SpawnError, Step},
    forget::forget_the_service,
    init,
    isolation::Mode,
    launch::Launch,
    parcel::{Opened, Parcel},
    process::OrderKind,
    sandbox::{TREE, socket_pair},
    syscall::{self, Errno, SignalsBlocked},
    zygote::{is_running, limit_waiting},
};

/// A process that makes inits, which are children of the service. Dropping it ends it, not them.
#[derive(Debug)]
pub(crate) struct Nursery {
    process: OwnedFd,
    /// The launch that it has in its memory. Its descriptors mean nothing any more.
    launch: Launch,
    /// Who has it speaks: an answer comes to who has asked. None if the last one was silent.
    control: Mutex<Option<OwnedFd>>,
}

impl Nursery {
    /// One for launches like this one. Blocks until it has been cloned.
    pub(crate) fn start(mut launch: Launch) -> Result<Self, SpawnError> {
        let (ours, theirs) = socket_pair().map_err(SpawnError::step(Step::Prepare))?;
        limit_waiting(ours.as_fd()).map_err(SpawnError::step(Step::Prepare))?;
        let failed = |errno: Errno| SpawnError::Step { step: Step::Clone, source: errno.into() };
        let blocked = SignalsBlocked::new();
        let mut process = -1;
        // SAFETY: `serve` is async-signal-safe and never returns.
        let pid = unsafe { syscall::clone(0, Some(&mut process), None) };
        if pid == Ok(0) {
            serve(&mut launch, theirs.as_raw_fd());
        }
        drop(blocked);
        pid.map_err(failed)?;
        // SAFETY: the kernel made the descriptor for us.
        let process = unsafe { OwnedFd::from_raw_fd(process) };
        Ok(Self { process, launch, control: Mutex::new(Some(ours)) })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        is_running(self.process.as_fd())
    }

    /// Has an init made that carries out `launch`, in this control group: its id, and a descriptor for it. `None` if there
    /// is none, for sure.
    pub(crate) fn bear(
        &self,
        launch: &Launch,
        group: Option<RawFd>,
    ) -> Result<Option<(libc::pid_t, OwnedFd)>, SpawnError> {
        let Some((uid, gid)) = launch.identity.filter(|_| launch.is_like(&self.launch)) else {
            return Ok(None);
        };
        let numbers = [uid, gid, group.is_some().into()].map(u64::from);
        let descriptors: Vec<RawFd> = launch.descriptors().chain(group).collect();
        let order = Parcel::new(OrderKind::BEAR, &numbers, &[], Vec::new());
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(socket) = control.take() else { return Ok(None) };
        if order.send_with(socket.as_fd(), &descriptors).is_err() {
            return Ok(None);
        }
        let mut pid: libc::pid_t = 0;
        let length = size_of_val(&pid);
        // SAFETY: pointer and length are of one value of plain data.
        let count = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut pid).cast(), length, 0) };
        if count != length as isize {
            // If there is an init, it ends: nobody is at the other end of its socket.
            return Err(SpawnError::step(Step::Clone)(io::ErrorKind::TimedOut.into()));
        }
        *control = Some(socket);
        drop(control);
        if pid <= 0 {
            return Ok(None);
        }
        // Our child, and only we reap it, so the number is still its own.
        let failed = |errno: Errno| SpawnError::Step { step: Step::Clone, source: errno.into() };
        Ok(Some((pid, syscall::open_process(pid).map_err(failed)?)))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // One that has ended already is only reaped.
        let _ = syscall::signal_process(self.process.as_fd(), libc::SIGKILL);
        let _ = syscall::reap(self.process.as_fd(), true);
    }
}

/// In the nursery, and, when it returns from a clone, in an init. Async-signal-safe.
fn serve(launch: &mut Launch, control: RawFd) -> ! {
    let served = prepare(launch, control).and_then(|()| bear_all(launch, control));
    // SAFETY: takes no pointers; runs no handler of the service's.
    unsafe { libc::_exit(served.is_err().into()) }
}

fn prepare(launch: &Launch, control: RawFd) -> syscall::Result {
    syscall::close_all_but(&[control])?;
    init::hide_the_service(launch.command_line);
    forget_the_service(syscall::open(c"/proc/self/maps", libc::O_RDONLY, 0)?, launch);
    Ok(())
}

fn bear_all(launch: &mut Launch, control: RawFd) -> syscall::Result {
    while let Some(order) = Opened::receive(control)? {
        let [uid, gid, in_group] = order.numbers() else { return Ok(()) };
        let (descriptors, group) = match order.descriptors().split_last() {
            Some((group, others)) if *in_group != 0 => (others, Some(*group)),
            _ => (order.descriptors(), None),
        };
        if !launch.take_on((*uid as u32, *gid as u32), descriptors) {
            return Ok(());
        }
        // SAFETY: `init::run` is async-signal-safe and never returns.
        let born = unsafe { syscall::clone(TREE | libc::CLONE_PARENT, None, group) };
        if born == Ok(0) {
            init::run(launch, Mode::Privileged);
        }
        order.descriptors().iter().for_each(|descriptor| syscall::close(*descriptor));
        order.discard();
        let answer: libc::pid_t = born.unwrap_or_else(|errno| -errno.0);
        // SAFETY: pointer and length are of one value of plain data.
        let sent = unsafe {
            let flags = libc::MSG_NOSIGNAL;
            libc::send(control, (&raw const answer).cast(), mem::size_of_val(&answer), flags)
        };
        syscall::check(sent as libc::c_long)?;
    }
    Ok(())
}
