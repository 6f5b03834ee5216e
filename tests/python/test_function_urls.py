"""Function URLs: real clients, what functions see of their requests, what clients see of their answers."""

import base64
import http.client
import json
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
from support import raw
from support.functions import UUID, Functions
from support.urls import FORBIDDEN, Url, make_url, speaker, unknown
from support.waiting import until

LIMIT = 6291456


@pytest.fixture(scope="module")
def url(service, client, shared_functions):
    """The speaker's URL, open to all."""
    return make_url(service, client, speaker(shared_functions))


# === requests ===


def test_a_function_sees_the_request(service, url):
    answer = url.send(
        "PUT",
        "/my%2Fpath//x?a=1&a=2&b=%2F+c&empty",
        headers=[
            ("Header1", "value1"),
            ("HEADER1", "value2"),
            ("Cookie", "c1=v1; c2=v2"),
            ("User-Agent", "test/1"),
            ("Connection", "close"),
        ],
    )
    assert answer.status == 200, answer
    event = answer.json()
    context = event.pop("requestContext")
    trace = event["headers"].pop("x-amzn-trace-id")
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", trace)
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my%2Fpath//x",
        "rawQueryString": "a=1&a=2&b=%2F+c&empty",
        "cookies": ["c1=v1", "c2=v2"],
        "headers": {
            "header1": "value1,value2",
            "host": url.host,
            "user-agent": "test/1",
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
            "x-amzn-tls-version": "TLSv1.3",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": str(service.port),
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"a": "1,2", "b": "/ c", "empty": ""},
        "isBase64Encoded": False,
    }
    assert context.pop("requestId") == answer.headers["x-amzn-requestid"]
    assert abs(context.pop("timeEpoch") / 1000 - time.time()) < 60
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context.pop("time"))
    assert context == {
        "accountId": "anonymous",
        "apiId": url.id,
        "domainName": url.host,
        "domainPrefix": url.id,
        "http": {
            "method": "PUT",
            "path": "/my/path//x",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "test/1",
        },
        "routeKey": "$default",
        "stage": "$default",
    }
    told = answer.headers["x-amzn-trace-id"]
    assert told.startswith(f"root={trace.removeprefix('Root=')};parent=") and ";sampled=0" in told


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_reaches_the_function(url, method):
    answer = url.send(method, "/x")
    assert (answer.status, answer.json()["requestContext"]["http"]["method"]) == (200, method)


def test_head_has_headers_only(url):
    answer = url.send("HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 300


def test_binary_bodies_are_encoded(url):
    every = bytes(range(256))
    code = json.dumps({"return": {"statusCode": 200, "body": base64.b64encode(every).decode(), "isBase64Encoded": True}})
    answer = url.send("POST", body=code.encode(), headers={"Content-Type": "application/octet-stream"})
    assert (answer.status, answer.body) == (200, every)


def test_the_client_is_in_a_trace_already(url):
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    answer = url.send(headers={"X-Amzn-Trace-Id": trace})
    assert answer.json()["headers"]["x-amzn-trace-id"] == trace
    assert answer.headers["x-amzn-trace-id"].startswith(trace.replace("R", "r").replace("P", "p").replace("S", "s"))


def test_by_path_where_hosts_do_not_resolve(service, url):
    for path, seen in [("", "/"), ("/", "/"), ("/rest/of%20it?q=1", "/rest/of%20it")]:
        answer = url.send("GET", f"/_hothouse/urls/{url.id}{path}", host=f"127.0.0.1:{service.port}")
        event = answer.json()
        assert (answer.status, event["rawPath"], event["requestContext"]["http"]["path"]) == (200, seen, unquote(seen))
        assert event["requestContext"]["domainName"] == f"127.0.0.1:{service.port}"
        assert event["requestContext"]["apiId"] == url.id


@pytest.mark.parametrize(
    "host",
    [
        "{id}.lambda-url.us-east-1.localhost.localstack.cloud:{port}",
        "{id}.LAMBDA-URL.us-east-1.localhost",
        "{id}.lambda-url.us-east-1.localhost.localstack.cloud",
    ],
)
def test_other_hosts_of_this_machine(service, url, host):
    host = host.format(id=url.id.upper(), port=service.port)
    answer = url.send(host=host)
    assert answer.json()["headers"]["host"] == host


def test_a_url_has_all_paths_of_its_host(url):
    for path in ["/2015-03-31/functions/", "/_hothouse/health", "/_localstack/health"]:
        assert url.send("GET", path).json()["rawPath"] == path


def test_real_clients(service, url):
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    # curl knows that whatever is below `localhost` is this machine.
    command = ["curl", "-sS", "-i", "--data-binary", "@-", "-H", "Content-Type: text/plain", "-b", "a=1", url.text + "p?q"]
    wanted = {"return": {"statusCode": 201, "headers": {"X-A": "b"}, "cookies": ["c=1", "d=2"], "body": "größer"}}
    done = subprocess.run(command, input=json.dumps(wanted).encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert body.decode() == "größer"
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 201")
    assert {"x-a: b", "set-cookie: c=1", "set-cookie: d=2", "content-type: application/json"} <= set(lines)


def test_requests_in_chunks_and_kept_connections(service, url):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    for number in range(3):
        parts = (part for part in [b'{"return": ', str(number).encode(), b"}"])
        headers = {"Host": url.host, "Content-Type": "application/json"}
        connection.request("POST", "/", parts, headers, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, str(number).encode())
    connection.close()


def test_many_at_once(url):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: url.ask(**{"return": number}).body, range(64)))
    assert answers == [str(number).encode() for number in range(64)]


