"""SnapStart where the service copies initialised runtimes: what environments have of the snapshot, and what is their own."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import usage
from support.functions import PYTHON, Functions, archive, boto3_files
from support.processes import alive, children, command_line, descendants
from support.service import Service
from support.waiting import until

ON = {"ApplyOn": "PublishedVersions"}

CODE = """
import ctypes, os, random, socket, threading, time, uuid

born = str(uuid.uuid4())
random.seed(7)
client = None
if os.environ.get("WITH_SDK"):
    import boto3
    client = boto3.client("sts")
    client.get_caller_identity()
if os.environ.get("WITH_THREAD"):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
with open("/tmp/kept", "w") as file:
    file.write(born)
count = 0

def handler(event, context):
    global count
    count += 1
    if event == "end":
        os._exit(3)
    if event == "attack":
        libc = ctypes.CDLL(None)
        status = dict(line.split(":") for line in open("/proc/self/status"))
        return {
            "calls": [libc.syscall(number, 0x10000000, 0, 0, 0) for number in (272, 308, 165, 101, 161)],
            "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
            "others": [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()],
            "killed": libc.kill(1, 9),
        }
    time.sleep(event.get("sleep", 0) if isinstance(event, dict) else 0)
    with open("/tmp/kept", "a") as file:
        file.write("+")
    unique = str(uuid.uuid4())
    print("served", unique)
    return {
        "arn": client and client.get_caller_identity()["Arn"],
        "born": born,
        "count": count,
        "random": random.random(),
        "unique": unique,
        "kept": open("/tmp/kept").read(),
    }
"""


@pytest.fixture
def published(functions):
    """Publishes a version with a snapshot; says how it is invoked."""
    return lambda *arguments, **variables: publish(functions, *arguments, **variables)


@pytest.fixture
def lonely(start_service):
    """A service of the test's own, without interpreters that wait for functions: those below it serve, or are templates."""
    return start_service("--ready-memory=0")


def publish(functions, files=(), settings=None, **variables):
    client = functions.client
    name = functions.create(
        archive({"copied.py": CODE, **dict(files)}),
        **{
            "Runtime": PYTHON,
            "Handler": "copied.handler",
            "SnapStart": ON,
            "Environment": {"Variables": variables},
            "Timeout": 30,
            **(settings or {}),
        },
    )
    version = client.publish_version(FunctionName=name)["Version"]

    def settled():
        shown = client.get_function_configuration(FunctionName=name, Qualifier=version)
        return shown["State"] == "Active" or None

    until(settled, what=f"the snapshot of {name}:{version}")

    def invoke(event):
        answer = client.invoke(FunctionName=name, Qualifier=version, Payload=json.dumps(event))
        return json.load(answer["Payload"]), answer.get("FunctionError")

    invoke.name, invoke.version = name, version
    return invoke


def skip_without_copies(service):
    """Only the machine may be the reason why there are none: then the service has said so."""
    if said := re.search("no copies can be made: ((?:the machine|it cannot be held).*)", service.log):
        pytest.skip(said[1])


def are_copies(service, answers):
    """The answers of environments that were new, which must be of copies of one runtime."""
    fresh = [answer for answer in answers if answer["count"] == 1]
    assert len(fresh) > 1
    if len({answer["born"] for answer in fresh}) > 1:
        skip_without_copies(service)
    assert {answer["born"] for answer in fresh} == {fresh[0]["born"]}
    return fresh


def comes_to_copy(service, invoke):
    """Ends environments until two have begun as copies of one runtime."""
    seen = set()

    def copied():
        assert invoke("end")[1] == "Unhandled"
        answer, error = invoke({})
        assert error is None, answer
        if answer["count"] > 1:
            return False
        again = answer["born"] in seen
        seen.add(answer["born"])
        return again

    try:
        until(copied, seconds=20, what="a copy")
    except AssertionError:
        skip_without_copies(service)
        raise


def interpreters(service):
    return {one for one in descendants(service.process.pid) if "python" in command_line(one[0])}


