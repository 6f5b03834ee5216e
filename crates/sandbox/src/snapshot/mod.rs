//! Copies of a program that has come to rest, each in a sandbox of its own.
//!
//! The program is made to clone itself, as by `fork`, and the copy to enter its sandbox before it runs an instruction of
//! its own: both are held meanwhile, and make the system calls that we say. So nothing of this depends on what the program
//! is or wants, and it gains nothing: what it may not do, no code of it can do at any time.
//!
//! A copy has the memory (until either writes to it), the files below `/tmp` and the descriptors of the original; its
//! network, its groups, its user outside and its messages are its own. It shares the original's process tree, whose init
//! reaps it; in `/proc` it sees itself and its children. What cannot be copied so is said ([`Unfit`]), never half done.
//!
//! ```text
//! service ── holds ──▶ original ── clone ──▶ copy ── setns, setresuid, capset, … ──▶ goes on where the original waits
//! ```
//!
//! Must not know what the program waits for.

mod descriptors;
mod files;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_tracee.rs")]
mod tracee;

use std::{
    ffi::{CStr, CString},
    fmt, fs, io,
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use libc::{c_long, pid_t};

use self::{
    descriptors::{Descriptor, Kind},
    files::Owners,
    tracee::{Call, Tracee, take_descriptor},
};
use crate::{
    Process, Sandbox, SandboxSpec, SpawnError, Step, Template,
    control_group::Group,
    landlock::Hands,
    parcel::Parcel,
    process::{self, OrderKind},
    sandbox::{Original, socket_pair},
    syscall, user_namespace,
};

/// Memory of the program that is ours: arguments of the calls that we have it make.
const SCRATCH_BYTES: u64 = 32 * 1024;
/// In it: a message, its part, its descriptors.
const MESSAGE: u64 = 0;
const PART: u64 = 64;
const ANCILLARY: u64 = 128;
const ANCILLARY_BYTES: u64 = 1024;
const PARCEL: u64 = 2048;
const PARCEL_BYTES: u64 = 64;
/// In it: whatever one call needs.
const ARGUMENT: u64 = 4096;
/// In it: calls that are made in a row.
const CALLS: u64 = 16 * 1024;
/// Behind it: the code that makes them, which nobody can write to.
const CODE: u64 = SCRATCH_BYTES;
const CODE_BYTES: u64 = 4096;

/// How long init may take to note that there is a copy.
const ADOPTION_MILLISECONDS: libc::c_int = 2000;

/// How long a program may take to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Why no copies can be made of a program.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    reason: String,
}

impl Unfit {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A program that has come to rest and of which copies are made. It stays one, and does nothing any more.
///
/// Its process and its sandbox must outlive the copies.
pub struct Snapshot {
    template: Template,
    program: pid_t,
    init: pid_t,
    /// The user namespace that those of the copies are in, and the first user of a copy outside.
    users: OwnedFd,
    copies: (u32, u32),
    owner: (u32, u32),
    /// The mount namespace with the program's `/proc`.
    mounts: OwnedFd,
    directory: CString,
    descriptors: Vec<Descriptor>,
    scratch: u64,
    /// Where the C library keeps the thread's number.
    thread_number: u64,
    count: AtomicU32,
    /// Of those who have the program make a copy.
    turn: Mutex<()>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Makes a snapshot of the one program in a sandbox that was made for it ([`SandboxSpec::copied`]), as soon as it waits
    /// to read from the descriptor `rests_at`. It was given descriptors under the numbers `given`, and copies will be. Blocks.
    ///
    /// # Errors
    /// Of this program, or on this machine, no copies can be made. It is thawed, and goes on.
    pub fn take(
        sandbox: &Sandbox,
        process: &Process,
        given: &[RawFd],
        rests_at: RawFd,
    ) -> Result<Self, Unfit> {
        let taken = Self::try_take(sandbox, process, given, rests_at);
        if taken.is_err() {
            // One that has ended is no matter.
            let _ = process.thaw();
        }
        taken
    }

