"""Extensions: processes from layers, and parts of the runtime, that hear of invocations and of the end."""

import json
import re

import pytest
from support import toolchains
from support.functions import PROVIDED, PYTHON, Functions, unique
from support.service import ACCOUNT
from support.waiting import until
from test_layers import Layers
from test_lifecycle import environments, frozen

# What extensions of these tests begin with. They note what happens in a file that the function reads, and in the log.
PRELUDE = """#!/usr/bin/python3
import http.client, json, os, sys, time
NAME = os.path.basename(sys.argv[0])
identity = {}

def call(method, path, body=None, api="2020-01-01/extension", **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    headers = {"Lambda-Extension-" + name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(body) if isinstance(body, dict) else body
    connection.request(method, f"/{api}/{path}", body, {**identity, **headers})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()

def note(*what):
    line = json.dumps([NAME, *what])
    with open("/tmp/" + os.environ["AWS_LAMBDA_FUNCTION_NAME"], "a") as notes:
        notes.write(line + "\\n")
    print(line, flush=True)

def register(*events, **headers):
    status, answered, body = call("POST", "register", {"events": events}, **{"Name": NAME, **headers})
    if status == 200:
        identity["Lambda-Extension-Identifier"] = answered["lambda-extension-identifier"]
    note("registered", status, json.loads(body))

def next_event():
    status, headers, body = call("GET", "event/next")
    event = json.loads(body)
    note("event", event, headers.get("lambda-extension-event-identifier"))
    return event

"""

LOOP = """
while next_event()["eventType"] != "SHUTDOWN":
    pass
"""

EVERYTHING = 'register("INVOKE", "SHUTDOWN", Accept_Feature="other, accountId")\n' + LOOP

FUNCTION = """
import json, os, signal, time

def terminated(*_):
    with open("/tmp/" + os.environ["AWS_LAMBDA_FUNCTION_NAME"], "a") as notes:
        notes.write('["function", "terminated"]\\n')
    os._exit(0)

signal.signal(signal.SIGTERM, terminated)

def handler(event, context):
    do = (event or {}).get("do")
    if do == "hang":
        time.sleep(60)
    if do == "exit":
        os._exit(3)
    path = "/tmp/" + os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    if not os.path.exists(path):
        return []
    return [json.loads(line) for line in open(path)]
"""


def extensions(**bodies):
    """The files of a layer with these extensions."""
    return {f"extensions/{name}!": PRELUDE + body for name, body in bodies.items()}


@pytest.fixture
def layers(client):
    layers = Layers(client)
    yield layers
    layers.clean()


class World:
    """Functions with a layer, in one service."""

    def __init__(self, service, functions, layers):
        self.service, self.functions, self.layers = service, functions, layers

    def create(self, files, code=FUNCTION, **parameters):
        parameters = {"Runtime": PYTHON, "Handler": "main.handler", **parameters}
        code = {"main.py": code} if isinstance(code, str) else code
        return self.functions.create(code, Layers=[self.layers.arn(files)], **parameters)

    def invoke(self, name, event=None, **parameters):
        """Invokes when extensions are done with the invocation before, so that the same environment is taken."""
        until(lambda: all(one["status"] != "invoking" for one in environments(self.service, name)), what="rest")
        return self.functions.invoke(name, event, **parameters)

    def notes(self, name):
        return self.invoke(name).value()

    def log(self, name):
        """All lines of its log."""
        logs = self.service.client("logs")
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].rstrip("\n") for event in events]

    def wait_for_log(self, name, *texts):
        """Waits until lines with each of these texts are in the log."""

        def there():
            lines = self.log(name)
            return all(any(text in line for line in lines) for text in texts) and lines

        return until(there, what=f"{texts} in the log")


@pytest.fixture
def world(service, functions, layers):
    return World(service, functions, layers)