def the_template(service):
    """Right after a version was published there is no other."""
    found = interpreters(service)
    if len(found) != 1:
        skip_without_copies(service)
    (template,) = found
    return template


def at_once(invoke, count):
    """The answers of so many environments."""
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: invoke({"sleep": 0.5}), range(count)))
    assert [error for _, error in answers] == [None] * count
    return [answer for answer, _ in answers]


def test_environments_share_what_was_initialised_and_nothing_else(published, service):
    answers = at_once(published(), 8)
    fresh = are_copies(service, answers)
    # As on AWS, generators are copied; what asks the system is not.
    assert len({answer["random"] for answer in fresh}) == 1
    assert len({answer["unique"] for answer in answers}) == len(answers)
    assert {answer["kept"] for answer in fresh} == {fresh[0]["born"] + "+"}


def test_an_sdk_client_of_the_snapshot_works(published, service):
    answers = at_once(published(boto3_files(), WITH_SDK="1"), 2)
    are_copies(service, answers)
    assert all(":assumed-role/" in answer["arn"] for answer in answers)


def test_the_first_copies_and_the_tenth_are_each_by_themselves(published, service):
    invoke = published()
    answers = at_once(invoke, 2)
    fresh = are_copies(service, answers)
    for _ in range(10):
        assert invoke("end")[1] == "Unhandled"
        answer, error = invoke({})
        assert error is None
        answers.append(answer)
    later = [answer for answer in answers[2:] if answer["count"] == 1]
    assert len(later) >= 9
    assert {answer["born"] for answer in later} == {fresh[0]["born"]}
    assert {answer["kept"] for answer in fresh + later} == {fresh[0]["born"] + "+"}

    logs = service.client("logs")
    lines = {f"served {answer['unique']}" for answer in fresh + later}

    def streams():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{invoke.name}")["events"]
        told = [event for event in events if event["message"].strip() in lines]
        return {event["logStreamName"] for event in told} if len(told) == len(lines) else None

    assert len(until(streams, what="what all have printed")) == len(lines)


def test_a_template_that_is_killed_is_followed_by_another(lonely):
    functions = Functions(lonely.client())
    invoke = publish(functions)
    template = the_template(lonely)
    are_copies(lonely, at_once(invoke, 3))
    assert alive({template})
    os.kill(template[0], signal.SIGKILL)
    # Nobody is told, however soon he comes.
    at_once(invoke, 5)
    comes_to_copy(lonely, invoke)
    assert not alive({template})


def test_a_version_that_is_deleted_takes_its_template_along(lonely):
    functions = Functions(lonely.client())
    invoke = publish(functions)
    below = descendants(lonely.process.pid)
    template = the_template(lonely)
    are_copies(lonely, at_once(invoke, 2))
    functions.client.delete_function(FunctionName=invoke.name, Qualifier=invoke.version)
    until(lambda: not alive({template}) and not interpreters(lonely), what="the end of the template and its copies")
    init = {one for one in below if template in children(one[0])}
    assert not alive(init)


def test_a_killed_service_leaves_no_template_and_another_restores_again(tmp_path, data_home):
    def started():
        return Service(
            "--ready-memory=0", "--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False
        ).start()

    mounts = usage.mounts()
    service = started()
    try:
        invoke = publish(Functions(service.client()))
        the_template(service)
        are_copies(service, at_once(invoke, 2))
        below = descendants(service.process.pid)
        groups = set().union(*(usage.control_groups(pid) for pid, _ in below))
        service.kill()
        assert not alive(below)
        assert not [mount for mount in usage.mounts() - mounts if str(tmp_path) in mount]
        service = started()
        # Nobody was there to remove them.
        until(lambda: not any(map(os.path.exists, groups)), what="the end of the control groups")
        client = service.client()

        def again(event):
            answer = client.invoke(
                FunctionName=invoke.name, Qualifier=invoke.version, Payload=json.dumps(event)
            )
            return json.load(answer["Payload"]), answer.get("FunctionError")

        comes_to_copy(service, again)
    finally:
        service.stop()


