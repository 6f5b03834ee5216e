//! Control groups: ceilings for all processes of a sandbox together, and the measure of their memory.
//!
//! A service has one directory per hierarchy, locked as long as it lives, with a group per sandbox in it. Whatever an
//! ended service left behind is found by its missing lock, and removed by the next one that starts.
//! Must not decide what happens without control groups.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::spec::Limits;

/// Above the directories of all services.
const PARENT: &str = "hothouse";

/// How long the kernel may take to notice that the last process of a group has ended.
const REMOVAL: Duration = Duration::from_secs(2);

/// Period of the CPU ceiling, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The service's own directories.
#[derive(Debug)]
pub(crate) struct Groups {
    kind: Kind,
    name: String,
    next: AtomicU64,
    _lock: File,
}

/// Where groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// One hierarchy for each controller; the paths are those of our parent directories.
    First { memory: Option<PathBuf>, processes: Option<PathBuf>, cpu: Option<PathBuf> },
    /// One hierarchy for all.
    Second { parent: PathBuf, memory: bool, processes: bool, cpu: bool },
}

impl Kind {
    fn parents(&self) -> Vec<&Path> {
        match self {
            Self::First { memory, processes, cpu } => {
                [memory, processes, cpu].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            Self::Second { parent, .. } => vec![parent],
        }
    }
}

/// Shared by all templates of this process.
static CURRENT: Mutex<Weak<Groups>> = Mutex::new(Weak::new());

impl Groups {
    /// The service's directories, made if need be, or `None` where the machine has or allows none.
    /// Removes what ended services left.
    pub(crate) fn open() -> Option<Arc<Self>> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(groups) = current.upgrade() {
            return Some(groups);
        }
        let kind = find()?;
        // Another service that ends takes empty parents away, which may be the ones we have just made.
        let groups = Arc::new((0..3).find_map(|_| Self::make(kind.clone()).ok())?);
        *current = Arc::downgrade(&groups);
        Some(groups)
    }

