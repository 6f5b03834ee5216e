"""Policies of functions through boto3, and whom they let in from other accounts."""

import json

import pytest
from support.functions import Functions, error_of, unique
from support.service import ACCOUNT, REGION

OTHER = "123456789012"
GRANT = {"Action": "lambda:InvokeFunction", "StatementId": "s"}


def arn_of(function):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"


def test_permissions_make_a_policy_and_take_it_away(client, functions):
    name = functions.create()
    added = client.add_permission(
        FunctionName=name,
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
        SourceAccount=OTHER,
        **GRANT,
    )
    statement = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn_of(name),
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": OTHER},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
        },
    }
    assert json.loads(added["Statement"]) == statement
    found = client.get_policy(FunctionName=name)
    assert json.loads(found["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    again = error_of(client.add_permission, FunctionName=name, Principal="*", **GRANT)
    assert (again.status, again.code) == (409, "ResourceConflictException")
    stale = error_of(client.remove_permission, FunctionName=name, StatementId="s", RevisionId="stale")
    assert (stale.status, stale.code) == (412, "PreconditionFailedException")
    client.remove_permission(FunctionName=name, StatementId="s", RevisionId=found["RevisionId"])
    missing = error_of(client.get_policy, FunctionName=name)
    assert (missing.status, missing.code) == (404, "ResourceNotFoundException")


def test_too_long_a_policy_is_refused(client, functions):
    name = functions.create(wait=False)
    long = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    source = "arn:aws:s3:::" + "x" * 9_000
    for statement in ("a", "b"):
        client.add_permission(FunctionName=name, StatementId=statement, SourceArn=source, **long)
    refused = error_of(client.add_permission, FunctionName=name, StatementId="c", SourceArn=source, **long)
    assert refused.code == "PolicyLengthExceededException"


def test_a_whole_policy_lets_in_whom_it_names(service, client, functions):
    name = functions.create()
    arn = arn_of(name)
    other = Functions(service.client(access_key=OTHER))
    refused = error_of(other.invoke, arn, 1)
    assert tuple(refused) == (
        "AccessDeniedException",
        403,
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:InvokeFunction on resource: {arn} "
        "because no resource-based policy allows the lambda:InvokeFunction action",
    )
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "lambda:*", "Resource": arn},
                {"Effect": "Deny", "Principal": "*", "Action": "lambda:DeleteFunction", "Resource": arn},
            ],
        }
    )
    put = client.put_resource_policy(ResourceArn=arn, Policy=policy)
    assert json.loads(put["Policy"]) == json.loads(policy)
    shown = client.get_resource_policy(ResourceArn=arn)
    assert (shown["Policy"], shown["RevisionId"]) == (put["Policy"], put["RevisionId"])
    assert client.get_policy(FunctionName=name)["Policy"] == put["Policy"]
    assert other.invoke(arn, 1).value() == 1
    denied = error_of(other.client.delete_function, FunctionName=arn)
    assert denied.message.endswith("with an explicit deny in a resource-based policy")
    assert error_of(other.client.get_function, FunctionName=name).status == 404
    client.delete_resource_policy(ResourceArn=arn, RevisionId=put["RevisionId"])
    assert error_of(other.invoke, arn, 1).status == 403


@pytest.mark.parametrize("policy", ["{", "[]", '{"Statement": []}'])
def test_what_is_no_policy_is_refused(client, functions, policy):
    name = functions.create(wait=False)
    refused = error_of(client.put_resource_policy, ResourceArn=arn_of(name), Policy=policy)
    assert (refused.status, refused.code) == (400, "InvalidParameterValueException")


def test_the_command_line_knows_permissions(aws, functions):
    name = functions.create(wait=False)
    aws(
        *("add-permission", "--function-name", name, "--statement-id", "s", "--principal", OTHER),
        *("--action", "lambda:InvokeFunction"),
    )
    policy = json.loads(aws("get-policy", "--function-name", name)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{OTHER}:root"}
    aws("remove-permission", "--function-name", name, "--statement-id", "s")
    assert "ResourceNotFoundException" in aws("get-policy", "--function-name", name, fails=True)


def test_an_assumed_role_is_who_it_is(service, client, functions):
    import boto3

    name = functions.create()
    role = f"arn:aws:iam::{OTHER}:role/{unique('role')}"
    sts = service.client("sts", access_key=OTHER)
    given = sts.assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    session = boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=REGION,
    )
    theirs = Functions(session.client("lambda", endpoint_url=service.endpoint))
    refused = error_of(theirs.invoke, arn_of(name), 1)
    assert f"User: {role.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/me is not" in refused.message
    client.add_permission(FunctionName=name, Principal=role, **GRANT)
    assert theirs.invoke(arn_of(name), 1).value() == 1
    root = Functions(service.client(access_key=OTHER))
    assert error_of(root.invoke, arn_of(name), 1).status == 403
