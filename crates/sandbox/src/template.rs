//! The read-only root that sandboxes share: a mount namespace of its own, made once, held by a descriptor.
//!
//! Nothing of it can be seen on the host, and it goes with the service, however that ends.
//! Must not hold anything that belongs to one sandbox.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use libc::sock_filter;

use crate::{
    GATEWAY, Identity, Isolation, Level, Missing, Sandbox, SandboxSpec, SpawnError, Step, TemplateSpec,
    control_group::Groups,
    error::ExecErrorKind,
    filter,
    helper::{self, Failure, Left, Slot},
    isolation::{self, Features, Mode},
    mounts::Plan,
    process::Ending,
    spec::{Command, Network},
    syscall,
    user_namespace::UserMap,
};

/// How often something busy is tried again, a millisecond apart. A process that another thread has just forked holds,
/// until it executes its program, what we have written to open, and a mount with writers cannot be made read-only. That is
/// no lack of the machine, and must not cost the service root's power over mounts, by which sandboxes are kept ready.
const BUSY_RETRIES: u32 = 100;

/// What sandboxes of one kind have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    features: Features,
    isolation: Isolation,
    identity: Identity,
    /// Its root is the finished root. Absent when there are no namespaces.
    mounts: Option<OwnedFd>,
    /// The namespace in which an ordinary user may mount.
    user: Option<Arc<OwnedFd>>,
    groups: Option<Arc<Groups>>,
    filter: Vec<sock_filter>,
    /// Where sandboxes see something that may be written to.
    writable: Vec<PathBuf>,
    cores_are_processed: bool,
    /// Where our own command line is, so that a child can wipe its copy: anyone who sees a process may read it.
    command_line: (usize, usize),
}

