"""Answers that functions stream: chunks while the function runs, what goes wrong midway, and how much is held."""

import base64
import hashlib
import http.client
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.eventstream import EventStreamBuffer
from support import raw, toolchains
from support.functions import NODE, PROVIDED, Functions, archive
from support.waiting import until

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
MEGABYTE = 1024 * 1024

# Does what its event says. A signal is a tag of the function, which it looks for until it is there.
HANDLER = """
const { get } = require("node:http");
const { setTimeout: pause } = require("node:timers/promises");

const tags = (arn) => new Promise((resolve, reject) => {
  const url = `${process.env.AWS_ENDPOINT_URL}/2017-03-31/tags/${encodeURIComponent(arn)}`;
  get(url, (response) => {
    let body = "";
    response.on("data", (chunk) => (body += chunk)).on("end", () => resolve(JSON.parse(body).Tags));
  }).on("error", reject);
});

const signal = async (arn, name) => {
  while (!(await tags(arn))[name]) await pause(20);
};

const write = (stream, chunk) => new Promise((resolve) => stream.write(chunk, resolve));

exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  const arn = context.invokedFunctionArn;
  switch (event.do) {
    case "two":
      await write(stream, "one ");
      await signal(arn, event.signal);
      await write(stream, "two");
      break;
    case "fail":
      await write(stream, "part");
      throw Object.assign(new Error("midway"), { name: "Midway" });
    case "leave":
      await write(stream, "part");
      await signal(arn, event.signal);
      process.exit(7);
    case "hang":
      await write(stream, "part");
      await pause(60000);
      break;
    case "count":
      // Each block differs, and the whole is as large as it is said to be.
      for (let block = 0; block < event.blocks; block++) {
        const data = Buffer.alloc(event.size, block % 251);
        data.writeUInt32BE(block);
        if (!stream.write(data)) await new Promise((resolve) => stream.once("drain", resolve));
      }
      console.log(`wrote ${event.blocks} blocks`);
      break;
    case "http":
      stream = awslambda.HttpResponseStream.from(stream, {
        statusCode: 201, headers: { "x-a": "b" }, cookies: ["c=d"],
      });
      stream.write("body");
      break;
    default:
      stream.setContentType("application/json");
      stream.write(JSON.stringify(event));
  }
  stream.end();
});
"""


@pytest.fixture(scope="module")
def name(shared_functions):
    return shared_functions.create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler", MemorySize=512)


class Stream:
    """An answer, event by event."""

    def __init__(self, client, name, event, **parameters):
        payload = json.dumps(event).encode()
        response = client.invoke_with_response_stream(FunctionName=name, Payload=payload, **parameters)
        self.request_id = response["ResponseMetadata"]["RequestId"]
        self.events = iter(response["EventStream"])
        self.close = response["EventStream"].close
        self.end = None

    def chunk(self):
        """The next chunk; none at the end."""
        event = next(self.events)
        if "InvokeComplete" in event:
            self.end = event["InvokeComplete"]
            assert not list(self.events)
            return None
        return event["PayloadChunk"]["Payload"]

    def rest(self):
        return b"".join(iter(self.chunk, None))

    @property
    def tail(self):
        return base64.b64decode(self.end["LogResult"]).decode()


def stream(client, name, event, **parameters):
    """The whole answer, and its end."""
    answer = Stream(client, name, event, **parameters)
    return answer.rest(), answer.end


def give(client, name, signal):
    client.tag_resource(Resource=f"{ARN}:{name}", Tags={signal: "yes"})


def test_chunks_come_before_the_function_has_ended(client, name):
    answer = Stream(client, name, {"do": "two", "signal": "go"}, LogType="Tail")
    assert answer.chunk() == b"one "
    give(client, name, "go")
    assert (answer.chunk(), answer.chunk()) == (b"two", None)
    assert list(answer.end) == ["LogResult"]
    assert answer.tail.startswith(f"START RequestId: {answer.request_id} ")
    assert "\nREPORT RequestId: " in answer.tail


def test_an_http_response_passes_unchanged(client, name):
    body, end = stream(client, name, {"do": "http"})
    prelude, separator, rest = body.partition(bytes(8))
    assert json.loads(prelude) == {"statusCode": 201, "headers": {"x-a": "b"}, "cookies": ["c=d"]}
    assert (separator, rest, end) == (bytes(8), b"body", {})


