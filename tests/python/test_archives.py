"""Archives, honest and not, as a client uploads them: what a function finds, what is refused in which words, what stays."""

import io
import os
import struct
import subprocess
import threading
import zipfile

import pytest
from support.functions import (
    PROVIDED,
    PYTHON,
    ROLE,
    Functions,
    archive,
    error_of,
    unique,
)
from support.service import Service
from support.waiting import until

PYTHON_MAIN = {"Runtime": PYTHON, "Handler": "main.handler"}
NOT_UNZIPPED = (
    "InvalidParameterValueException",
    400,
    "Could not unzip uploaded file. Please check your file, then try to upload again.",
)
EMPTY = ("InvalidParameterValueException", 400, "Uploaded file must be a non-empty zip")

FILE, LINK, DIRECTORY = 0o100000, 0o120000, 0o040000


def package(*entries):
    """A zip of `(name, mode, content)`; later entries may have the names of earlier ones."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, mode, content in entries:
            entry = zipfile.ZipInfo(name, date_time=(2021, 2, 3, 4, 5, 6))
            entry.create_system = 3
            bundle.writestr(entry, content)
            # Only now, as `writestr` does not leave it alone; it is written when the archive is closed.
            entry.external_attr = mode << 16
    return buffer.getvalue()


def altered(code, *changes):
    """The archive with some bytes of its only central header changed: `(offset, bytes)`."""
    code = bytearray(code)
    start = code.index(b"PK\x01\x02")
    for offset, value in changes:
        code[start + offset : start + offset + len(value)] = value
    return bytes(code)


def upload(client, code):
    """The error that creating a function of this code answers with."""
    return tuple(
        error_of(
            client.create_function,
            FunctionName=unique(),
            Role=ROLE,
            Code={"ZipFile": code},
            **PYTHON_MAIN,
        )
    )


LOOK = """
import os, stat

def look(path):
    try:
        status = os.lstat(path)
    except OSError as error:
        return type(error).__name__
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    try:
        content = os.listdir(path) if stat.S_ISDIR(status.st_mode) else open(path).read()
    except OSError as error:
        content = type(error).__name__
    return [oct(status.st_mode & 0o7777), content]

def handler(event, context):
    status = os.stat("main.py")
    return {
        "same": status.st_uid == os.getuid(),
        "owner": [status.st_uid, status.st_gid],
        "date": status.st_mtime,
        "found": {path: look(path) for path in event},
        "resolved": {path: os.path.exists(path) for path in event},
    }
"""


@pytest.fixture(scope="module")
def looked(service):
    """What a function finds of an archive with all kinds of permissions and links."""
    functions = Functions(service.client())
    entries = {
        "main.py": (FILE | 0o644, LOOK),
        "private": (FILE | 0o600, "secret"),
        "tool": (FILE | 0o6755, "tool"),
        "no-mode": (0, "from Windows"),
        "shut/": (DIRECTORY | 0o700, ""),
        "shut/inside": (FILE | 0o644, "inside"),
        "listed/": (DIRECTORY | 0o744, ""),
        "listed/inside": (FILE | 0o644, "inside"),
        "link": (LINK | 0o777, "lib/./target"),
        "lib/target": (FILE | 0o644, "target"),
        "layer": (LINK | 0o777, "/opt/nodejs/node_modules"),
        "absolute": (LINK | 0o777, "/var/task/lib/target"),
        "up": (LINK | 0o777, "../../../../etc/shadow"),
        "loop": (LINK | 0o777, "loop"),
    }
    try:
        code = package(*((name, mode, content) for name, (mode, content) in entries.items()))
        name = functions.create(code, **PYTHON_MAIN)
        yield functions.invoke(name, [name.rstrip("/") for name in entries if name != "main.py"]).value()
    finally:
        functions.clean()


def test_a_function_finds_the_permissions_of_the_archive(looked):
    if looked["same"]:
        pytest.skip("functions run as the user who runs the service, whose own permissions count")
    found = looked["found"]
    assert looked["owner"] == [0, 0]
    assert looked["date"] == 1612325106
    # The classic failure: on AWS, too, a function cannot read what is only for its owner.
    assert found["private"] == ["0o600", "PermissionError"]
    assert found["tool"] == ["0o755", "tool"]
    assert found["no-mode"] == ["0o644", "from Windows"]
    assert found["shut"] == ["0o700", "PermissionError"]
    assert found["shut/inside"] == "PermissionError"
    assert found["listed"] == ["0o744", ["inside"]]
    assert found["listed/inside"] == "PermissionError"
    assert found["lib/target"] == ["0o644", "target"]


def test_a_function_finds_the_links_of_the_archive(looked):
    found, resolved = looked["found"], looked["resolved"]
    for name, target in [
        ("link", "lib/./target"),
        ("layer", "/opt/nodejs/node_modules"),
        ("absolute", "/var/task/lib/target"),
        ("up", "../../../../etc/shadow"),
        ("loop", "loop"),
    ]:
        assert found[name] == target
    # They lead where they lead in the environment: there is no layer, and no such file.
    assert resolved["link"] and resolved["absolute"]
    assert not (resolved["layer"] or resolved["up"] or resolved["loop"])


def test_a_handler_and_a_bootstrap_may_be_links(functions):
    name = functions.create(
        package(
            ("main.py", LINK | 0o777, "lib/real.py"),
            (
                "lib/real.py",
                FILE | 0o644,
                "handler = lambda event, context: 'through a link'",
            ),
        ),
        **PYTHON_MAIN,
    )
    assert functions.invoke(name).value() == "through a link"
    script = """#!/bin/bash
