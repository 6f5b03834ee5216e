"""Our Python client against a scripted Runtime API, in every interpreter of the machine."""

import json
import re

import pytest

from fake_runtime_api import Event

TEXT, TEXT_ERROR, JSON_ERROR = 0xA55A0003, 0xA55A0017, 0xA55A0016
ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

ECHO = """
    def handler(event, context):
        return event
"""


def only_error(result):
    """The error document of a run with one failed invocation."""
    (outcome, document), = result.answers
    assert outcome == "error"
    return document


def init_error(result):
    post, = result.requests
    assert post.path == "/2018-06-01/runtime/init/error"
    assert post.headers["lambda-runtime-function-error-type"] == post.document["errorType"]
    assert result.exit_code == 1
    return post.document


# === Events and results ===


@pytest.mark.parametrize("transport", ["descriptor", "tcp"])
@pytest.mark.parametrize("server", [{}, {"chunked": True}, {"dribble": True}, {"chunked": True, "dribble": True}], ids=str)
def test_events_are_answered_in_order(run, transport, server):
    payloads = [{"n": 1, "text": "ä\u2028😀"}, [1.5, None, True], "text"]
    result = run(ECHO, payloads, transport=transport, **server)
    assert result.answers == [("response", payload) for payload in payloads]
    assert [post.path for post in result.posts] == [
        f"/2018-06-01/runtime/invocation/request-{n}/response" for n in (1, 2, 3)
    ]
    assert {post.headers["content-type"] for post in result.posts} == {"application/json"}


def test_a_connection_that_ends_after_an_answer_is_made_again(run):
    result = run(ECHO, [1, 2, 3], transport="tcp", close_after_answer=True)
    assert result.answers == [("response", 1), ("response", 2), ("response", 3)]


def test_an_address_changed_by_a_wrapper_wins_over_the_descriptor(run):
    # The descriptor's server stays silent then, the listener at the address answers.
    result = run(ECHO, [1], transport="tcp", variables={"_HOTHOUSE_RUNTIME_API": "0@127.0.0.1:1"})
    assert result.answers == [("response", 1)]


def test_six_megabytes_pass_in_both_directions(run):
    payload = "x" * (6 * 1024 * 1024)
    result = run(ECHO, [payload, 1])
    assert result.answers == [("response", payload), ("response", 1)]


def test_a_refused_response_does_not_end_the_loop(run):
    result = run(ECHO, [Event(1, answer_status=413), 2])
    assert result.answers == [("response", 1), ("response", 2)]


def test_only_json_is_decoded(run):
    source = """
        def handler(event, context):
            return repr(event)
    """
    events = [Event(body=b"\xff\x00", headers={"Content-Type": "application/octet-stream"}), Event(body=b' {"a": 1}\n')]
    assert run(source, events).answers == [("response", r"b'\xff\x00'"), ("response", "{'a': 1}")]


def test_an_event_that_is_no_json_is_an_error(run):
    document = only_error(run(ECHO, [Event(body=b"")]))
    assert document == {
        "errorMessage": "Unable to unmarshal input: Expecting value: line 1 column 1 (char 0)",
        "errorType": "Runtime.UnmarshalError",
        "requestId": "request-1",
        "stackTrace": [],
    }


@pytest.mark.parametrize(
    ("expression", "encoded"),
    [
        ("None", b"null"),
        ("{'a': (1, 2), 2: True}", b'{"a": [1, 2], "2": true}'),
        ("float('nan')", b"NaN"),
        ("decimal.Decimal('1.10')", b"1.10"),
        ("[decimal.Decimal('-NaN')]", b"[NaN]"),
        ("{'p': Point(1, [Point(2, 3)])}", b'{"p": {"x": 1, "y": [{"x": 2, "y": 3}]}}'),
        ("{'a': b'bytes', b'k': 1}", b'{"a": "bytes", "k": 1}'),
        ("10 ** 30", b"1000000000000000000000000000000"),
    ],
)
def test_results_are_encoded_as_on_aws(run, expression, encoded):
    source = f"""
        import collections, decimal
        Point = collections.namedtuple("Point", "x y")
        def handler(event, context):
            return {expression}
    """
    post, = run(source).posts
    assert post.body == encoded


