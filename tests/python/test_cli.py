"""Our own command line against a running service: data on stdout, talk on stderr, hints with errors."""

import json
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from support.functions import unique
from support.service import BINARY, Service, clean_environment, free_port
from support.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def hothouse(service, data_home):
    """Runs a command of the binary; the service is named by the variable that other AWS clients read."""
    environment = clean_environment(AWS_ENDPOINT_URL=service.endpoint, XDG_DATA_HOME=str(data_home))

    def run(*arguments, stdin=None, code=0, **more):
        done = subprocess.run(
            [str(BINARY), *arguments],
            env={**environment, **more},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, f"ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    run.environment = environment
    return run


def test_invoke_prints_the_result_and_the_log_apart(hothouse, functions, tmp_path):
    name = functions.create()
    done = hothouse("invoke", name, "-p", '{"do": "say", "lines": ["to the log"]}')
    assert done.stdout.strip() == "1"
    assert "to the log" in done.stderr
    (tmp_path / "event.json").write_text('{"from": "a file"}')
    assert json.loads(hothouse("invoke", name, "-p", f"@{tmp_path}/event.json").stdout) == {"from": "a file"}
    assert json.loads(hothouse("invoke", name, "-p", "-", stdin='{"from": "stdin"}').stdout) == {
        "from": "stdin"
    }


def test_invoke_fails_when_the_function_does(hothouse, functions):
    name = functions.create()
    done = hothouse("invoke", name, "-p", '{"do": "fail"}', code=1)
    assert json.loads(done.stdout)["errorType"] == "ValueError"


def test_invoke_of_an_unknown_function_gives_a_hint(hothouse):
    done = hothouse("invoke", unique("nobody"), code=1)
    assert done.stdout == ""
    assert "hint:" in done.stderr


def test_a_service_that_is_not_there_gives_a_hint(hothouse):
    done = hothouse("ls", code=1, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    assert "hint:" in done.stderr
    assert "--endpoint" in done.stderr


def test_ls_and_ps_list(hothouse, functions):
    name = functions.create()
    functions.invoke(name, 1)
    assert name in hothouse("ls").stdout
    assert name in [one["functionName"] for one in json.loads(hothouse("ps", "--json").stdout)]
    line = next(line for line in hothouse("ps").stdout.splitlines() if name in line)
    assert "ready" in line


def test_logs_follow(hothouse, functions):
    name = functions.create()
    functions.invoke(name, {"do": "say", "lines": ["before"]})
    until(lambda: "before" in hothouse("logs", name).stdout, what="the first line")
    following = subprocess.Popen(
        [str(BINARY), "logs", name, "--follow"],
        env=hothouse.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(following.stdout), daemon=True)
    reader.start()
    try:
        until(lambda: any("before" in line for line in list(lines)), what="the line from before")
        functions.invoke(name, {"do": "say", "lines": ["after"]})
        until(lambda: any("after" in line for line in list(lines)), what="the line that came later")
    finally:
        following.terminate()  # not SIGINT, which a suite in the background has it ignore
        following.wait(10)


def test_logs_of_one_environment(hothouse, functions):
    name = functions.create()
    environment = functions.invoke(name, {"do": "identify"}).value()["environment"].rsplit("]", 1)[1]
    functions.invoke(name, {"do": "say", "lines": ["by the first"]})
    functions.configure(name, Description="ends it")
    functions.invoke(name, {"do": "say", "lines": ["by the second"]})
    until(lambda: "by the second" in hothouse("logs", name).stdout, what="the last line")
    # Its whole log, though it has ended; the beginning of its id will do, with the function's name or without.
    for arguments in (["--environment", environment], ["-e", environment[:12]], [name, "-e", environment[:12]]):
        lines = hothouse("logs", *arguments).stdout.splitlines()
        assert lines[0].startswith("INIT_START ")
        assert "by the first" in lines
        assert "by the second" not in lines
        assert lines[-1].startswith("REPORT ")
    # Another function has not got it.
    other = functions.create()
    functions.invoke(other, 1)
    refused = hothouse("logs", other, "-e", environment, code=1).stderr
    assert f"failed to find the log of environment `{environment}`" in refused
    assert "hint: `hothouse ps --all` lists environments" in refused
    assert "32 hex digits" in hothouse("logs", "-e", "nonsense", code=1).stderr


def test_the_beginning_of_an_environments_id_must_fit_one(hothouse, service):
    logs = service.client("logs")
    group = unique("/app/environments")
    logs.create_log_group(logGroupName=group)
    beginning = uuid.uuid4().hex[:31]
    for digit in "0a":
        logs.create_log_stream(logGroupName=group, logStreamName=f"2026/11/23/f[1]{beginning}{digit}")
    refused = hothouse("logs", "-e", beginning, code=1).stderr
    assert f"2 ids begin so: {beginning}0, {beginning}a" in refused
    assert "hint: give more digits" in refused


def test_env_can_be_evaluated(hothouse, service):
    exports = hothouse("env", "--endpoint", service.endpoint).stdout
    shown = subprocess.run(
        ["sh", "-c", exports + "\necho $AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_REGION"],
        capture_output=True,
        text=True,
    ).stdout
    assert shown.split() == [service.endpoint, "test", "us-east-1"]


def test_doctor_lists_runtimes(hothouse):
    shown = hothouse("doctor").stdout.lower()
    assert "python" in shown
    assert "isolation" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(hothouse, shell):
    assert "hothouse" in hothouse("completions", shell).stdout


def test_an_option_can_be_given_by_variable_and_localstack_name(hothouse):
    shown = hothouse(
        "config", GATEWAY_LISTEN="127.0.0.1:1234", LAMBDA_KEEPALIVE_MS="5000", HOTHOUSE_LOG_LEVEL="debug"
    ).stdout
    rows = {line.split()[0]: line for line in shown.splitlines()[1:]}
    assert "127.0.0.1:1234" in rows["listen"]
    assert "GATEWAY_LISTEN" in rows["listen"]
    assert "5s" in rows["keep-alive"] or "5000" in rows["keep-alive"]
    assert "debug" in rows["log-level"]


class Dev(Service):
    """`hothouse dev` on a folder."""

    def __init__(self, folder, home, data):
        super().__init__("--data-dir", str(data), home=home, ephemeral=False)
        self.command[1:2] = ["dev", str(folder)]


@pytest.fixture
def dev(data_home, tmp_path):
    started = []

    def start(folder):
        started.append(Dev(folder, data_home, tmp_path / "data"))
        return started[-1].start()

    yield start
    for service in started:
        service.stop()
        assert "panicked" not in service.log, service.log


def shown_invoke(service):
    """The commands that `dev` offers to paste."""
    return [line.strip() for line in service.lines if " invoke " in line and "hothouse" in line]


def test_dev_deploys_the_hello_example(dev):
    service = dev(EXAMPLES / "hello")
    client = service.client()
    names = until(
        lambda: [one["FunctionName"] for one in client.list_functions()["Functions"]],
        what="functions of the example",
    )
    until(lambda: len(shown_invoke(service)) >= len(names), what="an invoke to paste for each")
    for name in names:
        assert any(name in line for line in shown_invoke(service))
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
        )
        reply = client.invoke(FunctionName=name, Payload=b"{}")
        assert "FunctionError" not in reply, reply["Payload"].read()
    until(
        lambda: any("REPORT" in line or " ms" in line for line in service.lines),
        what="a word about the invocation",
    )


def test_dev_takes_a_function_per_file_and_sees_changes(dev, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "greet.py").write_text("def handler(event, context):\n    return 'one'\n")
    service = dev(folder)
    client = service.client()

    def answer():
        try:
            return client.invoke(FunctionName="greet", Payload=b"{}")["Payload"].read()
        except (client.exceptions.ResourceNotFoundException, client.exceptions.ResourceConflictException):
            return None

    until(lambda: answer() == b'"one"', what="the function of the file")
    (folder / "greet.py").write_text("def handler(event, context):\n    return 'two'\n")
    until(lambda: answer() == b'"two"', what="the change of the file")
