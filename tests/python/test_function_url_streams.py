"""Function URLs whose answers are streams: how they begin, that they leave while the function runs, how they break."""

import http.client
import json
import uuid

import pytest
from support import raw, toolchains
from support.functions import NODE, PROVIDED, archive
from support.urls import make_url, speaker
from support.waiting import until

ARN = "arn:aws:lambda:us-east-1:000000000000:function"

# Does what the request's body says. A signal is a tag of the function, which it looks for until it is there.
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

const write = (stream, chunk) => new Promise((resolve) => stream.write(chunk, resolve));

exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  const wanted = JSON.parse(event.body);
  if (wanted.early) throw new Error("early");
  if (wanted.type) stream.setContentType(wanted.type);
  if (wanted.metadata) stream = awslambda.HttpResponseStream.from(stream, wanted.metadata);
  for (const part of wanted.parts ?? []) {
    if (part.signal) {
      while (!(await tags(context.invokedFunctionArn))[part.signal]) await pause(20);
    } else if (part.fail) {
      throw Object.assign(new Error("midway"), { name: "Midway" });
    } else if (part.megabytes) {
      for (let block = 0; block < part.megabytes; block++) {
        if (!stream.write(Buffer.alloc(1024 * 1024, block))) {
          await new Promise((resolve) => stream.once("drain", resolve));
        }
      }
      console.log(`wrote ${part.megabytes} megabytes`);
    } else {
      await write(stream, part);
    }
  }
  stream.end();
});
"""


@pytest.fixture(scope="module")
def name(shared_functions):
    return shared_functions.create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler", MemorySize=512)


@pytest.fixture(scope="module")
def url(service, client, name):
    return make_url(service, client, name, InvokeMode="RESPONSE_STREAM")


class Streamed:
    """A request of which the answer's head is there."""

    def __init__(self, url, **wanted):
        self.connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=60)
        headers = {"Host": url.host, "Content-Type": "application/json"}
        self.connection.request("POST", "/", json.dumps(wanted), headers)
        self.response = self.connection.getresponse()

    def chunk(self):
        return self.response.read1()

    def rest(self):
        try:
            return self.response.read()
        finally:
            self.connection.close()


def give(client, name, signal):
    client.tag_resource(Resource=f"{ARN}:{name}", Tags={signal: "yes"})


def is_bad_gateway(answer):
    return (answer.status, answer.body) == (502, b"Internal Server Error") and "x-amzn-requestid" in answer.headers


def test_status_headers_and_cookies_stand_before_the_body(url):
    metadata = {
        "statusCode": 201,
        "headers": {"Content-Type": "text/html", "X-Custom": "a", "Transfer-Encoding": "gzip", "Content-Length": "1"},
        "cookies": ["a=1; HttpOnly", "b=2"],
    }
    answer = url.ask(metadata=metadata, parts=["one ", "two"])
    assert (answer.status, answer.body) == (201, b"one two")
    assert (answer.headers["content-type"], answer.headers["x-custom"]) == ("text/html", "a")
    assert answer.all("set-cookie") == ["a=1; HttpOnly", "b=2"]
    assert answer.all("transfer-encoding") == ["chunked"] and not answer.all("content-length")
    assert "x-amzn-requestid" in answer.headers and answer.headers["x-amzn-trace-id"].startswith("root=1-")


def test_a_stream_without_a_prelude_is_the_body(url):
    answer = url.ask(parts=["a", "b"])
    assert (answer.status, answer.body) == (200, b"ab")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["transfer-encoding"] == "chunked"
    typed = url.ask(type="text/event-stream", parts=['{"statusCode":500}'])
    assert (typed.status, typed.body) == (200, b'{"statusCode":500}')
    assert typed.headers["content-type"] == "text/event-stream"


def test_a_stream_with_nothing_in_it(url):
    answer = url.ask()
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/octet-stream")


def test_chunks_come_before_the_function_has_ended(client, name, url):
    answer = Streamed(url, metadata={"statusCode": 202}, parts=["one ", {"signal": "go"}, "two"])
    assert (answer.response.status, answer.chunk()) == (202, b"one ")
    give(client, name, "go")
    assert answer.rest() == b"two"


def test_a_function_that_fails_before_it_has_answered(url):
    assert is_bad_gateway(url.ask(early=True))


@pytest.mark.parametrize(
    "prelude",
    [
        "x" * 100_000,
        "{}",
        '{"statusCode":99}' + "\0" * 8,
        "no JSON" + "\0" * 8,
    ],
)
def test_what_is_no_prelude(url, prelude):
    assert is_bad_gateway(url.ask(type="application/vnd.awslambda.http-integration-response", parts=[prelude]))
    assert url.ask(parts=["a"]).body == b"a"


def test_a_prelude_in_pieces(url):
    parts = ['{"statusCode"', ":203}\0\0\0", "\0\0\0\0\0bo", "dy"]
    answer = url.ask(type="Application/vnd.awslambda.http-integration-response; a=b", parts=parts)
    assert (answer.status, answer.body) == (203, b"body")


