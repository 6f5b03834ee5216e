"""What a process uses, and what a service has around it: memory, descriptors, control groups, namespaces, sockets."""

import os
import re
from pathlib import Path

from . import processes

NAMESPACE = re.compile(r"(net|mnt|user|pid|ipc|uts):\[")


def memory(pid):
    """Resident memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def forget_peak(pid):
    """From here on `peak` begins anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid):
    """Most resident memory, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def cpu_ticks(pid):
    """Time that it has spent on processors, in ticks of the kernel's."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def inits(pid):
    """Of a service's process trees that are set up; other children of it are short-lived."""
    return {child for child in children(pid) if processes.name(child) == "init"}


def ready_sandboxes(pid):
    """Those of the inits that wait for environments to come, with or without an interpreter that waits as well."""

    def may_wait(child):
        # A copy of init is not the program yet. Where no environment starts, that will be an interpreter that waits.
        return processes.name(child) == "init" or waits(child)

    return {init for init in inits(pid) if all(map(may_wait, children(init)))}


def waiting_interpreters(pid):
    """Those below a service that have no function yet."""
    return [child for init in inits(pid) for child in children(init) if waits(child)]


def waits(pid):
    """Whether it is an interpreter that has no function yet."""
    try:
        options = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # One that is still starting may not be where functions find it.
        sleeps = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].startswith("S")
        # One that has its function is in that function's directory; who waits has never left the root.
        return sleeps and b"--await-assignment" in options and os.readlink(f"/proc/{pid}/cwd") == "/"
    except OSError:
        return False


def children(pid):
    """Processes that any thread of this one has started."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return {int(child) for text in texts for child in text.split()}


def descriptors(pid):
    """What its open descriptors lead to, by number; nothing if it has ended."""
    found = {}
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for name in names:
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            pass  # Closed meanwhile.
    return found


def control_groups(pid):
    """Directories of the control groups, in all hierarchies, that this process is in and that are Hothouse's."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "/hothouse/" in path:
            for hierarchy in hierarchies(controllers):
                found.add(hierarchy + path)
    return found


def hierarchies(controllers):
    """Where a hierarchy is mounted; the second version's has no controllers in its name."""
    wanted = set(controllers.split(",")) - {""}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if (kind == "cgroup2" and not wanted) or (
            kind == "cgroup" and wanted and wanted <= set(options.split(","))
        ):
            yield point


def namespaces(pid):
    """Namespaces that this process is in, without those that the tests are in too."""
    return {link for link in links(f"/proc/{pid}/ns") if link not in links("/proc/self/ns")}


def links(folder):
    found = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            found.add(os.readlink(f"{folder}/{name}"))
        except OSError:
            pass
    return found


def namespaces_of_orphans():
    """Namespaces that a process is in or holds whose parent has ended. Their numbers are used again, so those that
    somebody else has who is not alone in the world tell nothing."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and is_orphan(name):
            found |= links(f"/proc/{name}/ns") | set(filter(NAMESPACE.match, links(f"/proc/{name}/fd")))
    return found


def is_orphan(pid):
    """Adopted by the machine's first process, and not another service that was started so."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return status[1] == "1" and b"\0start\0" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def sockets(pid):
    """Inodes of its sockets."""
    return {match[1] for link in descriptors(pid).values() if (match := re.match(r"socket:\[(\d+)\]", link))}


def sockets_of_the_host():
    """Inodes of the sockets that the host's network knows. One that waits for its end has none."""
    found = set()
    for kind, column in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("unix", 6)):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[column] != "0":
                found.add(fields[column])
    return found


def mounts():
    """The host's mounts."""
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def files(folder):
    """Everything below a folder."""
    return {str(path) for path in Path(folder).rglob("*")}


def with_variable(name, value):
    """Living processes that have this in their environment."""
    needle = f"{name}={value}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and needle in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                found.add(processes.identity(int(entry)))
        except OSError:
            pass
    return found - {None}
