"""The network of environments: their own with a way out, their own without one, or the host's."""

import contextlib
import hashlib
import os
import socket
import socketserver
import struct
import threading

import pytest
from support.functions import Functions, archive
from support.waiting import until

SOURCE = """
import errno, hashlib, os, socket, time, urllib.request

kept = []


def handler(event, context):
    started = time.monotonic()
    try:
        answer = globals()[event["do"]](*event.get("with", []))
    except OSError as error:
        answer = {"error": errno.errorcode.get(error.errno, str(error))}
    if isinstance(answer, dict):
        answer["seconds"] = time.monotonic() - started
    return answer


def environment(*names):
    return [os.environ.get(name) for name in names]


def read(path):
    return open(path).read()


def connect(host, port):
    # Whether somebody is there: the first byte decides, as a relay may accept what it then cannot deliver.
    with socket.create_connection((host, port), 5) as stream:
        stream.sendall(b"?")
        return {"heard": stream.recv(1).decode()}


def reach(host, port):
    socket.create_connection((host, port), 5).close()
    return {"reached": True}


def transfer(host, port, seed, size):
    data = hashlib.shake_128(seed.encode()).digest(size)
    with socket.create_connection((host, port), 5) as stream:
        stream.settimeout(15)
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        heard = bytearray()
        while piece := stream.recv(1 << 20):
            heard += piece
        return {"size": len(heard), "digest": hashlib.sha256(heard).hexdigest()}


def ask(host, port, *texts):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(5)
        answers = []
        for text in texts:
            stream.sendto(text.encode(), (host, port))
            answer, sender = stream.recvfrom(65536)
            answers.append([answer.decode(), *sender])
        return answers


def query(name):
    question = bytes.fromhex("abcd01000001000000000000")
    question += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + bytes([0, 0, 1, 0, 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(15)
        stream.connect(("169.254.100.1", 53))
        stream.send(question)
        return stream.recv(65536)[:4].hex()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return {"status": response.status}


def keep(host, stream_port, datagram_port):
    stream = socket.create_connection((host, stream_port), 5)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.sendto(b"x", (host, datagram_port))
    kept.extend([stream, datagrams])
    stream.sendall(b"?")
    return [stream.recv(1).decode(), datagrams.recv(10).decode()]


def listen():
    server = socket.create_server(("0.0.0.0", 0))
    kept.append(server)
    return server.getsockname()[1]
"""

PARAMETERS = {"Runtime": "python3.12", "Handler": "handler.handler", "Timeout": 30}
CODE = archive({"handler.py": SOURCE})
SIZE = 20 << 20


class Probe:
    """A function that uses its network as it is told."""

    def __init__(self, functions, **parameters):
        self.functions = functions
        self.name = functions.create(CODE, **{**PARAMETERS, **parameters})

    def __call__(self, do, *arguments):
        return self.functions.invoke(self.name, {"do": do, "with": arguments}).value()


@pytest.fixture(scope="module")
def probe(shared_functions):
    probe = Probe(shared_functions)
    [runtime_api] = probe("environment", "AWS_LAMBDA_RUNTIME_API")
    if runtime_api != "127.0.0.1:9001":
        pytest.skip("this machine gives no network namespace with a way out")
    return probe


@pytest.fixture
def probe_with(start_service):
    """A probe in a service of its own, with these options; and the service."""

    def start(*options):
        service = start_service(*options)
        return Probe(Functions(service.client())), service

    return start