@pytest.mark.parametrize(("runtime", "encoded"), [("3.11", b'"\\u00e4"'), ("3.12", '"ä"'.encode())])
def test_older_runtimes_escape_beyond_ascii(run, runtime, encoded):
    result = run(ECHO, ["ä"], variables={"AWS_EXECUTION_ENV": f"AWS_Lambda_python{runtime}"})
    assert result.posts[0].body == encoded


def test_bytes_are_returned_as_they_are(run):
    source = """
        def handler(event, context):
            return b"\\xff\\x00"
    """
    post, = run(source).posts
    assert (post.body, post.headers["content-type"]) == (b"\xff\x00", "application/unknown")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{1, 2}", "Object of type set is not JSON serializable"),
        ("cycle", "Circular reference detected"),
        ("{(1, 2): 3}", "keys must be str, int, float, bool or None, not tuple"),
    ],
)
def test_a_result_without_json_form_is_an_error_and_the_next_one_is_not(run, expression, message):
    source = f"""
        cycle = []
        cycle.append(cycle)
        def handler(event, context):
            return {expression} if event else "fine"
    """
    result = run(source, [True, False])
    outcome, document = result.answers[0]
    assert outcome == "error"
    assert (document["errorType"], document["errorMessage"]) == (
        "Runtime.MarshalError",
        f"Unable to marshal response: {message}",
    )
    assert result.answers[1] == ("response", "fine")


# === Context ===


def test_the_context_has_all_fields(run):
    source = """
        import os
        def handler(event, context):
            client = context.client_context
            return {
                "plain": [context.aws_request_id, context.log_group_name, context.log_stream_name,
                    context.function_name, context.memory_limit_in_mb, context.function_version,
                    context.invoked_function_arn, context.tenant_id],
                "client": [client.client.installation_id, client.client.app_title, client.custom, client.env],
                "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
                "w3c": context.w3c(),
                "remaining": 2000 < context.get_remaining_time_in_millis() <= 3000,
                "trace": os.environ.get("_X_AMZN_TRACE_ID"),
            }
    """
    client_context = {"client": {"installation_id": "ä"}, "custom": {"k": 1}, "w3c": {"traceparent": "t", "x": "y"}}
    headers = {
        "Lambda-Runtime-Client-Context": json.dumps(client_context, ensure_ascii=False),
        "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
        "Lambda-Runtime-Aws-Tenant-Id": "tenant",
        "Lambda-Runtime-Trace-Id": "Root=1-2-3",
    }
    (_, document), = run(source, [Event(headers=headers)]).answers
    assert document == {
        "plain": [
            "request-1",
            "/aws/lambda/f",
            "2026/01/01/[$LATEST]0123",
            "f",
            "128",
            "$LATEST",
            "arn:aws:lambda:eu-west-1:123456789012:function:f",
            "tenant",
        ],
        "client": ["ä", None, {"k": 1}, None],
        "identity": ["i", "p"],
        "w3c": {"traceparent": "t"},
        "remaining": True,
        "trace": "Root=1-2-3",
    }


def test_the_context_without_optional_fields(run):
    source = """
        import os
        from awslambdaric.lambda_context import LambdaContext
        def handler(event, context):
            return [context.client_context, context.identity.cognito_identity_id, context.tenant_id,
                os.environ.get("_X_AMZN_TRACE_ID"), type(context) is LambdaContext, str(context)[:40]]
    """
    events = [Event(headers={"Lambda-Runtime-Trace-Id": "Root=1"}), Event(headers={"Lambda-Runtime-Deadline-Ms": "1"})]
    expected = [None, None, None, None, True, "LambdaContext([aws_request_id=request-2,"]
    assert run(source, events).answers[1] == ("response", expected)


def test_a_broken_client_context_is_an_error(run):
    document = only_error(run(ECHO, [Event(headers={"Lambda-Runtime-Client-Context": "{"})]))
    assert document["errorType"] == "Runtime.LambdaContextUnmarshalError"
    assert document["errorMessage"].startswith("Unable to parse Client Context JSON: Expecting property name")


def test_the_attempt_is_echoed(run):
    source = """
        def handler(event, context):
            if event:
                raise ValueError
    """
    headers = {"Lambda-Runtime-Invocation-Id": "attempt"}
    result = run(source, [Event(False, headers), Event(True, headers), False])
    assert [post.headers.get("lambda-runtime-invocation-id") for post in result.posts] == ["attempt", "attempt", None]


# === Handlers ===


