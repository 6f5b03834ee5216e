"""Interpreters of the machine, and a runner for handlers written in a test."""

import functools
import glob
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fake_runtime_api import Event, run_client

CLIENT = Path(__file__).resolve().parent.parent
MINOR_VERSIONS = range(8, 15)


@functools.cache
def interpreters():
    """One real interpreter per minor version, by version."""
    candidates = [sys.executable]
    for minor in MINOR_VERSIONS:
        candidates.append(shutil.which(f"python3.{minor}"))
        root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
        candidates += sorted(glob.glob(f"{root}/versions/3.{minor}.*/bin/python3"))
    found = {}
    question = "import sys; print('%d.%d' % sys.version_info[:2]); print(getattr(sys, '_base_executable', sys.executable))"
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-I", "-S", "-c", question], capture_output=True, text=True)
        if answer.returncode == 0:
            version, executable = answer.stdout.split()
            found.setdefault(version, executable)
    return found


def pytest_generate_tests(metafunc):
    if "python" in metafunc.fixturenames:
        versions = sorted(interpreters(), key=lambda version: int(version.split(".")[1]))
        metafunc.parametrize("python", versions, ids=lambda version: f"python{version}")


@pytest.fixture
def run(python, tmp_path):
    """Runs a handler's source in one of the interpreters."""

    def run_source(source="", payloads=(None,), handler="app.handler", files=None, variables=None, options=(), **rest):
        task_root = tmp_path / "task"
        for name, text in {"app.py": source, **(files or {})}.items():
            path = task_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        events = [payload if isinstance(payload, Event) else Event(payload) for payload in payloads]
        command = [interpreters()[python], "-S", *options, str(CLIENT / "bootstrap.py")]
        variables = {"AWS_EXECUTION_ENV": f"AWS_Lambda_python{python}", **(variables or {})}
        variables.setdefault("LAMBDA_RUNTIME_DIR", str(CLIENT))
        return run_client(command, task_root, handler, events, variables=variables, **rest)

    return run_source