    fn try_take(
        sandbox: &Sandbox,
        process: &Process,
        given: &[RawFd],
        rests_at: RawFd,
    ) -> Result<Self, Unfit> {
        let unread = |_: io::Error| Unfit::new("it cannot be looked at");
        let (Some(users), Some(copies)) = (sandbox.users(), sandbox.copies) else {
            return Err(Unfit::new("the machine gives no user namespace, or it was not meant to be copied"));
        };
        if process.tree.is_none() || !sandbox.has_network() {
            return Err(Unfit::new("the machine gives no network namespace, or no groups to freeze"));
        }
        if !sandbox.group.as_deref().is_none_or(Group::takes_who_comes) {
            return Err(Unfit::new(
                "the machine's control groups let no copy have a memory limit of its own",
            ));
        }
        let program = process.id().ok_or_else(|| Unfit::new("it has ended"))? as pid_t;
        let init = process.init_pid;
        wait_for_rest(program, rests_at)?;
        process.freeze().map_err(unread)?;
        is_alone(program, init)?;
        has_memory_of_its_own(program)?;
        let root = PathBuf::from(format!("/proc/{program}/root"));
        files::measure(&root)?;
        let descriptors = descriptors::of(program, given)?;
        let directory = fs::read_link(format!("/proc/{program}/cwd")).map_err(unread)?;
        let directory = CString::new(directory.into_os_string().into_vec()).unwrap_or_default();
        let mounts = fs::File::open(format!("/proc/{init}/ns/mnt")).map_err(unread)?.into();
        let users = users.try_clone().map_err(unread)?;

        let mut held =
            Tracee::seize(program).map_err(|error| Unfit::new(format!("it cannot be held: {error}")))?;
        let looked = process.thaw().and_then(|()| prepare(&mut held));
        let frozen = process.freeze();
        let released = held.release();
        let (scratch, thread_number) = looked
            .and_then(|found| frozen.and(released).map(|()| found))
            .map_err(|error| Unfit::new(format!("it cannot be prepared: {error}")))?;
        Ok(Self {
            template: sandbox.template.clone(),
            program,
            init,
            users,
            copies,
            owner: sandbox.owner(),
            mounts,
            directory,
            descriptors,
            scratch,
            thread_number,
            count: AtomicU32::new(0),
            turn: Mutex::new(()),
        })
    }

    /// Makes the place of a copy. Blocks for about as long as [`Sandbox::create`].
    pub fn place(&self, spec: SandboxSpec) -> Result<Sandbox, SpawnError> {
        let number = self.count.fetch_add(1, Relaxed);
        let users = user_namespace::create_for_copy(
            self.users.as_fd(),
            self.template.identity(),
            self.copies,
            number,
        );
        let users = users.map_err(SpawnError::step(Step::UserNamespace))?;
        Sandbox::make(&self.template, spec, Some(Original { users, mounts: &self.mounts }))
    }

    /// Makes a copy of the program, `original`, in a place that was made for it: it goes on where the original waits, with
    /// these descriptors instead of those that the original was given. Blocks for some milliseconds.
    ///
    /// # Errors
    /// Nothing of the copy is left. If the original has ended, [`Process::try_wait`] says so.
    pub fn restore(
        &self,
        original: &Process,
        place: &mut Sandbox,
        descriptors: Vec<(OwnedFd, RawFd)>,
    ) -> Result<Process, SpawnError> {
        self.copy(original, place, descriptors).map_err(SpawnError::step(Step::Copy))
    }

    fn copy(
        &self,
        original: &Process,
        place: &mut Sandbox,
        descriptors: Vec<(OwnedFd, RawFd)>,
    ) -> io::Result<Process> {
        let beside = original.tree.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let number = self.count.fetch_add(1, Relaxed);
        let (tree, freezer) = beside.beside(&number.to_string())?;
        let (groups, _) = place.group.as_deref().map_or_else(|| Ok(Default::default()), Group::entrances)?;
        let groups: Vec<OwnedFd> = std::iter::once(freezer).chain(groups).collect();

        let joined = groups.len();
        let namespaces = place.namespaces_of_copy().ok_or(io::ErrorKind::NotFound)?;
        let mut sent = groups;
        for (namespace, _) in namespaces {
            sent.push(namespace.try_clone()?);
        }
        let (given, numbers): (Vec<OwnedFd>, Vec<RawFd>) = descriptors.into_iter().unzip();
        sent.extend(given);

        let (end, told) = socket_pair()?;
        let (mut copy, process, received) = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.clone_program(original, told, sent, joined)?
        };
        let received = received.get(joined..).unwrap_or_default();
        self.enter(&mut copy, place, received, &numbers)?;
        // It may end as soon as it goes on, which init must be there to see.
        if process::poll(&end, ADOPTION_MILLISECONDS) != 1
            || process::receive(&end, libc::MSG_DONTWAIT).is_none()
        {
            return Err(io::Error::other("init did not hear of the copy"));
        }
        let pid = copy.pid();
        copy.release()?;
        Ok(Process::copy(pid, process, end, place.group.clone(), tree))
    }

