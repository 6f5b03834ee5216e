"""The connection to the Runtime API: HTTP/1.1 over the inherited socket or over TCP.

Must not know handlers or events: bodies are bytes.
"""

import posix

from hothouse_process import get_variable, take_variable

PREFIX = b"/2018-06-01/runtime/"
READ_SIZE = 65536


class ConnectionClosed(Exception):
    """The other side ended the connection."""


class RuntimeApiError(Exception):
    """The Runtime API refused a request."""

    def __init__(self, endpoint, status, body):
        body = bytes(body)
        super().__init__(
            f"Request to Lambda Runtime '{endpoint}' endpoint failed. Reason: '{status}'. Response body: '{body}'"
        )


class RuntimeApi:
    """One connection, used by one thread. Requests may be sent ahead of the replies to earlier ones."""

    def __init__(self):
        address = get_variable("AWS_LAMBDA_RUNTIME_API")
        self.descriptor = -1
        # Only a TCP connection can be made again.
        self.address = None
        self.buffered = b""
        host = b"\r\nHost: %s" % address.encode()
        self.next_request = b"GET " + PREFIX + b"invocation/next HTTP/1.1" + host + b"\r\n\r\n"
        self.post_head = b"POST " + PREFIX + b"%s HTTP/1.1" + host.replace(b"%", b"%%") + b"\r\n%sContent-Length: %d\r\n\r\n"
        descriptor, separator, announced = (take_variable("_HOTHOUSE_RUNTIME_API") or "").partition("@")
        # Something in between, a wrapper or an extension, may have put its own address in place.
        if separator and announced == address:
            self.descriptor = int(descriptor)
            posix.set_inheritable(self.descriptor, False)
        else:
            if separator:
                posix.close(int(descriptor))
            self.address = address
            self.connect()
        # A forked child that returned into the loop would answer in its parent's name.
        posix.register_at_fork(after_in_child=self.close)

    def connect(self):
        import _socket

        host, _, port = self.address.rpartition(":")
        if not host.startswith("["):
            family = _socket.AF_INET
        else:
            family, host = _socket.AF_INET6, host[1:-1]
        connection = _socket.socket(family, _socket.SOCK_STREAM)
        connection.connect((host, int(port)))
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.buffered = b""
        self.descriptor = connection.detach()

    def close(self):
        if self.descriptor >= 0:
            posix.close(self.descriptor)
            self.descriptor = -1

    # === Calls ===

    def ask_next(self):
        """Sends the request for the next event."""
        self.send(self.next_request)

    def next(self):
        """Waits for the event that was asked for; returns its headers and body."""
        try:
            status, headers, body = self.receive()
        except (ConnectionClosed, ConnectionResetError):
            if self.address is None:
                raise
            # A server may end a connection after a reply; the request that was sent ahead is lost then.
            self.reconnect()
            self.ask_next()
            status, headers, body = self.receive()
        if status != 200:
            raise RuntimeApiError("/2018-06-01/runtime/invocation/next", status, body)
        return headers, body

    def answer(self, request_id, outcome, body, headers):
        """Answers an invocation, `outcome` being `response` or `error`, and asks for the next event in one write."""
        path = b"invocation/%s/%s" % (request_id, outcome)
        self.send(b"".join((self.post_head % (path, headers, len(body)), body, self.next_request)))
        if self.skip_acknowledgement():
            return
        _, reply, _ = self.receive()
        # Refusals (413 for too large, 400 and 403 for too late) are the platform's to report; the next event comes.
        if reply.get("connection", "").lower() == "close" and self.address is not None:
            self.reconnect()
            self.ask_next()

    def skip_acknowledgement(self):
        """Passes over the usual reply to an answer, which says nothing new. False: it is another, or not all there."""
        if not self.buffered:
            self.read_more()
        head = self.buffered
        end = head.find(b"\r\n\r\n")
        # A TCP connection may be about to close.
        if end < 0 or self.address is not None or not head.startswith(b"HTTP/1.1 202 "):
            return False
        start = head.find(b"\r\ncontent-length: ", 0, end) + 18
        if start < 18:
            return False
        length = end + 4 + int(head[start : head.find(b"\r", start)])
        if length > len(head):
            return False
        self.buffered = head[length:]
        return True

    def post_error(self, path, body, error_type):
        """Reports that the function cannot be initialised (`init/error`) or restored (`restore/error`)."""
        headers = b"Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: %s\r\n" % error_type.encode()
        self.send(self.post_head % (path, headers, len(body)) + body)
        status, _, reply = self.receive()
        if status != 202:
            raise RuntimeApiError(f"/2018-06-01/runtime/{path.decode()}", status, reply)

    def restore_next(self):
        """Waits until the process runs in an environment that comes from its snapshot."""
        self.send(self.next_request.replace(b"invocation/next", b"restore/next", 1))
        status, _, body = self.receive()
        if status != 200:
            raise RuntimeApiError("/2018-06-01/runtime/restore/next", status, body)

    def reconnect(self):
        self.close()
        self.connect()

    # === HTTP ===

    def send(self, data):
        written = posix.write(self.descriptor, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[posix.write(self.descriptor, rest) :]

    def read_more(self):
        piece = posix.read(self.descriptor, READ_SIZE)
        if not piece:
            raise ConnectionClosed("the Runtime API closed the connection")
        self.buffered += piece

    def receive(self):
        """Reads one reply: its status, headers with names in lower case, and body."""
        while True:
            end = self.buffered.find(b"\r\n\r\n")
            while end < 0:
                self.read_more()
                end = self.buffered.find(b"\r\n\r\n")
            lines = str(self.buffered[:end], "utf-8", "replace").split("\r\n")
            self.buffered = self.buffered[end + 4 :]
            status = int(lines[0][9:12])
            if status >= 200:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length")
        if length is not None:
            return status, headers, self.read_exactly(int(length))
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return status, headers, self.read_chunks()
        return status, headers, b"" if status in (204, 304) else self.read_to_end()

    def read_exactly(self, length):
        buffered = self.buffered
        if len(buffered) >= length:
            self.buffered = buffered[length:]
            return buffered[:length]
        body = bytearray(length)
        filled = len(buffered)
        body[:filled] = buffered
        self.buffered = b""
        view = memoryview(body)
        while filled < length:
            count = posix.readv(self.descriptor, [view[filled:]])
            if count == 0:
                raise ConnectionClosed("the Runtime API closed the connection within a body")
            filled += count
        return bytes(body)

    def read_line(self):
        while True:
            line, separator, rest = self.buffered.partition(b"\r\n")
            if separator:
                self.buffered = rest
                return line
            self.read_more()

    def read_chunks(self):
        chunks = []
        while True:
            size = int(self.read_line().partition(b";")[0], 16)
            if size == 0:
                break
            chunks.append(self.read_exactly(size))
            self.read_line()
        while self.read_line():
            # Trailers say nothing to a client.
            pass
        return b"".join(chunks)

    def read_to_end(self):
        try:
            while True:
                self.read_more()
        except ConnectionClosed:
            body, self.buffered = self.buffered, b""
            return body
