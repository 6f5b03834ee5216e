"""Debug mode: debuggers reach functions, time limits are lifted, one environment a function."""

import importlib.util
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.debuggers import DebugAdapter, Inspector, once_it_listens
from support.functions import NODE, PYTHON, Functions, folder, unique
from support.service import BINARY, clean_environment, free_port
from support.waiting import until

STEPPED_NODE = """\
exports.handler = async (event) => {
  const doubled = event * 2;
  return doubled;
};
"""

STEPPED_PYTHON = """\
def handler(event, context):
    doubled = event * 2
    return doubled
"""

# What functions do that were made for LocalStack.
LISTENING_PYTHON = """\
import debugpy, os
debugpy.listen(("0.0.0.0", PORT))
debugpy.wait_for_client()

def handler(event, context):
    return event, [name for name in os.environ if "HOTHOUSE" in name]
"""

SLEEPING_PYTHON = """\
import time

def handler(event, context):
    time.sleep(event)
    return context.get_remaining_time_in_millis()
"""

# On the host's network the process listens there; in one of its own, what connects to the host's port is relayed.
BOTH_NETWORKS = pytest.mark.parametrize("network", ["--network=auto", "--network=host"])


@pytest.fixture
def debugging(start_service, tmp_path):
    """A service that debugs what a file names."""

    class Debugging:
        def __init__(self):
            self.file = tmp_path / "debug.yaml"
            self.file.write_text("functions:\n")
            self.service = start_service(f"--debug-config={self.file}")
            self.functions = Functions(self.service.client())

        def write(self, entries):
            """Replaces the file, `{name: {key: value}}`, and waits until it is read."""
            lines = ["functions:"]
            for name, settings in entries.items():
                lines.append(f"  arn:aws:lambda:us-east-1:000000000000:function:{name}:")
                lines += [f"    {key}: {value}" for key, value in settings.items()]
            before = self.service.log.count("functions to debug:")
            self.file.write_text("\n".join(lines) + "\n")
            until(lambda: self.service.log.count("functions to debug:") > before, what="reading the file")

    return Debugging()


def told_port(service, name):
    """The port that the service told for a function's debugger."""

    def look():
        return re.search(rf"debugger of function {name}: 127\.0\.0\.1:(\d+)", service.log)

    return int(until(look, what="the debugger's line")[1])


def invoke_meanwhile(functions, name, event):
    """Starts an invocation; the future is its reply."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(functions.invoke, name, event)
    pool.shutdown(wait=False)
    return future


@pytest.fixture(scope="module")
def debugpy():
    """The files of the package `debugpy`, as a function brings it."""
    origin = Path(importlib.util.find_spec("debugpy").origin).parent
    return {f"debugpy/{name}": content for name, content in folder(origin).items()}


@BOTH_NETWORKS
def test_a_breakpoint_in_a_node_function(start_service, network):
    service = start_service("--debug", network)
    functions = Functions(service.client())
    name = functions.create({"index.js": STEPPED_NODE}, Runtime=NODE, Handler="index.handler", Timeout=1)
    assert functions.invoke(name, 1).value() == 2
    with Inspector(told_port(service, name)) as inspector:
        inspector.call("Runtime.enable")
        inspector.call("Debugger.enable")
        sum_of = inspector.call("Runtime.evaluate", expression="20 + 1")
        assert sum_of["result"]["value"] == 21
        inspector.call("Debugger.setBreakpointByUrl", lineNumber=2, urlRegex=r"/index\.js$")

        reply = invoke_meanwhile(functions, name, 21)
        frame = inspector.wait("Debugger.paused")["callFrames"][0]
        doubled = inspector.call(
            "Debugger.evaluateOnCallFrame", callFrameId=frame["callFrameId"], expression="doubled"
        )
        assert doubled["result"]["value"] == 42
        assert not reply.done()
        # The next invocation waits for this environment, since the debugger is attached to no other.
        second = invoke_meanwhile(functions, name, 1)
        inspector.call("Debugger.disable")
        assert reply.result(60).value() == 42
        assert second.result(60).value() == 2
    assert len(service.states(name)) == 1
    listed = [str(BINARY), "ps", f"--endpoint={service.endpoint}"]
    listed = subprocess.run(
        listed, env=clean_environment(), capture_output=True, text=True, timeout=60
    ).stdout
    assert f"ready (debugger: 127.0.0.1:{told_port(service, name)})" in listed


def test_an_invocation_waits_for_the_debugger_that_a_function_asks_for(start_service):
    service, port = start_service("--debug"), free_port()
    functions = Functions(service.client())
    name = functions.create(
        {"index.js": STEPPED_NODE},
        Runtime=NODE,
        Handler="index.handler",
        Timeout=1,
        Environment={"Variables": {"NODE_OPTIONS": f"--inspect-brk=0.0.0.0:{port}"}},
    )
    reply = invoke_meanwhile(functions, name, 21)
    assert told_port(service, name) == port
    with once_it_listens(Inspector, port) as inspector:
        inspector.call("Debugger.enable")
        inspector.call("Runtime.runIfWaitingForDebugger")
        inspector.wait("Debugger.paused")
        assert not reply.done()
        inspector.call("Debugger.resume")
        assert reply.result(60).value() == 42


def step_through(service, name, source):
    """Stops the Python function in its last line, whose source is the file; looks at a variable; lets it go on."""
    functions = Functions(service.client())
    assert functions.invoke(name, 1).value() == 2
    with DebugAdapter(told_port(service, name)) as debugger:
        debugger.attach(local=source.parent, remote="/var/task")
        line = len(STEPPED_PYTHON.splitlines())
        answer = debugger.call("setBreakpoints", source={"path": str(source)}, breakpoints=[{"line": line}])
        assert answer["breakpoints"][0]["verified"], answer
        debugger.call("configurationDone")

        reply = invoke_meanwhile(functions, name, 21)
        thread = debugger.wait("stopped")["threadId"]
        frame = debugger.call("stackTrace", threadId=thread)["stackFrames"][0]
        assert (frame["source"]["path"], frame["line"]) == (str(source), line)
        assert debugger.call("evaluate", expression="doubled", frameId=frame["id"])["result"] == "42"
        assert not reply.done()
        debugger.call("continue", threadId=thread)
        assert reply.result(60).value() == 42
    assert functions.invoke(name, 2).value() == 4, "it runs on when the debugger has left"


@pytest.fixture
def stepped_source(tmp_path):
    """The Python function's file, as a person has it."""
    (tmp_path / "code").mkdir()
    source = tmp_path / "code" / "stepped.py"
    source.write_text(STEPPED_PYTHON)
    return source


