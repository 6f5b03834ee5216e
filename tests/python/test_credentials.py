"""The credentials of functions: of their roles, from whoever gives them."""

import re
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import boto3
import pytest
from support.functions import PYTHON, ROLE, Functions

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ROLE_NAME = ROLE.rsplit("/", 1)[1]


def keys_of(variables):
    return [variables[name] for name in NAMES]


def who_is(endpoint, keys):
    """Who the STS at an endpoint takes the owner of these credentials for."""
    key, secret, token = keys
    session = boto3.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token, region_name="us-east-1"
    )
    return session.client("sts", endpoint_url=endpoint).get_caller_identity()["Arn"]


def assumed(session):
    return f"arn:aws:sts::000000000000:assumed-role/{ROLE_NAME}/{session}"


class Endpoint(ThreadingHTTPServer):
    """An endpoint that keeps requests and answers each the same way (but the `first`), or never."""

    daemon_threads = True

    def __init__(self, status=None, body=b"", first=None):
        self.requests = []
        self.released = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["content-length"])
                endpoint.requests.append((self.headers, self.rfile.read(length).decode()))
                if status is None:
                    endpoint.released.wait(60)
                    return
                code, answer = first if first and len(endpoint.requests) == 1 else (status, body)
                self.send_response(code)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def endpoint():
    made = []

    def make(*arguments):
        made.append(Endpoint(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_environments_have_credentials_of_their_own_and_of_the_role(functions, service):
    name = functions.create()

    def run(_):
        return functions.invoke(name, {"do": "sleep", "seconds": 1}).value()["environment"]

    # Two at once are two environments.
    with ThreadPoolExecutor(2) as both:
        assert len(set(both.map(run, range(2)))) == 2
    other = functions.create()
    seen = [keys_of(functions.invoke(one, {"do": "environment"}).value()) for one in (name, other)]
    assert all(one != another for one, another in zip(*seen, strict=True))
    assert [who_is(service.endpoint, keys) for keys in seen] == [assumed(name), assumed(other)]
    assert all(re.fullmatch(r"ASIA[A-Z2-7]{16}", keys[0]) for keys in seen)


def test_a_name_of_one_character_becomes_a_longer_session(functions, service):
    functions.create(name="x")
    keys = keys_of(functions.invoke("x", {"do": "environment"}).value())
    assert who_is(service.endpoint, keys) == assumed("x@lambda_function")


def test_another_endpoint_gives_the_credentials_that_it_knows(start_service, moto, boto3_in_functions):
    service = start_service(f"--aws-endpoint={moto}")
    functions = Functions(service.client())
    name = functions.create(boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60)
    keys = keys_of(functions.invoke(name, {"do": "environment"}).value())
    assert who_is(moto, keys) == assumed(name)
    # The door asks whoever gave them.
    event = {"do": "aws", "service": "sts", "operation": "get_caller_identity"}
    assert functions.invoke(name, event).value()["Arn"] == assumed(name)
    assert who_is(service.endpoint, keys) == assumed(name)
    # Keys that nobody gave are still answered here.
    assert service.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"

    other = functions.create()
    assert keys_of(functions.invoke(other, {"do": "environment"}).value())[0] != keys[0]


def test_a_function_of_another_account_acts_in_its_account(start_service, moto, boto3_in_functions):
    service = start_service(f"--aws-endpoint={moto}")
    account = "123456789012"
    functions = Functions(service.client(access_key=account))
    name = functions.create(
        boto3_in_functions(),
        Runtime=PYTHON,
        Handler="probe.handler",
        Timeout=60,
        Role=f"arn:aws:iam::{account}:role/worker",
    )
    event = {
        "do": "aws",
        "service": "lambda",
        "operation": "get_function",
        "parameters": {"FunctionName": name},
    }
    found = functions.invoke(name, event).value()["Configuration"]["FunctionArn"]
    assert found == f"arn:aws:lambda:us-east-1:{account}:function:{name}"


DENIED = (
    b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    b"<Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
)


@pytest.mark.parametrize(
    "answer, reason",
    [
        ((403, DENIED), "AccessDenied: not you"),
        ((404, b"nothing here"), "status 404"),
        ((200, b"<html>"), "status 200"),
        ((None,), "no answer within"),
    ],
    ids=["refused", "no-sts", "nonsense", "silent"],
)
def test_credentials_are_ours_where_the_endpoint_gives_none(start_service, endpoint, answer, reason):
    upstream = endpoint(*answer)
    service = start_service(f"--aws-endpoint={upstream.url}")
    functions = Functions(service.client())
    names = [functions.create() for _ in range(3)]
    for name in names:
        keys = keys_of(functions.invoke(name, {"do": "environment"}).value())
        assert who_is(service.endpoint, keys) == assumed(name)
    # Asked once, told once; a silent endpoint delays one start, not each.
    assert len(upstream.requests) == 1
    assert service.log.count("gives no credentials") == 1, service.log
    assert reason in service.log


TOO_LONG = DENIED.replace(b"AccessDenied", b"ValidationError").replace(
    b"not you", b"The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
)
GIVEN = (
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAGIVEN</AccessKeyId>"
    b"<SecretAccessKey>its secret</SecretAccessKey><SessionToken>its token</SessionToken></Credentials>"
    b"</AssumeRoleResult></AssumeRoleResponse>"
)


def test_a_role_that_gives_less_time_is_asked_for_less(start_service, endpoint):
    upstream = endpoint(200, GIVEN, (400, TOO_LONG))
    service = start_service(
        f"--aws-endpoint={upstream.url}", "--aws-endpoint-key=AKIAMINE", "--aws-endpoint-secret=mine"
    )
    functions = Functions(service.client())
    name = functions.create()
    keys = keys_of(functions.invoke(name, {"do": "environment"}).value())
    assert keys == ["ASIAGIVEN", "its secret", "its token"]
    asked = [dict(parse_qsl(form)) for _, form in upstream.requests]
    assert [one["DurationSeconds"] for one in asked] == ["43200", "3600"]
    assert (asked[0]["Action"], asked[0]["RoleArn"], asked[0]["RoleSessionName"]) == (
        "AssumeRole",
        ROLE,
        name,
    )
    headers, _ = upstream.requests[0]
    assert re.match(r"AWS4-HMAC-SHA256 Credential=AKIAMINE/\d{8}/us-east-1/sts/", headers["authorization"])


def test_credentials_are_ours_where_nothing_listens(start_service):
    with socketserver.TCPServer(("127.0.0.1", 0), None) as taken:
        port = taken.server_address[1]
    service = start_service(f"--aws-endpoint=http://127.0.0.1:{port}")
    functions = Functions(service.client())
    name = functions.create()
    keys = keys_of(functions.invoke(name, {"do": "environment"}).value())
    assert who_is(service.endpoint, keys) == assumed(name)
    assert service.log.count("gives no credentials") == 1
