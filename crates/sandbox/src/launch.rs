//! Everything that a child needs, drawn up before it is cloned: it may not allocate, search or look anything up. And
//! what it is told to run, which may come later.
//!
//! Must not make system calls but those that open what the child gets.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    mem,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use libc::{c_char, rlimit, sock_filter};

use crate::{
    error::{SpawnError, Step},
    landlock, mounts,
    parcel::{Opened, Parcel},
    process::OrderKind,
    spec::{Command, Identity, Limit, Limits},
    user_namespace::UserMap,
};

/// The one value with which the kernel starts no program that processes core files: others, zero too, are for files only.
const NO_CORE: Limit = Limit::both(1);

/// Instructions for init and for the program's process.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Init's end of the socket to the service.
    pub(crate) control: OwnedFd,
    /// Whether init is made ahead of its sandbox's purpose, and waits to be told what is shown there.
    pub(crate) ahead: bool,
    /// Namespaces to join.
    pub(crate) network: Option<RawFd>,
    pub(crate) mounts: Option<RawFd>,
    /// Files of control groups to join by writing to them.
    pub(crate) groups: Vec<RawFd>,
    /// The like for the program alone: by this group it is frozen.
    pub(crate) freezer: Option<RawFd>,
    pub(crate) hostname: Vec<u8>,
    /// Whether `/proc` shows to everyone his own processes only.
    pub(crate) hides_processes: bool,
    /// User and group to become, as the host knows them, if we may choose.
    pub(crate) identity: Option<(u32, u32)>,
    pub(crate) users: Users,
    pub(crate) filter: Vec<sock_filter>,
    /// Only where it has a root of its own: paths are those inside.
    pub(crate) rules: Option<landlock::Rules>,
    pub(crate) command_line: (usize, usize),
    pub(crate) limits: Vec<(Resource, rlimit)>,
    /// `RLIMIT_NPROC`, counted in the user namespace.
    pub(crate) processes: Option<rlimit>,
    /// What init keeps open while it sets up, sorted.
    pub(crate) kept: Vec<RawFd>,
}

/// Which users there are to a program.
#[derive(Debug)]
pub(crate) enum Users {
    /// The host's.
    Host,
    /// Those of this namespace, and in it the program is this user and group.
    Join { namespace: RawFd, uid: u32, gid: u32 },
    /// Those of a namespace that init makes for itself.
    Make(UserMap),
}

/// Kind of the first argument of `setrlimit`, which differs between C libraries.
#[cfg(target_env = "gnu")]
pub(crate) type Resource = libc::__rlimit_resource_t;
/// Kind of the first argument of `setrlimit`, which differs between C libraries.
#[cfg(not(target_env = "gnu"))]
pub(crate) type Resource = libc::c_int;

/// What the sandbox contributes.
pub(crate) struct Surroundings<'a> {
    pub(crate) network: Option<RawFd>,
    pub(crate) mounts: Option<RawFd>,
    pub(crate) groups: Vec<RawFd>,
    pub(crate) freezer: Option<RawFd>,
    pub(crate) hostname: &'a str,
    pub(crate) hides_processes: bool,
    pub(crate) identity: &'a Identity,
    /// User and group to become, as the host knows them, if we may become another: root can.
    pub(crate) outside: Option<(u32, u32)>,
    /// Whether the program is in a user namespace: this one if it is there, else one that init makes.
    pub(crate) user_namespace: bool,
    pub(crate) users: Option<RawFd>,
    pub(crate) filter: &'a [sock_filter],
    pub(crate) rules: Option<landlock::Rules>,
    /// Whether the machine hands core files to a program of its own.
    pub(crate) cores_are_processed: bool,
    pub(crate) command_line: (usize, usize),
    pub(crate) limits: &'a Limits,
}

impl Launch {
    pub(crate) fn new(surroundings: Surroundings<'_>, control: OwnedFd, ahead: bool) -> Self {
        let mut kept: Vec<RawFd> = [control.as_raw_fd()]
            .into_iter()
            .chain(surroundings.network)
            .chain(surroundings.mounts)
            .chain(surroundings.groups.iter().copied())
            .chain(surroundings.freezer)
            .chain(surroundings.users)
            .collect();
        kept.sort_unstable();

        let Identity { uid, gid, .. } = *surroundings.identity;
        let Limits { open_files, processes, core_bytes, locked_bytes, stack_bytes, .. } =
            *surroundings.limits;
        let limits = [
            (libc::RLIMIT_NOFILE, open_files),
            (libc::RLIMIT_CORE, if surroundings.cores_are_processed { Some(NO_CORE) } else { core_bytes }),
            (libc::RLIMIT_MEMLOCK, locked_bytes),
            (libc::RLIMIT_STACK, stack_bytes),
        ];
        let may_raise = surroundings.outside.is_some();
        Self {
            control,
            ahead,
            network: surroundings.network,
            mounts: surroundings.mounts,
            groups: surroundings.groups,
            freezer: surroundings.freezer,
            hostname: surroundings.hostname.as_bytes().to_vec(),
            hides_processes: surroundings.hides_processes,
            identity: surroundings.outside,
            users: match surroundings.users {
                Some(namespace) => Users::Join { namespace, uid, gid },
                None if surroundings.user_namespace => Users::Make(UserMap::single(uid, uid, gid, gid)),
                None => Users::Host,
            },
            filter: surroundings.filter.to_vec(),
            rules: surroundings.rules,
            command_line: surroundings.command_line,
            limits: limits
                .into_iter()
                .filter_map(|(resource, limit)| Some((resource, allowed(resource, limit?, may_raise))))
                .collect(),
            // Without a user namespace of its own, the count would be that of the user on the whole machine.
            processes: processes
                .filter(|_| surroundings.user_namespace)
                .map(|count| allowed(libc::RLIMIT_NPROC, Limit::both(count), may_raise)),
            kept,
        }
    }

