"""The same handlers under AWS's client and ours: what the platform sees must be equal."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import CLIENT, interpreters
from fake_runtime_api import Event, run_client

VERSION = "%d.%d" % sys.version_info[:2]
PACKAGE = "awslambdaric==4.2.2"

OFFICIAL = "import sys; sys.path[0] = sys.argv[1]; import awslambdaric.__main__ as m; m.main(sys.argv[1:])"

CASES = {
    "echo": ("def handler(event, context): return event", [{"a": "ä\u2028"}, [1.5], None]),
    "values": (
        """
import collections, decimal
P = collections.namedtuple("P", "x y")
VALUES = [P(1, [P(2, 3)]), {b"k": b"v"}, decimal.Decimal("1.10"), decimal.Decimal("-NaN"), {1: 2, None: 3, True: 4},
    {(1, 2): 3}, {1}, object, b"bytes", float("inf"), collections.OrderedDict(b=1, a=2), range(2), "\\x7f"]
def handler(event, context): return VALUES[event]
""",
        range(13),
    ),
    "context": (
        """
def handler(event, context):
    context.log("note\\n")
    return [str(context), context.w3c(), context.client_context.custom, context.identity.cognito_identity_id]
""",
        [
            Event(
                headers={
                    "Lambda-Runtime-Client-Context": '{"custom": {"a": 1}, "client": {"app_title": "t"}, "w3c": {}}',
                    "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i"}',
                    "Lambda-Runtime-Aws-Tenant-Id": "t",
                }
            ),
            Event(headers={"Lambda-Runtime-Client-Context": "{"}),
            Event(),
        ],
    ),
    "errors": (
        """
import json
class Odd(Exception):
    pass
def deep(n):
    if n: deep(n - 1)
    raise Odd("böse", 1)
def handler(event, context):
    if event == 1: deep(6)
    if event == 2: raise ValueError
    if event == 3: json.loads("{")
    return {}["missing"]
""",
        [1, 2, 3, 4],
    ),
    "logging": (
        """
import logging, sys
logging.warning("while loading")
def handler(event, context):
    print("printed")
    logging.getLogger("a.b").error("failed %s\\nsecond line", event, extra={"k": {1}})
    logging.info("hidden")
    logging.warning({"an": "object"})
    print("to stderr", file=sys.stderr)
    try:
        int("x")
    except ValueError:
        logging.exception("caught")
    logging.log(35, "between")
""",
        [1],
    ),
    "no json": ("def handler(event, context): return repr(event)", [Event(body=b"\xff", headers={"Content-Type": "x/y"}), Event(body=b"")]),
    "failing module": ("raise KeyError('at start')", []),
    "missing module": ("import gone", []),
    "syntax error": ("def handler(:", []),
    "no handler": ("", []),
    "exit": ("import sys\ndef handler(event, context): sys.exit(3)", [1]),
    "exit while loading": ("import sys; sys.exit(2)", []),
}


@pytest.fixture(scope="session")
def official():
    """The folder with AWS's client, installed once beside what cargo builds."""
    folder = CLIENT.parents[1] / "target" / "official-clients" / f"python{VERSION}"
    if not folder.is_dir():
        # Test processes that run side by side each install; the first to finish wins.
        own = folder.with_name(f"{folder.name}-{os.getpid()}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(own), PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr.strip()[-200:]}")
        with contextlib.suppress(OSError):
            own.rename(folder)
        shutil.rmtree(own, ignore_errors=True)
    return folder


def normalized(result):
    """What must be equal: answers with their headers, records without times, the exit code."""
    posts = []
    for post in result.posts:
        try:
            body = post.document
        except ValueError:
            body = post.body
        cause = json.loads(post.headers.get("lambda-runtime-function-xray-error-cause", "null"))
        if cause:
            cause["paths"] = sorted(cause["paths"])
        error_type = post.headers.get("lambda-runtime-function-error-type")
        is_answer = "/invocation/" in post.path
        posts.append((post.path, post.headers.get("content-type") if is_answer else None, error_type, body, cause))
    records = [
        (record.frame, re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", record.text)) for record in result.records
    ]
    return posts, records, result.exit_code


@pytest.mark.parametrize("variables", [{}, {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}], ids=["text", "json"])
@pytest.mark.parametrize("runtime", ["3.11", "3.12"])
@pytest.mark.parametrize("case", CASES)
def test_same(official, tmp_path, case, runtime, variables):
    source, payloads = CASES[case]
    (tmp_path / "app.py").write_text(source)
    events = [payload if isinstance(payload, Event) else Event(payload) for payload in payloads]
    variables = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python{runtime}", **variables}
    interpreter = interpreters()[VERSION]

    def run(command, **more):
        return normalized(run_client(command, tmp_path, "app.handler", events, variables={**variables, **more}, transport="tcp"))

    theirs = run([interpreter, "-c", OFFICIAL, str(tmp_path), "app.handler"], PYTHONPATH=str(official))
    ours = run([interpreter, "-S", str(CLIENT / "bootstrap.py")])
    assert ours == theirs
