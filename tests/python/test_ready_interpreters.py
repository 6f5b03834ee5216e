"""Interpreters that were started before their function was known: nothing but the time tells one from a start of its own."""

import os
import signal

import pytest
from support import usage
from support.functions import NODE, PYTHON, Functions
from support.waiting import until

OPTION = "--await-assignment"

# A variable with which a function has an interpreter of its own, and which does nothing else.
OWN = {"python": {"PYTHONNODEBUGRANGES": ""}, "node": {"NODE_NO_WARNINGS": ""}}

PYTHON_SOURCE = """
import sys
BEFORE = sorted(sys.modules)
import ctypes, hashlib, os, random, resource, subprocess, tempfile, uuid

def child(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()

def handler(event, context):
    status = open("/proc/self/status").read().splitlines()
    kept = ("Cap", "NoNewPrivs", "Seccomp:", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "Umask", "NSpid")
    return {
        "early": b"%(option)s" in open("/proc/self/cmdline", "rb").read(),
        "pid": os.getpid(),
        "modules": BEFORE,
        "chance": [hash("text"), random.random(), str(uuid.uuid4()), tempfile.mktemp(), os.urandom(8).hex()],
        "surroundings": {
            "environment": dict(os.environ),
            "child": sorted(child("/usr/bin/env", "-0").split("\\0")),
            "arguments": [sys.argv, getattr(sys, "orig_argv", None), sys.flags[:]],
            "path": sys.path,
            "directory": os.getcwd(),
            "descriptors": sorted(os.listdir("/proc/self/fd")),
            "mounts": sorted(line.split(" ", 3)[3] for line in open("/proc/self/mountinfo")),
            "limits": open("/proc/self/limits").read(),
            "status": [line for line in status if line.startswith(kept)],
            "groups": open("/proc/self/cgroup").read().count("\\n"),
            "files": [sorted(os.listdir(path)) for path in ("/", "/var/task", "/opt", "/tmp", "/dev")],
            "oom": open("/proc/self/oom_score_adj").read(),
        },
    }
""" % {"option": OPTION}

NODE_SOURCE = """
const fs = require("node:fs"), os = require("node:os"), child = require("node:child_process");
exports.handler = async () => {
  const kept = /^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|SigBlk|SigIgn|Umask|NSpid)/;
  return {
    early: fs.readFileSync("/proc/self/cmdline", "latin1").includes("%(option)s"),
    pid: process.pid,
    modules: [],
    chance: [Math.random(), crypto.randomUUID(), require("node:crypto").randomBytes(8).toString("hex")],
    surroundings: {
      environment: { ...process.env },
      child: child.execFileSync("/usr/bin/env", ["-0"]).toString().split("\\0").sort(),
      arguments: [process.argv, process.execArgv],
      paths: [require("node:module").globalPaths, module.paths],
      directory: process.cwd(),
      descriptors: fs.readdirSync("/proc/self/fd").length,
      mounts: fs.readFileSync("/proc/self/mountinfo", "latin1").split("\\n").map((l) => l.split(" ").slice(3).join(" ")).sort(),
      limits: fs.readFileSync("/proc/self/limits", "latin1"),
      status: fs.readFileSync("/proc/self/status", "latin1").split("\\n").filter((line) => kept.test(line)),
      files: ["/", "/var/task", "/opt", "/tmp", "/dev"].map((path) => fs.readdirSync(path)),
      globals: Object.getOwnPropertyNames(globalThis).sort(),
      listeners: process.eventNames().map(String),
    },
  };
};
""" % {"option": OPTION}

FUNCTIONS = {
    "python": {"code": {"app.py": PYTHON_SOURCE}, "Handler": "app.handler", "Runtime": PYTHON},
    "node": {"code": {"app.js": NODE_SOURCE}, "Handler": "app.handler", "Runtime": NODE},
}
LANGUAGES = pytest.mark.parametrize("language", FUNCTIONS)


class Place:
    """A service of a test's own, and the interpreters that wait in it."""

    def __init__(self, service):
        self.service = service
        self.functions = Functions(service.client())

    def waiting(self):
        """Processes that wait for their function."""
        return usage.waiting_interpreters(self.service.process.pid)

    def until_one_waits(self):
        until(lambda: len(self.waiting()) == 1, seconds=20, what="an interpreter that waits")
        return self.waiting()[0]


