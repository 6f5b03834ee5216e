//! One environment's place: its mounts with `/tmp`, its network, its control group. Processes come and go in it.
//!
//! Must not run anything by itself.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
    sync::Arc,
};

use crate::{
    Template,
    control_group::{Entrances, Group},
    error::{SpawnError, Step},
    helper::{self, Failure, Left, Slot},
    init,
    isolation::Mode,
    landlock,
    launch::{Errand, Launch, Surroundings},
    mounts::{self, MEMORY_FLAGS, Plan},
    network::{self, Entrance, Sockets},
    nursery::Nursery,
    parcel::Parcel,
    process::{OrderKind, Process},
    spec::{Command, Network, SandboxSpec},
    syscall::{self, SignalsBlocked},
    user_namespace::{self, Inspectable},
    zygote::{Refused, Zygote},
};

/// Size of `/dev/shm`: programs rarely use it, and pay for what is in it from their memory.
const SHARED_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// A place for processes, one after another. `/tmp` lives as long as it does.
///
/// Dropping it removes its control group when the last process is gone; everything else goes with its descriptors.
#[derive(Debug)]
pub struct Sandbox {
    /// An init that was made ahead.
    pub(crate) waiting: Option<Process>,
    /// Whether that init has a program already.
    pub(crate) has_program: bool,
    pub(crate) template: Template,
    pub(crate) spec: SandboxSpec,
    mounts: Option<OwnedFd>,
    /// The user namespace of its programs, if we could make it: else each tree makes its own.
    users: Option<OwnedFd>,
    /// User and group of its programs outside, if they are not ours.
    outside: (u32, u32),
    network: Option<Arc<OwnedFd>>,
    sockets: Sockets,
    pub(crate) group: Option<Arc<Group>>,
    /// For the copies of its program: the first user outside.
    pub(crate) copies: Option<(u32, u32)>,
    /// For the copy of a program.
    pub(crate) for_copy: Option<ForCopy>,
}

/// What the place of a copy has besides.
#[derive(Debug)]
pub(crate) struct ForCopy {
    pub(crate) messages: OwnedFd,
    /// Whether it has the original's files.
    pub(crate) filled: bool,
}

/// Whose copy a sandbox is made for.
pub(crate) struct Original<'a> {
    /// The user namespace of the copy, and whom it is outside.
    pub(crate) users: (OwnedFd, (u32, u32)),
    /// The mount namespace with the original's `/proc`.
    pub(crate) mounts: &'a OwnedFd,
}

impl Sandbox {
    /// Makes the place. Blocks for about as long as the kernel needs to make the namespaces.
    pub fn create(template: &Template, spec: SandboxSpec) -> Result<Self, SpawnError> {
        Self::make(template, spec, None)
    }

    /// Makes the place, of a copy or not.
    pub(crate) fn make(
        template: &Template,
        spec: SandboxSpec,
        original: Option<Original<'_>>,
    ) -> Result<Self, SpawnError> {
        let features = template.features();
        let group = match template.groups().filter(|_| features.mode != Mode::Plain) {
            Some(groups) => {
                let mut limits = spec.limits.clone();
                if features.count_processes() {
                    // `RLIMIT_NPROC` does, and costs nothing.
                    limits.processes = None;
                }
                Some(groups.create(&limits).map_err(SpawnError::step(Step::ControlGroup))?)
            }
            None => None,
        };
        let mut copies = None;
        let mut shown = None;
        let (users, outside) = if let Some(Original { users: (users, outside), mounts }) = original {
            shown = Some(mounts);
            (Some(users), outside)
        } else if features.mode == Mode::Privileged && features.user_namespace {
            let outside = user_namespace::outsider();
            let users = if spec.copied {
                user_namespace::create_for_copies(template.identity(), outside).map(|(users, first)| {
                    copies = Some(first);
                    users
                })
            } else {
                user_namespace::create(template.identity(), outside)
            };
            (Some(users.map_err(SpawnError::step(Step::UserNamespace))?), outside)
        } else {
            (None, template.identity().outside())
        };
        let copy = users
            .as_ref()
            .zip(shown)
            .map(|(users, shown)| Owner { users: users.as_raw_fd(), shown: shown.as_raw_fd() });
        let Namespaces { mounts, network, messages, sockets } = match template.mounts() {
            Some(root) => make_namespaces(template, root, &spec, copy)?,
            None => Namespaces::default(),
        };
        Ok(Self {
            waiting: None,
            has_program: false,
            template: template.clone(),
            spec,
            mounts,
            users,
            outside,
            network,
            sockets,
            group: group.map(Arc::new),
            copies,
            for_copy: messages.map(|messages| ForCopy { messages, filled: false }),
        })
    }

