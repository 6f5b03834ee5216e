"""The life of environments: frozen between invocations, seen by their status, ended for a reason."""

import json
import subprocess
import time
import urllib.request

import pytest
from support.functions import NODE, PYTHON, Functions, error_of
from support.service import BINARY
from support.waiting import until

TICKS_PYTHON = """
import threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.time())
        time.sleep(0.002)
def handler(event, context):
    if not ticks:
        threading.Thread(target=tick, daemon=True).start()
    while not ticks:
        time.sleep(0.001)
    seen = ticks[:]
    del ticks[1:]
    return seen
"""

TICKS_NODE = """
const ticks = [];
exports.handler = async () => {
  if (!ticks.length) {
    setInterval(() => ticks.push(Date.now() / 1000), 2);
    ticks.push(Date.now() / 1000);
  }
  return ticks.splice(0, ticks.length, Date.now() / 1000);
};
"""

TICKING = {
    "python": ({"main.py": TICKS_PYTHON}, {"Runtime": PYTHON, "Handler": "main.handler"}),
    "node": ({"main.js": TICKS_NODE}, {"Runtime": NODE, "Handler": "main.handler"}),
}


def environments(service, function, which="environments"):
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/environments", timeout=20) as response:
        return [one for one in json.load(response)[which] if one["functionName"] == function]


def frozen(service, name):
    return all(one["frozen"] for one in environments(service, name))


@pytest.mark.parametrize("language", TICKING)
def test_nothing_runs_between_invocations(service, functions, language):
    code, settings = TICKING[language]
    name = functions.create(code, **settings)
    functions.invoke(name).value()
    until(lambda: frozen(service, name), what="freezing")
    begun = time.time()
    # Some time passes; as long as these questions take.
    assert all(frozen(service, name) for _ in range(50))
    ended = time.time()
    ticks = functions.invoke(name).value()
    assert not [tick for tick in ticks if begun < tick < ended]
    # It does run on: a third invocation finds what ticked after the second.
    until(lambda: len(functions.invoke(name).value()) > 2, what="ticks between quick invocations")


def test_freezing_can_be_turned_off(start_service):
    service = start_service("--freeze", "off")
    functions = Functions(service.client())
    code, settings = TICKING["python"]
    name = functions.create(code, **settings)
    begun = functions.invoke(name).value()[-1]

    def ticked():
        assert not frozen(service, name)
        return time.time() - begun > 0.2

    until(ticked, what="the passing of some time")
    ticks = functions.invoke(name).value()
    assert len([tick for tick in ticks if tick > begun]) > 20


def test_a_frozen_environment_ends_with_its_function(service, functions, client):
    name = functions.create()
    pid = functions.invoke(name, {"do": "identify"}).value()["pid"]
    assert pid > 0
    until(lambda: frozen(service, name), what="freezing")
    client.delete_function(FunctionName=name)
    until(lambda: not environments(service, name), what="the end of its environment")
    assert environments(service, name, "ended")[-1]["status"] == "stopped"


def ps(service, *options):
    command = [str(BINARY), "ps", "--json", "--endpoint", service.endpoint, *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_ps_shows_what_environments_do_and_what_became_of_them(start_service):
    service = start_service("--keep-alive", "100ms")
    functions = Functions(service.client())
    name = functions.create()
    functions.invoke(name, 1)
    until(lambda: not ps(service), what="the end of keep-alive")
    [ended] = ps(service, "--all")
    assert (ended["functionName"], ended["status"], ended["invocations"]) == (name, "stopped", 1)
    assert ended["initializationType"] == "on-demand"


def test_who_comes_right_after_a_timeout_gets_the_same_environment(service, functions):
    name = functions.create(Timeout=1)
    before = functions.invoke(name, {"do": "identify"}).value()["environment"]
    reply = functions.invoke(name, {"do": "sleep", "seconds": 5})
    assert reply.payload["errorType"] == "Sandbox.Timedout"
    after = functions.invoke(name, {"do": "identify"}).value()
    assert (after["environment"], after["calls"]) == (before, 1), "its process is another"
    until(lambda: service.states(name) == ["ready"], what="the warm environment")
    functions.invoke(name, {"do": "leave", "code": 3})
    assert service.states(name) == ["inactive"]


def test_a_failed_init_shows(service, functions):
    name = functions.create({"main.py": "raise ValueError('no')"}, Runtime=PYTHON, Handler="main.handler")
    assert functions.invoke(name).payload["errorMessage"] == "no"
    assert service.states(name) == ["startup-failed"]
    assert "INIT failed (hint: look at what the function does at start-up" in service.log


def test_the_start_up_ceiling_is_an_error_with_advice(start_service):
    service = start_service("--environment-startup-timeout", "500ms")
    functions = Functions(service.client())
    code = {"main.py": "import time\ntime.sleep(60)\ndef handler(event, context): pass"}
    name = functions.create(code, Runtime=PYTHON, Handler="main.handler")
    code, status, message = error_of(functions.invoke, name)
    assert (code, status) == ("ServiceException", 500)
    assert "timed out during start-up" in message and "--environment-startup-timeout" in message
    [ended] = until(lambda: environments(service, name, "ended"), what="the end of its environment")
    assert ended["status"] == "startup-timed-out"
    assert "INIT failed" in service.log
