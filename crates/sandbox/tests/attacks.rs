//! What a malicious program asks the kernel for, and what it is answered.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::allow_attributes,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::{
    collections::BTreeMap,
    env,
    fs::{self, OpenOptions},
    io::{self, Read},
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    ptr::null,
};

use common::*;
use hothouse_sandbox::{Command, Ending, Missing, Mount, Sandbox};
use libc::c_long;

/// The error number of a system call, or 0.
fn errno(result: c_long) -> i32 {
    if result < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 }
}

macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        // SAFETY: pointers are null or to C strings and structures that live; whatever the kernel does is what we ask.
        errno(unsafe { libc::syscall($number $(, $argument)*) })
    };
}

fn opened(path: &str, flags: i32) -> i32 {
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let result = OpenOptions::new().read(!writes).write(writes).custom_flags(flags).open(path);
    result.err().map_or(0, |error| error.raw_os_error().unwrap())
}

/// What is there, but empty.
const NOTHING: i32 = -1;

fn contents(path: &str) -> i32 {
    match fs::File::open(path).and_then(|mut file| file.read(&mut [0; 8])) {
        Ok(0) => NOTHING,
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap(),
    }
}

/// Whose numbers may be seen, but not what they are.
fn descriptors_of_init() -> i32 {
    let Ok(entries) = fs::read_dir("/proc/1/fd") else { return libc::EACCES };
    let links = entries.flatten().map(|entry| fs::read_link(entry.path()));
    if links.into_iter().any(|link| link.is_ok()) { 0 } else { libc::EACCES }
}

/// Runs inside: prints a line for each attempt, its name and the error number.
#[test]
#[ignore = "run by the other test, inside a sandbox"]
fn attacker() {
    let zero = 0_usize;
    let null = null::<u8>();
    let root = c"/".as_ptr();
    let code = fs::File::open("/var/task/code").unwrap();
    let socket = |family: i32, kind: i32, protocol: i32| call!(libc::SYS_socket, family, kind, protocol);
    let attempts = [
        // Old ways to power.
        ("setuid", call!(libc::SYS_setuid, 0)),
        ("setgid", call!(libc::SYS_setgid, 0)),
        ("setgroups", call!(libc::SYS_setgroups, 0, null)),
        ("chroot", call!(libc::SYS_chroot, root)),
        (
            "mknod",
            call!(libc::SYS_mknodat, libc::AT_FDCWD, c"/tmp/disk".as_ptr(), libc::S_IFBLK | 0o666, 0x800),
        ),
        ("sethostname", call!(libc::SYS_sethostname, root, 1)),
        ("settimeofday", call!(libc::SYS_settimeofday, null, null)),
        ("reboot", call!(libc::SYS_reboot, 0xfee1_dead_u32, 672_274_793, 0x89ab_cdef_u32, null)),
        ("swapon", call!(libc::SYS_swapon, root, 0)),
        ("init_module", call!(libc::SYS_init_module, null, zero, root)),
        ("kexec_load", call!(libc::SYS_kexec_load, zero, zero, null, zero)),
        // Mounts and namespaces.
        ("mount", call!(libc::SYS_mount, null, c"/tmp".as_ptr(), c"tmpfs".as_ptr(), zero, null)),
        ("remount", call!(libc::SYS_mount, null, root, null, libc::MS_REMOUNT | libc::MS_BIND, null)),
        ("umount", call!(libc::SYS_umount2, c"/var/task".as_ptr(), libc::MNT_DETACH)),
        ("pivot_root", call!(libc::SYS_pivot_root, root, root)),
        ("fsopen", call!(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0)),
        ("open_tree", call!(libc::SYS_open_tree, libc::AT_FDCWD, root, 1)),
        ("mount_setattr", call!(libc::SYS_mount_setattr, libc::AT_FDCWD, root, 0, null, zero)),
        ("statmount", call!(457, null, null, zero, 0)),
        ("listmount", call!(458, null, null, zero, 0)),
        ("open_tree_attr", call!(467, libc::AT_FDCWD, root, 0, null, zero)),
        ("unshare", call!(libc::SYS_unshare, libc::CLONE_NEWUSER)),
        ("clone3", call!(libc::SYS_clone3, null, zero)),
        ("setns", call!(libc::SYS_setns, code.as_raw_fd(), 0)),
        // Other processes.
        ("ptrace", call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, 1, null, null)),
        ("process_vm_readv", call!(libc::SYS_process_vm_readv, 1, null, zero, null, zero, zero)),
        ("pidfd_getfd", call!(libc::SYS_pidfd_getfd, 1, 0, 0)),
        ("kcmp", call!(libc::SYS_kcmp, 1, 1, 0, 0, 0)),
        ("priority of init", call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 1, -5)),
        // Parts of the kernel.
        ("io_uring", call!(libc::SYS_io_uring_setup, 1, null)),
        ("bpf", call!(libc::SYS_bpf, 0, null, 0)),
        ("perf", call!(libc::SYS_perf_event_open, null, 0, -1, -1, 0)),
        ("userfaultfd", call!(libc::SYS_userfaultfd, 1)),
        ("keyctl", call!(libc::SYS_keyctl, 0, -3, 0)),
        ("add_key", call!(libc::SYS_add_key, c"user".as_ptr(), c"a".as_ptr(), c"b".as_ptr(), 1, -2)),
        ("open_by_handle_at", call!(libc::SYS_open_by_handle_at, libc::AT_FDCWD, null, 0)),
        ("quotactl_fd", call!(libc::SYS_quotactl_fd, code.as_raw_fd(), 0, 0, null)),
        ("personality", call!(libc::SYS_personality, libc::ADDR_NO_RANDOMIZE)),
        ("type into a terminal", call!(libc::SYS_ioctl, 0, libc::TIOCSTI, root)),
        ("syslog", call!(libc::SYS_syslog, 3, null, 0)),
        ("vsock", socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
        ("packets", socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        ("cryptography", socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
        ("raw", socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
        ("sctp", socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP)),
        ("netfilter", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER)),
        ("device events", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT)),
        // Files.
        ("code", opened("/var/task/code", libc::O_WRONLY)),
        ("code by its descriptor", opened(&format!("/proc/self/fd/{}", code.as_raw_fd()), libc::O_WRONLY)),
        ("mode of code", call!(libc::SYS_fchmod, code.as_raw_fd(), 0o777)),
        ("core_pattern", opened("/proc/sys/kernel/core_pattern", libc::O_WRONLY)),
        ("sysrq", opened("/proc/sysrq-trigger", libc::O_WRONLY)),
        ("environment of init", opened("/proc/1/environ", libc::O_RDONLY)),
        ("memory of init", opened("/proc/1/mem", libc::O_RDWR)),
        ("program of init", opened("/proc/1/exe", libc::O_RDONLY)),
        ("root of init", opened("/proc/1/root/etc/passwd", libc::O_RDONLY)),
        ("descriptors of init", descriptors_of_init()),
        ("slabs", contents("/proc/slabinfo")),
        ("pages", contents("/proc/kpageflags")),
        ("terminals", opened("/dev/ptmx", libc::O_RDWR)),
        // What programs need.
        ("landlock", call!(libc::SYS_landlock_create_ruleset, null, zero, 1)),
        ("tcp", socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP)),
        ("routes", socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)),
        ("memory file", call!(libc::SYS_memfd_create, c"x".as_ptr(), 0)),
        ("own personality", call!(libc::SYS_personality, u32::MAX)),
        ("own memory", opened("/proc/self/mem", libc::O_RDWR)),
    ];
    for (name, errno) in attempts {
        println!("attempt {name}={errno}");
    }
}

