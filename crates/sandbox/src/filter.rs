//! The filter of system calls: what no function needs and what attacks on a kernel begin with is refused.
//!
//! A search tree, because the kernel runs the whole program once per system call number when it is loaded.
//! Must not be the only thing that forbids something: capabilities and namespaces come first.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, c_long, sock_filter,
};

/// Refused with "operation not permitted".
const REFUSED: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// Answered as if the kernel were too old for them: callers have a way without.
/// `clone3` hides its flags behind a pointer, where a filter cannot read them; libraries then use `clone`.
const ABSENT: &[c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup];

/// Families of sockets that a function may open. The others (vsock, packet, crypto, …) reach the host or much kernel
/// code that is rarely used, and know no network namespace.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

const REFUSE: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;
const NOT_THERE: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NO_SUCH_FAMILY: u32 = SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;

// Offsets in `struct seccomp_data`; both architectures are little-endian, so an argument's low half comes first.
const NUMBER: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// What happens to a range of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Return(u32),
    Clone,
    Socket,
}

/// The program, ready to be loaded.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut special: Vec<(u32, Verdict)> = Vec::new();
    special.extend(REFUSED.iter().map(|&number| (number as u32, Verdict::Return(REFUSE))));
    special.extend(ABSENT.iter().map(|&number| (number as u32, Verdict::Return(NOT_THERE))));
    special.push((libc::SYS_clone as u32, Verdict::Clone));
    special.push((libc::SYS_socket as u32, Verdict::Socket));
    special.sort_by_key(|&(number, _)| number);

    let mut ranges = vec![(0, Verdict::Return(SECCOMP_RET_ALLOW))];
    for (number, verdict) in special {
        push_range(&mut ranges, number, verdict);
        push_range(&mut ranges, number + 1, Verdict::Return(SECCOMP_RET_ALLOW));
    }
    // The x32 calls are a second door to the same kernel.
    #[cfg(target_arch = "x86_64")]
    push_range(&mut ranges, 0x4000_0000, Verdict::Return(NOT_THERE));

    let mut program =
        vec![load(ARCHITECTURE_OFFSET), jump(BPF_JEQ, ARCHITECTURE, 1, 0), answer(NOT_THERE), load(NUMBER)];
    program.extend(tree(&ranges));
    program
}

/// Adds a range; it replaces an empty one that begins at the same number.
fn push_range(ranges: &mut Vec<(u32, Verdict)>, start: u32, verdict: Verdict) {
    if ranges.last().is_some_and(|last| last.0 == start) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|last| last.1 != verdict) {
        ranges.push((start, verdict));
    }
}

fn tree(ranges: &[(u32, Verdict)]) -> Vec<sock_filter> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (lower_code, upper_code) = (tree(lower), tree(upper));
    let skip = u8::try_from(lower_code.len()).expect("a few hundred ranges keep each jump below 256");
    let mut code = vec![jump(BPF_JGE, upper[0].0, skip, 0)];
    code.extend(lower_code);
    code.extend(upper_code);
    code
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    match verdict {
        Verdict::Return(value) => vec![answer(value)],
        Verdict::Clone => vec![
            load(FIRST_ARGUMENT),
            jump(BPF_JSET, NAMESPACES as u32, 0, 1),
            answer(REFUSE),
            answer(SECCOMP_RET_ALLOW),
        ],
        Verdict::Socket => {
            let mut code = vec![load(FIRST_ARGUMENT)];
            for (index, &family) in FAMILIES.iter().enumerate() {
                // Over the remaining comparisons and the refusal.
                let skip = (FAMILIES.len() - index) as u8;
                code.push(jump(BPF_JEQ, family as u32, skip, 0));
            }
            code.extend([answer(NO_SUCH_FAMILY), answer(SECCOMP_RET_ALLOW)]);
            code
        }
    }
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(comparison: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | comparison | BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

fn answer(value: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with the program.
    fn run(program: &[sock_filter], architecture: u32, number: u32, argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let taken = match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = match step.k {
                        NUMBER => number,
                        ARCHITECTURE_OFFSET => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("load of {other}"),
                    };
                    continue;
                }
                code if code == BPF_RET | BPF_K => return step.k,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => value == step.k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => value >= step.k,
                code if code == BPF_JMP | BPF_JSET | BPF_K => value & step.k != 0,
                other => panic!("code {other}"),
            };
            at += usize::from(if taken { step.jt } else { step.jf });
        }
    }

    #[test]
    fn every_number_has_its_verdict() {
        let program = program();
        for number in 0..1000 {
            let expected = if REFUSED.contains(&c_long::from(number)) {
                REFUSE
            } else if ABSENT.contains(&c_long::from(number)) {
                NOT_THERE
            } else {
                SECCOMP_RET_ALLOW
            };
            // An argument that is an allowed family and no namespace flag.
            let argument = libc::AF_INET as u32;
            assert_eq!(run(&program, ARCHITECTURE, number as u32, argument), expected, "number {number}");
        }
    }

    #[test]
    fn clone_may_make_threads_but_no_namespaces() {
        let program = program();
        let clone = |flags: i32| run(&program, ARCHITECTURE, libc::SYS_clone as u32, flags as u32);
        assert_eq!(clone(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND), SECCOMP_RET_ALLOW);
        assert_eq!(clone(libc::SIGCHLD), SECCOMP_RET_ALLOW);
        assert_eq!(clone(libc::CLONE_NEWUSER | libc::SIGCHLD), REFUSE);
        assert_eq!(clone(libc::CLONE_NEWNET), REFUSE);
    }

    #[test]
    fn sockets_of_other_families_and_other_architectures_do_not_exist() {
        let program = program();
        let socket = |family: i32| run(&program, ARCHITECTURE, libc::SYS_socket as u32, family as u32);
        assert_eq!(socket(libc::AF_UNIX), SECCOMP_RET_ALLOW);
        assert_eq!(socket(libc::AF_NETLINK), SECCOMP_RET_ALLOW);
        assert_eq!(socket(libc::AF_VSOCK), NO_SUCH_FAMILY);
        assert_eq!(socket(libc::AF_PACKET), NO_SUCH_FAMILY);
        assert_eq!(run(&program, 0x4000_0003, 1, 0), NOT_THERE);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&program, ARCHITECTURE, 0x4000_0001, 0), NOT_THERE);
    }
}
