//! What a process does to become a program in a sandbox that it was not born in: a list of system calls, drawn up here and
//! carried out by whoever was forked from a [`crate::Zygote`].
//!
//! The steps are those that init and the programs which it starts take (see `init`), in the same order of powers: first
//! what needs them, then they go, and the filter comes last. Must not make the calls.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, RawFd},
};

use libc::{c_int, c_long};

use crate::{
    error::Step,
    landlock,
    launch::{Errand, Launch, Users},
    syscall,
};

/// Where a child finds what came with its order; see [`Entry::descriptors`].
const FIRST_DESCRIPTOR: RawFd = 100;

/// By which the child says that it is done. The first of all.
const REPLY: RawFd = FIRST_DESCRIPTOR;

/// The second: the process whose namespaces are those of the sandbox.
const INIT: RawFd = FIRST_DESCRIPTOR + 1;

/// So many come with an order at most.
const DESCRIPTORS: usize = 64;

/// Above them, for use on the way.
const RULES: RawFd = FIRST_DESCRIPTOR + DESCRIPTORS as RawFd;
const PARENT: RawFd = RULES + 1;

/// An argument that stands for the result of the call before.
const LAST_RESULT: u64 = 0x7a79_676f_7465_0001;

/// Number and arguments of a call.
const CALL_WORDS: usize = 7;

const WORD: usize = size_of::<u64>();

/// Calls, and the memory that they point to.
pub(crate) struct Entry {
    calls: Vec<[u64; CALL_WORDS]>,
    steps: Vec<Step>,
    memory: Vec<u8>,
    /// Where that memory will be.
    address: u64,
    descriptors: Vec<RawFd>,
    /// Among the descriptors, the control group to be born in.
    group: Option<usize>,
}

impl Entry {
    /// For the program of `errand` in the sandbox that `launch` is for, into whose tree a child is born, and into `group`.
    /// `init` is its first process, `control` of `launch` the pipe by which the child answers, and `address` where there is
    /// memory for the calls. `None` if something is wanted that only init can.
    pub(crate) fn new(
        launch: &Launch,
        init: RawFd,
        group: Option<RawFd>,
        errand: &Errand,
        address: u64,
    ) -> Option<Self> {
        let mut entry = Self {
            calls: Vec::new(),
            steps: Vec::new(),
            memory: Vec::new(),
            address,
            descriptors: vec![launch.control.as_raw_fd(), init],
            group: None,
        };
        entry.group = group.map(|group| (entry.along(group) - FIRST_DESCRIPTOR) as usize);
        entry.enter(launch);
        entry.drop_privileges(launch)?;
        entry.restrict_files(launch)?;
        entry.arrange_descriptors(errand)?;
        entry.load_filter(launch);
        (entry.descriptors.len() <= DESCRIPTORS).then_some(entry)
    }

    /// What is to be sent along, in this order.
    pub(crate) fn descriptors(&self) -> &[RawFd] {
        &self.descriptors
    }

