"""SnapStart through boto3, with real Python functions: hooks, restores, log lines, credentials, states.

Where the service can fork a runtime, environments come from the one that was initialised for the version; where it cannot,
each is initialised for itself. All of this holds in both cases.
"""

import json
import re

import pytest
from support.functions import PYTHON, PYTHON_PROBE, Functions, archive, error_of
from support.service import Service
from support.waiting import until

ON = {"ApplyOn": "PublishedVersions"}

# What it did is in the order of `done`; the file tells what the process before a restart of the environment did.
HOOKED = """
import os
from snapshot_restore_py import register_before_snapshot, register_after_restore

done = ["init"]

@register_before_snapshot
def first_registered():
    done.append("before 1")

register_before_snapshot(lambda *args, **kwargs: done.append(f"before 2 {args} {kwargs}"), 1, a=2)

@register_after_restore
def after_first():
    done.append("after 1")
    print("restored")

register_after_restore(lambda: done.append("after 2"))

def handler(event, context):
    if event == "crash":
        os._exit(3)
    if event == "environment":
        return dict(os.environ)
    return done
"""

EXPECTED = ["init", "before 2 (1,) {'a': 2}", "before 1", "after 1", "after 2"]


def source(text):
    return archive({"hooked.py": text})


def create(functions, text, **parameters):
    arguments = {"Runtime": PYTHON, "Handler": "hooked.handler", "SnapStart": ON, **parameters}
    return functions.create(source(text), **arguments)


def publish(client, name):
    """Publishes a version and waits for its snapshot; returns the qualifier."""
    version = client.publish_version(FunctionName=name)
    assert (version["State"], version["StateReasonCode"]) == ("Pending", "Creating")
    assert version["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    settled(client, name, version["Version"])
    return version["Version"]


def settled(client, name, version):
    def shown():
        configuration = client.get_function_configuration(FunctionName=name, Qualifier=version)
        return configuration if configuration["State"] != "Pending" else None

    return until(shown, what=f"the snapshot of {name}:{version}")


def messages(service, name, ends_with):
    """The log of a function once a line that begins so is there."""
    logs = service.client("logs")

    def found():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        lines = [event["message"].rstrip("\n") for event in events]
        return lines if any(line.startswith(ends_with) for line in lines) else None

    return until(found, what=f"{ends_with} in the log of {name}")


def test_hooks_run_around_the_snapshot_in_their_order(functions, client, service):
    name = create(functions, HOOKED)
    version = publish(client, name)
    shown = client.get_function_configuration(FunctionName=name, Qualifier=version)
    assert shown["State"] == "Active"
    assert shown["SnapStart"] == {**ON, "OptimizationStatus": "On"}
    reply = functions.invoke(name, {}, Qualifier=version, LogType="Tail")
    assert reply.value() == EXPECTED
    assert reply.version == version
    assert re.search(
        r"\tMax Memory Used: \d+ MB\tRestore Duration: \d+\.\d\d ms\tBilled Restore Duration: \d+ ms\t\n", reply.tail
    ), reply.tail
    assert "Init Duration" not in reply.tail
    again = functions.invoke(name, {}, Qualifier=version, LogType="Tail")
    assert again.value() == EXPECTED
    assert "Restore" not in again.tail

    lines = messages(service, name, f"REPORT RequestId: {again.request_id}")
    of_start = [line for line in lines if re.match("INIT_|RESTORE_|restored", line)]
    runtime = r"Runtime Version: python:\d\.\d+\.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:\w+"
    for line, pattern in zip(
        of_start,
        (
            f"INIT_START {runtime}",
            r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init",
            f"RESTORE_START {runtime}",
            "restored",
            r"RESTORE_REPORT Restore Duration: \d+\.\d\d ms",
        ),
        strict=True,
    ):
        assert re.fullmatch(pattern, line), (pattern, of_start)


def test_what_is_not_published_has_no_snapshot(functions, client):
    name = create(functions, HOOKED)
    assert client.get_function_configuration(FunctionName=name)["SnapStart"] == {**ON, "OptimizationStatus": "Off"}
    reply = functions.invoke(name, {}, LogType="Tail")
    assert reply.value() == ["init"]
    assert "\tInit Duration: " in reply.tail


def test_aliases_lead_to_snapshots(functions, client):
    name = create(functions, HOOKED)
    version = publish(client, name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    assert functions.invoke(name, {}, Qualifier="live").value() == EXPECTED


def test_json_logs_have_records_of_restores(functions, client, service):
    name = create(functions, HOOKED, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "DEBUG"})
    version = publish(client, name)
    functions.invoke(name, {}, Qualifier=version)
    lines = messages(service, name, '{"time"')

    def records():
        found = [json.loads(line) for line in messages(service, name, '{"time"') if line.startswith('{"time"')]
        return found if found[-1]["type"] == "platform.report" else None

    records = {record["type"]: record["record"] for record in until(records, what="a report")}
    assert records["platform.initStart"]["initializationType"] == "snap-start"
    assert records["platform.initReport"]["status"] == "success"
    assert set(records["platform.restoreStart"]) == {
        "runtimeVersion",
        "runtimeVersionArn",
        "functionName",
        "functionVersion",
        "instanceId",
        "instanceMaxMemory",
    }
    assert records["platform.restoreRuntimeDone"] == {"status": "success"}
    report = records["platform.restoreReport"]
    assert report["status"] == "success" and report["metrics"]["durationMs"] > 0, lines
    metrics = records["platform.report"]["metrics"]
    assert metrics["restoreDurationMs"] == report["metrics"]["durationMs"]
    assert metrics["billedRestoreDurationMs"] >= 1 and "initDurationMs" not in metrics


def test_after_a_crash_comes_another_from_the_snapshot(functions, client):
    name = create(functions, HOOKED)
    version = publish(client, name)
    crashed = functions.invoke(name, "crash", Qualifier=version)
    assert crashed.payload["errorType"] == "Runtime.ExitError"
    reply = functions.invoke(name, {}, Qualifier=version, LogType="Tail")
    assert reply.value() == EXPECTED
    assert "\tRestore Duration: " in reply.tail


def test_a_snapshot_names_neither_keys_nor_a_log_stream(functions, client):
    name = create(functions, HOOKED)
    version = publish(client, name)
    seen = functions.invoke(name, "environment", Qualifier=version).value()
    assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    missing = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "LAMBDA_LOG_GROUP_NAME", "LAMBDA_LOG_STREAM_NAME")
    assert not {f"AWS_{variable}" for variable in missing} & set(seen)
    assert seen["AWS_CONTAINER_CREDENTIALS_FULL_URI"].endswith("/2021-04-23/credentials")
    assert len(seen["AWS_CONTAINER_AUTHORIZATION_TOKEN"]) >= 32


