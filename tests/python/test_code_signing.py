"""Code signing configurations through boto3: their life, functions that have one, deployments that they refuse."""

import pytest
from support.functions import ROLE, Functions, error_of, probe, unique
from support.service import ACCOUNT

PROFILE = f"arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/test/0123456789"
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}
UNKNOWN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:code-signing-config:csc-00000000000000000"


@pytest.fixture
def signing(client):
    """Makes configurations, which go when the test is over, after the functions that have them."""
    made = []

    def make(policy="Warn", **parameters):
        answer = client.create_code_signing_config(
            AllowedPublishers=PUBLISHERS,
            CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy},
            **parameters,
        )
        made.append(answer["CodeSigningConfig"]["CodeSigningConfigArn"])
        return made[-1]

    yield make
    for arn in made:
        for function in client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)["FunctionArns"]:
            client.delete_function(FunctionName=function)
        client.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_configuration_is_read_changed_and_listed(client, signing):
    arn = signing("Enforce", Description="d", Tags={"team": "a"})
    got = client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"]
    assert got["CodeSigningConfigId"] == arn.rpartition(":")[2]
    assert got["AllowedPublishers"] == PUBLISHERS
    assert got["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
    updated = client.update_code_signing_config(CodeSigningConfigArn=arn, Description="e")["CodeSigningConfig"]
    assert {**updated, "LastModified": ""} == {**got, "Description": "e", "LastModified": ""}
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "a"}
    others = {signing(), signing()}
    pages = client.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 1})
    listed = [one["CodeSigningConfigArn"] for page in pages for one in page["CodeSigningConfigs"]]
    assert others | {arn} <= set(listed)
    assert len(listed) == len(set(listed))


def test_functions_have_a_configuration_until_it_is_taken_away(client, functions, signing):
    arn = signing()
    names = sorted(functions.create(CodeSigningConfigArn=arn) for _ in range(2))
    pages = client.get_paginator("list_functions_by_code_signing_config").paginate(
        CodeSigningConfigArn=arn, PaginationConfig={"PageSize": 1}
    )
    listed = [one.rpartition(":")[2] for page in pages for one in page["FunctionArns"]]
    assert listed == names
    assert error_of(client.delete_code_signing_config, CodeSigningConfigArn=arn).code == "ResourceConflictException"
    for name in names:
        client.delete_function_code_signing_config(FunctionName=name)
        # AWS leaves the ARN out, though its model requires it.
        assert "CodeSigningConfigArn" not in client.get_function_code_signing_config(FunctionName=name)
    answer = client.put_function_code_signing_config(FunctionName=names[0], CodeSigningConfigArn=arn)
    assert (answer["FunctionName"], answer["CodeSigningConfigArn"]) == (names[0], arn)
    assert client.get_function_code_signing_config(FunctionName=names[0])["CodeSigningConfigArn"] == arn


def test_unsigned_packages_are_refused_if_the_policy_is_enforced(client, functions, signing):
    arn = signing("Enforce")
    name = functions.create()
    client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    refusal = (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client "
        "is not configured to accept. Check the provided signature for "
    )
    update = error_of(client.update_function_code, FunctionName=name, ZipFile=probe())
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"
    assert tuple(update) == ("CodeVerificationFailedException", 400, f"{refusal}{function}.")
    layer = f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:l:1"
    update = error_of(client.update_function_configuration, FunctionName=name, Layers=[layer])
    assert tuple(update) == ("CodeVerificationFailedException", 400, f"{refusal}{layer}.")
    other = unique()
    with pytest.raises(client.exceptions.CodeVerificationFailedException) as refused:
        functions.create(name=other, CodeSigningConfigArn=arn)
    assert refused.value.response["Message"] == f"{refusal}{other}."
    # It still runs what it had.
    assert functions.invoke(name, {}).error is None
    client.update_code_signing_config(
        CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"}
    )
    assert client.update_function_code(FunctionName=name, ZipFile=probe())["FunctionName"] == name


def test_what_cannot_be_is_refused(client, functions, signing):
    many = {str(number): "" for number in range(51)}
    refused = error_of(client.create_code_signing_config, AllowedPublishers=PUBLISHERS, Tags=many)
    assert tuple(refused) == (
        "InvalidParameterValueException",
        400,
        "Number of tags exceeds resource tag limit.",
    )
    for call, arguments in (
        (client.list_code_signing_configs, {}),
        (client.list_functions_by_code_signing_config, {"CodeSigningConfigArn": signing()}),
    ):
        assert error_of(call, **arguments, Marker="*").message == "Marker is invalid"
    image = unique()
    client.create_function(
        FunctionName=image,
        Role=ROLE,
        PackageType="Image",
        Code={"ImageUri": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/image:latest"},
    )
    functions.made.append(image)
    for call, arguments in (
        (client.put_function_code_signing_config, {"CodeSigningConfigArn": signing()}),
        (client.get_function_code_signing_config, {}),
        (client.delete_function_code_signing_config, {}),
    ):
        assert tuple(error_of(call, FunctionName=image, **arguments)) == (
            "InvalidParameterValueException",
            400,
            "Code signing is not supported for functions created with container images.",
        )


def test_busy_functions_keep_their_configuration(start_service):
    client = start_service("--function-create-delay", "1h").client()
    arn = client.create_code_signing_config(AllowedPublishers=PUBLISHERS)["CodeSigningConfig"]["CodeSigningConfigArn"]
    name = Functions(client).create(wait=False)
    put = error_of(client.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=arn)
    deleted = error_of(client.delete_function_code_signing_config, FunctionName=name)
    assert (put.code, deleted.code) == ("ResourceConflictException", "ResourceConflictException")


def test_what_is_not_there_is_not_found(client, functions, signing):
    for call in (
        client.get_code_signing_config,
        client.update_code_signing_config,
        client.delete_code_signing_config,
        client.list_functions_by_code_signing_config,
    ):
        assert tuple(error_of(call, CodeSigningConfigArn=UNKNOWN)) == (
            "ResourceNotFoundException",
            404,
            f"The Lambda code signing configuration {UNKNOWN} can not be found.",
        )
    gone = f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {UNKNOWN}."
    name = functions.create()
    put = error_of(client.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=UNKNOWN)
    assert tuple(put) == ("CodeSigningConfigNotFoundException", 404, gone)
    with pytest.raises(client.exceptions.CodeSigningConfigNotFoundException):
        functions.create(CodeSigningConfigArn=UNKNOWN)
    for call, arguments in (
        (client.put_function_code_signing_config, {"CodeSigningConfigArn": signing()}),
        (client.get_function_code_signing_config, {}),
        (client.delete_function_code_signing_config, {}),
    ):
        assert error_of(call, FunctionName=unique(), **arguments).code == "ResourceNotFoundException"