def test_the_request_is_logged_under_its_id(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name)
    identifier = url.ask(**{"return": 1}).headers["x-amzn-requestid"]
    assert UUID.fullmatch(identifier)
    logs = service.client("logs")

    def report():
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return [event for event in events if event["message"].startswith(f"REPORT RequestId: {identifier}")]

    until(report, what="the REPORT line")


# === answers ===


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ({"hello": "world"}, b'{"hello":"world"}'),
        (["hello", 3, True], b'["hello",3,true]'),
        ("hello", b"hello"),
        (3.1, b"3.1"),
        (True, b"true"),
        (None, b"null"),
        ({"statusCode": 200, "body": "body123"}, b"body123"),
        ({"statusCode": 200, "body": '{"hello": "world"}'}, b'{"hello": "world"}'),
        ({"statusCode": 200, "body": {"hello": ["world"]}}, b'{"hello":["world"]}'),
    ],
)
def test_answers_are_read_as_aws_reads_them(url, returned, body):
    answer = url.ask(**{"return": returned})
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(body))


def test_status_headers_and_cookies_of_an_answer(url):
    returned = {
        "statusCode": "418",
        "headers": {"Content-Type": "text/html; charset=utf-8", "X-Custom": "Some Value", "Content-Length": "1"},
        "cookies": ["a=1; HttpOnly", "b=2"],
        "body": "<p>ä</p>",
    }
    answer = url.ask(**{"return": returned})
    assert (answer.status, answer.body.decode()) == (418, "<p>ä</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-custom"] == "Some Value"
    assert answer.all("set-cookie") == ["a=1; HttpOnly", "b=2"]
    assert answer.all("content-length") == [str(len(answer.body))]
    assert "date" in answer.headers
    empty = url.ask(**{"return": {"statusCode": 204}})
    assert (empty.status, empty.body) == (204, b"")


# === failures ===


def is_bad_gateway(answer):
    return (answer.status, answer.body) == (502, b"Internal Server Error") and "x-amzn-requestid" in answer.headers


@pytest.mark.parametrize(
    "returned",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 200, "headers": {"a": "b\nc"}},
        {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    ],
)
def test_answers_that_are_no_responses(url, returned):
    assert is_bad_gateway(url.ask(**{"return": returned}))


def test_a_function_that_fails(url):
    answer = url.ask(**{"raise": "on purpose"})
    assert is_bad_gateway(answer), answer
    assert "x-amzn-trace-id" in answer.headers


def test_a_function_that_takes_too_long(service, client, functions):
    url = make_url(service, client, speaker(functions, Timeout=1))
    assert is_bad_gateway(url.ask(sleep=30, **{"return": 1}))
    assert url.ask(**{"return": 1}).status == 200


