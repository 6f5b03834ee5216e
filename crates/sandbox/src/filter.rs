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
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
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
const ABSENT: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    LISTMOUNT,
    LISTNS,
    LSM_GET_SELF_ATTR,
    LSM_LIST_MODULES,
    LSM_SET_SELF_ATTR,
    STATMOUNT,
];

// Younger than our C library's names for them. New calls have the same numbers on all architectures.
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
const LSM_GET_SELF_ATTR: c_long = 459;
const LSM_SET_SELF_ATTR: c_long = 460;
const LSM_LIST_MODULES: c_long = 461;
const OPEN_TREE_ATTR: c_long = 467;
const LISTNS: c_long = 470;

/// Protocols of internet sockets. For any other, the kernel would load a module that nobody here has needed before.
const PROTOCOLS: &[i32] =
    &[0, libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6, libc::IPPROTO_MPTCP, libc::IPPROTO_TCP, libc::IPPROTO_UDP];

/// What `personality` may be: this machine's, or a question. The others switch protections off.
const PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, u32::MAX];

/// Requests to a terminal that type for whoever sits at it. There should be none, but a caller may hand one in.
const TERMINAL_REQUESTS: &[u32] = &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

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
const NO_SUCH_PROTOCOL: u32 = SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32;

// Offsets in `struct seccomp_data`; both architectures are little-endian, so an argument's low half comes first.
const NUMBER: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;
const THIRD_ARGUMENT: u32 = 32;

/// What happens to a range of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Return(u32),
    Clone,
    Ioctl,
    Personality,
    Socket,
}

/// The program, ready to be loaded.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut special: Vec<(u32, Verdict)> = Vec::new();
    special.extend(REFUSED.iter().map(|&number| (number as u32, Verdict::Return(REFUSE))));
    special.extend(ABSENT.iter().map(|&number| (number as u32, Verdict::Return(NOT_THERE))));
    special.push((libc::SYS_clone as u32, Verdict::Clone));
    special.push((libc::SYS_ioctl as u32, Verdict::Ioctl));
    special.push((libc::SYS_personality as u32, Verdict::Personality));
    special.push((libc::SYS_socket as u32, Verdict::Socket));
    special.push((libc::SYS_socketpair as u32, Verdict::Socket));
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
        // The kernel looks at the lower half of all these arguments, and so do we.
        Verdict::Clone => vec![
            load(FIRST_ARGUMENT),
            jump(BPF_JSET, NAMESPACES as u32, 0, 1),
            answer(REFUSE),
            answer(SECCOMP_RET_ALLOW),
        ],
        Verdict::Ioctl => one_of(SECOND_ARGUMENT, TERMINAL_REQUESTS, REFUSE, SECCOMP_RET_ALLOW),
        Verdict::Personality => one_of(FIRST_ARGUMENT, PERSONALITIES, SECCOMP_RET_ALLOW, REFUSE),
        Verdict::Socket => socket(),
    }
}

/// Whether an argument is one of these, and what is answered then and otherwise.
fn one_of(argument: u32, values: &[u32], then: u32, otherwise: u32) -> Vec<sock_filter> {
    let mut code = vec![load(argument)];
    for (index, &value) in values.iter().enumerate() {
        // Over the remaining comparisons and the other answer.
        code.push(jump(BPF_JEQ, value, (values.len() - index) as u8, 0));
    }
    code.extend([answer(otherwise), answer(then)]);
    code
}