    /// Has the program clone itself, and the copy, of whose end init is to tell, join its groups: so many of the descriptors
    /// that are sent to it come first. The copy, which is held, its descriptor, and those that it received.
    fn clone_program(
        &self,
        original: &Process,
        told: OwnedFd,
        sent: Vec<OwnedFd>,
        groups: usize,
    ) -> io::Result<(Tracee, OwnedFd, Vec<u64>)> {
        if original.id() != Some(self.program as u32) || original.init_pid != self.init {
            return Err(io::Error::other("it is another program"));
        }
        let mut held = Tracee::seize(self.program)?;
        // Frozen, it could not make a call; held, it does nothing else.
        original.thaw()?;
        // As the program's sibling it is a child of init, which reaps it.
        let flags =
            libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
        let made = held.clone(&[flags as u64, 0, 0, self.thread_number, 0]).and_then(|(number, mut copy)| {
            original.send(&Parcel::new(OrderKind::NOTE_COPY, &[number], &[], vec![told]))?;
            let process = syscall::open_process(copy.pid())?;
            let mut hands = Puppet { copy: &mut copy, scratch: self.scratch };
            let received = hands.receive(&process, sent)?;
            let zero = hands.put(b"0")?;
            let join =
                |&group: &u64| [call(libc::SYS_write, &[group, zero, 1]), call(libc::SYS_close, &[group])];
            let groups = received.get(..groups).unwrap_or_default();
            hands.calls(&groups.iter().flat_map(join).collect::<Vec<_>>())?;
            Ok((copy, process, received))
        });
        // Only now: it freezes whoever is in its group.
        let frozen = original.freeze();
        held.release()?;
        frozen?;
        made
    }

