"""Attempts to use things up: what the environment has, what the service has, what others need."""

import contextlib
import ctypes
import errno
import http.client
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time

from attempt import LIBC

API = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
KEPT = []


def until_refused(step, most):
    """How often `step` works, and the error that it then gives."""
    for count in range(most):
        try:
            KEPT.append(step())
        except OSError as error:
            return {"count": count, "error": errno.errorcode[error.errno]}
        except RuntimeError as error:
            return {"count": count, "error": str(error)}
    return {"count": most, "error": None}


# === what the environment has ===


def sleeper():
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    return child


def processes(event, context):
    """As many processes as it may have. They stay."""
    return until_refused(sleeper, event["most"])


def fork_bomb(event, context):
    """Every process makes more, for ever."""
    while True:
        with contextlib.suppress(OSError):
            os.fork()


def zombies(event, context):
    """Children that end and are not asked how."""

    def zombie():
        child = os.fork()
        if child == 0:
            os._exit(0)
        return child

    return until_refused(zombie, event["most"])


def threads(event, context):
    wait = threading.Event()

    def start():
        thread = threading.Thread(target=wait.wait, daemon=True)
        thread.start()
        return thread

    answer = until_refused(start, event["most"])
    wait.set()
    return answer


def open_files(event, context):
    answer = until_refused(lambda: os.open("/dev/null", os.O_RDONLY), 100_000)
    while KEPT:
        os.close(KEPT.pop())
    return answer


def memory(event, context):
    """More memory than there is."""
    while True:
        KEPT.append(bytearray(b"x") * (8 << 20))


def memory_of_a_child(event, context):
    """The same in a child, which leaves this process alive if only the child is killed."""
    child = os.fork()
    if child == 0:
        memory(event, context)
    return os.waitpid(child, 0)[1]


def fill(event, context):
    """A file system that is filled up; tells how much went in."""
    piece, written = bytes(1 << 20), 0
    with open(event["path"], "ab", buffering=0) as file:
        try:
            while written < event["most"]:
                written += file.write(piece)
        except OSError as error:
            return {"written": written, "error": errno.errorcode[error.errno]}
    return {"written": written, "error": None}


def many_files(event, context):
    """A file system with more files than anyone needs."""
    os.mkdir("/tmp/many")
    return until_refused(lambda: os.close(os.open(f"/tmp/many/{len(KEPT)}", os.O_CREAT)), event["most"])


# === output ===


def flood(event, context):
    """Output as fast as it goes: lines, one line without end, or frames that promise more than they bring."""
    kind = event["kind"]
    if kind == "lines":
        piece = (b"x" * 127 + b"\n") * 512
    elif kind == "endless line":
        piece = b"x" * 65536
    else:
        # A frame of the telemetry descriptor, of the greatest length that can be written, over and over.
        piece = struct.pack(">IIQ", 0xA55A0003, 0xFFFFFFFF, 0) * 4096
    written = 0
    while written < event["bytes"]:
        written += os.write(1, piece)
    return written


