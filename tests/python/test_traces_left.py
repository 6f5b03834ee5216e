"""Nothing of an environment survives it, and nothing of the service, however either ends: counted before and after."""

import os
import random
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from support import processes, usage
from support.functions import PYTHON, SOURCES, Functions, archive, folder, probe
from support.service import Service
from support.waiting import until

SEED = int(os.environ.get("HOTHOUSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
ROUNDS = 5


class Traces:
    """What a service, or one of its environments, has on the machine at this moment."""

    def __init__(self, pids, holder=None):
        self.processes = {one for one in map(processes.identity, pids) if one}
        self.groups = set().union(*map(usage.control_groups, pids))
        self.namespaces = set().union(*map(usage.namespaces, pids))
        self.sockets = set().union(*map(usage.sockets, pids))
        if holder is not None:
            held = usage.descriptors(holder).values()
            self.namespaces |= {link for link in held if usage.NAMESPACE.match(link)} - usage.links(
                "/proc/self/ns"
            )

    def left(self):
        """Those that are still there."""
        return {
            "processes": {processes.command_line(pid) for pid, _ in processes.alive(self.processes)},
            "control groups": {group for group in self.groups if Path(group).exists()},
            "namespaces": self.namespaces & usage.namespaces_of_orphans(),
            "sockets": self.sockets & usage.sockets_of_the_host(),
        }

    def are_gone(self, *kinds):
        """Waits until nothing is left of these kinds, or of all."""

        def gone():
            left = self.left()
            return not any(left[kind] for kind in kinds or left)

        try:
            until(gone, seconds=10)
        except AssertionError:
            raise AssertionError(
                f"left behind: { {kind: some for kind, some in self.left().items() if some} }"
            ) from None


class Place:
    """A service with directories of its own, so that all that is in them is its."""

    def __init__(self, folder_of_test, data_home):
        self.temporary, self.data = folder_of_test / "tmp", folder_of_test / "data"
        self.temporary.mkdir()
        self.data.mkdir()
        self.data_home = data_home
        self.mounts = usage.mounts()
        self.service = None

    def start(self, *options, ephemeral=True):
        if not ephemeral:
            options = (*options, f"--data-dir={self.data}")
        environment = {"TMPDIR": str(self.temporary)}
        self.service = Service(
            *options, home=self.data_home, environment=environment, ephemeral=ephemeral
        ).start()
        self.functions = Functions(self.service.client())
        return self.service

    @property
    def pid(self):
        return self.service.process.pid

    def below(self):
        """Inits of environments, and everything in these."""
        environments = usage.inits(self.pid) - usage.ready_sandboxes(self.pid)
        return environments | {pid for init in environments for pid, _ in processes.descendants(init)}

    def traces(self):
        """Of the service with everything below it."""
        everyone = {pid for pid, _ in processes.descendants(self.pid)}
        return Traces({self.pid, *everyone}, holder=self.pid)

    def traces_of_environments(self):
        return Traces(self.below())

    def is_clean(self):
        """No file, and no mount that was not there before. Other tests mount as well, in directories of their own."""
        assert usage.files(self.temporary) == set()
        others = tempfile.gettempdir()
        new = {mount for mount in usage.mounts() - self.mounts if not mount.split(" ")[4].startswith(others)}
        assert new == set()
        assert not any(str(self.temporary.parent) in mount for mount in usage.mounts())


@pytest.fixture
def place(tmp_path, data_home):
    place = Place(tmp_path, data_home)
    yield place
    if place.service is not None:
        place.service.stop()


def environments(place, count=3):
    """Living environments of functions in two languages, one of them with processes that nobody waits for."""
    functions = place.functions
    names = [functions.create(MemorySize=128) for _ in range(count - 1)]
    for name in names:
        functions.invoke(name, {"do": "write", "path": "/tmp/file", "text": "x" * 1000})
    hostile = archive(folder(SOURCES / "hostile"))
    names.append(functions.create(hostile, Runtime=PYTHON, Handler="hostile.handler"))
    functions.invoke(names[-1], {"do": "daemons", "count": 3}).value()
    return names


# === environments ===


def delete(place, names):
    for name in names:
        place.functions.client.delete_function(FunctionName=name)


def update_configuration(place, names):
    for name in names:
        place.functions.configure(name, Description="another")


def update_code(place, names):
    for name in names:
        place.functions.client.update_function_code(FunctionName=name, ZipFile=probe())
        place.functions.wait_updated(name)


def kill_the_inits(place, names):
    for pid in usage.inits(place.pid):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [delete, update_configuration, update_code, kill_the_inits])
def test_an_environment_leaves_nothing(place, end):
    place.start()
    names = environments(place)
    traces = place.traces_of_environments()
    assert len(traces.processes) >= 3 * 2 + 3
    assert bool(traces.groups and traces.namespaces) or "isolation: full" not in place.service.log.lower()
    before = len(usage.descriptors(place.pid))
    end(place, names)
    if end is kill_the_inits:
        # Their places stay, as after every crash; those that run in them are gone at once.
        traces.are_gone("processes")
        for name in names:
            assert not place.functions.invoke(name, {"do": "echo", "value": 1}).error
        delete(place, names)
    traces.are_gone()
    until(lambda: len(usage.descriptors(place.pid)) < before, what="the end of descriptors")
    place.service.stop()
    place.is_clean()
    place.service = None


def test_keep_alive_ends_them(place):
    place.start("--keep-alive=200ms")
    functions = place.functions
    name = functions.create()
    functions.invoke(name, {"do": "identify"})
    # It may have ended while we looked; then there was nothing to find.
    place.traces_of_environments().are_gone()
    until(lambda: place.service.states(name) == [], what="the end of the environment")
    assert place.below() == set()


# === the service ===


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_asked_to_end_leaves_nothing(place, number):
    place.start()
    environments(place)
    place.service.keeps_some_ready()
    traces = place.traces()
    assert len(traces.processes) >= 1 + 3 * 2
    assert bool(traces.groups and traces.namespaces) or "isolation: full" not in place.service.log.lower()
    place.service.stop(number)
    traces.are_gone()
    place.is_clean()
    place.service = None


class Load(threading.Thread):
    """Makes, invokes, changes and deletes functions until the service is gone."""

    def __init__(self, service, chance):
        super().__init__(daemon=True)
        self.client = service.client(connect_timeout=5, read_timeout=20)
        self.chance = chance

    def run(self):
        functions, made = Functions(self.client), []
        try:
            while True:
                try:
                    self.step(functions, made)
                except ClientError:
                    pass  # Another change is under way, or the service is going.
        except BotoCoreError:
            pass  # It is gone, which is the point.

    def step(self, functions, made):
        kind = self.chance.random()
        if len(made) < 2 or kind < 0.2:
            made.append(functions.create(wait=False, Timeout=5))
        elif kind < 0.8:
            functions.invoke(self.chance.choice(made), {"do": "identify"})
        elif kind < 0.9:
            self.client.update_function_configuration(
                FunctionName=self.chance.choice(made), Description=str(kind)
            )
        else:
            self.client.delete_function(FunctionName=made.pop())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("ephemeral", [True, False], ids=["ephemeral", "durable"])
def test_a_service_that_is_killed_leaves_what_the_next_one_removes(place, ephemeral):
    """Processes and all that hangs on them end with it; directories stay, until the next start."""
    chance = random.Random(SEED)
    groups = set()
    for _ in range(ROUNDS):
        service = place.start(ephemeral=ephemeral)
        assert [group for group in groups if Path(group).exists()] == [], f"seed {SEED}: after the next start"
        if ephemeral:
            # Its own directory of code and no other.
            assert len(list(place.temporary.iterdir())) <= 1
        loads = [Load(service, random.Random(chance.randrange(1 << 32))) for _ in range(3)]
        for load in loads:
            load.start()
        # The moment is random on purpose; nothing is expected of what was reached by then.
        threading.Event().wait(chance.uniform(0.1, 1.0))
        traces = place.traces()
        service.kill()
        traces.are_gone("processes", "namespaces", "sockets")
        groups |= traces.groups
        for load in loads:
            load.join(30)
            assert not load.is_alive()
        assert "panicked" not in service.log, service.log[-4000:]
    place.start(ephemeral=ephemeral)
    assert [group for group in groups if Path(group).exists()] == [], f"seed {SEED}"
    name = place.functions.create()
    assert place.functions.invoke(name, 1).value() == 1
    place.functions.client.delete_function(FunctionName=name)
    place.service.stop()
    place.is_clean()
    place.service = None


def test_what_is_killed_while_it_starts_leaves_nothing(place):
    """Before it said that it is ready, at a moment of chance."""
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        environment = {"TMPDIR": str(place.temporary)}
        service = Service(home=place.data_home, environment=environment).start(wait=False)
        threading.Event().wait(chance.uniform(0.0, 0.15))
        traces = Traces(
            {service.process.pid, *(pid for pid, _ in processes.descendants(service.process.pid))}
        )
        service.kill()
        traces.are_gone("processes", "namespaces", "sockets")
    place.start()
    place.service.stop()
    place.is_clean()
    place.service = None