    /// The sockets that were made inside, non-blocking: all that the specification asks for if there is a network of
    /// its own ([`Template::network`]), else none. The next call finds none either.
    pub fn take_sockets(&mut self) -> Sockets {
        mem::take(&mut self.sockets)
    }

    /// The way in to what listens inside, if there is a network of its own.
    pub fn entrance(&self) -> Option<Entrance> {
        Some(Entrance::new(self.network.clone()?, self.template.user().cloned()))
    }

    /// Starts a program. Returns as soon as its process exists: whether it could be executed is told by its end.
    pub fn spawn(&mut self, command: Command) -> Result<Process, SpawnError> {
        self.spawn_tree(command, false)
    }

    /// Starts a program in a tree for several programs, which lasts until [`Process::kill`]: each end is told by
    /// [`Process::program_ended`]. This one has the number 0.
    pub fn spawn_shared(&mut self, command: Command) -> Result<Process, SpawnError> {
        self.spawn_tree(command, true)
    }

    /// Starts one more program in such a tree. Programs are numbered in the order in which they are started.
    pub fn add(&self, process: &mut Process, command: Command) -> Result<(), SpawnError> {
        let errand = Errand::new(command, self.outside(), true)?;
        process.add(&errand).map_err(SpawnError::step(Step::Prepare))
    }

    /// The program that was started before this became a sandbox ([`crate::Ready::start`]), once.
    pub fn take_program(&mut self) -> Option<Process> {
        if mem::take(&mut self.has_program) { self.waiting.take() } else { None }
    }

    fn spawn_tree(&mut self, command: Command, shared: bool) -> Result<Process, SpawnError> {
        let errand = Errand::new(command, self.outside(), shared)?;
        if let Some(mut process) = self.waiting.take()
            && !mem::take(&mut self.has_program)
            && process.run(&errand).is_ok()
        {
            return Ok(process);
        }
        // One that waited and could not be told any more has ended: this one stands in for it.
        self.start_init(Some(&errand))
    }

    /// Starts a program as a child of a zygote, or, where that fails, as [`Sandbox::spawn`] does, and says why. Both must
    /// come to the same: the zygote's children do what this program does. Waits for the zygote.
    pub fn spawn_from(
        &mut self,
        zygote: &Zygote,
        command: Command,
    ) -> Result<(Process, Option<SpawnError>), SpawnError> {
        let errand = Errand::new(command, self.outside(), false)?;
        let is_taken = mem::take(&mut self.has_program);
        let waiting = self.waiting.take().filter(|process| !is_taken && process.is_alive());
        let mut process = match waiting {
            Some(process) => process,
            None => {
                let born = self.start_init_by(None, zygote.nursery(self));
                let process = born.or_else(|_| self.start_init(None))?;
                let nothing = Parcel::new(OrderKind::FIT, &[], &[], Vec::new());
                process.send(&nothing).map_err(SpawnError::step(Step::Init))?;
                process.waits()?;
                process.waits()?;
                process
            }
        };
        let why = match zygote.fork(self, &process, &errand) {
            Ok(program) => match process.adopt(program, errand.path.clone()) {
                Ok(()) => return Ok((process, None)),
                Err(error) => SpawnError::step(Step::Init)(error),
            },
            Err(Refused::Failed(why)) => {
                if process.run(&errand).is_ok() {
                    return Ok((process, Some(why)));
                }
                why
            }
            Err(Refused::Silent(why)) => why,
        };
        // If there is a child, it goes with its tree.
        drop(process);
        Ok((self.start_init(Some(&errand))?, Some(why)))
    }

