"""Attempts on files: those of the host, of the service, of other functions, and of the kernel."""

import contextlib
import ctypes
import os
import stat
import subprocess
import time

from attempt import Refused, anything, attempt, each

# Where a program can write on most machines, and where none should.
PLACES = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
    "/sbin", "/srv", "/sys", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/var", "/var/lang", "/var/lib",
    "/var/log", "/var/runtime", "/var/task", "/var/tmp",
]  # fmt: skip

HOME_OF_ROOT = os.path.join("/", "root")

DEVICES = [
    "console", "fuse", "hwrng", "kmem", "kmsg", "kvm", "loop-control", "mapper/control", "mem", "net/tun", "nvme0n1",
    "port", "ptmx", "sda", "snapshot", "tty", "tty0", "uinput", "userfaultfd", "vda", "vhost-net", "vhost-vsock",
    "vsock", "xvda",
]  # fmt: skip


def first_bytes(path, count=64):
    with open(path, "rb") as file:
        return anything(file.read(count))


@attempt
def read_shadow(event):
    """/etc/shadow and its like, straight and around corners"""
    ways = [
        "/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/sudoers", "/proc/1/root/etc/shadow",
        "/proc/self/root/etc/shadow", "/var/task/../../../../etc/shadow", "/proc/self/cwd/../../../etc/shadow",
        "/dev/fd/../root/etc/shadow", "/proc/self/task/1/root/etc/shadow",
    ]  # fmt: skip
    return each(ways, first_bytes)


@attempt
def read_what_the_host_keeps(event):
    """homes, keys and what programs of the host keep"""
    ways = [
        *(f"{HOME_OF_ROOT}/.{name}" for name in ("bashrc", "profile", "ssh", "aws", "cache", "config")),
        "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private", "/etc/kubernetes", "/run/secrets", "/run/systemd",
        "/var/lib", "/var/log", "/home",
    ]  # fmt: skip
    return each(ways, lambda path: anything(os.listdir(path)) if os.path.isdir(path) else first_bytes(path))


@attempt
def follow_links(event):
    """links in /tmp that lead outside"""

    def through_link(target):
        path = f"/tmp/link-{os.getpid()}"
        os.symlink(target, path)
        try:
            return first_bytes(path) if not os.path.isdir(path) else anything(os.listdir(path))
        finally:
            os.unlink(path)

    targets = [
        "/etc/shadow",
        "/proc/1/root/etc/shadow",
        "/proc/1/cwd/secret",
        f"{HOME_OF_ROOT}/.bashrc",
        "/proc/1/environ",
    ]
    return each([*targets, *event["places"]], through_link)


@attempt
def hard_links(event):
    """a hard link to a file of the host that nobody may write"""
    os.link("/etc/passwd", f"/tmp/hard-{os.getpid()}")
    return "linked"


@attempt
def list_the_service(event):
    """directories of the service: data, temporary files, its binary"""
    return each(event["places"], lambda path: anything(os.listdir(path)))


@attempt
def find_code_of_others(event):
    """the code of another function, anywhere"""
    needle = event["needle"].encode()
    system = ("usr", "lib", "lib64", "bin", "sbin", "proc", "sys")
    tops = [f"/{name}" for name in os.listdir("/") if name not in system]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        tops += [f"/proc/{pid}/root/var/task", f"/proc/{pid}/cwd"]
    deadline = time.monotonic() + 2
    for path in small_files(event["places"] + tops):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if needle in file.read():
                return path
        if time.monotonic() > deadline:
            break
    raise Refused("nothing")


def small_files(tops):
    for top in tops:
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_size < 100_000:
                        yield path


@attempt
def secrets_of_others(event):
    """the secret of another environment or of the service: environments, command lines and memory of processes"""
    needles = [one.encode() for one in event["secrets"]]

    def search(pid):
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if any(needle in text for needle in needles):
                return name
        raise Refused("not there")

    return each([pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != event["pid"]], search)