/// Of the families that a function needs. The others (vsock, packet, crypto, …) reach the host or much kernel code that is
/// rarely used, and know no network namespace.
fn socket() -> Vec<sock_filter> {
    let internet: Vec<u32> = PROTOCOLS.iter().map(|&protocol| protocol as u32).collect();
    let internet = one_of(THIRD_ARGUMENT, &internet, SECCOMP_RET_ALLOW, NO_SUCH_PROTOCOL);
    // Interfaces and routes, which everyone may ask for; the other protocols talk to parts of the kernel that need not
    // hear from functions.
    let netlink = one_of(THIRD_ARGUMENT, &[libc::NETLINK_ROUTE as u32], SECCOMP_RET_ALLOW, NO_SUCH_PROTOCOL);
    let local = vec![answer(SECCOMP_RET_ALLOW)];
    let mut code = vec![load(FIRST_ARGUMENT)];
    for (families, then) in [
        (&[libc::AF_UNIX][..], local),
        (&[libc::AF_INET, libc::AF_INET6], internet),
        (&[libc::AF_NETLINK], netlink),
    ] {
        for (index, &family) in families.iter().enumerate() {
            let to_answer = (families.len() - index - 1) as u8;
            // The last one that is not equal either goes on behind the answer.
            let behind = if to_answer == 0 { then.len() as u8 } else { 0 };
            code.push(jump(BPF_JEQ, family as u32, to_answer, behind));
        }
        code.extend(then);
    }
    code.push(answer(NO_SUCH_FAMILY));
    code
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
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let taken = match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = match step.k {
                        NUMBER => number,
                        ARCHITECTURE_OFFSET => architecture,
                        FIRST_ARGUMENT => arguments[0],
                        SECOND_ARGUMENT => arguments[1],
                        THIRD_ARGUMENT => arguments[2],
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

    fn answer_to(number: c_long, arguments: [u32; 3]) -> u32 {
        run(&program(), ARCHITECTURE, number as u32, arguments)
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
            // Arguments with which all are allowed that depend on them.
            let arguments = if [libc::SYS_socket, libc::SYS_socketpair].contains(&c_long::from(number)) {
                [libc::AF_INET as u32, 0, 0]
            } else {
                [0; 3]
            };
            assert_eq!(run(&program, ARCHITECTURE, number as u32, arguments), expected, "number {number}");
        }
    }

    #[test]
    fn clone_may_make_threads_but_no_namespaces() {
        let clone = |flags: i32| answer_to(libc::SYS_clone, [flags as u32, 0, 0]);
        assert_eq!(clone(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND), SECCOMP_RET_ALLOW);
        assert_eq!(clone(libc::SIGCHLD), SECCOMP_RET_ALLOW);
        assert_eq!(clone(libc::CLONE_NEWUSER | libc::SIGCHLD), REFUSE);
        assert_eq!(clone(libc::CLONE_NEWNET), REFUSE);
    }

    #[test]
    fn sockets_are_of_few_families_and_protocols() {
        let socket = |family: i32, protocol: i32| {
            let arguments = [family as u32, libc::SOCK_STREAM as u32, protocol as u32];
            let answer = answer_to(libc::SYS_socket, arguments);
            assert_eq!(answer_to(libc::SYS_socketpair, arguments), answer);
            answer
        };
        assert_eq!(socket(libc::AF_UNIX, 0), SECCOMP_RET_ALLOW);
        for family in [libc::AF_INET, libc::AF_INET6] {
            for protocol in PROTOCOLS {
                assert_eq!(socket(family, *protocol), SECCOMP_RET_ALLOW);
            }
            for protocol in [libc::IPPROTO_SCTP, libc::IPPROTO_DCCP, libc::IPPROTO_UDPLITE, libc::IPPROTO_RAW]
            {
                assert_eq!(socket(family, protocol), NO_SUCH_PROTOCOL);
            }
        }
        assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_ROUTE), SECCOMP_RET_ALLOW);
        assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_NETFILTER), NO_SUCH_PROTOCOL);
        assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_GENERIC), NO_SUCH_PROTOCOL);
        for family in [libc::AF_VSOCK, libc::AF_PACKET, libc::AF_ALG, libc::AF_TIPC, libc::AF_UNSPEC] {
            assert_eq!(socket(family, 0), NO_SUCH_FAMILY);
        }
    }

    #[test]
    fn protections_stay_on_and_terminals_are_left_alone() {
        let personality = |persona: u32| answer_to(libc::SYS_personality, [persona, 0, 0]);
        assert_eq!(personality(u32::MAX), SECCOMP_RET_ALLOW);
        assert_eq!(personality(0), SECCOMP_RET_ALLOW);
        assert_eq!(personality(libc::ADDR_NO_RANDOMIZE as u32), REFUSE);
        assert_eq!(personality(libc::READ_IMPLIES_EXEC as u32), REFUSE);
        let ioctl = |request: libc::Ioctl| answer_to(libc::SYS_ioctl, [1, request as u32, 0]);
        assert_eq!(ioctl(libc::TCGETS), SECCOMP_RET_ALLOW);
        assert_eq!(ioctl(libc::FIONBIO), SECCOMP_RET_ALLOW);
        assert_eq!(ioctl(libc::TIOCSTI), REFUSE);
        assert_eq!(ioctl(libc::TIOCLINUX), REFUSE);
    }

    #[test]
    fn other_architectures_do_not_exist() {
        let program = program();
        assert_eq!(run(&program, 0x4000_0003, 1, [0; 3]), NOT_THERE);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&program, ARCHITECTURE, 0x4000_0001, [0; 3]), NOT_THERE);
    }
}
