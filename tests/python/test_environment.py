"""What a function finds around itself: variables, files, limits, credentials."""

import re
import socket

import pytest
from support.functions import NODE, NODE_PROBE, PYTHON, ROLE, Functions, probe


@pytest.fixture(scope="module")
def python(shared_functions):
    variables = {"STAGE": "test", "EMPTY": "", "TZ": "Europe/Berlin", "QUOTED": "a b $HOME 'c'"}
    return shared_functions.create(Environment={"Variables": variables})


def test_variables_of_python(functions, python):
    variables = functions.invoke(python, {"do": "environment"}).value()
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": python,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{python}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": "probe.handler",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PYTHONPATH": "/var/runtime",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        # The customer's own; TZ is not reserved.
        "STAGE": "test",
        "EMPTY": "",
        "TZ": "Europe/Berlin",
        "QUOTED": "a b $HOME 'c'",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", variables["AWS_LAMBDA_LOG_STREAM_NAME"])
    assert re.fullmatch(r"[0-9.]+:\d+", variables["AWS_LAMBDA_RUNTIME_API"])
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= variables.keys()
    assert re.match(
        r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]", variables["_X_AMZN_TRACE_ID"]
    )
    private = [
        name for name in variables if name.startswith("_HOTHOUSE") or name == "_LAMBDA_TELEMETRY_LOG_FD"
    ]
    assert private == []


def test_variables_of_node(functions):
    name = functions.create(probe("node"), **NODE_PROBE, MemorySize=512)
    variables = functions.invoke(name, {"do": "environment"}).value()
    assert variables["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{NODE}"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["NODE_PATH"].startswith(
        "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules"
    )
    assert variables["TZ"] == ":UTC"


def test_nothing_of_the_service_leaks_into_functions(start_service):
    from support.functions import Functions

    service = start_service(environment={"SECRET_OF_THE_SHELL": "hidden"})
    functions = Functions(service.client())
    assert "SECRET_OF_THE_SHELL" not in functions.invoke(functions.create(), {"do": "environment"}).value()


def test_files_and_processes(functions, python):
    view = functions.invoke(python, {"do": "look"}).value()
    assert view["cwd"] == "/var/task"
    assert view["task"] == ["probe.py"]
    assert view["writable"]["/tmp"] is True
    assert view["writable"]["/var/task"] is False


def test_what_full_isolation_hides(functions, python, service):
    """Skipped where the machine does not let the service isolate fully; it says so at its start."""
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    view = functions.invoke(python, {"do": "look"}).value()
    assert view["writable"] == {"/tmp": True, "/var/task": False, "/": False, "/usr": False, "/opt": False}
    assert view["processes"] <= 3
    assert view["uid"] != 0


CALLS = """
import os, socket, urllib.request

def handler(event, context):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    health = urllib.request.urlopen(endpoint + "/_hothouse/health", timeout=10).status
    try:
        socket.create_connection(("127.0.0.1", event["port"]), 10).close()
        host = "reached"
    except OSError as error:
        host = type(error).__name__
    return [os.environ["AWS_LAMBDA_RUNTIME_API"], health, host]
"""


def test_an_isolated_network_holds_the_service_and_nothing_of_the_host(start_service):
    service = start_service("--network=isolated")
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    functions = Functions(service.client())
    name = functions.create({"main.py": CALLS}, Runtime=PYTHON, Handler="main.handler", Timeout=30)
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()
        answer = functions.invoke(name, {"port": host.getsockname()[1]}).value()
    assert answer == ["127.0.0.1:9001", 200, "ConnectionRefusedError"]


def test_tmp_is_kept_between_invocations_and_not_shared(functions):
    one, two = functions.create(), functions.create()
    functions.invoke(one, {"do": "write", "path": "/tmp/note", "text": "mine"})
    assert functions.invoke(one, {"do": "read", "path": "/tmp/note"}).value() == "mine"
    assert (
        functions.invoke(two, {"do": "read", "path": "/tmp/note"}).payload["errorType"] == "FileNotFoundError"
    )


def test_credentials_are_of_the_execution_role(functions, boto3_in_functions):
    """boto3 in a function finds the service, and the service knows the function by its role."""
    name = functions.create(boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60)
    event = {"do": "aws", "service": "sts", "operation": "get_caller_identity"}
    identity = functions.invoke(name, event).value()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{ROLE.rsplit('/', 1)[1]}/{name}"


def test_a_function_invokes_another(functions, boto3_in_functions):
    name = functions.create(boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60)
    other = functions.create()
    event = {
        "do": "aws",
        "service": "lambda",
        "operation": "get_function",
        "parameters": {"FunctionName": other},
    }
    assert functions.invoke(name, event).value()["Configuration"]["FunctionName"] == other


def test_the_endpoint_can_be_left_out(start_service):
    from support.functions import Functions

    service = start_service(environment={"LAMBDA_DISABLE_AWS_ENDPOINT_URL": "1"})
    functions = Functions(service.client())
    assert "AWS_ENDPOINT_URL" not in functions.invoke(functions.create(), {"do": "environment"}).value()
