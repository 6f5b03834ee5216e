"""Attempts on the kernel itself: calls that no function needs. None would do harm if it were let through."""

import ctypes
import mmap
import os
import platform
import time

from attempt import Refused, anything, attempt, call

EMPTY = ctypes.create_string_buffer(256)
AT_FDCWD = -100


def plain(name, doc, *arguments):
    """An attempt that is one system call."""

    def trial(event):
        return call(name.removeprefix("call_"), *arguments)

    trial.__name__ = f"call_{name}"
    trial.__doc__ = doc
    attempt(trial)


plain("mount", "mounting", "none", "/tmp", "tmpfs", 0, None)
plain("umount2", "unmounting", "/proc", 2)
plain("pivot_root", "another root", "/tmp", "/tmp")
plain("chroot", "another root for oneself", "/tmp")
plain("fsopen", "a file system, by the newer calls", "tmpfs", 0)
plain("open_tree", "a copy of a mount", AT_FDCWD, "/usr", 1)
plain("move_mount", "moving a mount", AT_FDCWD, "/usr", AT_FDCWD, "/tmp", 0)
plain("mount_setattr", "making a mount writable", AT_FDCWD, "/usr", 0, EMPTY, 32)
plain("open_by_handle_at", "a file by its handle, past all directories", AT_FDCWD, EMPTY, 0)
plain("init_module", "a kernel module", EMPTY, 0, "")
plain("finit_module", "a kernel module from a file", 0, "", 0)
plain("delete_module", "a kernel module removed", "none", 0)
plain("kexec_load", "another kernel", 0, 0, None, 0)
plain("reboot", "restarting the machine, without the magic numbers", 0, 0, 0, None)
plain("swapon", "swapping", "/tmp/none", 0)
plain("acct", "accounting", "/tmp/none")
plain("quotactl", "quotas", 0, None, 0, None)
plain("syslog", "the kernel's messages", 3, EMPTY, 256)
plain("bpf", "a program in the kernel", 0, EMPTY, 64)
plain("perf_event_open", "performance counters", EMPTY, 0, -1, -1, 0)
plain("userfaultfd", "handling faults of the kernel", 0)
plain("io_uring_setup", "a ring of system calls", 1, EMPTY)
plain("add_key", "a key in the kernel's ring", "user", "hostile", b"x", 1, -5)
plain("keyctl", "the kernel's key rings", 0, -3, 0)
plain("fanotify_init", "watching all files", 0, 0)
plain("sethostname", "another host name", "hostile", 7)
plain("ioperm", "ports of the machine", 0, 8, 1)
plain("iopl", "all ports of the machine", 3)
plain("modify_ldt", "segments", 0, EMPTY, 16)
plain("name_to_handle_at", "a handle of a file", AT_FDCWD, "/usr", EMPTY, EMPTY, 0)


@attempt
def set_the_time(event):
    """another time (the one that it is)"""
    trials = {
        "settimeofday": lambda: call("settimeofday", (ctypes.c_long * 2)(int(time.time()), 0), None),
        "clock_settime": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        "adjtimex": lambda: call("adjtimex", (ctypes.c_long * 32)(0x2)),
    }
    got = {}
    for name, trial in trials.items():
        try:
            got[name] = trial() or "set"
        except OSError:
            pass
    return anything(got)


@attempt
def other_architecture(event):
    """the kernel's other doors: calls of 32-bit programs, and those of x32"""
    if platform.machine() != "x86_64":
        raise Refused("this machine has none")
    # mov eax, 20 (getpid); int 0x80; ret
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
    return anything(enter() > 0 and "getpid of 32 bits")


@attempt
def x32_calls(event):
    """calls of x32 programs"""
    from attempt import LIBC

    if platform.machine() != "x86_64":
        raise Refused("this machine has none")
    result = LIBC.syscall(ctypes.c_long(0x40000000 + 39))
    if result < 0:
        raise OSError(ctypes.get_errno(), "x32")
    return os.getpid() == result
