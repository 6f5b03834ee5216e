"""InvokeWithResponseStream: answers of functions as streams of events."""

import base64
import json

import pytest
from botocore.eventstream import EventStreamBuffer
from support import raw, toolchains
from support.functions import PROVIDED, SOURCES, UUID, archive, error_of, folder, unique

REQUEST_LIMIT = 6291456
RESPONSE_LIMIT = 6291556


@pytest.fixture(scope="module")
def name(shared_functions):
    return shared_functions.create()


class Stream:
    """The answer, unpacked: chunks of payload, and what its end tells."""

    def __init__(self, response):
        self.status = response["StatusCode"]
        self.version = response.get("ExecutedVersion")
        self.content_type = response["ResponseStreamContentType"]
        self.request_id = response["ResponseMetadata"]["RequestId"]
        events = list(response["EventStream"])
        assert all(list(event) == ["PayloadChunk"] for event in events[:-1])
        self.chunks = [event["PayloadChunk"]["Payload"] for event in events[:-1]]
        self.end = events[-1]["InvokeComplete"]
        self.body = b"".join(self.chunks)

    @property
    def tail(self):
        return base64.b64decode(self.end["LogResult"]).decode()

    def details(self, code="Unhandled"):
        """The error document of an invocation that must have failed before it answered anything."""
        assert (self.status, self.chunks, self.end["ErrorCode"]) == (200, [], code)
        return json.loads(self.end["ErrorDetails"])


def stream(client, name, event=None, **parameters):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Stream(client.invoke_with_response_stream(FunctionName=name, Payload=body, **parameters))


@pytest.mark.parametrize("event", [None, 0, "ä€🔥", [1, [2]], {"deep": {"er": [None]}}])
def test_the_answer_comes_as_a_chunk(client, name, event):
    answer = stream(client, name, event)
    assert (json.loads(answer.body), len(answer.chunks), answer.end) == (event, 1, {})
    assert (answer.status, answer.version) == (200, "$LATEST")
    assert answer.content_type == "application/vnd.amazon.eventstream"


def test_no_payload_is_an_empty_object(client, name):
    assert Stream(client.invoke_with_response_stream(FunctionName=name)).body == b"{}"


@pytest.mark.parametrize("size", [5 * 1024 * 1024, RESPONSE_LIMIT])
def test_a_large_answer_comes_in_chunks(client, name, size):
    answer = stream(client, name, {"do": "large", "bytes": size})
    assert len(answer.body) == size
    assert len(answer.chunks) > 1
    assert isinstance(json.loads(answer.body), str)


def test_an_answer_beyond_the_limit_is_an_error(client, name):
    answer = stream(client, name, {"do": "large", "bytes": RESPONSE_LIMIT + 1})
    assert answer.details("Function.ResponseSizeTooLarge") == {
        "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }


def test_an_error_of_the_handler(client, name):
    answer = stream(client, name, {"do": "fail", "message": "größer"}, LogType="Tail")
    error = answer.details()
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"]) == ("größer", "ValueError")
    assert error["requestId"] == answer.request_id
    assert "[ERROR] ValueError: größer" in answer.tail


def test_a_process_that_ends(client, name):
    answer = stream(client, name, {"do": "leave", "code": 7})
    assert answer.details("Runtime.ExitError") == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 7",
    }
    assert stream(client, name, 1).body == b"1"


def test_a_timeout(client, functions):
    name = functions.create(Timeout=1)
    answer = stream(client, name, {"do": "sleep", "seconds": 30}, LogType="Tail")
    assert answer.details("Sandbox.Timedout") == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert "Status: timeout" in answer.tail
    assert stream(client, name, 1).body == b"1"


def test_the_tail_is_told_at_the_end(client, name):
    answer = stream(client, name, {"do": "say", "lines": ["one", "two"]}, LogType="Tail")
    assert list(answer.end) == ["LogResult"]
    assert answer.tail.startswith(f"START RequestId: {answer.request_id} Version: $LATEST\none\ntwo\nEND ")


def test_qualifier_and_client_context_reach_the_function(client, functions):
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    sent = base64.b64encode(b'{"custom": {"key": "value"}}').decode()
    answer = stream(client, name, {"do": "context"}, Qualifier="live", ClientContext=sent)
    context = json.loads(answer.body)
    assert answer.version == context["function_version"] == "1"
    assert context["invoked_function_arn"].endswith(f":{name}:live")
    assert context["aws_request_id"] == answer.request_id
    assert context["custom"] == {"key": "value"}


def test_a_dry_run_checks_and_does_not_run(client, name):
    invoke = client.invoke_with_response_stream
    response = invoke(FunctionName=name, Payload=b'{"do": "fail"}', InvocationType="DryRun")
    assert (response["StatusCode"], list(response["EventStream"])) == (204, [])
    assert "ExecutedVersion" not in response
    failure = error_of(invoke, FunctionName=name, InvocationType="DryRun", Qualifier="99")
    assert (failure.code, failure.status) == ("ResourceNotFoundException", 404)


def test_a_function_that_is_not_there(client):
    failure = error_of(client.invoke_with_response_stream, FunctionName=(missing := unique("nobody")))
    assert tuple(failure) == (
        "ResourceNotFoundException",
        404,
        f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{missing}:$LATEST",
    )


def test_payloads_that_are_refused(client, name):
    invoke = client.invoke_with_response_stream
    largest = json.dumps("x" * (REQUEST_LIMIT - 2)).encode()
    assert stream(client, name, largest).body == largest
    failure = error_of(invoke, FunctionName=name, Payload=largest[:-1] + b'x"')
    assert (failure.code, failure.status) == ("RequestEntityTooLargeException", 413)
    failure = error_of(invoke, FunctionName=name, Payload=b"no JSON")
    assert (failure.code, failure.status) == ("InvalidRequestContentException", 400)


def test_a_function_with_a_client_of_its_own(client, functions):
    toolchains.need("curl")
    name = functions.create(archive(folder(SOURCES / "bash-echo")), Runtime=PROVIDED, Handler="any")
    assert json.loads(stream(client, name, {"n": [1, None]}).body) == {"n": [1, None]}
    failed = stream(client, name, {"do": "fail"})
    assert failed.details("Function.OnPurpose") == {"errorType": "Bash.Error", "errorMessage": "on purpose"}


def test_messages_on_the_wire(service, name):
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    answer = raw.request(service.port, "POST", path, body=b"[1]", headers={"X-Amz-Log-Type": "Tail"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert answer.headers["x-amz-executed-version"] == "$LATEST"
    assert answer.headers["x-amzn-trace-id"].lower().startswith("root=1-")
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert not {"x-amz-log-result", "x-amz-function-error"} & set(answer.headers)
    decoder = EventStreamBuffer()
    decoder.add_data(answer.body)
    chunk, end = decoder
    assert chunk.headers == {
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    assert chunk.payload == b"[1]"
    assert end.headers == {
        ":event-type": "InvokeComplete",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert list(json.loads(end.payload)) == ["LogResult"]
