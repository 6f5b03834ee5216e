"""A Python client that is started ahead, and assigned to its function late.

Must not know how such processes are made: that is the service's.
"""

import os
import re
import socket

import pytest

from conftest import interpreters
from fake_runtime_api import Process, read_all

ECHO = """
    def handler(event, context):
        return event
"""

# What a process is started with that waits for its function.
EARLY = {"PATH": "/nowhere", "TZ": ":UTC", "LANG": "en_US.UTF-8", "EARLY": "must go", "_HANDLER": "other.handler"}

SURROUNDINGS = """
    import sys
    modules = sorted(sys.modules)
    import os, subprocess, time

    def handler(event, context):
        child = subprocess.run(["/usr/bin/env", "-0"], stdout=subprocess.PIPE).stdout.decode()
        return {
            "environment": dict(os.environ),
            "child": sorted(child.split("\\0")),
            "arguments": sys.argv,
            "original": getattr(sys, "orig_argv", None),
            "path": sys.path,
            "directory": os.getcwd(),
            "zone": [time.tzname, time.localtime(0).tm_hour],
            "descriptors": sorted(os.listdir("/proc/self/fd")),
            "modules": modules,
            "main": sorted(vars(sys.modules["__main__"])),
        }
"""


def surroundings(result):
    (outcome, document), = result.answers
    assert outcome == "response"
    return {name: value for name, value in document.items() if name != "modules"}, set(document["modules"])


@pytest.mark.parametrize("variables", [{"MINE": "ä=b\nc", "TZ": "Asia/Tokyo"}, {"PATH": "", "LANG": "C"}], ids=str)
def test_who_is_assigned_late_has_the_surroundings_of_a_start_of_its_own(run, variables):
    # What the interpreter reads as it starts must be the same: who starts processes ahead sees to it.
    early = {**EARLY, **{name: variables[name] for name in ("LANG",) if name in variables}}
    own, own_modules = surroundings(run(SURROUNDINGS, [1], variables=variables))
    late, late_modules = surroundings(run(SURROUNDINGS, [1], variables=variables, assigned=early))
    # The servers' ports differ.
    for found in (own, late):
        assert found["environment"].pop("AWS_LAMBDA_RUNTIME_API")
        found["child"] = [line for line in found["child"] if "AWS_LAMBDA_RUNTIME_API" not in line]
    assert late == own
    assert late_modules >= own_modules and "hothouse_assignment" in late_modules


def test_who_is_assigned_late_is_the_handler_of_the_assignment(run):
    result = run(ECHO, [{"a": 1}, 2], assigned=EARLY)
    assert result.answers == [("response", {"a": 1}), ("response", 2)]


@pytest.mark.parametrize("name", ["json.py", "functools.py", "enum/__init__.py", "datetime.py"])
def test_a_functions_own_copies_of_modules_win_over_what_was_imported_ahead(run, name):
    source = """
        import sys
        own = __import__(NAME)

        def handler(event, context):
            return own.__file__
    """.replace("NAME", repr(re.split(r"[./]", name)[0]))
    files = {name: "VALUE = 1"}
    for assigned in (EARLY, None):
        (_, file), = run(source, [1], files=files, assigned=assigned).answers
        assert file.endswith(f"/task/{name}")


def test_a_layers_own_copies_win_too(run, tmp_path):
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python/json.py").write_text("OWN = True")
    source = """
        import json

        def handler(event, context):
            return hasattr(json, "OWN")
    """
    result = run(source, [1], variables={"_HOTHOUSE_OPT": str(layer)}, assigned=EARLY)
    assert result.answers == [("response", True)]


def test_who_is_never_assigned_ends_without_a_word(python):
    client = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bootstrap.py")
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    command = [interpreters()[python], "-S", client, "--await-assignment"]
    process = Process(command, "/", EARLY, {1: writer, 2: writer, 3: theirs.fileno()})
    os.close(writer)
    theirs.close()
    ours.close()
    output = bytearray()
    read_all(reader, output)
    _, status = os.waitpid(process.pid, 0)
    assert (os.WEXITSTATUS(status), bytes(output)) == (0, b"")
