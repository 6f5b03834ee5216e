"""Whom function URLs let in: policies, signatures, pages of other origins."""

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support import raw
from support.functions import Functions
from support.service import ACCOUNT, REGION, Service
from support.urls import FORBIDDEN, allow, make_url, speaker


@pytest.fixture(scope="module")
def url(service, client, shared_functions):
    """The speaker's URL, open to all."""
    return make_url(service, client, speaker(shared_functions))


def test_without_a_public_statement_nobody_is_let_in(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name, public=False)
    answer = url.ask(**{"return": 1})
    assert (answer.status, answer.json()) == (403, FORBIDDEN)
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    # Nor by a signature, nor by a word on another kind of URL or another action.
    assert signed(url, ("test", "test")).status == 403
    for number, parameters in enumerate(
        [
            {"Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "AWS_IAM"},
            {"Action": "lambda:InvokeFunction", "Principal": "*"},
            {"Action": "lambda:InvokeFunctionUrl", "Principal": ACCOUNT, "FunctionUrlAuthType": "NONE"},
        ]
    ):
        client.add_permission(FunctionName=name, StatementId=str(number), **parameters)
        assert url.ask(**{"return": 1}).status == 403, parameters
    allow(client, name)
    assert url.ask(**{"return": 1}).status == 200
    client.remove_permission(FunctionName=name, StatementId="url")
    assert url.ask(**{"return": 1}).status == 403


def signed(url, keys, body=b'{"return": 1}', region=REGION, auth=SigV4Auth, path="/a b/%2F?x=1&y=%20z", send_body=None, **parameters):
    """A request that botocore's own signer signed."""
    path = path.replace(" ", "%20")
    headers = {"Content-Type": "application/json"}
    request = AWSRequest(method="POST", url=f"http://{url.host}{path}", data=body, headers=headers)
    auth(Credentials(*keys), "lambda", region, **parameters).add_auth(request)
    sent = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    target = request.url.split(url.host, 1)[1]
    return url.send("POST", target, body if send_body is None else send_body, sent)


def test_signatures_are_verified(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name, auth="AWS_IAM")
    answer = url.ask(**{"return": 1})
    assert (answer.status, answer.json()) == (403, FORBIDDEN)
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert signed(url, ("test", "test")).body == b"1"
    assert signed(url, (ACCOUNT, "test")).body == b"1"
    presigned = signed(url, ("test", "test"), body=b"", auth=SigV4QueryAuth, expires=60)
    assert presigned.json()["queryStringParameters"]["X-Amz-Expires"] == "60"
    for keys, kind in [
        (("test", "wrong"), "InvalidSignatureException"),
        (("AKIANOBODY", "test"), "UnrecognizedClientException"),
        (("", "test"), "UnrecognizedClientException"),
    ]:
        answer = signed(url, keys)
        assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, kind)
    answer = signed(url, ("test", "wrong"))
    assert answer.json() == {
        "message": "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    }
    changed = signed(url, ("test", "test"), send_body=b'{"return": 2}')
    assert (changed.status, changed.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert signed(url, ("test", "test"), region="eu-west-1").status == 403
    # A key that only says whose it is proves nothing.
    headers = {"Authorization": raw.authorization()}
    assert url.send("POST", body=b"{}", headers=headers).status == 403


def test_the_function_is_told_who_signed(service, client, functions):
    url = make_url(service, client, speaker(functions), auth="AWS_IAM")
    context = signed(url, ("test", "test"), body=b"").json()["requestContext"]
    assert context["accountId"] == ACCOUNT
    assert context["authorizer"]["iam"] == {
        "accessKey": "test",
        "accountId": ACCOUNT,
        "callerId": ACCOUNT,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{ACCOUNT}:root",
        "userId": ACCOUNT,
    }
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r", "RoleSessionName": "me"}
    assumed = service.client("sts").assume_role(**role)
    given = assumed["Credentials"]
    keys = (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    iam = signed(url, keys, body=b"").json()["requestContext"]["authorizer"]["iam"]
    user = assumed["AssumedRoleUser"]
    assert (iam["userArn"], iam["userId"], iam["accessKey"]) == (user["Arn"], user["AssumedRoleId"], keys[0])
    assert signed(url, (keys[0], "wrong", keys[2])).status == 403
    assert signed(url, (*keys[:2], keys[2][:-4] + "AAAA")).status == 403


def test_other_accounts_need_a_word(service, client, functions):
    name = speaker(functions)
    url = make_url(service, client, name, auth="AWS_IAM")
    other = ("111122223333", "test")
    answer = signed(url, other)
    assert (answer.status, answer.json()) == (403, FORBIDDEN)
    client.add_permission(
        FunctionName=name,
        StatementId="other",
        Action="lambda:InvokeFunctionUrl",
        Principal="111122223333",
        FunctionUrlAuthType="AWS_IAM",
    )
    assert signed(url, other, body=b"").json()["requestContext"]["authorizer"]["iam"]["accountId"] == "111122223333"
    assert signed(url, ("444455556666", "test")).status == 403


def test_keys_of_a_file_are_the_only_ones(data_home, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("[a]\naws_access_key_id = AKIAALICE\naws_secret_access_key = alices\n")
    service = Service("--auth", "sigv4", "--auth-keys", str(keys), home=data_home).start()
    try:
        client = boto_client(service, "AKIAALICE", "alices")
        functions = Functions(client)
        url = make_url(service, client, speaker(functions), auth="AWS_IAM")
        assert signed(url, ("AKIAALICE", "alices")).body == b"1"
        assert signed(url, ("AKIAALICE", "test")).status == 403
        assert signed(url, ("test", "test")).headers["x-amzn-errortype"] == "UnrecognizedClientException"
        public = make_url(service, client, speaker(functions))
        assert public.ask(**{"return": 1}).body == b"1", "who needs not sign need not here, either"
    finally:
        service.stop()


def boto_client(service, key, secret):
    return boto3.client(
        "lambda",
        endpoint_url=service.endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


# === pages ===

CORS = {
    "AllowOrigins": ["https://app.example"],
    "AllowMethods": ["PUT"],
    "AllowHeaders": ["x-one", "content-type"],
    "ExposeHeaders": ["x-two"],
    "AllowCredentials": True,
    "MaxAge": 300,
}


def test_a_browser_is_told_what_pages_may_do(service, client, functions):
    url = make_url(service, client, speaker(functions), Cors=CORS)
    asks = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,x-one",
    }
    answer = url.send("OPTIONS", "/p", headers=asks)
    assert (answer.status, answer.body) == (200, b"")
    allowed = {name: value for name, value in answer.pairs if name.startswith("access-control-")}
    assert allowed == {
        "access-control-allow-origin": "https://app.example",
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "x-one,content-type",
        "access-control-allow-credentials": "true",
        "access-control-max-age": "300",
    }
    page = {"Origin": "https://app.example", "Content-Type": "application/json"}
    answer = url.send("PUT", "/p", b'{"return": 7}', page)
    assert (answer.status, answer.body) == (200, b"7")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "x-two"
    # Strangers are answered, but their browsers do not let them read it.
    stranger = {**asks, "Origin": "https://evil.example"}
    assert not [name for name, _ in url.send("OPTIONS", "/p", headers=stranger).pairs if name.startswith("access-")]
    answer = url.send("PUT", "/p", b'{"return": 7}', {**page, "Origin": "https://evil.example"})
    assert answer.body == b"7" and "access-control-allow-origin" not in answer.headers
    # What fails may be read, too.
    answer = url.send("PUT", "/p", b'{"raise": "x"}', page)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (502, "https://app.example")


def test_without_settings_pages_are_the_functions_own_matter(url):
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    answer = url.send("OPTIONS", "/p", headers=asks)
    assert answer.json()["headers"]["origin"] == "https://app.example"
    assert not [name for name, _ in answer.pairs if name.startswith("access-control-")]
    headers = {"Access-Control-Allow-Origin": "*"}
    answer = url.ask(**{"return": {"statusCode": 200, "headers": headers}})
    assert answer.all("access-control-allow-origin") == ["*"]


def test_a_preflight_needs_no_signature(service, client, functions):
    url = make_url(service, client, speaker(functions), auth="AWS_IAM", Cors=CORS)
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    assert url.send("OPTIONS", headers=asks).headers["access-control-allow-methods"] == "PUT"


def test_pages_reach_nothing_else_by_the_name_of_a_url(service, url):
    page = {"Origin": "https://evil.example"}
    # Whatever the path, it is the function that is reached.
    answer = url.send("GET", "/_hothouse/functions", headers=page)
    assert answer.json()["rawPath"] == "/_hothouse/functions"
    rebound = url.send(host=f"{url.id}.lambda-url.us-east-1.evil.example")
    assert rebound.status == 403 and b"does not answer to the host" in rebound.body