def test_an_error_midway_stands_behind_what_came_before(client, name):
    body, end = stream(client, name, {"do": "fail"}, LogType="Tail")
    assert (body, end["ErrorCode"]) == (b"part", "Midway")
    details = json.loads(end["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("Midway", "midway")
    assert "midway" in base64.b64decode(end["LogResult"]).decode()
    assert stream(client, name, 1) == (b"1", {})


def test_a_process_that_ends_midway(client, name):
    answer = Stream(client, name, {"do": "leave", "signal": "leave"}, LogType="Tail")
    assert answer.chunk() == b"part"
    give(client, name, "leave")
    assert answer.chunk() is None
    assert list(answer.end) == ["ErrorCode", "LogResult"]
    assert answer.end["ErrorCode"] == "Runtime.TruncatedResponse"
    assert "Error Type: Runtime.ExitError" in answer.tail
    assert stream(client, name, 1) == (b"1", {})


def test_a_timeout_midway(client, functions):
    name = functions.create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler", Timeout=1)
    answer = Stream(client, name, {"do": "hang"}, LogType="Tail")
    assert (answer.rest(), answer.end["ErrorCode"]) == (b"part", "Sandbox.Timedout")
    assert json.loads(answer.end["ErrorDetails"]) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert "Status: timeout" in answer.tail
    assert stream(client, name, 1) == (b"1", {})


def test_who_takes_the_answer_whole_gets_it_whole(functions, client, name):
    give(client, name, "whole")
    assert functions.invoke(name, {"do": "two", "signal": "whole"}).body == b"one two"
    failed = functions.invoke(name, {"do": "fail"})
    assert (failed.error, failed.payload["errorType"]) == ("Unhandled", "Midway")
    large = functions.invoke(name, {"do": "count", "blocks": 7, "size": MEGABYTE})
    assert (large.error, large.payload["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


def test_a_caller_that_goes_away_does_not_end_the_run(service, client, name):
    answer = Stream(client, name, {"do": "count", "blocks": 64, "size": MEGABYTE})
    answer.chunk()
    answer.close()
    logs = service.client("logs")

    def wrote():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern='"wrote 64 blocks"')
        return [event for event in events["events"] if answer.request_id in event["message"]]

    until(wrote, what="the end of the run")


def test_many_streams_at_once(client, name):
    first = [Stream(client, name, {"do": "two", "signal": "all"}) for _ in range(8)]
    assert [answer.chunk() for answer in first] == [b"one "] * 8
    give(client, name, "all")
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda answer: answer.rest(), first)) == [b"two"] * 8


def blocks(count, size):
    for block in range(count):
        yield block.to_bytes(4, "big") + bytes([block % 251]) * (size - 4)


def resident(pid):
    """The service's memory, in bytes: what it has alone and has not given back."""
    with open(f"/proc/{pid}/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.timeout(300)
def test_200_megabytes_in_constant_memory(start_service):
    service = start_service()
    client = service.client()
    name = Functions(client).create(
        {"index.js": HANDLER}, Runtime=NODE, Handler="index.handler", MemorySize=512, Timeout=120
    )
    stream(client, name, {"do": "count", "blocks": 8, "size": MEGABYTE})
    before, most = resident(service.process.pid), 0
    answer = Stream(client, name, {"do": "count", "blocks": 200, "size": MEGABYTE})
    received, length = hashlib.sha256(), 0
    for chunk in iter(answer.chunk, None):
        received.update(chunk)
        length += len(chunk)
        most = max(most, resident(service.process.pid))
    expected = hashlib.sha256()
    for block in blocks(200, MEGABYTE):
        expected.update(block)
    assert (answer.end, length, received.digest()) == ({}, 200 * MEGABYTE, expected.digest())
    assert most - before < 30 * MEGABYTE, f"from {before} to {most} bytes"

    answer = Stream(client, name, {"do": "count", "blocks": 201, "size": MEGABYTE})
    length = sum(map(len, iter(answer.chunk, None)))
    assert (length, answer.end["ErrorCode"]) == (200 * MEGABYTE, "Function.ResponseSizeTooLarge")


def test_the_limit_can_be_set(start_service):
    service = start_service("--limit-max-streamed-response-size", "2MiB")
    client = service.client()
    name = Functions(client).create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler")
    body, end = stream(client, name, {"do": "count", "blocks": 3, "size": MEGABYTE})
    assert (len(body), end["ErrorCode"]) == (2 * MEGABYTE, "Function.ResponseSizeTooLarge")
    assert json.loads(end["ErrorDetails"])["errorMessage"] == (
        f"Response payload size exceeded maximum allowed payload size ({2 * MEGABYTE} bytes)."
    )


def test_the_head_comes_with_the_first_chunk(service, client, name):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    headers = {"Authorization": raw.authorization(), "X-Amzn-Trace-Id": trace}
    body = json.dumps({"do": "two", "signal": "head"})
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    connection.request("POST", path, body=body, headers=headers)
    response = connection.getresponse()
    assert (response.status, response.headers["transfer-encoding"]) == (200, "chunked")
    assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert response.headers["x-amz-executed-version"] == "$LATEST"
    assert response.headers["x-amzn-trace-id"].startswith("Root=1-5759e988-bd862e3fe1be46a994272793;")
    decoder = EventStreamBuffer()
    decoder.add_data(response.read1())
    assert next(iter(decoder)).payload == b"one "
    give(client, name, "head")
    decoder.add_data(response.read())
    assert [message.headers[":event-type"] for message in decoder] == ["PayloadChunk", "InvokeComplete"]
    connection.close()


def test_an_invocation_has_a_segment_when_its_stream_ends(service, client, name):
    xray = service.client("xray")
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    for event, fault in (({"do": "fail"}, True), ({"do": "http"}, False)):
        trace = f"1-5759e988-{uuid.uuid4().hex[:24]}"
        headers = {"X-Amzn-Trace-Id": f"Root={trace};Sampled=1"}
        answer = raw.request(service.port, "POST", path, body=json.dumps(event).encode(), headers=headers)
        [told] = xray.batch_get_traces(TraceIds=[trace])["Traces"]
        documents = [json.loads(segment["Document"]) for segment in told["Segments"]]
        [segment] = [document for document in documents if document["origin"] == "AWS::Lambda"]
        assert (segment["name"], segment["fault"]) == (name, fault)
        assert segment["aws"]["request_id"] == answer.headers["x-amzn-requestid"]


# A runtime of its own: whatever the event names is sent as the body of the response, byte for byte.
BOOTSTRAP = """#!/usr/bin/python3
import json, os, socket

host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rsplit(":", 1)

def connect():
    connection = socket.create_connection((host, int(port)))
    return connection, connection.makefile("rb")

def answer(file):
    status = file.readline().decode().split()[1]
    headers = {}
    while (line := file.readline().decode().strip()):
        key, _, value = line.partition(":")
        headers[key.lower()] = value.strip()
    return status, headers, file.read(int(headers.get("content-length", 0)))

connection, file = connect()
while True:
    connection.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    _, headers, body = answer(file)
    event = json.loads(body)
    head = f"POST /2018-06-01/runtime/invocation/{headers['lambda-runtime-aws-request-id']}/response HTTP/1.1\\r\\nHost: a\\r\\n"
    head += event.get("head", "Lambda-Runtime-Function-Response-Mode: streaming\\r\\n")
    head += "Transfer-Encoding: chunked\\r\\nTrailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n"
    connection.sendall(head.encode())
    for chunk in event["chunks"]:
        connection.sendall(f"{len(chunk):x}\\r\\n{chunk}\\r\\n".encode())
    if "end" not in event:
        connection.close()
        connection, file = connect()
        continue
    connection.sendall(event["end"].encode())
    print("status", answer(file)[0], flush=True)
"""
FINISHED = "0\r\n\r\n"


@pytest.fixture(scope="module")
def own_runtime(shared_functions):
    toolchains.need(toolchains.SYSTEM_PYTHON)
    return shared_functions.create(archive({"bootstrap!": BOOTSTRAP}), Runtime=PROVIDED, Handler="any")


def test_a_runtime_of_its_own(client, own_runtime):
    body, end = stream(client, own_runtime, {"chunks": ["a", "b", "c"], "end": FINISHED}, LogType="Tail")
    assert (body, list(end)) == (b"abc", ["LogResult"])
    assert "\nstatus 202\n" in base64.b64decode(end["LogResult"]).decode()
    assert stream(client, own_runtime, {"chunks": [], "end": FINISHED}) == (b"", {})


def test_its_trailers_tell_an_error(client, own_runtime):
    document = {"errorType": "Own.Error", "errorMessage": "ä"}
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    trailers = f"Lambda-Runtime-Function-Error-Type: Own.Error\r\nLambda-Runtime-Function-Error-Body: {encoded}\r\n"
    body, end = stream(client, own_runtime, {"chunks": ["a"], "end": f"0\r\n{trailers}\r\n"})
    assert (body, end["ErrorCode"], json.loads(end["ErrorDetails"])) == (b"a", "Own.Error", document)
    # A type without a document, and a document that is none.
    for trailers in (
        "Lambda-Runtime-Function-Error-Type: Own.Error\r\n",
        "Lambda-Runtime-Function-Error-Type: Own.Error\r\nLambda-Runtime-Function-Error-Body: ?\r\n",
    ):
        body, end = stream(client, own_runtime, {"chunks": ["a"], "end": f"0\r\n{trailers}\r\n"})
        assert (body, end) == (b"a", {"ErrorCode": "Own.Error"})


def test_a_response_that_breaks_off(client, own_runtime):
    body, end = stream(client, own_runtime, {"chunks": ["a"]})
    assert (body, end) == (b"a", {"ErrorCode": "Runtime.TruncatedResponse"})
    assert stream(client, own_runtime, {"chunks": ["b"], "end": FINISHED}) == (b"b", {})


def test_a_mode_that_does_not_exist(client, own_runtime):
    event = {"head": "Lambda-Runtime-Function-Response-Mode: quick\r\n", "chunks": ["a"], "end": FINISHED}
    body, end = stream(client, own_runtime, event, LogType="Tail")
    assert (body, end["ErrorCode"]) == (b"", "Runtime.InvalidResponseModeHeader")
    assert "\nstatus 400\n" in base64.b64decode(end["LogResult"]).decode()


def test_a_response_in_one_piece_need_not_say_so(client, own_runtime):
    assert stream(client, own_runtime, {"head": "", "chunks": ["a", "b"], "end": FINISHED}) == (b"ab", {})


# AWS's crate for Rust has no trailers: what goes wrong midway stands in the body, as text.
def test_text_that_looks_like_trailers_is_payload(client, own_runtime):
    text = "Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
    assert stream(client, own_runtime, {"chunks": ["a", text], "end": FINISHED}) == (f"a{text}".encode(), {})


BASH = """#!/bin/bash
api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
while true; do
  event=$(curl --silent --dump-header /tmp/headers "$api/invocation/next") || exit 1
  id=$(grep -i '^lambda-runtime-aws-request-id:' /tmp/headers | tr -d '[:space:]' | cut -d: -f2)
  (echo first; echo "$event"; echo last) | curl --silent --output /dev/null --request POST --upload-file - \\
    --header 'Transfer-Encoding: chunked' --header 'Lambda-Runtime-Function-Response-Mode: streaming' \\
    "$api/invocation/$id/response"
done
"""


def test_bash_with_curl(client, functions):
    toolchains.need("curl")
    name = functions.create(archive({"bootstrap!": BASH}), Runtime=PROVIDED, Handler="any")
    for event in ("one", "two"):
        assert stream(client, name, event) == (f'first\n"{event}"\nlast\n'.encode(), {})


def test_a_slow_caller_holds_the_function_up(client, service, name):
    answer = Stream(client, name, {"do": "count", "blocks": 32, "size": MEGABYTE})
    answer.chunk()
    logs = service.client("logs")

    def wrote():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern='"wrote 32 blocks"')
        return any(answer.request_id in event["message"] for event in events["events"])

    # Another invocation goes by meanwhile, and this one has not got far.
    assert stream(client, name, 1) == (b"1", {})
    assert not wrote()
    answer.rest()
    until(wrote, what="the end of the run")