def test_a_breakpoint_in_a_python_function(debugging, debugpy, stepped_source):
    name, port = unique("stepped"), free_port()
    debugging.write({name: {"debug-port": port}})
    code = {"stepped.py": STEPPED_PYTHON, **debugpy}
    debugging.functions.create(code, name=name, Runtime=PYTHON, Handler="stepped.handler", Timeout=1)
    step_through(debugging.service, name, stepped_source)
    assert told_port(debugging.service, name) == port


@BOTH_NETWORKS
def test_the_debugpy_of_an_editor_is_enough(start_service, tmp_path, stepped_source, network):
    package = Path(importlib.util.find_spec("debugpy").origin).parents[1]
    libraries = tmp_path / "home/.vscode/extensions/ms-python.debugpy-2025.8.0-linux-x64/bundled/libs"
    libraries.parent.mkdir(parents=True)
    libraries.symlink_to(package)
    home = {"HOME": str(tmp_path / "home"), "PYENV_ROOT": str(Path.home() / ".pyenv")}
    service = start_service("--debug", network, environment=home)
    code = {"stepped.py": STEPPED_PYTHON}
    name = Functions(service.client()).create(code, Runtime=PYTHON, Handler="stepped.handler", Timeout=1)
    step_through(service, name, stepped_source)


def test_a_function_that_listens_and_waits_by_itself(debugging, debugpy):
    name, port = unique("listening"), free_port()
    debugging.write({name: {"debug-port": port}})
    source = LISTENING_PYTHON.replace("PORT", str(port))
    debugging.functions.create(
        {"main.py": source, **debugpy}, name=name, Runtime=PYTHON, Handler="main.handler", Timeout=1
    )
    reply = invoke_meanwhile(debugging.functions, name, "stepped")
    told_port(debugging.service, name)
    with once_it_listens(DebugAdapter, port) as debugger:
        debugger.attach(local="/var/task", remote="/var/task")
        debugger.call("configurationDone")
        assert reply.result(60).value() == ["stepped", []], "what is ours is not seen"


def test_limits_are_lifted_unless_the_file_keeps_them(debugging):
    lifted, kept = unique("lifted"), unique("kept")
    debugging.write({lifted: {}, kept: {"enforce-timeouts": "true"}})
    for name in (lifted, kept):
        code = {"main.py": SLEEPING_PYTHON}
        debugging.functions.create(code, name=name, Runtime=PYTHON, Handler="main.handler", Timeout=1)
    remaining = debugging.functions.invoke(lifted, 3).value()
    assert 3_500_000 < remaining < 3_600_000
    reply = debugging.functions.invoke(kept, 3)
    assert reply.payload["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_the_file_may_be_wrong_for_a_while(debugging):
    debugging.write({unique(): {"debug-port": free_port()}})
    debugging.file.write_text("functions:\n  nothing\n")
    until(lambda: "stays in force" in debugging.service.log, what="a word about the file")
    assert "line 2" in debugging.service.log
    debugging.write({unique(): {}})


def test_a_wrong_file_refuses_the_start(start_service, tmp_path):
    file = tmp_path / "debug.yaml"
    file.write_text("functions:\n  name:\n    debug-port: 1\n")
    said = start_service(f"--debug-config={file}", wait=False).refusal()
    assert f"`{file}`, line 2" in said and "hint:" in said


def test_a_taken_port_does_not_stop_the_function(debugging):
    name = unique("taken")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        debugging.write({name: {"debug-port": other.getsockname()[1]}})
        debugging.functions.create(
            {"index.js": STEPPED_NODE}, name=name, Runtime=NODE, Handler="index.handler"
        )
        assert debugging.functions.invoke(name, 4).value() == 8
    assert "the function runs without one" in debugging.service.log


def test_a_new_version_takes_over_the_port(debugging):
    name, port = unique("renewed"), free_port()
    debugging.write({name: {"debug-port": port}})
    functions = debugging.functions
    functions.create({"index.js": STEPPED_NODE}, name=name, Runtime=NODE, Handler="index.handler")
    assert functions.invoke(name, 4).value() == 8
    functions.configure(name, Description="new")
    assert functions.invoke(name, 5).value() == 10
    with Inspector(port) as inspector:
        assert inspector.call("Runtime.evaluate", expression="1 + 1")["result"]["value"] == 2
