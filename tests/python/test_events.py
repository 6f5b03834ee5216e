"""Asynchronous invocations: accepted at once, run once, tried again, not lost."""

import json

import pytest
from botocore.exceptions import ClientError
from support.functions import PYTHON, Functions, archive, error_of
from support.service import Service
from support.waiting import until

# Tells each run in its log, and fails as often as the event says.
TELLING = """
import time

runs = {}

def handler(event, context):
    time.sleep(event.get("seconds", 0))
    id = context.aws_request_id
    print("ran", id, flush=True)
    runs[id] = runs.get(id, 0) + 1
    if runs[id] <= event.get("failures", 0):
        raise ValueError("no")
"""


class Telling:
    """A function, and what it told."""

    def __init__(self, service, name=None):
        self.client, self.logs = service.client(), service.client("logs")
        code = archive({"main.py": TELLING})
        self.name = name or Functions(self.client).create(code, Runtime=PYTHON, Handler="main.handler")

    def send(self, **event):
        answer = self.client.invoke(
            FunctionName=self.name, InvocationType="Event", Payload=json.dumps(event).encode()
        )
        assert answer["StatusCode"] == 202
        assert answer["Payload"].read() == b""
        assert "ExecutedVersion" not in answer and "FunctionError" not in answer
        return answer["ResponseMetadata"]["RequestId"]

    @property
    def ids(self):
        """The request ids of all runs so far, in order."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{self.name}")
            messages = [event["message"].split() for page in pages for event in page["events"]]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException"
            return []
        return [words[1] for words in messages if words[:1] == ["ran"]]

    def reach(self, count):
        until(lambda: len(self.ids) >= count, seconds=30, what=f"{count} runs")
        return self.ids


@pytest.fixture
def quick(start_service):
    """A service that tries again at once."""
    return start_service("--retry-base-delay", "50ms")


def test_an_event_runs_once(quick):
    function = Telling(quick)
    first = function.send()
    assert function.reach(1) == [first]
    second = function.send()
    # Had the first one run again, it would have been before this.
    assert function.reach(2) == [first, second]


def test_the_deprecated_operation_does_the_same(quick):
    function = Telling(quick)
    answer = function.client.invoke_async(FunctionName=function.name, InvokeArgs=b"{}")
    assert answer["Status"] == 202
    assert function.reach(1) == [answer["ResponseMetadata"]["RequestId"]]


def test_retries_keep_the_request_id(quick):
    function = Telling(quick)
    sent = function.send(failures=2)
    assert function.reach(3) == [sent] * 3


def test_what_is_given_up_is_told(quick):
    function = Telling(quick)
    function.client.put_function_event_invoke_config(FunctionName=function.name, MaximumRetryAttempts=1)
    sent = function.send(failures=9)
    until(lambda: sent in quick.log, seconds=30, what="a word about the event")
    line = next(line for line in quick.log.splitlines() if sent in line)
    assert "gave up an event" in line and "RetriesExhausted" in line
    assert function.reach(2) == [sent] * 2


def test_what_is_no_event_is_refused(client, functions):
    name = functions.create()
    for refused, status in [(b"no JSON", 400), (b'"' + b"x" * 1048576 + b'"', 413)]:
        event = {"FunctionName": name, "InvocationType": "Event", "Payload": refused}
        assert error_of(client.invoke, **event).status == status
        assert error_of(client.invoke_async, FunctionName=name, InvokeArgs=refused).status == status
    failure = error_of(client.invoke, FunctionName="nobody", InvocationType="Event", Payload=b"{}")
    assert (failure.code, failure.status) == ("ResourceNotFoundException", 404)


def test_accepted_events_survive_a_kill(data_home, tmp_path):
    services = []

    def start():
        service = Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False)
        services.append(service.start())
        return service

    try:
        first = start()
        function = Telling(first)
        # None of them has run when the service dies: a run takes longer than it is to live.
        sent = {function.send(seconds=2) for _ in range(20)}
        first.kill()
        again = Telling(start(), function.name)
        assert set(again.reach(20)) == sent
    finally:
        for service in services:
            service.stop()
