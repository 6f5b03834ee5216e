"""A function from create to delete: replies, states, revisions, waiters."""

import base64
import hashlib
import re

import pytest
from support.functions import PYTHON, PYTHON_PROBE, ROLE, UUID, archive, error_of, probe, unique

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
LAST_MODIFIED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def test_create_answers_with_defaults_filled_in(client, functions):
    name = unique()
    code = probe()
    reply = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": code}, **PYTHON_PROBE)
    functions.made.append(name)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 201
    del reply["ResponseMetadata"]
    assert UUID.fullmatch(reply.pop("RevisionId"))
    assert LAST_MODIFIED.fullmatch(reply.pop("LastModified"))
    runtime_version = reply.pop("RuntimeVersionConfig")["RuntimeVersionArn"]
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime_version)
    assert reply == {
        "FunctionName": name,
        "FunctionArn": f"{ARN}:{name}",
        "Runtime": PYTHON,
        "Role": ROLE,
        "Handler": "probe.handler",
        "CodeSize": len(code),
        "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }


def test_a_created_function_becomes_active_with_a_new_revision(client, functions):
    name = unique()
    created = client.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": probe()}, **PYTHON_PROBE)
    functions.made.append(name)
    functions.wait_active(name)
    active = client.get_function_configuration(FunctionName=name)
    assert active["State"] == "Active"
    assert active["LastUpdateStatus"] == "Successful"
    assert "StateReason" not in active
    assert "StateReasonCode" not in active
    assert active["RevisionId"] != created["RevisionId"]


def test_a_whole_life(client, functions):
    name = functions.create(Description="first")
    assert functions.invoke(name, {"n": 1}).value() == {"n": 1}

    code = archive({"probe.py": "def handler(event, context):\n    return 'second'\n"})
    before = client.get_function_configuration(FunctionName=name)
    updated = client.update_function_code(FunctionName=name, ZipFile=code)
    assert updated["LastUpdateStatus"] == "InProgress"
    assert updated["LastUpdateStatusReason"] == "The function is being created."
    assert updated["LastUpdateStatusReasonCode"] == "Creating"
    assert updated["State"] == "Active"
    assert updated["RevisionId"] != before["RevisionId"]
    functions.wait_updated(name)
    after = client.get_function_configuration(FunctionName=name)
    assert after["LastUpdateStatus"] == "Successful"
    assert "LastUpdateStatusReason" not in after
    assert after["RevisionId"] != updated["RevisionId"]
    assert after["Description"] == "first"
    assert functions.invoke(name).value() == "second"

    functions.configure(name, Timeout=7, MemorySize=256, Description="third")
    configured = client.get_function_configuration(FunctionName=name)
    assert (configured["Timeout"], configured["MemorySize"], configured["Description"]) == (7, 256, "third")
    assert configured["CodeSha256"] == after["CodeSha256"]

    reply = client.delete_function(FunctionName=name)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert tuple(error_of(client.get_function, FunctionName=name)) == (
        "ResourceNotFoundException",
        404,
        f"Function not found: {ARN}:{name}",
    )


def test_a_name_can_be_used_again_after_delete(client, functions):
    name = functions.create()
    client.delete_function(FunctionName=name)
    functions.create(
        {"main.py": "handler = lambda event, context: 'new'"},
        name=name,
        Runtime=PYTHON,
        Handler="main.handler",
    )
    assert functions.invoke(name).value() == "new"


def test_an_old_revision_is_refused(client, functions):
    name = functions.create()
    old = client.get_function_configuration(FunctionName=name)["RevisionId"]
    functions.configure(name, Description="newer", RevisionId=old)
    expected = (
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    )
    call = client.update_function_configuration
    assert tuple(error_of(call, FunctionName=name, Description="x", RevisionId=old)) == expected
    assert (
        tuple(error_of(client.update_function_code, FunctionName=name, ZipFile=probe(), RevisionId=old))
        == expected
    )
    assert tuple(error_of(client.publish_version, FunctionName=name, RevisionId=old)) == expected


def test_updates_merge_fields_and_replace_structures(client, functions):
    name = functions.create(Environment={"Variables": {"AA": "1", "BB": "2"}}, Description="kept")
    functions.configure(name, Environment={"Variables": {"CC": "3"}})
    configuration = client.get_function_configuration(FunctionName=name)
    assert configuration["Environment"] == {"Variables": {"CC": "3"}}
    assert configuration["Description"] == "kept"
    functions.configure(name, Environment={"Variables": {}})
    assert client.get_function_configuration(FunctionName=name)["Environment"] == {"Variables": {}}


def test_logging_levels_come_and_go_with_the_format(client, functions):
    name = functions.create()
    functions.configure(name, LoggingConfig={"LogFormat": "JSON"})
    assert client.get_function_configuration(FunctionName=name)["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": f"/aws/lambda/{name}",
    }
    functions.configure(name, LoggingConfig={"LogFormat": "Text"})
    assert client.get_function_configuration(FunctionName=name)["LoggingConfig"] == {
        "LogFormat": "Text",
        "LogGroup": f"/aws/lambda/{name}",
    }


def test_dry_run_of_an_update_changes_nothing(client, functions):
    name = functions.create()
    before = client.get_function_configuration(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=archive({"other.py": ""}), DryRun=True)
    after = client.get_function_configuration(FunctionName=name)
    assert after["CodeSha256"] == before["CodeSha256"]
    assert after["RevisionId"] == before["RevisionId"]


@pytest.mark.parametrize(
    "form", ["{name}", "function:{name}", "000000000000:function:{name}", ARN + ":{name}"]
)
def test_every_form_of_a_name_reaches_the_function(client, shared_functions, one_function, form):
    reply = client.get_function(FunctionName=form.format(name=one_function))
    assert reply["Configuration"]["FunctionArn"] == f"{ARN}:{one_function}"
    assert shared_functions.invoke(form.format(name=one_function), 5).value() == 5


def test_a_qualified_request_gets_a_qualified_arn(client, one_function):
    reply = client.get_function_configuration(FunctionName=one_function, Qualifier="$LATEST")
    assert reply["FunctionArn"] == f"{ARN}:{one_function}:$LATEST"
    reply = client.get_function_configuration(FunctionName=f"{one_function}:$LATEST")
    assert reply["FunctionArn"] == f"{ARN}:{one_function}:$LATEST"


@pytest.fixture(scope="module")
def one_function(shared_functions):
    return shared_functions.create()


def test_account_settings_count_functions(client, functions):
    before = client.get_account_settings()
    functions.create()
    after = client.get_account_settings()
    assert after["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert after["AccountLimit"]["CodeSizeUnzipped"] == 262144000
    assert after["AccountLimit"]["CodeSizeZipped"] == 52428800
    assert after["AccountUsage"]["FunctionCount"] > 0
    assert (
        after["AccountUsage"]["TotalCodeSize"] >= before["AccountUsage"]["TotalCodeSize"] > 0
        or before["AccountUsage"]["TotalCodeSize"] == 0
    )