    /// Where init's memory holds what it needs after it was cloned, besides its stack.
    pub(crate) fn memory(&self) -> impl Iterator<Item = usize> {
        let rules = self.rules.iter().flat_map(landlock::Rules::memory);
        let lists = [
            std::ptr::from_ref(self) as usize,
            self.filter.as_ptr() as usize,
            self.groups.as_ptr() as usize,
            self.hostname.as_ptr() as usize,
            self.limits.as_ptr() as usize,
            self.kept.as_ptr() as usize,
        ];
        rules.chain(lists)
    }

    /// Whether it differs from another one of the same template only in its identity and its descriptors.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let shape = |launch: &Self| {
            let Self { ahead, network, mounts, freezer, hides_processes, .. } = launch;
            let there = [network, mounts, freezer].map(Option::is_some);
            (*ahead, there, launch.groups.len(), *hides_processes, launch.identity.is_some())
        };
        let user = |launch: &Self| match launch.users {
            Users::Join { uid, gid, .. } => Some((uid, gid)),
            Users::Host | Users::Make(_) => None,
        };
        let limits = |launch: &Self| -> Vec<(Option<Resource>, u64, u64)> {
            let limits = launch.limits.iter().map(|(resource, limit)| (Some(*resource), limit));
            let limits = limits.chain(launch.processes.iter().map(|limit| (None, limit)));
            limits.map(|(resource, limit)| (resource, limit.rlim_cur, limit.rlim_max)).collect()
        };
        shape(self) == shape(other)
            && user(self).is_some_and(|ours| user(other) == Some(ours))
            && limits(self) == limits(other)
            && self.hostname == other.hostname
            && self.rules == other.rules
    }

    /// Its descriptors, in the order in which [`Launch::take_on`] wants them.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let users = match self.users {
            Users::Join { namespace, .. } => Some(namespace),
            Users::Host | Users::Make(_) => None,
        };
        let one = [self.control.as_raw_fd()].into_iter();
        one.chain(self.network)
            .chain(self.mounts)
            .chain(self.freezer)
            .chain(users)
            .chain(self.groups.iter().copied())
    }

    /// Makes this the launch that has that identity and those descriptors, and is like this one, if they are as many.
    /// Async-signal-safe.
    pub(crate) fn take_on(&mut self, identity: (u32, u32), descriptors: &[RawFd]) -> bool {
        if self.kept.len() != descriptors.len() {
            return false;
        }
        self.identity = Some(identity);
        self.kept.copy_from_slice(descriptors);
        self.kept.sort_unstable();
        let mut descriptors = descriptors.iter().copied();
        if let Some(control) = descriptors.next() {
            // SAFETY: it is open, and ours. The one before was closed, so it must not be closed again.
            let before = mem::replace(&mut self.control, unsafe { OwnedFd::from_raw_fd(control) });
            mem::forget(before);
        }
        let namespace = match &mut self.users {
            Users::Join { namespace, .. } => Some(namespace),
            Users::Host | Users::Make(_) => None,
        };
        let single = [self.network.as_mut(), self.mounts.as_mut(), self.freezer.as_mut(), namespace];
        for (place, descriptor) in single.into_iter().flatten().chain(&mut self.groups).zip(descriptors) {
            *place = descriptor;
        }
        true
    }
}

/// What init is told to run: the parcel, and the program's path.
pub(crate) struct Errand {
    pub(crate) parcel: Parcel,
    pub(crate) path: PathBuf,
    pub(crate) directory: CString,
    targets: Vec<RawFd>,
}

