"""What a function finds around itself: variables, files, limits, credentials."""

import base64
import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
from support.functions import (
    NODE,
    NODE_PROBE,
    PROVIDED,
    PYTHON,
    ROLE,
    Functions,
    archive,
    error_of,
    folder,
    probe,
)
from support.service import BINARY, Service, clean_environment
from support.toolchains import need


@pytest.fixture(scope="module")
def python(shared_functions):
    variables = {"STAGE": "test", "EMPTY": "", "TZ": "Europe/Berlin", "QUOTED": "a b $HOME 'c'"}
    return shared_functions.create(Environment={"Variables": variables})


def test_variables_of_python(functions, python):
    variables = functions.invoke(python, {"do": "environment"}).value()
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": python,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{python}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": "probe.handler",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PYTHONPATH": "/var/runtime",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        # The customer's own; TZ is not reserved.
        "STAGE": "test",
        "EMPTY": "",
        "TZ": "Europe/Berlin",
        "QUOTED": "a b $HOME 'c'",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", variables["AWS_LAMBDA_LOG_STREAM_NAME"])
    assert re.fullmatch(r"[0-9.]+:\d+", variables["AWS_LAMBDA_RUNTIME_API"])
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= variables.keys()
    assert re.match(
        r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01]", variables["_X_AMZN_TRACE_ID"]
    )
    private = [
        name for name in variables if name.startswith("_HOTHOUSE") or name == "_LAMBDA_TELEMETRY_LOG_FD"
    ]
    assert private == []


