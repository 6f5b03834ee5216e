"""Many environments of one runtime at once: interpreters that are copies of one, and what they must not share."""

import collections
import contextlib
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from support.functions import PYTHON, Functions, archive
from support.processes import alive, children, command_line, descendants
from support.waiting import until

# Environments with an interpreter of their own, before copies are made.
BURST_BEGINS = 8
AT_ONCE = 24

LOOK = """
import sys
loaded = sorted(sys.modules)
import hashlib, json, os, random, secrets, ssl, tempfile, threading, time, uuid

def status(process):
    with open(f"/proc/{process}/status") as file:
        lines = dict(line.strip().split(":", 1) for line in file)
    names = "Uid Gid Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Threads "
    names += "SigBlk SigIgn SigCgt Umask"
    return {name: lines[name].strip() for name in names.split()}

def handler(event, context):
    time.sleep(event["seconds"])
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    with open(path, "w") as file:
        file.write(context.aws_request_id)
    return {
        "environment": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        "hash": hash("seed"),
        "random": [random.random(), uuid.uuid4().hex, secrets.token_hex(), ssl.RAND_bytes(16).hex(), path],
        "loaded": loaded,
        "arguments": [sys.argv, getattr(sys, "orig_argv", [])[1:]],
        "path": sys.path,
        "variables": sorted(os.environ),
        "own": [os.environ["MINE"], os.getcwd(), time.tzname[0], sys.flags.hash_randomization],
        "status": status("self"),
        "descriptors": {int(name): os.readlink(f"/proc/self/fd/{name}").split(":")[0] for name in os.listdir("/proc/self/fd")
                        if os.path.islink(f"/proc/self/fd/{name}") and int(name) < 900},
        "limits": open("/proc/self/limits").read(),
        "mounts": sorted(line.split(" ", 3)[3] for line in open("/proc/self/mountinfo")),
        "oom": open("/proc/self/oom_score_adj").read(),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "threads": [threading.active_count(), threading.current_thread().name, os.getpid() == threading.get_native_id()],
        "files": len(os.listdir("/tmp")),
    }
"""


@pytest.fixture
def service(start_service):
    """One of the test's own, in which nobody else has had a burst."""
    return start_service()


@pytest.fixture
def functions(service):
    """Functions by a client with a connection for each call."""
    return Functions(service.client(max_pool_connections=AT_ONCE, retries={"total_max_attempts": 1}))


@pytest.fixture
def many(functions):
    """Invokes a function so often at once that no two share an environment, and tells the values."""
    if os.geteuid() != 0:
        pytest.skip("only root has zygotes")

    def invoke(name, count=AT_ONCE):
        with ThreadPoolExecutor(count) as pool:
            replies = list(pool.map(lambda _: functions.invoke(name, {"seconds": 3}).value(), range(count)))
        assert len({reply["environment"] for reply in replies}) == count
        return replies

    return invoke


def zygotes(service):
    # Their copies have the same command line, and other parents.
    return {one for one in children(service.process.pid) if command_line(one[0]).endswith("--zygote")}


def nurseries(service):
    """Where the inits of copies are born: like an init, but not the first process of a tree."""

    def is_nursery(pid):
        status = Path(f"/proc/{pid}/status").read_text()
        return "Name:\tinit\n" in status and len(re.search("NSpid:(.*)", status)[1].split()) == 1

    return {one for one in children(service.process.pid) if is_nursery(one[0])}


def create(functions, files=None, **settings):
    files = {"look.py": LOOK, **(files or {})}
    return functions.create(archive(files), Runtime=PYTHON, Handler="look.handler", **settings)


def copies(replies):
    """Those that share a hash seed with another."""
    seeds = collections.Counter(reply["hash"] for reply in replies)
    return [reply for reply in replies if seeds[reply["hash"]] > 1]


def test_copies_are_what_interpreters_of_their_own_are(service, functions, many):
    name = create(functions, Environment={"Variables": {"MINE": "value", "TZ": "Asia/Tokyo"}})
    alone = functions.invoke(name, {"seconds": 0}).value()
    assert zygotes(service) == set()
    replies = many(name)
    assert len(zygotes(service)) == 1
    # The first few have an interpreter of their own each; the warm one takes part, too.
    shared = copies(replies)
    assert AT_ONCE - BURST_BEGINS - 2 <= len(shared) <= AT_ONCE - BURST_BEGINS
    assert len({reply["hash"] for reply in replies}) == AT_ONCE - len(shared) + 1
    # What is random is not shared at all.
    for values in zip(*(reply["random"] for reply in replies)):
        assert len(set(values)) == AT_ONCE
    for reply in shared:
        for what in ("arguments", "path", "variables", "own", "status", "descriptors", "limits", "mounts", "oom", "processes", "threads"):
            assert reply[what] == alone[what], what
        assert reply["files"] == 1
        assert reply["own"] == ["value", "/var/task", "JST", 1]
        assert not {"_ssl", "ssl", "_hashlib", "random", "tempfile", "ctypes", "_ctypes", "_socket"} & set(reply["loaded"])


def test_a_functions_own_copies_of_modules_win(functions, many):
    own = "import sys\nMINE = 'own json'\ndef dumps(*_): return MINE\n"
    source = LOOK.replace("import sys\n", "import sys, json as own_json\n", 1)
    source += "    \ninner = handler\ndef handler(event, context):\n    return {**inner(event, context), 'json': own_json.dumps(0), 'file': own_json.__file__}\n"
    name = functions.create(
        archive({"look.py": source, "json.py": own}), Runtime=PYTHON, Handler="look.handler", Environment={"Variables": {"MINE": "1"}}
    )
    replies = many(name)
    assert len(copies(replies)) > 1
    assert {(reply["json"], reply["file"]) for reply in replies} == {("own json", "/var/task/json.py")}


def test_what_needs_a_fresh_interpreter_gets_one(service, functions, many):
    name = create(functions, Environment={"Variables": {"MINE": "1", "PYTHONHASHSEED": "random"}})
    replies = many(name)
    assert copies(replies) == []
    assert zygotes(service) == set()


@pytest.mark.parametrize("which", [zygotes, nurseries])
def test_one_that_dies_is_replaced(service, functions, many, which):
    name = create(functions, Environment={"Variables": {"MINE": "1"}})
    many(name)
    before = zygotes(service) | nurseries(service)
    assert len(before) == 2
    [(pid, _)] = which(service)
    functions.configure(name, Environment={"Variables": {"MINE": "2"}})
    os.kill(pid, signal.SIGKILL)
    replies = many(name)
    assert len(copies(replies)) > 1
    assert len(zygotes(service)) == len(nurseries(service)) == 1 and alive(before) == set()


def test_nothing_is_left_of_a_burst_when_the_service_is_killed(service, functions):
    name = create(functions, Environment={"Variables": {"MINE": "1"}}, Timeout=60)

    def invoke(_):
        with contextlib.suppress(BotoCoreError):
            functions.invoke(name, {"seconds": 50})

    def of_copies():
        return {one for one in descendants(service.process.pid) if command_line(one[0]).endswith("--zygote")}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        pool.map(invoke, range(AT_ONCE))
        until(lambda: len(of_copies()) > AT_ONCE - BURST_BEGINS, what="the copies")
        left = descendants(service.process.pid)
        service.kill()
    until(lambda: not alive(left), what="their ends")
