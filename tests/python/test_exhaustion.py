"""Functions that use things up: each gets no more than its own, the service stays small, and others are answered."""

import base64
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import processes, usage
from support.functions import PYTHON, SOURCES, Functions, archive, folder
from support.service import Service
from support.waiting import until

HOSTILE = archive(folder(SOURCES / "hostile"))
MAIN = {"Runtime": PYTHON, "Handler": "hostile.handler"}

MEGABYTE = 1 << 20

# What the service may grow by, whatever a function does: a few payloads of 6 MB and what the allocator keeps of them.
GROWTH = 96 * MEGABYTE


class Cage:
    """A service with a bystander, and functions that are known by a mark in their environment."""

    def __init__(self, service):
        self.service, self.functions = service, Functions(service.client())
        self.full = "isolation: full" in service.log.lower()
        self.bystander = self.functions.create()
        self.functions.invoke(self.bystander, 1)

    @property
    def pid(self):
        return self.service.process.pid

    def create(self, **parameters):
        mark = uuid.uuid4().hex
        # As much memory as brings one processor: what is used up is quicker used up.
        settings = {"Timeout": 60, "MemorySize": 1769, **MAIN, **parameters}
        name = self.functions.create(HOSTILE, **settings, Environment={"Variables": {"MARK": mark}})
        return Hostile(self, name, mark)

    def others_are_answered(self):
        for number in range(5):
            assert self.functions.invoke(self.bystander, number).value() == number


class Hostile:
    def __init__(self, cage, name, mark):
        self.cage, self.name, self.mark = cage, name, mark

    def invoke(self, do, **event):
        return self.cage.functions.invoke(self.name, {"do": do, **event}, LogType="Tail")

    def recovers(self):
        """Answers again. What it did to itself may cost it the next invocations, in which it starts anew."""
        for _ in range(3):
            reply = self.invoke("echo", value=1)
            if not reply.error:
                break
            assert reply.payload["errorType"] in ("Sandbox.Timedout", "Runtime.ExitError"), reply.body
        assert reply.value() == 1

    def processes(self):
        return usage.with_variable("MARK", self.mark)

    def ends(self):
        """Deletes the function: nobody of it may stay."""
        self.cage.functions.client.delete_function(FunctionName=self.name)
        until(lambda: not self.processes(), what=f"the end of {len(self.processes())} processes")


@pytest.fixture(scope="module")
def cage(data_home):
    service = Service(home=data_home).start()
    try:
        cage = Cage(service)
        yield cage
        cage.others_are_answered()
    finally:
        service.stop()
    assert "panicked" not in service.log, service.log[-4000:]


@pytest.fixture
def full(cage):
    if not cage.full:
        pytest.skip("the service reports less than full isolation on this machine")
    return cage


@pytest.fixture
def bounded(cage):
    """The service's memory and descriptors may not follow what the function of this test does."""
    usage.forget_peak(cage.pid)
    memory, descriptors = usage.memory(cage.pid), len(usage.descriptors(cage.pid))
    yield
    assert usage.peak(cage.pid) - memory < GROWTH
    # Those of environments that the tests made meanwhile are among them: a dozen each.
    until(
        lambda: len(usage.descriptors(cage.pid)) < descriptors + 100,
        what="the end of the service's descriptors",
    )


# === what an environment has ===


@pytest.mark.parametrize("kind", ["processes", "zombies", "threads"])
def test_processes_are_counted(full, kind):
    hostile = full.create()
    answer = hostile.invoke(kind, most=1000).value()
    assert 500 < answer["count"] <= 742
    assert answer["error"] in ("EAGAIN", "can't start new thread")
    full.others_are_answered()
    hostile.ends()


def test_a_fork_bomb_is_one_functions_own_trouble(full):
    hostile = full.create(Timeout=3)
    with ThreadPoolExecutor() as pool:
        bomb = pool.submit(hostile.invoke, "fork_bomb")
        until(lambda: len(processes.descendants(full.pid)) > 300 or bomb.done(), what="the bomb")
        full.others_are_answered()
        assert bomb.result().payload["errorType"] == "Sandbox.Timedout"
    until(lambda: not hostile.processes(), what="the end of the bomb")
    assert hostile.invoke("echo", value=1).value() == 1
    hostile.ends()


