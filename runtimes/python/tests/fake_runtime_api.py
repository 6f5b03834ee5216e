"""A scripted Runtime API, and a runner that starts a client against it as the platform would.

Must not import anything of the clients: it checks them from outside.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

NEXT = "/2018-06-01/runtime/invocation/next"
DEADLINE_S = 30
TELEMETRY_DESCRIPTOR = 62


@dataclass
class Request:
    """What a client sent; names of headers and trailers are in lower case."""

    method: str
    path: str
    headers: dict
    body: bytes
    trailers: dict = field(default_factory=dict)

    @property
    def document(self):
        return json.loads(self.body)


@dataclass
class Record:
    """One record of the log: a raw line has no frame type."""

    text: str
    frame: int = None


@dataclass
class Result:
    """Everything that a run of a client left behind."""

    requests: list
    records: list
    exit_code: int

    @property
    def posts(self):
        return [request for request in self.requests if request.method == "POST"]

    @property
    def answers(self):
        return [(post.path.rsplit("/", 1)[1], post.document) for post in self.posts]

    @property
    def text(self):
        return "\n".join(record.text for record in self.records)


@dataclass
class Event:
    """One invocation of the script."""

    payload: object = None
    headers: dict = field(default_factory=dict)
    body: bytes = None
    # Status of the reply to the answer.
    answer_status: int = 202
    # Headers of that reply.
    acknowledgement: dict = field(default_factory=dict)
    # Whether that reply is sent together with the next event.
    joined: bool = False
    # The byte before which the sending of that reply, and of what is joined to it, pauses.
    split: int = 0

    def encode(self):
        return json.dumps(self.payload).encode() if self.body is None else self.body


class FakeRuntimeApi:
    """Serves the script; when it is through, the next request stays unanswered and `finished` is set."""

    def __init__(self, events, chunked=False, dribble=False, close_after_answer=False):
        self.events = list(events)
        self.chunked = chunked
        self.dribble = dribble
        self.close_after_answer = close_after_answer
        self.requests = []
        self.served = 0
        self.held = b""
        self.split = 0
        self.finished = threading.Event()

    def serve(self, connection):
        """Answers the requests of one connection until it ends."""
        with connection, connection.makefile("rb") as stream:
            try:
                while (request := read_request(stream)) is not None:
                    self.requests.append(request)
                    if not self.reply(connection, request):
                        # What was sent ahead is lost; the client is to end the connection.
                        stream.read()
                        return
            except (ConnectionError, ValueError):
                # A process that is killed may stop anywhere.
                return

    def serve_all(self, listener):
        """Accepts connections until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def reply(self, connection, request):
        if request.path == NEXT:
            if self.served == len(self.events):
                self.finished.set()
                return True
            event = self.events[self.served]
            self.served += 1
            headers = {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": f"request-{self.served}",
                "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 3000),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
                **event.headers,
            }
            self.send(connection, "200 OK", headers, event.encode())
            return True
        status, joined, more = 202, False, {}
        if request.path.endswith("/response") and self.served:
            event = self.events[self.served - 1]
            status, joined, more, self.split = event.answer_status, event.joined, event.acknowledgement, event.split
        closes = self.close_after_answer and "/invocation/" in request.path
        headers = {"Content-Type": "application/json", **more, **({"Connection": "close"} if closes else {})}
        self.send(connection, f"{status} Status", headers, b'{"status":"OK"}\n', joined)
        return not closes

    def send(self, connection, status, headers, body, held=False):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        if self.chunked:
            head += "Transfer-Encoding: chunked\r\n"
            middle = len(body) // 2
            parts = [part for part in (body[:middle], body[middle:]) if part]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        else:
            head += f"Content-Length: {len(body)}\r\n"
        reply = self.held + f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
        self.held = reply if held else b""
        if held:
            return
        if self.split:
            connection.sendall(reply[: self.split])
            time.sleep(0.003)
            reply, self.split = reply[self.split :], 0
        if self.dribble:
            for position in range(len(reply)):
                connection.sendall(reply[position : position + 1])
        else:
            connection.sendall(reply)


