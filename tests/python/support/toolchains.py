"""Function packages that need a build: made once per content of their sources, kept in the scratch folder.

A toolchain that is missing is a skip that says so; a build that fails is an error.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from .functions import SOURCES, archive, folder
from .service import SCRATCH

# The interpreter that functions of `provided` runtimes find on their PATH.
SYSTEM_PYTHON = "/usr/bin/python3"

AWSLAMBDARIC = "awslambdaric==4.2.2"
# The newest that runs on Node.js 18 and 20 too.
AWS_LAMBDA_RIC = "aws-lambda-ric@3.3.0"


def need(program):
    """The path of a program, or a skip."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@contextmanager
def _alone(name):
    """Workers of one run share the scratch folder: only one of them builds."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with open(SCRATCH / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _built(name, key, build):
    """The folder that `build(folder)` filled, now or in an earlier run with the same key."""
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    done = SCRATCH / "functions" / f"{name}-{digest}"
    with _alone(name):
        if not done.exists():
            half = done.with_suffix(".part")
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir(parents=True)
            build(half)
            half.rename(done)
    return done


def _run(*command, cwd=None, **environment):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _sources(name):
    return sorted(folder(SOURCES / name).items())


def rust(name="rust-echo", profile="dev"):
    """A function on the `lambda_runtime` crate."""
    return archive({"bootstrap!": _rust(name, profile, "bootstrap")})


def rust_extension():
    """An extension on the `lambda-extension` crate: the program."""
    return _rust("rust-extension", "dev", "rust-extension")


def _rust(name, profile, program):
    cargo = need("cargo")
    workspace = SOURCES.parent

    def build(target):
        out = SCRATCH / "cargo"
        _run(
            cargo, "build", "--quiet", "--locked", "--package", name, "--profile", profile,
            "--manifest-path", workspace / "Cargo.toml", "--target-dir", out,
        )  # fmt: skip
        shutil.copy(out / ("debug" if profile == "dev" else profile) / program, target / program)

    lock = (workspace / "Cargo.lock").read_bytes()
    return (_built(name, [_sources(name), lock, profile], build) / program).read_bytes()


def go(name="go-echo"):
    """A function on aws-lambda-go, linked statically."""
    program = need("go")

    def build(target):
        _run(
            program,
            "build",
            "-o",
            target / "bootstrap",
            ".",
            cwd=SOURCES / name,
            CGO_ENABLED="0",
            GOFLAGS="-mod=readonly",
        )

    return archive(folder(_built(name, _sources(name), build)))


def java(name="java-echo", with_client=True):
    """A function in Java: with AWS's runtime interface client and a bootstrap that starts it, or for a runtime
    that brings its own."""
    maven, compiler = need("mvn"), need("javac")
    need("java")

    def build(target):
        library = target / "lib"
        source = SOURCES / name
        classes = target / "classes"
        shutil.copy(source / "bootstrap", target / "bootstrap")
        _run(
            maven, "--quiet", "--batch-mode", "--file", source / "pom.xml", "dependency:copy-dependencies",
            f"-DoutputDirectory={library}",
        )  # fmt: skip
        _run(compiler, "-cp", f"{library}/*", "-d", classes, *source.rglob("*.java"))
        (library / "function.jar").write_bytes(archive(folder(classes)))
        shutil.rmtree(classes)

    files = folder(_built(name, _sources(name), build))
    if not with_client:
        own = ("function.jar", "lambda-java-core")
        files = {path: content for path, content in files.items() if any(part in path for part in own)}
    return archive(files)


def awslambdaric(name="python-probe"):
    """The Python probe on awslambdaric, for the system's interpreter."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"{SYSTEM_PYTHON} is not installed")
    version = _run(SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()

    def build(target):
        # Only wheels: a build would need a C++ toolchain, and would be for this interpreter, not for that one.
        _run(
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
            "--only-binary=:all:", "--python-version", version, "--target", target, AWSLAMBDARIC,
        )  # fmt: skip
        bootstrap = target / "bootstrap"
        bootstrap.write_text(f'#!/bin/sh\nexec {SYSTEM_PYTHON} -m awslambdaric "$_HANDLER"\n')

    package = _built("awslambdaric", [AWSLAMBDARIC, version], build)
    return archive({**folder(package), **folder(SOURCES / name)})


def aws_lambda_ric(name="node-probe"):
    """The Node probe on aws-lambda-ric, whose native part npm builds from the sources that the package ships."""
    npm, node = need("npm"), need("node")
    for program in ("cmake", "g++", "make", "autoconf", "automake", "libtoolize"):
        need(program)
    # Node's headers, beside the interpreter; without them node-gyp would fetch them from elsewhere.
    prefix = Path(_run(node, "-p", "process.execPath").strip()).parents[1]
    if not (prefix / "include/node/node.h").exists():
        pytest.skip(f"the headers of Node.js are not in {prefix}/include/node")

    def build(target):
        work = target / "work"
        work.mkdir()
        (work / "package.json").write_text('{"private": true}')
        _run(
            npm, "install", "--no-audit", "--no-fund", "--omit=dev", AWS_LAMBDA_RIC,
            cwd=work, npm_config_nodedir=str(prefix), MAKEFLAGS=f"-j{os.cpu_count()}",
        )  # fmt: skip
        # The sources of its native part are a hundred megabytes, and of no use to the function.
        installed = work / "node_modules/aws-lambda-ric"
        client = target / "node_modules/aws-lambda-ric"
        for part in ("bin", "dist"):
            shutil.copytree(installed / part, client / part)
        shutil.copy(installed / "package.json", client)
        shutil.rmtree(work)

    package = _built("aws-lambda-ric", [AWS_LAMBDA_RIC, node, str(prefix)], build)
    client = "$LAMBDA_TASK_ROOT/node_modules/aws-lambda-ric/bin/index.mjs"
    bootstrap = f'#!/bin/sh\nexec {node} "{client}" "$_HANDLER"\n'
    return archive({**folder(package), **folder(SOURCES / name), "bootstrap!": bootstrap})
