"""A client that was started before it is known for which function: it waits for its assignment.

Must not do anything before the assignment that a function could tell from a start of its own.
"""

import posix
import sys
import time

# The Runtime API's socket. The assignment comes before any HTTP is spoken on it: four bytes that say its length, and
# the whole environment, each variable ended by a zero byte.
DESCRIPTOR = 3

# What most functions import first. AWS's client has imported all of it before any function's code, too.
COMMON = ("os", "json", "datetime")

# Modules that were imported ahead, until it is known that the function may have them.
ahead = set()


def hide_option():
    """Removes the option that stands for all this, so that the arguments are those of any other process."""
    sys.argv.pop()
    # Since Python 3.10.
    getattr(sys, "orig_argv", [None]).pop()


def import_ahead():
    """Imports what most functions will."""
    before = set(sys.modules)
    for name in COMMON:
        __import__(name)
    ahead.update(set(sys.modules) - before)


def give_way(names):
    """Forgets what was imported ahead if a directory with these names, searched before the library, may have its own."""
    if any(name.partition(".")[0] in ahead or name.endswith(".pth") for name in names):
        # All of it: what the function does not have was imported by what it has, or imports it.
        for name in ahead:
            sys.modules.pop(name, None)
        ahead.clear()


def receive():
    """Waits for the assignment and takes it on; ends the process if there will be none."""
    length = int.from_bytes(read_exactly(4), "big")
    take_on(read_exactly(length))


def read_exactly(length):
    pieces = []
    while length > 0:
        piece = posix.read(DESCRIPTOR, length)
        if not piece:
            posix._exit(0)
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def take_on(assignment):
    """Replaces the environment, and with it the working directory and the time zone."""
    # `os.environ` has this very dictionary for its data, whenever `os` is imported.
    environment = posix.environ
    zone = environment.get(b"TZ")
    # The interpreter sets this one for itself and its children where the locale is not installed (PEP 538).
    locale = environment.get(b"LC_CTYPE")
    for name in environment:
        posix.unsetenv(name)
    environment.clear()
    if locale is not None:
        environment[b"LC_CTYPE"] = locale
    for variable in assignment.split(b"\0")[:-1]:
        name, _, value = variable.partition(b"=")
        environment[name] = value
    for name, value in environment.items():
        posix.putenv(name, value)
    if environment.get(b"TZ") != zone:
        time.tzset()
    posix.chdir(environment.get(b"LAMBDA_TASK_ROOT", b"/var/task"))
