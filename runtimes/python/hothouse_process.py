"""The process around the handler: environment variables, standard streams and the log.

Must not import `os` or `logging`: a function that needs them pays for them, nobody else does.
"""

import posix
import sys
import time

# Frame types of log records, by level number of `logging`; 0 stands for no level.
TEXT_FRAMES = {0: 0xA55A0003, 10: 0xA55A000B, 20: 0xA55A000F, 30: 0xA55A0013, 40: 0xA55A0017, 50: 0xA55A001B}
JSON_FRAMES = {level: frame - 1 for level, frame in TEXT_FRAMES.items()}


class Current:
    """The invocation that is being served, for records of the log."""

    request_id = None
    tenant_id = None


# === Environment variables ===
# `posix.environ` is what `os.environ` is made from at the first `import os`; later both must be kept in step.


def get_variable(name):
    """The variable's value, or None."""
    os = sys.modules.get("os")
    if os is not None:
        return os.environ.get(name)
    value = posix.environ.get(name.encode())
    return None if value is None else value.decode("utf-8", "surrogateescape")


def set_variable(name, value):
    """Sets a variable for this process and its children."""
    os = sys.modules.get("os")
    if os is not None:
        os.environ[name] = value
        return
    encoded = value.encode("utf-8", "surrogateescape")
    posix.environ[name.encode()] = encoded
    posix.putenv(name.encode(), encoded)


def take_variable(name):
    """Removes a variable; returns the value that it had, or None."""
    value = get_variable(name)
    if value is None:
        return None
    os = sys.modules.get("os")
    if os is not None:
        del os.environ[name]
    else:
        del posix.environ[name.encode()]
        posix.unsetenv(name.encode())
    return value


# === Standard streams and the log ===


class Log:
    """Where records go: framed to the telemetry descriptor, or as lines to standard output."""

    def __init__(self):
        self.descriptor = None
        self.json = False

    def open(self):
        """Takes the descriptor that the platform announced, and makes the standard streams keep order."""
        descriptor = take_variable("_LAMBDA_TELEMETRY_LOG_FD")
        if descriptor is not None:
            self.descriptor = int(descriptor)
            posix.set_inheritable(self.descriptor, False)
        self.json = (get_variable("AWS_LAMBDA_LOG_FORMAT") or "").upper() == "JSON"
        # A line reaches the pipe as one write when it ends; incomplete lines are flushed before whatever may follow.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(line_buffering=True)
        # A child must not write again what its parent had only begun to write.
        posix.register_at_fork(before=flush_streams)

    def log(self, msg, frame_type=TEXT_FRAMES[0]):
        """Writes one record, with its newlines if it has some."""
        if self.descriptor is None:
            sys.stdout.write(msg)
            return
        flush_streams()
        body = msg.encode("utf-8")
        frame = b"".join(
            (
                frame_type.to_bytes(4, "big"),
                len(body).to_bytes(4, "big"),
                (time.time_ns() // 1000).to_bytes(8, "big"),
                body,
            )
        )
        # One write for all: records of several threads must not mix.
        rest = memoryview(frame)
        while rest:
            rest = rest[posix.write(self.descriptor, rest) :]

    def log_error(self, lines):
        """Writes one record of several lines at level ERROR."""
        if self.descriptor is None:
            # Only a carriage return keeps the lines together in one event of the log.
            sys.stdout.write("\r".join(lines) + "\n")
        else:
            self.log("\n".join(lines), (JSON_FRAMES if self.json else TEXT_FRAMES)[40])


LOG = Log()


def flush_streams():
    """Writes out what standard output and standard error still hold."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # Closed or replaced by the function.
            pass
