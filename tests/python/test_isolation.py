"""Accounts and regions do not see each other; the caller's key and scope say which is meant."""

import pytest
from support.functions import Functions, error_of, unique

OTHER = "123456789012"


@pytest.fixture
def pair(service):
    """The same name in two accounts and two regions."""
    name = unique("same")
    homes = {
        ("000000000000", "us-east-1"): service.client(),
        ("000000000000", "eu-central-1"): service.client(region="eu-central-1"),
        (OTHER, "us-east-1"): service.client(access_key=OTHER),
    }
    all_functions = {home: Functions(client) for home, client in homes.items()}
    for home, functions in all_functions.items():
        functions.create(name=name, Description=" ".join(home))
    yield name, all_functions
    for functions in all_functions.values():
        functions.clean()


def test_the_same_name_is_another_function(pair):
    name, all_functions = pair
    for (account, region), functions in all_functions.items():
        configuration = functions.client.get_function_configuration(FunctionName=name)
        assert configuration["FunctionArn"] == f"arn:aws:lambda:{region}:{account}:function:{name}"
        assert configuration["Description"] == f"{account} {region}"
        context = functions.invoke(name, {"do": "context"}).value()
        assert context["invoked_function_arn"] == f"arn:aws:lambda:{region}:{account}:function:{name}"
        variables = functions.invoke(name, {"do": "environment"}).value()
        assert variables["AWS_REGION"] == region


def test_deleting_one_leaves_the_others(pair):
    name, all_functions = pair
    functions = all_functions[(OTHER, "us-east-1")]
    functions.client.delete_function(FunctionName=name)
    assert error_of(functions.client.get_function, FunctionName=name).status == 404
    assert all_functions[("000000000000", "us-east-1")].invoke(name, 1).value() == 1


def test_another_accounts_arn_is_not_for_everyone(pair, client):
    name, _ = pair
    failure = error_of(client.get_function, FunctionName=f"arn:aws:lambda:us-east-1:{OTHER}:function:{name}")
    assert failure.code in ("AccessDeniedException", "ResourceNotFoundException")


def test_the_identity_follows_the_key(service):
    assert service.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert service.client("sts", access_key=OTHER).get_caller_identity()["Account"] == OTHER


def test_assumed_roles_have_an_identity_of_their_own(service):
    sts = service.client("sts", access_key=OTHER)
    role = f"arn:aws:iam::{OTHER}:role/path/worker"
    answer = sts.assume_role(RoleArn=role, RoleSessionName="me")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/worker/me"
    credentials = answer["Credentials"]

    import boto3

    session = boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        region_name="us-east-1",
    )
    identity = session.client("sts", endpoint_url=service.endpoint).get_caller_identity()
    assert identity["Account"] == OTHER
    assert identity["Arn"] == f"arn:aws:sts::{OTHER}:assumed-role/worker/me"
    # The assumed role's Lambda is that of its account.
    name = unique()
    functions = Functions(service.client(access_key=OTHER))
    functions.create(name=name, wait=False)
    assert name in [
        one["FunctionName"]
        for page in session.client("lambda", endpoint_url=service.endpoint)
        .get_paginator("list_functions")
        .paginate()
        for one in page["Functions"]
    ]
    functions.wait_active(name)
    functions.clean()