    /// Has a new copy become what it is to be. It received namespaces, and what takes the place of descriptors with these
    /// numbers.
    fn enter(
        &self,
        copy: &mut Tracee,
        place: &mut Sandbox,
        received: &[u64],
        numbers: &[RawFd],
    ) -> io::Result<()> {
        let mut hands = Puppet { copy, scratch: self.scratch };
        let kinds = place.namespaces_of_copy().ok_or(io::ErrorKind::NotFound)?.map(|(_, kind)| kind);
        let (namespaces, given) =
            received.split_at_checked(kinds.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let enter = |(&namespace, kind)| call(libc::SYS_setns, &[namespace, kind as u64]);
        hands.calls(&namespaces.iter().zip(kinds).map(enter).collect::<Vec<_>>())?;
        self.give_up_power(&mut hands)?;
        let directory = hands.put(self.directory.to_bytes_with_nul())?;
        hands.calls(&[call(libc::SYS_setsid, &[]), call(libc::SYS_chdir, &[directory])])?;
        if place.is_to_be_filled() {
            let root = |pid: pid_t| PathBuf::from(format!("/proc/{pid}/root"));
            let owners = Owners { from: self.owner, to: place.owner() };
            files::copy(&root(self.program), &root(hands.copy.pid()), owners)?;
        }
        let mut last = Vec::new();
        for descriptor in &self.descriptors {
            match &descriptor.kind {
                Kind::Given(number) => {
                    let given = numbers.iter().zip(given).find(|(given, _)| *given == number);
                    let (_, &given) = given.ok_or_else(|| io::Error::other("a descriptor is missing"))?;
                    last.push(descriptor.becomes(given));
                }
                Kind::Socket { .. } | Kind::File { .. } => hands.replace(descriptor)?,
            }
        }
        last.extend(received.iter().map(|&received| call(libc::SYS_close, &[received])));
        hands.calls(&last)?;
        // Without it, everything else holds.
        if let Ok(rules) = place.own_rules() {
            let _ = rules.enforce_by(&mut hands);
        }
        hands.call(libc::SYS_munmap, &[self.scratch, SCRATCH_BYTES + CODE_BYTES]).map(drop)
    }

    /// Whoever enters a user namespace has every capability there: it becomes the program's user, with none.
    fn give_up_power(&self, hands: &mut Puppet<'_>) -> io::Result<()> {
        const VERSION_3: u32 = 0x2008_0522;

        let prctl = |arguments: &[u64]| call(libc::SYS_prctl, arguments);
        let mut calls: Vec<Call> =
            capabilities().map(|capability| prctl(&[libc::PR_CAPBSET_DROP as u64, capability])).collect();
        let identity = self.template.identity();
        let (user, group) = (u64::from(identity.uid), u64::from(identity.gid));
        // Header, and two times three words of nothing.
        let mut argument = [0_u8; 32];
        argument[..4].copy_from_slice(&VERSION_3.to_ne_bytes());
        let header = hands.put(&argument)?;
        calls.extend([
            call(libc::SYS_setresgid, &[group; 3]),
            call(libc::SYS_setresuid, &[user; 3]),
            prctl(&[libc::PR_CAP_AMBIENT as u64, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64]),
            call(libc::SYS_capset, &[header, header + 8]),
            prctl(&[libc::PR_SET_DUMPABLE as u64, 1]),
        ]);
        hands.calls(&calls)
    }
}

/// One of several calls that are made in a row.
fn call(number: c_long, arguments: &[u64]) -> Call {
    let mut call = [0; 7];
    call[0] = number as u64;
    call[1..=arguments.len()].copy_from_slice(arguments);
    call
}

/// All capabilities that this kernel knows.
fn capabilities() -> impl Iterator<Item = u64> {
    // SAFETY: takes no pointers.
    let is_known = |capability: &u64| unsafe { libc::prctl(libc::PR_CAPBSET_READ, *capability) } >= 0;
    (0..64).take_while(is_known)
}

/// Waits until a program reads from a descriptor at which nothing comes.
fn wait_for_rest(program: pid_t, rests_at: RawFd) -> Result<(), Unfit> {
    let waits = format!("{} {rests_at:#x} ", libc::SYS_read);
    let deadline = Instant::now() + REST;
    while !fs::read_to_string(format!("/proc/{program}/syscall")).is_ok_and(|call| call.starts_with(&waits)) {
        if Instant::now() > deadline {
            return Err(Unfit::new("it does not come to rest"));
        }
        #[expect(clippy::disallowed_methods, reason = "nobody announces it, and the wait has a deadline")]
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Whether there is nobody else in its tree, nor another thread.
fn is_alone(program: pid_t, init: pid_t) -> Result<(), Unfit> {
    let children = |pid: pid_t| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let threads = fs::read_dir(format!("/proc/{program}/task")).map_or(0, Iterator::count);
    if threads != 1 {
        return Err(Unfit::new("it has several threads"));
    }
    let alone = children(init).is_ok_and(|of_init| of_init.trim() == program.to_string())
        && children(program).is_ok_and(|of_program| of_program.trim().is_empty());
    if alone { Ok(()) } else { Err(Unfit::new("it has started other processes")) }
}

/// Whether no memory would be shared with copies but what nobody can change.
fn has_memory_of_its_own(program: pid_t) -> Result<(), Unfit> {
    let maps = fs::read_to_string(format!("/proc/{program}/maps"))
        .map_err(|_| Unfit::new("its memory cannot be looked at"))?;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let permissions = fields.nth(1).unwrap_or_default();
        let of_the_system =
            fields.nth(3).is_some_and(|path| path.starts_with("/usr/") || path.starts_with("/var/"));
        if permissions.ends_with('s') && (permissions.contains('w') || !of_the_system) {
            return Err(Unfit::new("it has memory that would be shared"));
        }
    }
    Ok(())
}

/// Memory for arguments and code, and where the thread's number is kept.
fn prepare(held: &mut Tracee) -> io::Result<(u64, u64)> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let length = SCRATCH_BYTES + CODE_BYTES;
    let scratch = held.call(libc::SYS_mmap, &[0, length, access as u64, kind as u64, u64::MAX, 0])?;
    held.write_code(scratch + CODE)?;
    let access = libc::PROT_READ | libc::PROT_EXEC;
    held.call(libc::SYS_mprotect, &[scratch + CODE, CODE_BYTES, access as u64])?;
    held.call(libc::SYS_prctl, &[libc::PR_GET_TID_ADDRESS as u64, scratch])?;
    let mut address = [0; 8];
    held.read(scratch, &mut address)?;
    Ok((scratch, u64::from_ne_bytes(address)))
}

/// A copy that makes system calls for us.
struct Puppet<'a> {
    copy: &'a mut Tracee,
    scratch: u64,
}