    /// Starts init with an errand, or ahead of it.
    pub(crate) fn start_init(&self, errand: Option<&Errand>) -> Result<Process, SpawnError> {
        self.start_init_by(errand, None)
    }

    /// The same, in the nursery if that can be.
    fn start_init_by(
        &self,
        errand: Option<&Errand>,
        nursery: Option<&Nursery>,
    ) -> Result<Process, SpawnError> {
        let (ours, theirs) = socket_pair().map_err(SpawnError::step(Step::Prepare))?;
        if let Some(errand) = errand {
            // Before there is an init, so that it need not wait.
            errand.parcel.send(ours.as_fd()).map_err(SpawnError::step(Step::Prepare))?;
        }
        let features = self.template.features();
        let tree = self
            .template
            .groups()
            .filter(|_| features.freezer)
            .and_then(|groups| groups.create_tree(self.group.as_deref()));
        let (tree, entrances) = tree.unzip();
        let entrances = self.entrances(entrances)?;
        let mut launch = self.launch(theirs, errand.is_none(), &entrances)?;
        let user = self.template.user().map(|user| user.as_raw_fd());
        let group_directory = entrances.directory.as_ref().map(AsRawFd::as_raw_fd);
        let born = match nursery {
            Some(nursery) => nursery.bear(&launch, group_directory)?,
            None => None,
        };
        let (init_pid, init) = match born {
            Some(born) => born,
            None => start(&mut launch, features.mode, user, group_directory)?,
        };
        let tree_ends_with_init = features.mode != Mode::Plain;
        let path = errand.map(|errand| errand.path.clone()).unwrap_or_default();
        Ok(Process::new(init, init_pid, ours, path, self.group.clone(), tree, tree_ends_with_init))
    }

    /// A launch for inits of sandboxes like this one, which are made ahead.
    pub(crate) fn typical_launch(&self) -> Result<Launch, SpawnError> {
        let (_, control) = socket_pair().map_err(SpawnError::step(Step::Prepare))?;
        let groups = self.template.groups().filter(|_| self.template.features().freezer);
        let tree = groups.and_then(|groups| groups.create_tree(self.group.as_deref()));
        self.launch(control, true, &self.entrances(tree.map(|(_, entrances)| entrances))?)
    }

    /// What a process needs to become one of this sandbox; `control` is how it answers.
    pub(crate) fn launch(
        &self,
        control: OwnedFd,
        ahead: bool,
        entrances: &GroupEntrances,
    ) -> Result<Launch, SpawnError> {
        let features = self.template.features();
        let surroundings = Surroundings {
            network: self.network.as_deref().map(AsRawFd::as_raw_fd),
            mounts: self.mounts.as_ref().map(AsRawFd::as_raw_fd),
            groups: entrances.files.iter().map(AsRawFd::as_raw_fd).collect(),
            freezer: entrances.freezer.as_ref().map(AsRawFd::as_raw_fd),
            hostname: &self.spec.hostname,
            hides_processes: self.spec.copied,
            identity: self.template.identity(),
            outside: self.outside(),
            user_namespace: features.user_namespace,
            users: self.users.as_ref().map(AsRawFd::as_raw_fd),
            filter: self.template.filter(),
            rules: self.rules()?,
            cores_are_processed: features.mode != Mode::Plain && self.template.cores_are_processed(),
            command_line: self.template.command_line(),
            limits: &self.spec.limits,
        };
        Ok(Launch::new(surroundings, control, ahead))
    }

