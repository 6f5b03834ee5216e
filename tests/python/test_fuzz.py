"""Anything may come through the door: the service answers or hangs up, and goes on."""

import json
import os
import random
import socket

import pytest
from support import raw
from support.functions import Functions

# Told when a test fails, so that the same requests can be made again.
SEED = int(os.environ.get("HOTHOUSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
REQUESTS = 1500

METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "get"]
SEGMENTS = [
    "2015-03-31", "2017-03-31", "2014-11-13", "2021-11-15", "functions", "invocations", "versions", "aliases", "tags",
    "code", "configuration", "layers", "event-source-mappings", "function-url-configs", "account-settings", "2016-08-19",
    "fuzz", "fuzz:1", "fuzz:$LATEST", "fuzz:live", "%00", "%ff%fe", "..", ".", "%2e%2e%2f", "", "a" * 300, "ä", "🔥", "%",
    "%zz", "arn:aws:lambda:us-east-1:000000000000:function:fuzz", "arn%3Aaws%3Alambda%3Aus-east-1", "_hothouse", "health",
    "2018-10-31", "2019-09-25", "2019-09-30", "2020-04-22", "2021-10-31", "2025-11-30", "2025-12-01", "2026-07-09", "policy",
    "url", "urls", "event-invoke-config", "provisioned-concurrency", "code-signing-configs", "capacity-providers", "list",
    "resource-policy", "durable-executions", "durable-execution-callbacks", "succeed", "checkpoint", "concurrency",
    "_localstack", "'", '"', ";", "{}", "*", "0", "-1", "99999999999999999999",
]  # fmt: skip
QUERIES = [
    "", "?Qualifier=live", "?Qualifier=%00", "?MaxItems=-1", "?MaxItems=99999999999999999999", "?Marker=%ff", "?&&&==",
    "?Qualifier=1&Qualifier=2", "?FunctionVersion=ALL", "?" + "x" * 5000, "?tagKeys=a&tagKeys=", "?find=LayerVersion",
]  # fmt: skip
HEADERS = [
    ("X-Amz-Invocation-Type", "Event"), ("X-Amz-Invocation-Type", "DryRun"), ("X-Amz-Invocation-Type", "\x7f"),
    ("X-Amz-Log-Type", "Tail"), ("X-Amz-Client-Context", "no base64"), ("X-Amz-Client-Context", "bnVsbA=="),
    ("X-Amzn-Trace-Id", "Root=" + "1" * 3000), ("Content-Type", "text/plain; charset=\xff"), ("Content-Encoding", "gzip"),
    ("Authorization", "AWS4-HMAC-SHA256 Credential="), ("Authorization", "Basic xyz"), ("Authorization", "\xff" * 10),
    ("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f/g"), ("X-Amz-Target", "Logs_20140328.Nothing"),
    ("X-Amz-Target", "Logs_20140328.PutLogEvents"), ("Expect", "100-continue"), ("Expect", "200-ok"),
    ("Connection", "close"), ("Range", "bytes=0-"), ("X-Amz-Date", "never"), ("Accept", "*/*"), ("Cookie", "a=b"),
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(data_home):
    """A service of this file's own: whatever the requests make or break is theirs."""
    from support.service import Service

    service = Service(home=data_home).start()
    functions = Functions(service.client())
    functions.create(name="fuzz")
    yield service, functions
    assert service.running, f"seed {SEED}: the service ended\n{service.log[-4000:]}"
    service.stop()
    assert "panicked" not in service.log, f"seed {SEED}:\n{service.log[-4000:]}"


def still_works(fuzzed):
    service, functions = fuzzed
    assert service.running, f"seed {SEED}: the service ended\n{service.log[-4000:]}"
    functions.create(name="fuzz-probe")
    assert functions.invoke("fuzz-probe", {"still": "here"}).value() == {"still": "here"}
    functions.client.delete_function(FunctionName="fuzz-probe")


def value(chance, depth=0):
    """Any JSON value."""
    kind = chance.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return {chance.choice(FIELDS): value(chance, depth + 1) for _ in range(chance.randrange(5))}
    return [None, True, chance.randrange(-(2**70), 2**70), chance.random() * 1e300, chance.choice(TEXTS), ""][
        kind
    ]


FIELDS = [
    "FunctionName", "Runtime", "Role", "Handler", "Code", "ZipFile", "S3Bucket", "S3Key", "Timeout", "MemorySize", "Layers",
    "Environment", "Variables", "Publish", "VpcConfig", "Tags", "FunctionVersion", "Name", "RoutingConfig",
    "AdditionalVersionWeights", "Architectures", "LoggingConfig", "logGroupName", "logStreamName", "logEvents", "x", "",
]  # fmt: skip
TEXTS = [
    "fuzz",
    "a" * 1000,
    "\x00",
    "ä🔥",
    "python3.12",
    "arn:aws:iam::000000000000:role/test",
    "UEsDBA==",
    "..",
    "$LATEST",
]


def body(chance):
    kind = chance.randrange(5)
    if kind == 0:
        return b""
    if kind == 1:
        return chance.randbytes(chance.randrange(200))
    text = json.dumps(value(chance)).encode()
    if kind == 2 and text:
        # Cut short, or one byte changed.
        at = chance.randrange(len(text))
        return (
            text[:at]
            if chance.random() < 0.5
            else text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        )
    if kind == 3:
        return b"[" * chance.randrange(1, 5000)
    return text


def exchange(port, sent, timeout=20):
    """Sends bytes and returns what came back; the other side may hang up whenever it likes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass
        return received


def test_requests_of_every_kind_are_answered(fuzzed):
    service, _ = fuzzed
    chance = random.Random(SEED)
    for number in range(REQUESTS):
        method = chance.choice(METHODS)
        path = (
            "/"
            + "/".join(chance.choice(SEGMENTS) for _ in range(chance.randrange(6)))
            + chance.choice(QUERIES)
        )
        headers = [("Host", "localhost"), ("Connection", "close")]
        if chance.random() < 0.8:
            headers.append(
                ("Authorization", raw.authorization(chance.choice(["lambda", "logs", "sts", "sqs", ""])))
            )
        headers += [chance.choice(HEADERS) for _ in range(chance.randrange(4))]
        content = body(chance)
        headers.append(("Content-Length", str(len(content))))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in headers)
        # latin-1 keeps single bytes above 127 as they are; what it cannot write is sent as UTF-8.
        sent = b"\r\n".join([head.encode("utf-8" if any(ord(c) > 255 for c in head) else "latin-1"), content])
        received = exchange(service.port, sent)
        about = f"seed {SEED}, request {number}: {sent[:300]!r} -> {received[:300]!r}"
        if received:
            status = int(received.split(b" ", 2)[1])
            assert 100 <= status < 600, about
            # 501 is for operations that are not built yet, 502 for a companion that is not there.
            assert status in (501, 502) or status < 500, about
    still_works(fuzzed)


def test_bytes_that_are_no_http(fuzzed):
    service, _ = fuzzed
    chance = random.Random(SEED + 1)
    pieces = [b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"\x00", b"Host: a", b":", b"Content-Length: 10", b"\xff" * 50,
              b"Transfer-Encoding: chunked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"A" * 70000]  # fmt: skip
    for number in range(300):
        sent = b"".join(chance.choice(pieces) for _ in range(chance.randrange(1, 12)))
        received = exchange(service.port, sent)
        if received.startswith(b"HTTP/1.1 "):
            status = int(received.split(b" ", 2)[1])
            assert status < 500 or status == 501, (
                f"seed {SEED}, request {number}: {sent[:300]!r} -> {received[:300]!r}"
            )
    still_works(fuzzed)


def test_lengths_that_lie(fuzzed):
    service, _ = fuzzed
    head = f"POST /2015-03-31/functions/fuzz/invocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: {raw.authorization()}\r\n"
    for lines in [
        "Content-Length: 100\r\n\r\n{}",
        "Content-Length: -1\r\n\r\n{}",
        "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 9000000000\r\n\r\n{}",
    ]:
        received = exchange(service.port, (head + lines).encode())
        assert not received or int(received.split(b" ", 2)[1]) < 500 or b" 501 " in received[:15], (
            lines,
            received[:300],
        )
    still_works(fuzzed)


def test_a_large_body_is_refused_without_being_kept(fuzzed):
    """The limit of the largest request is 70167211 bytes; a sender of more is told so or cut off."""
    service, _ = fuzzed
    head = f"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nAuthorization: {raw.authorization()}\r\nConnection: close\r\n"
    received = exchange(
        service.port, f"{head}Content-Length: 80000000\r\n\r\n".encode() + bytes(80_000_000), timeout=60
    )
    assert not received or b" 413 " in received[:20], received[:300]
    still_works(fuzzed)