EXTENDED = """
import http.client, json, os, threading

heard, change = [], threading.Condition()

def tell(request_id):
    with change:
        heard.append(request_id)
        change.notify_all()

def extend(registered):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    body = json.dumps({"events": ["INVOKE"]})
    connection.request("POST", "/2020-01-01/extension/register", body, {"Lambda-Extension-Name": "within"})
    answer = connection.getresponse()
    answer.read()
    identity = {"Lambda-Extension-Identifier": answer.getheader("Lambda-Extension-Identifier")}
    registered.set()
    while True:
        connection.request("GET", "/2020-01-01/extension/event/next", headers=identity)
        tell(json.loads(connection.getresponse().read())["requestId"])

if os.environ.get("WITHIN"):
    registered = threading.Event()
    threading.Thread(target=extend, args=(registered,), daemon=True).start()
    registered.wait()

def has_heard(request_id):
    if os.environ.get("WITHIN"):
        return request_id in heard
    return os.path.exists("/tmp/heard") and request_id in open("/tmp/heard").read()

def handler(event, context):
    with change:
        while not has_heard(context.aws_request_id):
            change.wait(0.01)
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""

BESIDE = """#!/usr/bin/python3
import http.client, json, os
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
body = json.dumps({"events": ["INVOKE"]})
connection.request("POST", "/2020-01-01/extension/register", body, {"Lambda-Extension-Name": "beside"})
answer = connection.getresponse()
answer.read()
identity = {"Lambda-Extension-Identifier": answer.getheader("Lambda-Extension-Identifier")}
while True:
    connection.request("GET", "/2020-01-01/extension/event/next", headers=identity)
    event = json.loads(connection.getresponse().read())
    with open("/tmp/heard", "a") as file:
        file.write(event["requestId"])
"""


@pytest.mark.parametrize("where", ["within", "beside"])
def test_extensions_hear_of_the_invocations_of_every_environment(functions, where):
    client = functions.client
    layers = []
    if where == "beside":
        content = {"ZipFile": archive({"extensions/beside!": BESIDE})}
        layer = client.publish_layer_version(LayerName="beside-a-snapshot", Content=content)
        layers.append(layer["LayerVersionArn"])
    try:
        settings = {"Layers": layers, "Environment": {"Variables": {"WITHIN": "1"} if not layers else {}}}
        invoke = publish(functions, {"copied.py": EXTENDED}, settings=settings)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: invoke({}), range(8)))
        assert answers == [("snap-start", None)] * 8
    finally:
        for _ in layers:
            client.delete_layer_version(LayerName="beside-a-snapshot", VersionNumber=layer["Version"])


def test_a_copy_has_no_power(published):
    answer, error = published()("attack")
    assert error is None
    assert answer["calls"] == [-1] * 5
    assert answer["capabilities"] == ["0000000000000000"] * 5
    assert answer["killed"] == -1
    # Its init is seen where the runtime was started for this environment.
    assert answer["others"] in ([], ["1"])


def test_one_that_ended_is_restored_again(published):
    invoke = published()
    first, _ = invoke({})
    _, error = invoke("end")
    assert error == "Unhandled"
    second, error = invoke({})
    assert error is None and second["count"] == 1
    assert second["unique"] != first["unique"]


def test_what_cannot_be_copied_is_initialised_for_each(published):
    answers = at_once(published(WITH_THREAD="1"), 3)
    fresh = [answer for answer in answers if answer["count"] == 1]
    assert len({answer["born"] for answer in fresh}) == len(fresh)


def test_copies_find_places_that_were_made_ahead(start_service):
    service = start_service("--log-level=debug")
    invoke = publish(Functions(service.client()))
    comes_to_copy(service, invoke)

    def ready():
        assert invoke("end")[1] == "Unhandled"
        assert invoke({})[1] is None
        return "a copy has a place ready=true" in service.log

    until(ready, what="a place that was ready")
