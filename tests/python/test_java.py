"""Java functions with and without the archive of classes that makes them start sooner."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.functions import Functions, archive, folder
from support.processes import descendants
from support.service import BINARY, Service, clean_environment
from support.toolchains import need
from support.waiting import until

PROBE = """
import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.*;
import java.util.*;

public class Probe {
    public Object show(Map<String, Object> event) throws Exception {
        String action = String.valueOf(event.get("do"));
        if (action.equals("fail")) {
            throw new IllegalStateException("on purpose");
        }
        if (action.equals("options")) {
            var machine = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
            var values = new TreeMap<String, String>();
            for (Object name : (List<?>) event.get("names")) {
                values.put((String) name, machine.getVMOption((String) name).getValue());
            }
            return values;
        }
        if (action.equals("loaded")) {
            try (var lines = Files.lines(Path.of("/tmp/loaded"))) {
                return lines.filter(line -> line.contains(" " + event.get("name") + " ")).findFirst().orElse("");
            }
        }
        if (action.equals("properties")) {
            return new TreeMap<Object, Object>(System.getProperties());
        }
        if (action.equals("open")) {
            java.io.FileDescriptor.class.getDeclaredField("fd").setAccessible(true);
            return "opened";
        }
        if (action.equals("write")) {
            var refused = new TreeMap<String, String>();
            for (String name : List.of("/var/classes/classes", "/var/classes/more", "/var/runtime/lib/more.jar")) {
                try {
                    Files.write(Path.of(name), new byte[] {1});
                } catch (Exception error) {
                    refused.put(name, error.getClass().getSimpleName());
                }
            }
            return refused;
        }
        System.out.println("said");
        return event;
    }
}
"""
CLIENT = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"
LOG_LOADED = "-Xlog:class+load:file=/tmp/loaded"
RUNTIMES = ["java17", "java25"]
# A start on a busy machine, with the making of an archive beside it.
LIMIT = 90


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    work = tmp_path_factory.mktemp("probe")
    (work / "Probe.java").write_text(PROBE)
    subprocess.run([need("javac"), "--release", "17", "-d", work / "classes", work / "Probe.java"], check=True)
    return archive(folder(work / "classes"))


@pytest.fixture(scope="module")
def synced(tmp_path_factory, data_home):
    """A data directory with AWS's client."""
    need("mvn")
    data = tmp_path_factory.mktemp("synced")
    done = subprocess.run(
        [str(BINARY), "runtimes", "sync", "java17", "--data-dir", str(data)],
        env=clean_environment(XDG_DATA_HOME=str(data_home)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return data / "runtimes"


@pytest.fixture
def data(tmp_path, synced):
    """Such a directory of this test's own, in which nothing was made yet."""
    shutil.copytree(synced, tmp_path / "data/runtimes")
    return tmp_path / "data"


@pytest.fixture
def start(data, data_home):
    services = []

    def start(**parameters):
        parameters = {"ephemeral": False, "home": data_home, **parameters}
        services.append(Service("--data-dir", str(data), **parameters).start())
        if "isolation: none" in services[-1].log.lower():
            pytest.skip("without a mount namespace there are no archives")
        return services[-1]

    yield start
    for service in services:
        service.stop()
        assert "panicked" not in service.log


def create(service, code, runtime=RUNTIMES[0], options="", **more):
    functions = Functions(service.client())
    parameters = {"Runtime": runtime, "Handler": "Probe::show", "MemorySize": 512, "Timeout": 60}
    variables = {"JAVA_TOOL_OPTIONS": options} if options else {}
    return functions, functions.create(code, Environment={"Variables": variables}, **parameters, **more)


def archives(data):
    return sorted((data / "runtimes/java").glob("archive-*"))


def made(data, count=1):
    """The archives, once there are so many."""
    return until(lambda: len(archives(data)) == count and archives(data), LIMIT, f"{count} archives")


def unfinished(data):
    return list((data / "runtimes/java").glob(".unfinished-*"))


def is_shared(functions, name):
    """Whether the client's classes came from an archive. The function was created with `LOG_LOADED`."""
    line = functions.invoke(name, {"do": "loaded", "name": CLIENT}).value()
    assert CLIENT in line
    return "shared objects file" in line


def anew(functions, name, options=LOG_LOADED):
    """The next invocation has an environment of its own."""
    functions.configure(name, Environment={"Variables": {"JAVA_TOOL_OPTIONS": options}})


def behaviour(functions, name):
    """All that may be seen of a function, but for what differs between any two environments."""
    events = [{}, {"a": [1, 2.5, None, {"ä": True}]}, {"do": "fail"}, {"do": "properties"}, {"do": "open"}]
    replies = [functions.invoke(name, event, LogType="Tail") for event in events]
    payloads = [reply.payload for reply in replies]
    # The archive of Java 25 holds the packages that are opened on the command line, which otherwise takes this one away.
    for own in ("java.vm.info", "com.amazonaws.xray.traceHeader", "jdk.module.addopens.0", "jdk.module.enable.native.access"):
        payloads[3].pop(own, None)
    tails = [re.sub(r"[0-9a-f-]{36}|[\d.]+ ms|Max Memory Used: \d+ MB", "X", reply.tail) for reply in replies]
    tails = [[line for line in tail.splitlines() if not line.startswith("REPORT")] for tail in tails]
    return payloads, tails


@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_functions_behave_the_same_with_an_archive(data, start, code, runtime):
    service = start()
    functions, without = create(service, code, runtime, "-Xshare:auto")
    expected = behaviour(functions, without)
    # One that chooses for itself is given none.
    assert not archives(data) and not unfinished(data)
    functions, name = create(service, code, runtime, LOG_LOADED)
    made(data)
    anew(functions, name)
    assert is_shared(functions, name)
    functions.configure(without, Environment={"Variables": {}})
    actual = behaviour(functions, without)
    assert not any("WARNING" in line for tail in actual[1] for line in tail)
    picked = "Picked up JAVA_TOOL_OPTIONS: -Xshare:auto"
    assert actual[0][:3] == expected[0][:3]
    assert dict(actual[0][3].items() ^ expected[0][3].items()) == {}
    assert actual[1] == [[line for line in tail if line != picked] for tail in expected[1]]
    refused = functions.invoke(name, {"do": "write"}).value()
    assert set(refused.values()) == {"FileSystemException"} and len(refused) == 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_damaged_archive_is_not_used_and_is_made_again(data, start, code, runtime):
    service = start()
    functions, name = create(service, code, runtime, LOG_LOADED)
    (whole,) = made(data)
    service.stop()
    content = bytearray((whole / "classes").read_bytes())
    for position in range(len(content) // 2, len(content) // 2 + 100_000):
        content[position] ^= 0x55
    (whole / "classes").write_bytes(content)
    service = start()
    functions = Functions(service.client())
    assert functions.invoke(name, {"a": 1}).value() == {"a": 1}
    until(lambda: "a damaged archive of Java's classes was removed" in service.log, what="the warning")
    assert made(data) == [whole]
    anew(functions, name, LOG_LOADED + " -Dagain=")
    assert is_shared(functions, name)


@pytest.mark.timeout(300)
def test_another_client_gets_another_archive(data, start, code):
    service = start()
    functions, name = create(service, code, options=LOG_LOADED)
    (before,) = made(data)
    service.stop()
    for jar in (data / "runtimes/java").glob("runtime-*/lib/*.jar"):
        # Replaced, with what happens to be the same.
        shutil.copy(jar, jar.with_suffix(".new"))
        jar.with_suffix(".new").rename(jar)
    service = start()
    functions = Functions(service.client())
    functions.invoke(name, {}).value()
    until(lambda: archives(data) not in ([before], []), LIMIT, "another archive")
    (_,) = until(lambda: len(archives(data)) == 1 and archives(data), what="the end of the old one")
    anew(functions, name, LOG_LOADED + " -Dagain=")
    assert is_shared(functions, name)


@pytest.mark.timeout(300)
def test_where_none_can_be_made_functions_start_without(data, start, code):
    service = start()
    functions, name = create(service, code, options=LOG_LOADED)
    (before,) = made(data)
    service.stop()
    shutil.rmtree(before)
    before.write_text("in the way")
    service = start()
    functions = Functions(service.client())
    assert functions.invoke(name, {"a": 1}).value() == {"a": 1}
    until(lambda: "no archive of Java's classes could be made" in service.log, LIMIT, "the warning")
    anew(functions, name, LOG_LOADED + " -Dagain=")
    assert not is_shared(functions, name)
    assert not unfinished(data)


@pytest.mark.timeout(300)
def test_first_starts_at_once_make_one_archive(data, start, code):
    services = [start(ephemeral=True), start(ephemeral=True)]
    known = [create(service, code) for service in services for _ in range(2)]
    with ThreadPoolExecutor(len(known)) as threads:
        values = threads.map(lambda one: one[0].invoke(one[1], {"a": 1}).value(), known)
        assert list(values) == [{"a": 1}] * len(known)
    (only,) = made(data)
    until(lambda: not unfinished(data), LIMIT, "the end of the other making")
    assert archives(data) == [only]
    assert sorted(path.name for path in only.iterdir()) == ["classes", "digest"]


@pytest.mark.timeout(300)
def test_a_killed_service_leaves_no_archive_that_is_used(data, start, code):
    service = start()
    functions, name = create(service, code, options=LOG_LOADED)
    until(lambda: unfinished(data), LIMIT, "the making of an archive")
    service.kill()
    assert not archives(data) and unfinished(data)
    service = start()
    functions = Functions(service.client())
    assert functions.invoke(name, {"a": 1}).value() == {"a": 1}
    made(data)
    until(lambda: not unfinished(data), what="the removal of what was left")
    anew(functions, name, LOG_LOADED + " -Dagain=")
    assert is_shared(functions, name)


@pytest.mark.timeout(300)
def test_a_service_stops_while_an_archive_is_made(data, start, code):
    service = start()
    create(service, code)
    until(lambda: unfinished(data) and descendants(service.process.pid), LIMIT, "the making of an archive")
    service.stop()
    assert not unfinished(data)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_machine_that_an_archive_would_not_fit_has_that_of_java(data, start, code, runtime):
    """One that is given an archive that does not fit uses none at all, and starts later than without."""
    service = start()
    functions, name = create(service, code, runtime, LOG_LOADED)
    made(data)
    for options in ("--add-opens=java.base/java.lang=ALL-UNNAMED", "-XX:-UseCompressedOops", "-XX:+UseZGC"):
        anew(functions, name, f"{LOG_LOADED} {options}")
        line = functions.invoke(name, {"do": "loaded", "name": "java.lang.Object"}).value()
        assert "shared objects file" in line, options


@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_a_function_chooses_wins(data, start, code, runtime):
    service = start()
    functions, name = create(service, code, runtime)
    names = ["TieredStopAtLevel", "MaxHeapSize", "UseSerialGC", "UseParallelGC"]
    usual = functions.invoke(name, {"do": "options", "names": names}).value()
    heap = usual.pop("MaxHeapSize")
    assert abs(int(heap) - 512 * 1024 * 1024 * 85 // 100) < 4 * 1024 * 1024
    assert usual == {"TieredStopAtLevel": "1", "UseSerialGC": "true", "UseParallelGC": "false"}
    made(data)
    anew(functions, name, "-XX:TieredStopAtLevel=4 -Xmx128m -XX:+UseParallelGC")
    chosen = functions.invoke(name, {"do": "options", "names": names}).value()
    assert chosen == {
        "TieredStopAtLevel": "4",
        "MaxHeapSize": str(128 * 1024 * 1024),
        "UseSerialGC": "false",
        "UseParallelGC": "true",
    }
    anew(functions, name, "-XX:SharedArchiveFile=/tmp/none")
    assert functions.invoke(name, {"a": 1}).value() == {"a": 1}
    anew(functions, name, LOG_LOADED + " -Xshare:off")
    assert not is_shared(functions, name)
