"""The zygote: an interpreter that has started, and forks itself into sandboxes that have been made.

It is told what to do in lists of system calls, drawn up by the service; who may do what is decided there alone.
Must not import what a function could use: each child shares what is loaded here.
"""

import posix
import sys

CONTROL = 3
# Descriptors that came with an order are at these numbers in the child, in their order.
FIRST_DESCRIPTOR = 100
# First of them: where the child says that it has carried out everything, or what it could not.
REPLY = FIRST_DESCRIPTOR
# An argument that stands for the result of the call before.
LAST_RESULT = 0x7A79676F74650001
CALL_WORDS = 7
HEADER_WORDS = 3
WORD = 8
MOST_DESCRIPTORS = 64
MOST_BYTES = 1 << 17
MEMORY_BYTES = 1 << 16
NONE = (1 << 64) - 1

CLONE_NEWPID = 0x20000000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17
CLONE_ARGUMENTS_BYTES = 88

# Numbers of system calls, which differ between architectures below this one.
SYS_SETNS = {"x86_64": 308, "aarch64": 268}
SYS_PIDFD_OPEN = 434
SYS_CLONE3 = 435


class Kernel:
    """System calls by number, and memory at a known place for what they point to."""

    def __init__(self):
        import _ctypes

        class Long(_ctypes._SimpleCData):
            _type_ = "l"

        class UnsignedLong(_ctypes._SimpleCData):
            _type_ = "L"

        class Byte(_ctypes._SimpleCData):
            _type_ = "c"

        class Memory(_ctypes.Array):
            _type_ = Byte
            _length_ = MEMORY_BYTES

        class Call(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Long
            _argtypes_ = (UnsignedLong,) * CALL_WORDS

        memory = Memory()
        self.call = Call(_ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall"))
        self.last_error = _ctypes.get_errno
        self.address = _ctypes.addressof(memory)
        self.memory = memory
        self.bytes = memoryview(memory).cast("B")

    def check(self, *words):
        """Makes a call; an OSError if it fails."""
        result = self.call(*words + (0,) * (CALL_WORDS - len(words)))
        if result < 0:
            raise OSError(self.last_error(), "system call failed")
        return result


def fork_into_sandboxes():
    """Serves orders. Returns in each child that was made, when it has become what it was to be."""
    import gc

    loaded = set(sys.modules)
    import _socket

    kernel = Kernel()
    control = _socket.socket(fileno=CONTROL)
    own_tree = kernel.check(SYS_PIDFD_OPEN, posix.getpid(), 0)
    # What is here now stays: to look at it would be to copy it.
    gc.collect()
    gc.freeze()
    if not is_clean():
        posix._exit(1)
    control.send(kernel.address.to_bytes(WORD, "little") + MEMORY_BYTES.to_bytes(WORD, "little"))
    while True:
        order, ancillary, _, _ = control.recvmsg(MOST_BYTES, _socket.CMSG_SPACE(4 * MOST_DESCRIPTORS))
        if not order:
            # The service is gone, or has no use for us.
            posix._exit(0)
        descriptors = [number for _, _, data in ancillary for number in memoryview(data).cast("i")]
        header = memoryview(order)[: HEADER_WORDS * WORD].cast("Q")
        if not fork(kernel, own_tree, header[2], descriptors):
            become(kernel, header, order, descriptors)
            break
        for descriptor in descriptors:
            posix.close(descriptor)
    control.detach()
    # Who imports these gets them as if nobody had.
    for name in set(sys.modules) - loaded:
        del sys.modules[name]


def fork(kernel, own_tree, group, descriptors):
    """Makes a child in the process tree of the second descriptor, whose init becomes its parent; false in the child."""
    setns = SYS_SETNS[posix.uname().machine]
    try:
        kernel.check(setns, descriptors[1], CLONE_NEWPID)
        # The one in between is made by hand, because nothing else can make it in a control group.
        arguments = [0] * (CLONE_ARGUMENTS_BYTES // WORD)
        arguments[4] = SIGCHLD
        if group != NONE:
            arguments[0] = CLONE_INTO_CGROUP
            arguments[10] = descriptors[group]
        kernel.bytes[:CLONE_ARGUMENTS_BYTES] = b"".join([word.to_bytes(WORD, "little") for word in arguments])
        between = kernel.check(SYS_CLONE3, kernel.address, CLONE_ARGUMENTS_BYTES)
        if between == 0:
            between = None
            # It ends at once. Its child is a proper fork, of which the interpreter and the C library know.
            if posix.fork() != 0:
                posix._exit(0)
            return False
        _, status = posix.waitpid(between, 0)
        kernel.check(setns, own_tree, CLONE_NEWPID)
        if status == 0 and is_clean():
            return True
    except OSError as error:
        reply(descriptors[0], -1, error.errno)
    posix._exit(1)


def is_clean():
    """Whether this is one thread without children."""
    import _thread

    if _thread._count() != 0:
        return False
    try:
        posix.waitpid(-1, posix.WNOHANG)
    except ChildProcessError:
        return True
    return False


def become(kernel, header, order, descriptors):
    """Carries out the calls of an order."""
    for index, descriptor in enumerate(descriptors):
        posix.dup2(descriptor, FIRST_DESCRIPTOR + index, False)
    count, size = header[0], header[1]
    calls_end = (HEADER_WORDS + count * CALL_WORDS) * WORD
    kernel.bytes[:size] = order[calls_end : calls_end + size]
    words = memoryview(order)[HEADER_WORDS * WORD : calls_end].cast("Q").tolist()
    call = kernel.call
    result = 0
    for start in range(0, len(words), CALL_WORDS):
        arguments = words[start : start + CALL_WORDS]
        if LAST_RESULT in arguments:
            arguments = [result if word == LAST_RESULT else word for word in arguments]
        result = call(*arguments)
        if result < 0:
            reply(REPLY, -2 - start // CALL_WORDS, kernel.last_error())
            posix._exit(1)
    # The one in between is about to end; nobody is to see it.
    while posix.getppid() != 1:
        posix.sched_yield()
    reply(REPLY, posix.getpid(), 0)
    posix.close(REPLY)


def reply(descriptor, value, error):
    """Says which process this is, or, as -1 for those of the zygote and from -2 on downwards, which call failed and why."""
    posix.write(descriptor, value.to_bytes(4, "little", signed=True) + error.to_bytes(4, "little", signed=True))