@pytest.fixture(params=["best", "none"])
def leveled(request, start_service):
    """The world at the best level of isolation, and without."""
    service = start_service(f"--isolation={request.param}")
    return World(service, Functions(service.client()), Layers(service.client()))


def about(notes, name, what):
    return [note[2:] for note in notes if note[:2] == [name, what]]


def reasons(notes):
    return [event[0].get("shutdownReason") for event in about(notes, "tool", "event") if "shutdownReason" in event[0]]


def test_an_external_extension_hears_of_invocations_and_of_the_end(leveled):
    world = leveled
    name = world.create(extensions(tool=EVERYTHING))
    first = world.invoke(name)
    [[status, document]] = about(first.value(), "tool", "registered")
    assert status == 200
    assert list(document.items()) == [
        ("accountId", ACCOUNT),
        ("functionName", name),
        ("functionVersion", "$LATEST"),
        ("handler", "main.handler"),
    ]
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    second = world.invoke(name)
    event, identifier = about(second.value(), "tool", "event")[0]
    assert event.pop("deadlineMs") > 1_600_000_000_000
    tracing = event.pop("tracing")
    assert tracing["type"] == "X-Amzn-Trace-Id" and tracing["value"].startswith("Root=1-")
    assert event == {"eventType": "INVOKE", "requestId": first.request_id, "invokedFunctionArn": arn}
    assert re.fullmatch(r"[0-9a-f-]{36}", identifier)
    world.functions.clean()
    lines = world.wait_for_log(name, '"shutdownReason": "spindown"')
    assert "EXTENSION\tName: tool\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in lines
    kinds = [line.split()[0] for line in lines if line.startswith(("INIT_START", "EXTENSION", "START"))]
    assert kinds == ["INIT_START", "EXTENSION", "START", "START"]
    until(lambda: not environments(world.service, name), what="the end of its environment")


def test_extensions_start_in_order_before_the_runtime_and_have_its_variables_but_its_own(world):
    body = """
register()
wanted = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "MINE", "PATH"]
unwanted = ["_HANDLER", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_GROUP_NAME", "PYTHONPATH"]
note("variables", [name for name in wanted if name not in os.environ], [name for name in unwanted if name in os.environ])
next_event()
"""
    files = {**extensions(beta=body, alpha=body), "extensions/folder/ignored!": "#!/bin/false"}
    code = 'import os\nwith open("/tmp/" + os.environ["AWS_LAMBDA_FUNCTION_NAME"], "a") as notes:\n    notes.write(\'["function", "begun"]\\n\')\n' + FUNCTION
    name = world.create(files, code, Environment={"Variables": {"MINE": "1"}})
    notes = world.notes(name)
    assert about(notes, "alpha", "variables") == about(notes, "beta", "variables") == [[[], []]]
    begun = [note[:2] for note in notes].index(["function", "begun"])
    registered = [index for index, note in enumerate(notes) if note[1] == "registered"]
    assert len(registered) == 2 and max(registered) < begun
    # Who subscribed to nothing is not waited for, and hears nothing.
    assert not about(world.notes(name), "alpha", "event")
    lines = world.wait_for_log(name, "Name: alpha", "Name: beta")
    shown = [line for line in lines if line.startswith("EXTENSION")]
    assert shown == [f"EXTENSION\tName: {one}\tState: Ready\tEvents: []" for one in ("alpha", "beta")]


def test_a_timeout_and_a_crash_are_told_as_reasons(world):
    name = world.create(extensions(tool=EVERYTHING), Timeout=1)
    assert world.invoke(name, {"do": "hang"}).payload["errorType"] == "Sandbox.Timedout"
    notes = world.notes(name)
    assert reasons(notes) == ["timeout"]
    assert ["function", "terminated"] in notes, "the runtime is asked to end"
    crashed = world.invoke(name, {"do": "exit"})
    assert crashed.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {crashed.request_id} Error: Runtime exited with error: exit status 3",
    }
    notes = world.notes(name)
    assert reasons(notes) == ["timeout", "failure"]
    assert len(about(notes, "tool", "registered")) == 3


