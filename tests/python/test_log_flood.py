"""Functions that write more than can be stored: the service stays small, others go on, and the log says what is missing."""

import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import usage
from support.functions import PROVIDED, PYTHON, Functions
from support.waiting import until

MEGABYTE = 1 << 20

# What the service may grow by: the queue, the ephemeral store of 64 MB, and what the allocator keeps of them.
GROWTH = 120 * MEGABYTE

# Python writes as fast as the pipe is read, in lines of a usual length.
FLOOD = """
import os

LINES = (b"x" * 99 + b"\\n") * 600

def handler(event, context):
    written = 0
    while written < event["bytes"]:
        written += os.write(1, LINES)
    os.write(1, b"the end\\n")
    return written
"""

# Enough for a whole processor.
FLOODING = {"Runtime": PYTHON, "Handler": "main.handler", "MemorySize": 3008, "Timeout": 90}

# A child writes on, whatever becomes of the invocation.
BACKGROUND = """
import subprocess

def handler(event, context):
    if event.get("flood"):
        subprocess.Popen(["/bin/sh", "-c", "while :; do echo flood flood flood flood flood flood; done"])
    return 1
"""

DROPPED = re.compile(r"LOGS_DROPPED Records: (\d+)\tBytes: (\d+)\tReason: Some logs were dropped because ")


@pytest.fixture
def calm(start_service):
    """A service with a bystander that is warm."""
    service = start_service()
    functions = Functions(service.client())
    bystander = functions.create()
    functions.invoke(bystander, 1)
    return service, functions, bystander