    fn make(kind: Kind) -> io::Result<Self> {
        for parent in kind.parents() {
            make_directory(parent)?;
        }
        if let Kind::Second { parent, .. } = &kind {
            delegate(parent, &kind)?;
        }
        let parents = kind.parents();
        let first = parents.first().ok_or(io::ErrorKind::NotFound)?;
        // One at a time, so that nobody sweeps a directory between its making and its locking.
        let turn = File::open(first)?;
        turn.lock()?;
        sweep(&kind);
        // Unique among all who live now, in whatever process namespace.
        let (name, lock) = loop {
            let name = format!("{:016x}", random()?);
            match fs::create_dir(first.join(&name)) {
                Ok(()) => {
                    let lock = File::open(first.join(&name))?;
                    lock.lock()?;
                    break (name, lock);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let groups = Self { kind, name, next: AtomicU64::new(0), _lock: lock };
        for parent in groups.kind.parents() {
            make_directory(&parent.join(&groups.name))?;
        }
        if let Kind::Second { parent, .. } = &groups.kind {
            delegate(&parent.join(&groups.name), &groups.kind)?;
        }
        Ok(groups)
    }

    pub(crate) fn limits_memory(&self) -> bool {
        matches!(self.kind, Kind::First { memory: Some(_), .. } | Kind::Second { memory: true, .. })
    }

    pub(crate) fn limits_processes(&self) -> bool {
        matches!(self.kind, Kind::First { processes: Some(_), .. } | Kind::Second { processes: true, .. })
    }

    pub(crate) fn limits_cpu(&self) -> bool {
        matches!(self.kind, Kind::First { cpu: Some(_), .. } | Kind::Second { cpu: true, .. })
    }

    /// A group with these ceilings, in those hierarchies that have one to set.
    pub(crate) fn create(self: &Arc<Self>, limits: &Limits) -> io::Result<Group> {
        let name = self.next.fetch_add(1, Relaxed).to_string();
        let directory = |parent: &Path| parent.join(&self.name).join(&name);
        let mut group =
            Group { groups: Arc::clone(self), directories: Vec::new(), memory: None, unified: false };
        match &self.kind {
            Kind::First { memory, processes, cpu } => {
                if let (Some(parent), Some(bytes)) = (memory, limits.memory_bytes) {
                    let directory = group.add(directory(parent))?;
                    fs::write(directory.join("memory.limit_in_bytes"), bytes.to_string())?;
                    // Swap would only be a slower way over the limit. Absent where swap is not accounted.
                    let _ = fs::write(directory.join("memory.memsw.limit_in_bytes"), bytes.to_string());
                    group.memory = Some(directory);
                }
                if let (Some(parent), Some(count)) = (processes, limits.processes) {
                    let directory = group.add(directory(parent))?;
                    fs::write(directory.join("pids.max"), with_init(count))?;
                }
                if let (Some(parent), Some(millis)) = (cpu, limits.cpu_millis) {
                    let directory = group.add(directory(parent))?;
                    fs::write(directory.join("cpu.cfs_period_us"), CPU_PERIOD.to_string())?;
                    fs::write(directory.join("cpu.cfs_quota_us"), quota(millis).to_string())?;
                }
            }
            Kind::Second { parent, memory, processes, cpu } => {
                group.unified = true;
                let directory = group.add(directory(parent))?;
                if let (true, Some(bytes)) = (memory, limits.memory_bytes) {
                    fs::write(directory.join("memory.max"), bytes.to_string())?;
                    // Swap would only be a slower way over the limit. Absent where swap is not accounted.
                    let _ = fs::write(directory.join("memory.swap.max"), "0");
                    group.memory = Some(directory.clone());
                }
                if let (true, Some(count)) = (processes, limits.processes) {
                    fs::write(directory.join("pids.max"), with_init(count))?;
                }
                if let (true, Some(millis)) = (cpu, limits.cpu_millis) {
                    fs::write(directory.join("cpu.max"), format!("{} {CPU_PERIOD}", quota(millis)))?;
                }
            }
        }
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for parent in self.kind.parents() {
            remove(&parent.join(&self.name));
            // Others may be using it: then it stays.
            let _ = fs::remove_dir(parent);
        }
    }
}

/// One sandbox's group, in each hierarchy where it has a ceiling. Removed when dropped: its processes must have ended.
#[derive(Debug)]
pub(crate) struct Group {
    groups: Arc<Groups>,
    directories: Vec<PathBuf>,
    /// The one that counts memory.
    memory: Option<PathBuf>,
    unified: bool,
}

impl Group {
    fn add(&mut self, directory: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&directory)?;
        self.directories.push(directory.clone());
        Ok(directory)
    }

    /// How a process gets in: files for it to write to, or a directory to be cloned into.
    pub(crate) fn entrances(&self) -> io::Result<(Vec<OwnedFd>, Option<OwnedFd>)> {
        if self.unified {
            let directory = self.directories.first().map(File::open).transpose()?;
            return Ok((Vec::new(), directory.map(OwnedFd::from)));
        }
        // By its only thread, not by its process: the kernel moves a thread that moves itself at once, but for a process
        // it waits until every processor has seen that no thread is being made, which takes 10 ms on a machine at rest.
        let files = self
            .directories
            .iter()
            .map(|directory| Ok(File::options().write(true).open(directory.join("tasks"))?.into()));
        Ok((files.collect::<io::Result<_>>()?, None))
    }

    pub(crate) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// In bytes.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let file = if self.unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.memory.as_ref()?.join(file)).ok()?.trim().parse().ok()
    }

    /// How many processes were killed because the ceiling was reached.
    pub(crate) fn memory_kills(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let Some(memory) = &self.memory else { return 0 };
        let text = fs::read_to_string(memory.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        debug_assert!(Arc::strong_count(&self.groups) > 0);
        for directory in &self.directories {
            remove(directory);
        }
    }
}

/// Init is one process more than was asked for.
fn with_init(count: u64) -> String {
    count.saturating_add(1).to_string()
}

/// Microseconds of CPU per period; the kernel takes no less than a thousand.
fn quota(millis: u32) -> u64 {
    (u64::from(millis) * CPU_PERIOD / 1000).max(1000)
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: pointer and length are of one array.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if count == bytes.len() as isize {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Removes a group whose processes have ended or are about to.
fn remove(directory: &Path) {
    let deadline = Instant::now() + REMOVAL;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                // SAFETY: no descriptors, only the time of one millisecond.
                unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            }
            _ => return,
        }
    }
}

// === finding hierarchies ===

fn find() -> Option<Kind> {
    parse(&fs::read_to_string("/proc/self/mounts").ok()?, |hierarchy| {
        fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default()
    })
}

/// Prefers the second version where it controls memory, as a machine may have both.
fn parse(mounts: &str, controllers: impl Fn(&Path) -> String) -> Option<Kind> {
    let (mut memory, mut processes, mut cpu) = (None, None, None);
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let point = Path::new(point);
        match kind {
            "cgroup2" => {
                let there = controllers(point);
                let has = |name: &str| there.split_whitespace().any(|controller| controller == name);
                if has("memory") {
                    return Some(Kind::Second {
                        parent: point.join(PARENT),
                        memory: true,
                        processes: has("pids"),
                        cpu: has("cpu"),
                    });
                }
            }
            "cgroup" => {
                for option in options.split(',') {
                    let parent = Some(point.join(PARENT));
                    match option {
                        "memory" => memory = parent,
                        "pids" => processes = parent,
                        "cpu" => cpu = parent,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (memory.is_some() || processes.is_some()).then_some(Kind::First { memory, processes, cpu })
}

/// Lets the children of `directory` use the controllers, from the root of the hierarchy down.
fn delegate(directory: &Path, kind: &Kind) -> io::Result<()> {
    let Kind::Second { memory, processes, cpu, parent } = kind else { return Ok(()) };
    let wanted = [(memory, "+memory"), (processes, "+pids"), (cpu, "+cpu")];
    let wanted: Vec<&str> = wanted.into_iter().filter(|(has, _)| **has).map(|(_, name)| name).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    if directory == parent
        && let Some(root) = parent.parent()
    {
        fs::write(root.join("cgroup.subtree_control"), wanted.join(" "))?;
    }
    fs::write(directory.join("cgroup.subtree_control"), wanted.join(" "))
}

// === sweeping ===

/// Removes the groups of services that have ended: nobody holds their lock.
fn sweep(kind: &Kind) {
    let parents = kind.parents();
    let Some((first, others)) = parents.split_first() else { return };
    for service in directories(first) {
        let Ok(lock) = File::open(&service) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        let name = service.file_name().map(PathBuf::from).unwrap_or_default();
        for parent in others.iter().chain([first]) {
            let directory = parent.join(&name);
            for group in directories(&directory) {
                end_all(&group);
                remove(&group);
            }
            remove(&directory);
        }
    }
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills what still runs in a group. Trees end with their service, so there should be nothing.
fn end_all(group: &Path) {
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<libc::pid_t>().ok()).filter(|pid| *pid > 1) {
        // SAFETY: takes no pointers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::{helper, syscall};

    const FIRST: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
";

    #[test]
    fn hierarchies_are_found_among_mounts() {
        let first = Kind::First {
            memory: Some("/sys/fs/cgroup/memory/hothouse".into()),
            processes: None,
            cpu: Some("/sys/fs/cgroup/cpu,cpuacct/hothouse".into()),
        };
        assert_eq!(parse(FIRST, |_| "hugetlb\n".into()), Some(first));
        let second = Kind::Second {
            parent: "/sys/fs/cgroup/unified/hothouse".into(),
            memory: true,
            processes: true,
            cpu: false,
        };
        assert_eq!(parse(FIRST, |_| "memory pids io\n".into()), Some(second));
        assert_eq!(parse("proc /proc proc rw 0 0\n", |_| String::new()), None);
    }

    /// A machine may have the second version's hierarchy without controllers in it: enough to be cloned into.
    #[test]
    fn a_child_can_be_cloned_into_a_group_of_the_second_version() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let point = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[2] == "cgroup2").then(|| PathBuf::from(fields[1]))
        });
        // A name of its own, so that it meets neither a service nor the other tests.
        let Some(parent) = point.map(|point| point.join(format!("hothouse-test-{}", std::process::id())))
        else {
            return;
        };
        let kind = Kind::Second { parent: parent.clone(), memory: false, processes: false, cpu: false };
        let Ok(groups) = Groups::make(kind) else { return };
        let groups = Arc::new(groups);
        let group = groups.create(&Limits::default()).unwrap();
        let (files, directory) = group.entrances().unwrap();
        assert!(files.is_empty());
        let directory = directory.unwrap();
        // SAFETY: the child only waits.
        let pid = unsafe { syscall::clone(0, None, Some(directory.as_raw_fd())) }.unwrap();
        if pid == 0 {
            loop {
                // SAFETY: takes no arguments.
                unsafe { libc::pause() };
            }
        }
        let of_child = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let expected = format!("/{}/{}/0", parent.file_name().unwrap().to_str().unwrap(), groups.name);
        end_all(&group.directories[0]);
        helper::wait(pid).unwrap();
        assert!(
            of_child.lines().any(|line| line.starts_with("0::") && line.ends_with(&expected)),
            "{of_child}"
        );
        drop((group, groups));
        assert!(!parent.exists());
    }

    #[test]
    fn what_an_ended_service_left_is_swept_and_what_lives_stays() {
        let directory = tempfile::tempdir().unwrap();
        let [memory, processes] = ["memory", "pids"].map(|name| directory.path().join(name));
        for path in [
            memory.join("dead/0"),
            memory.join("alive/0"),
            processes.join("dead/0"),
            processes.join("dead/1"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        let lock = File::open(memory.join("alive")).unwrap();
        lock.lock().unwrap();
        let kind =
            Kind::First { memory: Some(memory.clone()), processes: Some(processes.clone()), cpu: None };
        sweep(&kind);
        assert!(memory.join("alive/0").exists());
        assert!(!memory.join("dead").exists() && !processes.join("dead").exists());
    }
}