impl Errand {
    /// For a program whose user and group are known outside as `outside`, if we may choose. If it `shares` its tree, that
    /// does not end with it.
    pub(crate) fn new(
        command: Command,
        outside: Option<(u32, u32)>,
        shares: bool,
    ) -> Result<Self, SpawnError> {
        let arguments: Vec<CString> = command
            .arguments
            .iter()
            .map(|argument| zero_ended(argument, "an argument"))
            .collect::<Result<_, _>>()?;
        let program = arguments.first().ok_or(SpawnError::NoProgram)?;
        if program.to_bytes().first() != Some(&b'/') {
            return Err(SpawnError::Path { path: path_of(program) });
        }
        let path = path_of(program);
        let environment: Vec<CString> = command
            .environment
            .iter()
            .map(|(name, value)| {
                let mut variable = name.clone();
                variable.push("=");
                variable.push(value);
                zero_ended(&variable, "an environment variable")
            })
            .collect::<Result<_, _>>()?;
        let directory = mounts::text(&command.directory, "the working directory")?;

        let mut given = command.descriptors;
        if let Some(outside) = outside {
            give_pipes(&given, outside);
        }
        for target in 0..3 {
            if given.iter().all(|(_, taken)| *taken != target) {
                let null = File::options().read(true).write(true).open("/dev/null");
                given.push((null.map_err(SpawnError::step(Step::Prepare))?.into(), target));
            }
        }
        let (descriptors, targets): (Vec<OwnedFd>, Vec<RawFd>) = given.into_iter().unzip();
        let numbers: Vec<u64> =
            [u64::from(shares)].into_iter().chain(targets.iter().map(|target| *target as u64)).collect();
        let mut texts = vec![Some(&*directory)];
        for list in [&arguments, &environment] {
            texts.extend(list.iter().map(|text| Some(&**text)).chain([None]));
        }
        let parcel = Parcel::new(OrderKind::RUN, &numbers, &texts, descriptors);
        Ok(Self { parcel, path, directory, targets })
    }

    /// Source and target of each descriptor that the program gets.
    pub(crate) fn given(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        let sources = self.parcel.descriptors().iter().map(AsRawFd::as_raw_fd);
        sources.zip(self.targets.iter().copied())
    }
}

/// The same, as init has it. Async-signal-safe.
pub(crate) struct Program(Opened);

impl Program {
    /// `None` for an order of another kind, or one that lacks something.
    pub(crate) fn of(order: Opened) -> Option<Self> {
        let lists = order.texts().get(1..)?.iter().filter(|text| text.is_null()).count();
        let complete = order.kind() == OrderKind::RUN
            && order.text(0).is_some()
            && order.text(1).is_some()
            && lists == 2
            && order.numbers().len() == order.descriptors().len() + 1;
        complete.then_some(Self(order))
    }

    pub(crate) fn directory(&self) -> &CStr {
        self.0.text(0).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &CStr {
        self.0.text(1).unwrap_or_default()
    }

    /// Ends with a null pointer.
    pub(crate) fn arguments(&self) -> &[*const c_char] {
        self.0.texts().get(1..).unwrap_or_default()
    }

    /// Ends with a null pointer.
    pub(crate) fn environment(&self) -> &[*const c_char] {
        let behind = self.arguments().iter().position(|text| text.is_null()).map_or(0, |end| end + 1);
        self.arguments().get(behind..).unwrap_or_default()
    }

    /// Source and target of each descriptor that the program gets.
    pub(crate) fn given(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        let targets = self.0.numbers().iter().skip(1);
        self.0.descriptors().iter().zip(targets).map(|(source, target)| (*source, *target as RawFd))
    }

    /// Whether its tree is for several programs, and lasts.
    pub(crate) fn shares_its_tree(&self) -> bool {
        self.0.numbers().first().is_some_and(|shares| *shares != 0)
    }

    /// A number above all targets.
    pub(crate) fn first_free(&self) -> RawFd {
        self.given().map(|(_, target)| target).max().unwrap_or(2) + 1
    }
}

/// Gives a program its pipes, which we made: opening `/dev/stderr` asks whose the pipe is. One that cannot be given works
/// all the same.
fn give_pipes(given: &[(OwnedFd, RawFd)], (uid, gid): (u32, u32)) {
    for (descriptor, _) in given {
        let descriptor = descriptor.as_raw_fd();
        // SAFETY: an all-zero `stat` is valid, and is written to; the rest takes no pointers.
        unsafe {
            let mut status: libc::stat = mem::zeroed();
            if libc::fstat(descriptor, &raw mut status) == 0 && status.st_mode & libc::S_IFMT == libc::S_IFIFO
            {
                libc::fchown(descriptor, uid, gid);
            }
        }
    }
}

fn path_of(text: &CString) -> PathBuf {
    Path::new(OsStr::from_bytes(text.to_bytes())).to_owned()
}

fn zero_ended(text: &OsStr, what: &'static str) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::ZeroByte { what })
}

/// The limit as far as we may set it: an ordinary user cannot raise hard limits.
fn allowed(resource: Resource, limit: Limit, may_raise: bool) -> rlimit {
    let mut now = rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is valid to be written.
    let ceiling = if !may_raise && unsafe { libc::getrlimit(resource, &raw mut now) } == 0 {
        now.rlim_max
    } else {
        libc::RLIM_INFINITY
    };
    rlimit { rlim_cur: limit.soft.min(ceiling), rlim_max: limit.hard.min(ceiling) }
}
