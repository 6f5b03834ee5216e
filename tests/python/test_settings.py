"""What is set for functions, versions and aliases beside their configuration."""

import re

import pytest
from support.functions import error_of

ARN = "arn:aws:lambda:us-east-1:000000000000:function"


@pytest.fixture
def aliased(client, functions):
    """A function with a version and an alias, `live`."""
    name = functions.create()
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def test_event_invoke_configurations(client, functions, aliased):
    other = functions.create()
    destination = {"OnFailure": {"Destination": f"{ARN}:{other}"}}
    put = client.put_function_event_invoke_config(
        FunctionName=aliased, Qualifier="live", MaximumRetryAttempts=0, DestinationConfig=destination
    )
    assert put["FunctionArn"] == f"{ARN}:{aliased}:live"
    assert put["DestinationConfig"] == {"OnSuccess": {}, **destination}
    updated = client.update_function_event_invoke_config(
        FunctionName=f"{aliased}:live", MaximumEventAgeInSeconds=60
    )
    got = client.get_function_event_invoke_config(FunctionName=put["FunctionArn"])
    for config in (updated, got):
        assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)
        assert config["DestinationConfig"]["OnFailure"] == destination["OnFailure"]
    assert got["LastModified"] == updated["LastModified"] >= put["LastModified"]
    client.put_function_event_invoke_config(FunctionName=aliased, MaximumRetryAttempts=1)
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=aliased, PaginationConfig={"PageSize": 1}
    )
    listed = [config for page in pages for config in page["FunctionEventInvokeConfigs"]]
    assert [config["FunctionArn"] for config in listed] == [f"{ARN}:{aliased}:$LATEST", f"{ARN}:{aliased}:live"]
    client.delete_function_event_invoke_config(FunctionName=aliased)
    gone = error_of(client.get_function_event_invoke_config, FunctionName=aliased)
    assert tuple(gone) == (
        "ResourceNotFoundException",
        404,
        f"The function {ARN}:{aliased}:$LATEST doesn't have an EventInvokeConfig",
    )
    itself = {"OnSuccess": {"Destination": f"{ARN}:{aliased}"}}
    refused = error_of(
        client.put_function_event_invoke_config, FunctionName=aliased, DestinationConfig=itself
    )
    assert refused.message == "You can't specify the function as a destination for itself."


def test_function_urls(client, aliased):
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["GET"], "MaxAge": 300}
    created = client.create_function_url_config(
        FunctionName=aliased, Qualifier="live", AuthType="NONE", Cors=cors, InvokeMode="RESPONSE_STREAM"
    )
    assert re.fullmatch(
        r"http://[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:\d+/", created["FunctionUrl"]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", created["CreationTime"])
    assert (created["Cors"], created["InvokeMode"]) == (cors, "RESPONSE_STREAM")
    updated = client.update_function_url_config(
        FunctionName=aliased, Qualifier="live", AuthType="AWS_IAM", InvokeMode="BUFFERED"
    )
    got = client.get_function_url_config(FunctionName=f"{aliased}:live")
    for config in (updated, got):
        assert (config["AuthType"], config["InvokeMode"], config["Cors"]) == ("AWS_IAM", "BUFFERED", cors)
        assert config["FunctionUrl"] == created["FunctionUrl"]
    client.create_function_url_config(FunctionName=aliased, AuthType="NONE")
    again = error_of(client.create_function_url_config, FunctionName=aliased, AuthType="NONE")
    assert tuple(again) == (
        "ResourceConflictException",
        409,
        f"Failed to create function url config for [functionArn = {ARN}:{aliased}]. Error message:  "
        "FunctionUrlConfig exists for this Lambda function",
    )
    pages = client.get_paginator("list_function_url_configs").paginate(
        FunctionName=aliased, PaginationConfig={"PageSize": 1}
    )
    listed = [config["FunctionArn"] for page in pages for config in page["FunctionUrlConfigs"]]
    assert listed == [f"{ARN}:{aliased}", f"{ARN}:{aliased}:live"]
    client.delete_function_url_config(FunctionName=aliased)
    gone = error_of(client.get_function_url_config, FunctionName=aliased)
    assert tuple(gone)[1:] == (404, "The resource you requested does not exist.")


def test_a_tag_names_the_url(client, functions):
    name = functions.create(Tags={"_custom_id_": "my-service"})
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    assert url.startswith("http://my-service.lambda-url.us-east-1.localhost:")


def test_recursion(client, functions):
    name = functions.create()
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    put = client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert put["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName=f"{ARN}:{name}")["RecursiveLoop"] == "Allow"


def test_runtime_management(client, aliased):
    runtime = client.get_function_configuration(FunctionName=aliased)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert client.get_runtime_management_config(FunctionName=aliased)["UpdateRuntimeOn"] == "Auto"
    put = client.put_runtime_management_config(
        FunctionName=aliased, Qualifier="1", UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime
    )
    del put["ResponseMetadata"]
    assert put == {
        "FunctionArn": f"{ARN}:{aliased}:1",
        "UpdateRuntimeOn": "Manual",
        "RuntimeVersionArn": runtime,
    }
    refused = error_of(
        client.put_runtime_management_config, FunctionName=aliased, Qualifier="live", UpdateRuntimeOn="Auto"
    )
    assert refused.message == (
        f"The provided function name {ARN}:{aliased}:live is invalid. Aliases are not allowed."
    )


def test_reserved_concurrency_is_told_by_the_account(client, functions):
    name = functions.create()

    def unreserved():
        return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    before = unreserved()
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    assert unreserved() == before - 7
    client.delete_function_concurrency(FunctionName=name)
    assert unreserved() == before
