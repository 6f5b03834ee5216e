"""What the tests have seen of each operation, and what the model says of it. `table` makes a document of it."""

import functools
import json
from collections import defaultdict
from pathlib import Path

from botocore import xform_name
from botocore.loaders import Loader

MODEL = Path(__file__).parents[3] / "models/lambda.json"

SUCCESS = "success"
# Beside outcomes: pages followed by their markers, and what was there after a restart.
PAGES, RESTART = "pages", "restart"

# Codes of AWS's front end, which the model does not list with any operation.
FRONT = {"ValidationException", "SerializationException", "AccessDeniedException"}
# The wire's name of a code that the model calls otherwise.
WIRE = {"RequestTooLargeException": "RequestEntityTooLargeException"}

# By operation: what was seen, as `client:outcome`.
seen = defaultdict(set)


def note(client, operation, outcome):
    """Notes that a call through this client (`boto3` or `cli`) ended so."""
    seen[operation].add(f"{client}:{outcome}")


def watch(client, service):
    """Notes all calls of a boto3 client."""

    def after(http_response, parsed, model, **_):
        error = parsed.get("Error", {}).get("Code")
        if http_response.status_code >= 300:
            note("boto3", model.name, error)
            return
        note("boto3", model.name, SUCCESS)
        if "Marker=" in http_response.url:
            note("boto3", model.name, PAGES)
        if model.http["method"] == "GET":
            if service.restarted:
                note("boto3", model.name, RESTART)
        else:
            service.changes.add(model.name)

    client.meta.events.register("after-call.lambda", after)


def survived(changes):
    """Notes that what these operations did was there after a restart."""
    for operation in changes:
        note("boto3", operation, RESTART)


@functools.cache
def model():
    """The model that the service is built from."""
    return json.loads(MODEL.read_text())


@functools.cache
def cli_commands():
    """The operations that the installed `aws` command knows; it brings a model of its own, often an older one."""
    import awscli

    data = Path(awscli.__file__).parent / "botocore/data"
    known = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    operations = known.load_service_model("lambda", "service-2", "2015-03-31")["operations"]
    # Streams of events are not for a command line, says the command's own code.
    return {name for name in operations if name != "InvokeWithResponseStream"}


def named(command):
    """The operation of a command: `GetFunction` of `get-function`."""
    return next(name for name in model()["operations"] if xform_name(name, "-") == command)


def has_payload(operation):
    """Whether the answer's body is passed on as it is, so that the command wants a file for it."""
    shape = model()["operations"][operation].get("output", {}).get("shape")
    return bool(shape) and "payload" in model()["shapes"][shape]


def members(operation):
    """Names of what an operation takes."""
    shape = model()["operations"][operation].get("input", {}).get("shape")
    return model()["shapes"][shape]["members"] if shape else {}


def required(operation):
    """Names of what an operation must be given."""
    shape = model()["operations"][operation].get("input", {}).get("shape")
    return model()["shapes"][shape].get("required", []) if shape else []


def is_paginated(operation):
    return "Marker" in members(operation)


def documented(operation):
    """Codes that the model lists with an operation, as the wire has them."""
    errors = model()["operations"][operation].get("errors", [])
    return [WIRE.get(error["shape"], error["shape"]) for error in errors]
