//! Plans of mounts: drawn up beforehand, carried out in a child where nothing may be allocated.
//!
//! Must not know whose mounts they are.

use std::{
    cell::Cell,
    collections::BTreeSet,
    ffi::{CStr, CString},
    fs,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use crate::{
    error::{SpawnError, Step},
    helper::Failure,
    spec::Mount,
    syscall::{self, Errno, attribute},
};

/// What is added to every mount of host files.
pub(crate) const HOST_FILES: u64 = attribute::NO_SET_USER | attribute::NO_DEVICES;

/// How file systems in memory are mounted.
pub(crate) const MEMORY_FLAGS: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV;

/// Host directories that make up the system inside. Where one is a link (`/bin` to `usr/bin`), so it is inside.
const SYSTEM_DIRECTORIES: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs need of `/etc`: small files are copied, directories shown. Everything else (shadow files, keys,
/// service configuration) stays outside.
const SYSTEM_CONFIGURATION: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/pki",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/system-release",
    "/etc/terminfo",
];

/// Beginnings of names in `/etc` under which distributions keep what language runtimes read at start.
const RUNTIME_CONFIGURATION: &[&str] = &["java", "python", "perl"];

const COPIED_AT_MOST_BYTES: u64 = 512 * 1024;

/// One step of a plan. Targets are relative to the working directory of whoever carries it out.
#[derive(Debug)]
pub(crate) enum Action {
    Directory {
        target: CString,
        mode: libc::mode_t,
    },
    Link {
        target: CString,
        to: CString,
    },
    File {
        target: CString,
        content: Vec<u8>,
        mode: libc::mode_t,
    },
    /// A file to mount over, if there is none.
    MountPoint {
        target: CString,
    },
    Bind {
        source: CString,
        target: CString,
        attributes: u64,
        tree: Cell<RawFd>,
    },
    Memory {
        target: CString,
        flags: libc::c_ulong,
        options: CString,
    },
}

impl Action {
    fn target(&self) -> &CStr {
        match self {
            Self::Directory { target, .. }
            | Self::Link { target, .. }
            | Self::File { target, .. }
            | Self::MountPoint { target }
            | Self::Bind { target, .. }
            | Self::Memory { target, .. } => target,
        }
    }

    fn perform(&self) -> syscall::Result {
        match self {
            Self::Directory { target, mode } => {
                // SAFETY: `target` is a C string.
                let made = unsafe { libc::mkdir(target.as_ptr(), *mode) };
                match syscall::check(made.into()) {
                    Ok(_) | Err(Errno(libc::EEXIST)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Self::Link { target, to } => {
                // SAFETY: both are C strings.
                syscall::check(unsafe { libc::symlink(to.as_ptr(), target.as_ptr()) }.into()).map(drop)
            }
            Self::File { target, content, mode } => {
                let file = syscall::open(target, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, *mode)?;
                let result = syscall::write_all(file, content);
                syscall::close(file);
                result
            }
            Self::MountPoint { target } => {
                match syscall::open(target, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o644) {
                    Ok(file) => syscall::close(file),
                    // One of the host's, or none can be made: the mount that follows knows which.
                    Err(Errno(libc::EEXIST | libc::EROFS)) => {}
                    Err(error) => return Err(error),
                }
                Ok(())
            }
            Self::Bind { target, tree, .. } => syscall::move_mount(tree.get(), target),
            Self::Memory { target, flags, options } => {
                syscall::mount(c"tmpfs", target, c"tmpfs", *flags, options)
            }
        }
    }
}

/// What to mount, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    actions: Vec<Action>,
    made: BTreeSet<PathBuf>,
}

// === drawn up by the service ===

impl Plan {
    /// The root that all sandboxes of a template share.
    pub(crate) fn add_system(&mut self) -> Result<(), SpawnError> {
        for path in SYSTEM_DIRECTORIES.iter().map(Path::new) {
            self.add_host(path)?;
        }
        self.directory(Path::new("/etc"), 0o755)?;
        let runtimes = fs::read_dir("/etc").into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name();
            RUNTIME_CONFIGURATION.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()))
        });
        let runtimes: BTreeSet<PathBuf> = runtimes.map(|entry| entry.path()).collect();
        for path in SYSTEM_CONFIGURATION.iter().map(Path::new).chain(runtimes.iter().map(PathBuf::as_path)) {
            self.add_host(path)?;
        }
        for (path, mode) in
            [("/proc", 0o555), ("/sys", 0o555), ("/tmp", 0o1777), ("/dev", 0o755), ("/dev/shm", 0o1777)]
        {
            self.directory(Path::new(path), mode)?;
        }
        for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"] {
            let path = Path::new(device);
            self.file(path, Vec::new())?;
            self.bind(path, path, attribute::NO_SET_USER | attribute::NO_EXECUTE)?;
        }
        for (path, to) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
        ] {
            self.link(Path::new(path), Path::new(to))?;
        }
        Ok(())
    }

    /// A host path at its own place: a link as a link, a small file as a copy, a directory as a mount.
    /// Absent ones are left out.
    fn add_host(&mut self, path: &Path) -> Result<(), SpawnError> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if metadata.is_symlink() {
            let Ok(to) = fs::read_link(path) else { return Ok(()) };
            return self.link(path, &to);
        }
        if metadata.is_dir() {
            return self.add(&Mount::read_only(path, path));
        }
        if metadata.is_file() && metadata.len() <= COPIED_AT_MOST_BYTES {
            // What we may not read, programs inside could not either.
            let Ok(content) = fs::read(path) else { return Ok(()) };
            return self.file(path, content);
        }
        Ok(())
    }

    /// A mount with its mount point, in a root that is being built.
    pub(crate) fn add(&mut self, mount: &Mount) -> Result<(), SpawnError> {
        let metadata = fs::metadata(&mount.source)
            .map_err(|source| SpawnError::Mount { target: mount.target.clone(), source })?;
        if metadata.is_dir() {
            self.directory(&mount.target, 0o755)?;
        } else {
            self.parents(&mount.target)?;
            self.actions.push(Action::MountPoint { target: relative(&mount.target)? });
        }
        self.attach(mount)
    }

    /// A mount at a mount point that is there.
    pub(crate) fn attach(&mut self, mount: &Mount) -> Result<(), SpawnError> {
        let read_only = if mount.writable { 0 } else { attribute::READ_ONLY };
        self.bind(&mount.source, &mount.target, HOST_FILES | read_only)
    }

    /// The host's file or tree at `source`, seen at `target`.
    pub(crate) fn bind(&mut self, source: &Path, target: &Path, attributes: u64) -> Result<(), SpawnError> {
        let source = text(source, "a mount's source")?;
        let target = relative(target)?;
        self.actions.push(Action::Bind { source, target, attributes, tree: Cell::new(-1) });
        Ok(())
    }

    /// A directory, with those above it.
    pub(crate) fn directory(&mut self, path: &Path, mode: libc::mode_t) -> Result<(), SpawnError> {
        self.parents(path)?;
        if self.made.insert(path.to_owned()) {
            self.actions.push(Action::Directory { target: relative(path)?, mode });
        }
        Ok(())
    }

    /// A file with this content; a later one of the same path replaces it.
    pub(crate) fn file(&mut self, path: &Path, content: Vec<u8>) -> Result<(), SpawnError> {
        self.add_file(path, content, 0o644)
    }

    /// An executable file with this content.
    pub(crate) fn program(&mut self, path: &Path, content: Vec<u8>) -> Result<(), SpawnError> {
        self.add_file(path, content, 0o755)
    }

    fn add_file(&mut self, path: &Path, content: Vec<u8>, mode: libc::mode_t) -> Result<(), SpawnError> {
        self.parents(path)?;
        self.actions.push(Action::File { target: relative(path)?, content, mode });
        Ok(())
    }

    /// A file system in memory.
    pub(crate) fn memory(
        &mut self,
        path: &Path,
        flags: libc::c_ulong,
        options: &str,
    ) -> Result<(), SpawnError> {
        let options = text(Path::new(options), "mount options")?;
        self.actions.push(Action::Memory { target: relative(path)?, flags, options });
        Ok(())
    }

    fn link(&mut self, path: &Path, to: &Path) -> Result<(), SpawnError> {
        self.parents(path)?;
        self.actions.push(Action::Link { target: relative(path)?, to: text(to, "a link")? });
        Ok(())
    }

    fn parents(&mut self, path: &Path) -> Result<(), SpawnError> {
        match path.parent() {
            Some(parent) if parent.parent().is_some() => self.directory(parent, 0o755),
            _ => Ok(()),
        }
    }

    /// The error of a failed step, with the path that it was about.
    pub(crate) fn explain(&self, failure: Failure) -> SpawnError {
        match failure.action.and_then(|index| self.actions.get(index as usize)) {
            Some(action) => SpawnError::Mount {
                target: Path::new("/").join(std::ffi::OsStr::from_bytes(action.target().to_bytes())),
                source: failure.errno.into(),
            },
            None => failure.into(),
        }
    }
}

