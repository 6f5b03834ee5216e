"""Telemetry and logs, as extensions in the environment get them: over HTTP and TCP, in every schema."""

import json
import re

import pytest
from support import toolchains
from support.functions import PYTHON, Functions
from support.waiting import until
from test_layers import Layers

# An extension that subscribes as its layer says, and keeps what it is sent where the function finds it.
RECEIVER = """#!/usr/bin/python3
import http.client, http.server, json, os, socketserver, threading

NAME = os.path.basename(__file__)
plan = json.load(open("/opt/plan.json"))
heard = threading.Event()

def keep(name, thing):
    with open("/tmp/" + name, "a") as file:
        file.write(json.dumps(thing) + "\\n")

class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status = plan["answers"].pop(0) if plan.get("answers") else 200
        keep("requests", [self.command, self.path, self.headers["content-type"], self.headers["host"], status])
        if status == 200:
            keep("batches", json.loads(body))
        if plan.get("last", "nothing like this") in body.decode():
            print("HEARD", plan["last"], flush=True)
            heard.set()
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, *_):
        pass

class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            keep("batches", [json.loads(line)])

def listen():
    kind, handler = (
        (socketserver.ThreadingTCPServer, Tcp) if plan.get("tcp") else (http.server.ThreadingHTTPServer, Http)
    )
    kind.allow_reuse_address = True
    server = kind((plan["host"], 4323), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    headers = {"Lambda-Extension-" + name: value for name, value in headers.items() if value is not None}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.getheader("lambda-extension-identifier"), answer.read().decode()

_, identifier, _ = call(
    "POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, Name=NAME
)
if plan["listen"]:
    listen()
for request in plan["requests"]:
    status, _, body = call(
        "PUT", request["path"], request["body"], Identifier=request.get("identifier", identifier)
    )
    keep("answers", [status, json.loads(body)])
print("the receiver is ready", flush=True)
while True:
    _, _, event = call("GET", "/2020-01-01/extension/event/next", Identifier=identifier)
    if json.loads(event)["eventType"] == "SHUTDOWN":
        # As extensions do: what comes in this phase is waited for, within its two seconds.
        if "last" in plan:
            heard.wait(1.5)
        break
    for request in plan.get("late", []):
        status, _, body = call("PUT", request["path"], request["body"], Identifier=identifier)
        keep("late", [status, json.loads(body)])
"""

FUNCTION = """
import json, os, sys, time

print("the function starts")

def read(name):
    path = "/tmp/" + name
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []

def handler(event, context):
    do = event.get("do")
    if do == "print":
        print(event["text"])
    if do == "flood":
        for number in range(event["lines"]):
            print("x" * 10)
    if do == "exit":
        os._exit(3)
    if do == "fail":
        raise ValueError("on purpose")
    if do == "wait":
        # For what the extension gets while this runs.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and event["text"] not in json.dumps(read("batches")):
            time.sleep(0.02)
    return {name: read(name) for name in ("answers", "batches", "requests", "late")}
"""

TELEMETRY, LOGS = "/2022-07-01/telemetry", "/2020-08-15/logs"
HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4323/events?all"}
EVERYTHING = ["platform", "function", "extension"]


def subscribe(schema="2022-07-01", path=TELEMETRY, identifier=None, **body):
    body = {
        "schemaVersion": schema,
        "types": EVERYTHING,
        "buffering": {"timeoutMs": 25},
        "destination": HTTP,
        **body,
    }
    return {"path": path, "body": body, **({"identifier": identifier} if identifier is not None else {})}


@pytest.fixture
def layers(client):
    layers = Layers(client)
    yield layers
    layers.clean()


@pytest.fixture
def receiver(service, functions, layers):
    """Creates a function with the receiver; gives a caller of it, which returns what the receiver has."""

    def create(*requests, listen=True, host="sandbox.localdomain", configuration=None, **plan):
        plan = {"requests": list(requests), "listen": listen, "host": host, **plan}
        layer = layers.arn({"extensions/receiver!": RECEIVER, "plan.json": json.dumps(plan)})
        name = functions.create(
            {"main.py": FUNCTION},
            Runtime=PYTHON,
            Handler="main.handler",
            Layers=[layer],
            **(configuration or {}),
        )
        return Caller(service, functions, name)

    return create