def read_request(stream):
    line = stream.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ")
    headers = read_headers(stream)
    trailers = {}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        trailers = read_headers(stream)
    else:
        body = stream.read(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body, trailers)


def read_headers(stream):
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return headers


def parse_records(output):
    """Splits what came through the pipe into frames and raw lines."""
    records = []
    while output:
        if output[:3] == b"\xa5\x5a\x00":
            frame, length, _ = struct.unpack(">IIQ", output[:16])
            records.append(Record(output[16 : 16 + length].decode(), frame))
            output = output[16 + length :]
        else:
            end = output.find(b"\n") + 1 or len(output)
            frame = output.find(b"\xa5\x5a\x00")
            end = min(end, frame) if frame > 0 else end
            records.append(Record(output[:end].decode().removesuffix("\n")))
            output = output[end:]
    return records


def run_client(
    command,
    task_root,
    handler,
    events=(),
    transport="descriptor",
    framed=True,
    variables=None,
    assigned=None,
    narrow=False,
    **server,
):
    """Runs a client until it has asked for one event more than there are, or has ended by itself.

    Where it is `assigned`, it is started with these variables only, elsewhere, and told the rest when it waits.
    A `narrow` connection takes little at once.
    """
    api = FakeRuntimeApi(events, **server)
    log_reader, log_writer = os.pipe()
    inherited = {1: log_writer, 2: log_writer}
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    environment = {
        "PATH": os.environ["PATH"],
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123",
        "LAMBDA_TASK_ROOT": str(task_root),
        "_HANDLER": handler,
    }
    if framed:
        inherited[TELEMETRY_DESCRIPTOR] = log_writer
        environment["_LAMBDA_TELEMETRY_LOG_FD"] = str(TELEMETRY_DESCRIPTOR)
    ours = None
    if transport == "descriptor":
        ours, theirs = socket.socketpair()
        if narrow:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        inherited[3] = theirs.fileno()
        environment["_HOTHOUSE_RUNTIME_API"] = f"3@{address}"
    environment.update(variables or {})

    if assigned is None:
        process = Process(command, str(task_root), environment, inherited)
    else:
        process = Process([*command, "--await-assignment"], "/", assigned, inherited)
        assignment = b"".join(f"{name}={value}".encode() + b"\0" for name, value in environment.items())
        ours.sendall(struct.pack(">I", len(assignment)) + assignment)
    os.close(log_writer)
    if ours is not None:
        theirs.close()
        threading.Thread(target=api.serve, args=(ours,), daemon=True).start()
    threading.Thread(target=api.serve_all, args=(listener,), daemon=True).start()
    output = bytearray()
    reader = threading.Thread(target=read_all, args=(log_reader, output), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + DEADLINE_S
        while process.poll() is None and not api.finished.wait(0.01):
            assert time.monotonic() < deadline, f"neither done nor ended; log so far: {bytes(output)!r}"
    finally:
        process.kill()
        reader.join(DEADLINE_S)
        listener.close()
    return Result(api.requests, parse_records(bytes(output)), process.exit_code)


class Process:
    """A child that has exactly the given descriptors, and /dev/null as standard input.

    `subprocess` keeps a pipe of its own open until the child runs, which may take descriptor 3.
    """

    def __init__(self, command, directory, environment, inherited):
        self.exit_code = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                # First out of the way of each other, then into place.
                inherited = {0: os.open(os.devnull, os.O_RDONLY), **inherited}
                spare = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 100) for target, source in inherited.items()}
                for target, source in spare.items():
                    os.dup2(source, target)
                os.chdir(directory)
                os.execve(command[0], command, environment)
            finally:
                os._exit(126)

    def poll(self):
        """The exit code, negative for a signal, or None."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.exit_code

    def kill(self):
        """Ends the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.exit_code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def read_all(descriptor, output):
    while piece := os.read(descriptor, 65536):
        output += piece
    os.close(descriptor)
