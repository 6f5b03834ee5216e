"""Functions and versions that are not ready yet, and those whose package is gone."""

import shutil

import pytest
from support.functions import PYTHON_PROBE, ROLE, Functions, archive, error_of, probe, unique
from support.service import Service
from support.waiting import until

CANNOT = "The operation cannot be performed at this time."
# Nothing ends by itself during a test.
LONG = "1h"


def arn(name):
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def other_code():
    return archive({"probe.py": "def handler(event, context):\n    return 'other'\n"})


def changes(client, name):
    """What changes a function or publishes it: calls and their parameters."""
    return [
        (client.update_function_code, {"FunctionName": name, "ZipFile": other_code()}),
        (client.update_function_configuration, {"FunctionName": name, "Timeout": 5}),
        (client.publish_version, {"FunctionName": name}),
    ]


def refusals(client, name):
    for call, parameters in changes(client, name):
        code, status, message = error_of(call, **parameters)
        assert (code, status) == ("ResourceConflictException", 409)
        yield message


def test_nothing_can_be_done_with_a_function_that_is_being_created(start_service):
    client = start_service(f"--function-create-delay={LONG}").client()
    name = unique()
    created = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": probe()}, **PYTHON_PROBE)
    shown = client.get_function_configuration(FunctionName=name)
    for reply in (created, shown):
        assert (reply["State"], reply["StateReasonCode"]) == ("Pending", "Creating")
        assert "LastUpdateStatus" not in reply
    assert shown["RevisionId"] == created["RevisionId"]
    pending = f"{CANNOT} The resource {arn(name)} is currently in the following state: 'Pending'. StateReasonCode: 'Creating'"
    assert set(refusals(client, name)) == {pending}
    invoked = error_of(client.invoke, FunctionName=name)
    assert tuple(invoked) == (
        "ResourceConflictException",
        409,
        f"{CANNOT} The function is currently in the following state: Pending",
    )
    client.delete_function(FunctionName=name)


def test_functions_run_while_an_update_is_in_progress_but_take_no_other(start_service):
    client = start_service(f"--function-update-delay={LONG}").client()
    name = Functions(client).create()
    updated = client.update_function_configuration(FunctionName=name, Description="new")
    shown = client.get_function(FunctionName=name)["Configuration"]
    for reply in (updated, shown):
        assert (reply["State"], reply["LastUpdateStatus"]) == ("Active", "InProgress")
        assert reply["LastUpdateStatusReason"] == "The function is being created."
        assert reply["LastUpdateStatusReasonCode"] == "Creating"
    assert set(refusals(client, name)) == {f"{CANNOT} An update is in progress for resource: {arn(name)}"}
    assert Functions(client).invoke(name, {"n": 1}).value() == {"n": 1}


def test_waiters_see_states_end(start_service):
    service = start_service("--function-create-delay=300ms", "--function-update-delay=300ms")
    client = service.client()
    functions = Functions(client)
    name = functions.create(wait=False, SnapStart={"ApplyOn": "PublishedVersions"})
    functions.wait_active(name)
    for call, parameters in changes(client, name):
        reply = call(**parameters)
        functions.wait_updated(name)
        assert client.get_function_configuration(FunctionName=name)["RevisionId"] != reply["RevisionId"]
    assert (reply["Version"], reply["State"]) == ("1", "Pending")
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000}
    )
    snap_start = client.get_function_configuration(FunctionName=name, Qualifier="1")["SnapStart"]
    assert snap_start == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}


def test_answers_come_when_all_is_done_if_asked_to(start_service):
    options = ("--synchronous-create", "--function-create-delay=100ms", "--function-update-delay=100ms")
    client = start_service(*options).client()
    name = unique()
    created = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": probe()}, **PYTHON_PROBE)
    for reply in (created, *(call(**parameters) for call, parameters in changes(client, name))):
        assert (reply["State"], reply["LastUpdateStatus"]) == ("Active", "Successful")


@pytest.fixture
def on_disk(tmp_path, data_home):
    """Starts the service on one data directory, again and again."""
    services = []

    def start(*options):
        service = Service("--data-dir", str(tmp_path / "data"), *options, home=data_home, ephemeral=False)
        services.append(service)
        return service.start()

    yield start
    for service in services:
        service.stop()
        assert "panicked" not in service.log, service.log[-4000:]


def test_what_was_pending_at_a_crash_is_ready_after_it(on_disk):
    service = on_disk(f"--function-create-delay={LONG}", f"--function-update-delay={LONG}")
    client = service.client()
    name = unique()
    client.create_function(
        FunctionName=name, Role=ROLE, Code={"ZipFile": probe()}, Publish=True, **PYTHON_PROBE
    )
    service.kill()
    client = on_disk().client()
    for qualifier in ("$LATEST", "1"):
        shown = client.get_function_configuration(FunctionName=name, Qualifier=qualifier)
        assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert Functions(client).invoke(name, {"n": 1}).value() == {"n": 1}


def test_a_function_whose_package_is_gone_has_failed_until_it_gets_another(on_disk, tmp_path):
    service = on_disk()
    functions = Functions(service.client())
    name = functions.create(Publish=True)
    # Gone while the service runs: found out when the function is to start.
    shutil.rmtree(tmp_path / "data/code")
    (tmp_path / "data/code").mkdir()
    assert error_of(functions.client.invoke, FunctionName=name).code == "CodeArtifactUserFailedException"
    shown = functions.client.get_function_configuration(FunctionName=name)
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
    assert (shown["LastUpdateStatus"], shown["LastUpdateStatusReasonCode"]) == (
        "Failed",
        "InvalidZipFileException",
    )
    service.stop()

    # Gone while it did not run: found out when it starts.
    functions = Functions(on_disk().client())
    client = functions.client
    assert client.get_function_configuration(FunctionName=name, Qualifier="1")["State"] == "Failed"
    assert error_of(client.invoke, FunctionName=f"{name}:1").code == "CodeArtifactUserFailedException"
    failure = error_of(client.update_function_configuration, FunctionName=name, Timeout=5)
    assert failure.message == (
        f"{CANNOT} The resource {arn(name)} is currently in the following state: 'Failed'. StateReasonCode: "
        "'InvalidZipFileException'"
    )
    client.update_function_code(FunctionName=name, ZipFile=other_code())
    functions.wait_updated(name)
    assert functions.invoke(name).value() == "other"
    client.delete_function(FunctionName=name)


def test_an_idle_function_is_restored_by_an_invocation(start_service):
    service = start_service("--function-idle-delay", "300ms", "--function-create-delay", "200ms")
    client = service.client()
    functions = Functions(client)
    vpc = {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}
    name = functions.create(**vpc)

    def shown():
        return client.get_function_configuration(FunctionName=name)

    until(lambda: shown()["State"] == "Inactive", seconds=30, what="an inactive function")
    assert shown()["StateReasonCode"] == "Idle"
    refused = error_of(client.invoke, FunctionName=name)
    assert (refused.code, refused.status) == ("ResourceConflictException", 409)
    functions.wait_active(name)
    assert functions.invoke(name).status == 200