    /// Ways into this sandbox's control groups, and into those of a tree in it.
    pub(crate) fn entrances(&self, tree: Option<Entrances>) -> Result<GroupEntrances, SpawnError> {
        let (files, directory) = match self.group.as_deref() {
            Some(group) => group.entrances().map_err(SpawnError::step(Step::ControlGroup))?,
            None => (Vec::new(), None),
        };
        let (outer, freezer) = tree.map(|Entrances { outer, inner }| (outer, inner)).unzip();
        Ok(GroupEntrances { files, directory: outer.or(directory), freezer })
    }

    pub(crate) fn users(&self) -> Option<&OwnedFd> {
        self.users.as_ref()
    }

    /// Whether it has a network of its own.
    pub(crate) fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// Whom its programs are outside.
    pub(crate) fn owner(&self) -> (u32, u32) {
        self.outside
    }

    /// What a copy joins in this order, and what the kernel calls each.
    pub(crate) fn namespaces_of_copy(&self) -> Option<[(&OwnedFd, libc::c_int); 4]> {
        Some([
            (self.users.as_ref()?, libc::CLONE_NEWUSER),
            (self.mounts.as_ref()?, libc::CLONE_NEWNS),
            (self.network.as_deref()?, libc::CLONE_NEWNET),
            (&self.for_copy.as_ref()?.messages, libc::CLONE_NEWIPC),
        ])
    }

    /// Whether the first copy is about to come, which brings its files along.
    pub(crate) fn is_to_be_filled(&mut self) -> bool {
        self.for_copy.as_mut().is_some_and(|place| !mem::replace(&mut place.filled, true))
    }

    /// User and group of programs outside, if we may choose.
    pub(crate) fn outside(&self) -> Option<(u32, u32)> {
        (self.template.features().mode == Mode::Privileged).then_some(self.outside)
    }

    /// Whether the user namespace of its programs is made.
    pub(crate) fn has_users(&self) -> bool {
        self.users.is_some()
    }

    /// Where programs may write besides the places that all may.
    fn rules(&self) -> Result<Option<landlock::Rules>, SpawnError> {
        // What a program may not do, its copies may not either, and theirs are other directories.
        if !self.template.has_own_root() || self.spec.copied {
            return Ok(None);
        }
        self.own_rules().map(Some)
    }

    /// The like, whatever is to become of the program.
    pub(crate) fn own_rules(&self) -> Result<landlock::Rules, SpawnError> {
        let ours = self.spec.mounts.iter().filter(|mount| mount.writable).map(|mount| &mount.target);
        let writable = self.template.writable().iter().chain(ours);
        let paths = writable.map(|path| mounts::text(path, "a mount's target")).collect::<Result<_, _>>()?;
        Ok(landlock::Rules::new(paths))
    }

    /// Puts the ceiling on CPU use ([`crate::Limits::cpu_millis`]) into force, or lifts it. A new sandbox has none.
    /// Takes some microseconds; where there is no control group for it, it has no effect.
    pub fn limit_cpu(&self, limited: bool) -> io::Result<()> {
        self.group.as_deref().map_or(Ok(()), |group| group.limit_cpu(limited))
    }

    /// Most memory in use at one time since creation, in bytes, if there is a control group to tell.
    pub fn memory_peak(&self) -> Option<u64> {
        self.group.as_deref().and_then(Group::memory_peak)
    }
}

/// Ways into control groups.
pub(crate) struct GroupEntrances {
    /// To be written to.
    pub(crate) files: Vec<OwnedFd>,
    /// To be cloned into.
    pub(crate) directory: Option<OwnedFd>,
    /// To be written to by who is in that directory.
    pub(crate) freezer: Option<OwnedFd>,
}

/// A mount namespace, a network namespace, and the sockets in it; for a copy, one of messages.
#[derive(Default)]
pub(crate) struct Namespaces {
    pub(crate) mounts: Option<OwnedFd>,
    pub(crate) network: Option<Arc<OwnedFd>>,
    messages: Option<OwnedFd>,
    sockets: Sockets,
}

