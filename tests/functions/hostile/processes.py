"""Attempts on processes: to see, signal, trace and outlive others, and to be more than one is."""

import ctypes
import os
import resource
import signal
import subprocess

from attempt import LIBC, Refused, anything, attempt, call, each
from files import parent_of

PTRACE_TRACEME = 0
PTRACE_SEIZE = 0x4206
NEW_NAMESPACES = {
    "user": 0x10000000, "mount": 0x00020000, "pid": 0x20000000, "network": 0x40000000, "ipc": 0x08000000,
    "hostname": 0x04000000, "groups": 0x02000000, "time": 0x00000080,
}  # fmt: skip


def family(event):
    """The function's own processes, with those above them as far as they can be seen."""
    known, pid = {os.getpid(), event["pid"]}, event["pid"]
    while pid > 1:
        pid = parent_of(pid)
        known.add(pid)
    return known


def strangers(event):
    known = family(event)
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in known]


@attempt
def see_others(event):
    """processes of others"""
    return anything(strangers(event)[:10])


@attempt
def signal_others(event):
    """a signal (0, which only asks) to processes of others"""
    return each([*strangers(event), event["service_pid"]], lambda pid: os.kill(pid, 0) or "may")


@attempt
def hold_others(event):
    """a descriptor of another's process, to signal it or take its files"""
    others = [*strangers(event)[:20], event["service_pid"]]
    return each(others, lambda pid: os.close(os.pidfd_open(pid)) or "held")


@attempt
def trace_init(event):
    """tracing init"""
    return call("ptrace", PTRACE_SEIZE, parent_of(event["pid"]), 0, 0)


@attempt
def trace_child(event):
    """tracing a child: AWS blocks debugging calls"""
    return call("ptrace", PTRACE_TRACEME, 0, 0, 0)


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@attempt
def read_memory_of_init(event):
    """memory of init, by system call"""
    buffer = ctypes.create_string_buffer(8)
    here = Vector(ctypes.addressof(buffer), 8)
    return call("process_vm_readv", parent_of(event["pid"]), ctypes.byref(here), 1, ctypes.byref(here), 1, 0)


@attempt
def write_own_memory_by_call(event):
    """memory of a process, by system call"""
    buffer = ctypes.create_string_buffer(8)
    here = Vector(ctypes.addressof(buffer), 8)
    return call("process_vm_writev", os.getpid(), ctypes.byref(here), 1, ctypes.byref(here), 1, 0)


@attempt
def read_memory_of_others(event):
    """memory of processes of others, by file and by system call"""

    def read(pid):
        with open(f"/proc/{pid}/maps") as file:
            start = int(file.readline().split("-")[0], 16)
        with open(f"/proc/{pid}/mem", "rb") as file:
            file.seek(start)
            return file.read(8)

    return each([*strangers(event), event["service_pid"]], read)


@attempt
def take_descriptor_of_init(event):
    """a descriptor of init's"""
    init = os.pidfd_open(parent_of(event["pid"]))
    return each(range(12), lambda number: call("pidfd_getfd", init, number, 0))


@attempt
def compare_with_init(event):
    """what init shares with whom"""
    return call("kcmp", parent_of(event["pid"]), os.getpid(), 2, 0, 0)


@attempt
def new_namespaces(event):
    """namespaces of one's own, where one would be root"""

    def by_unshare(kind):
        child = os.fork()
        if child == 0:
            try:
                call("unshare", NEW_NAMESPACES[kind])
            except OSError:
                os._exit(1)
            os._exit(0)
        return anything(os.waitpid(child, 0)[1] == 0)

    return each(NEW_NAMESPACES, by_unshare)


@attempt
def new_namespace_by_clone(event):
    """a process in a user namespace of its own"""
    pid = call("clone", NEW_NAMESPACES["user"] | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "made"


@attempt
def new_namespace_by_clone3(event):
    """the same by the newer call, which hides its flags from filters"""
    arguments = (ctypes.c_uint64 * 11)(NEW_NAMESPACES["user"], 0, 0, 0, signal.SIGCHLD)
    pid = call("clone3", arguments, ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "made"


@attempt
def new_namespace_by_program(event):
    """the same with util-linux"""
    made = subprocess.run(
        ["unshare", "--user", "--map-root-user", "id", "-u"], capture_output=True, text=True
    )
    return anything(made.stdout)


@attempt
def enter_namespaces(event):
    """namespaces of others"""

    def enter(pid):
        with open(f"/proc/{pid}/ns/net") as namespace:
            return call("setns", namespace.fileno(), 0)

    return each([parent_of(event["pid"]), os.getpid(), *strangers(event)[:20], event["service_pid"]], enter)


@attempt
def become_root(event):
    """another user or group, root first"""
    trials = {
        "setuid": lambda: os.setuid(0),
        "setgid": lambda: os.setgid(0),
        "setgroups": lambda: os.setgroups([0]),
        "setresuid": lambda: os.setresuid(0, 0, 0),
        "another": lambda: os.setuid(1000),
        "keep": lambda: anything(os.getuid() == 0 or os.geteuid() == 0),
    }
    return each(trials, lambda name: trials[name]() or "done")


@attempt
def capabilities(event):
    """capabilities, also those that an exec could bring"""
    with open("/proc/self/status") as file:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    sets = {name: lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    return anything({name: value for name, value in sets.items() if int(value, 16)})


@attempt
def new_privileges(event):
    """privileges by executing something"""
    with open("/proc/self/status") as file:
        return anything("NoNewPrivs:\t1\n" not in file.read())


@attempt
def raise_limits(event):
    """limits above what was given"""

    def lift(name):
        kind = getattr(resource, name)
        soft, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY:
            raise Refused("no limit")
        resource.setrlimit(kind, (soft, hard + 1))
        return hard + 1

    return each(["RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE", "RLIMIT_MEMLOCK"], lift)


@attempt
def limits_of_others(event):
    """limits of processes of others"""
    others = [*strangers(event)[:20], event["service_pid"]]
    return each(others, lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE))


@attempt
def priority(event):
    """to run before everyone else"""
    trials = {
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99)),
        "round robin": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    }
    return each(trials, lambda name: trials[name]() or "done")


@attempt
def affinity_of_others(event):
    """the processors on which others may run"""
    return each(
        [event["service_pid"], *strangers(event)[:20]],
        lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)) or "set",
    )


@attempt
def terminal(event):
    """input into a terminal of the host's"""
    return os.close(os.open("/dev/tty", os.O_RDWR)) or "opened"


@attempt
def lock_memory(event):
    """memory that the machine cannot take back"""
    size = 16 << 20
    buffer = ctypes.create_string_buffer(size)
    if LIBC.mlock(buffer, ctypes.c_size_t(size)) != 0:
        raise OSError(ctypes.get_errno(), "mlock")
    return size
