"""Capacity providers through boto3: their life, functions on them, scaling configurations."""

import json

import pytest
from support.functions import Functions, archive, error_of, unique
from support.service import ACCOUNT

ROLE = f"arn:aws:iam::{ACCOUNT}:role/operator"
PARAMETERS = {
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
}

# Tells which of the versions it is, and which it is called.
NUMBERED = """
def handler(event, context):
    return [{}, context.function_version]
"""


@pytest.fixture
def providers(client):
    """Makes providers, which go when the test is over, after the functions that are on them."""
    made = []

    def make(**parameters):
        name = unique("provider")
        answer = client.create_capacity_provider(CapacityProviderName=name, **{**PARAMETERS, **parameters})
        assert answer["CapacityProvider"]["State"] == "Pending"
        made.append(name)
        return name

    yield make
    for name in made:
        versions = client.list_function_versions_by_capacity_provider(CapacityProviderName=name)
        for function in {one["FunctionArn"].rpartition(":")[0] for one in versions["FunctionVersions"]}:
            client.delete_function(FunctionName=function)
        client.delete_capacity_provider(CapacityProviderName=name)


def arn(name):
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:capacity-provider:{name}"


def on(provider):
    """The parameters of a function on this provider."""
    config = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": arn(provider)}}
    # `$LATEST` never is `Active` there, so there is nothing to wait for.
    return {"Runtime": "python3.13", "CapacityProviderConfig": config, "wait": False}


def test_provider_is_read_changed_listed_and_deleted(client, providers):
    name = providers(CapacityProviderScalingConfig={"MaxVCpuCount": 30}, Tags={"team": "a"})
    got = client.get_capacity_provider(CapacityProviderName=name)["CapacityProvider"]
    assert (got["CapacityProviderArn"], got["State"]) == (arn(name), "Active")
    assert {key: got[key] for key in PARAMETERS} == PARAMETERS
    assert got["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 30, "ScalingMode": "Auto"}
    assert client.list_tags(Resource=arn(name))["Tags"] == {"team": "a"}
    updated = client.update_capacity_provider(
        CapacityProviderName=arn(name), CapacityProviderScalingConfig={"MaxVCpuCount": 40}
    )["CapacityProvider"]
    assert updated["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 40, "ScalingMode": "Auto"}
    others = {arn(providers()) for _ in range(2)}
    pages = client.get_paginator("list_capacity_providers").paginate(
        State="Active", PaginationConfig={"PageSize": 1}
    )
    listed = [one["CapacityProviderArn"] for page in pages for one in page["CapacityProviders"]]
    assert others | {arn(name)} <= set(listed)
    again = error_of(client.create_capacity_provider, CapacityProviderName=name, **PARAMETERS)
    assert (again.code, again.status) == ("ResourceConflictException", 409)


def test_states_pass_and_are_seen_meanwhile(start_service):
    client = start_service("--capacity-provider-delay", "1h").client()
    client.create_capacity_provider(CapacityProviderName="p", **PARAMETERS)
    assert client.get_capacity_provider(CapacityProviderName="p")["CapacityProvider"]["State"] == "Pending"
    for call in (client.update_capacity_provider, client.delete_capacity_provider):
        assert error_of(call, CapacityProviderName="p").code == "ResourceConflictException"


def test_functions_run_on_a_provider_as_anywhere(client, functions, providers):
    provider = providers()
    name = functions.create(**on(provider))
    found = client.get_function_configuration(FunctionName=name)
    assert (found["State"], found["MemorySize"], found["LoggingConfig"]["LogFormat"]) == (
        "ActiveNonInvocable",
        2048,
        "JSON",
    )
    config = found["CapacityProviderConfig"]["LambdaManagedInstancesCapacityProviderConfig"]
    assert config == {
        "CapacityProviderArn": arn(provider),
        "PerExecutionEnvironmentMaxConcurrency": 16,
        "ExecutionEnvironmentMemoryGiBPerVCpu": 2.0,
    }
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 0.02, "MaxAttempts": 100}
    )
    refused = error_of(client.delete_capacity_provider, CapacityProviderName=provider)
    assert (refused.code, refused.status) == ("ResourceConflictException", 409)
    pages = client.get_paginator("list_function_versions_by_capacity_provider").paginate(
        CapacityProviderName=provider, PaginationConfig={"PageSize": 1}
    )
    listed = [one["FunctionArn"].rpartition(":")[2] for page in pages for one in page["FunctionVersions"]]
    assert listed == ["$LATEST", version]


