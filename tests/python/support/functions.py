"""Archives of functions, and functions as tests make them: named apart, waited for, removed."""

import io
import json
import re
import uuid
import zipfile
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "functions"
ROLE = "arn:aws:iam::000000000000:role/test"

PYTHON = "python3.12"
NODE = "nodejs22.x"
PROVIDED = "provided.al2023"

# The probe does what its event says; see the files for what it can do.
PYTHON_PROBE = {"Runtime": PYTHON, "Handler": "probe.handler"}
NODE_PROBE = {"Runtime": NODE, "Handler": "probe.handler"}


def archive(files):
    """A zip of `{name: text or bytes}`. A name that ends in `!` is an executable. Same input, same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name.rstrip("!"), date_time=(2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name.endswith("!") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, content)
    return buffer.getvalue()


def folder(path, executable=("bootstrap",)):
    """The files below a folder, as `archive` wants them."""
    files = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            name = str(file.relative_to(path))
            files[name + "!" * (file.name in executable)] = file.read_bytes()
    return files


def probe(language="python"):
    """The archive of a probe function."""
    return archive(folder(SOURCES / f"{language}-probe"))


def boto3_files():
    """boto3 and what it needs, from this virtual environment, with the models of a few services only."""
    import importlib.util

    services = ("sts", "sqs", "s3", "logs", "lambda")
    files = {}
    for module in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six"):
        origin = Path(importlib.util.find_spec(module).origin)
        if origin.name != "__init__.py":
            files[origin.name] = origin.read_bytes()
            continue
        for name, content in folder(origin.parent).items():
            parts = Path(name).parts
            model = module == "botocore" and parts[0] == "data" and len(parts) > 2
            if not model or parts[1] in services:
                files[f"{module}/{name}"] = content
    return files


def unique(prefix="f"):
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class Reply:
    """The answer to an Invoke, unpacked."""

    def __init__(self, response):
        self.response = response
        self.status = response["StatusCode"]
        self.error = response.get("FunctionError")
        self.version = response.get("ExecutedVersion")
        self.body = response["Payload"].read()
        self.request_id = response["ResponseMetadata"]["RequestId"]
        self.headers = response["ResponseMetadata"]["HTTPHeaders"]

    @property
    def payload(self):
        return json.loads(self.body)

    @property
    def tail(self):
        import base64

        return base64.b64decode(self.response["LogResult"]).decode()

    def value(self):
        """The payload of an invocation that must have succeeded."""
        assert self.error is None, self.body
        return self.payload


class Functions:
    """Makes functions through a client and removes them when the test is over."""

    def __init__(self, client):
        self.client = client
        self.made = []

    def create(self, code=None, name=None, wait=True, **parameters):
        """Creates a function (the Python probe unless told otherwise) and returns its name."""
        name = name or unique()
        if code is None:
            code = probe()
            parameters = {**PYTHON_PROBE, **parameters}
        elif isinstance(code, dict):
            code = archive(code)
        arguments = {
            "FunctionName": name,
            "Role": ROLE,
            "Code": {"ZipFile": code},
            "Timeout": 20,
            **parameters,
        }
        self.client.create_function(**arguments)
        self.made.append(name)
        if wait:
            self.wait_active(name)
        return name

    def wait_active(self, name):
        self.client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000}
        )

    def wait_updated(self, name):
        self.client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1000}
        )

    def configure(self, name, **parameters):
        """Updates the configuration and waits until it is in force."""
        self.client.update_function_configuration(FunctionName=name, **parameters)
        self.wait_updated(name)

    def invoke(self, name, event=None, **parameters):
        """Invokes; `event` is JSON unless it is bytes."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return Reply(self.client.invoke(FunctionName=name, Payload=body, **parameters))

    def clean(self):
        for name in self.made:
            try:
                self.client.delete_function(FunctionName=name)
            except self.client.exceptions.ResourceNotFoundException:
                pass


def error_of(call, *arguments, **parameters):
    """The error that a call answers with: (code, status, message, whole response)."""
    from botocore.exceptions import ClientError

    try:
        answer = call(*arguments, **parameters)
    except ClientError as error:
        response = error.response
        message = response["Error"].get("Message") or response.get("message") or ""
        return Failure(
            response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], message, response
        )
    raise AssertionError(f"should have failed, but answered {answer}")


class Failure:
    """An error answer."""

    def __init__(self, code, status, message, response):
        self.code, self.status, self.message, self.response = code, status, message, response

    def __iter__(self):
        return iter((self.code, self.status, self.message))

    def __repr__(self):
        return f"{self.status} {self.code}: {self.message}"


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