impl Hands for Puppet<'_> {
    fn call(&mut self, number: c_long, arguments: &[u64]) -> io::Result<u64> {
        self.copy.call(number, arguments)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<u64> {
        if bytes.len() as u64 > CALLS - ARGUMENT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.copy.write(self.scratch + ARGUMENT, bytes)?;
        Ok(self.scratch + ARGUMENT)
    }
}

impl Puppet<'_> {
    /// Has it make these calls, up to the first that fails.
    fn calls(&mut self, calls: &[Call]) -> io::Result<()> {
        let at_once = (SCRATCH_BYTES - CALLS) as usize / Tracee::CALL_BYTES;
        calls
            .chunks(at_once)
            .try_for_each(|calls| self.copy.calls(self.scratch + CODE, self.scratch + CALLS, calls))
    }

    /// Hands it descriptors: by a socket pair that it makes, and of which we take one end.
    fn receive(&mut self, process: &OwnedFd, sent: Vec<OwnedFd>) -> io::Result<Vec<u64>> {
        let wanted = sent.len();
        let pair = self.scratch + ARGUMENT;
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        self.call(libc::SYS_socketpair, &[libc::AF_UNIX as u64, kind as u64, 0, pair])?;
        let mut ends = [0; 8];
        self.copy.read(pair, &mut ends)?;
        let [theirs, ours] = [0, 4].map(|at| {
            let mut number = [0; 4];
            number.copy_from_slice(&ends[at..at + 4]);
            u64::from(u32::from_ne_bytes(number))
        });
        let end = take_descriptor(process, ours as RawFd)?;
        self.call(libc::SYS_close, &[ours])?;
        Parcel::new(OrderKind::NOTE_COPY, &[], &[], sent).send(end.as_fd())?;

        let [message, part, ancillary, parcel] =
            [MESSAGE, PART, ANCILLARY, PARCEL].map(|place| self.scratch + place);
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        self.copy.write(message, &words(&[0, 0, part, 1, ancillary, ANCILLARY_BYTES, 0]))?;
        self.copy.write(part, &words(&[parcel, PARCEL_BYTES]))?;
        let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
        self.call(libc::SYS_recvmsg, &[theirs, message, flags as u64])?;
        self.call(libc::SYS_close, &[theirs])?;
        // The kernel's header: length, level and kind, and the descriptors.
        let mut received = vec![0; 16 + 4 * wanted];
        self.copy.read(ancillary, &mut received)?;
        let (header, numbers) = received.split_at(16);
        if header[..8] != (received.len() as u64).to_ne_bytes() {
            return Err(io::Error::other("it has no room for descriptors"));
        }
        Ok(numbers
            .chunks_exact(4)
            .map(|bytes| u64::from(bytes.iter().rev().fold(0_u32, |n, b| n << 8 | u32::from(*b))))
            .collect())
    }

    /// Puts something of its kind in the place of a descriptor that is not given.
    fn replace(&mut self, descriptor: &Descriptor) -> io::Result<()> {
        let made = match &descriptor.kind {
            Kind::Given(_) => return Err(io::ErrorKind::InvalidInput.into()),
            Kind::Socket { family, kind, protocol } => {
                let kind = kind | libc::SOCK_CLOEXEC;
                self.call(libc::SYS_socket, &[*family as u64, kind as u64, *protocol as u64])?
            }
            Kind::File { path, flags, position } => self.open(path, *flags, *position)?,
        };
        self.calls(&[descriptor.becomes(made), call(libc::SYS_close, &[made])])
    }

    fn open(&mut self, path: &CStr, flags: i32, position: u64) -> io::Result<u64> {
        let path = self.put(path.to_bytes_with_nul())?;
        let flags = flags | libc::O_CLOEXEC;
        let opened = self.call(libc::SYS_openat, &[libc::AT_FDCWD as u64, path, flags as u64, 0])?;
        if position > 0 {
            self.call(libc::SYS_lseek, &[opened, position, libc::SEEK_SET as u64])?;
        }
        Ok(opened)
    }
}
