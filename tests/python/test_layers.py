"""Layers: published, shared and given to functions, which find them in `/opt` at every level of isolation."""

import io
import urllib.request
import zipfile

import pytest
from support.functions import NODE, PROVIDED, PYTHON, ROLE, Functions, archive, error_of, unique
from support.service import ACCOUNT, free_port

OTHER = "210987654321"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer"
LEVELS = ["full", "partial", "none"]


class Layers:
    """Publishes layers through a client and removes them when the test is over."""

    def __init__(self, client):
        self.client = client
        self.made = []

    def publish(self, files, name=None, **parameters):
        """Publishes a layer of `{name: text or bytes}`; returns the answer."""
        answer = self.client.publish_layer_version(
            LayerName=name or unique("layer"), Content={"ZipFile": archive(files)}, **parameters
        )
        self.made.append((answer["LayerArn"], answer["Version"]))
        return answer

    def arn(self, files, **parameters):
        return self.publish(files, **parameters)["LayerVersionArn"]

    def clean(self):
        for name, version in self.made:
            self.client.delete_layer_version(LayerName=name, VersionNumber=version)


@pytest.fixture
def layers(client):
    layers = Layers(client)
    yield layers
    layers.clean()


@pytest.fixture(scope="module", params=LEVELS)
def at_level(request, data_home):
    """Functions and layers in a service with this level of isolation."""
    from support.service import Service

    service = Service(f"--isolation={request.param}", home=data_home)
    service.start()
    client = service.client()
    yield request.param, Functions(client), Layers(client)
    service.stop()
    assert "panicked" not in service.log, service.log[-4000:]


LOOK = """
import os

def handler(event, context):
    import low, high
    writable = True
    try:
        open(os.path.join(os.path.dirname(low.__file__), "new"), "w")
    except OSError:
        writable = False
    return {
        "low": low.NAME,
        "high": high.NAME,
        "both": __import__("both").NAME,
        "only": [low.__file__, high.__file__],
        "writable": writable,
    }
"""


def modules(*names, value):
    return {f"python/{name}.py": f"NAME = {value!r}" for name in names}


@pytest.mark.parametrize("order", ["low first", "high first"])
def test_python_imports_from_all_layers_and_the_last_one_counts(at_level, order):
    level, functions, layers = at_level
    low = layers.arn(modules("low", "both", value="low"))
    high = layers.arn(modules("high", "both", value="high"))
    used = [low, high] if order == "low first" else [high, low]
    name = functions.create({"main.py": LOOK}, Runtime=PYTHON, Handler="main.handler", Layers=used)
    seen = functions.invoke(name).value()
    assert (seen["low"], seen["high"]) == ("low", "high")
    assert seen["both"] == ("high" if order == "low first" else "low")
    if level != "none":
        assert seen["only"] == ["/opt/python/low.py", "/opt/python/high.py"]
        assert not seen["writable"]


def test_python_finds_packages_of_its_own_version_first(at_level):
    _, functions, layers = at_level
    version = PYTHON.removeprefix("python")
    files = {
        f"python/lib/python{version}/site-packages/which.py": "NAME = 'own'",
        "python/which.py": "NAME = 'any'",
    }
    source = "import which\nhandler = lambda event, context: which.NAME"
    name = functions.create(
        {"main.py": source}, Runtime=PYTHON, Handler="main.handler", Layers=[layers.arn(files)]
    )
    assert functions.invoke(name).value() == "own"


def test_node_requires_and_imports_from_all_layers(at_level):
    _, functions, layers = at_level

    def packages(*names, value):
        return {f"nodejs/node_modules/{name}/index.js": f"exports.name = '{value}'" for name in names}

    low = layers.arn(packages("low", "both", value="low"))
    high = layers.arn(packages("high", "both", value="high"))
    required = """
        const names = ["low", "high", "both"].map(name => require(name).name);
        exports.handler = async () => names;
    """
    imported = """
        import low from "low";
        import both from "both";
        export const handler = async () => [low.name, both.name];
    """
    files = {"required.js": required, "imported.mjs": imported}
    used = {"Runtime": NODE, "Layers": [low, high]}
    name = functions.create(files, Handler="required.handler", **used)
    assert functions.invoke(name).value() == ["low", "high", "high"]
    name = functions.create(files, Handler="imported.handler", **used)
    assert functions.invoke(name).value() == ["low", "high"]


