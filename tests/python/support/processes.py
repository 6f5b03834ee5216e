"""Processes as /proc shows them: who descends from whom, and who is still there."""

import os
from pathlib import Path


def _stat(pid):
    """The fields of /proc/PID/stat after the name, or None when the process is gone or dead."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rsplit(") ", 1)[1].split()
    return None if fields[0] in "ZX" else fields


def identity(pid):
    """A pid with its start time, since pids are used again."""
    fields = _stat(pid)
    return None if fields is None else (pid, fields[19])


def descendants(pid):
    """Identities of all living processes below `pid`."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            queue.append(child)
            found.append(child)
    return {one for one in map(identity, found) if one}


def children(pid):
    """Those of them that `pid` is the parent of."""
    return {one for one in descendants(pid) if (fields := _stat(one[0])) and int(fields[1]) == pid}


def alive(identities):
    """Those of `identities` that still live."""
    return {one for one in identities if identity(one[0]) == one}


def name(pid):
    """What a process calls itself, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def command_line(pid):
    """The command line of a process, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"