def events(service, name):
    """All messages of a function's log."""
    pages = service.client("logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
    return [event["message"] for page in pages for event in page["events"]]


def meanwhile(functions, bystander, work):
    """Does `work` in a thread, and has the bystander invoked until it is done; says how often."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        future.add_done_callback(lambda _: done.set())
        answered = 0
        while not done.is_set():
            assert functions.invoke(bystander, answered).value() == answered
            answered += 1
        return future.result(), answered


@pytest.mark.parametrize(
    ("format", "size", "log_type"),
    [
        # More than the service may hold.
        ("Text", 180 * MEGABYTE, "None"),
        ("JSON", 40 * MEGABYTE, "Tail"),
    ],
)
def test_a_flood_is_bounded_counted_and_said(calm, format, size, log_type):
    service, functions, bystander = calm
    name = functions.create(
        {"main.py": FLOOD}, **FLOODING, LoggingConfig={"LogFormat": format}
    )
    functions.invoke(name, {"bytes": 0})
    before = usage.memory(service.process.pid)
    usage.forget_peak(service.process.pid)
    reply, answered = meanwhile(
        functions, bystander, lambda: functions.invoke(name, {"bytes": size}, LogType=log_type)
    )
    written = reply.value()
    assert usage.peak(service.process.pid) - before < GROWTH
    assert answered > 1
    if log_type == "Tail":
        # The end of the invocation's log is there, whatever was dropped of it.
        assert "the end\n" in reply.tail
        assert "platform.report" in reply.tail

    def complete():
        found = events(service, name)
        reports = [message for message in found if reply.request_id in message and "report" in message.lower()]
        return found if reports else None

    found = until(complete, what="the report of the flood")
    lost_records = lost_bytes = 0
    for message in found:
        if format == "Text" and (match := DROPPED.match(message)):
            lost_records, lost_bytes = lost_records + int(match[1]), lost_bytes + int(match[2])
        elif message.startswith('{"time"') and (line := json.loads(message))["type"] == "platform.logsDropped":
            assert list(line["record"]) == ["droppedBytes", "droppedRecords", "reason"]
            lost_records += line["record"]["droppedRecords"]
            lost_bytes += line["record"]["droppedBytes"]
    assert lost_bytes > 0
    # Each byte was dropped or stored; what was stored may have made room since.
    kept = sum(len(message) for message in found if message.startswith("xxx"))
    assert lost_bytes + kept <= written + 2 * len("the end\n")
    assert lost_records >= lost_bytes // 100
    assert "records were dropped" in service.log


def test_what_others_log_survives_a_flood(calm):
    service, functions, bystander = calm
    name = functions.create({"main.py": FLOOD}, **FLOODING)
    said = []

    def flood():
        return functions.invoke(name, {"bytes": 60 * MEGABYTE}).value()

    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(flood)
        future.add_done_callback(lambda _: done.set())
        while not done.is_set():
            said.append(f"said quietly {len(said)}")
            functions.invoke(bystander, {"do": "say", "lines": [said[-1]]})
        future.result()
    until(lambda: [m.rstrip("\n") for m in events(service, bystander) if "quietly" in m] == said, what="all lines")
    assert not [message for message in events(service, bystander) if "DROPPED" in message]


def test_a_flood_while_starting_and_in_the_background_blocks_nothing(start_service):
    # Without freezing, children write while nobody invokes.
    service = start_service("--freeze", "off")
    functions = Functions(service.client())
    bystander = functions.create()
    starting = "import os\nfor _ in range(2000):\n    os.write(2, b'y' * 65535 + b'\\n')\n" + BACKGROUND
    name = functions.create({"main.py": starting}, Runtime=PYTHON, Handler="main.handler", Timeout=60)
    before = usage.memory(service.process.pid)
    usage.forget_peak(service.process.pid)
    assert functions.invoke(name, {"flood": True}).value() == 1
    # The child writes on; its environment answers all the same, and so do others.
    for number in range(20):
        assert functions.invoke(name, {}).value() == 1
        assert functions.invoke(bystander, number).value() == number
    assert usage.peak(service.process.pid) - before < GROWTH
    functions.configure(name, Description="ends the environments of before")
    until(lambda: service.states(name) == [], what="the end of the environment with the flood")


def test_a_flood_that_never_ends_times_out(calm):
    service, functions, bystander = calm
    code = """
import os

def handler(event, context):
    # Several writers, so that the pipe is never empty.
    for _ in range(3):
        os.fork()
    while True:
        os.write(1, b"\\n" * 65536)
"""
    name = functions.create({"main.py": code}, **{**FLOODING, "Timeout": 1})
    reply, answered = meanwhile(functions, bystander, lambda: functions.invoke(name, {}))
    assert reply.payload["errorType"] == "Sandbox.Timedout"
    assert answered > 0


def test_a_line_without_end_is_events_of_256_kilobytes(calm):
    service, functions, _ = calm
    code = """
import os

def handler(event, context):
    rest = ("é" * 500_000).encode()
    while rest:
        rest = rest[os.write(1, rest):]
    return 1
"""
    name = functions.create({"main.py": code}, Runtime=PYTHON, Handler="main.handler")
    functions.invoke(name, {}).value()

    def complete():
        found = [message for message in events(service, name) if message.startswith("é")]
        return found if sum(map(len, found)) == 500_000 else None

    found = until(complete, what="the whole line")
    assert [len(message.encode()) for message in found] == [262_118] * 3 + [1_000_000 - 3 * 262_118]


def test_binary_output_survives(calm):
    service, functions, _ = calm
    # All bytes but newlines, a frame's magic among them, from a runtime that knows nothing of frames.
    bootstrap = """#!/bin/sh
next="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  id=$(curl -sD - -o /dev/null "$next/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  printf '\\245Z\\000\\003 no frame \\000\\001\\377\\376 end\\n\\245\\n'
  curl -s -d 1 "$next/$id/response" > /dev/null
done
"""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    name = functions.create({"bootstrap!": bootstrap}, Runtime=PROVIDED, Handler="x")
    functions.invoke(name, {}).value()

    def there():
        found = [m for m in events(service, name) if "frame" in m or m == "\ufffd\n"]
        return found if len(found) == 2 else None

    found = until(there, what="the lines")
    assert found == ["\ufffdZ\0\x03 no frame \0\x01\ufffd\ufffd end\n", "\ufffd\n"]
