"""Logs in CloudWatch Logs: groups, streams, events, both formats; and the companion's own operations."""

import json
import re
import shutil
import time

import pytest
from support.functions import (
    NODE,
    NODE_PROBE,
    PROVIDED,
    PYTHON,
    Functions,
    Reply,
    error_of,
    probe,
    unique,
)
from support.waiting import until


@pytest.fixture(scope="module")
def logs(service):
    return service.client("logs")


def messages(logs, group, last="REPORT", **more):
    """The messages of a group once a line that begins with `last` is there."""

    def there():
        try:
            events = logs.filter_log_events(logGroupName=group, **more)["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        found = [event["message"] for event in events]
        return found if any(message.startswith(last) for message in found) else None

    return until(there, what=f"a line `{last}` in {group}")


def test_an_invocation_is_logged(logs, functions):
    name = functions.create()
    started = int(time.time() * 1000)
    reply = functions.invoke(name, {"do": "say", "lines": ["first", "second"], "errors": ["third"]})
    found = messages(logs, f"/aws/lambda/{name}")
    assert re.fullmatch(
        r"INIT_START Runtime Version: python:3\.\d+\.\S+\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}\n",
        found[0],
    )
    assert found[1] == f"START RequestId: {reply.request_id} Version: $LATEST\n"
    assert sorted(message.rstrip("\n") for message in found[2:5]) == ["first", "second", "third"]
    assert [message.rstrip("\n") for message in found[2:5] if "third" not in message] == ["first", "second"]
    assert found[5] == f"END RequestId: {reply.request_id}\n"
    assert found[6].startswith(f"REPORT RequestId: {reply.request_id}\tDuration: ")
    assert len(found) == 7

    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert len(streams) == 1
    day = time.strftime("%Y/%m/%d", time.gmtime(started / 1000))
    assert re.fullmatch(re.escape(f"{day}/[$LATEST]") + "[0-9a-f]{32}", streams[0]["logStreamName"])
    events = logs.get_log_events(
        logGroupName=f"/aws/lambda/{name}", logStreamName=streams[0]["logStreamName"], startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == found
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert started - 1000 <= times[0] <= times[-1] <= int(time.time() * 1000) + 1000


def test_versions_have_streams_of_their_own(client, logs, functions):
    name = functions.create()
    client.publish_version(FunctionName=name)
    functions.invoke(name, 1, Qualifier="1")
    messages(logs, f"/aws/lambda/{name}")
    streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
    assert [stream["logStreamName"][10:14] for stream in streams] == ["/[1]"]


def test_a_configured_group_is_used(logs, functions):
    group = unique("/custom/group")
    name = functions.create(LoggingConfig={"LogGroup": group})
    functions.invoke(name, 1)
    messages(logs, group)
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/" + re.escape(f"{name}[$LATEST]") + "[0-9a-f]{32}", stream)


def test_loggers_of_python_in_text(functions):
    code = "import logging\nlogging.getLogger().setLevel('INFO')\n\ndef handler(event, context):\n    logging.info('told')\n"
    name = functions.create({"main.py": code}, Runtime=PYTHON, Handler="main.handler")
    reply = functions.invoke(name, LogType="Tail")
    pattern = rf"\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{reply.request_id}\ttold\n"
    assert re.search(pattern, reply.tail), reply.tail


def test_consoles_of_node_in_text(functions):
    name = functions.create(probe("node"), **NODE_PROBE)
    reply = functions.invoke(name, {"do": "say", "lines": ["told"]}, LogType="Tail")
    pattern = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{reply.request_id}\tINFO\ttold\n"
    assert re.search(pattern, reply.tail), reply.tail
    assert re.search(rf"\t{reply.request_id}\tERROR\tto stderr\n", reply.tail), reply.tail


@pytest.mark.parametrize(
    ("runtime", "files"),
    [
        (
            PYTHON,
            {
                "main.py": "import logging\ndef handler(event, context):\n    logging.getLogger().warning('told')\n"
            },
        ),
        (NODE, {"main.js": "exports.handler = async () => { console.warn('told'); };"}),
    ],
)
def test_json_format(functions, runtime, files):
    name = functions.create(
        files, Runtime=runtime, Handler="main.handler", LoggingConfig={"LogFormat": "JSON"}
    )
    reply = functions.invoke(name, LogType="Tail")
    lines = [json.loads(line) for line in reply.tail.splitlines()]
    told = next(line for line in lines if line.get("message") == "told")
    assert told["level"] in ("WARN", "WARNING")
    assert told["requestId"] == reply.request_id
    kinds = [line["type"] for line in lines if "type" in line]
    assert kinds[0] == "platform.start"
    assert kinds[-1] == "platform.report"
    report = lines[-1]["record"]
    assert list(report)[:2] == ["requestId", "metrics"]
    assert report["requestId"] == reply.request_id
    assert report["metrics"]["memorySizeMB"] == 128
    assert report["status"] == "success"


@pytest.mark.parametrize(
    ("runtime", "files"),
    [
        # A logger that is told to say more still cannot say more than the function's level.
        (
            PYTHON,
            {
                "main.py": "import logging\nlogging.getLogger().setLevel('DEBUG')\n"
                "def handler(event, context):\n    logging.info('quiet')\n    logging.error('loud')\n"
            },
        ),
        (NODE, {"main.js": "exports.handler = async () => { console.info('quiet'); console.error('loud'); };"}),
    ],
)
def test_levels_filter_in_json_format(functions, runtime, files):
    logging_config = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    name = functions.create(files, Runtime=runtime, Handler="main.handler", LoggingConfig=logging_config)
    tail = functions.invoke(name, LogType="Tail").tail
    assert "loud" in tail
    assert "quiet" not in tail
    assert "platform.start" not in tail


@pytest.mark.parametrize(
    ("level", "event", "expected"),
    [
        ("DEBUG", 1, ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"]),
        ("INFO", 1, ["initStart", "start", "report"]),
        ("WARN", 0, ["runtimeDone", "report"]),
    ],
)
def test_system_log_levels_choose_the_platforms_records(logs, functions, level, event, expected):
    name = functions.create(
        {"main.py": "def handler(event, context):\n    return 1 / event\n"},
        Runtime=PYTHON,
        Handler="main.handler",
        LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": level, "ApplicationLogLevel": "FATAL"},
    )
    functions.invoke(name, event)

    def complete():
        records = [json.loads(message) for message in messages(logs, f"/aws/lambda/{name}", last='{"time"')]
        kinds = [record["type"].removeprefix("platform.") for record in records]
        return kinds if kinds[-1] == "report" else None

    assert until(complete, what="the report") == expected


def test_json_lines_of_any_runtime_have_their_level(functions):
    code = """
import json

def handler(event, context):
    time = "2024-11-02T16:51:31.587199Z"
    print(json.dumps({"level": "debug", "msg": "quiet", "timestamp": time}))
    print(json.dumps({"level": "error", "msg": "loud", "time": time}))
    print(json.dumps({"level": "debug", "msg": "no time, so no level"}))
    print("plain")
"""

    def tail(level):
        name = functions.create(
            {"main.py": code},
            Runtime=PYTHON,
            Handler="main.handler",
            LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": level},
        )
        return functions.invoke(name, LogType="Tail").tail

    told = ("quiet", "loud", "no level", "plain")
    assert [word for word in told if word in tail("DEBUG")] == list(told)
    assert [word for word in told if word in tail("INFO")] == ["loud", "no level", "plain"]
    # What has no level is INFO.
    assert [word for word in told if word in tail("WARN")] == ["loud"]


def test_output_before_the_first_event_is_kept(logs, functions):
    code = "print('while starting')\n\ndef handler(event, context):\n    pass\n"
    name = functions.create({"main.py": code}, Runtime=PYTHON, Handler="main.handler")
    functions.invoke(name)
    assert "while starting\n" in messages(logs, f"/aws/lambda/{name}")


def test_half_a_line_belongs_to_its_invocation(logs, functions):
    code = "import sys\ndef handler(event, context):\n    sys.stdout.write(event)\n    sys.stdout.flush()\n"
    name = functions.create({"main.py": code}, Runtime=PYTHON, Handler="main.handler")
    ids = [functions.invoke(name, text).request_id for text in ("one", "two\n")]
    found = messages(logs, f"/aws/lambda/{name}", last=f"REPORT RequestId: {ids[1]}")
    lines = [message for message in found if not message.startswith(("INIT_START", "REPORT"))]
    start, end = ([f"{word} RequestId: {one}" for one in ids] for word in ("START", "END"))
    version = " Version: $LATEST\n"
    assert lines == [
        start[0] + version, "one", end[0] + "\n", start[1] + version, "two\n", end[1] + "\n",
    ]


def test_a_failed_start_shows_its_log_line_by_line(start_service):
    service = start_service("--log-level", "debug")
    functions = Functions(service.client())
    good = "print('all is well')\ndef handler(event, context):\n    pass\n"
    functions.invoke(functions.create({"main.py": good}, Runtime=PYTHON, Handler="main.handler"))
    bad = "print('about to fail')\nraise ValueError('on purpose')\n"
    name = functions.create({"main.py": bad}, Runtime=PYTHON, Handler="main.handler")
    assert functions.invoke(name).error
    stream = service.client("logs").describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"][0]
    prefix = f"[lambda {stream['logStreamName'].rsplit(']', 1)[1]}] "
    until(lambda: f"{prefix}INIT_REPORT " in service.log, what="the log of the start")
    shown = [line.split(prefix, 1)[1] for line in service.lines if prefix in line]
    assert shown[0].startswith("INIT_START ")
    assert shown[1] == "about to fail"
    assert [line for line in shown if "ValueError" in line and "on purpose" in line]
    # Only of starts that fail.
    assert "all is well" not in service.log


def test_output_after_the_answer_belongs_to_the_invocation(logs, functions):
    bootstrap = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while :; do
  id=$(curl -sD - -o /dev/null "$api/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
  curl -s -d 1 "$api/$id/response" > /dev/null
  echo "after the answer"
done
"""
    name = functions.create({"bootstrap!": bootstrap}, Runtime=PROVIDED, Handler="x")
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    for _ in range(2):
        request = functions.invoke(name, 1).request_id
        # The report is written when the environment is free again.
        found = messages(logs, f"/aws/lambda/{name}", last=f"REPORT RequestId: {request}")
    kinds = [message.split(" ")[0] for message in found]
    assert kinds == ["INIT_START"] + ["START", "after", "END", "REPORT"] * 2


def test_a_record_of_many_lines_is_one_event(logs, functions):
    code = "import logging\ndef handler(event, context):\n    logging.error('one\\ntwo')\n    print('a\\rb')\n    1 / 0\n"
    name = functions.create({"main.py": code}, Runtime=PYTHON, Handler="main.handler")
    functions.invoke(name)
    found = messages(logs, f"/aws/lambda/{name}")
    assert [message for message in found if message.startswith("[ERROR]\t") and message.endswith("\tone\ntwo\n")]
    assert "a\rb\n" in found
    (failure,) = [message for message in found if "ZeroDivisionError" in message]
    assert "Traceback" in failure and "line 5" in failure


def test_much_output_does_not_block_or_tear_lines(logs, functions):
    name = functions.create(Timeout=30)
    lines = [f"{number:05} " + "x" * 100 for number in range(5000)]
    assert functions.invoke(name, {"do": "say", "lines": lines}).value() == 5000
    group = f"/aws/lambda/{name}"
    messages(logs, group)
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    found, token = [], None
    while True:
        more = {"nextToken": token} if token else {}
        page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **more)
        found += [event["message"].rstrip("\n") for event in page["events"]]
        if not page["events"] or page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    assert [line for line in found if line.endswith("x")] == lines


# The companion by itself.


def test_groups_and_streams_are_made_found_and_removed(logs):
    group = unique("/app/group")
    logs.create_log_group(logGroupName=group)
    assert error_of(logs.create_log_group, logGroupName=group).code == "ResourceAlreadyExistsException"
    logs.create_log_stream(logGroupName=group, logStreamName="a/1")
    logs.create_log_stream(logGroupName=group, logStreamName="b/1")
    assert [
        one["logGroupName"] for one in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    ] == [group]
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="b")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["b/1"]
    logs.delete_log_stream(logGroupName=group, logStreamName="a/1")
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
    assert error_of(logs.describe_log_streams, logGroupName=group).code == "ResourceNotFoundException"


def test_events_are_put_read_and_filtered(logs):
    group = unique("/app/events")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    now = int(time.time() * 1000)
    sent = [{"timestamp": now + number, "message": f"event {number}"} for number in range(5)]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=sent)
    read = logs.get_log_events(logGroupName=group, logStreamName="one", startFromHead=True)["events"]
    assert [(event["timestamp"], event["message"]) for event in read] == [
        (one["timestamp"], one["message"]) for one in sent
    ]
    found = logs.filter_log_events(logGroupName=group, filterPattern='"event 3"')["events"]
    assert [event["message"] for event in found] == ["event 3"]
    found = logs.filter_log_events(logGroupName=group, startTime=now + 1, endTime=now + 3)["events"]
    assert "event 0" not in [event["message"] for event in found]
    assert "event 1" in [event["message"] for event in found]


def test_retention_is_enforced(logs):
    group = unique("/app/old")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    now = int(time.time() * 1000)
    events = [{"timestamp": now - 3 * 86_400_000, "message": "old"}, {"timestamp": now, "message": "new"}]
    for event in events:
        logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=[event])
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 1

    def enforced():
        found = logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in found] == ["new"]

    until(enforced, what="the end of old events")


def test_a_function_logs_to_its_own_account(service, functions):
    other = service.client(access_key="222233334444")
    theirs = Functions(other)
    name = theirs.create()
    Reply(other.invoke(FunctionName=name, Payload=b"1"))
    messages(service.client("logs", access_key="222233334444"), f"/aws/lambda/{name}")
    groups = service.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert groups == []
    theirs.clean()
