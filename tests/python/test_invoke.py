"""Invoke: payloads, qualifiers, types, logs in the answer, context, headers."""

import base64
import json
import re

import pytest
from support import raw
from support.functions import NODE_PROBE, UUID, error_of, probe

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
REQUEST_LIMIT = 6291456
RESPONSE_LIMIT = 6291556


@pytest.fixture(scope="module")
def name(shared_functions):
    return shared_functions.create()


def path(name):
    return f"/2015-03-31/functions/{name}/invocations"


@pytest.mark.parametrize(
    "event", [None, True, 0, -1.5, "text", "ä€🔥", [], [1, [2]], {}, {"deep": {"er": [None]}}]
)
def test_any_json_is_an_event(functions, name, event):
    reply = functions.invoke(name, event)
    assert reply.value() == event
    assert reply.status == 200
    assert reply.version == "$LATEST"


def test_no_payload_is_an_empty_object(client, name):
    from support.functions import Reply

    assert Reply(client.invoke(FunctionName=name)).value() == {}


def test_the_payload_is_not_rebuilt(functions):
    """Spaces, key order, escapes and repeated keys arrive as they were sent."""
    name = functions.create({"bootstrap!": ECHO_BYTES}, Runtime="provided.al2023", Handler="any")
    body = b'{ "b":1,\n\t"a" : "\\u00e4\\/", "a": 1e2, "n": 12345678901234567890.10 }'
    assert functions.invoke(name, body).body == body


