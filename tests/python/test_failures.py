"""Functions that fail, hang, end or never begin: what the caller gets, and that the next invocation works."""

import re

import pytest
from support.functions import NODE, NODE_PROBE, PROVIDED, PYTHON, error_of, probe


@pytest.fixture(scope="module")
def python(shared_functions):
    return shared_functions.create()


@pytest.fixture(scope="module")
def node(shared_functions):
    return shared_functions.create(probe("node"), **NODE_PROBE)


def assert_error(reply, kind, message):
    assert (reply.status, reply.error) == (200, "Unhandled")
    assert reply.version == "$LATEST"
    assert reply.payload == {"errorType": kind, "errorMessage": message.format(id=reply.request_id)}


def test_an_exception_in_python(functions, python):
    reply = functions.invoke(python, {"do": "fail", "message": "größer"}, LogType="Tail")
    assert (reply.status, reply.error, reply.version) == (200, "Unhandled", "$LATEST")
    error = reply.payload
    assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (error["errorMessage"], error["errorType"], error["requestId"]) == (
        "größer",
        "ValueError",
        reply.request_id,
    )
    assert error["stackTrace"][-1].startswith('  File "/var/task/probe.py", line ')
    assert 'raise ValueError(event.get("message", "on purpose"))' in error["stackTrace"][-1]
    assert "[ERROR] ValueError: größer\n" in reply.tail.replace("\r", "\n")
    # The environment stays: nothing crashed.
    assert "Init Duration" not in functions.invoke(python, 1, LogType="Tail").tail


def test_an_exception_in_node(functions, node):
    reply = functions.invoke(node, {"do": "fail", "message": "größer"})
    assert (reply.status, reply.error) == (200, "Unhandled")
    error = reply.payload
    assert list(error) == ["errorType", "errorMessage", "trace"]
    assert (error["errorType"], error["errorMessage"]) == ("RangeError", "größer")
    assert error["trace"][0] == "RangeError: größer"
    assert re.search(r"at .*\(/var/task/probe\.js:\d+:\d+\)", error["trace"][1])


def test_an_uncaught_exception_in_node(functions, node):
    reply = functions.invoke(node, {"do": "burst"})
    assert (reply.status, reply.error) == (200, "Unhandled")
    assert reply.payload["errorMessage"] == "out of nowhere"
    assert functions.invoke(node, 1).value() == 1


@pytest.mark.parametrize("language", ["python", "node"])
def test_a_timeout(functions, language):
    parameters = NODE_PROBE if language == "node" else {"Runtime": PYTHON, "Handler": "probe.handler"}
    name = functions.create(probe(language), **{**parameters, "Timeout": 1})
    reply = functions.invoke(name, {"do": "sleep", "seconds": 30}, LogType="Tail")
    assert_error(reply, "Sandbox.Timedout", "RequestId: {id} Error: Task timed out after 1.00 seconds")
    report = reply.tail.splitlines()[-1]
    assert re.search(r"\tDuration: 1\d{3}\.\d\d ms\t", report), report
    assert "Status: timeout" in report
    assert functions.invoke(name, 1).value() == 1


def test_files_survive_a_timeout_but_the_process_does_not(functions):
    name = functions.create(Timeout=1)
    functions.invoke(name, {"do": "write", "path": "/tmp/kept", "text": "here"})
    calls = functions.invoke(name, {"do": "identify"}).value()["calls"]
    assert calls == 2
    functions.invoke(name, {"do": "sleep", "seconds": 30})
    assert functions.invoke(name, {"do": "identify"}).value()["calls"] == 1
    assert functions.invoke(name, {"do": "read", "path": "/tmp/kept"}).value() == "here"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"do": "leave", "code": 0}, "RequestId: {id} Error: Runtime exited without providing a reason"),
        ({"do": "leave", "code": 7}, "RequestId: {id} Error: Runtime exited with error: exit status 7"),
        (
            {"do": "kill", "signal": "SIGKILL"},
            "RequestId: {id} Error: Runtime exited with error: signal: killed",
        ),
        (
            {"do": "kill", "signal": "SIGABRT"},
            "RequestId: {id} Error: Runtime exited with error: signal: aborted",
        ),
    ],
)
def test_a_process_that_ends(functions, python, event, message):
    reply = functions.invoke(python, event, LogType="Tail")
    assert_error(reply, "Runtime.ExitError", message)
    assert "Status: error\tError Type: Runtime.ExitError" in reply.tail
    assert functions.invoke(python, 1).value() == 1


