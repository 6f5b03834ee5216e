"""Fixtures: a service for the session, services of a test's own, functions that go away."""

import subprocess
import sys
import urllib.request

import pytest
from support.cli import Aws
from support.functions import SOURCES, Functions, archive, boto3_files, folder
from support.service import BINARY, SCRATCH, Service, clean_environment, free_port
from support.waiting import until

pytest_plugins = ["support.table"]


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(
            f"{BINARY} is missing: build it with `cargo build`, or run `cargo xtask test`", returncode=4
        )


@pytest.fixture(scope="session")
def data_home():
    """Where services keep their data unless told otherwise, and what `runtimes sync` installed; kept between runs."""
    home = SCRATCH / "data-home"
    home.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture(scope="session")
def service(data_home):
    """The service that most tests share; nothing of it may be left, and it must not have panicked."""
    service = Service(home=data_home).start()
    yield service
    assert service.running, f"the service ended during the tests:\n{service.log[-4000:]}"
    service.stop()
    assert "panicked" not in service.log, service.log[-4000:]


@pytest.fixture
def start_service(data_home):
    """Starts services of this test's own; all are stopped at its end."""
    services = []

    def start(*options, wait=True, **parameters):
        services.append(Service(*options, home=data_home, **parameters))
        return services[-1].start(wait)

    yield start
    for service in services:
        service.stop()
        assert "panicked" not in service.log, service.log[-4000:]


@pytest.fixture(scope="module")
def moto():
    """URL of another AWS endpoint: moto, started for the tests of one file."""
    port = free_port()
    moto = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=clean_environment(MOTO_ACCOUNT_ID="000000000000"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def serves():
        try:
            return urllib.request.urlopen(f"{url}/moto-api/", timeout=5).status == 200
        except OSError:
            assert moto.poll() is None, "moto's server ended"
            return False

    try:
        until(serves, seconds=60, what="moto's server")
        yield url
    finally:
        moto.terminate()
        moto.wait(10)


@pytest.fixture(scope="module")
def with_companion(data_home, moto):
    """A service whose companion is moto, for the tests of one file."""
    service = Service("--aws-endpoint", moto, home=data_home).start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def client(service):
    """boto3's Lambda client of the shared service."""
    return service.client()


@pytest.fixture
def functions(client):
    """Functions in the shared service, removed after the test."""
    functions = Functions(client)
    yield functions
    functions.clean()


@pytest.fixture(scope="module")
def shared_functions(client):
    """The same, for functions that the tests of one file share."""
    functions = Functions(client)
    yield functions
    functions.clean()


@pytest.fixture(scope="module")
def aws(service, tmp_path_factory):
    """The `aws` command against the shared service."""
    return Aws(service, tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="session")
def boto3_in_functions():
    """Makes the Python probe's archive with boto3 inside; the archive is made once."""
    made = []

    def make():
        if not made:
            made.append(archive({**boto3_files(), **folder(SOURCES / "python-probe")}))
        return made[0]

    return make


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the shared service printed during a test that failed."""
    outcome = yield
    report = outcome.get_result()
    service = item.funcargs.get("service") if hasattr(item, "funcargs") else None
    if report.when == "setup" and service is not None:
        item.stash[LINES_BEFORE] = len(service.lines)
    if report.when == "call" and report.failed and service is not None:
        lines = service.lines[item.stash.get(LINES_BEFORE, 0) :]
        report.sections.append(("the service printed", "\n".join(lines[-60:])))


LINES_BEFORE = pytest.StashKey()
