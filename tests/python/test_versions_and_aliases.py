"""Versions, aliases, weighted routing."""

import collections

import pytest
from support.functions import PYTHON, archive, error_of

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SAY = "def handler(event, context):\n    return {text!r}\n"


def saying(text):
    return archive({"main.py": SAY.format(text=text)})


@pytest.fixture
def versioned(client, functions):
    """A function whose versions 1 and 2 say "one" and "two", and $LATEST "latest"."""
    name = functions.create(saying("one"), Runtime=PYTHON, Handler="main.handler")
    for number, text in [("1", "two"), ("2", "latest")]:
        assert client.publish_version(FunctionName=name)["Version"] == number
        client.update_function_code(FunctionName=name, ZipFile=saying(text))
        functions.wait_updated(name)
    return name


def test_versions_keep_their_code(client, functions, versioned):
    for qualifier, text in [("1", "one"), ("2", "two"), ("$LATEST", "latest")]:
        reply = functions.invoke(versioned, Qualifier=qualifier)
        assert (reply.value(), reply.version) == (text, qualifier)
    assert functions.invoke(versioned).version == "$LATEST"


def test_versions_are_listed_in_order(client, versioned):
    listed = client.list_versions_by_function(FunctionName=versioned)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    assert [version["FunctionArn"].removeprefix(f"{ARN}:{versioned}") for version in listed] == [
        ":$LATEST",
        ":1",
        ":2",
    ]
    assert all("State" not in version and "LastUpdateStatus" not in version for version in listed)


def test_publishing_without_a_change_gives_the_same_version(client, functions):
    name = functions.create()
    first = client.publish_version(FunctionName=name, Description="kept")
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    again = client.publish_version(FunctionName=name, Description="ignored")
    assert (again["Version"], again["RevisionId"], again["Description"]) == ("1", first["RevisionId"], "kept")
    functions.configure(name, Timeout=9)
    assert client.publish_version(FunctionName=name)["Version"] == "2"


def test_publishing_answers_with_the_qualified_arn(client, functions):
    name = functions.create()
    version = client.publish_version(FunctionName=name)
    assert version["FunctionArn"] == f"{ARN}:{name}:1"
    assert version["State"] == "Active"


def test_create_can_publish(client, functions):
    name = functions.create(Publish=True)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]


def test_a_wrong_code_hash_is_refused(client, functions):
    name = functions.create()
    sha = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    assert tuple(error_of(client.publish_version, FunctionName=name, CodeSha256="wrong")) == (
        "InvalidParameterValueException",
        400,
        f"CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ({sha}). "
        "Please try again with the CodeSHA256 in $LATEST.",
    )


def test_version_numbers_are_not_used_again(client, functions, versioned):
    client.delete_function(FunctionName=versioned, Qualifier="2")
    assert client.publish_version(FunctionName=versioned)["Version"] == "3"
    assert tuple(error_of(functions.invoke, versioned, Qualifier="2")) == (
        "ResourceNotFoundException",
        404,
        f"Function not found: {ARN}:{versioned}:2",
    )


