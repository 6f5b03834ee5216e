//! Everything that a child needs, drawn up before it is cloned: it may not allocate, search or look anything up.
//!
//! Must not make system calls but those that open what the child inherits.

use std::{
    cell::Cell,
    ffi::{CString, OsStr},
    fs::File,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use libc::{c_char, rlimit, sock_filter};

use crate::{
    error::{SpawnError, Step},
    landlock, mounts,
    spec::{Command, Identity, Limit, Limits},
    user_namespace::UserMap,
};

/// Stack of the program's process until its exec.
const STACK_BYTES: usize = 32 * 1024;

/// The one value with which the kernel starts no program that processes core files: others, zero too, are for files only.
const NO_CORE: Limit = Limit::both(1);

/// Instructions for init and for the program's process.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Init's end of the socket to the service.
    pub(crate) control: OwnedFd,
    /// Namespaces to join.
    pub(crate) network: Option<RawFd>,
    pub(crate) mounts: Option<RawFd>,
    /// Files of control groups to join by writing to them.
    pub(crate) groups: Vec<RawFd>,
    /// The like for the program alone: by this group it is frozen.
    pub(crate) freezer: Option<RawFd>,
    pub(crate) hostname: Vec<u8>,
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
    pub(crate) program: CString,
    pub(crate) directory: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    argument_pointers: Vec<*const c_char>,
    environment_pointers: Vec<*const c_char>,
    /// The caller's descriptors, and `/dev/null` for those of 0, 1 and 2 that it did not give.
    given: Vec<(OwnedFd, RawFd)>,
    /// Where each of `given` is out of the way of all targets.
    pub(crate) moved: Vec<Cell<RawFd>>,
    /// What init keeps open while it sets up, sorted.
    pub(crate) kept: Vec<RawFd>,
    stack: Vec<u8>,
    /// Why the program was not executed, left by its process in init's memory: step and error number.
    pub(crate) not_executed: Cell<Option<(Step, i32)>>,
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
    pub(crate) fn new(
        surroundings: Surroundings<'_>,
        command: Command,
        control: OwnedFd,
    ) -> Result<Self, SpawnError> {
        let arguments: Vec<CString> = command
            .arguments
            .iter()
            .map(|argument| zero_ended(argument, "an argument"))
            .collect::<Result<_, _>>()?;
        let program = arguments.first().ok_or(SpawnError::NoProgram)?.clone();
        if program.to_bytes().first() != Some(&b'/') {
            return Err(SpawnError::Path { path: path_of(&program) });
        }
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

        let mut given = command.descriptors;
        for target in 0..3 {
            if given.iter().all(|(_, taken)| *taken != target) {
                let null = File::options().read(true).write(true).open("/dev/null");
                given.push((null.map_err(SpawnError::step(Step::Prepare))?.into(), target));
            }
        }
        let mut kept: Vec<RawFd> = [control.as_raw_fd()]
            .into_iter()
            .chain(surroundings.network)
            .chain(surroundings.mounts)
            .chain(surroundings.groups.iter().copied())
            .chain(surroundings.freezer)
            .chain(surroundings.users)
            .chain(given.iter().map(|(descriptor, _)| descriptor.as_raw_fd()))
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
        Ok(Self {
            control,
            network: surroundings.network,
            mounts: surroundings.mounts,
            groups: surroundings.groups,
            freezer: surroundings.freezer,
            hostname: surroundings.hostname.as_bytes().to_vec(),
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
            program,
            directory: mounts::text(&command.directory, "the working directory")?,
            argument_pointers: pointers(&arguments),
            environment_pointers: pointers(&environment),
            arguments,
            environment,
            moved: given.iter().map(|_| Cell::new(-1)).collect(),
            given,
            kept,
            stack: Vec::with_capacity(STACK_BYTES),
            not_executed: Cell::new(None),
        })
    }

    pub(crate) fn argument_pointers(&self) -> *const *const c_char {
        debug_assert_eq!(self.argument_pointers.len(), self.arguments.len() + 1);
        self.argument_pointers.as_ptr()
    }

    pub(crate) fn environment_pointers(&self) -> *const *const c_char {
        debug_assert_eq!(self.environment_pointers.len(), self.environment.len() + 1);
        self.environment_pointers.as_ptr()
    }

    /// Source and target of each descriptor that the program gets.
    pub(crate) fn given(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        self.given.iter().map(|(descriptor, target)| (descriptor.as_raw_fd(), *target))
    }

    /// A number above all targets.
    pub(crate) fn first_free(&self) -> RawFd {
        self.given.iter().map(|(_, target)| *target).max().unwrap_or(2) + 1
    }

    pub(crate) fn stack(&mut self) -> &mut [MaybeUninit<u8>] {
        self.stack.spare_capacity_mut()
    }

    pub(crate) fn path(&self) -> PathBuf {
        path_of(&self.program)
    }
}

fn path_of(text: &CString) -> PathBuf {
    Path::new(OsStr::from_bytes(text.to_bytes())).to_owned()
}

fn zero_ended(text: &OsStr, what: &'static str) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::ZeroByte { what })
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
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
