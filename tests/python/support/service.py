"""The service as a process: start it, wait for its word that it serves, stop it, see that nothing is left."""

import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from . import operations, processes, usage
from .waiting import until

BINARY = Path(os.environ.get("HOTHOUSE_TEST_BINARY") or Path(__file__).parents[3] / "target/debug/hothouse")
SCRATCH = Path(os.environ.get("HOTHOUSE_TEST_SCRATCH") or Path(__file__).parents[3] / "target/suite")

REGION = "us-east-1"
ACCOUNT = "000000000000"

# How long the binary may take to say that it serves: generous, as a build may run beside.
START_LIMIT = 20.0
# What issue and README promise for the end: three seconds, and as many again on a busy machine.
STOP_LIMIT = 6.0


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**more):
    """The environment without settings of AWS, LocalStack or Hothouse that would change what is tested."""
    foreign = ("AWS_", "HOTHOUSE_", "LAMBDA_", "LOCALSTACK_", "GATEWAY_", "LS_LOG", "PERSISTENCE", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **more}


class Service:
    """One run of the binary. `stop` and `kill` also check that no process of it is left."""

    def __init__(
        self, *options, home, environment=None, listen=None, ephemeral=True, binary=BINARY, user=None
    ):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        listeners = listen if listen is not None else [f"127.0.0.1:{self.port}"]
        self.command = [str(binary), "start", *(f"--listen={address}" for address in listeners)]
        self.command += ["--ephemeral"] * ephemeral + list(options)
        self.environment = clean_environment(XDG_DATA_HOME=str(home), **(environment or {}))
        # Another user than the tests', which only root can choose.
        self.identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.process = None
        self.lines = []
        self.ready_after = None
        self.exit_code = None
        # Which operations changed something here, and whether that was there before it started.
        self.changes = set()
        self.restarted = False

    def start(self, wait=True):
        """Starts the binary; returns when it printed `Ready.`."""
        if "--data-dir" in self.command:
            data = Path(self.command[self.command.index("--data-dir") + 1])
            self.restarted = any(data.glob("*.db"))
        said = queue.Queue()
        started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **self.identity,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, said), daemon=True)
        self.reader.start()
        if wait:
            deadline = started + START_LIMIT
            while True:
                try:
                    line = said.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    self.process.kill()
                    raise AssertionError(f"not ready within {START_LIMIT} s; it said:\n{self.log}") from None
                if line is None:
                    raise AssertionError(f"ended with {self.process.wait()} before it was ready:\n{self.log}")
                if line == "Ready.":
                    break
            self.ready_after = time.monotonic() - started
        return self

    def _read(self, stream, said):
        for line in stream:
            text = line.decode(errors="replace").rstrip("\n")
            self.lines.append(text)
            said.put(text)
        said.put(None)

    @property
    def log(self):
        """Everything that it printed so far."""
        return "\n".join(self.lines)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, with_signal=signal.SIGTERM, limit=STOP_LIMIT):
        """Asks it to end and waits; returns the seconds that it took."""
        if self.process is None:
            return 0.0
        below = processes.descendants(self.process.pid)
        started = time.monotonic()
        self.process.send_signal(with_signal)
        try:
            self.exit_code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {limit} s of {with_signal.name}:\n{self.log}") from None
        seconds = time.monotonic() - started
        self.process = None
        nothing_left(below)
        return seconds

    def refusal(self, limit=STOP_LIMIT):
        """Waits for a service that must not come up to end by itself; returns all that it said."""
        self.exit_code = self.process.wait(limit)
        self.reader.join(limit)
        self.process = None
        assert self.exit_code != 0, self.log
        return self.log

    def kill(self):
        """Ends it the hard way, as a crash or a power cut would."""
        below = processes.descendants(self.process.pid)
        self.process.kill()
        self.exit_code = self.process.wait()
        self.process = None
        nothing_left(below)

    def states(self, function):
        """States of a function's environments, as the service tells them."""
        with urllib.request.urlopen(f"{self.endpoint}/_hothouse/environments", timeout=20) as response:
            environments = json.load(response)["environments"]
        return [one["status"] for one in environments if one["functionName"] == function]

    def keeps_some_ready(self):
        """Waits until it has an interpreter ready, if it ever will: so that what it has can be counted."""
        if os.geteuid() == 0 and "isolation: full" in self.log.lower():
            until(lambda: usage.waiting_interpreters(self.process.pid), what="an interpreter that is ready")

    def client(self, name="lambda", region=REGION, access_key="test", **config):
        """A boto3 client of this service."""
        settings = {
            "retries": {"max_attempts": 0, "mode": "standard"},
            "read_timeout": 90,
            "max_pool_connections": 64,
        }
        client = boto3.client(
            name,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key="test",
            config=Config(**{**settings, **config}),
        )
        if name == "lambda":
            operations.watch(client, self)
        return client


def nothing_left(identities):
    """Waits until these processes are gone; whoever stays is named."""

    def gone():
        return not processes.alive(identities)

    try:
        until(gone, seconds=5, what="the end of all processes below the service")
    except AssertionError as error:
        left = [f"{pid}: {processes.command_line(pid)}" for pid, _ in sorted(processes.alive(identities))]
        raise AssertionError("still there after the service ended:\n" + "\n".join(left)) from error