    /// How much memory it needs.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.len()
    }

    /// What failed, as it is told: the first call as -2, and so on downwards.
    pub(crate) fn step(&self, told: i32) -> Step {
        let call = usize::try_from(-2 - told).ok();
        call.and_then(|call| self.steps.get(call)).copied().unwrap_or(Step::Clone)
    }

    /// The order as a child reads it: three words (number of calls, bytes of memory, place of the control group to be born in),
    /// the calls, the memory.
    pub(crate) fn message(&self) -> Vec<u8> {
        let group = self.group.map_or(u64::MAX, |place| place as u64);
        let header = [self.calls.len() as u64, self.memory.len() as u64, group];
        let words = header.iter().chain(self.calls.iter().flatten());
        words.flat_map(|word| word.to_ne_bytes()).chain(self.memory.iter().copied()).collect()
    }

    fn enter(&mut self, launch: &Launch) {
        let zero = self.place(b"0");
        for &group in &launch.groups {
            let group = self.along(group);
            self.call(Step::JoinControlGroup, libc::SYS_write, &[group as u64, zero, 1]);
        }
        let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        self.call(Step::MountNamespace, libc::SYS_setns, &[INIT as u64, namespaces as u64]);
        for (resource, limit) in &launch.limits {
            self.limit(*resource, limit);
        }
    }

    /// Becomes the unprivileged user, in the sandbox's user namespace, without any capability, in a session of its own.
    fn drop_privileges(&mut self, launch: &Launch) -> Option<()> {
        let (uid, gid) = launch.identity?;
        let (uid, gid) = match launch.users {
            Users::Host => {
                self.drop_bounding_set();
                self.call(Step::Identity, libc::SYS_setgroups, &[0, 0]);
                (uid, gid)
            }
            Users::Join { namespace, uid, gid } => {
                self.call(Step::Identity, libc::SYS_setgroups, &[0, 0]);
                let namespace = self.along(namespace);
                self.call(
                    Step::UserNamespace,
                    libc::SYS_setns,
                    &[namespace as u64, libc::CLONE_NEWUSER as u64],
                );
                self.drop_bounding_set();
                (uid, gid)
            }
            Users::Make(_) => return None,
        };
        self.call(Step::Identity, libc::SYS_setresgid, &[gid.into(); 3]);
        self.call(Step::Identity, libc::SYS_setresuid, &[uid.into(); 3]);
        self.control_process(Step::Capabilities, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64);
        // Header of version 3, and nothing in any set.
        let header = self.place(&[0x2008_0522_u32, 0].map(u32::to_ne_bytes).concat());
        let none = self.place(&[0; 24]);
        self.call(Step::Capabilities, libc::SYS_capset, &[header, none]);
        if let Some(limit) = &launch.processes {
            self.limit(libc::RLIMIT_NPROC, limit);
        }
        self.control_process(Step::Capabilities, libc::PR_SET_NO_NEW_PRIVS, 1);
        // Changing the user has taken this away, which exec would give back.
        self.control_process(Step::Init, libc::PR_SET_DUMPABLE, 1);
        self.call(Step::Init, libc::SYS_setsid, &[]);
        if let Some(freezer) = launch.freezer {
            let zero = self.place(b"0");
            let freezer = self.along(freezer);
            self.call(Step::JoinFreezer, libc::SYS_write, &[freezer as u64, zero, 1]);
        }
        Some(())
    }

    /// Puts the given descriptors at their numbers, and closes all others but the one for the answer.
    fn arrange_descriptors(&mut self, errand: &Errand) -> Option<()> {
        let mut kept: Vec<RawFd> = errand.given().map(|(_, target)| target).chain([REPLY]).collect();
        if kept.iter().any(|target| !(0..=REPLY).contains(target)) {
            return None;
        }
        for (source, target) in errand.given() {
            let source = self.along(source);
            self.call(Step::Descriptors, libc::SYS_dup3, &[source as u64, target as u64, 0]);
        }
        let directory = self.text(&errand.directory);
        self.call(Step::Directory, libc::SYS_chdir, &[directory]);
        kept.sort_unstable();
        kept.dedup();
        let mut first = 0;
        for kept in kept {
            if first < kept {
                self.call(Step::Descriptors, libc::SYS_close_range, &[first as u64, kept as u64 - 1, 0]);
            }
            first = kept + 1;
        }
        self.call(Step::Descriptors, libc::SYS_close_range, &[first as u64, u32::MAX.into(), 0]);
        Some(())
    }

    /// Leaves descriptors open.
    fn restrict_files(&mut self, launch: &Launch) -> Option<()> {
        if let Some(rules) = &launch.rules
            && let Some(ruleset) = landlock::ruleset()
        {
            let structure = self.place(&ruleset.bytes());
            let size = ruleset.size() as u64;
            self.call(Step::Filter, landlock::CREATE_RULESET, &[structure, size, 0]);
            self.keep_result(RULES);
            for path in rules.directories()? {
                let path = self.text(path);
                let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
                self.call(Step::Filter, libc::SYS_openat, &[libc::AT_FDCWD as u64, path, flags as u64]);
                self.keep_result(PARENT);
                let beneath = self.place(&landlock::beneath(PARENT));
                let rule = [RULES as u64, landlock::PATH_BENEATH.into(), beneath, 0];
                self.call(Step::Filter, landlock::ADD_RULE, &rule);
            }
            self.call(Step::Filter, landlock::RESTRICT_SELF, &[RULES as u64, 0]);
        }
        Some(())
    }

    fn load_filter(&mut self, launch: &Launch) {
        if !launch.filter.is_empty() {
            let filter: Vec<u8> = launch
                .filter
                .iter()
                .flat_map(|instruction| {
                    let libc::sock_filter { code, jt, jf, k } = *instruction;
                    let [low, high] = code.to_ne_bytes();
                    let [a, b, c, d] = k.to_ne_bytes();
                    [low, high, jt, jf, a, b, c, d]
                })
                .collect();
            let filter = self.place(&filter);
            // A count, and behind it, aligned, the pointer.
            let program = [(launch.filter.len() as u64).to_le_bytes(), filter.to_le_bytes()].concat();
            let program = self.place(&program);
            let mode = libc::SECCOMP_SET_MODE_FILTER.into();
            self.call(Step::Filter, libc::SYS_seccomp, &[mode, 0, program]);
        }
    }

    fn drop_bounding_set(&mut self) {
        let known = (0..64).take_while(|&capability| syscall::knows_capability(capability));
        for capability in known {
            self.control_process(Step::Capabilities, libc::PR_CAPBSET_DROP, capability);
        }
    }

    fn limit(&mut self, resource: crate::launch::Resource, limit: &libc::rlimit) {
        let limit = self.place(&[limit.rlim_cur, limit.rlim_max].map(u64::to_ne_bytes).concat());
        self.call(Step::Limits, libc::SYS_prlimit64, &[0, resource.into(), limit, 0]);
    }

    fn control_process(&mut self, step: Step, option: c_int, value: u64) {
        self.call(step, libc::SYS_prctl, &[option as u64, value, 0, 0, 0]);
    }

    /// Moves the descriptor that the last call has made.
    fn keep_result(&mut self, target: RawFd) {
        let flags = libc::O_CLOEXEC as u64;
        self.call(Step::Filter, libc::SYS_dup3, &[LAST_RESULT, target as u64, flags]);
    }

    fn call(&mut self, step: Step, number: c_long, arguments: &[u64]) {
        let mut call = [0; CALL_WORDS];
        call[0] = number as u64;
        call[1..=arguments.len()].copy_from_slice(arguments);
        self.calls.push(call);
        self.steps.push(step);
    }

    /// Sends a descriptor along; its number in the child.
    fn along(&mut self, descriptor: RawFd) -> RawFd {
        self.descriptors.push(descriptor);
        FIRST_DESCRIPTOR + self.descriptors.len() as RawFd - 1
    }

    /// Puts something into memory; where it will be.
    fn place(&mut self, bytes: &[u8]) -> u64 {
        let next = self.address + self.memory.len() as u64;
        let aligned = next.next_multiple_of(WORD as u64);
        self.memory.resize(self.memory.len() + (aligned - next) as usize, 0);
        self.memory.extend_from_slice(bytes);
        aligned
    }

    fn text(&mut self, text: &CStr) -> u64 {
        self.place(text.to_bytes_with_nul())
    }
}