@attempt
def files_of_others(event):
    """what another environment wrote to its /tmp and its shared memory"""

    def search(path):
        with open(path, "rb") as file:
            text = file.read(1000)
        return anything(any(one.encode() in text for one in event["secrets"]))

    return each(["/tmp/secret", "/dev/shm/secret", "/proc/1/root/tmp/secret", "/var/tmp/secret"], search)


@attempt
def write_outside_tmp(event):
    """a file outside /tmp"""

    def write(place):
        path = os.path.join(place, f"hostile-{os.getpid()}")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        os.unlink(path)
        return "written"

    return each(PLACES, write)


@attempt
def change_code(event):
    """the function's own code: written, renamed, removed, its mode changed"""
    path = "/var/task/hostile.py"
    trials = [
        lambda: os.close(os.open(path, os.O_WRONLY)),
        lambda: os.rename(path, path + ".old"),
        lambda: os.unlink(path),
        lambda: os.chmod(path, 0o777),
        lambda: os.utime(path),
        lambda: os.truncate(path, 0),
    ]
    return each(trials, lambda trial: trial() or "done")


@attempt
def change_programs(event):
    """programs and libraries of the system, and the interpreter by way of /proc/self/exe"""
    paths = [
        "/proc/self/exe",
        "/proc/1/exe",
        "/bin/sh",
        "/usr/bin/env",
        "/etc/passwd",
        "/etc/hosts",
        "/etc/resolv.conf",
    ]
    return each(paths, open_for_writing)


@attempt
def devices(event):
    """devices of the machine"""
    return each(
        [f"/dev/{name}" for name in DEVICES], lambda path: os.close(os.open(path, os.O_RDONLY)) or "opened"
    )


@attempt
def make_devices(event):
    """a device of one's own: the first disks, and the kernel's memory"""

    def make(numbers):
        path = f"/tmp/device-{os.getpid()}"
        os.mknod(path, stat.S_IFBLK | 0o600 if numbers[0] > 1 else stat.S_IFCHR | 0o600, os.makedev(*numbers))
        os.unlink(path)
        return "made"

    return each([(8, 0), (254, 0), (259, 0), (1, 1)], make)


@attempt
def change_the_kernel(event):
    """files through which the machine is changed, opened for writing"""
    paths = [
        "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/randomize_va_space", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register", "/proc/irq/0/smp_affinity",
        "/proc/mtrr", "/proc/acpi/wakeup", "/sys/kernel/uevent_helper", "/sys/power/state",
        "/sys/fs/cgroup/release_agent", "/sys/kernel/mm/transparent_hugepage/enabled",
    ]  # fmt: skip
    return each(paths, open_for_writing)


def open_for_writing(path):
    with open(os.open(path, os.O_WRONLY), "wb", buffering=0) as file:
        # What is hidden behind the null device takes everything.
        return anything(os.fstat(file.fileno()).st_rdev != os.makedev(1, 3) and "opened")


@attempt
def read_the_kernel(event):
    """memory and messages of the kernel, and where it keeps things"""

    def read(path):
        text = first_bytes(path)
        # Addresses that are all zero tell nothing.
        return anything(text if text.strip(b"0 \n") and not text.startswith(b"0" * 16) else b"")

    names = [
        "kcore",
        "kmsg",
        "kallsyms",
        "kpageflags",
        "kpagecount",
        "keys",
        "timer_list",
        "sched_debug",
        "vmallocinfo",
    ]
    return each([f"/proc/{name}" for name in names], read)


@attempt
def sysfs(event):
    """/sys, which tells about the machine and changes it"""
    return each(
        ["/sys/kernel", "/sys/class", "/sys/firmware", "/sys/devices"],
        lambda path: anything(os.listdir(path)),
    )