while true; do
  id=$(curl -sD - -o /dev/null http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next \\
    | tr -d '\\r' | grep -i '^lambda-runtime-aws-request-id' | cut -d' ' -f2)
  curl -s -d '"bootstrap"' http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response
done
"""
    name = functions.create(
        package(("bootstrap", LINK | 0o777, "bin/run"), ("bin/run", FILE | 0o755, script)),
        Runtime=PROVIDED,
        Handler="none",
    )
    assert functions.invoke(name).value() == "bootstrap"


def test_the_last_of_two_entries_counts_and_windows_separates_by_backslashes(functions):
    with pytest.warns(UserWarning, match="Duplicate name"):
        code = package(
            ("main.py", FILE | 0o444, "handler = None"),
            ("main.py", FILE | 0o444, "from lib.part import handler"),
            ("lib/part.py", FILE | 0o644, "handler = lambda event, context: 'last'"),
        )
    name = functions.create(code, **PYTHON_MAIN)
    assert functions.invoke(name).value() == "last"

    # As PowerShell's Compress-Archive writes it: made on DOS, without modes.
    code = package(("lib|part.py", 0, "handler = lambda event, context: 'from Windows'"))
    code = altered(code.replace(b"lib|part", b"lib\\part"), (4, b"\x14\0"))
    name = functions.create(code, Runtime=PYTHON, Handler="lib/part.handler")
    assert functions.invoke(name).value() == "from Windows"


ONE = package(("main.py", FILE | 0o644, "handler = None"))
REFUSED = {
    "text": (b"this is no archive", NOT_UNZIPPED),
    "nothing": (b"", EMPTY),
    "no entries": (package(), EMPTY),
    "cut": (ONE[:-30], NOT_UNZIPPED),
    "damaged": (altered(ONE, (16, b"\0\0\0\0")), NOT_UNZIPPED),
    "encrypted": (altered(ONE, (8, b"\1\0")), NOT_UNZIPPED),
    "deflate64": (altered(ONE, (10, b"\x09\0")), NOT_UNZIPPED),
    "lies about its size": (altered(ONE, (24, b"\1\0\0\0")), NOT_UNZIPPED),
    "huge": (
        altered(ONE, (24, b"\xf0\xff\xff\xff")),
        (
            "InvalidParameterValueException",
            400,
            "Unzipped size must be smaller than 262144000 bytes",
        ),
    ),
    "device": (package(("null", 0o020666, "")), NOT_UNZIPPED),
    "pipe": (package(("pipe", 0o010666, "")), NOT_UNZIPPED),
    "climbing link name": (package(("../link", LINK | 0o777, "x")), NOT_UNZIPPED),
    "through a link": (
        package(("a", LINK | 0o777, "/tmp"), ("a/hothouse-was-here", FILE | 0o644, "")),
        NOT_UNZIPPED,
    ),
    "file and directory": (
        package(("a", FILE | 0o644, ""), ("a/b", FILE | 0o644, "")),
        NOT_UNZIPPED,
    ),
    "long name": (package(("a" * 256, FILE | 0o644, "")), NOT_UNZIPPED),
    "deep": (package(("d/" * 2000 + "f", FILE | 0o644, "")), NOT_UNZIPPED),
}


@pytest.fixture
def durable(tmp_path, data_home):
    """A service that keeps its data in `tmp_path / "data"`."""
    service = Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()
    yield service
    service.stop()
    assert "panicked" not in service.log


def test_what_is_refused_is_refused_in_awss_words_and_leaves_no_trace(durable, tmp_path):
    client = durable.client()
    for name, (code, expected) in REFUSED.items():
        assert upload(client, code) == expected, name
    assert list((tmp_path / "data/code").iterdir()) == []
    assert not os.path.lexists("/tmp/hothouse-was-here")
    assert client.list_functions()["Functions"] == []


def central(name, offset):
    return (
        struct.pack(
            "<4s4B4H3L5H2L",
            b"PK\1\2",
            20,
            3,
            20,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            len(name),
            0,
            0,
            0,
            0,
            0o100644 << 16,
            offset,
        )
        + name
    )


LOCAL = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x"


def many_files():
    """An archive of half a million empty files, of 25 MB."""
    directory = b"".join(central(b"%06x" % number, 0) for number in range(500_000))
    counts = (500_000, 500_000, len(directory), len(LOCAL))
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *counts)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(LOCAL) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return LOCAL + directory + end_64 + locator + end


def many_ends():
    """An archive of 60,000 files, with 100,000 ends of which each counts more: who tries them all needs an hour."""
    directory = b"".join(central(b"%06x" % number, 0) for number in range(60_000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(LOCAL), 0)
    return LOCAL + directory + end * 100_000


def peak(service):
    """The most memory that a service ever used, in megabytes."""
    with open(f"/proc/{service.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def test_a_bomb_costs_little_more_than_its_bytes(start_service):
    service = start_service()
    client = service.client()
    plain = archive({"main.py": "", "noise": os.urandom(25_000_000)})
    client.create_function(FunctionName=unique(), Role=ROLE, Code={"ZipFile": plain}, **PYTHON_MAIN)
    before = peak(service)
    for bomb in (many_files(), many_ends()):
        assert upload(client, bomb) == NOT_UNZIPPED
    # The index of half a million entries would be hundreds.
    assert peak(service) - before < 150


def test_uploads_of_one_archive_at_once_share_it(durable, tmp_path):
    code = archive(
        {
            "main.py": "handler = lambda event, context: 1",
            "noise": os.urandom(3_000_000),
        }
    )
    functions = Functions(durable.client())
    names = [unique() for _ in range(8)]
    threads = [
        threading.Thread(target=functions.create, args=(code, name), kwargs=PYTHON_MAIN) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "data/code").iterdir())) == 1
    assert [functions.invoke(name).value() for name in names] == [1] * 8


def test_a_crash_while_unpacking_leaves_nothing_in_use(tmp_path, data_home):
    options = ("--data-dir", str(tmp_path / "data"))
    service = Service(*options, home=data_home, ephemeral=False).start()
    code = archive({"main.py": "", **{f"noise/{n}": os.urandom(2_000) for n in range(2_000)}})

    def create():
        with pytest.raises(Exception):  # Whatever boto3 says to a connection that is cut.
            service_client.create_function(FunctionName="f", Role=ROLE, Code={"ZipFile": code}, **PYTHON_MAIN)

    service_client = service.client()
    thread = threading.Thread(target=create)
    thread.start()
    until(
        lambda: list((tmp_path / "data/code").glob(".partial-*")),
        what="an archive that is being unpacked",
    )
    service.kill()
    thread.join()
    assert list((tmp_path / "data/code").glob(".partial-*")), "it was to be killed in between"

    service = Service(*options, home=data_home, ephemeral=False).start()
    try:
        assert list((tmp_path / "data/code").iterdir()) == []
        functions = Functions(service.client())
        functions.create(code, "f", **PYTHON_MAIN)
        assert len(list((tmp_path / "data/code").iterdir())) == 1
    finally:
        service.stop()


def test_a_full_disk_is_told_and_nothing_stays(tmp_path, data_home):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    code = tmp_path / "data/code"
    code.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "small", code], check=True)
    try:
        service = Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()
        try:
            client = service.client()
            large = archive({"main.py": "", "zeros": bytes(20_000_000)})
            assert upload(client, large)[:2] == ("ServiceException", 500)
            assert list(code.iterdir()) == []
            until(
                lambda: "No space left on device" in service.log,
                what="the reason in the log",
            )
            functions = Functions(client)
            name = functions.create({"main.py": "handler = lambda event, context: 1"}, **PYTHON_MAIN)
            assert functions.invoke(name).value() == 1
        finally:
            service.stop()
    finally:
        subprocess.run(["umount", code], check=True)
