"""The checks that are off by default: `--auth sigv4` and `--auth policies`."""

import json
import os
import subprocess
import time
from datetime import datetime, timezone

import boto3
import botocore.auth
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from support import raw
from support.cli import Aws
from support.functions import PYTHON_PROBE, Functions, error_of
from support.service import BINARY, REGION, Service

KEYS = """
[default]
aws_access_key_id = AKIAALICE
aws_secret_access_key = alices/secret+key

[bob]
aws_access_key_id = AKIABOB
aws_secret_access_key = bobs-secret
aws_account_id = 111122223333
principal_arn = arn:aws:iam::111122223333:user/bob
"""
ALICE = ("AKIAALICE", "alices/secret+key")
BOB = ("AKIABOB", "bobs-secret")
LIST = "/2015-03-31/functions/"


@pytest.fixture(scope="module")
def strict(data_home, tmp_path_factory):
    """A service that verifies signatures and follows policies."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEYS)
    service = Service("--auth", "sigv4,policies", "--auth-keys", str(keys), home=data_home).start()
    yield service
    service.stop()
    assert "panicked" not in service.log, service.log[-4000:]


def client(service, keys, name="lambda", token=None):
    return boto3.client(
        name,
        endpoint_url=service.endpoint,
        region_name=REGION,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=token,
        config=Config(retries={"max_attempts": 0, "mode": "standard"}),
    )


@pytest.fixture
def alices(strict):
    functions = Functions(client(strict, ALICE))
    yield functions
    functions.clean()


def test_who_signs_with_a_known_key_is_let_in(strict, alices):
    name = alices.create(Environment={"Variables": {"NAME": "ä"}})
    assert alices.invoke(name, {"ü": [1, 2]}).value() == {"ü": [1, 2]}
    arn = alices.client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert arn == f"arn:aws:lambda:{REGION}:000000000000:function:{name}"
    alices.client.tag_resource(Resource=arn, Tags={"a b": "c/d+e"})
    alices.client.untag_resource(Resource=arn, TagKeys=["a b", "x=y+z"])
    alices.client.get_function(FunctionName=f"{arn}:$LATEST")


def test_keys_have_the_account_and_the_name_that_the_file_says(strict, alices):
    assert client(strict, ALICE, "sts").get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    identity = client(strict, BOB, "sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("111122223333", "arn:aws:iam::111122223333:user/bob")
    arn = alices.client.get_function(FunctionName=alices.create())["Configuration"]["FunctionArn"]
    bob = Functions(client(strict, BOB))
    assert error_of(bob.invoke, arn, 1).message.startswith("User: arn:aws:iam::111122223333:user/bob is not")
    alices.client.add_permission(
        FunctionName=arn,
        StatementId="bob",
        Action="lambda:InvokeFunction",
        Principal="arn:aws:iam::111122223333:user/bob",
    )
    assert bob.invoke(arn, 1).value() == 1


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("AKIAALICE", "wrong"), "InvalidSignatureException"),
        (("AKIANOBODY", "any"), "UnrecognizedClientException"),
        (("test", "test"), "UnrecognizedClientException"),
    ],
)
def test_who_signs_with_another_is_refused(strict, keys, expected):
    refused = error_of(client(strict, keys).list_functions)
    assert (refused.status, refused.code) == (403, expected)
    if expected == "UnrecognizedClientException":
        assert refused.message == "The security token included in the request is invalid."
    else:
        assert refused.message.startswith("The request signature we calculated does not match the signature you")


def test_who_does_not_sign_is_refused(strict):
    answer = raw.request(strict.port, "GET", LIST, service=None)
    assert (answer.status, answer.json()) == (403, {"message": "Missing Authentication Token"})
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    bearer = raw.request(strict.port, "GET", LIST, headers={"Authorization": "Bearer abc"})
    assert (bearer.status, bearer.headers["x-amzn-errortype"]) == (403, "IncompleteSignatureException")


def signed(service, body=b"", method="GET", path=LIST, auth=SigV4Auth, **parameters):
    """Headers and path of a request that botocore signed."""
    request = AWSRequest(method=method, url=service.endpoint + path, data=body)
    auth(Credentials(*ALICE), "lambda", REGION, **parameters).add_auth(request)
    return dict(request.headers.items()), request.url.removeprefix(service.endpoint)


def test_old_signatures_are_refused(strict, monkeypatch):
    then = time.time() - 3600
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda **_: datetime.fromtimestamp(then, timezone.utc).replace(tzinfo=None)
    )
    headers, path = signed(strict)
    answer = raw.request(strict.port, "GET", path, headers=headers)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert answer.json()["message"].startswith("Signature expired: ")


def test_presigned_urls_are_let_in(strict):
    _, path = signed(strict, auth=SigV4QueryAuth, expires=60)
    assert raw.request(strict.port, "GET", path, service=None).status == 200
    answer = raw.request(strict.port, "GET", path + "0", service=None)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


def test_another_body_than_the_signed_one_is_refused(strict, alices):
    name = alices.create()
    path = f"/2015-03-31/functions/{name}/invocations"
    headers, path = signed(strict, b"1", "POST", path)
    assert raw.request(strict.port, "POST", path, b"1", headers).json() == 1
    answer = raw.request(strict.port, "POST", path, b"2", headers)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


def test_large_bodies_are_verified(strict, alices):
    name = alices.create()
    event = "x" * 3_000_000
    assert alices.invoke(name, event).value() == event


def test_functions_may_call(strict, alices, boto3_in_functions):
    name = alices.create(boto3_in_functions(), **PYTHON_PROBE)
    target = alices.create()
    alices.client.get_function(FunctionName=target)
    code = {"do": "aws", "service": "lambda", "operation": "get_function", "parameters": {"FunctionName": target}}
    reply = alices.invoke(name, code)
    assert target in json.dumps(reply.value()), reply.value()


def test_sts_gives_keys_only_to_who_is_known(strict):
    role = {"RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "me"}
    refused = error_of(client(strict, ("AKIAALICE", "wrong"), "sts").assume_role, **role)
    assert (refused.status, refused.code) == (403, "SignatureDoesNotMatch")
    assert error_of(client(strict, ("nobody", "x"), "sts").assume_role, **role).code == "InvalidClientTokenId"
    given = client(strict, ALICE, "sts").assume_role(**role)["Credentials"]
    keys = (given["AccessKeyId"], given["SecretAccessKey"])
    client(strict, keys, token=given["SessionToken"]).list_functions()
    wrong = client(strict, (keys[0], "wrong"), token=given["SessionToken"])
    assert error_of(wrong.list_functions).code == "InvalidSignatureException"
    forged = client(strict, keys, token=given["SessionToken"][:-4] + "AAAA")
    assert error_of(forged.list_functions).code == "UnrecognizedClientException"


def test_the_command_line_signs(strict, tmp_path):
    aws = Aws(strict, tmp_path)
    aws.environment.update(AWS_ACCESS_KEY_ID=ALICE[0], AWS_SECRET_ACCESS_KEY=ALICE[1])
    assert "Functions" in aws("list-functions")
    aws.environment.update(AWS_SECRET_ACCESS_KEY="wrong")
    assert "InvalidSignatureException" in aws("list-functions", fails=True)


def test_services_follow_policies(strict, alices):
    name = alices.create()
    path = f"/2015-03-31/functions/{name}/invocations"

    def invoked_for(bucket):
        headers, _ = signed(strict, b"1", "POST", path)
        source = {"X-Hothouse-Principal": "s3.amazonaws.com", "X-Amz-Source-Arn": f"arn:aws:s3:::{bucket}"}
        return raw.request(strict.port, "POST", path, b"1", {**headers, **source})

    refused = invoked_for("bucket")
    assert refused.status == 403
    assert refused.json()["Message"].startswith("User: s3.amazonaws.com is not authorized to perform: lambda:Invoke")
    alices.client.add_permission(
        FunctionName=name,
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
    )
    assert invoked_for("bucket").status == 200
    assert invoked_for("other").status == 403


def test_options_that_do_not_go_together_are_refused(start_service, tmp_path):
    said = start_service("--auth", "sigv4", wait=False).refusal()
    assert "option `auth` needs option `auth-keys`" in said
    keys = tmp_path / "keys"
    keys.write_text("[a]\naws_access_key_id = a\n")
    said = start_service("--auth", "sigv4", "--auth-keys", str(keys), wait=False).refusal()
    assert "line 1: the section has no aws_secret_access_key" in said
    said = start_service("--auth", "everything", wait=False).refusal()
    assert "write sigv4, policies or sigv4,policies" in said


def own_command(strict, *arguments, **variables):
    command = [str(BINARY), *arguments, "--endpoint", strict.endpoint]
    known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**known, **variables})


def test_our_own_commands_sign_with_the_usual_keys(strict, alices, tmp_path):
    name = alices.create()
    key = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ALICE, strict=True))
    assert name in own_command(strict, "ls", **key).stdout
    invoked = own_command(strict, "invoke", name, "-p", '{"do": "echo"}', **key)
    assert invoked.returncode == 0, invoked.stderr
    file = tmp_path / "credentials"
    file.write_text(KEYS.replace("default", "alice"))
    assert name in own_command(strict, "ls", "--profile", "alice", "--credentials-file", str(file)).stdout
    assert name in own_command(strict, "ls", AWS_PROFILE="alice", AWS_SHARED_CREDENTIALS_FILE=str(file)).stdout


def test_our_own_commands_say_which_keys_they_need(strict, tmp_path):
    without = own_command(strict, "ls", HOME=str(tmp_path))
    assert without.returncode != 0 and "set AWS_ACCESS_KEY_ID" in without.stderr
    wrong = own_command(strict, "ls", AWS_ACCESS_KEY_ID="nobody", AWS_SECRET_ACCESS_KEY="none")
    assert wrong.returncode != 0 and "is none of its `--auth-keys`" in wrong.stderr
