"""Time that is moved ahead: what would take minutes or hours happens within one call."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest
from support.functions import PYTHON, Functions, archive
from support.service import BINARY
from test_events import Telling

DESTINATION = """
def handler(event, context):
    print("ran", event["requestContext"]["requestId"], event["requestContext"]["condition"],
          event["requestContext"]["approximateInvokeCount"], flush=True)
"""


def advance(service, by):
    body = json.dumps({"by": by}).encode()
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/clock/advance", data=body, timeout=60) as answer:
        return json.load(answer)


def told(service, name):
    """What a function that gets records has printed."""
    logs = service.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    messages = [event["message"].split() for event in events]
    return [words[1:] for words in messages if words[:1] == ["ran"]]


@pytest.fixture
def recorded(start_service):
    """A service, a function that fails as its event says, and one that hears of it."""
    service = start_service()
    telling = Telling(service)
    code = archive({"main.py": DESTINATION})
    listener = Functions(service.client()).create(code, Runtime=PYTHON, Handler="main.handler")
    arn = service.client().get_function(FunctionName=listener)["Configuration"]["FunctionArn"]
    config = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    service.client().put_function_event_invoke_config(FunctionName=telling.name, DestinationConfig=config)
    return service, telling, listener


def test_three_failures_and_their_record_are_there_after_one_call(recorded):
    service, telling, listener = recorded
    sent = telling.send(failures=9)
    advance(service, "3m")
    assert telling.ids == [sent] * 3
    assert told(service, listener) == [[sent, "RetriesExhausted", "3"]]


def test_an_event_succeeds_at_its_second_attempt(recorded):
    service, telling, listener = recorded
    sent = telling.send(failures=1)
    advance(service, "59s")
    assert (telling.ids, told(service, listener)) == ([sent], [])
    advance(service, "2s")
    assert telling.ids == [sent] * 2
    assert told(service, listener) == [[sent, "Success", "2"]]


def test_an_event_becomes_too_old(recorded):
    service, telling, listener = recorded
    service.client().update_function_event_invoke_config(
        FunctionName=telling.name, MaximumEventAgeInSeconds=120
    )
    sent = telling.send(failures=9)
    advance(service, "6h")
    assert telling.ids == [sent] * 2
    assert told(service, listener) == [[sent, "EventAgeExceeded", "2"]]


def test_states_end_when_their_time_has_come(start_service):
    service = start_service("--function-create-delay", "1h")
    functions = Functions(service.client())
    name = functions.create(archive({"main.py": DESTINATION}), wait=False, Runtime=PYTHON, Handler="main.handler")

    def state():
        return service.client().get_function(FunctionName=name)["Configuration"]["State"]

    assert state() == "Pending"
    advance(service, "50m")
    assert state() == "Pending"
    advance(service, "11m")
    assert state() == "Active"


def test_the_command_says_how_far_ahead_the_clock_is(start_service):
    service = start_service()
    command = [BINARY, "clock", "advance", "3m", "--endpoint", service.endpoint]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/clock", timeout=10) as answer:
        assert "180" in answer.read().decode()


def test_nonsense_is_refused(start_service):
    service = start_service()
    for by in ("soon", "", "-1s", "1000000h"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            advance(service, by)
        assert refused.value.code == 400, by
