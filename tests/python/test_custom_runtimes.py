"""Functions that bring their own runtime client: AWS's clients for five languages, and a loop in bash."""

import http.client
import re

import pytest
from support import toolchains
from support.functions import PROVIDED, SOURCES, archive, folder
from support.waiting import until

ARN = "arn:aws:lambda:us-east-1:000000000000:function"


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_bash_with_curl(functions, runtime):
    toolchains.need("curl")
    name = functions.create(archive(folder(SOURCES / "bash-echo")), Runtime=runtime, Handler="any")
    reply = functions.invoke(name, {"n": [1, None]}, LogType="Tail")
    assert reply.value() == {"n": [1, None]}
    assert f"handling {reply.request_id}\n" in reply.tail
    failed = functions.invoke(name, {"do": "fail"})
    assert (failed.error, failed.payload) == (
        "Unhandled",
        {"errorType": "Bash.Error", "errorMessage": "on purpose"},
    )
    left = functions.invoke(name, {"do": "leave"})
    assert left.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {left.request_id} Error: Runtime exited with error: exit status 3",
    }
    assert functions.invoke(name, 1).value() == 1


@pytest.fixture(scope="module", params=["rust", "go", "java"])
def compiled(request, shared_functions):
    """One function per compiled language; all do the same."""
    code = getattr(toolchains, request.param)()
    handler = {"java": "hothouse.Echo::handleRequest"}.get(request.param, "bootstrap")
    return shared_functions.create(code, Runtime=PROVIDED, Handler=handler, MemorySize=512, Timeout=60)


@pytest.mark.timeout(600)
def test_a_compiled_function_echoes(functions, compiled):
    for event in ({"text": "ä🔥", "list": [1, 2.5, None, {"a": True}]}, {}):
        assert functions.invoke(compiled, event).value() == event


@pytest.mark.timeout(600)
def test_a_compiled_function_knows_its_context(functions, compiled):
    reply = functions.invoke(compiled, {"do": "context"})
    assert reply.value() == {
        "request_id": reply.request_id,
        "function_name": compiled,
        "invoked_function_arn": f"{ARN}:{compiled}",
        "has_deadline": True,
    }


@pytest.mark.timeout(600)
def test_a_compiled_function_fails_and_goes_on(functions, compiled):
    reply = functions.invoke(compiled, {"do": "fail"})
    assert (reply.status, reply.error) == (200, "Unhandled")
    assert reply.payload["errorMessage"] == "on purpose"
    assert reply.payload["errorType"]
    assert functions.invoke(compiled, {"again": 1}).value() == {"again": 1}


@pytest.fixture(scope="module")
def awslambdaric(shared_functions):
    return shared_functions.create(toolchains.awslambdaric(), Runtime=PROVIDED, Handler="probe.handler")


@pytest.mark.timeout(300)
def test_awslambdaric(functions, awslambdaric):
    name = awslambdaric
    assert functions.invoke(name, {"a": ["ä", None]}).value() == {"a": ["ä", None]}
    reply = functions.invoke(name, {"do": "context"}, ClientContext="eyJjdXN0b20iOiB7ImEiOiAiYiJ9fQ==")
    context = reply.value()
    assert context["aws_request_id"] == reply.request_id
    assert context["invoked_function_arn"] == f"{ARN}:{name}"
    assert context["custom"] == {"a": "b"}
    assert 0 < context["remaining"] <= 20000
    failed = functions.invoke(name, {"do": "fail", "message": "told"}, LogType="Tail")
    assert (failed.error, failed.payload["errorType"], failed.payload["errorMessage"]) == (
        "Unhandled",
        "ValueError",
        "told",
    )
    assert "[ERROR] ValueError: told" in failed.tail
    assert (
        functions.invoke(name, {"do": "say", "lines": ["one", "two"]}, LogType="Tail").tail.count(
            "one\ntwo\n"
        )
        == 1
    )


SLOW_TO_ASK = """#!/usr/bin/env python3
import http.client, os, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(*request):
    api.request(*request)
    answer = api.getresponse()
    return answer, answer.read()
while True:
    answer, event = call("GET", "/2018-06-01/runtime/invocation/next")
    request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    call("POST", f"/2018-06-01/runtime/invocation/{request}/response", event)
    time.sleep(0.002)
"""


def test_a_caller_who_comes_back_at_once_finds_the_environment_that_answered(service, functions):
    """Other clients than ours ask for the next event in a request of its own. Who comes before it needs no other one."""

    def environments():
        name = functions.create({"bootstrap!": SLOW_TO_ASK}, Runtime=PROVIDED, Handler="any")
        # The SDK would take longer than the client.
        connection = http.client.HTTPConnection(service.endpoint.removeprefix("http://"), timeout=20)
        for number in range(20):
            connection.request("POST", f"/2015-03-31/functions/{name}/invocations", str(number))
            assert connection.getresponse().read() == str(number).encode()
        connection.close()
        return len(service.states(name))

    # On a busy machine the client takes longer than anybody waits for it.
    until(lambda: environments() == 1, what="a function with one environment")


@pytest.mark.timeout(300)
def test_awslambdaric_and_our_client_agree_on_errors(functions, awslambdaric):
    ours = functions.create()
    payloads = []
    for name in (ours, awslambdaric):
        payload = functions.invoke(name, {"do": "fail", "message": "told"}).payload
        payload["requestId"] = "id"
        # Line numbers of the client's own frames differ; the function's frames must not.
        payload["stackTrace"] = [line for line in payload["stackTrace"] if "/var/task/probe.py" in line]
        payloads.append(payload)
    assert payloads[0] == payloads[1]


@pytest.mark.timeout(600)
def test_aws_lambda_ric(functions):
    name = functions.create(
        toolchains.aws_lambda_ric(), Runtime=PROVIDED, Handler="probe.handler", MemorySize=256
    )
    assert functions.invoke(name, {"a": ["ä", None]}).value() == {"a": ["ä", None]}
    reply = functions.invoke(name, {"do": "context"})
    assert reply.value()["awsRequestId"] == reply.request_id
    assert reply.value()["invokedFunctionArn"] == f"{ARN}:{name}"
    failed = functions.invoke(name, {"do": "fail", "message": "told"})
    assert (failed.error, failed.payload["errorType"], failed.payload["errorMessage"]) == (
        "Unhandled",
        "RangeError",
        "told",
    )
    said = functions.invoke(name, {"do": "say", "lines": ["hello"]}, LogType="Tail")
    assert re.search(rf"\t{said.request_id}\tINFO\thello", said.tail)
