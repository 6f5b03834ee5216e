"""What AWS answers when a request cannot be carried out: code, status, wording, spelling of keys."""

import json

import pytest
from support import raw
from support.functions import PYTHON, PYTHON_PROBE, ROLE, archive, error_of, probe, unique

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
NOT_FOUND = "ResourceNotFoundException"
INVALID = "InvalidParameterValueException"
VALIDATION = "ValidationException"


def create(client, **changes):
    arguments = {
        "FunctionName": unique(),
        "Role": ROLE,
        "Code": {"ZipFile": probe()},
        **PYTHON_PROBE,
        **changes,
    }
    return client.create_function(**arguments)


@pytest.mark.parametrize(
    ("operation", "arguments", "suffix"),
    [
        ("get_function", {}, ""),
        ("get_function", {"Qualifier": "5"}, ":5"),
        ("get_function_configuration", {}, ""),
        ("delete_function", {}, ""),
        ("update_function_configuration", {"Timeout": 5}, ""),
        ("publish_version", {}, ""),
        ("list_versions_by_function", {}, ""),
        ("invoke", {}, ":$LATEST"),
        ("invoke", {"Qualifier": "live"}, ":live"),
    ],
)
def test_unknown_functions(client, operation, arguments, suffix):
    name = unique("nobody")
    failure = error_of(getattr(client, operation), FunctionName=name, **arguments)
    assert tuple(failure) == (NOT_FOUND, 404, f"Function not found: {ARN}:{name}{suffix}")


def test_a_name_that_is_taken(client, functions):
    name = functions.create()
    assert tuple(error_of(create, client, FunctionName=name)) == (
        "ResourceConflictException",
        409,
        f"Function already exist: {name}",
    )


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"Role": "r1"},
            VALIDATION,
            "1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular "
            r"expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            {"Runtime": "python3.7"},
            INVALID,
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions.",
        ),
        (
            {"Code": {"ZipFile": b"no zip"}},
            INVALID,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (
            {"Architectures": ["X86_64"]},
            VALIDATION,
            "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must "
            "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
        ),
        (
            {"Environment": {"Variables": {"AWS_ACCESS_KEY_ID": "x"}}},
            INVALID,
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            "Reserved keys used in this request: AWS_ACCESS_KEY_ID",
        ),
        (
            {"LoggingConfig": {"LogFormat": "Text", "ApplicationLogLevel": "INFO"}},
            INVALID,
            'LogLevel is not supported when LogFormat is set to "Text". '
            'Remove LogLevel from your request or change the LogFormat to "JSON" and try again.',
        ),
    ],
)
def test_creations_that_are_refused(client, changes, code, message):
    assert tuple(error_of(create, client, **changes)) == (code, 400, message)


def test_an_unknown_runtime_names_the_known_ones(client):
    code, status, message = error_of(create, client, Runtime="no-such-runtime")
    assert (code, status) == (INVALID, 400)
    prefix = "Value no-such-runtime at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["
    assert message.startswith(prefix)
    assert message.endswith("] or be a valid ARN")
    assert "python3.13" in message
    assert "nodejs22.x" in message


def test_an_environment_of_more_than_4_kb(client):
    variables = {"LARGE": "x" * 4096}
    code, status, message = error_of(create, client, Environment={"Variables": variables})
    measured = json.dumps(variables, separators=(",", ":"))
    assert (code, status) == (INVALID, 400)
    assert message == (
        "Lambda was unable to configure your environment variables because the environment variables you have "
        f"provided exceeded the 4KB limit. String measured: {measured}"
    )


@pytest.mark.parametrize(("length", "code"), [(65, INVALID), (141, VALIDATION)])
def test_names_that_are_too_long(client, length, code):
    name = "x" * length
    limit = 64 if length == 65 else 140
    assert tuple(error_of(create, client, FunctionName=name)) == (
        code,
        400,
        f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
        f"Member must have length less than or equal to {limit}",
    )


def test_several_violations_are_told_at_once(client):
    failure = error_of(client.get_function, FunctionName="no good", Qualifier="neither good")
    assert failure.code == VALIDATION
    assert failure.message.startswith(
        "2 validation errors detected: Value 'neither good' at 'qualifier' failed"
    )
    assert "; Value 'no good' at 'functionName' failed to satisfy constraint: " in failure.message


def test_a_function_of_another_region_is_not_reachable(client):
    arn = "arn:aws:lambda:ap-southeast-1:000000000000:function:any"
    assert tuple(error_of(client.get_function, FunctionName=arn)) == (
        NOT_FOUND,
        404,
        "Functions from 'ap-southeast-1' are not reachable in this region ('us-east-1')",
    )


def test_two_qualifiers_must_agree(client, functions):
    name = functions.create()
    assert tuple(error_of(client.get_function, FunctionName=f"{name}:1", Qualifier="$LATEST")) == (
        INVALID,
        400,
        "The derived qualifier from the function name does not match the specified qualifier.",
    )


def test_errors_have_awss_headers_and_key_spelling(service):
    answer = raw.request(service.port, "GET", "/2015-03-31/functions/nobody")
    assert answer.status == 404
    assert answer.headers["x-amzn-errortype"] == NOT_FOUND
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-requestid"]
    assert answer.json() == {"Type": "User", "Message": f"Function not found: {ARN}:nobody"}

    answer = raw.request(service.port, "GET", "/2015-03-31/functions/x?Qualifier=no%20good")
    assert answer.headers["x-amzn-errortype"] == VALIDATION
    assert list(answer.json()) == ["message"]


def test_a_body_that_is_no_json_is_refused(service):
    answer = raw.request(
        service.port, "POST", "/2015-03-31/functions", body=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400
    assert answer.headers["x-amzn-errortype"] == "SerializationException"


def test_a_second_update_waits_for_the_first_or_is_refused(client, functions):
    """The window is short: what must not happen is an answer of another kind."""
    name = functions.create(archive({"main.py": "handler = print"}), Runtime=PYTHON, Handler="main.handler")
    for number in range(10):
        try:
            client.update_function_configuration(FunctionName=name, Description=str(number))
        except client.exceptions.ResourceConflictException as error:
            assert error.response["Error"]["Message"] == (
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {ARN}:{name}"
            )
    functions.wait_updated(name)
