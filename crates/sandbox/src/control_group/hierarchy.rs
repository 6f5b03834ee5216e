//! Where control groups can be made.
//!
//! Must not make any.

use std::{
    fs::{self, File},
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
    /// What the machine has, the best first: some of it may be closed to us.
    pub(super) fn find() -> Vec<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let best = parse(&mounts, |hierarchy| {
            let top = top(hierarchy, &own, may_move_into);
            let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
            (top, controllers)
        });
        let trees_only = |parent: &Path| Self::First {
            memory: None,
            processes: None,
            cpu: None,
            unified: Some(parent.into()),
        };
        let less = match &best {
            Some(Self::First { memory, processes, cpu, unified: Some(parent) }) => {
                let (memory, processes, cpu) = (memory.clone(), processes.clone(), cpu.clone());
                vec![Self::First { memory, processes, cpu, unified: None }, trees_only(parent)]
            }
            // A group that has processes of its own gives its children no controllers.
            Some(Self::Second { parent, .. }) => vec![trees_only(parent)],
            _ => Vec::new(),
        };
        best.into_iter().chain(less).collect()
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

/// The uppermost group of a hierarchy of the second version into which we may move our children: its root, or for an
/// ordinary user the one above him that he was given. `own` is what `/proc/self/cgroup` says.
fn top(hierarchy: &Path, own: &str, may_move_into: impl Fn(&Path) -> bool) -> PathBuf {
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let own = hierarchy.join(own);
    let above: Vec<&Path> = own.ancestors().take_while(|group| group.starts_with(hierarchy)).collect();
    above.into_iter().rev().find(|group| may_move_into(group)).unwrap_or(hierarchy).to_owned()
}

fn may_move_into(group: &Path) -> bool {
    File::options().write(true).open(group.join("cgroup.procs")).is_ok()
}

/// Prefers the second version where it controls memory, as a machine may have both. `second` tells of a hierarchy of that
/// version where groups can be made in it, and which controllers are there.
fn parse(mounts: &str, second: impl Fn(&Path) -> (PathBuf, String)) -> Option<Kind> {
    let (mut memory, mut processes, mut cpu, mut unified) = (None, None, None, None);
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let point = Path::new(point);
        match kind {
            "cgroup2" => {
                let (top, there) = second(point);
                let parent = top.join(PARENT);
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
        let with = |controllers: &'static str| move |point: &Path| (point.to_owned(), controllers.to_owned());
        assert_eq!(parse(FIRST, with("hugetlb\n")), Some(first));
        let second = Kind::Second {
            parent: "/sys/fs/cgroup/unified/hothouse".into(),
            memory: true,
            processes: true,
            cpu: false,
        };
        assert_eq!(parse(FIRST, with("memory pids io\n")), Some(second));
        assert_eq!(parse("proc /proc proc rw 0 0\n", with("")), None);
    }

    #[test]
    fn an_ordinary_user_has_what_he_was_given() {
        let hierarchy = Path::new("/sys/fs/cgroup");
        let own =
            "1:cpu:/elsewhere\n0::/user.slice/user-1000.slice/user@1000.service/app.slice/terminal.scope\n";
        let given = |prefix: &'static str| move |group: &Path| group.starts_with(prefix);
        let service = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(top(hierarchy, own, given(service)), Path::new(service));
        assert_eq!(top(hierarchy, own, |_| true), hierarchy);
        assert_eq!(top(hierarchy, own, |_| false), hierarchy);
        assert_eq!(top(hierarchy, "0::/\n", |_| true), hierarchy);
    }
}