class Caller:
    def __init__(self, service, functions, name):
        self.service, self.functions, self.name = service, functions, name

    def __call__(self, do=None, **event):
        return self.functions.invoke(self.name, {"do": do, **event}).value()

    def events(self, *kinds):
        """All events, as soon as one of each of these kinds is there. What is said in one invocation comes in the next."""

        def there():
            events = [event for batch in self()["batches"] for event in batch]
            return set(kinds) <= {event["type"] for event in events} and events

        return until(there, what=f"events {kinds}")

    def log(self):
        events = self.service.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{self.name}")["events"]
        return [event["message"].rstrip("\n") for event in events]


ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
INIT = {"initializationType": "on-demand", "phase": "init"}
SPAN = {"name": str, "start": TIME, "durationMs": float}
# Fields of each record: their values, patterns of them, or their types.
RECORDS = {
    "platform.initStart": {
        **INIT,
        "runtimeVersion": r"python:3\.12\.v1",
        "runtimeVersionArn": r"arn:aws:lambda:.*",
        "functionName": str,
        "functionVersion": r"\$LATEST",
        "instanceId": r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}",
        "instanceMaxMemory": int,
    },
    "platform.initRuntimeDone": {**INIT, "status": "success"},
    "platform.initReport": {**INIT, "status": "success", "metrics": {"durationMs": float}},
    "platform.extension": {"name": "receiver", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]},
    "platform.telemetrySubscription": {"name": "receiver", "state": "Subscribed", "types": EVERYTHING},
    "platform.start": {"requestId": ID, "version": r"\$LATEST"},
    "platform.runtimeDone": {
        "requestId": ID,
        "status": "success",
        "spans": [SPAN, SPAN, SPAN],
        "metrics": {"durationMs": float, "producedBytes": int},
    },
    "platform.report": {
        "requestId": ID,
        "metrics": {
            "durationMs": float,
            "billedDurationMs": int,
            "memorySizeMB": int,
            "maxMemoryUsedMB": int,
            "initDurationMs": float,
        },
        "spans": [SPAN],
        "status": "success",
    },
    "function": str,
    "extension": str,
}
LOG_RECORDS = {
    "platform.start": RECORDS["platform.start"],
    "platform.end": {"requestId": ID},
    "platform.report": {"requestId": ID, "metrics": RECORDS["platform.report"]["metrics"]},
    "platform.extension": RECORDS["platform.extension"],
    "platform.logsSubscription": RECORDS["platform.telemetrySubscription"],
    "function": str,
    "extension": str,
}


