"""SnapStart where the service copies initialised runtimes: what environments have of the snapshot, and what is their own."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.functions import PYTHON, archive, boto3_files
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
    if event == "identity":
        return client.get_caller_identity()["Arn"]
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
    return {
        "born": born,
        "count": count,
        "random": random.random(),
        "unique": str(uuid.uuid4()),
        "kept": open("/tmp/kept").read(),
    }
"""


@pytest.fixture
def published(functions):
    """Publishes a version with a snapshot, and says how it is invoked; skips where the machine makes no copies."""

    def publish(files=(), **variables):
        name = functions.create(
            archive({"copied.py": CODE, **dict(files)}),
            Runtime=PYTHON,
            Handler="copied.handler",
            SnapStart=ON,
            Environment={"Variables": variables},
            Timeout=30,
        )
        client = functions.client
        version = client.publish_version(FunctionName=name)["Version"]

        def settled():
            shown = client.get_function_configuration(FunctionName=name, Qualifier=version)
            return shown["State"] == "Active" or None

        until(settled, what=f"the snapshot of {name}:{version}")

        def invoke(event):
            answer = client.invoke(FunctionName=name, Qualifier=version, Payload=json.dumps(event))
            return json.load(answer["Payload"]), answer.get("FunctionError")

        return invoke

    return publish


def at_once(invoke, count):
    """The answers of so many environments."""
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: invoke({"sleep": 0.5}), range(count)))
    assert [error for _, error in answers] == [None] * count
    return [answer for answer, _ in answers]


def test_environments_share_what_was_initialised_and_nothing_else(published):
    answers = at_once(published(), 8)
    fresh = [answer for answer in answers if answer["count"] == 1]
    assert len(fresh) > 1
    if len({answer["born"] for answer in fresh}) > 1:
        pytest.skip("the machine makes no copies of runtimes")
    # As on AWS, generators are copied; what asks the system is not.
    assert len({answer["random"] for answer in fresh}) == 1
    assert len({answer["unique"] for answer in answers}) == len(answers)
    assert {answer["kept"] for answer in fresh} == {fresh[0]["born"] + "+"}


def test_an_sdk_client_of_the_snapshot_works(published):
    invoke = published(boto3_files(), WITH_SDK="1")
    answer, error = invoke("identity")
    assert error is None and ":assumed-role/" in answer


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