def test_latest_published_is_what_is_invoked(client, functions, providers):
    name = functions.create(archive({"main.py": NUMBERED.format(1)}), Handler="main.handler", **on(providers()))
    nothing = error_of(client.invoke, FunctionName=name)
    assert (nothing.code, nothing.status) == ("NoPublishedVersionException", 400)
    published = client.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED")
    assert published["FunctionArn"].endswith(f":{name}:$LATEST.PUBLISHED")
    for number in (1, 2):
        for qualifier in ({}, {"Qualifier": "$LATEST.PUBLISHED"}):
            answer = client.invoke(FunctionName=name, **qualifier)
            told = json.loads(answer["Payload"].read())
            assert (answer["ExecutedVersion"], told) == ("$LATEST.PUBLISHED", [number, "$LATEST.PUBLISHED"])
        code = archive({"main.py": NUMBERED.format(number + 1)})
        client.update_function_code(FunctionName=name, ZipFile=code, PublishTo="LATEST_PUBLISHED")
    unpublished = error_of(client.invoke, FunctionName=name, Qualifier="$LATEST")
    assert (unpublished.code, unpublished.status) == ("ResourceConflictException", 409)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "$LATEST.PUBLISHED"]


def test_scaling_is_kept(client, functions, providers):
    name = functions.create(**on(providers()), Publish=True)
    scaling = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2}
    answer = client.put_function_scaling_config(FunctionName=name, Qualifier="1", FunctionScalingConfig=scaling)
    assert answer["FunctionState"] == "Active"
    got = client.get_function_scaling_config(FunctionName=name, Qualifier="1")
    assert got["FunctionArn"].endswith(f":{name}:1")
    assert got["RequestedFunctionScalingConfig"] == got["AppliedFunctionScalingConfig"] == scaling
    for call in (client.get_function_scaling_config, client.put_function_scaling_config):
        assert error_of(call, FunctionName=name, Qualifier="2").code == "ResourceNotFoundException"
    plain = functions.create(Publish=True)
    refused = error_of(client.put_function_scaling_config, FunctionName=plain, Qualifier="1")
    assert refused.code == "InvalidParameterValueException"


def test_provider_is_full_after_a_hundred_versions(client, functions, providers):
    provider = on(providers())
    name = functions.create(**provider)
    for number in range(100):
        client.update_function_configuration(FunctionName=name, Description=str(number))
        client.publish_version(FunctionName=name)
    client.update_function_configuration(FunctionName=name, Description="more")
    full = "FunctionVersionsPerCapacityProviderLimitExceededException"
    assert error_of(client.publish_version, FunctionName=name).code == full
    assert error_of(functions.create, **provider, Publish=True).code == full
    client.delete_function(FunctionName=name, Qualifier="1")
    assert client.publish_version(FunctionName=name)["Version"] == "101"


def test_account_has_a_thousand_providers(start_service):
    client = start_service().client()
    for number in range(1000):
        client.create_capacity_provider(CapacityProviderName=str(number), **PARAMETERS)
    more = error_of(client.create_capacity_provider, CapacityProviderName="more", **PARAMETERS)
    assert (more.code, more.status) == ("CapacityProviderLimitExceededException", 400)
    client.delete_capacity_provider(CapacityProviderName="0")
    client.create_capacity_provider(CapacityProviderName="more", **PARAMETERS)


def test_what_cannot_be_is_refused(client, functions, providers):
    name = providers()
    manual = {"CapacityProviderScalingConfig": {"ScalingMode": "Manual"}}
    plain = functions.create(Publish=True)
    for call, arguments in (
        (client.create_capacity_provider, {"CapacityProviderName": unique(), **PARAMETERS, **manual}),
        (client.update_capacity_provider, {"CapacityProviderName": name, **manual}),
        (client.list_capacity_providers, {"Marker": "*"}),
        (client.list_function_versions_by_capacity_provider, {"CapacityProviderName": name, "Marker": "*"}),
        (client.get_function_scaling_config, {"FunctionName": plain, "Qualifier": "1"}),
        (client.put_function_scaling_config, {"FunctionName": plain, "Qualifier": "1"}),
    ):
        assert error_of(call, **arguments).code == "InvalidParameterValueException"


def test_scaling_waits_for_the_version(start_service):
    client = start_service("--function-create-delay", "1h").client()
    client.create_capacity_provider(CapacityProviderName="p", **PARAMETERS)
    name = Functions(client).create(**on("p"), Publish=True)
    refused = error_of(client.put_function_scaling_config, FunctionName=name, Qualifier="1")
    assert (refused.code, refused.status) == ("ResourceConflictException", 409)


def test_what_is_not_there_is_not_found(client, functions):
    name = unique("provider")
    for call in (
        client.get_capacity_provider,
        client.update_capacity_provider,
        client.delete_capacity_provider,
        client.list_function_versions_by_capacity_provider,
    ):
        assert tuple(error_of(call, CapacityProviderName=name)) == (
            "ResourceNotFoundException",
            404,
            f"Capacity provider not found: {arn(name)}",
        )
    assert error_of(functions.create, **on(name)).message == f"Capacity provider not found: {arn(name)}"