@attempt
def control_groups(event):
    """its own control group, to lift the memory limit or to leave it"""
    paths = [
        f"{top}/{name}"
        for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/proc/1/root/sys/fs/cgroup/memory")
        for name in ("tasks", "cgroup.procs", "memory.limit_in_bytes", "memory.max", "hothouse")
    ]

    def reach(path):
        return (
            anything(os.listdir(path))
            if os.path.isdir(path)
            else os.close(os.open(path, os.O_WRONLY)) or "opened"
        )

    return each(paths, reach)


@attempt
def inherited_descriptors(event):
    """descriptors of the service that were left open"""
    kinds = {number: target.split(":")[0] for number, target in event["descriptors"].items()}
    # Nothing to read from, the log, and our client's way to the Runtime API. Python may keep the null device open.
    known = {"/dev/null", "pipe", "socket"}
    pipes = {target for target in event["descriptors"].values() if target.startswith("pipe:")}
    sockets = {target for target in event["descriptors"].values() if target.startswith("socket:")}
    strange = {
        number: kind
        for number, kind in kinds.items()
        if kind not in known and not kind.startswith("/var/task")
    }
    return anything(strange or (len(pipes) > 1 or len(sockets) > 1) and event["descriptors"])


@attempt
def init(event):
    """init of the environment, a copy of the service's process: memory, environment, files, name"""
    parent = os.getppid() if os.getpid() == event["pid"] else parent_of(event["pid"])

    def read(name):
        path = f"/proc/{parent}/{name}"
        if name in ("fd", "map_files", "ns"):
            return anything([os.readlink(f"{path}/{one}") for one in os.listdir(path)])
        if name in ("root", "cwd", "exe"):
            return os.readlink(path)
        if name == "mem":
            with open(path, "rb") as file:
                return "opened" if file else ""
        return anything(first_bytes(path).strip(b"\0 \n"))

    names = [
        "environ",
        "mem",
        "maps",
        "root",
        "fd",
        "cwd",
        "exe",
        "cmdline",
        "auxv",
        "stack",
        "syscall",
        "ns",
        "map_files",
    ]
    return each(names, read)


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(") ", 1)[1].split()[1])


@attempt
def set_user_programs(event):
    """programs that belong to root and run as root"""

    def run(path):
        if not os.stat(path).st_mode & stat.S_ISUID:
            raise Refused("does not")
        with subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            # Also of one that has ended already, as long as nobody has waited for it.
            with open(f"/proc/{process.pid}/status") as file:
                users = next(line for line in file if line.startswith("Uid:")).split()[1:]
            process.kill()
        return anything(users[1] == "0" and os.getuid() != 0)

    return each(
        [f"/usr/bin/{name}" for name in ("su", "sudo", "mount", "passwd", "newgrp", "chsh", "gpasswd")], run
    )


@attempt
def own_set_user_program(event):
    """a set-user-id program of one's own making, and file capabilities"""
    path = f"/tmp/program-{os.getpid()}"
    with open("/bin/true", "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    try:
        os.setxattr(path, "security.capability", b"\x01\x00\x00\x02" + b"\xff" * 16)
    finally:
        os.unlink(path)
    return "has capabilities"


@attempt
def program_from_memory(event):
    """a program that is in no file: allowed, since /tmp is there to run programs from as well"""
    memory = os.memfd_create("program")
    with open("/bin/true", "rb") as source:
        os.write(memory, source.read())
    child = os.fork()
    if child == 0:
        os.execv(f"/proc/self/fd/{memory}", ["program"])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@attempt
def protect_from_memory_killer(event):
    """to be the last that is killed for memory"""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "protected"


@attempt
def cross_address_space(event):
    """memory of another process through /proc/PID/mem, its parent's first"""
    parent = parent_of(event["pid"])
    with open(f"/proc/{parent}/mem", "rb+") as file:
        file.seek(ctypes.addressof(ctypes.create_string_buffer(8)))
        return file.read(8)