def test_a_function_that_is_throttled(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = url.ask(**{"return": 1})
    assert (answer.status, answer.json()["Reason"]) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
    assert answer.headers["x-amzn-errortype"] == "TooManyRequestsException"


def test_requests_have_the_limit_of_events(url):
    headers = {"Content-Type": "text/plain"}
    large = b" " * (LIMIT - 4096) + b'{"return": 1}'
    assert url.send("POST", body=large, headers=headers).body == b"1"
    for size in (LIMIT, LIMIT + 1):
        answer = url.send("POST", body=b"x" * size, headers=headers)
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
    # As an event, what is no text takes a third more.
    assert url.send("POST", body=b"\xff" * (LIMIT * 4 // 5)).status == 413


def test_nobody_has_this_url(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name)
    assert url.ask(**{"return": 1}).status == 200
    other = url.send(host=url.host.replace(url.id, "a" * 32))
    assert unknown(other) and other.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert other.headers["content-type"] == "application/json" and UUID.fullmatch(other.headers["x-amzn-requestid"])
    assert unknown(url.send("GET", f"/_hothouse/urls/{'a' * 32}/", host="localhost"))
    assert unknown(url.send("GET", "/_hothouse/urls/", host="localhost"))
    assert unknown(url.send(host=url.host.replace("us-east-1", "eu-west-1")))
    client.delete_function_url_config(FunctionName=name)
    assert unknown(url.ask(**{"return": 1}))
    again = Url(service, client.create_function_url_config(FunctionName=name, AuthType="NONE"))
    assert again.ask(**{"return": 1}).status == 200
    client.delete_function(FunctionName=name)
    assert unknown(again.ask(**{"return": 1}))


def test_each_alias_has_its_own_url_until_it_goes(service, client, functions):
    name = speaker(functions, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    url = make_url(service, client, name, Qualifier="live")
    own = make_url(service, client, name, public=False)
    assert url.ask(**{"return": 1}).status == 200
    # What is allowed on the alias is not allowed on the function.
    assert (own.ask(**{"return": 1}).status, own.ask(**{"return": 1}).json()) == (403, FORBIDDEN)
    client.delete_alias(FunctionName=name, Name="live")
    answer = url.ask(**{"return": 1})
    assert (answer.status, answer.json()) == (403, FORBIDDEN)
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert unknown(url.ask(**{"return": 1}))


def test_custom_ids(service, client, functions):
    name = speaker(functions, Tags={"_custom_id_": "my-own-id"})
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for qualifier, host in [({}, "my-own-id"), ({"Qualifier": "live"}, "my-own-id-live")]:
        url = make_url(service, client, name, **qualifier)
        assert (url.id, url.ask(**{"return": 1}).body) == (host, b"1")


# === what lasts ===


def test_urls_are_served_after_a_crash(start_service, tmp_path):
    options = ["--data-dir", str(tmp_path / "data")]
    service = start_service(*options, ephemeral=False)
    client = service.client()
    functions = Functions(client)
    name = speaker(functions, Publish=True)
    client.create_alias(FunctionName=name, Name="gone", FunctionVersion="1")
    own = make_url(service, client, name)
    gone = make_url(service, client, name, Qualifier="gone")
    client.delete_alias(FunctionName=name, Name="gone")
    service.kill()
    service = start_service(*options, ephemeral=False)
    for url in (own, gone):
        url.port = service.port
    assert own.ask(**{"return": 5}).body == b"5"
    assert gone.ask(**{"return": 5}).json() == FORBIDDEN
    service.client().delete_function(FunctionName=name)
    assert unknown(own.ask(**{"return": 5})) and unknown(gone.ask(**{"return": 5}))


def test_traces_of_callers_are_kept(service, client, functions):
    name = speaker(functions, TracingConfig={"Mode": "Active"})
    url = make_url(service, client, name)
    root = "1-5bef4de7-ad49b0e87f6ef6c87fc2e7aa"
    sent = f"Root={root};Parent=9a9197af755a6419;Sampled=1"
    answer = url.send("POST", body=b'{"return": 1}', headers={"X-Amzn-Trace-Id": sent})
    assert answer.body == b"1"
    trace = raw.request(service.port, "GET", f"/_hothouse/traces/{root}", service=None).json()
    (segment,) = [one for one in trace["segments"] if one["name"] == name]
    assert (segment["parent_id"], segment["http"]["response"]["status"]) == ("9a9197af755a6419", 200)