/// The user namespace that the others of a copy belong to, and the mount namespace whose `/proc` it sees.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    users: RawFd,
    shown: RawFd,
}

/// Namespaces with this sandbox's mounts and network.
pub(crate) fn make_namespaces(
    template: &Template,
    root: &OwnedFd,
    spec: &SandboxSpec,
    copy: Option<Owner>,
) -> Result<Namespaces, SpawnError> {
    let mut plan = Plan::default();
    for mount in &spec.mounts {
        plan.attach(mount)?;
    }
    for (path, bytes) in [("/tmp", spec.tmp_bytes), ("/dev/shm", SHARED_MEMORY_BYTES)] {
        let options = format!("mode=1777,{}", mounts::memory_options(bytes));
        plan.memory(Path::new(path), MEMORY_FLAGS, &options)?;
    }

    let egress = match template.network(spec.network) {
        Network::Host => None,
        Network::Own => Some(false),
        Network::Relayed => Some(true),
    };
    let network = egress.map(|egress| network::Plan::new(&spec.listeners, &spec.datagrams, egress));
    let user = template.user().map(|user| user.as_raw_fd());
    let root = root.as_raw_fd();
    let inspectable = Inspectable::now();
    let made = helper::run(user.is_none(), |left| {
        let result = enter_namespaces(&plan, root, user, copy, network.as_ref(), left);
        plan.close_sources();
        result
    });
    if copy.is_some() {
        // The helper has changed its user namespace with our memory.
        inspectable.restore();
    }
    let mut made = made?.map_err(|failure| plan.explain(failure))?;
    let sockets = network.map(|network| Sockets::collect(network.sockets(), &mut made)).unwrap_or_default();
    Ok(Namespaces {
        mounts: made.take(Slot::Mounts),
        network: made.take(Slot::Network).map(Arc::new),
        messages: made.take(Slot::Messages),
        sockets,
    })
}