def test_variables_of_node(functions):
    name = functions.create(probe("node"), **NODE_PROBE, MemorySize=512)
    variables = functions.invoke(name, {"do": "environment"}).value()
    assert variables["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{NODE}"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["NODE_PATH"].startswith(
        "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules"
    )
    assert variables["TZ"] == ":UTC"


RECORDED = Path(__file__).parents[2] / "crates/execution/src/environment/env_vars_recorded.txt"

# What differs from AWS, and why.
OURS = {
    "AWS_LAMBDA_FUNCTION_TIMEOUT": "LocalStack's: the limit that is enforced",
    "AWS_ENDPOINT_URL": "LocalStack's: SDKs find the service",
    "LOCALSTACK_HOSTNAME": "LocalStack's: for functions that read it",
    "EDGE_PORT": "LocalStack's: for functions that read it",
    "_X_AMZN_TRACE_ID": "set for each invocation, so not among what was recorded",
}
PLACES = {
    "AWS_LAMBDA_RUNTIME_API": "AWS's is on a link-local address of the environment",
    "AWS_XRAY_DAEMON_ADDRESS": "the same, for X-Ray's daemon",
    "_AWS_XRAY_DAEMON_ADDRESS": "the same",
    "_AWS_XRAY_DAEMON_PORT": "2000 unless the host's network is shared, and that port is taken",
}
SECRETS = {
    "AWS_ACCESS_KEY": "KEY",
    "AWS_ACCESS_KEY_ID": "KEY",
    "AWS_SECRET_ACCESS_KEY": "SECRET",
    "AWS_SECRET_KEY": "SECRET",
    "AWS_SESSION_TOKEN": "TOKEN",
}

# A bootstrap's own environment, before the shell adds to it, as the answer to everything.
DUMP = """#!/bin/bash
url="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  id=$(curl -sS -D - -o /dev/null "$url/next" | tr -d '\\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  curl -sS -o /dev/null "$url/$id/response" -d "\\"$(base64 -w0 /proc/$$/environ)\\""
done
"""


def recorded(runtime):
    """Variables of a function on AWS, where its name is `probe`."""
    lines = [line.split(" ", 1) for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
    return dict(variable.split("=", 1) for of, variable in lines if of in ("*", runtime))


def seen(functions, runtime, code, handler="index.handler"):
    """The variables of a function, with what is its own replaced as in the recording."""
    name = functions.create(
        code,
        Runtime=runtime,
        Handler=handler,
        MemorySize=1024,
        Environment={"Variables": {"TEST_KEY": "TEST_VAL"}},
    )
    variables = functions.invoke(name, {}).value()
    if isinstance(variables, str):
        pairs = base64.b64decode(variables).decode().split("\0")
        variables = dict(pair.split("=", 1) for pair in pairs if pair)
    replaced = {key: SECRETS.get(key, value.replace(name, "probe")) for key, value in variables.items()}
    assert replaced["_HANDLER"] == handler
    return {**replaced, "AWS_LAMBDA_LOG_STREAM_NAME": "STREAM", "_HANDLER": "index.handler"}


def differences(ours, theirs):
    names = (ours.keys() | theirs.keys()) - PLACES.keys()
    return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}


@pytest.mark.parametrize(
    "runtime",
    ["python3.8", "python3.9", "python3.10", "python3.11", "python3.14", "nodejs18.x", "nodejs24.x"],
)
def test_variables_are_those_of_aws(functions, runtime):
    if runtime.startswith("python"):
        code = {"index.py": "import os\n\ndef handler(event, context):\n    return dict(os.environ)\n"}
    else:
        code = {"index.js": "exports.handler = async () => ({ ...process.env });"}
    ours = seen(functions, runtime, code)
    if (
        runtime in ("python3.8", "python3.9", "python3.10", "python3.11")
        and ours.get("LC_CTYPE") == "C.UTF-8"
    ):
        # Python sets it where the machine lacks the locale of LANG, as AWS's images for 3.12 and later do.
        del ours["LC_CTYPE"]
    assert differences(ours, recorded(runtime)).keys() == OURS.keys()
    assert PLACES.keys() <= ours.keys()


def test_variables_of_a_custom_runtime_are_those_of_aws(functions):
    ours = seen(functions, PROVIDED, {"bootstrap!": DUMP})
    # Recorded with the runtimes above: no language, and no client that adds the trace.
    theirs = recorded("java21")
    for absent in ("AWS_EXECUTION_ENV", "_LAMBDA_TELEMETRY_LOG_FD"):
        del theirs[absent]
    assert differences(ours, theirs).keys() == OURS.keys() - {"_X_AMZN_TRACE_ID"}


JAVA = """
import java.util.Map;

public class Environment {
    public Map<String, String> show(Object event) {
        return System.getenv();
    }
}
"""


@pytest.mark.timeout(600)
def test_variables_of_java_are_those_of_aws(tmp_path, data_home):
    """With AWS's own client, which the service installs."""
    compiler = need("javac")
    (tmp_path / "Environment.java").write_text(JAVA)
    classes = tmp_path / "classes"
    subprocess.run([compiler, "--release", "11", "-d", classes, tmp_path / "Environment.java"], check=True)
    code = archive(folder(classes))
    runtimes = ["java11", "java21", "java25"]
    data = tmp_path / "data"
    synced = subprocess.run(
        [str(BINARY), "runtimes", "sync", *runtimes, "--data-dir", str(data)],
        env=clean_environment(XDG_DATA_HOME=str(data_home)),
        capture_output=True,
        text=True,
    )
    assert synced.returncode == 0, synced.stderr
    service = Service("--data-dir", str(data), home=data_home, ephemeral=False).start()
    try:
        functions = Functions(service.client())
        for runtime in runtimes:
            ours = seen(functions, runtime, code, "Environment::show")
            # Java tells the trace by a property; its variable, where it is, is that of the first invocation.
            ours["_X_AMZN_TRACE_ID"] = ""
            assert differences(ours, recorded(runtime)).keys() == OURS.keys(), runtime
    finally:
        service.stop()


def test_variables_may_be_4_kb_together(functions, client):
    """As JSON, names and quotes included."""
    name = functions.create()
    largest = {"A_B": "x" * (4096 - len('{"A_B":""}'))}
    functions.configure(name, Environment={"Variables": largest})
    assert functions.invoke(name, {"do": "environment"}).value()["A_B"] == largest["A_B"]
    too_large = {"A_B": largest["A_B"] + "x"}
    failure = error_of(
        client.update_function_configuration, FunctionName=name, Environment={"Variables": too_large}
    )
    assert tuple(failure) == (
        "InvalidParameterValueException",
        400,
        "Lambda was unable to configure your environment variables because the environment variables you have "
        "provided exceeded the 4KB limit. String measured: " + json.dumps(too_large, separators=(",", ":")),
    )


def test_reserved_variables_are_refused(functions, client):
    name = functions.create()
    variables = {"AWS_SESSION_TOKEN": "x", "FREE": "x", "AWS_REGION": "x", "_HANDLER": "x"}
    failure = error_of(
        client.update_function_configuration,
        FunctionName=name,
        Environment={"Variables": {key: value for key, value in variables.items() if key != "_HANDLER"}},
    )
    assert (failure.code, failure.status) == ("InvalidParameterValueException", 400)
    assert failure.message.startswith(
        "Lambda was unable to configure your environment variables because the environment variables you have "
        "provided contains reserved keys that are currently not supported for modification. "
        "Reserved keys used in this request: "
    )
    assert set(failure.message.rsplit(": ", 1)[1].split(", ")) == {"AWS_SESSION_TOKEN", "AWS_REGION"}
    # No name of a variable begins so.
    failure = error_of(
        client.update_function_configuration, FunctionName=name, Environment={"Variables": {"_HANDLER": "x"}}
    )
    assert (failure.code, failure.status) == ("ValidationException", 400)


def test_nothing_of_the_service_leaks_into_functions(start_service):
    from support.functions import Functions

    service = start_service(environment={"SECRET_OF_THE_SHELL": "hidden"})
    functions = Functions(service.client())
    assert "SECRET_OF_THE_SHELL" not in functions.invoke(functions.create(), {"do": "environment"}).value()


def test_files_and_processes(functions, python):
    view = functions.invoke(python, {"do": "look"}).value()
    assert view["cwd"] == "/var/task"
    assert view["task"] == ["probe.py"]
    assert view["writable"]["/tmp"] is True
    assert view["writable"]["/var/task"] is False


def test_what_full_isolation_hides(functions, python, service):
    """Skipped where the machine does not let the service isolate fully; it says so at its start."""
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    view = functions.invoke(python, {"do": "look"}).value()
    assert view["writable"] == {"/tmp": True, "/var/task": False, "/": False, "/usr": False, "/opt": False}
    assert view["processes"] <= 3
    assert view["uid"] != 0


INSPECT = """
import getpass, os, platform, pwd, resource, stat, subprocess, sys, time

def handler(event, context):
    def look(path):
        found = os.stat(path)
        return [stat.filemode(found.st_mode), found.st_uid, found.st_gid]

    return {
        "paths": {path: look(path) for path in ("/var/task", "/opt", "/tmp")},
        "user": [getpass.getuser(), subprocess.getoutput("whoami"), os.getuid(), os.getgid()],
        "home": [os.environ.get("HOME"), os.path.expanduser("~")],
        "limits": {
            name: list(resource.getrlimit(getattr(resource, name)))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "cwd": os.getcwd(),
        "machine": [platform.system(), platform.machine()],
        "zone": [time.tzname[0], time.timezone],
        "tmp": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize,
        "search": sys.path,
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
    }
"""

# As recorded on AWS.
LIMITS = {
    "RLIMIT_AS": [-1, -1],
    "RLIMIT_CORE": [10737418240, 10737418240],
    "RLIMIT_CPU": [-1, -1],
    "RLIMIT_DATA": [-1, -1],
    "RLIMIT_FSIZE": [-1, -1],
    "RLIMIT_MEMLOCK": [65536, 65536],
    "RLIMIT_NOFILE": [1024, 1024],
    "RLIMIT_NPROC": [742, 742],
    "RLIMIT_RSS": [-1, -1],
    "RLIMIT_STACK": [8388608, -1],
}


@pytest.fixture
def fully_isolated(service):
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")


@pytest.mark.usefixtures("fully_isolated")
def test_python_finds_the_surroundings_of_aws(functions):
    name = functions.create(
        {"main.py": INSPECT}, Runtime=PYTHON, Handler="main.handler", EphemeralStorage={"Size": 600}
    )
    found = functions.invoke(name, {}).value()
    modes = {path: mode for path, (mode, _, _) in found["paths"].items()}
    assert modes == {"/var/task": "drwxr-xr-x", "/opt": "drwxr-xr-x", "/tmp": "drwxrwxrwt"}
    # AWS's are root's; where that is not mapped, they are nobody's.
    assert {owner for _, *owners in found["paths"].values() for owner in owners} <= {0, 65534}
    assert found["user"] == ["sbx_user1051", "sbx_user1051", 993, 990]
    assert found["home"] == [None, "/home/sbx_user1051"]
    assert {name: found["limits"][name] for name in LIMITS} == LIMITS
    assert found["cwd"] == "/var/task"
    assert found["machine"][0] == "Linux"
    assert found["zone"] == ["UTC", 0]
    assert found["tmp"] == 600 * 1024 * 1024
    version = PYTHON.removeprefix("python")
    places = ["/var/task", f"/opt/python/lib/python{version}/site-packages", "/opt/python", "/var/runtime"]
    assert [place for place in found["search"] if place in places] == places


NODE_INSPECT = """
const fs = require('fs'), os = require('os'), { execSync } = require('child_process');
exports.handler = async () => ({
  cwd: process.cwd(),
  user: [os.userInfo().username, process.getuid(), os.homedir()],
  files: execSync('ulimit -n; ulimit -u').toString().split('\\n'),
  zone: new Date(0).toString(),
  argv: process.argv.slice(1).filter((argument) => !argument.startsWith('/var/runtime')),
  tmp: (fs.statSync('/tmp').mode & 0o7777).toString(8),
});
"""


@pytest.mark.usefixtures("fully_isolated")
def test_node_finds_the_surroundings_of_aws(functions):
    name = functions.create({"main.js": NODE_INSPECT}, Runtime=NODE, Handler="main.handler")
    found = functions.invoke(name, {}).value()
    assert found["cwd"] == "/var/task"
    assert found["user"] == ["sbx_user1051", 993, "/home/sbx_user1051"]
    assert found["files"][:2] == ["1024", "742"]
    assert found["zone"].startswith("Thu Jan 01 1970 00:00:00 GMT+0000")
    assert found["tmp"] == "1777"


SHELL_INSPECT = """#!/bin/bash
url="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  id=$(curl -sS -D - -o /dev/null "$url/next" | tr -d '\\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  answer="\\"$(pwd) $(whoami) $(id -u) $(ulimit -n) $(ulimit -u) $(date +%z) $0 $_HANDLER\\""
  curl -sS -o /dev/null "$url/$id/response" -d "$answer"
done
"""


@pytest.mark.usefixtures("fully_isolated")
def test_a_custom_runtime_finds_the_surroundings_of_aws(functions):
    name = functions.create({"bootstrap!": SHELL_INSPECT}, Runtime=PROVIDED, Handler="any:text")
    found = functions.invoke(name, {}).value()
    assert found == "/var/task sbx_user1051 993 1024 742 +0000 /var/task/bootstrap any:text"


def test_the_user_of_functions_can_be_named(start_service):
    service = start_service(environment={"LAMBDA_INIT_USER": "worker"})
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    functions = Functions(service.client())
    name = functions.create({"main.py": INSPECT}, Runtime=PYTHON, Handler="main.handler")
    found = functions.invoke(name, {}).value()
    assert (found["user"], found["home"]) == (["worker", "worker", 993, 990], [None, "/home/worker"])


@pytest.mark.parametrize("setting", [{"LAMBDA_INIT_USER": "root"}, {"LAMBDA_INIT_DEBUG": "1"}])
def test_functions_may_see_themselves_as_root(start_service, setting):
    service = start_service(environment=setting)
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    functions = Functions(service.client())
    name = functions.create({"main.py": INSPECT}, Runtime=PYTHON, Handler="main.handler")
    assert functions.invoke(name, {}).value()["user"] == ["root", "root", 0, 0]
    # That is a name only: what is not theirs stays so.
    name = functions.create()
    assert functions.invoke(name, {"do": "look"}).value()["writable"] == {
        "/tmp": True,
        "/var/task": False,
        "/": False,
        "/usr": False,
        "/opt": False,
    }


BACKGROUND = """
import threading, time

def handler(event, context):
    threading.Timer(0.2, lambda: print("from the background", flush=True)).start()
"""


def test_an_answer_may_wait_for_what_is_logged_in_the_background(start_service):
    service = start_service(environment={"LAMBDA_INIT_POST_INVOKE_WAIT_MS": "2000"})
    functions = Functions(service.client())
    name = functions.create({"main.py": BACKGROUND}, Runtime=PYTHON, Handler="main.handler")
    assert "from the background" in functions.invoke(name, {}, LogType="Tail").tail


CALLS = """
import os, socket, urllib.request

def handler(event, context):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    health = urllib.request.urlopen(endpoint + "/_hothouse/health", timeout=10).status
    try:
        socket.create_connection(("127.0.0.1", event["port"]), 10).close()
        host = "reached"
    except OSError as error:
        host = type(error).__name__
    return [os.environ["AWS_LAMBDA_RUNTIME_API"], health, host]
"""


def test_an_isolated_network_holds_the_service_and_nothing_of_the_host(start_service):
    service = start_service("--network=isolated")
    if "isolation: full" not in service.log.lower():
        pytest.skip("the service reports less than full isolation on this machine")
    functions = Functions(service.client())
    name = functions.create({"main.py": CALLS}, Runtime=PYTHON, Handler="main.handler", Timeout=30)
    with socket.socket() as host:
        host.bind(("127.0.0.1", 0))
        host.listen()
        answer = functions.invoke(name, {"port": host.getsockname()[1]}).value()
    assert answer == ["127.0.0.1:9001", 200, "ConnectionRefusedError"]


def test_tmp_is_kept_between_invocations_and_not_shared(functions):
    one, two = functions.create(), functions.create()
    functions.invoke(one, {"do": "write", "path": "/tmp/note", "text": "mine"})
    assert functions.invoke(one, {"do": "read", "path": "/tmp/note"}).value() == "mine"
    assert (
        functions.invoke(two, {"do": "read", "path": "/tmp/note"}).payload["errorType"] == "FileNotFoundError"
    )


def test_credentials_are_of_the_execution_role(functions, boto3_in_functions):
    """boto3 in a function finds the service, and the service knows the function by its role."""
    name = functions.create(boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60)
    event = {"do": "aws", "service": "sts", "operation": "get_caller_identity"}
    identity = functions.invoke(name, event).value()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{ROLE.rsplit('/', 1)[1]}/{name}"


def test_a_function_invokes_another(functions, boto3_in_functions):
    name = functions.create(boto3_in_functions(), Runtime=PYTHON, Handler="probe.handler", Timeout=60)
    other = functions.create()
    event = {
        "do": "aws",
        "service": "lambda",
        "operation": "get_function",
        "parameters": {"FunctionName": other},
    }
    assert functions.invoke(name, event).value()["Configuration"]["FunctionName"] == other


def test_the_endpoint_can_be_left_out(start_service):
    from support.functions import Functions

    service = start_service(environment={"LAMBDA_DISABLE_AWS_ENDPOINT_URL": "1"})
    functions = Functions(service.client())
    assert "AWS_ENDPOINT_URL" not in functions.invoke(functions.create(), {"do": "environment"}).value()