impl Template {
    /// Makes a template with as much isolation as the machine gives, within what `spec.level` accepts.
    ///
    /// Tries it with a real sandbox, which takes some milliseconds.
    pub fn create(spec: TemplateSpec) -> Result<Self, SpawnError> {
        if spec.level == Level::None {
            return Self::plain(&spec);
        }
        let groups = Groups::open();
        let mut modes = vec![Mode::Unprivileged];
        // SAFETY: takes no arguments and cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            modes.insert(0, Mode::Privileged);
        }
        let mut reason = None;
        for mode in modes {
            match Self::settle(&spec, mode, groups.clone()) {
                Ok(template) => return template.accept(spec.level),
                // A path that cannot be shown is the caller's mistake, not the machine's lack.
                Err(
                    error
                    @ (SpawnError::Mount { .. } | SpawnError::Path { .. } | SpawnError::ZeroByte { .. }),
                ) => {
                    return Err(error);
                }
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        match (spec.level, reason) {
            (Level::Full | Level::Partial, Some(error)) => Err(error),
            _ => Self::plain(&spec),
        }
    }

    /// Without isolation; control groups then keep a tree together where they can.
    fn plain(spec: &TemplateSpec) -> Result<Self, SpawnError> {
        if let Some(groups) = Groups::open()
            && let Ok((template, None)) =
                Self::build(spec, PLAIN, Some(groups)).and_then(|template| template.try_out())
        {
            return Ok(template);
        }
        Self::build(spec, PLAIN, None)
    }

    /// Whether both are one, not only alike.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How isolated the sandboxes of this template are.
    pub fn isolation(&self) -> &Isolation {
        &self.0.isolation
    }

    /// Whether paths inside are those of the specifications. Without a root of its own, a sandbox sees the
    /// host's files at the host's paths, and no mount of it exists.
    pub fn has_own_root(&self) -> bool {
        self.0.mounts.is_some()
    }

    /// Which network a sandbox has if its specification asks for this one. A network without the way out that it was
    /// to have is no substitute for it; the host's is.
    pub fn network(&self, wanted: Network) -> Network {
        self.0.features.network(wanted)
    }

    /// Leaves out, one by one, features that turn out not to work, until a program could be executed.
    fn settle(spec: &TemplateSpec, mode: Mode, groups: Option<Arc<Groups>>) -> Result<Self, SpawnError> {
        let egress = spec.network == Network::Relayed;
        let mut features = Features {
            mode,
            user_namespace: true,
            network_namespace: true,
            egress,
            filter: true,
            freezer: true,
        };
        let mut groups = groups;
        let mut retries = BUSY_RETRIES;
        loop {
            let step =
                match Self::build(spec, features, groups.clone()).and_then(|template| template.try_out()) {
                    Ok((template, None)) => return Ok(template),
                    Ok((_, Some((step, source)))) => SpawnError::Step { step, source },
                    Err(error) => error,
                };
            let SpawnError::Step { step: failed, source } = &step else { return Err(step) };
            if source.raw_os_error() == Some(libc::EBUSY) && retries > 0 {
                retries -= 1;
                pause();
                continue;
            }
            match failed {
                Step::UserNamespace if features.user_namespace => features.user_namespace = false,
                Step::NetworkNamespace | Step::Loopback if features.network_namespace => {
                    features.network_namespace = false;
                    features.egress = false;
                }
                Step::Egress if features.egress => features.egress = false,
                Step::Filter if features.filter => features.filter = false,
                // The clone is into a control group, that of the freezer if there is one.
                Step::JoinFreezer | Step::Clone if features.freezer && groups.is_some() => {
                    features.freezer = false;
                }
                Step::Clone if groups.is_some() => groups = None,
                Step::ControlGroup | Step::JoinControlGroup if groups.is_some() => groups = None,
                _ => return Err(step),
            }
        }
    }

    /// Executes a program that is not there: whoever gets as far as missing it has set up everything.
    fn try_out(self) -> Result<(Self, Option<(Step, io::Error)>), SpawnError> {
        let network = if self.0.features.egress { Network::Relayed } else { Network::Own };
        let spec =
            SandboxSpec { tmp_bytes: 65536, hostname: "probe".into(), network, ..SandboxSpec::default() };
        let mut sandbox = Sandbox::create(&self, spec)?;
        let process = sandbox.spawn(Command {
            arguments: vec!["/dev/null/none".into()],
            directory: "/".into(),
            ..Command::default()
        })?;
        let failed = match process.wait().map_err(SpawnError::step(Step::Init))?.ending {
            Ending::NotExecuted(error) if error.kind != ExecErrorKind::Other => None,
            Ending::NotExecuted(error) => Some((Step::Exec, error.source)),
            Ending::NotSetUp { step, source } => Some((step, source)),
            Ending::Exited(_) | Ending::Signaled(_) => {
                Some((Step::Init, io::Error::from_raw_os_error(libc::ECHILD)))
            }
        };
        Ok((self, failed))
    }

    fn accept(self, level: Level) -> Result<Self, SpawnError> {
        match (level, self.isolation()) {
            (Level::Full, Isolation::Partial(missing)) => {
                Err(SpawnError::Level { missing: isolation::list(missing) })
            }
            _ => Ok(self),
        }
    }

    fn build(
        spec: &TemplateSpec,
        features: Features,
        groups: Option<Arc<Groups>>,
    ) -> Result<Self, SpawnError> {
        let (mounts, user) = match features.mode {
            Mode::Plain => (None, None),
            Mode::Privileged | Mode::Unprivileged => make_root(spec, features)?,
        };
        let isolation = isolation_of(features, groups.as_deref(), spec.network);
        Ok(Self(Arc::new(Inner {
            features,
            isolation,
            identity: spec.identity.clone(),
            mounts,
            user: user.map(Arc::new),
            groups,
            filter: if features.filter { filter::program() } else { Vec::new() },
            writable: spec
                .mounts
                .iter()
                .filter(|mount| mount.writable)
                .map(|mount| mount.target.clone())
                .collect(),
            cores_are_processed: fs::read("/proc/sys/kernel/core_pattern")
                .is_ok_and(|pattern| cores_are_processed(&pattern)),
            command_line: command_line(),
        })))
    }

    pub(crate) fn features(&self) -> Features {
        self.0.features
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    pub(crate) fn mounts(&self) -> Option<&OwnedFd> {
        self.0.mounts.as_ref()
    }

    pub(crate) fn user(&self) -> Option<&Arc<OwnedFd>> {
        self.0.user.as_ref()
    }

    pub(crate) fn groups(&self) -> Option<&Arc<Groups>> {
        self.0.groups.as_ref()
    }

    pub(crate) fn filter(&self) -> &[sock_filter] {
        &self.0.filter
    }

    pub(crate) fn writable(&self) -> &[PathBuf] {
        &self.0.writable
    }

    pub(crate) fn cores_are_processed(&self) -> bool {
        self.0.cores_are_processed
    }

    pub(crate) fn command_line(&self) -> (usize, usize) {
        self.0.command_line
    }
}

const PLAIN: Features = Features {
    mode: Mode::Plain,
    user_namespace: false,
    network_namespace: false,
    egress: false,
    filter: false,
    freezer: true,
};

/// Lets the processes that hold something busy get on.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when another thread's child executes its program"
)]
fn pause() {
    thread::sleep(Duration::from_millis(1));
}