/// In the helper: makes the namespaces and leaves them. Async-signal-safe.
fn enter_namespaces(
    plan: &Plan,
    root: RawFd,
    user: Option<RawFd>,
    copy: Option<Owner>,
    network: Option<&network::Plan>,
    left: &Left<'_>,
) -> Result<(), Failure> {
    let at = Failure::at;
    let namespaces =
        syscall::open(c"/proc/self/ns", libc::O_PATH | libc::O_DIRECTORY, 0).map_err(at(Step::Prepare))?;
    let result = (|| {
        if let Some(user) = user {
            syscall::setns(user, libc::CLONE_NEWUSER).map_err(at(Step::OuterUserNamespace))?;
            // An ordinary user may take hold of the host's files only in a copy of the host's mounts.
            syscall::unshare(libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?;
        }
        plan.open_sources()?;
        let processes = copy.map(|copy| take_processes(copy.shown)).transpose()?;
        syscall::setns(root, libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?;
        syscall::unshare(libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?;
        plan.perform()?;
        if let (Some(copy), Some(processes)) = (copy, processes) {
            let moved = syscall::move_mount(processes, c"/proc");
            syscall::close(processes);
            moved.map_err(at(Step::Proc))?;
            // All that follows belongs to the copy's user namespace, and the mounts so far can no longer be taken apart.
            syscall::setns(copy.users, libc::CLONE_NEWUSER).map_err(at(Step::UserNamespace))?;
            syscall::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWIPC).map_err(at(Step::MountNamespace))?;
            let messages =
                syscall::open_at(namespaces, c"ipc", libc::O_RDONLY).map_err(at(Step::MountNamespace))?;
            left.leave(Slot::Messages, messages);
        }
        let mounts =
            syscall::open_at(namespaces, c"mnt", libc::O_RDONLY).map_err(at(Step::MountNamespace))?;
        left.leave(Slot::Mounts, mounts);
        if let Some(plan) = network {
            syscall::unshare(libc::CLONE_NEWNET).map_err(at(Step::NetworkNamespace))?;
            let network =
                syscall::open_at(namespaces, c"net", libc::O_RDONLY).map_err(at(Step::NetworkNamespace))?;
            left.leave(Slot::Network, network);
            plan.perform(left)?;
        }
        Ok(())
    })();
    syscall::close(namespaces);
    result
}

/// The `/proc` of this mount namespace, with all that is mounted in it.
fn take_processes(shown: RawFd) -> Result<RawFd, Failure> {
    syscall::setns(shown, libc::CLONE_NEWNS).map_err(Failure::at(Step::MountNamespace))?;
    syscall::open_tree(c"/proc", true).map_err(Failure::at(Step::Proc))
}

/// Two ends that keep messages whole and notice when the other is gone.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the array has room for both.
    let result = unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

pub(crate) const TREE: libc::c_int = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Clones init, which carries out `launch`.
fn start(
    launch: &mut Launch,
    mode: Mode,
    user: Option<RawFd>,
    group: Option<RawFd>,
) -> Result<(libc::pid_t, OwnedFd), SpawnError> {
    let failed = |errno: syscall::Errno| SpawnError::Step { step: Step::Clone, source: errno.into() };
    let flags = if mode == Mode::Plain { 0 } else { TREE };
    if let Some(user) = user {
        return start_as_user(launch, user, group);
    }
    let blocked = SignalsBlocked::new();
    let mut init = -1;
    // SAFETY: `init::run` is async-signal-safe and never returns.
    let pid = unsafe { syscall::clone(flags, Some(&mut init), group) };
    if pid == Ok(0) {
        init::run(launch, mode);
    }
    drop(blocked);
    let pid = pid.map_err(failed)?;
    // SAFETY: the kernel made the descriptor for us.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(init) }))
}

/// As an ordinary user: a process tree is made by someone who has joined our user namespace, but must be our child.
fn start_as_user(
    launch: &mut Launch,
    user: RawFd,
    group: Option<RawFd>,
) -> Result<(libc::pid_t, OwnedFd), SpawnError> {
    let (ours, theirs) = socket_pair().map_err(SpawnError::step(Step::Prepare))?;
    let blocked = SignalsBlocked::new();
    // SAFETY: what the child does is async-signal-safe, and it never returns.
    let stager = unsafe { syscall::clone(0, None, group) };
    if stager == Ok(0) {
        let made = syscall::setns(user, libc::CLONE_NEWUSER)
            // SAFETY: as above.
            .and_then(|()| unsafe { syscall::clone(TREE | libc::CLONE_PARENT, None, None) });
        if made == Ok(0) {
            init::run(launch, Mode::Unprivileged);
        }
        let word = match made {
            Ok(pid) => [0, pid],
            Err(errno) => [errno.0, 0],
        };
        // SAFETY: pointer and size are of one array of plain data; then the child ends without returning.
        unsafe {
            libc::send(theirs.as_raw_fd(), word.as_ptr().cast(), size_of_val(&word), libc::MSG_NOSIGNAL);
            libc::_exit(0);
        }
    }
    drop(blocked);
    drop(theirs);
    let stager = stager.map_err(|errno| SpawnError::Step { step: Step::Clone, source: errno.into() })?;
    let mut word = [libc::ECHILD, 0];
    // SAFETY: pointer and size are of one array of plain data.
    unsafe { libc::recv(ours.as_raw_fd(), word.as_mut_ptr().cast(), size_of_val(&word), 0) };
    helper::wait(stager).map_err(SpawnError::step(Step::Clone))?;
    let failed = |source: io::Error| SpawnError::Step { step: Step::OuterUserNamespace, source };
    match word {
        // Our child, and only we reap it, so the number is still its own.
        [0, pid] => Ok((pid, syscall::open_process(pid).map_err(|errno| failed(errno.into()))?)),
        [errno, _] => Err(failed(io::Error::from_raw_os_error(errno))),
    }
}
