"""The door: readiness, health, who is refused, several addresses, the end."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import processes, raw
from support.functions import Functions
from support.service import free_port
from support.waiting import until

FUNCTIONS = "/2015-03-31/functions"


def test_it_says_ready_once_it_serves(service):
    assert service.lines.count("Ready.") == 1
    assert raw.request(service.port, "GET", FUNCTIONS).status == 200


def test_health(service):
    answer = raw.request(service.port, "GET", "/_hothouse/health", service=None)
    assert answer.status == 200
    assert answer.json()["status"] == "running"
    answer = raw.request(service.port, "GET", "/_localstack/health", service=None)
    assert answer.status == 200
    assert {"lambda", "logs", "sts"} <= answer.json()["services"].keys()
    assert answer.json()["services"]["lambda"] in ("available", "running")
    assert answer.json()["version"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.attacker.example"},
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1.attacker.example:4566"},
    ],
)
def test_requests_of_foreign_pages_are_refused(service, headers):
    for method, path in [("GET", FUNCTIONS), ("POST", FUNCTIONS), ("POST", f"{FUNCTIONS}/x/invocations")]:
        answer = raw.request(service.port, method, path, body=b"{}", headers=headers)
        assert answer.status == 403, answer


def test_a_preflight_of_a_foreign_page_gets_no_permission(service):
    headers = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
    answer = raw.request(service.port, "OPTIONS", FUNCTIONS, headers=headers)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "localhost", "[::1]:{port}"])
def test_loopback_names_are_welcome(service, host):
    host = host.format(port=service.port)
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert raw.request(service.port, "GET", FUNCTIONS, headers=headers).status == 200


def test_several_addresses(start_service):
    ports = [free_port(), free_port()]
    service = start_service(listen=[f"127.0.0.1:{port}" for port in ports])
    for port in ports:
        assert raw.request(port, "GET", FUNCTIONS).status == 200
    assert service.lines.count("Ready.") == 1


def test_a_taken_address_is_an_error_with_its_name(start_service):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = start_service(listen=[address], wait=False).refusal()
    assert address in said
    assert "hint" in said


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked_even_with_work_running(start_service, with_signal):
    service = start_service()
    functions = Functions(service.client())
    name = functions.create()
    functions.invoke(name, 1)
    with ThreadPoolExecutor(1) as pool:
        before = len(processes.descendants(service.process.pid))
        running = pool.submit(functions.invoke, name, {"do": "sleep", "seconds": 15})
        assert before > 0
        seconds = service.stop(with_signal)
        assert running.exception(timeout=30) is not None or running.result().error
    assert service.exit_code == 0
    assert seconds < 3.5


def test_a_running_invocation_may_end_before_the_service_does(start_service):
    service = start_service()
    functions = Functions(service.client())
    name = functions.create()
    assert functions.invoke(name, 1).value() == 1
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.invoke, name, {"do": "sleep", "seconds": 0.7})
        until(lambda: "invoking" in service.states(name), what="a busy environment")
        service.stop()
        assert running.result().value()["calls"] == 2


def test_connections_are_kept_and_reused(service):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        request = f"GET {FUNCTIONS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {raw.authorization()}\r\n\r\n".encode()
        connection.sendall(request * 3)
        connection.settimeout(10)
        received = b""
        while received.count(b"HTTP/1.1 200") < 3:
            part = connection.recv(65536)
            assert part, received
            received += part


def test_an_idle_connection_holds_nobody_up(service):
    quiet = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(50)]
    try:
        for half in quiet[:25]:
            half.sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: local")
        started = time.monotonic()
        assert raw.request(service.port, "GET", FUNCTIONS).status == 200
        assert time.monotonic() - started < 5
    finally:
        for one in quiet:
            one.close()


def test_what_is_nowhere_is_not_found(service):
    answer = raw.request(service.port, "GET", "/no/such/path")
    assert 400 <= answer.status < 500
    assert json.loads(answer.body)
