"""AWS's SDKs for functions: `runtimes sync` installs them, and without them the log says how to get them."""

import shutil
import subprocess

import pytest
from support.functions import NODE, PYTHON, Functions
from support.service import BINARY, Service, clean_environment
from support.toolchains import java, need

IMPORTS_BOTO3 = """
import boto3

def handler(event, context):
    return boto3.client("sts").get_caller_identity()["Arn"]
"""
REQUIRES_SDK = """
const { LambdaClient, ListFunctionsCommand } = require('@aws-sdk/client-lambda');
exports.handler = async () => (await new LambdaClient({}).send(new ListFunctionsCommand({}))).Functions.length;
"""
IMPORTS_SDK = """
import { S3Client } from '@aws-sdk/client-s3';
export const handler = async () => typeof S3Client;
"""


def sync(data, data_home, *runtimes):
    """Installs what functions of these runtimes expect."""
    return subprocess.run(
        [str(BINARY), "runtimes", "sync", *runtimes, "--data-dir", str(data)],
        env=clean_environment(XDG_DATA_HOME=str(data_home)),
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def synced(tmp_path_factory, data_home):
    """A service whose data directory has the SDKs."""
    need("npm")
    data = tmp_path_factory.mktemp("synced")
    done = sync(data, data_home, PYTHON, NODE)
    assert done.returncode == 0, done.stderr
    service = Service("--data-dir", str(data), home=data_home, ephemeral=False).start()
    functions = Functions(service.client())
    yield functions
    functions.clean()
    service.stop()
    shutil.rmtree(data)


@pytest.mark.timeout(300)
def test_boto3_is_there(synced):
    name = synced.create({"main.py": IMPORTS_BOTO3}, Runtime=PYTHON, Handler="main.handler", Timeout=60)
    assert synced.invoke(name).value() == f"arn:aws:sts::000000000000:assumed-role/test/{name}"


@pytest.mark.timeout(300)
def test_a_functions_own_boto3_wins(synced):
    files = {
        "main.py": "import boto3\nhandler = lambda event, context: boto3.MINE\n",
        "boto3.py": "MINE = 'own'\n",
    }
    name = synced.create(files, Runtime=PYTHON, Handler="main.handler")
    assert synced.invoke(name).value() == "own"


@pytest.mark.timeout(300)
def test_the_sdk_for_javascript_is_there(synced):
    name = synced.create({"main.js": REQUIRES_SDK}, Runtime=NODE, Handler="main.handler", Timeout=60)
    assert synced.invoke(name).value() >= 1
    name = synced.create({"main.mjs": IMPORTS_SDK}, Runtime=NODE, Handler="main.handler", Timeout=60)
    assert synced.invoke(name).value() == "function"


@pytest.mark.parametrize(
    ("files", "runtime"), [({"main.py": IMPORTS_BOTO3}, PYTHON), ({"main.js": REQUIRES_SDK}, NODE)]
)
def test_without_the_sdks_the_log_has_a_hint(functions, files, runtime):
    name = functions.create(files, Runtime=runtime, Handler="main.handler")
    reply = functions.invoke(name, LogType="Tail")
    assert reply.payload["errorType"] == "Runtime.ImportModuleError"
    assert "hothouse runtimes sync" in reply.tail


@pytest.mark.timeout(600)
def test_java_runs_on_the_client_that_was_installed(tmp_path, data_home):
    code = java(with_client=False)
    done = sync(tmp_path, data_home, "java21")
    assert done.returncode == 0, done.stderr
    service = Service("--data-dir", str(tmp_path), home=data_home, ephemeral=False).start()
    try:
        functions = Functions(service.client())
        handler = "hothouse.Echo::handleRequest"
        name = functions.create(code, Runtime="java21", Handler=handler, MemorySize=512, Timeout=60)
        assert functions.invoke(name, {"text": "ä"}).value() == {"text": "ä"}
        assert functions.invoke(name, {"do": "fail"}).payload["errorMessage"] == "on purpose"
    finally:
        service.stop()