def check(value, expected, where):
    """`value` is as `expected` describes it, fields in the same order."""
    if isinstance(expected, dict):
        assert isinstance(value, dict) and list(value) == list(expected), (where, value)
        for name in expected:
            check(value[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(value) == len(expected), (where, value)
        for one, wanted in zip(value, expected, strict=True):
            check(one, wanted, where)
    elif isinstance(expected, type):
        assert type(value) is expected, (where, value)
    else:
        assert value == expected or re.fullmatch(expected, value), (where, value)


def first(events):
    """The first event of each type."""
    firsts = {}
    for event in events:
        firsts.setdefault(event["type"], event)
    return firsts


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_telemetry_of_a_cold_start(receiver, schema):
    caller = receiver(subscribe(schema))
    events = caller.events("platform.report")
    found = first(events)
    assert set(found) == set(RECORDS)
    for kind, expected in RECORDS.items():
        assert list(found[kind]) == ["time", "type", "record"]
        check(found[kind]["time"], TIME, kind)
        check(found[kind]["record"], expected, kind)
    order = [event["type"] for event in events if event["type"] not in ("function", "extension")]
    assert order[: order.index("platform.report") + 1] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ]
    spans = [span["name"] for span in found["platform.runtimeDone"]["record"]["spans"]]
    assert spans == ["responseLatency", "responseDuration", "runtimeOverhead"]
    assert found["platform.report"]["record"]["spans"][0]["name"] == "extensionOverhead"
    assert found["platform.initStart"]["record"]["instanceMaxMemory"] == 128 << 20
    assert found["function"]["record"] == "the function starts\n"
    assert found["extension"]["record"] == "the receiver is ready\n"
    answer = caller()
    assert answer["answers"] == [[200, "OK"]]
    sent = ["POST", "/events?all", "application/json", "sandbox.localdomain:4323", 200]
    assert all(request == sent for request in answer["requests"])
    log = caller.log()
    assert "TELEMETRY\tName: receiver\tState: Subscribed\tTypes: [Platform, Function, Extension]" in log
    assert "EXTENSION\tName: receiver\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in log


@pytest.mark.parametrize("schema", [None, "2020-08-15", "2021-03-18"])
def test_logs_of_a_cold_start(receiver, schema):
    destination = {**HTTP, "method": "PUT", "encoding": "JSON"}
    caller = receiver(subscribe(schema, LOGS, destination=destination))
    found = first(caller.events("platform.report"))
    done = {"platform.runtimeDone": {"requestId": ID, "status": "success"}} if schema == "2021-03-18" else {}
    expected = {**LOG_RECORDS, **done}
    assert set(found) == set(expected)
    for kind in expected:
        check(found[kind]["record"], expected[kind], kind)
    assert caller()["requests"][0][0] == "PUT"
    assert "LOGS\tName: receiver\tState: Subscribed\tTypes: [Platform, Function, Extension]" in caller.log()


def test_tcp_gets_lines(receiver):
    caller = receiver(
        subscribe(destination={"protocol": "TCP", "port": 4323}), tcp=True, host="127.0.0.1"
    )
    events = caller.events("platform.report")
    assert set(first(events)) == set(RECORDS)


def test_types_choose(receiver):
    caller = receiver(subscribe(types=["function"]))
    caller("print", text="said by the function")
    events = caller.events("function")
    assert {event["type"] for event in events} == {"function"}


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13"])
def test_what_is_written_in_json_is_json_in_newer_schemas(receiver, schema):
    caller = receiver(subscribe(schema), configuration={"LoggingConfig": {"LogFormat": "JSON"}})
    text = '{"level": "INFO", "message": "said"}'
    caller("print", text=text)
    caller("wait", text="said")
    records = [event["record"] for event in caller.events("function") if event["type"] == "function"]
    assert "the function starts\n" in records
    assert (json.loads(text) if schema == "2022-12-13" else text + "\n") in records


def test_events_arrive_while_the_function_runs(receiver):
    caller = receiver(subscribe())
    caller("print", text="first")
    # It comes at the latest when the processes run again, and this invocation does not end before.
    batches = caller("wait", text="first")["batches"]
    assert "first\n" in [event["record"] for batch in batches for event in batch]


def test_a_crash_is_told_and_listeners_hear_of_it(receiver):
    caller = receiver(subscribe(), last="Runtime.ExitError")
    caller()
    reply = caller.functions.invoke(caller.name, {"do": "exit"})
    assert reply.error == "Unhandled"

    # The environment lives on, and with it its /tmp.
    def started_twice():
        events = [event for batch in caller()["batches"] for event in batch]
        return [event["type"] for event in events].count("platform.initStart") == 2 and events

    events = until(started_twice, what="events of another INIT")
    done = [event["record"] for event in events if event["type"] == "platform.runtimeDone"]
    failed = next(record for record in done if record["status"] != "success")
    assert (failed["status"], failed["errorType"]) == ("error", "Runtime.ExitError")
    assert (failed["spans"], failed["metrics"]["producedBytes"]) == ([], 0)
    report = [event["record"] for event in events if event["type"] == "platform.report"]
    assert {"status": "error", "errorType": "Runtime.ExitError"}.items() <= report[1].items()
    # INIT inside the next invocation is told as that.
    phases = [event["record"]["phase"] for event in events if event["type"] == "platform.initStart"]
    assert phases == ["init", "invoke"]


def test_the_logs_api_tells_of_faults(receiver):
    caller = receiver(subscribe("2021-03-18", LOGS), last="Runtime.ExitError")
    caller()
    caller.functions.invoke(caller.name, {"do": "exit"})
    found = first(caller.events("platform.fault"))
    check(found["platform.fault"]["record"], rf"RequestId: {ID} Status: error\tErrorType: Runtime.ExitError", "fault")


def test_a_listener_that_refuses_is_asked_again(receiver):
    caller = receiver(subscribe(), answers=[500, 503])
    events = caller.events("platform.report")
    assert first(events).keys() == RECORDS.keys()
    assert [request[-1] for request in caller()["requests"]][:3] == [500, 503, 200]


def test_a_listener_that_is_not_there_holds_nobody_up(receiver):
    caller = receiver(subscribe(), listen=False)
    assert caller("flood", lines=50_000)["answers"] == [[200, "OK"]]
    assert caller()["batches"] == []


def test_a_flood_is_dropped_and_counted(receiver):
    buffering = {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 1000}
    caller = receiver(subscribe(buffering=buffering))
    caller("flood", lines=20_000)
    events = caller.events("platform.logsDropped")
    dropped = first(events)["platform.logsDropped"]["record"]
    assert list(dropped) == ["droppedBytes", "droppedRecords", "reason"]
    assert dropped["droppedRecords"] > 0 and dropped["droppedBytes"] > 0
    assert max(len(batch) for batch in caller()["batches"]) <= 1000 + 256


def error(kind, message, status=400):
    return [status, {"errorType": kind, "errorMessage": message}]


def test_requests_that_are_refused(receiver):
    unknown = "11111111-2222-4333-8444-555555555555"
    no_port = {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}
    caller = receiver(
        subscribe(types=[], destination=no_port),
        subscribe(path=LOGS, schema="2022-07-01"),
        subscribe(identifier=unknown),
        subscribe(identifier="x"),
        subscribe(path=TELEMETRY + "/"),
        # The same again, another one, and the other API.
        subscribe(),
        subscribe(types=["platform"]),
        subscribe("2020-08-15", LOGS),
        late=[subscribe()],
    )
    answer = caller()
    assert answer["answers"] == [
        error("ValidationError", "URI port is not provided; types should not be empty"),
        error("Logs.ValidationError", "schemaVersion should be one of 2020-08-15, 2021-03-18"),
        error("Extension.UnknownExtensionIdentifier", f"Unknown extension {unknown}", 403),
        error("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier", 403),
        [200, "OK"],
        [200, "OK"],
        [200, "OK"],
        error("Logs.ValidationError", "extension is subscribed to the Telemetry API already"),
    ]
    late = until(lambda: caller()["late"], what="a late request")
    assert late[0] == error("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed", 403)
    subscriptions = [line for line in caller.log() if line.startswith("TELEMETRY")]
    assert [line.split("Types: ")[1] for line in subscriptions] == [
        "[Platform, Function, Extension]",
        "[Platform]",
    ]


def test_the_shutdown_phase_is_time_to_hear_the_rest(receiver, functions):
    """What was said last reaches the extension before the environment is gone: it says so in the log."""
    last = "the last words"
    caller = receiver(subscribe(types=["function"], buffering={"timeoutMs": 30_000}), last=last)
    caller("print", text=last)
    assert f"HEARD {last}" not in caller.log()
    functions.client.update_function_configuration(FunctionName=caller.name, Description="ends its environments")
    until(lambda: f"HEARD {last}" in caller.log(), what="the last words in the log")


@pytest.mark.timeout(900)
def test_an_extension_on_awss_own_crate(service, functions, layers):
    """The crate reads every batch strictly: an event that it does not know would fail it."""
    layer = layers.arn({"extensions/rust-extension!": toolchains.rust_extension()})
    name = functions.create({"main.py": FUNCTION}, Runtime=PYTHON, Handler="main.handler", Layers=[layer])
    caller = Caller(service, functions, name)
    # Each may get an environment of its own, and what one that nobody needs any more has not told stays with it.
    requests = []

    def missing():
        requests.append(functions.invoke(name, {"do": "print", "text": "heard"}).request_id)
        log = set(caller.log())
        common = {
            "rust-extension: function the function starts",
            "rust-extension: function heard",
            "rust-extension: initReport true",
        }
        one = (
            {f"rust-extension: runtimeDone {request} 3", f"rust-extension: report {request} 128"}
            for request in requests
        )
        return (common - log) | min((lines - log for lines in one), key=len)

    try:
        until(lambda: not missing())
    except AssertionError:
        assert missing() == set(), caller.log()
