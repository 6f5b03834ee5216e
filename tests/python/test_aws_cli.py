"""The `aws` command against the service, as a newcomer would type it."""

import base64
import json

from support.functions import PYTHON, ROLE, archive, probe, unique

def test_a_whole_life(aws):
    name = unique("cli")
    (aws.home / "code.zip").write_bytes(probe())
    created = aws(
        "create-function", "--function-name", name, "--runtime", PYTHON, "--handler", "probe.handler", "--role", ROLE,
        "--zip-file", "fileb://code.zip", "--environment", "Variables={GREETING=moin,OTHER='a b'}", "--timeout", 20,
        "--tags", "team=a",
    )  # fmt: skip
    assert created["State"] == "Pending"
    aws("wait", "function-active-v2", "--function-name", name)

    answer = aws(
        "invoke",
        "--function-name",
        name,
        "--payload",
        '{"do": "say", "lines": ["from inside"]}',
        "--log-type",
        "Tail",
        "out.json",
    )
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads((aws.home / "out.json").read_text()) == 1
    assert "from inside\n" in base64.b64decode(answer["LogResult"]).decode()
    aws("invoke", "--function-name", name, "--payload", '{"do": "environment"}', "out.json")
    assert json.loads((aws.home / "out.json").read_text())["GREETING"] == "moin"

    (aws.home / "new.zip").write_bytes(archive({"probe.py": "handler = lambda event, context: 'new'\n"}))
    updated = aws("update-function-code", "--function-name", name, "--zip-file", "fileb://new.zip")
    assert updated["LastUpdateStatus"] == "InProgress"
    aws("wait", "function-updated-v2", "--function-name", name)
    aws("update-function-configuration", "--function-name", name, "--memory-size", 256)
    aws("wait", "function-updated-v2", "--function-name", name)
    assert aws("publish-version", "--function-name", name)["Version"] == "1"
    alias = aws("create-alias", "--function-name", name, "--name", "live", "--function-version", 1)
    assert alias["AliasArn"].endswith(f"{name}:live")
    answer = aws("invoke", "--function-name", f"{name}:live", "out.json")
    assert answer["ExecutedVersion"] == "1"
    assert (aws.home / "out.json").read_text() == '"new"'

    listed = aws("list-functions", "--max-items", 500)["Functions"]
    assert name in [one["FunctionName"] for one in listed]
    assert aws("list-tags", "--resource", created["FunctionArn"])["Tags"] == {"team": "a"}
    aws("delete-function", "--function-name", name)
    assert f"Function not found: {created['FunctionArn']}" in aws(
        "get-function", "--function-name", name, fails=True
    )


def test_a_function_error_is_no_error_of_the_command(aws, functions):
    name = functions.create()
    answer = aws("invoke", "--function-name", name, "--payload", '{"do": "fail"}', "out.json")
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads((aws.home / "out.json").read_text())["errorType"] == "ValueError"


def test_logs_and_identity(aws, functions):
    name = functions.create()
    aws("invoke", "--function-name", name, "--payload", '{"do": "say", "lines": ["to the log"]}', "out.json")
    from support.waiting import until

    def logged():
        events = aws("filter-log-events", "--log-group-name", f"/aws/lambda/{name}", service="logs")["events"]
        return any(event["message"].startswith("to the log") for event in events)

    until(logged, what="the line in the log")
    assert aws("get-caller-identity", service="sts")["Account"] == "000000000000"


def test_errors_say_what_aws_says(aws):
    error = aws("invoke", "--function-name", "nobody", "out.json", fails=True)
    assert "(ResourceNotFoundException)" in error
    assert "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST" in error