def host_address():
    """An address of this machine that is not loopback."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                request = struct.pack("256s", name.encode()[:15])
                address = socket.inet_ntoa(fcntl.ioctl(asking, 0x8915, request)[20:24])  # SIOCGIFADDR
                if not address.startswith(("127.", "169.254.")):
                    return address
    return pytest.skip("this machine has no address but loopback")


@contextlib.contextmanager
def serving(kind, handler, address):
    """A server in threads of this process; yields its port."""
    handler = type("Handler", (socketserver.BaseRequestHandler,), {"handle": handler})
    with kind((address, 0), handler) as server:
        server.max_packet_size = 65536
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def greet(self):
    if self.request.recv(1):
        self.request.sendall(b"!")
        self.request.recv(1)


def receive_and_answer(self):
    """Reads to the end, then answers with as many bytes, made from the digest of what came."""
    digest, size = hashlib.sha256(), 0
    while piece := self.request.recv(1 << 20):
        digest.update(piece)
        size += len(piece)
    self.request.sendall(hashlib.shake_128(digest.hexdigest().encode()).digest(size))


def echo(self):
    data, datagrams = self.request
    datagrams.sendto(data.upper(), self.client_address)


@pytest.fixture
def outside():
    """An address of the host, with the ports of a server for streams and one for datagrams."""
    address = host_address()
    with (
        serving(socketserver.ThreadingTCPServer, greet, address) as streams,
        serving(socketserver.ThreadingUDPServer, echo, address) as datagrams,
    ):
        yield address, streams, datagrams


@pytest.fixture
def loopback_server():
    with serving(socketserver.ThreadingTCPServer, greet, "127.0.0.1") as port:
        yield port


def test_addresses_are_those_of_aws(probe):
    names = ["AWS_LAMBDA_RUNTIME_API", "AWS_XRAY_DAEMON_ADDRESS"]
    assert probe("environment", *names) == ["127.0.0.1:9001", "169.254.100.1:2000"]


def test_the_service_is_reached_inside(probe):
    [endpoint] = probe("environment", "AWS_ENDPOINT_URL")
    assert probe("get", f"{endpoint}/_hothouse/environments")["status"] == 200


def test_much_passes_both_ways_and_either_side_may_end_first(probe):
    address = host_address()
    with serving(socketserver.ThreadingTCPServer, receive_and_answer, address) as port:
        heard = probe("transfer", address, port, "seed", SIZE)
    sent = hashlib.shake_128(b"seed").digest(SIZE)
    answered = hashlib.shake_128(hashlib.sha256(sent).hexdigest().encode()).digest(SIZE)
    assert heard["size"] == SIZE
    assert heard["digest"] == hashlib.sha256(answered).hexdigest()


def test_datagrams_are_answered_from_where_they_were_sent_to(probe, outside):
    address, _, port = outside
    answers = probe("ask", address, port, "one", "two", "x" * 60000)
    assert answers == [["ONE", address, port], ["TWO", address, port], ["X" * 60000, address, port]]


def test_a_closed_port_is_told_at_once(probe):
    address = host_address()
    with socket.socket() as bound:
        bound.bind((address, 0))
        answer = probe("connect", address, bound.getsockname()[1])
    assert answer["error"] in ("ECONNREFUSED", "ECONNRESET")
    assert answer["seconds"] < 5, "not the probe's own limit"


@pytest.mark.parametrize("options", [[], ["--network=isolated"]], ids=["auto", "isolated"])
def test_the_hosts_loopback_is_out_of_reach(probe, probe_with, loopback_server, options):
    if options:
        probe, _ = probe_with(*options)
    for host in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost"]:
        assert "error" in probe("connect", host, loopback_server), host


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2", "224.0.0.1", "255.255.255.255"])
def test_what_is_the_hosts_alone_is_refused(probe, host):
    answer = probe("connect", host, 80)
    assert answer["error"] in ("ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EACCES", "EINVAL")
    assert answer["seconds"] < 5


def test_version_6_fails_at_once(probe):
    assert probe("connect", "2001:db8::1", 80)["error"] in ("ENETUNREACH", "EADDRNOTAVAIL")


def test_an_isolated_environment_reaches_the_service_and_nothing_outside(probe, probe_with, outside):
    address, streams, datagrams = outside
    inside, _ = probe_with("--network=isolated")
    [runtime_api, endpoint] = inside("environment", "AWS_LAMBDA_RUNTIME_API", "AWS_ENDPOINT_URL")
    assert runtime_api == "127.0.0.1:9001"
    assert inside("get", f"{endpoint}/_hothouse/environments")["status"] == 200
    assert inside("connect", address, streams)["error"] == "ENETUNREACH"
    assert inside("ask", address, datagrams, "anyone")["error"] == "ENETUNREACH"
    assert inside("query", "example.org")["error"] == "ECONNREFUSED"


def test_the_hosts_network_can_be_shared(probe_with, loopback_server):
    probe, _ = probe_with("--network=host")
    assert probe("connect", "127.0.0.1", loopback_server)["heard"] == "!"
    [runtime_api] = probe("environment", "AWS_LAMBDA_RUNTIME_API")
    assert runtime_api != "127.0.0.1:9001"


def test_names_are_asked_at_the_announced_server(probe):
    assert "nameserver 169.254.100.1\n" in probe("read", "/etc/resolv.conf")
    # The host's own name servers answer, or nobody does, which is an answer, too.
    answer = probe("query", "name.invalid")
    assert answer.startswith("abcd")
    assert int(answer[4:6], 16) & 0x80, "it is a response"


def test_what_one_environment_serves_no_other_reaches(probe, shared_functions):
    port = probe("listen")
    assert probe("reach", "127.0.0.1", port)["reached"]
    other = Probe(shared_functions)
    for host in ["127.0.0.1", "169.254.100.1"]:
        assert other("reach", host, port)["error"] == "ECONNREFUSED"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def descriptors(service):
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def interfaces():
    with open("/proc/net/dev") as table:
        return [line.split(":")[0] for line in table]


def test_an_environment_takes_its_connections_along(probe, probe_with, outside):
    address, streams, datagrams = outside

    def use(probe):
        assert probe("keep", address, streams, datagrams) == ["!", "X"]

    first, service = probe_with()
    before = interfaces()
    use(first)
    first.functions.clean()
    until(lambda: not service.states(first.name), seconds=10, what="the end of the environment")
    service.keeps_some_ready()
    rest = descriptors(service)
    second = Probe(first.functions)
    use(second)
    # What was ready is the environment's now, and another is made.
    until(lambda: descriptors(service) >= rest + 8, seconds=10, what="the sockets of an environment")
    second.functions.clean()
    until(lambda: descriptors(service) <= rest, seconds=10, what="the end of all sockets of an environment")
    third = Probe(first.functions)
    use(third)
    service.kill()
    assert interfaces() == before


def test_a_machine_that_cannot_isolate_the_network_does_not_pretend(start_service):
    service = start_service("--isolation=none", "--network=isolated", wait=False)
    said = service.refusal()
    assert "failed to isolate functions from the network" in said and "--network auto" in said