@pytest.fixture
def place(start_service):
    """A place, or a skip where sandboxes are not made ahead."""
    if os.geteuid() != 0:
        pytest.skip("only root keeps sandboxes ready")
    return Place(start_service())


def differing(environment):
    """Without what differs between any two environments."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_LOG_STREAM_NAME")
    names += ("_X_AMZN_TRACE_ID", *OWN["python"], *OWN["node"])
    if isinstance(environment, dict):
        return {name: value for name, value in environment.items() if name not in names}
    return [line for line in environment if line.split("=")[0] not in names]


@LANGUAGES
def test_what_a_function_sees_is_what_it_sees_in_an_interpreter_of_its_own(place, language):
    name = place.functions.create(**FUNCTIONS[language], Environment={"Variables": {"MINE": "ä=b"}})
    place.until_one_waits()
    early = place.functions.invoke(name).value()
    place.functions.configure(name, Environment={"Variables": {"MINE": "ä=b", **OWN[language]}})
    own = place.functions.invoke(name).value()
    assert early["early"] and not own["early"]
    for found in (early, own):
        seen = found["surroundings"]
        seen["environment"] = differing(seen["environment"])
        seen["child"] = differing(seen["child"])
    assert early["surroundings"] == own["surroundings"]
    assert early["pid"] == own["pid"]
    assert set(early["modules"]) >= set(own["modules"])


@LANGUAGES
def test_no_two_have_the_same_chance(place, language):
    name = place.functions.create(**FUNCTIONS[language])
    seen = []
    for round in range(3):
        place.until_one_waits()
        found = place.functions.invoke(name).value()
        assert found["early"]
        seen.append(found["chance"])
        place.functions.configure(name, Environment={"Variables": {"ROUND": str(round)}})
    for values in zip(*seen):
        assert len(set(values)) == len(seen), values


@LANGUAGES
def test_one_that_was_killed_is_replaced_and_nobody_notices(place, language):
    name = place.functions.create(**FUNCTIONS[language])
    victim = place.until_one_waits()
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in place.waiting(), what="its end")
    # Another may wait already.
    assert not place.functions.invoke(name).error
    place.until_one_waits()
    place.functions.configure(name, Environment={"Variables": {"ROUND": "2"}})
    assert place.functions.invoke(name).value()["early"]


@pytest.mark.parametrize("module", ["json.py", "typing.py", "datetime/__init__.py", "re.py"])
def test_a_functions_own_copies_of_modules_win(place, module):
    source = "import json, datetime, re, typing\n\ndef handler(event, context):\n    return OWN.__file__\n"
    code = {"app.py": source.replace("OWN", module.replace(".py", "").split("/")[0]), module: "OWN = True\n"}
    if module == "re.py":
        code["app.py"] = "import re\n\ndef handler(event, context):\n    return re.__file__\n"
    name = place.functions.create(code, Handler="app.handler", Runtime=PYTHON)
    place.until_one_waits()
    assert place.functions.invoke(name).value() == f"/var/task/{module}"


def test_options_of_the_interpreter_are_those_of_an_own_one(place):
    source = "import sys\n\ndef handler(event, context):\n    return [hash('text'), sys.flags.hash_randomization]\n"
    name = place.functions.create(
        {"app.py": source}, Handler="app.handler", Runtime=PYTHON, Environment={"Variables": {"PYTHONHASHSEED": "0"}}
    )
    other = place.functions.create(
        {"app.py": source}, Handler="app.handler", Runtime=PYTHON, Environment={"Variables": {"PYTHONHASHSEED": "0"}}
    )
    assert place.functions.invoke(name).value() == place.functions.invoke(other).value()


def test_nothing_waits_where_nothing_may(start_service):
    place = Place(start_service("--ready-memory=0"))
    name = place.functions.create(**FUNCTIONS["python"])
    for round in range(3):
        assert not place.functions.invoke(name).value()["early"]
        place.functions.configure(name, Environment={"Variables": {"ROUND": str(round)}})
    assert not place.waiting()


def test_many_functions_are_not_many_interpreters(place):
    for memory in range(128, 128 + 30):
        code = FUNCTIONS["node"]["code"]
        place.functions.create(code, Handler="app.handler", Runtime=NODE, MemorySize=memory, wait=False)
        assert len(place.waiting()) <= 8


def test_they_end_with_a_killed_service(place):
    place.functions.create(**FUNCTIONS["python"])
    place.until_one_waits()
    # It checks that no process is left.
    place.service.kill()