/// Options of a file system in memory of this size. Zero would mean any; the kernel rounds up to pages.
pub(crate) fn memory_options(bytes: u64) -> String {
    format!("size={}", bytes.max(1))
}

/// Gives a file system in memory other options. Async-signal-safe.
pub(crate) fn resize_memory(target: &CStr, options: &CStr) -> syscall::Result {
    syscall::mount(c"none", target, c"", MEMORY_FLAGS | libc::MS_REMOUNT, options)
}

/// Takes hold of host files and directories, which needs power over the host's mounts: a detached tree for each, and where
/// it belongs.
pub(crate) fn take_hold(mounts: &[Mount]) -> Result<Vec<(OwnedFd, CString)>, SpawnError> {
    let mut plan = Plan::default();
    for mount in mounts {
        plan.attach(mount)?;
    }
    let opened = plan.open_sources().map_err(|failure| plan.explain(failure));
    let tree = |action| match action {
        Action::Bind { target, tree, .. } if tree.get() >= 0 => {
            // SAFETY: it was opened just now, and nobody else has it.
            Some((unsafe { OwnedFd::from_raw_fd(tree.get()) }, target))
        }
        _ => None,
    };
    let trees = plan.actions.into_iter().filter_map(tree).collect();
    opened.map(|()| trees)
}

