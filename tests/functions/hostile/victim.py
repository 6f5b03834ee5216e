"""The other side: an environment that holds things which nobody else should get at."""

import contextlib
import ctypes
import mmap
import os
import socket

import attempt

HELD = {}

# For System V shared memory, which has numbers for names.
KEY = 0x48C0FFEE
IPC_CREAT = 0o1000


def settle(event, context):
    """Keeps a secret in its environment, memory, files, shared memory and sockets; tells where."""
    secret = os.environ["SECRET"]
    HELD["calls"] = 0
    with open("/tmp/secret", "w") as file:
        file.write(secret)
    with open("/dev/shm/secret", "w+b") as file:
        file.truncate(4096)
        HELD["shared"] = mmap.mmap(file.fileno(), 4096)
        HELD["shared"][: len(secret)] = secret.encode()
    segment = attempt.call("shmget", KEY, 4096, IPC_CREAT | 0o666)
    attempt.LIBC.shmat.restype = ctypes.c_void_p
    HELD["segment"] = attempt.LIBC.shmat(segment, None, 0)
    with contextlib.suppress(OSError):
        HELD["queue"] = attempt.call("mq_open", "secret", os.O_CREAT | os.O_RDWR, 0o666, None)
    HELD["abstract"] = socket.socket(socket.AF_UNIX)
    HELD["abstract"].bind("\0" + event["abstract"])
    HELD["abstract"].listen()
    HELD["tcp"] = socket.create_server(("127.0.0.1", 0))
    return {
        "pid": os.getpid(),
        "api": os.environ["AWS_LAMBDA_RUNTIME_API"],
        "port": HELD["tcp"].getsockname()[1],
        "stream": context.log_stream_name,
    }


def look(event):
    """Whether all is as it was left: the same process, and what it holds."""
    HELD["calls"] += 1
    secret = os.environ["SECRET"]
    with open("/tmp/secret") as file:
        untouched = file.read() == secret and bytes(HELD["shared"][: len(secret)]) == secret.encode()
    return {"pid": os.getpid(), "calls": HELD["calls"], "untouched": untouched}
