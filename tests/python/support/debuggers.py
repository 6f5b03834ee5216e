"""Two debuggers in a few lines: Node's inspector by WebSocket, and the debug adapter protocol that IDEs speak."""

import base64
import json
import os
import queue
import socket
import struct
import threading
import urllib.request

from .waiting import until

# How long a debugger waits for what must come: starting an interpreter with a debugger takes seconds on a busy machine.
LIMIT = 60.0


class Inspector:
    """A session with Node's inspector at a port of loopback."""

    def __init__(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=LIMIT) as answer:
            target = json.load(answer)[0]
        path = target["webSocketDebuggerUrl"].split("/", 3)[3]
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert b" 101 " in self.stream.readline()
        while self.stream.readline().strip():
            pass
        self.number = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def call(self, method, **parameters):
        """Sends a request; returns its result. Events that come meanwhile are kept."""
        self.number += 1
        self._send({"id": self.number, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def wait(self, method):
        """The next event of this name, with what it says."""
        for index, event in enumerate(self.events):
            if event.get("method") == method:
                return self.events.pop(index)["params"]
        while True:
            message = self._receive()
            if message.get("method") == method:
                return message["params"]
            self.events.append(message)

    def _send(self, message):
        payload = json.dumps(message).encode()
        mask = os.urandom(4)
        size = len(payload)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def _receive(self):
        text = b""
        while True:
            first, size = self._read(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._read(8))
            text += self._read(size)
            if first & 0x80:
                return json.loads(text)

    def _read(self, count):
        data = self.stream.read(count)
        assert len(data) == count, "the inspector ended the session"
        return data


def once_it_listens(session, port):
    """A session of this kind, as soon as the process listens at the port."""

    def look():
        try:
            return session(port)
        except (AssertionError, OSError):
            return None

    return until(look, seconds=LIMIT, what="a debugger's port")


class DebugAdapter:
    """A session with `debugpy` at a port of loopback."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.stream = self.socket.makefile("rb")
        self.number = 0
        self.messages = queue.Queue()
        self.kept = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.call("initialize", adapterID="test", pathFormat="path")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.reader.join(LIMIT)

    def attach(self, local, remote):
        """Attaches; files below the folder `local` are those below `remote`."""
        mappings = [{"localRoot": str(local), "remoteRoot": remote}]
        # Answered only when the configuration is done.
        self._send("attach", {"justMyCode": False, "pathMappings": mappings})
        self.wait("initialized")

    def call(self, command, **arguments):
        """Sends a request; returns its answer's body."""
        number = self._send(command, arguments)
        answer = self._next(lambda one: one["type"] == "response" and one["request_seq"] == number)
        assert answer["success"], answer
        return answer.get("body")

    def wait(self, event):
        """The next event of this name, with what it says."""
        return self._next(lambda one: one["type"] == "event" and one["event"] == event).get("body")

    def _next(self, wanted):
        for index, message in enumerate(self.kept):
            if wanted(message):
                return self.kept.pop(index)
        while True:
            message = self.messages.get(timeout=LIMIT)
            assert message is not None, "debugpy ended the session"
            if wanted(message):
                return message
            self.kept.append(message)

    def _send(self, command, arguments):
        self.number += 1
        message = {"seq": self.number, "type": "request", "command": command, "arguments": arguments}
        payload = json.dumps(message).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n" % len(payload) + payload)
        return self.number

    def _read(self):
        try:
            while line := self.stream.readline():
                size = int(line.partition(b":")[2])
                self.stream.readline()
                self.messages.put(json.loads(self.stream.read(size)))
        except OSError:
            pass
        self.messages.put(None)