def test_the_sdk_finds_credentials(functions, client, boto3_in_functions):
    name = functions.create(boto3_in_functions(), **PYTHON_PROBE, SnapStart=ON, Timeout=60)
    version = publish(client, name)
    event = {"do": "aws", "service": "sts", "operation": "get_caller_identity"}
    arn = functions.invoke(name, event, Qualifier=version).value()["Arn"]
    assert arn.startswith("arn:aws:sts::000000000000:assumed-role/") and arn.endswith(f"/{name}")


@pytest.mark.parametrize(
    "text",
    [
        "raise ValueError('at import')",
        "import snapshot_restore_py\n"
        "snapshot_restore_py.register_before_snapshot(lambda: 1 / 0)\n"
        "def handler(event, context): pass",
        "import os; os._exit(7)",
    ],
    ids=["import", "hook", "exit"],
)
def test_a_function_that_cannot_be_initialised_has_no_version_that_runs(functions, client, service, text):
    name = create(functions, text)
    version = client.publish_version(FunctionName=name)["Version"]
    shown = settled(client, name, version)
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "FunctionError")
    assert shown["SnapStart"]["OptimizationStatus"] == "Off"
    assert error_of(client.invoke, FunctionName=name, Qualifier=version).code == "ResourceConflictException"
    lines = messages(service, name, "INIT_REPORT")
    assert re.search(r"\tPhase: init\tStatus: error\tError Type: Runtime\.", "\n".join(lines)), lines
    if "1 / 0" in text:
        assert "Error Type: Runtime.BeforeSnapshotError" in "\n".join(lines)
        assert any(line.startswith("[ERROR] ZeroDivisionError: division by zero") for line in lines), lines


def test_a_version_whose_init_goes_on_is_not_ready(functions, client):
    name = create(functions, "import time\ntime.sleep(3600)\ndef handler(event, context): pass")
    version = client.publish_version(FunctionName=name)["Version"]
    for invoke in (client.invoke_with_response_stream, client.invoke):
        code, status, message = error_of(invoke, FunctionName=name, Qualifier=version)
        assert (code, status) == ("SnapStartNotReadyException", 409)
    assert message.startswith("Lambda is initializing your function.")


def test_a_hook_that_fails_after_the_restore_is_told_to_who_waits(functions, client, service):
    text = HOOKED + "\nregister_after_restore(lambda: {}['missing'])\n"
    name = create(functions, text)
    version = publish(client, name)
    for invoke in (client.invoke_with_response_stream, client.invoke):
        code, status, _ = error_of(invoke, FunctionName=name, Qualifier=version)
        assert (code, status) == ("SnapStartException", 400)
    lines = messages(service, name, "RESTORE_REPORT")
    assert any(line.endswith("\tStatus: error\tError Type: Runtime.AfterRestoreError") for line in lines), lines
    assert any(line.startswith("[ERROR] KeyError: 'missing'") for line in lines), lines


def test_a_hook_has_ten_seconds_after_the_restore(functions, client, service):
    name = create(functions, HOOKED + "\nimport time\nregister_after_restore(lambda: time.sleep(3600))\n")
    version = publish(client, name)
    for invoke in (client.invoke_with_response_stream, client.invoke):
        code, status, _ = error_of(invoke, FunctionName=name, Qualifier=version)
        assert (code, status) == ("SnapStartTimeoutException", 408)
    lines = messages(service, name, "RESTORE_REPORT")
    assert any(line.startswith("RESTORE_REPORT") and line.endswith("ms\tStatus: timeout") for line in lines), lines


def test_versions_outlive_the_service(tmp_path, data_home):
    def started():
        return Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()

    service = started()
    try:
        functions = Functions(service.client())
        name = create(functions, HOOKED)
        version = publish(functions.client, name)
        service.kill()
        service = started()
        functions = Functions(service.client())
        shown = functions.client.get_function_configuration(FunctionName=name, Qualifier=version)
        assert (shown["State"], shown["SnapStart"]["OptimizationStatus"]) == ("Active", "On")
        for _ in range(3):
            assert functions.invoke(name, {}, Qualifier=version).value() == EXPECTED
    finally:
        service.stop()