fn isolation_of(features: Features, groups: Option<&Groups>, wanted: Network) -> Isolation {
    if features.mode == Mode::Plain {
        return Isolation::None;
    }
    let mut missing = Vec::new();
    for (there, feature) in [
        (features.user_namespace, Missing::UserNamespace),
        (features.network_namespace, Missing::NetworkNamespace),
        (features.egress || wanted != Network::Relayed, Missing::Egress),
        (features.filter, Missing::SystemCallFilter),
        (groups.is_some_and(Groups::limits_memory), Missing::MemoryLimit),
        (features.count_processes() || groups.is_some_and(Groups::limits_processes), Missing::ProcessLimit),
        (groups.is_some_and(Groups::limits_cpu), Missing::CpuLimit),
    ] {
        if !there {
            missing.push(feature);
        }
    }
    if missing.is_empty() { Isolation::Full } else { Isolation::Partial(missing) }
}

/// The mount namespace whose root is what `spec` describes, and the user namespace that owns it if we are not root.
fn make_root(
    spec: &TemplateSpec,
    features: Features,
) -> Result<(Option<OwnedFd>, Option<OwnedFd>), SpawnError> {
    let mode = features.mode;
    let mut plan = Plan::default();
    plan.add_system()?;
    let Identity { uid, gid, name, home } = &spec.identity;
    let home = home.display();
    for (path, content) in [
        (
            "/etc/passwd",
            // Whoever is not mapped into the sandbox, root for one, is seen as the user 65534: he must have a name.
            format!(
                "root:x:0:0:root:/root:/sbin/nologin\n{name}:x:{uid}:{gid}::{home}:/sbin/nologin\n\
                 nobody:x:65534:65534::/:/sbin/nologin\n"
            ),
        ),
        ("/etc/group", format!("root:x:0:\n{name}:x:{gid}:\nnogroup:x:65534:\n")),
        // Without the address of version 6: what listens inside does so at 127.0.0.1.
        ("/etc/hosts", "127.0.0.1 localhost\n".to_owned()),
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("/etc/resolv.conf", name_servers(features.network(spec.network))),
    ] {
        plan.file(Path::new(path), content.into_bytes())?;
    }
    for (path, content) in &spec.files {
        plan.file(path, content.clone())?;
    }
    for (path, content) in &spec.programs {
        plan.program(path, content.clone())?;
    }
    for mount in &spec.mounts {
        plan.add(mount)?;
    }
    for path in &spec.directories {
        plan.directory(path, 0o755)?;
    }
    if mode == Mode::Unprivileged {
        // In a user namespace, a new `/proc` may be mounted only where another can be seen whole.
        // The sandbox's own covers this one before any program runs.
        plan.bind(Path::new("/proc"), Path::new("/proc"), 0)?;
    }

    // SAFETY: take no arguments and cannot fail.
    let (our_uid, our_gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let maps = (mode == Mode::Unprivileged).then(|| UserMap::single(*uid, our_uid, *gid, our_gid));
    let mut made = helper::run(mode == Mode::Privileged, |left| {
        let result = enter_root(&plan, maps.as_ref(), left);
        plan.close_sources();
        result
    })?
    .map_err(|failure| plan.explain(failure))?;
    Ok((made.take(Slot::Mounts), made.take(Slot::User)))
}

/// In the helper: builds the root and leaves its namespaces. Async-signal-safe.
fn enter_root(plan: &Plan, maps: Option<&UserMap>, left: &Left<'_>) -> Result<(), Failure> {
    let at = Failure::at;
    // Through `/proc` as it is now; below, another root takes its place.
    let namespaces =
        syscall::open(c"/proc/self/ns", libc::O_PATH | libc::O_DIRECTORY, 0).map_err(at(Step::Prepare))?;
    let result = (|| {
        match maps {
            Some(maps) => {
                syscall::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
                    .map_err(at(Step::OuterUserNamespace))?;
                maps.write().map_err(at(Step::OuterUserNamespace))?;
            }
            None => syscall::unshare(libc::CLONE_NEWNS).map_err(at(Step::MountNamespace))?,
        }
        // Whatever we mount must not appear on the host.
        syscall::mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")
            .map_err(at(Step::MountNamespace))?;
        plan.open_sources()?;
        // Any directory would do: this one exists everywhere, and no source is below it.
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        syscall::mount(c"tmpfs", c"/sys", c"tmpfs", flags, c"mode=755,size=16m")
            .map_err(at(Step::MountNamespace))?;
        syscall::change_directory(c"/sys").map_err(at(Step::MountNamespace))?;
        plan.perform()?;
        syscall::pivot_to_working_directory().map_err(at(Step::Pivot))?;
        let attributes = crate::mounts::HOST_FILES | syscall::attribute::READ_ONLY;
        syscall::restrict_tree(libc::AT_FDCWD, c"/", attributes, false).map_err(at(Step::MountNamespace))?;
        if maps.is_some() {
            let user = syscall::open_at(namespaces, c"user", libc::O_RDONLY)
                .map_err(at(Step::OuterUserNamespace))?;
            left.leave(Slot::User, user);
        }
        let mounts =
            syscall::open_at(namespaces, c"mnt", libc::O_RDONLY).map_err(at(Step::MountNamespace))?;
        left.leave(Slot::Mounts, mounts);
        Ok(())
    })();
    syscall::close(namespaces);
    result
}

/// What `/etc/resolv.conf` says: who answers questions in this network, and otherwise what the host's says.
fn name_servers(network: Network) -> String {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if network == Network::Host {
        return host;
    }
    let kept = host
        .lines()
        .filter(|line| matches!(line.split_whitespace().next(), Some("search" | "domain" | "options")));
    let ours = format!("nameserver {GATEWAY}");
    std::iter::once(ours.as_str()).chain(kept).flat_map(|line| [line, "\n"]).collect()
}

/// Whether a pattern of core files names a program, or a socket of one. It would run as root, outside, on what a function
/// has prepared for it.
fn cores_are_processed(pattern: &[u8]) -> bool {
    matches!(pattern.first(), Some(b'|' | b'@'))
}

/// Where the kernel finds this process's command line, or an empty range.
fn command_line() -> (usize, usize) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, second field, may hold anything, so we count from behind it: start and end are fields 48 and 49.
    let after_name = stat.rsplit_once(") ").map_or("", |parts| parts.1);
    let mut fields = after_name.split(' ').skip(45).map(|field| field.parse::<usize>().unwrap_or(0));
    let (start, end) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
    if start != 0 && end >= start { (start, end - start) } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_process_core_files_are_recognized() {
        for pattern in ["|/usr/lib/systemd/systemd-coredump %P", "@/run/coredump.socket", "@@/run/x"] {
            assert!(cores_are_processed(pattern.as_bytes()), "{pattern}");
        }
        for pattern in ["core", "core.%p", "/var/crash/core", ""] {
            assert!(!cores_are_processed(pattern.as_bytes()), "{pattern}");
        }
    }
}
