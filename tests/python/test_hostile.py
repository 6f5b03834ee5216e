"""Hostile functions: what each tried, and what it got, at every level of isolation that the machine has."""

import os
import shutil
import socket
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.functions import PYTHON, SOURCES, Functions, archive, folder
from support.service import BINARY, SCRATCH, Service

# Where an environment with a network of its own finds its Runtime API.
OWN_RUNTIME_API = "127.0.0.1:9001"

# An ordinary user: the one that owns nothing.
NOBODY = 65534

HOSTILE = archive(folder(SOURCES / "hostile"))

# level → options of the service, and whom it runs as. At lower levels it is an ordinary user: what is not prevented
# there would be done as root to the machine that runs the tests.
LEVELS = {
    "full": (["--isolation=full", "--network=isolated"], None),
    "host": (["--isolation=full", "--network=host"], None),
    "auto": (["--isolation=best", "--network=auto"], None),
    "partial": (["--isolation=partial", "--network=isolated"], NOBODY),
    "none": (["--isolation=none", "--network=host"], NOBODY),
}


class Level:
    """A service at one level with a victim and an attacker, and what the attacker got."""

    def __init__(self, name, service, functions, victim, attacker, event):
        self.name, self.service, self.functions = name, service, functions
        self.victim, self.attacker, self.event = victim, attacker, event


@contextmanager
def stopping(service):
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def scene(name, data_home):
    """Everything that is there to be attacked."""
    options, user = LEVELS[name]
    if os.geteuid() != 0:
        if user is None and name != "auto":
            pytest.skip("full isolation is tested as root")
        user = None
    # Not pytest's own directory, which is for its user only.
    place = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        place.chmod(0o755)
        binary = BINARY
        home = data_home
        if user is not None:
            binary = place / "bin" / "hothouse"
            binary.parent.mkdir()
            shutil.copy(BINARY, binary)
            home = place / "home"
        for folder_of_service in (place / "data", place / "tmp", place / "home"):
            folder_of_service.mkdir()
            if user is not None:
                os.chown(folder_of_service, user, user)
        secrets = [uuid.uuid4().hex for _ in range(2)]
        needle, abstract = uuid.uuid4().hex, f"hothouse-{uuid.uuid4().hex}"
        service = Service(
            f"--data-dir={place / 'data'}",
            *options,
            home=home,
            environment={"TMPDIR": str(place / "tmp"), "SECRET_OF_THE_SERVICE": secrets[0]},
            ephemeral=False,
            binary=binary,
            user=user,
        )
        with (
            stopping(service.start()),
            socket.create_server(("127.0.0.1", 0)) as host_tcp,
            socket.socket(socket.AF_UNIX) as host_abstract,
            socket.socket(socket.AF_UNIX) as host_socket,
        ):
            host_abstract.bind(f"\0{abstract}-host")
            host_abstract.listen()
            host_socket.bind(str(place / "socket"))
            os.chmod(place / "socket", 0o777)
            host_socket.listen()
            functions = Functions(service.client())
            main = {"Runtime": PYTHON, "Handler": "hostile.handler", "Timeout": 120, "MemorySize": 1769}
            victim = functions.create(
                archive({**folder(SOURCES / "hostile"), "needle.txt": needle}),
                **main,
                Environment={"Variables": {"SECRET": secrets[1]}},
            )
            attacker = functions.create(HOSTILE, **main)
            settled = functions.invoke(victim, {"do": "settle", "abstract": abstract}).value()
            event = {
                "do": "attempt",
                "places": [str(place / "data"), str(place / "tmp"), str(place / "bin")],
                "secrets": secrets,
                "needle": needle,
                "service_pid": service.process.pid,
                "service_port": service.port,
                "host_port": host_tcp.getsockname()[1],
                "host_abstract": f"{abstract}-host",
                "victim_abstract": abstract,
                "host_socket": str(place / "socket"),
                "victim": settled,
            }
            yield Level(name, service, functions, victim, attacker, event)
        assert "panicked" not in service.log, service.log[-4000:]
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module", params=LEVELS)
def level(request, data_home):
    with scene(request.param, data_home) as found:
        yield found


# What succeeds at every level, as it should: `/tmp` may hold programs, so memory may as well.
ALLOWED = {"program_from_memory"}