def test_an_alias_points_and_moves(client, functions, versioned):
    created = client.create_alias(
        FunctionName=versioned, Name="live", FunctionVersion="1", Description="about"
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert created["AliasArn"] == f"{ARN}:{versioned}:live"
    assert (created["Name"], created["FunctionVersion"], created["Description"]) == ("live", "1", "about")
    reply = functions.invoke(versioned, Qualifier="live")
    assert (reply.value(), reply.version) == ("one", "1")

    updated = client.update_alias(FunctionName=versioned, Name="live", FunctionVersion="2")
    assert updated["RevisionId"] != created["RevisionId"]
    assert updated["Description"] == "about"
    assert functions.invoke(f"{versioned}:live").value() == "two"

    configuration = client.get_function_configuration(FunctionName=versioned, Qualifier="live")
    assert (configuration["Version"], configuration["FunctionArn"]) == ("2", f"{ARN}:{versioned}:live")

    assert [alias["Name"] for alias in client.list_aliases(FunctionName=versioned)["Aliases"]] == ["live"]
    assert client.list_aliases(FunctionName=versioned, FunctionVersion="1")["Aliases"] == []
    assert (
        client.delete_alias(FunctionName=versioned, Name="live")["ResponseMetadata"]["HTTPStatusCode"] == 204
    )
    assert tuple(error_of(client.get_alias, FunctionName=versioned, Name="live")) == (
        "ResourceNotFoundException",
        404,
        f"Cannot find alias arn: {ARN}:{versioned}:live",
    )


def test_weighted_routing_divides_invocations(client, functions, versioned):
    routing = {"AdditionalVersionWeights": {"2": 0.3}}
    alias = client.create_alias(
        FunctionName=versioned, Name="canary", FunctionVersion="1", RoutingConfig=routing
    )
    assert alias["RoutingConfig"] == routing
    seen = collections.Counter(functions.invoke(versioned, Qualifier="canary").version for _ in range(400))
    assert set(seen) == {"1", "2"}
    # 120 expected; a right service leaves these bounds once in more than a million runs.
    assert 75 <= seen["2"] <= 165

    client.update_alias(FunctionName=versioned, Name="canary", RoutingConfig={"AdditionalVersionWeights": {}})
    assert {functions.invoke(versioned, Qualifier="canary").version for _ in range(20)} == {"1"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"Name": "live", "FunctionVersion": "2"},
            ("ResourceConflictException", 409, "Alias already exists: {arn}:live"),
        ),
        (
            {"Name": "other", "FunctionVersion": "10"},
            ("ResourceNotFoundException", 404, "Function not found: {arn}:10"),
        ),
        (
            {"Name": "1", "FunctionVersion": "1"},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '1' at 'name' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
            ),
        ),
        (
            {"Name": "x", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            (
                "InvalidParameterValueException",
                400,
                "Invalid function version 1. Function version 1 is already included in routing configuration.",
            ),
        ),
        (
            {
                "Name": "x",
                "FunctionVersion": "1",
                "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5, "3": 0.1}},
            },
            (
                "InvalidParameterValueException",
                400,
                "Number of items in AdditionalVersionWeights cannot be greater than 1",
            ),
        ),
        (
            {
                "Name": "x",
                "FunctionVersion": "$LATEST",
                "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
            },
            (
                "InvalidParameterValueException",
                400,
                "$LATEST is not supported for an alias pointing to more than 1 version",
            ),
        ),
        (
            {"Name": "x", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 2}}},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '{{2=2.0}}' at 'routingConfig.additionalVersionWeights' failed to "
                "satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to "
                "1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
            ),
        ),
    ],
)
def test_aliases_that_cannot_be(client, versioned, arguments, expected):
    client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    code, status, message = expected
    failure = error_of(client.create_alias, FunctionName=versioned, **arguments)
    assert tuple(failure) == (code, status, message.format(arn=f"{ARN}:{versioned}"))


def test_a_version_with_an_alias_stays(client, versioned):
    client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    assert tuple(error_of(client.delete_function, FunctionName=versioned, Qualifier="1")) == (
        "ResourceConflictException",
        409,
        "Unable to delete version because the following aliases reference it: [live]",
    )


def test_latest_and_aliases_cannot_be_deleted_as_versions(client, versioned):
    client.create_alias(FunctionName=versioned, Name="live", FunctionVersion="1")
    failure = error_of(client.delete_function, FunctionName=versioned, Qualifier="$LATEST")
    assert tuple(failure) == (
        "InvalidParameterValueException",
        400,
        "$LATEST version cannot be deleted without deleting the function.",
    )
    failure = error_of(client.delete_function, FunctionName=versioned, Qualifier="live")
    assert tuple(failure) == (
        "InvalidParameterValueException",
        400,
        "Deletion of aliases is not currently supported.",
    )


def test_an_unknown_alias_cannot_be_updated(client, versioned):
    failure = error_of(client.update_alias, FunctionName=versioned, Name="nobody", FunctionVersion="1")
    assert tuple(failure) == ("ResourceNotFoundException", 404, f"Alias not found: {ARN}:{versioned}:nobody")
