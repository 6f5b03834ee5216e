//! Where control groups can be made.
//!
//! Must not make any.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Above the directories of all services.
const PARENT: &str = "hothouse";

/// Which hierarchies there are; the paths are those of our parent directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One hierarchy for each controller, and perhaps one of the second version without any.
    First {
        memory: Option<PathBuf>,
        processes: Option<PathBuf>,
        cpu: Option<PathBuf>,
        /// For process trees.
        unified: Option<PathBuf>,
    },
    /// One hierarchy for all.
    Second { parent: PathBuf, memory: bool, processes: bool, cpu: bool },
}

impl Kind {
    /// What the machine has, the best first.
    pub(super) fn find() -> Vec<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let best = parse(&mounts, |hierarchy| {
            fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default()
        });
        let mut kinds: Vec<Self> = best.into_iter().collect();
        // The second hierarchy may be closed to us where the others are not.
        if let Some(Self::First { memory, processes, cpu, unified: Some(_) }) = kinds.first() {
            kinds.push(Self::First {
                memory: memory.clone(),
                processes: processes.clone(),
                cpu: cpu.clone(),
                unified: None,
            });
        }
        kinds
    }

    /// Our directory in each hierarchy. The first has the locks.
    pub(super) fn parents(&self) -> Vec<&Path> {
        match self {
            Self::First { memory, processes, cpu, unified } => {
                [memory, processes, cpu, unified].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            Self::Second { parent, .. } => vec![parent],
        }
    }

    /// Whether the first directory has a ceiling of this kind to set.
    pub(super) fn limits_memory(&self) -> bool {
        matches!(self, Self::First { memory: Some(_), .. } | Self::Second { memory: true, .. })
    }

    pub(super) fn limits_processes(&self) -> bool {
        matches!(self, Self::First { processes: Some(_), .. } | Self::Second { processes: true, .. })
    }

    pub(super) fn limits_cpu(&self) -> bool {
        matches!(self, Self::First { cpu: Some(_), .. } | Self::Second { cpu: true, .. })
    }
}

/// Prefers the second version where it controls memory, as a machine may have both.
fn parse(mounts: &str, controllers: impl Fn(&Path) -> String) -> Option<Kind> {
    let (mut memory, mut processes, mut cpu, mut unified) = (None, None, None, None);
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let point = Path::new(point);
        let parent = point.join(PARENT);
        match kind {
            "cgroup2" => {
                let there = controllers(point);
                let has = |name: &str| there.split_whitespace().any(|controller| controller == name);
                if has("memory") {
                    return Some(Kind::Second {
                        parent,
                        memory: true,
                        processes: has("pids"),
                        cpu: has("cpu"),
                    });
                }
                unified = Some(parent);
            }
            "cgroup" => {
                for option in options.split(',') {
                    let parent = Some(parent.clone());
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
    let any = [&memory, &processes, &cpu, &unified].into_iter().any(Option::is_some);
    any.then_some(Kind::First { memory, processes, cpu, unified })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            unified: Some("/sys/fs/cgroup/unified/hothouse".into()),
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
}