#[test]
fn the_kernel_refuses() {
    let Some(template) = isolated_with(Missing::SystemCallFilter) else { return };
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o777)).tempdir().unwrap();
    fs::copy(env::current_exe().unwrap(), directory.path().join("attacker")).unwrap();
    fs::write(directory.path().join("code"), "code").unwrap();
    fs::set_permissions(directory.path().join("code"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut spec = spec();
    spec.mounts.push(Mount::read_only(directory.path(), "/var/task"));
    let mut sandbox = Sandbox::create(&template, spec).unwrap();
    let (command, output) = with_output(Command {
        arguments: ["/var/task/attacker", "--ignored", "--exact", "attacker", "--nocapture"]
            .map(Into::into)
            .into(),
        directory: "/".into(),
        ..Command::default()
    });
    let process = sandbox.spawn(command).unwrap();
    let text = output.read();
    assert!(matches!(end_of(process).ending, Ending::Exited(0)), "{text}");
    let answers: BTreeMap<&str, i32> = text
        .lines()
        .filter_map(|line| line.split_once("attempt ")?.1.split_once('='))
        .map(|(name, errno)| (name, errno.parse().unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for (name, answer) in &answers {
        let expected: &[i32] = match *name {
            "clone3" | "io_uring" | "statmount" | "listmount" => &[libc::ENOSYS],
            "vsock" | "packets" | "cryptography" => &[libc::EAFNOSUPPORT],
            "sctp" | "netfilter" | "device events" => &[libc::EPROTONOSUPPORT],
            "code" | "code by its descriptor" | "mode of code" => &[libc::EROFS],
            "slabs" | "pages" => &[libc::EACCES, libc::EPERM, libc::ENOENT, NOTHING],
            "terminals" => &[libc::ENOENT],
            // Not every kernel has it.
            "sysrq" => &[libc::EACCES, libc::EPERM, libc::EROFS, libc::ENOENT],
            // Read-only already, if nobody's.
            "core_pattern" => &[libc::EACCES, libc::EROFS],
            // Root need not even be known.
            "setuid" | "setgid" => &[libc::EPERM, libc::EINVAL],
            "landlock" => &[0, libc::ENOSYS, libc::EOPNOTSUPP],
            "tcp" | "routes" | "memory file" | "own personality" | "own memory" => &[0],
            _ => &[libc::EPERM, libc::EACCES],
        };
        if !expected.contains(answer) {
            wrong.push(format!("{name}: {}", io::Error::from_raw_os_error(*answer)));
        }
    }
    assert!(answers.len() > 60, "{text}");
    assert!(wrong.is_empty(), "{wrong:?}");
}
