//! The service's own directories, and what ended services left.
//!
//! Must not touch the groups of services that live.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Entrances, Group, Tree, directory, hierarchy::Kind};
use crate::spec::Limits;

/// The service's own directories.
#[derive(Debug)]
pub(crate) struct Groups {
    kind: Kind,
    name: String,
    next: AtomicU64,
    _lock: File,
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
        // Another service that ends takes empty parents away, which may be the ones we have just made.
        let groups = Kind::find()
            .into_iter()
            .find_map(|kind| (0..3).find_map(|_| Self::make(kind.clone()).ok()))
            .map(Arc::new)?;
        *current = Arc::downgrade(&groups);
        Some(groups)
    }

    fn make(kind: Kind) -> io::Result<Self> {
        for parent in kind.parents() {
            directory::make(parent)?;
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
            directory::make(&groups.own(parent))?;
        }
        if let Kind::Second { parent, .. } = &groups.kind {
            delegate(&groups.own(parent), &groups.kind)?;
        }
        Ok(groups)
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Our directory below one of [`Kind::parents`].
    pub(super) fn own(&self, parent: &Path) -> PathBuf {
        parent.join(&self.name)
    }

    pub(crate) fn limits_memory(&self) -> bool {
        self.kind.limits_memory()
    }

    pub(crate) fn limits_processes(&self) -> bool {
        self.kind.limits_processes()
    }

    pub(crate) fn limits_cpu(&self) -> bool {
        self.kind.limits_cpu()
    }

    /// A group with these ceilings, in those hierarchies that have one to set.
    pub(crate) fn create(self: &Arc<Self>, limits: &Limits) -> io::Result<Group> {
        Group::create(self, &self.new_name(), limits)
    }

    /// The group of a new process tree, below that of its sandbox; `None` where the machine has none to freeze.
    pub(crate) fn create_tree(&self, group: Option<&Group>) -> Option<(Tree, Entrances)> {
        let above = match &self.kind {
            Kind::First { unified, .. } => self.own(unified.as_deref()?),
            Kind::Second { parent, .. } => {
                group.and_then(Group::above_trees).map_or_else(|| self.own(parent), Path::to_owned)
            }
        };
        Tree::create(above.join(self.new_name())).ok()
    }

    fn new_name(&self) -> String {
        self.next.fetch_add(1, Relaxed).to_string()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for parent in self.kind.parents() {
            directory::remove(&self.own(parent));
            // Others may be using it: then it stays.
            let _ = fs::remove_dir(parent);
        }
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

/// Removes the groups of services that have ended: nobody holds their lock.
fn sweep(kind: &Kind) {
    let parents = kind.parents();
    let Some(first) = parents.first() else { return };
    // An earlier sweep may have been kept from removing all of them, so each hierarchy is looked at.
    let names: BTreeSet<OsString> = parents
        .iter()
        .flat_map(|parent| directory::children(parent))
        .filter_map(|service| service.file_name().map(ToOwned::to_owned))
        .collect();
    for name in names {
        let lives = match File::open(first.join(&name)) {
            Ok(lock) => lock.try_lock().is_err(),
            // The first is made and locked before the others, so one that is not there has no service.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if lives {
            continue;
        }
        for parent in parents.iter().rev() {
            directory::remove(&parent.join(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::{helper, syscall};

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
        directory::end_all(&groups.own(&parent).join("0"));
        helper::wait(pid).unwrap();
        // A tree's groups are below that of its sandbox, whose ceilings hold for them.
        let (tree, entrances) = groups.create_tree(Some(&group)).unwrap();
        assert!(groups.own(&parent).join("0/1/program").exists());
        drop((tree, entrances));
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
            memory.join("dead/0/1/program"),
            memory.join("alive/0"),
            processes.join("dead/0"),
            processes.join("dead/1"),
            processes.join("half/0"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        let lock = File::open(memory.join("alive")).unwrap();
        lock.lock().unwrap();
        let kind = Kind::First {
            memory: Some(memory.clone()),
            processes: Some(processes.clone()),
            cpu: None,
            unified: None,
        };
        sweep(&kind);
        assert!(memory.join("alive/0").exists());
        assert!(!memory.join("dead").exists() && !processes.join("dead").exists());
        assert!(!processes.join("half").exists());
    }
}