@pytest.mark.parametrize(
    ("handler", "path"),
    [
        ("dir/sub/module.handler", "dir/sub/module.py"),
        ("dir.sub.module.handler", "dir/sub/module.py"),
        ("package.handler", "package/__init__.py"),
        ("app.Nested", "app.py"),
    ],
)
def test_handler_forms(run, handler, path):
    source = """
        handler = lambda event, context: "found"
        class Nested(str):
            def __new__(cls, event, context):
                return str.__new__(cls, "found")
    """
    assert run(files={path: source}, handler=handler).answers == [("response", "found")]


@pytest.mark.parametrize(
    ("handler", "source", "error_type", "message"),
    [
        ("app", "", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
        ("none.handler", "", "Runtime.ImportModuleError", "Unable to import module 'none': No module named 'none'"),
        ("app.h", "import gone", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'gone'"),
        ("app.gone", "", "Runtime.HandlerNotFound", "Handler 'gone' missing on module 'app'"),
        ("sys.h", "", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
    ],
)
def test_a_handler_that_is_not_there_is_an_init_error(run, handler, source, error_type, message):
    document = init_error(run(source, handler=handler))
    assert document == {"errorMessage": message, "errorType": error_type, "requestId": "", "stackTrace": []}


def test_a_syntax_error_is_an_init_error(run):
    document = init_error(run("x = = 1\n"))
    assert document["errorType"] == "Runtime.UserCodeSyntaxError"
    assert document["errorMessage"] == "Syntax error in module 'app': invalid syntax (app.py, line 1)"
    assert len(document["stackTrace"]) == 1
    assert re.fullmatch(r'  File "/.*/app\.py" Line 1\n    x = = 1\n', document["stackTrace"][0])


def test_an_exception_while_loading_is_an_init_error_with_its_trace(run):
    result = run("raise Exception('Runtime startup fails')")
    document = init_error(result)
    assert (document["errorType"], document["errorMessage"]) == ("Exception", "Runtime startup fails")
    frames = document["stackTrace"]
    # Recorded from AWS: the trace begins in `importlib.import_module`.
    assert re.fullmatch(
        r'  File ".*/importlib/__init__\.py", line \d+, in import_module\n'
        r"    return _bootstrap._gcd_import\(name\[level:\], package, level\)\n",
        frames[0],
    )
    assert re.fullmatch(r'  File "<frozen importlib._bootstrap>", line \d+, in _gcd_import\n', frames[1])
    assert re.fullmatch(r'  File "/.*/app\.py", line 1, in <module>\n    raise Exception\(.*\)\n', frames[-1])
    warning, error = result.records
    assert re.match(rf"\[WARNING\]\t{ISO_TIME}\t\tLAMBDA_WARNING: Unhandled exception\. ", warning.text)
    assert error.frame == TEXT_ERROR
    lines = error.text.split("\n")
    assert lines[:2] == ["[ERROR] Exception: Runtime startup fails", "Traceback (most recent call last):"]
    assert lines[2].startswith('\u00a0\u00a0File "') and lines[3].startswith("\u00a0\u00a0\u00a0\u00a0return")


@pytest.mark.parametrize("place", ["module", "handler"])
def test_a_missing_sdk_comes_with_a_hint(run, python, place):
    source = "import boto3.session" if place == "module" else "def handler(event, context):\n    import boto3.session"
    result = run(source)
    assert "No module named 'boto3'" in result.posts[0].document["errorMessage"]
    hint = f"hothouse: boto3 is not installed for functions; run: hothouse runtimes sync python{python}\n"
    assert result.records[-1].text == hint
    assert "hothouse" not in result.posts[0].body.decode().replace("hothouse_", "")


# === Failures ===


def test_an_exception_is_reported_with_the_functions_frames(run):
    source = """
        def handler(event, context):
            return fail()
        def fail():
            raise ValueError("böse")
    """
    result = run(source, [None, None])
    outcome, document = result.answers[1]
    assert outcome == "error"
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (document["errorMessage"], document["errorType"], document["requestId"]) == ("böse", "ValueError", "request-2")
    handler_frame, fail_frame = document["stackTrace"]
    assert re.fullmatch(r'  File "/.*/app\.py", line 3, in handler\n    return fail\(\)\n', handler_frame)
    assert re.fullmatch(r'  File "/.*/app\.py", line 5, in fail\n    raise ValueError\("böse"\)\n', fail_frame)
    record = result.records[1]
    assert record.frame == TEXT_ERROR
    assert record.text.split("\n")[:2] == ["[ERROR] ValueError: böse", "Traceback (most recent call last):"]
    cause = json.loads(result.posts[0].headers["lambda-runtime-function-xray-error-cause"])
    assert cause["exceptions"][0]["type"] == "ValueError"
    assert [frame["label"] for frame in cause["exceptions"][0]["stack"]] == ["handler", "fail"]


def test_an_exception_with_a_huge_message_is_reported(run):
    source = """
        def handler(event, context):
            raise ValueError("x" * 500_000)
    """
    result = run(source)
    assert len(only_error(result)["errorMessage"]) == 500_000
    assert "lambda-runtime-function-xray-error-cause" not in result.posts[0].headers


def test_without_a_telemetry_descriptor_an_error_is_one_line(run):
    source = """
        def handler(event, context):
            raise ValueError("bad")
    """
    record, = run(source, framed=False).records
    assert record.frame is None
    assert record.text.startswith("[ERROR] ValueError: bad\rTraceback (most recent call last):\r\u00a0\u00a0File")


@pytest.mark.parametrize(("call", "code"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('x')", 1), ("os._exit(7)", 7), ("exit(5)", 5)])
def test_exits_end_the_process(run, call, code):
    source = f"""
        import os, sys
        def handler(event, context):
            print("before")
            {call}
    """
    result = run(source)
    assert (result.posts, result.exit_code) == ([], code)
    assert result.records[0].text == "before"


def test_an_exit_while_loading_ends_the_process(run):
    result = run("import sys\nsys.exit(4)")
    assert (result.requests, result.exit_code) == ([], 4)


# === Log ===


def test_output_and_records_keep_their_order(run):
    source = """
        import logging, sys
        def handler(event, context):
            print("one")
            logging.warning("two %s", 2)
            print("three", file=sys.stderr)
            context.log("four\\n")
            sys.stdout.write("five")
            logging.getLogger("x").error("six\\nseven")
            print("eight", end="")
    """
    records = run(source).records
    assert [record.frame for record in records] == [None, TEXT, None, TEXT, None, TEXT, None]
    assert re.fullmatch(rf"\[WARNING\]\t{ISO_TIME}\trequest-1\ttwo 2\n", records[1].text)
    assert re.fullmatch(rf"\[ERROR\]\t{ISO_TIME}\trequest-1\tsix\nseven\n", records[5].text)
    assert [records[n].text for n in (0, 2, 3, 4, 6)] == ["one", "three", "four\n", "five", "eight"]


def test_level_of_the_log(run):
    source = """
        import logging
        def handler(event, context):
            logging.debug("debug")
            logging.info("info")
            logging.error("error")
    """
    assert [record.frame for record in run(source).records] == [TEXT]
    leveled = run(source, variables={"AWS_LAMBDA_LOG_LEVEL": "INFO"}).records
    assert [record.frame for record in leveled] == [0xA55A000F, TEXT_ERROR]


def test_json_records(run):
    source = """
        import logging
        def handler(event, context):
            logging.getLogger("app").warning("hello %s", "you", extra={"k": {1}})
            logging.error({"is": "object"})
            print("plain")
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("failed")
            raise KeyError("gone")
    """
    variables = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "TRACE"}
    event = Event(headers={"Lambda-Runtime-Aws-Tenant-Id": "t"})
    hello, structured, plain, failed, error = run(source, [event], variables=variables).records
    document = json.loads(hello.text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document.pop("timestamp"))
    assert document == {
        "level": "WARNING",
        "message": "hello you",
        "logger": "app",
        "requestId": "request-1",
        "tenantId": "t",
        "k": "{1}",
    }
    assert hello.frame == 0xA55A0012
    assert json.loads(structured.text)["message"] == {"is": "object"}
    assert (plain.frame, plain.text) == (None, "plain")
    document = json.loads(failed.text)
    assert (document["errorType"], document["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert document["location"].endswith("app.py:handler:10")
    document = json.loads(error.text)
    assert error.frame == JSON_ERROR
    assert list(document) == ["timestamp", "level", "errorMessage", "errorType", "requestId", "stackTrace"]


def test_a_module_that_imports_logging_later_gets_the_handler(run):
    source = """
        import sys
        assert "logging" not in sys.modules
        def handler(event, context):
            import logging
            logging.warning("late")
            root = logging.getLogger()
            return [len(root.handlers), hasattr(root.handlers[0], "log_sink"), type(logging.__loader__).__name__,
                [f for f in sys.meta_path if "Watch" in str(f)]]
    """
    result = run(source)
    assert result.answers == [("response", [1, True, "SourceFileLoader", []])]
    assert result.records[0].text.endswith("\trequest-1\tlate\n")


# === Surroundings ===


def test_the_functions_surroundings(run, python, tmp_path):
    source = """
        import os, sys
        def handler(event, context):
            names = ("_HOTHOUSE_RUNTIME_API", "_LAMBDA_TELEMETRY_LOG_FD", "_HOTHOUSE_OPT")
            return {
                "path": sys.path[:4],
                "site": [path for path in sys.path if "site-packages" in path][1:],
                "private": [name for name in names if name in os.environ],
                "builtins": [callable(exit), callable(quit), callable(help)],
                "stdin": os.readlink("/proc/self/fd/0"),
                "pythonpath": os.environ["PYTHONPATH"],
            }
    """
    layers = str(tmp_path / "opt")
    result = run(source, variables={"_HOTHOUSE_OPT": layers, "LAMBDA_RUNTIME_DIR": "/var/runtime"})
    (_, document), = result.answers
    *directories, runtime = document.pop("path")
    assert directories == [
        str(tmp_path / "task"),
        f"{layers}/python/lib/python{python}/site-packages",
        f"{layers}/python",
    ]
    assert runtime.endswith("runtimes/python")
    assert document == {
        "site": [],
        "private": [],
        "builtins": [True, True, True],
        "stdin": "/dev/null",
        "pythonpath": runtime,
    }


def test_layers_and_path_files_are_searched(run, tmp_path):
    source = """
        import in_layer, in_extra
        def handler(event, context):
            return [in_layer.NAME, in_extra.NAME]
    """
    files = {"../opt/python/in_layer.py": "NAME = 'layer'", "more.pth": "extra\n", "extra/in_extra.py": "NAME = 'extra'"}
    result = run(source, files=files, variables={"_HOTHOUSE_OPT": str(tmp_path / "opt")})
    assert result.answers == [("response", ["layer", "extra"])]


def test_a_path_of_the_functions_own_replaces_the_layers(run, tmp_path):
    source = """
        import sys
        def handler(event, context):
            return [path for path in sys.path if "opt" in path] + [sys.customized]
    """
    files = {"hooks/sitecustomize.py": "import sys\nsys.customized = True"}
    result = run(source, files=files, variables={"PYTHONPATH": str(tmp_path / "task/hooks"), "_HOTHOUSE_OPT": "/opt"})
    assert result.answers == [("response", [True])]


def test_children_do_not_inherit_the_connection(run):
    source = """
        import os, subprocess, sys
        def handler(event, context):
            # As a child that is started without closing descriptors.
            script = "import os; print(sorted(set(os.listdir('/proc/self/fd')) & {'3', '62'}))"
            child = subprocess.run(["/bin/sh", "-c", "ls /proc/self/fd"], close_fds=False, capture_output=True, text=True)
            forked = os.fork()
            if forked == 0:
                try:
                    os.fstat(3)
                except OSError:
                    os._exit(9)
                os._exit(0)
            return ["62" in child.stdout.split(), os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
                if hasattr(os, "waitstatus_to_exitcode") else 9]
    """
    result = run(source, [None, None])
    assert result.answers == [("response", [False, 9])] * 2


def test_threads_go_on_between_invocations(run):
    source = """
        import threading
        done = threading.Event()
        def handler(event, context):
            if event == 1:
                threading.Thread(target=done.set).start()
                return None
            return done.wait(5)
    """
    assert run(source, [1, 2]).answers == [("response", None), ("response", True)]


def test_signals_are_handled_while_waiting(run):
    source = """
        import os, signal, subprocess
        def on_term(number, frame):
            os._exit(42)
        signal.signal(signal.SIGTERM, on_term)
        def handler(event, context):
            # Delivered once the client waits for the next event, or a little before.
            subprocess.Popen(["/bin/sh", "-c", "kill -TERM $0", str(os.getpid())])
            signal.pause()
    """
    assert run(source).exit_code == 42
