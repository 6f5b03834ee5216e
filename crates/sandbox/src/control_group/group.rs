//! One sandbox's group: its ceilings, and what it has used.
//!
//! Must not be removed before its processes have ended.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::{Groups, directory, hierarchy::Kind};
use crate::spec::Limits;

/// Period of the CPU ceiling, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// One sandbox's group, in each hierarchy where it has a ceiling. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    groups: Arc<Groups>,
    directories: Vec<PathBuf>,
    /// The one that counts memory.
    memory: Option<PathBuf>,
    /// The one that shares out CPUs.
    cpu: Option<Cpu>,
    unified: bool,
}

#[derive(Debug)]
struct Cpu {
    directory: PathBuf,
    /// In microseconds.
    quota: AtomicU64,
    /// Whether it is in force.
    limited: AtomicBool,
}

impl Cpu {
    fn new(directory: PathBuf, millis: u32) -> Self {
        Self { directory, quota: quota(millis).into(), limited: false.into() }
    }
}

impl Group {
    /// A group with these ceilings, in those hierarchies that have one to set.
    pub(super) fn create(groups: &Arc<Groups>, name: &str, limits: &Limits) -> io::Result<Self> {
        let mut group = Self {
            groups: Arc::clone(groups),
            directories: Vec::new(),
            memory: None,
            cpu: None,
            unified: false,
        };
        match groups.kind() {
            Kind::First { memory, processes, cpu, unified: _ } => {
                if let (Some(parent), Some(bytes)) = (memory, limits.memory_bytes) {
                    let directory = group.add(groups.own(parent).join(name))?;
                    group.memory = Some(directory);
                    group.limit_memory(bytes)?;
                }
                if let (Some(parent), Some(count)) = (processes, limits.processes) {
                    let directory = group.add(groups.own(parent).join(name))?;
                    fs::write(directory.join("pids.max"), with_init(count))?;
                }
                if let (Some(parent), Some(millis)) = (cpu, limits.cpu_millis) {
                    let directory = group.add(groups.own(parent).join(name))?;
                    group.cpu = Some(Cpu::new(directory, millis));
                }
            }
            Kind::Second { parent, memory, processes, cpu } => {
                group.unified = true;
                let directory = group.add(groups.own(parent).join(name))?;
                if let (true, Some(bytes)) = (memory, limits.memory_bytes) {
                    group.memory = Some(directory.clone());
                    group.limit_memory(bytes)?;
                }
                if let (true, Some(count)) = (processes, limits.processes) {
                    fs::write(directory.join("pids.max"), with_init(count))?;
                }
                if let (true, Some(millis)) = (cpu, limits.cpu_millis) {
                    group.cpu = Some(Cpu::new(directory, millis));
                }
            }
        }
        Ok(group)
    }

    fn add(&mut self, directory: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&directory)?;
        self.directories.push(directory.clone());
        Ok(directory)
    }

    /// Where the groups of its trees belong, if not in the service's own directory.
    pub(super) fn above_trees(&self) -> Option<&Path> {
        self.directories.first().map(PathBuf::as_path).filter(|_| self.unified)
    }

    /// Whether a process that is there already can move in by itself.
    pub(crate) fn takes_who_comes(&self) -> bool {
        !self.unified
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

    /// Changes the ceilings that a sandbox which was made ahead gets late. Those that it has none of it gets none of.
    pub(crate) fn change(&self, before: &Limits, after: &Limits) -> io::Result<()> {
        if let Some(bytes) = after.memory_bytes.filter(|_| before.memory_bytes != after.memory_bytes) {
            self.limit_memory(bytes)?;
        }
        if let (Some(cpu), Some(millis)) = (&self.cpu, after.cpu_millis) {
            cpu.quota.store(quota(millis), Relaxed);
        }
        Ok(())
    }

    /// Swap would only be a slower way over the limit. Its file is absent where swap is not accounted.
    fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        if self.unified {
            fs::write(memory.join("memory.max"), bytes.to_string())?;
            let _ = fs::write(memory.join("memory.swap.max"), "0");
            return Ok(());
        }
        let limit = |file| fs::write(memory.join(file), bytes.to_string());
        let [alone, with_swap] = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
        // The second may never be below the first: what grows, grows there first.
        if limit(alone).is_err() {
            let _ = limit(with_swap);
            return limit(alone);
        }
        let _ = limit(with_swap);
        Ok(())
    }

    /// Puts the ceiling on CPU use into force, or lifts it. Without one there is nothing to do.
    pub(crate) fn limit_cpu(&self, limited: bool) -> io::Result<()> {
        let Some(Cpu { directory, quota, limited: before }) = &self.cpu else { return Ok(()) };
        if !limited && !before.load(Relaxed) {
            return Ok(());
        }
        before.store(true, Relaxed);
        let quota = quota.load(Relaxed);
        let (file, text) = match (self.unified, limited) {
            (true, true) => ("cpu.max", format!("{quota} {CPU_PERIOD}")),
            (true, false) => ("cpu.max", format!("max {CPU_PERIOD}")),
            // The period is the kernel's own.
            (false, true) => ("cpu.cfs_quota_us", quota.to_string()),
            (false, false) => ("cpu.cfs_quota_us", "-1".to_owned()),
        };
        fs::write(directory.join(file), text)?;
        if limited {
            // What was left of a period may be used in the next: who waits for its events is not punished for a burst.
            // Younger than the rest.
            let file = if self.unified { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
            let _ = fs::write(directory.join(file), quota.to_string());
        }
        before.store(limited, Relaxed);
        Ok(())
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
            directory::remove(directory);
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