def test_node_that_ends(functions, node):
    reply = functions.invoke(node, {"do": "leave", "code": 3})
    assert_error(
        reply, "Runtime.ExitError", "RequestId: {id} Error: Runtime exited with error: exit status 3"
    )
    assert functions.invoke(node, 1).value() == 1


def test_a_module_that_cannot_be_imported(functions):
    name = functions.create({"main.py": "import no_such_module\n"}, Runtime=PYTHON, Handler="main.handler")
    for _ in range(2):
        reply = functions.invoke(name)
        assert reply.error == "Unhandled"
        assert reply.payload["errorType"] == "Runtime.ImportModuleError"
        assert (
            reply.payload["errorMessage"]
            == "Unable to import module 'main': No module named 'no_such_module'"
        )
        assert reply.payload["requestId"] == ""


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        (
            {"main.py": "x = 1"},
            "main.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'main'",
        ),
        (
            {"main.py": "x = ("},
            "main.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'main': ",
        ),
        ({"main.py": ""}, "main", "Runtime.MalformedHandlerName", "Bad handler 'main': "),
        ({"main.py": "raise KeyError('start')"}, "main.handler", "KeyError", "'start'"),
    ],
)
def test_python_that_cannot_begin(functions, files, handler, kind, message):
    name = functions.create(files, Runtime=PYTHON, Handler=handler)
    reply = functions.invoke(name)
    assert reply.error == "Unhandled"
    assert reply.payload["errorType"] == kind
    assert reply.payload["errorMessage"].startswith(message)


@pytest.mark.parametrize(
    ("files", "handler", "kind", "message"),
    [
        (
            {"main.js": ""},
            "main.handler",
            "Runtime.HandlerNotFound",
            "main.handler is undefined or not exported",
        ),
        ({"main.js": "x = ("}, "main.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ({"other.js": ""}, "main.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'main'"),
        ({"main.js": "throw new TypeError('start')"}, "main.handler", "TypeError", "start"),
    ],
)
def test_node_that_cannot_begin(functions, files, handler, kind, message):
    name = functions.create(files, Runtime=NODE, Handler=handler)
    reply = functions.invoke(name)
    assert reply.error == "Unhandled"
    assert reply.payload["errorType"] == kind
    assert reply.payload["errorMessage"].startswith(message)


def test_a_process_that_ends_while_it_begins(functions):
    files = {"main.py": "import os\nos._exit(9)\n"}
    name = functions.create(files, Runtime=PYTHON, Handler="main.handler")
    reply = functions.invoke(name)
    assert_error(
        reply, "Runtime.ExitError", "RequestId: {id} Error: Runtime exited with error: exit status 9"
    )


def test_a_bootstrap_that_is_missing(functions):
    name = functions.create({"readme": "no bootstrap"}, Runtime=PROVIDED, Handler="any")
    reply = functions.invoke(name)
    assert_error(
        reply,
        "Runtime.InvalidEntrypoint",
        "RequestId: {id} Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
    )


def test_a_wrapper_that_is_missing(functions):
    name = functions.create(Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/none"}})
    reply = functions.invoke(name)
    assert_error(
        reply, "Runtime.ExitError", "RequestId: {id} Error: Runtime exited with error: exit status 127"
    )


def test_a_wrapper_wraps(functions):
    files = {
        "main.py": "import os\nhandler = lambda event, context: os.environ.get('WRAPPED')\n",
        "wrap!": '#!/bin/sh\nexport WRAPPED="by hand"\nexec "$@"\n',
    }
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}
    name = functions.create(
        files, Runtime=PYTHON, Handler="main.handler", Environment={"Variables": variables}
    )
    assert functions.invoke(name).value() == "by hand"


def test_a_response_that_is_no_json(functions):
    files = {"main.py": "handler = lambda event, context: {1, 2}\n"}
    name = functions.create(files, Runtime=PYTHON, Handler="main.handler")
    reply = functions.invoke(name)
    assert reply.payload["errorType"] == "Runtime.MarshalError"
    assert (
        reply.payload["errorMessage"]
        == "Unable to marshal response: Object of type set is not JSON serializable"
    )


def test_an_invocation_fails_with_404_after_delete(client, functions):
    name = functions.create()
    functions.invoke(name, 1)
    client.delete_function(FunctionName=name)
    assert error_of(functions.invoke, name, 1).code == "ResourceNotFoundException"