def datagrams(event, context):
    """Trace segments as fast as they go, from several processes; how many were sent."""
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    piece = b'{"format": "json", "version": 1}\n{"trace_id": "' + b"x" * event["size"] + b'"}'
    children = []
    for _ in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            end = time.monotonic() + event["seconds"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                while time.monotonic() < end:
                    with contextlib.suppress(OSError):
                        out.sendto(piece, (host, int(port)))
            os._exit(0)
    return [os.waitpid(child, 0)[1] for child in children]


def ways_out(event, context):
    """Connections to the outside that nobody answers, as many as there are descriptors for, and more datagrams to more
    destinations than anyone has friends."""
    made = until_refused(lambda: socket.create_connection(("127.0.0.1", 9), 1), event["count"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number in range(event["count"]):
            with contextlib.suppress(OSError):
                out.sendto(b"x", (f"127.1.{number // 250}.{number % 250 + 1}", 9999))
    return made["count"]


# === outliving ===


def spin(event, context):
    """Works on after the answer, and has timers wake it should it be stopped."""
    shared = mmap.mmap(-1, 4096)
    KEPT.append(shared)
    child = os.fork()
    if child == 0:
        wake_me(signal.SIGCONT)
        count = 0
        while True:
            count += 1
            shared[:8] = struct.pack("=Q", count)
    return os.getpid()


def wake_me(number):
    """A timer of the kernel's that sends a signal every 10 ms."""

    class Event(ctypes.Structure):
        _fields_ = [
            ("value", ctypes.c_void_p),
            ("signal", ctypes.c_int),
            ("notify", ctypes.c_int),
            ("rest", ctypes.c_char * 48),
        ]

    timer = ctypes.c_void_p()
    assert LIBC.timer_create(1, ctypes.byref(Event(None, number, 0)), ctypes.byref(timer)) == 0
    period = (ctypes.c_long * 4)(0, 10_000_000, 0, 10_000_000)
    assert LIBC.timer_settime(timer, 0, period, None) == 0


def progress(event, context):
    """How far `spin` has come, twice: when this invocation began, and when it has moved on."""
    first = struct.unpack("=Q", KEPT[-1][:8])[0]
    return {"pid": os.getpid(), "count": first}


def ignore_all():
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)


def stubborn(event, context):
    """Ignores all that can be ignored, and sleeps."""
    ignore_all()
    while True:
        time.sleep(1000)


def daemons(event, context):
    """Processes that have left their parent, session and group, ignore everything, and hold the log open."""
    for _ in range(event["count"]):
        if os.fork() == 0:
            os.setsid()
            ignore_all()
            if os.fork() == 0:
                os.chdir("/")
                while True:
                    time.sleep(1000)
            os._exit(0)
        os.wait()
    return os.getpid()


# === signals for real: only where nobody else can be hit ===


def signal_everyone(event, context):
    """A deadly signal to all that can be reached at once."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGUSR2)


def kill_init(event, context):
    """Signals to the parent that cannot be ignored."""
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV, signal.SIGKILL):
        with contextlib.suppress(PermissionError):
            os.kill(os.getppid(), number)
    time.sleep(event["wait"])
    return "alive"


# === the Runtime API ===


def connect():
    host, port = API.split(":")
    client = socket.create_connection((host, int(port)), 10)
    KEPT.append(client)
    return client


def ask(method, path, body=None, headers=None):
    api = http.client.HTTPConnection(API, timeout=20)
    try:
        api.request(method, f"/2018-06-01/runtime/{path}", body, headers or {})
        answer = api.getresponse()
        return [answer.status, answer.read().decode(errors="replace")[:300]]
    finally:
        api.close()


def connections(event, context):
    """Connections that say nothing, say half, or ask for the next event and go away."""
    said = event["say"].encode()
    made, refused = 0, 0
    while made < event["count"] and refused < 5:
        try:
            client = socket.create_connection((API.split(":")[0], int(API.split(":")[1])), 0.2)
        except OSError:
            refused += 1
            continue
        made += 1
        with contextlib.suppress(OSError):
            client.sendall(said)
        if event["close"]:
            client.close()
        else:
            KEPT.append(client)
    return made


def garbage(event, context):
    """What no client would send; the first line of each answer."""
    answers = []
    for text in event["texts"]:
        with connect() as client:
            client.settimeout(event.get("patience", 5))
            with contextlib.suppress(OSError):
                client.sendall(text.encode("latin-1") * event.get("times", 1))
                client.shutdown(socket.SHUT_WR)
            try:
                answers.append(client.recv(65536).split(b"\r\n")[0].decode("latin-1"))
            except OSError as error:
                answers.append(type(error).__name__)
    return answers


def large_head(event, context):
    """A head that does not end, for as long as somebody reads it."""
    sent = 0
    with connect() as client:
        client.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n")
        try:
            while sent < event["most"]:
                client.sendall(b"X-Header: " + b"x" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass
    return sent


def answer_for_another(event, context):
    return {
        "foreign": ask("POST", f"invocation/{event['id']}/response", b'"stolen"'),
        "foreign error": ask("POST", f"invocation/{event['id']}/error", b"{}"),
        "nonsense": ask("POST", "invocation/..%2f..%2f/response", b"1"),
    }


def sleep(event, context):
    time.sleep(event["seconds"])
    return "mine"


def next_in_parallel(event, context):
    """The own event again, by many at once, while it is being handled."""
    answers = []
    asking = [
        threading.Thread(target=lambda: answers.append(ask("GET", "invocation/next")[0])) for _ in range(8)
    ]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    return answers


def answer_twice(event, context):
    """Answers by hand before the client does; what the second and third answer get."""
    path = f"invocation/{context.aws_request_id}/response"
    return [ask("POST", path, b'"by hand"'), ask("POST", path, b'"again"')]


def endless_response(event, context):
    """A response without end, in chunks."""
    client = connect()
    path = f"/2018-06-01/runtime/invocation/{context.aws_request_id}/response"
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: {API}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    while True:
        client.sendall(piece)


def bodies(event, context):
    """Many bodies at once that nearly reach the limit and do not end."""
    size = event["size"]
    head = (
        f"POST /2018-06-01/runtime/invocation/{context.aws_request_id}/response HTTP/1.1\r\n"
        f"Host: {API}\r\nContent-Length: {size + 1}\r\n\r\n"
    ).encode()
    for _ in range(event["count"]):
        with contextlib.suppress(OSError):
            client = connect()
            client.settimeout(0.2)
            client.sendall(head + bytes(size))
    return len(KEPT)


# === the service ===


def invoke(name, payload):
    """Invokes a function with nothing but HTTP, as boto3 would take seconds to load."""
    service = http.client.HTTPConnection(os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), timeout=60)
    try:
        service.request("POST", f"/2015-03-31/functions/{name}/invocations", json.dumps(payload))
        answer = service.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        service.close()


def recursion(event, context):
    """Invokes itself until it is refused; the depth that was reached, and what stopped it."""
    status, answer = invoke(context.function_name, {**event, "depth": event["depth"] + 1})
    if isinstance(answer, dict) and "depth" in answer:
        return answer
    return {"depth": event["depth"], "status": status, "answer": answer}


def hammer(event, context):
    """Many calls of the service at once; how many were answered."""
    answered = []

    def call():
        service = http.client.HTTPConnection(
            os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), timeout=30
        )
        for _ in range(event["calls"]):
            with contextlib.suppress(OSError, http.client.HTTPException):
                service.request("GET", "/2015-03-31/functions/")
                answered.append(service.getresponse().read())
        service.close()

    calling = [threading.Thread(target=call) for _ in range(event["threads"])]
    for one in calling:
        one.start()
    for one in calling:
        one.join()
    return len(answered)


# === counters that environments could share without knowing ===


def watchers(event, context):
    """inotify instances, which the kernel counts per user of the machine."""

    def make():
        number = LIBC.inotify_init1(0)
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        return number

    return until_refused(make, event["most"])


def echo(event, context):
    return event.get("value")


ACTIONS = {
    name: one
    for name, one in list(vars().items())
    if callable(one) and getattr(one, "__module__", "") == __name__
}

assert sys.version_info >= (3, 9)