def test_more_memory_than_there_is(full, bounded):
    hostile = full.create(MemorySize=512, EphemeralStorage={"Size": 512})
    reply = hostile.invoke("memory")
    assert reply.payload["errorType"] == "Runtime.ExitError"
    assert reply.payload["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert "Status: error\tError Type: Runtime.OutOfMemory" in reply.tail
    full.others_are_answered()
    assert hostile.invoke("echo", value=1).value() == 1
    # Of a child alone, so that only the child need be killed.
    reply = hostile.invoke("memory_of_a_child")
    assert reply.error or reply.payload == 9
    hostile.ends()


def test_files_fill_their_own_places_only(full):
    hostile = full.create(EphemeralStorage={"Size": 600})
    answer = hostile.invoke("fill", path="/tmp/full", most=2000 * MEGABYTE).value()
    assert answer["error"] == "ENOSPC" and 590 * MEGABYTE < answer["written"] <= 600 * MEGABYTE
    answer = hostile.invoke("fill", path="/dev/shm/full", most=2000 * MEGABYTE).value()
    assert answer["error"] == "ENOSPC" and answer["written"] <= 64 * MEGABYTE
    full.others_are_answered()
    # Another environment has a `/tmp` of its own.
    full.functions.configure(hostile.name, Description="new environments")
    answer = hostile.invoke("fill", path="/tmp/full", most=10 * MEGABYTE).value()
    assert answer == {"written": 10 * MEGABYTE, "error": None}
    hostile.ends()


def test_many_small_files_cost_their_owner(full):
    hostile = full.create(EphemeralStorage={"Size": 512})
    reply = hostile.invoke("many_files", most=100_000)
    assert reply.error or reply.payload["count"] == 100_000
    hostile.ends()


def test_descriptors_are_counted(cage, bounded):
    hostile = cage.create()
    for _ in range(2):
        answer = hostile.invoke("open_files").value()
        assert answer["error"] == "EMFILE" and 1000 < answer["count"] < 1024
    hostile.ends()


def test_what_the_kernel_counts_per_user_is_not_shared(full):
    """inotify instances, 128 a user on most machines, stand for all such counters."""
    greedy, modest = full.create(), full.create()
    greedy.invoke("watchers", most=1000).value()
    assert modest.invoke("watchers", most=1).value() == {"count": 1, "error": None}
    greedy.ends()
    modest.ends()


# === output ===


@pytest.mark.parametrize("kind", ["lines", "endless line", "frames"])
def test_a_flood_of_output(cage, bounded, kind):
    hostile = cage.create()
    with ThreadPoolExecutor() as pool:
        flood = pool.submit(hostile.invoke, "flood", kind=kind, bytes=48 * MEGABYTE)
        cage.others_are_answered()
        assert flood.result().value() >= 48 * MEGABYTE
    assert len(base64.b64decode(flood.result().response["LogResult"])) <= 4096
    hostile.ends()


@pytest.mark.parametrize("size", [100, 50_000])
def test_a_flood_of_trace_segments(full, bounded, size):
    hostile = full.create()
    with ThreadPoolExecutor() as pool:
        flood = pool.submit(hostile.invoke, "datagrams", seconds=1.5, size=size)
        until(lambda: "invoking" in full.service.states(hostile.name) or flood.done(), what="the flood")
        full.others_are_answered()
        assert flood.result().value() == [0, 0]
    hostile.ends()


def test_many_ways_out(full, bounded):
    """The relays of an own network take only so many connections at a time, and none that they may not."""
    hostile = full.create(Timeout=20)
    hostile.invoke("ways_out", count=900)
    full.others_are_answered()
    assert len(usage.descriptors(full.pid)) < 400
    hostile.recovers()
    hostile.ends()


# === outliving ===


def test_work_after_the_answer_stands_still(full):
    """Even if the kernel was asked to wake it. It goes on with the next invocation."""
    hostile = full.create()
    pid = hostile.invoke("spin").value()

    def used():
        return sum(usage.cpu_ticks(one) for one, _ in hostile.processes())

    def at_rest():
        before = used()
        threading.Event().wait(0.3)
        return used() == before

    until(at_rest, seconds=10, what="the rest of an idle environment")
    first = hostile.invoke("progress").value()
    assert first["pid"] == pid
    until(
        lambda: hostile.invoke("progress").value()["count"] > first["count"],
        what="progress while it is invoked",
    )
    hostile.ends()


def test_a_process_that_ignores_all_signals_ends(cage):
    hostile = cage.create(Timeout=1)
    assert hostile.invoke("stubborn").payload["errorType"] == "Sandbox.Timedout"
    until(lambda: not hostile.processes(), what="the end of a stubborn process")
    hostile.ends()


def test_the_service_ends_while_processes_ignore_all_signals(start_service):
    """`stop` has a limit, and sees that nobody is left."""
    service = start_service()
    cage = Cage(service)
    hostile = cage.create()
    hostile.invoke("daemons", count=5).value()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(lambda: until_error(hostile))
        until(lambda: "invoking" in service.states(hostile.name), what="the invocation")
        service.stop()
        running.result()
    until(lambda: not hostile.processes(), seconds=5, what="the end of stubborn processes")


def until_error(hostile):
    """The caller is told something, or the connection ends: the service is going away."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        hostile.invoke("stubborn")
    except (BotoCoreError, ClientError):
        pass


# === the Runtime API ===

NEXT = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("say", "close"),
    [("", False), ("GET /2018-06-01/run", False), (NEXT, True), (NEXT, False), ("", True)],
    ids=["silent", "half a request", "next and away", "next", "nothing and away"],
)
def test_many_connections_to_the_runtime_api(cage, bounded, say, close):
    hostile = cage.create(Timeout=5)
    # Those that are never served may keep even the function's own answer from being heard.
    hostile.invoke("connections", say=say, close=close, count=1500 if close else 900)
    cage.others_are_answered()
    assert len(usage.descriptors(cage.pid)) < 400
    hostile.recovers()
    hostile.ends()


GARBAGE = [
    "\0" * 64,
    "\r\n\r\n",
    "HELLO\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "POST /2018-06-01/runtime/invocation/%00/response HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "DELETE /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /_hothouse/environments HTTP/1.1\r\nHost: x\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def test_garbage_for_the_runtime_api(cage, bounded):
    hostile = cage.create()
    answers = hostile.invoke("garbage", texts=GARBAGE).value()
    wrong = [answer for answer in answers if answer.startswith("HTTP/1.1 2") or " 50" in answer]
    assert wrong == [], answers
    # Many on one connection, without waiting for answers.
    ping = "GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    assert hostile.invoke("garbage", texts=[ping], times=2000).value() == ["HTTP/1.1 200 OK"]
    assert hostile.invoke("large_head", most=64 * MEGABYTE).value() < 64 * MEGABYTE
    assert hostile.invoke("echo", value=1).value() == 1
    hostile.ends()


def test_nobody_answers_for_another(cage):
    """Not with the id of an invocation that another environment is handling at that moment, and not out of turn."""
    hostile, other = cage.create(), cage.create()
    with ThreadPoolExecutor() as pool:
        asleep = pool.submit(other.invoke, "sleep", seconds=2)
        until(lambda: "invoking" in cage.service.states(other.name), what="the other invocation")
        answers = hostile.invoke("answer_for_another", id=str(uuid.uuid4())).value()
        assert {status for status, _ in answers.values()} <= {400, 404}, answers
        assert asleep.result().value() == "mine"
    assert set(hostile.invoke("next_in_parallel").value()) == {200}
    reply = hostile.invoke("answer_twice")
    assert reply.value() == "by hand"
    assert hostile.invoke("echo", value=1).value() == 1
    hostile.ends()
    other.ends()


def test_a_response_without_end(cage, bounded):
    hostile = cage.create(Timeout=3)
    with ThreadPoolExecutor() as pool:
        endless = pool.submit(hostile.invoke, "endless_response")
        until(lambda: "invoking" in cage.service.states(hostile.name), what="the invocation")
        cage.others_are_answered()
        assert endless.result().error == "Unhandled"
    assert hostile.invoke("echo", value=1).value() == 1
    hostile.ends()


def test_many_bodies_at_once(cage, bounded):
    hostile = cage.create(Timeout=5)
    hostile.invoke("bodies", count=60, size=6 * MEGABYTE)
    cage.others_are_answered()
    hostile.recovers()
    hostile.ends()


# === the service ===


def test_a_function_that_invokes_itself(start_service):
    service = start_service("--limit-concurrent-executions=8", "--limit-minimum-unreserved-concurrency=0")
    functions = Functions(service.client())
    name = functions.create(HOSTILE, **MAIN)
    answer = functions.invoke(name, {"do": "recursion", "depth": 1}).value()
    assert (answer["depth"], answer["status"]) == (8, 429)
    assert functions.invoke(name, {"do": "echo", "value": 1}).value() == 1


def test_many_calls_of_the_service(cage, bounded):
    hostile = cage.create()
    with ThreadPoolExecutor() as pool:
        hammer = pool.submit(hostile.invoke, "hammer", threads=40, calls=25)
        cage.others_are_answered()
        assert hammer.result().value() == 40 * 25
    hostile.ends()