# Reads the event and sends it back as bytes, without JSON in between.
ECHO_BYTES = """#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while curl -s -D /tmp/head -o /tmp/event "$api/next"; do
  id=$(grep -i ^lambda-runtime-aws-request-id /tmp/head | tr -d '[:space:]' | cut -d: -f2)
  curl -s -o /dev/null --data-binary @/tmp/event "$api/$id/response"
done
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b"Hello World",
            "Unrecognized token 'Hello': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
        ),
        (b'"\x87"', "Invalid UTF-8 start byte 0x87"),
        (
            b"\x99",
            "Unexpected character ((CTRL-CHAR, code 153)): expected a valid value (JSON String, Number, ",
        ),
        (b'{"a": 1', None),
        (b"[1,]", None),
        (b"{} {}", None),
        (b"'single'", None),
    ],
)
def test_a_payload_that_is_no_json(functions, name, body, reason):
    failure = error_of(functions.invoke, name, body)
    assert (failure.code, failure.status) == ("InvalidRequestContentException", 400)
    prefix = "Could not parse request body into json: Could not parse payload into json: "
    assert failure.message.startswith(prefix + (reason or ""))


def test_the_largest_payload_passes_and_one_byte_more_does_not(functions, name):
    largest = json.dumps("x" * (REQUEST_LIMIT - 2)).encode()
    assert functions.invoke(name, largest).body == largest
    assert tuple(error_of(functions.invoke, name, largest[:-1] + b'x"')) == (
        "RequestEntityTooLargeException",
        413,
        f"Request must be smaller than {REQUEST_LIMIT} bytes for the InvokeFunction operation",
    )


def test_the_largest_response_passes_and_one_byte_more_does_not(functions, name):
    reply = functions.invoke(name, {"do": "large", "bytes": RESPONSE_LIMIT})
    assert reply.error is None
    assert len(reply.body) == RESPONSE_LIMIT
    reply = functions.invoke(name, {"do": "large", "bytes": RESPONSE_LIMIT + 1})
    assert (reply.status, reply.error) == (200, "Unhandled")
    assert reply.payload == {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert functions.invoke(name, 1).value() == 1


def test_a_dry_run_checks_and_does_not_run(functions, name):
    reply = functions.invoke(name, {"do": "fail"}, InvocationType="DryRun")
    assert (reply.status, reply.body, reply.error, reply.version) == (204, b"", None, None)
    failure = error_of(functions.invoke, name, {}, InvocationType="DryRun", Qualifier="99")
    assert failure.code == "ResourceNotFoundException"


def test_the_tail_has_start_end_and_report(functions):
    name = functions.create()
    cold = functions.invoke(name, {"do": "say", "lines": ["one", "two"]}, LogType="Tail")
    number = r"\d+\.\d\d ms"
    pattern = (
        rf"START RequestId: {cold.request_id} Version: \$LATEST\n"
        "one\ntwo\n"
        rf"END RequestId: {cold.request_id}\n"
        rf"REPORT RequestId: {cold.request_id}\tDuration: {number}\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\t"
    )
    assert re.fullmatch(pattern + rf"Init Duration: {number}\t\n", cold.tail), cold.tail
    warm = functions.invoke(name, {"do": "say", "lines": ["one", "two"]}, LogType="Tail")
    assert re.fullmatch(pattern.replace(cold.request_id, warm.request_id) + r"\n", warm.tail), warm.tail


def test_reported_numbers_are_measured(functions):
    name = functions.create(MemorySize=256)
    tail = functions.invoke(name, {"do": "sleep", "seconds": 0.2}, LogType="Tail").tail
    duration, billed, init = (
        float(re.search(rf"{word}: ([\d.]+) ms", tail).group(1))
        for word in ("\tDuration", "Billed Duration", "Init Duration")
    )
    assert duration >= 200
    assert billed >= duration + init
    assert billed - 1 <= duration + init + 0.02
    assert "Memory Size: 256 MB" in tail
    assert 1 <= int(re.search(r"Max Memory Used: (\d+) MB", tail).group(1)) <= 256


def test_the_tail_is_the_last_4_kb_and_of_this_invocation_only(functions, name):
    functions.invoke(name, {"do": "say", "lines": ["of the one before"]})
    lines = [f"line {number:04}" for number in range(1000)]
    reply = functions.invoke(name, {"do": "say", "lines": lines}, LogType="Tail")
    assert len(reply.tail.encode()) <= 4096
    assert "line 0999\n" in reply.tail
    assert "line 0001\n" not in reply.tail
    assert "of the one before" not in functions.invoke(name, 1, LogType="Tail").tail


def test_without_tail_there_is_no_log_in_the_answer(functions, name):
    assert "LogResult" not in functions.invoke(name, 1).response


def test_the_context_says_who_and_where(functions, name):
    reply = functions.invoke(name, {"do": "context"})
    context = reply.value()
    assert context["aws_request_id"] == reply.request_id
    assert UUID.fullmatch(reply.request_id)
    assert context["function_name"] == name
    assert context["function_version"] == "$LATEST"
    assert context["invoked_function_arn"] == f"{ARN}:{name}"
    assert context["memory_limit_in_mb"] == "128"
    assert context["log_group_name"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", context["log_stream_name"])
    assert 0 < context["remaining"] <= 20000
    assert context["custom"] is None


def test_the_arn_is_the_one_that_was_invoked(client, functions):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for qualifier, version in [("$LATEST", "$LATEST"), ("1", "1"), ("live", "1")]:
        context = functions.invoke(name, {"do": "context"}, Qualifier=qualifier).value()
        assert context["invoked_function_arn"] == f"{ARN}:{name}:{qualifier}"
        assert context["function_version"] == version
        assert f"[{version}]" in context["log_stream_name"]


def test_a_client_context_reaches_the_function(functions, name):
    sent = {"client": {"app_title": "Größe"}, "custom": {"key": "value"}, "env": {"locale": "de"}}
    encoded = base64.b64encode(json.dumps(sent).encode()).decode()
    context = functions.invoke(name, {"do": "context"}, ClientContext=encoded).value()
    assert (context["custom"], context["env"], context["app_title"]) == (
        {"key": "value"},
        {"locale": "de"},
        "Größe",
    )


@pytest.mark.parametrize(
    "form", ["{name}:{qualifier}", "function:{name}:{qualifier}", ARN + ":{name}:{qualifier}"]
)
def test_qualifiers_may_be_part_of_the_name(client, functions, form):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for qualifier, version in [("1", "1"), ("live", "1"), ("$LATEST", "$LATEST")]:
        assert functions.invoke(form.format(name=name, qualifier=qualifier)).version == version


def test_headers_of_the_answer(service, name):
    answer = raw.request(service.port, "POST", path(name), body=b"1")
    assert answer.status == 200
    assert answer.body == b"1"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "1"
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    assert answer.headers["x-amzn-remapped-content-length"] == "0"
    assert re.fullmatch(r"[Rr]oot=1-[0-9a-f]{8}-[0-9a-f]{24}(;.*)?", answer.headers["x-amzn-trace-id"])
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert "x-amz-function-error" not in answer.headers


def test_a_chunked_request_is_read(service, name):
    headers = {"Transfer-Encoding": "chunked"}
    body = b'2\r\n{"\r\n5\r\na": 1\r\n1\r\n}\r\n0\r\n\r\n'
    answer = raw.request(service.port, "POST", path(name), body=body, headers=headers)
    assert answer.json() == {"a": 1}


def test_the_node_client_echoes_and_tells_its_context(functions):
    name = functions.create(probe("node"), **NODE_PROBE)
    assert functions.invoke(name, {"a": ["ä", 1.5, None]}).value() == {"a": ["ä", 1.5, None]}
    reply = functions.invoke(name, {"do": "context"})
    context = reply.value()
    assert context["awsRequestId"] == reply.request_id
    assert context["invokedFunctionArn"] == f"{ARN}:{name}"
    assert context["memoryLimitInMB"] == "128"
    assert 0 < context["remaining"] <= 20000


def test_an_invocation_of_an_unknown_type_is_refused(service, name):
    answer = raw.request(
        service.port, "POST", path(name), body=b"1", headers={"X-Amz-Invocation-Type": "Sometimes"}
    )
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] in ("ValidationException", "InvalidParameterValueException")
