"""Versions of Node.js on the machine, and a runner for handlers written in a test."""

import functools
import glob
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CLIENT.parent / "python" / "tests"))

from fake_runtime_api import Event, run_client  # noqa: E402


@functools.cache
def interpreters():
    """One Node.js per major version, by version."""
    nvm = os.environ.get("NVM_DIR", os.path.expanduser("~/.nvm"))
    candidates = [shutil.which("node"), *sorted(glob.glob(f"{nvm}/versions/node/*/bin/node"))]
    candidates += os.environ.get("HOTHOUSE_TEST_NODES", "").split(os.pathsep)
    found = {}
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-p", "process.versions.node"], capture_output=True, text=True)
        if answer.returncode == 0:
            found.setdefault(answer.stdout.split(".")[0], candidate)
    return found


def pytest_generate_tests(metafunc):
    if "node" in metafunc.fixturenames:
        versions = sorted(interpreters(), key=int)
        metafunc.parametrize("node", versions or [pytest.param(None, marks=pytest.mark.skip("no Node.js on the PATH"))])


@pytest.fixture
def run(node, tmp_path):
    """Runs a handler's source; `generation` is the runtime that the function believes to have."""

    def run_source(source="", payloads=(None,), handler="index.handler", name="index.js", files=None, generation=20, variables=None, **rest):
        task_root = tmp_path / "task"
        for path, text in {name: source, **(files or {})}.items():
            path = task_root / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        events = [payload if isinstance(payload, Event) else Event(payload) for payload in payloads]
        variables = {"AWS_EXECUTION_ENV": f"AWS_Lambda_nodejs{generation}.x", **(variables or {})}
        command = [interpreters()[node], str(CLIENT / "index.mjs")]
        return run_client(command, task_root, handler, events, variables=variables, **rest)

    return run_source