def test_every_refusal(world):
    body = """
def said(*arguments, **headers):
    status, _, body = call(*arguments, **headers)
    note("said", status, json.loads(body))

said("POST", "register", {})
said("POST", "register", "{", Name="tool")
said("POST", "register", {"configurationKeys": ["A"]}, Name="tool")
said("POST", "register", {"events": ["START"]}, Name="tool")
said("POST", "register", {"events": ["SHUTDOWN"]}, Name="other")
said("GET", "event/next")
said("GET", "event/next", Identifier="x")
said("GET", "event/next", Identifier="00000000-0000-4000-8000-000000000000")
said("POST", "init/error", Identifier="00000000-0000-4000-8000-000000000000")
said("POST", "exit/error", Identifier="00000000-0000-4000-8000-000000000000", Function_Error_Type="A.B")
note("paths", call("POST", "unknown")[0], call("PUT", "register")[0])
register()
said("POST", "register", {}, Name="tool")
for number in range(9):
    said("POST", "register", {}, Name=f"inner{number}")
said("POST", "register", {}, Name="inner9")
said("POST", "register", {}, Name="inner0")
"""
    # Nobody asks for an event in the name of the inner ones, so INIT does not end by itself.
    body += """
note("done")
call("POST", "init/error", Function_Error_Type="Tool.Done")
"""
    name = world.create(extensions(tool=body))
    failed = world.invoke(name)
    assert failed.payload["errorType"] == "Extension.InitError"
    lines = world.wait_for_log(name, '["tool", "done"]')
    notes = [json.loads(line) for line in lines if line.startswith('["tool"')]
    # INIT was repeated: the first attempt will do.
    notes = notes[: notes.index(["tool", "done"])]
    said = [(status, body.get("errorType"), body.get("errorMessage")) for status, body in about(notes, "tool", "said")]
    nobody = "00000000-0000-4000-8000-000000000000"
    state = "Extension.InvalidExtensionState"
    assert said[0] == (403, "Extension.InvalidExtensionName", "Empty extension name")
    assert said[1][:2] == (403, "InvalidRequestFormat")
    assert said[2:10] == [
        (403, "InvalidRequestFormat", "configurationKeys are deprecated; use environment variables instead"),
        (403, "Extension.InvalidEventType", "START: ErrorInvalidEventType"),
        (403, "Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"),
        (403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        (403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
        (403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {nobody}"),
        (403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"),
        (403, "Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier"),
    ]
    assert about(notes, "tool", "paths") == [[404, 405]]
    assert said[10] == (
        403, state,
        "State transition from Registered to Registered failed for extension tool."
        " Error: State transition is not allowed",
    )  # fmt: skip
    assert [one[0] for one in said[11:20]] == [200] * 9
    assert said[20:] == [(403, "Extension.TooManyExtensions", "Extension limit (10) reached")] * 2


FAILING = {
    "exit": ("raise SystemExit(0)", "Extension.Crash", "exit code 0", "Started", ""),
    "code": ("raise SystemExit(7)", "Extension.Crash", "exit status 7", "Started", ""),
    "signal": ("os.kill(os.getpid(), 9)", "Extension.Crash", "signal: killed", "Started", ""),
    "registered": ('register("INVOKE")', "Extension.Crash", "exit code 0", "Registered", ""),
    "init": (
        'register()\ncall("POST", "init/error", Function_Error_Type="Tool.Bad")\nraise SystemExit(1)',
        "Extension.InitError", "exit status 1", "InitError", "\tError Type: Tool.Bad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", FAILING)
def test_an_extension_that_fails_in_init_fails_the_invocation(world, how):
    body, error_type, message, state, error = FAILING[how]
    name = world.create(extensions(tool=body, other=EVERYTHING))
    failed = world.invoke(name)
    assert failed.error == "Unhandled"
    assert failed.payload == {"errorType": error_type, "errorMessage": f"RequestId: {failed.request_id} Error: {message}"}
    lines = world.wait_for_log(name, "Name: tool", "REPORT")
    events = "[INVOKE]" if how == "registered" else "[]"
    assert f"EXTENSION\tName: tool\tState: {state}\tEvents: {events}{error}" in lines
    # Once in INIT, and once more in the invocation.
    assert any(f"Phase: init\tStatus: error\tError Type: {error_type}" in line for line in lines)
    assert any(line.startswith("REPORT") and f"Error Type: {error_type}" in line for line in lines)


LAUNCHES = {
    "denied": ({"extensions/tool": "#!/bin/sh\n"}, "fork/exec /opt/extensions/tool: permission denied", "PermissionDenied"),
    "format": ({"extensions/tool!": "no program"}, "fork/exec /opt/extensions/tool: exec format error", "UnknownError"),
    "missing": (
        {"extensions/tool!": "#!/nowhere\n"},
        "fork/exec /opt/extensions/tool: no such file or directory", "UnknownError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", LAUNCHES)
def test_an_extension_that_cannot_be_started(world, how):
    files, message, error = LAUNCHES[how]
    name = world.create(files)
    failed = world.invoke(name)
    assert failed.payload == {
        "errorType": "Extension.LaunchError",
        "errorMessage": f"RequestId: {failed.request_id} Error: {message}",
    }
    world.wait_for_log(name, f"EXTENSION\tName: tool\tState: LaunchError\tEvents: []\tError Type: {error}")


def test_there_may_be_ten(world):
    quiet = "register()\nnext_event()\n"
    ten = {f"e{number:02}": quiet for number in range(10)}
    name = world.create(extensions(**ten), Timeout=60, MemorySize=1024)
    assert len(about(world.notes(name), "e09", "registered")) == 1
    name = world.create(extensions(**ten, e10=quiet), Timeout=60, MemorySize=1024)
    failed = world.invoke(name)
    assert failed.payload["errorType"] == "Extension.LaunchError"
    world.wait_for_log(name, "EXTENSION\tName: e10\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions")


def test_a_crash_in_an_invocation_fails_it_and_the_next_one_starts_anew(world):
    body = """
register("INVOKE")
next_event()
if not os.path.exists("/tmp/crashed"):
    open("/tmp/crashed", "w").close()
    call("POST", "exit/error", Function_Error_Type="Tool.Broke")
    raise SystemExit(5)
while True:
    next_event()
"""
    name = world.create(extensions(tool=body))
    failed = world.invoke(name, {"do": "hang"})
    assert failed.payload == {
        "errorType": "Extension.ExitError",
        "errorMessage": f"RequestId: {failed.request_id} Error: exit status 5",
    }
    assert len(about(world.notes(name), "tool", "registered")) == 2


def test_an_invocation_lasts_until_its_extensions_are_done(world):
    slow = """
register("INVOKE")
while True:
    next_event()
    time.sleep(0.3)
    print("done with it", flush=True)
"""
    name = world.create(extensions(tool=slow))
    for _ in range(2):
        tail = world.invoke(name, LogType="Tail").tail
        assert tail.index("START") < tail.index("done with it") < tail.index("END") < tail.index("REPORT")


def test_the_timeout_counts_for_extensions_too(world):
    stuck = 'register("INVOKE", "SHUTDOWN")\nnext_event()\ntime.sleep(60)\n'
    name = world.create(extensions(tool=stuck), Timeout=1)
    assert world.invoke(name).error is None, "the caller has its answer"
    lines = world.wait_for_log(name, "Status: timeout")
    assert len(about(world.notes(name), "tool", "registered")) == 2
    assert any(line.startswith("REPORT") and "Status: timeout" in line for line in lines)


def test_init_has_its_time_limit_with_extensions(world):
    # It lingers once, in the first INIT, and the repetition succeeds.
    once = """
if not os.path.exists("/tmp/lingered"):
    open("/tmp/lingered", "w").close()
    time.sleep(60)
register("INVOKE")
""" + LOOP
    name = world.create(extensions(tool=once), Timeout=30)
    assert len(about(world.notes(name), "tool", "registered")) == 1
    lines = world.wait_for_log(name, "Phase: init\tStatus: timeout")
    assert "EXTENSION\tName: tool\tState: Started\tEvents: []" in lines


INTERNAL = (
    PRELUDE.replace("NAME = os.path.basename(sys.argv[0])", 'NAME = "inner"')
    + """
import threading
note("shutdown", call("POST", "register", {"events": ["SHUTDOWN"]}, Name=NAME)[0])
register("INVOKE")

def follow():
    while True:
        next_event()

threading.Thread(target=follow, daemon=True).start()

"""
    + FUNCTION.replace("    do =", '    late = call("POST", "register", {}, Name="late")[2]\n    do =').replace(
        "return [json", "return [late] + [json"
    )
)


def test_an_internal_extension_is_part_of_the_runtime(world):
    name = world.functions.create({"main.py": INTERNAL}, Runtime=PYTHON, Handler="main.handler", Timeout=2)
    first = world.invoke(name)
    late, *_ = first.value()
    assert json.loads(late) == {
        "errorMessage": "Extension registration closed already",
        "errorType": "Extension.RegistrationClosed",
    }
    late, *notes = world.invoke(name).value()
    assert about(notes, "inner", "shutdown") == [[403]]
    assert about(notes, "inner", "event")[0][0]["requestId"] == first.request_id
    world.wait_for_log(name, "EXTENSION\tName: inner\tState: Ready\tEvents: [INVOKE]")
    # It is asked to end, and has half a second.
    assert world.invoke(name, {"do": "hang"}).payload["errorType"] == "Sandbox.Timedout"
    assert ["function", "terminated"] in world.invoke(name).value()


def test_nothing_of_an_extension_runs_between_invocations(world):
    ticking = """
import threading
def tick():
    while True:
        with open("/tmp/ticks", "a") as ticks:
            ticks.write(f"{time.time()}\\n")
        time.sleep(0.002)
register("INVOKE")
threading.Thread(target=tick, daemon=True).start()
""" + LOOP
    code = "def handler(event, context):\n    return [float(line) for line in open('/tmp/ticks')]\n"
    name = world.create(extensions(tool=ticking), code)
    import time

    world.invoke(name).value()
    until(lambda: frozen(world.service, name), what="freezing")
    begun = time.time()
    assert all(frozen(world.service, name) for _ in range(50))
    ended = time.time()
    ticks = until(lambda: world.invoke(name).value(), what="ticks")
    assert not [tick for tick in ticks if begun < tick < ended]
    assert [tick for tick in ticks if tick <= begun]


BASH = """#!/bin/bash
set -euo pipefail
name=$(basename "$0")
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
curl -sS -D /tmp/headers -XPOST "$api/register" -H "Lambda-Extension-Name: $name" -d '{"events": ["INVOKE", "SHUTDOWN"]}' > /dev/null
id=$(grep -i '^lambda-extension-identifier' /tmp/headers | tr -d '\\r' | cut -d' ' -f2)
while true; do
    event=$(curl -sS "$api/event/next" -H "Lambda-Extension-Identifier: $id")
    echo "[$name] $event"
    if [[ $event == *SHUTDOWN* ]]; then exit 0; fi
done
"""


def test_an_extension_in_bash(world):
    toolchains.need("curl")
    name = world.create({"extensions/tool.sh!": BASH})
    reply = world.invoke(name, LogType="Tail")
    assert f'[tool.sh] {{"eventType":"INVOKE"' in reply.tail and reply.request_id in reply.tail
    world.functions.clean()
    world.wait_for_log(name, '"shutdownReason":"spindown"', "Name: tool.sh\tState: Ready")


# As AWS's Lambda Web Adapter works: a layer brings an extension, which asks for invocations in the place of a runtime,
# and a wrapper, which starts the function's own web server instead of a runtime.
ADAPTER = """
import threading
register()
threading.Thread(target=next_event, daemon=True).start()

def web(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8080")))
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()

while True:
    try:
        if web("GET", "/")[0] == 200:
            break
    except OSError:
        time.sleep(0.005)
while True:
    status, headers, body = call("GET", "invocation/next", api="2018-06-01/runtime")
    event = json.loads(body)
    status, body = web(event["httpMethod"], event["path"], event.get("body"), {"X-Request-Id": headers["lambda-runtime-aws-request-id"]})
    answer = json.dumps({"statusCode": status, "body": body})
    call("POST", f"invocation/{headers['lambda-runtime-aws-request-id']}/response", answer, api="2018-06-01/runtime")
"""

SERVER = """#!/usr/bin/python3
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, f"GET {self.path}")

    def do_POST(self):
        self.answer(201, self.rfile.read(int(self.headers["Content-Length"])).decode() + self.headers["X-Request-Id"])

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_an_extension_can_stand_in_for_the_runtime_of_a_web_server(leveled):
    from support.service import free_port

    world = leveled
    wrapper = '#!/bin/sh\nexec "$LAMBDA_TASK_ROOT/$_HANDLER"\n'
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "PORT": str(free_port())}
    files = {**extensions(adapter=ADAPTER), "bootstrap!": wrapper}
    name = world.functions.create(
        {"run.py!": SERVER}, Runtime=PYTHON, Handler="run.py", Layers=[world.layers.arn(files)], Environment={"Variables": variables}
    )
    for number in range(3):
        reply = world.invoke(name, {"httpMethod": "POST", "path": "/x", "body": f"{number} "})
        assert reply.value() == {"statusCode": 201, "body": f"{number} {reply.request_id}"}
    assert world.invoke(name, {"httpMethod": "GET", "path": "/y"}).value()["body"] == "GET /y"
    world.wait_for_log(name, "listening", "EXTENSION\tName: adapter\tState: Ready\tEvents: []")


@pytest.mark.timeout(900)
def test_an_extension_on_awss_own_crate(world):
    files = {"extensions/rust-extension!": toolchains.rust_extension()}
    name = world.create(files)
    first = world.invoke(name, LogType="Tail")
    assert f"rust-extension: invoked {first.request_id}" in first.tail
    world.functions.clean()
    world.wait_for_log(name, "rust-extension: shutdown spindown", "State: Ready\tEvents: [INVOKE, SHUTDOWN]")


def test_a_wrapper_means_nothing_to_runtimes_that_bring_their_own(functions):
    bootstrap = """#!/usr/bin/python3
import http.client, os
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    connection = http.client.HTTPConnection(api)
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    event = connection.getresponse()
    id = event.getheader("lambda-runtime-aws-request-id")
    event.read()
    connection.request("POST", f"/2018-06-01/runtime/invocation/{id}/response", '"' + os.environ["AWS_LAMBDA_EXEC_WRAPPER"] + '"')
    connection.getresponse().read()
"""
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/none"}
    name = functions.create(
        {"bootstrap!": bootstrap}, name=unique("provided"), Runtime=PROVIDED, Handler="any", Environment={"Variables": variables}
    )
    assert functions.invoke(name).value() == "/var/task/none"


def test_a_stopped_service_lets_its_extensions_end(tmp_path, data_home):
    from support.service import Service

    def start():
        return Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()

    service = start()
    world = World(service, Functions(service.client()), Layers(service.client()))
    name = world.create(extensions(tool=EVERYTHING))
    world.notes(name)
    service.stop()
    service = start()
    try:
        lines = World(service, None, None).wait_for_log(name, '"shutdownReason": "spindown"')
        assert not any("panicked" in line for line in lines)
    finally:
        service.stop()
