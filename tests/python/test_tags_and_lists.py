"""Tags, lists and their pages."""

import pytest
from support.functions import Functions, error_of, unique

ARN = "arn:aws:lambda:us-east-1:000000000000:function"


def test_tags_are_put_read_and_removed(client, functions):
    name = functions.create(Tags={"team": "a", "stage": "test"})
    arn = f"{ARN}:{name}"
    assert client.get_function(FunctionName=name)["Tags"] == {"team": "a", "stage": "test"}
    before = client.get_function_configuration(FunctionName=name)["RevisionId"]
    assert (
        client.tag_resource(Resource=arn, Tags={"team": "b", "cost": "1"})["ResponseMetadata"][
            "HTTPStatusCode"
        ]
        == 204
    )
    assert client.get_function_configuration(FunctionName=name)["RevisionId"] != before
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "b", "stage": "test", "cost": "1"}
    reply = client.untag_resource(Resource=arn, TagKeys=["stage", "absent"])
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.list_tags(Resource=arn)["Tags"] == {"team": "b", "cost": "1"}
    client.untag_resource(Resource=arn, TagKeys=["team", "cost"])
    assert client.list_tags(Resource=arn)["Tags"] == {}
    assert "Tags" not in client.get_function(FunctionName=name)


def test_tags_have_limits_and_belong_to_functions(client, functions):
    name = functions.create()
    arn = f"{ARN}:{name}"
    many = {f"k{number}": "" for number in range(51)}
    assert tuple(error_of(client.tag_resource, Resource=arn, Tags=many)) == (
        "InvalidParameterValueException",
        400,
        "Number of tags exceeds resource tag limit.",
    )
    client.tag_resource(Resource=arn, Tags=dict(list(many.items())[:50]))
    assert (
        error_of(client.tag_resource, Resource=arn, Tags={"one": "more"}).code
        == "InvalidParameterValueException"
    )
    assert tuple(error_of(client.tag_resource, Resource=arn, Tags={})) == (
        "InvalidParameterValueException",
        400,
        "An error occurred and the request cannot be processed.",
    )
    assert tuple(error_of(client.tag_resource, Resource=f"{arn}:1", Tags={"a": "b"})) == (
        "InvalidParameterValueException",
        400,
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    )
    unknown = f"{ARN}:{unique()}"
    for call, arguments in (
        (client.list_tags, {}),
        (client.tag_resource, {"Tags": {"a": "b"}}),
        (client.untag_resource, {"TagKeys": ["a"]}),
    ):
        assert tuple(error_of(call, Resource=unknown, **arguments)) == (
            "ResourceNotFoundException",
            404,
            f"Function not found: {unknown}",
        )
        assert error_of(call, Resource=f"{arn}:1", **arguments).code == "InvalidParameterValueException"


@pytest.fixture(scope="module")
def many(service):
    """An account of its own with seven functions, so that lists are exact."""
    functions = Functions(service.client(access_key="111122223333"))
    names = sorted(functions.create(name=unique("list"), wait=False) for _ in range(7))
    for name in names:
        functions.wait_active(name)
    yield functions, names
    functions.clean()


def test_functions_are_listed_without_their_states(many):
    functions, names = many
    listed = functions.client.list_functions()["Functions"]
    assert sorted(one["FunctionName"] for one in listed) == names
    for one in listed:
        assert one["FunctionArn"] == f"arn:aws:lambda:us-east-1:111122223333:function:{one['FunctionName']}"
        assert not {"State", "StateReason", "LastUpdateStatus"} & one.keys()


def test_pages_hold_everything_once(many):
    functions, names = many
    pages = list(functions.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Functions"]) for page in pages] == [3, 3, 1]
    assert sorted(one["FunctionName"] for page in pages for one in page["Functions"]) == names
    assert "NextMarker" not in pages[-1]


def test_all_versions_can_be_listed(many):
    functions, names = many
    functions.client.publish_version(FunctionName=names[0])
    listed = functions.client.list_functions(FunctionVersion="ALL")["Functions"]
    versions = sorted(one["Version"] for one in listed if one["FunctionName"] == names[0])
    assert versions == ["$LATEST", "1"]
    assert all(one["FunctionArn"].endswith(f":{one['Version']}") for one in listed)


def test_aliases_and_versions_have_pages(client, functions):
    name = functions.create()
    for number in range(1, 5):
        functions.configure(name, Description=str(number))
        client.publish_version(FunctionName=name)
        client.create_alias(FunctionName=name, Name=f"alias-{number}", FunctionVersion=str(number))
    pages = client.get_paginator("list_aliases").paginate(FunctionName=name, PaginationConfig={"PageSize": 3})
    assert [[alias["Name"] for alias in page["Aliases"]] for page in pages] == [
        ["alias-1", "alias-2", "alias-3"],
        ["alias-4"],
    ]
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    assert [version["Version"] for page in pages for version in page["Versions"]] == [
        "$LATEST",
        "1",
        "2",
        "3",
        "4",
    ]
