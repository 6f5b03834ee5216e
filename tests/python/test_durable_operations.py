"""Durable functions through boto3: kept and shown, but not run, so that no execution is ever there."""

import datetime

import pytest
from support.functions import error_of, unique
from support.service import ACCOUNT

EXECUTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:1/durable-execution/name/id"
TOKEN = "dG9r/W4+"


def test_durable_function_is_kept_shown_and_not_run(client, functions):
    name = functions.create(DurableConfig={"ExecutionTimeout": 60})
    found = client.get_function_configuration(FunctionName=name)
    assert found["DurableConfig"] == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 14}
    functions.configure(name, DurableConfig={"RetentionPeriodInDays": 3})
    found = client.get_function_configuration(FunctionName=name)
    assert found["DurableConfig"] == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 3}
    assert tuple(error_of(client.invoke, FunctionName=name)) == (
        "InvalidParameterValueException",
        400,
        "You cannot invoke a durable function using an unqualified ARN.",
    )
    qualified = error_of(client.invoke, FunctionName=name, Qualifier="$LATEST")
    assert (qualified.code, qualified.status) == ("NotImplementedException", 501)


@pytest.mark.parametrize(
    "operation",
    [
        "get_durable_execution",
        "get_durable_execution_history",
        "stop_durable_execution",
        "pause_durable_execution",
        "resume_durable_execution",
        "delete_durable_execution",
    ],
)
def test_execution_is_not_found(client, operation):
    error = error_of(getattr(client, operation), DurableExecutionArn=EXECUTION)
    assert tuple(error) == (
        "ResourceNotFoundException",
        404,
        f"Durable execution not found: {EXECUTION}",
    )


@pytest.mark.parametrize("operation", ["checkpoint_durable_execution", "get_durable_execution_state"])
def test_token_is_of_no_execution(client, operation):
    error = error_of(getattr(client, operation), DurableExecutionArn=EXECUTION, CheckpointToken=TOKEN)
    assert tuple(error) == ("InvalidParameterValueException", 400, "Invalid Checkpoint Token")


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("send_durable_execution_callback_success", {"Result": b"\x00 any bytes"}),
        ("send_durable_execution_callback_failure", {"Error": {"ErrorMessage": "m"}}),
        ("send_durable_execution_callback_heartbeat", {}),
    ],
)
def test_callback_is_not_found(client, operation, parameters):
    error = error_of(getattr(client, operation), CallbackId=TOKEN, **parameters)
    assert tuple(error) == ("ResourceNotFoundException", 404, f"Callback not found: {TOKEN}")


def test_function_has_no_executions(client, functions):
    name = functions.create(DurableConfig={"ExecutionTimeout": 60}, Publish=True)
    now = datetime.datetime.now(datetime.UTC)
    filters = {"Qualifier": "1", "Statuses": ["RUNNING", "FAILED"], "StartedAfter": now, "ReverseOrder": True}
    for parameters in ({}, filters):
        answer = client.list_durable_executions_by_function(FunctionName=name, **parameters)
        assert (answer["DurableExecutions"], "NextMarker" in answer) == ([], False)
    missing = error_of(client.list_durable_executions_by_function, FunctionName=unique())
    assert (missing.code, missing.status) == ("ResourceNotFoundException", 404)
    marked = error_of(client.list_durable_executions_by_function, FunctionName=name, Marker="x")
    assert marked.code == "InvalidParameterValueException"