def test_programs_and_libraries_of_layers_are_found(at_level):
    level, functions, layers = at_level
    layer = layers.arn({"bin/greet!": "#!/bin/sh\necho hello", "lib/data": "x"})
    source = """
import os, subprocess

def handler(event, context):
    directories = os.environ["LD_LIBRARY_PATH"].split(":")
    found = [directory for directory in directories if os.path.exists(os.path.join(directory, "data"))]
    return [subprocess.check_output(["greet"], text=True), len(found)]
"""
    name = functions.create({"main.py": source}, Runtime=PYTHON, Handler="main.handler", Layers=[layer])
    assert functions.invoke(name).value() == ["hello\n", 1]


def test_a_custom_runtime_may_be_a_layer(at_level):
    _, functions, layers = at_level
    bootstrap = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
    headers=$(mktemp)
    curl -sS -o /tmp/event -D "$headers" "$api/next"
    id=$(tr -d '\\r' < "$headers" | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
    curl -sS -d "\\"$(cat "$LAMBDA_TASK_ROOT/word")\\"" "$api/$id/response" > /dev/null
done
"""
    old = layers.arn({"bootstrap!": "#!/bin/sh\nexit 1"})
    new = layers.arn({"bootstrap!": bootstrap})
    name = functions.create({"word": "mine"}, Runtime=PROVIDED, Handler="any", Layers=[old, new])
    assert functions.invoke(name).value() == "mine"


def test_an_update_of_layers_is_for_the_next_invocation(client, functions, layers):
    source = "import os\nhandler = lambda event, context: sorted(os.listdir('/opt'))"
    name = functions.create({"main.py": source}, Runtime=PYTHON, Handler="main.handler")
    one, two = layers.arn({"one": ""}), layers.arn({"two": ""})
    for used, expected in (([], []), ([one], ["one"]), ([two, one], ["one", "two"]), ([], [])):
        functions.configure(name, Layers=used)
        assert functions.invoke(name).value() == expected


def test_deleted_versions_work_on_in_the_functions_that_have_them(client, functions, layers):
    source = "handler = lambda event, context: open('/opt/text').read()"
    layer = layers.publish({"text": "still here"})
    other = layers.arn({"more": ""})
    name = functions.create(
        {"main.py": source},
        Runtime=PYTHON,
        Handler="main.handler",
        Layers=[layer["LayerVersionArn"], other],
    )
    layers.clean()
    functions.configure(name, MemorySize=256)
    version = client.publish_version(FunctionName=name)["Version"]
    for qualifier in ("$LATEST", version):
        assert functions.invoke(name, Qualifier=qualifier).value() == "still here"
    failure = error_of(client.update_function_configuration, FunctionName=name, Layers=[other])
    assert (failure.code, failure.message) == (
        "InvalidParameterValueException",
        f"Layer version {other} does not exist.",
    )


def test_layers_of_other_accounts_need_their_permission(client, service, functions):
    theirs = Layers(service.client(access_key=OTHER))
    layer = theirs.publish({"text": "theirs"})
    arn = layer["LayerVersionArn"]
    source = "handler = lambda event, context: open('/opt/text').read()"
    name = functions.create({"main.py": source}, Runtime=PYTHON, Handler="main.handler")
    for failure in (
        error_of(client.get_layer_version_by_arn, Arn=arn),
        error_of(client.update_function_configuration, FunctionName=name, Layers=[arn]),
    ):
        assert (failure.code, failure.status) == ("AccessDeniedException", 403)
        assert failure.message == (
            f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:GetLayerVersion on "
            f"resource: {arn} because no resource-based policy allows the lambda:GetLayerVersion action"
        )
    theirs.client.add_layer_version_permission(
        LayerName=layer["LayerArn"],
        VersionNumber=1,
        StatementId="friend",
        Action="lambda:GetLayerVersion",
        Principal=ACCOUNT,
    )
    functions.configure(name, Layers=[arn])
    assert functions.invoke(name).value() == "theirs"
    assert client.get_layer_version_by_arn(Arn=arn)["Content"]["CodeSize"] == layer["Content"]["CodeSize"]
    theirs.clean()


def test_the_download_is_what_was_uploaded(layers):
    published = layers.publish({"a": "text"})
    with urllib.request.urlopen(published["Content"]["Location"], timeout=20) as response:
        assert response.read() == archive({"a": "text"})


def test_lists_have_pages(client, layers):
    name = unique("pages")
    for number in range(5):
        runtimes = [PYTHON] if number % 2 else [NODE]
        layers.publish({"a": str(number)}, name=name, CompatibleRuntimes=runtimes)
    layers.publish({"a": ""}, name=name + "-2", CompatibleRuntimes=[PYTHON])

    pages = client.get_paginator("list_layer_versions")
    pages = pages.paginate(LayerName=name, PaginationConfig={"PageSize": 2})
    found = [[version["Version"] for version in page["LayerVersions"]] for page in pages]
    assert found == [[5, 4], [3, 2], [1]]
    of_python = client.list_layer_versions(LayerName=name, CompatibleRuntime=PYTHON)["LayerVersions"]
    assert [version["Version"] for version in of_python] == [4, 2]

    pages = client.get_paginator("list_layers")
    pages = pages.paginate(CompatibleRuntime=PYTHON, PaginationConfig={"PageSize": 1})
    found = [layer for page in pages for layer in page["Layers"] if layer["LayerName"].startswith(name)]
    assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in found] == [
        (name, 4),
        (name + "-2", 1),
    ]


@pytest.mark.parametrize("operation", ["publish", "create", "update"])
def test_layers_have_limits(service, client, functions, layers, operation):
    if operation == "publish":
        large = io.BytesIO()
        with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr("large", bytes(262144001))
        content = {"ZipFile": large.getvalue()}
        failure = error_of(client.publish_layer_version, LayerName=unique("large"), Content=content)
        assert (failure.code, failure.message) == (
            "InvalidParameterValueException",
            "Unzipped size must be smaller than 262144000 bytes",
        )
        return
    used = [layers.arn({"a": ""}) for _ in range(6)]
    code = archive({"main.py": "handler = print"})
    if operation == "create":
        failure = error_of(
            client.create_function,
            FunctionName=unique(),
            Role=ROLE,
            Runtime=PYTHON,
            Handler="main.handler",
            Code={"ZipFile": code},
            Layers=used,
        )
    else:
        name = functions.create(code, Runtime=PYTHON, Handler="main.handler")
        failure = error_of(client.update_function_configuration, FunctionName=name, Layers=used)
    assert (failure.code, failure.message) == (
        "InvalidParameterValueException",
        "Cannot reference more than 5 layers.",
    )


def test_all_is_there_after_a_restart(start_service, tmp_path):
    port = free_port()
    options = (f"--data-dir={tmp_path}",)
    listen = [f"127.0.0.1:{port}"]
    source = "import os\nhandler = lambda event, context: sorted(os.listdir('/opt'))"

    service = start_service(*options, ephemeral=False, listen=listen)
    service.port, service.endpoint = port, f"http://127.0.0.1:{port}"
    client = service.client()
    layers, functions = Layers(client), Functions(client)
    used = [layers.arn({"one": ""}), layers.arn({"two": ""})]
    name = layers.publish({"three": ""}, Description="kept")["LayerArn"]
    client.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="*"
    )
    function = functions.create({"main.py": source}, Runtime=PYTHON, Handler="main.handler", Layers=used)

    def told(client):
        answers = [
            client.list_layers(),
            client.get_layer_version(LayerName=name, VersionNumber=1),
            client.get_layer_version_by_arn(Arn=used[0]),
            client.list_layer_versions(LayerName=name),
            client.get_layer_version_policy(LayerName=name, VersionNumber=1),
        ]
        for answer in answers:
            del answer["ResponseMetadata"]
        return answers

    before = told(client)
    service.stop()
    service = start_service(*options, ephemeral=False, listen=listen)
    service.port, service.endpoint = port, f"http://127.0.0.1:{port}"
    client = service.client()
    assert told(client) == before
    assert Functions(client).invoke(function).value() == ["one", "two"]
    client.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="s")
    assert error_of(client.get_layer_version_policy, LayerName=name, VersionNumber=1).status == 404
    client.delete_layer_version(LayerName=name, VersionNumber=1)
    again = client.publish_layer_version(LayerName=name, Content={"ZipFile": archive({"a": ""})})
    assert again["Version"] == 2