/// A C string, or the error that says whose text was none.
pub(crate) fn text(path: &Path, what: &'static str) -> Result<CString, SpawnError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SpawnError::ZeroByte { what })
}

fn relative(path: &Path) -> Result<CString, SpawnError> {
    let refused = || SpawnError::Path { path: path.to_owned() };
    let inner = path.strip_prefix("/").map_err(|_| refused())?;
    if inner.as_os_str().is_empty() || inner.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(refused());
    }
    text(inner, "a mount's target")
}

// === carried out in a child ===

impl Plan {
    /// Takes hold of all sources, as long as the host's root is the root.
    pub(crate) fn open_sources(&self) -> Result<(), Failure> {
        for (index, action) in self.actions.iter().enumerate() {
            if let Action::Bind { source, attributes, tree, .. } = action {
                let opened = syscall::open_tree(source, true).and_then(|opened| {
                    tree.set(opened);
                    syscall::restrict_tree(opened, c"", *attributes, true)
                });
                opened.map_err(|errno| Failure { step: Step::Mount, errno, action: Some(index as u32) })?;
            }
        }
        Ok(())
    }

    /// Performs every action below the working directory.
    pub(crate) fn perform(&self) -> Result<(), Failure> {
        for (index, action) in self.actions.iter().enumerate() {
            action.perform().map_err(|errno| Failure {
                step: Step::Mount,
                errno,
                action: Some(index as u32),
            })?;
        }
        Ok(())
    }

    /// Lets go of the sources: mounted, they hold themselves.
    pub(crate) fn close_sources(&self) {
        for action in &self.actions {
            if let Action::Bind { tree, .. } = action
                && tree.get() >= 0
            {
                syscall::close(tree.replace(-1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(plan: &Plan) -> Vec<String> {
        let text = |path: &CStr| path.to_str().unwrap().to_owned();
        let line = |action: &Action| match action {
            Action::Directory { target, mode } => format!("directory {} {mode:o}", text(target)),
            Action::Link { target, to } => format!("link {} to {}", text(target), text(to)),
            Action::File { target, content, .. } => {
                format!("file {} of {} bytes", text(target), content.len())
            }
            Action::MountPoint { target } => format!("mount point {}", text(target)),
            Action::Bind { source, target, attributes, .. } => {
                format!("bind {} at {} with {attributes}", text(source), text(target))
            }
            Action::Memory { target, options, .. } => format!("memory {} {}", text(target), text(options)),
        };
        plan.actions.iter().map(line).collect()
    }

    #[test]
    fn mount_points_are_made_once_and_before_their_mounts() {
        let mut plan = Plan::default();
        plan.add(&Mount::read_only("/usr", "/var/lang/usr")).unwrap();
        plan.add(&Mount { source: "/dev/null".into(), target: "/var/lang/null".into(), writable: true })
            .unwrap();
        plan.directory(Path::new("/var/task"), 0o755).unwrap();
        plan.memory(Path::new("/tmp"), 0, "size=1").unwrap();
        assert_eq!(
            described(&plan),
            [
                "directory var 755",
                "directory var/lang 755",
                "directory var/lang/usr 755",
                "bind /usr at var/lang/usr with 7",
                "mount point var/lang/null",
                "bind /dev/null at var/lang/null with 6",
                "directory var/task 755",
                "memory tmp size=1",
            ]
        );
    }

    #[test]
    fn targets_must_be_plain_absolute_paths() {
        let mut plan = Plan::default();
        for target in ["relative", "/", "/a/../b", ""] {
            let refused = plan.bind(Path::new("/usr"), Path::new(target), 0);
            assert!(matches!(refused, Err(SpawnError::Path { .. })), "{target}");
        }
        assert!(matches!(
            plan.bind(Path::new("/a\0b"), Path::new("/a"), 0),
            Err(SpawnError::ZeroByte { .. })
        ));
    }

    #[test]
    fn the_system_is_shown_without_its_secrets() {
        let mut plan = Plan::default();
        plan.add_system().unwrap();
        let lines = described(&plan);
        assert!(lines.contains(&"bind /usr at usr with 7".to_owned()), "{lines:?}");
        for secret in ["shadow", "ssl/private", "ssh", "hostname", "machine-id"] {
            assert!(!lines.iter().any(|line| line.contains(&format!("etc/{secret}"))), "{secret}");
        }
    }
}