# What AWS's library for Go does: it tells the type of its response, and no mode.
BOOTSTRAP = """#!/usr/bin/python3
import os, urllib.request

api = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
while True:
    with urllib.request.urlopen(f"{api}/next") as event:
        identifier = event.headers["Lambda-Runtime-Aws-Request-Id"]
    chunks = iter([b'{"statusCode":203}' + bytes(8), b"body"])
    headers = {"Content-Type": "application/vnd.awslambda.http-integration-response"}
    request = urllib.request.Request(f"{api}/{identifier}/response", chunks, headers)
    urllib.request.urlopen(request).close()
"""


def test_a_runtime_that_tells_the_type_alone(service, client, functions):
    toolchains.need(toolchains.SYSTEM_PYTHON)
    name = functions.create(archive({"bootstrap!": BOOTSTRAP}), Runtime=PROVIDED, Handler="any")
    answer = make_url(service, client, name, InvokeMode="RESPONSE_STREAM").send()
    assert (answer.status, answer.body) == (203, b"body")


def test_an_error_midway_cuts_the_connection(client, name, url):
    answer = Streamed(url, parts=["part", {"signal": "fail"}, {"fail": True}])
    assert (answer.response.status, answer.chunk()) == (200, b"part")
    give(client, name, "fail")
    with pytest.raises(http.client.IncompleteRead):
        answer.rest()
    # Nothing waits between what was written and the error, and what was written comes.
    answer = Streamed(url, parts=["part", {"fail": True}])
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.rest()
    assert cut.value.partial == b"part"
    assert url.ask(parts=["a"]).body == b"a"


def test_head_has_headers_only(url):
    body = json.dumps({"metadata": {"statusCode": 202}, "parts": ["body"]}).encode()
    answer = url.send("HEAD", body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body) == (202, b"")
    assert url.ask(parts=["a"]).body == b"a"


def test_statuses_without_a_body(url):
    answer = url.ask(metadata={"statusCode": 204}, parts=["body"])
    assert (answer.status, answer.body) == (204, b"")


def test_pages_of_other_origins(service, client, functions):
    name = functions.create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler")
    cors = {"AllowOrigins": ["https://a.example"]}
    url = make_url(service, client, name, InvokeMode="RESPONSE_STREAM", Cors=cors)
    headers = {"Content-Type": "application/json", "Origin": "https://a.example"}
    answer = url.send("POST", body=b'{"parts":["a"]}', headers=headers)
    assert (answer.body, answer.headers["access-control-allow-origin"]) == (b"a", "https://a.example")


def test_a_function_that_does_not_stream(service, client, functions):
    url = make_url(service, client, speaker(functions), InvokeMode="RESPONSE_STREAM")
    returned = {"statusCode": 201, "body": "a"}
    answer = url.ask(**{"return": returned})
    assert (answer.status, answer.json()) == (200, returned)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert is_bad_gateway(url.ask(**{"raise": "on purpose"}))


def test_a_function_that_streams_behind_a_url_that_does_not(service, client, functions):
    name = functions.create({"index.js": HANDLER}, Runtime=NODE, Handler="index.handler")
    answer = make_url(service, client, name).ask(parts=['{"statusCode": 201,', '"body": "a"}'])
    assert (answer.status, answer.body, answer.headers["content-length"]) == (201, b"a", "1")


def wrote(service, name, megabytes, request):
    """Whether a request's function has written all that it should."""
    logs = service.client("logs")
    pattern = f'"wrote {megabytes} megabytes"'
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern=pattern)["events"]
    return any(request in event["message"] for event in events)


def test_a_client_that_goes_away_does_not_end_the_run(service, name, url):
    answer = Streamed(url, parts=[{"megabytes": 48}])
    answer.response.read(1)
    request = answer.response.headers["x-amzn-requestid"]
    answer.connection.sock.close()
    answer.response.close()
    until(lambda: wrote(service, name, 48, request), what="the end of the run")


def test_a_slow_client_holds_the_function_up(service, name, url):
    answer = Streamed(url, parts=[{"megabytes": 32}])
    first = answer.response.read(1)
    request = answer.response.headers["x-amzn-requestid"]
    # Another request goes by meanwhile, and this one has not got far.
    assert url.ask(parts=["a"]).body == b"a"
    assert not wrote(service, name, 32, request)
    assert first + answer.rest() == b"".join(bytes([block]) * 1024 * 1024 for block in range(32))
    until(lambda: wrote(service, name, 32, request), what="the end of the run")


def test_an_invocation_has_a_segment_when_its_stream_ends(service, name, url):
    for parts, fault in ((["a"], False), (["a", {"fail": True}], True)):
        trace = f"1-5759e988-{uuid.uuid4().hex[:24]}"
        headers = {"Host": url.host, "Content-Type": "application/json", "X-Amzn-Trace-Id": f"Root={trace};Sampled=1"}
        connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=60)
        connection.request("POST", "/", json.dumps({"parts": parts}), headers)
        response = connection.getresponse()
        try:
            assert (response.read(), fault) == (b"a", False)
        except http.client.IncompleteRead as cut:
            assert (cut.partial, fault) == (b"a", True)
        assert response.headers["x-amzn-trace-id"].startswith(f"root={trace};")
        connection.close()
        [segment] = raw.request(service.port, "GET", f"/_hothouse/traces/{trace}", service=None).json()["segments"]
        assert (segment["name"], segment["fault"], segment["http"]["response"]["status"]) == (name, fault, 200)
        assert segment["aws"]["request_id"] == response.headers["x-amzn-requestid"]