# What nobody prevents where environments have the host's network.
OVER_THE_HOSTS_NETWORK = {
    "loopback_of_the_host",
    "port_of_another_environment",
    "ports_in_reach",
    "runtime_api_of_another",
    "the_way_out",
}

# What nobody prevents without isolation: other processes of the same user, their files, the whole kernel.
WITHOUT_ISOLATION = OVER_THE_HOSTS_NETWORK | {
    "abstract_sockets",
    "affinity_of_others",
    "files_of_others",
    "find_code_of_others",
    "follow_links",
    "hold_others",
    "limits_of_others",
    "list_the_service",
    "message_queues",
    "secrets_of_others",
    "see_others",
    "shared_memory",
    "signal_others",
    "sockets_in_files",
    "sysfs",
    "trace_child",
    "write_outside_tmp",
    "write_own_memory_by_call",
}

# What depends on the machine there: how its kernel was built and configured, what it shows to everyone.
UP_TO_THE_MACHINE = {
    "control_groups",
    "call_add_key",
    "call_bpf",
    "call_io_uring_setup",
    "call_keyctl",
    "call_modify_ldt",
    "call_name_to_handle_at",
    "call_perf_event_open",
    "call_syslog",
    "call_userfaultfd",
    "devices",
    "hard_links",
    "interfaces",
    "lock_memory",
    "low_port",
    "new_namespace_by_clone",
    "new_namespace_by_clone3",
    "new_namespace_by_program",
    "new_namespaces",
    "other_architecture",
    "rare_sockets",
    "read_memory_of_others",
    "read_the_kernel",
    "read_what_the_host_keeps",
    "x32_calls",
}


def verdicts(level):
    """What must succeed at a level, and what may; everything else must be refused."""
    if level.name == "none":
        return ALLOWED | WITHOUT_ISOLATION, UP_TO_THE_MACHINE
    own_network = level.event["victim"]["api"] == OWN_RUNTIME_API
    isolated = level.name != "host" and "isolation: full" in level.service.log.lower()
    assert own_network or not isolated, level.service.log
    if own_network:
        return ALLOWED, set()
    # Landlock keeps abstract sockets apart, on kernels that have it.
    return ALLOWED | OVER_THE_HOSTS_NETWORK, {"interfaces", "abstract_sockets"}


def test_what_each_attempt_gets(level):
    names = level.functions.invoke(level.attacker, {"do": "names"}).value()
    answers = level.functions.invoke(level.attacker, {**level.event, "names": names}).value()
    must, may = verdicts(level)
    told = "\n".join(
        f"{'refused' if answer['refused'] else 'ALLOWED':8} {name:32} {answer['tried']}: {answer['got']}"
        for name, answer in sorted(answers.items())
    )
    write_down(level.name, told)
    assert must | may <= set(names)
    got_through = {name for name, answer in answers.items() if not answer["refused"]}
    assert sorted(got_through - must - may) == [], f"at level {level.name}:\n{told}"
    # What is said not to be prevented is not: else this table would promise less than there is.
    assert sorted(must - got_through) == [], f"at level {level.name}:\n{told}"


def test_nobody_else_was_touched(level):
    """The other environment is the same process as before, with all that it held; a signal would have ended it."""
    if level.name != "none":
        level.functions.invoke(level.attacker, {"do": "signal_everyone"}).value()
    seen = level.functions.invoke(level.victim, {"do": "look"}).value()
    assert seen == {"pid": level.event["victim"]["pid"], "calls": 1, "untouched": True}
    assert level.service.running


def test_its_own_first_process_does_not_die(level):
    """Init of a process tree takes no signal from inside. A tree without one ends, and only that."""
    plain = level.name == "none"
    reply = level.functions.invoke(level.attacker, {"do": "kill_init", "wait": 60 if plain else 0})
    assert (reply.error, reply.payload == "alive") == (("Unhandled", False) if plain else (None, True))
    assert level.functions.invoke(level.attacker, {"do": "echo", "value": 1}).value() == 1


def write_down(name, told):
    """Keeps the table, as a machine of one's own may be of interest."""
    folder_of_tables = SCRATCH / "hostile"
    folder_of_tables.mkdir(parents=True, exist_ok=True)
    (folder_of_tables / f"{name}.txt").write_text(told + "\n")
