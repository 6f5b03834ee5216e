"""Packages on the disk: each is extracted once, and is there for as long as a version uses it, whatever the service suffers."""

import pytest
from support.functions import PYTHON, Functions, archive
from support.service import Service
from support.waiting import until

MAIN = {"Runtime": PYTHON, "Handler": "main.handler"}
LISTS_LAYERS = {"main.py": "import os\nhandler = lambda event, context: sorted(os.listdir('/opt'))\n"}


def saying(text):
    return archive({"main.py": f"handler = lambda event, context: {text!r}\n"})


class Place:
    """A data directory, the service that works on it, and what is in it."""

    def __init__(self, data, home):
        self.code = data / "code"
        self._options = {"home": home, "ephemeral": False}
        self._data = data
        self.begin()

    def begin(self):
        self.service = Service("--data-dir", str(self._data), **self._options).start()
        self.client = self.service.client()
        self.functions = Functions(self.client)

    def again(self, end):
        """Another service, after the first was asked to end or was killed."""
        getattr(self.service, end)()
        self.begin()

    def extracted(self):
        """Each extracted package with what would change if it were extracted again."""
        found = {}
        for content in self.code.glob("*/content"):
            status = content.stat()
            found[content.parent.name] = (status.st_ino, status.st_ctime_ns)
        return found

    def until_there_are(self, count):
        until(lambda: len(list(self.code.iterdir())) == count, what=f"{count} packages")


@pytest.fixture
def place(tmp_path, data_home):
    place = Place(tmp_path / "data", data_home)
    yield place
    place.service.stop()
    assert "panicked" not in place.service.log, place.service.log[-4000:]


def test_code_is_extracted_once(place):
    one = place.functions.create(saying("1"), **MAIN)
    extracted = place.extracted()
    assert len(extracted) == 1
    two = place.functions.create(saying("1"), **MAIN)
    place.client.update_function_code(FunctionName=one, ZipFile=saying("1"), Publish=True)
    place.functions.wait_updated(one)
    for end in ("stop", "kill"):
        place.again(end)
        assert [place.functions.invoke(name).value() for name in (one, two)] == ["1", "1"]
        assert place.extracted() == extracted


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_code_goes_with_the_last_version_that_uses_it(place, end):
    name = place.functions.create(saying("1"), **MAIN, Publish=True)
    other = place.functions.create(saying("1"), **MAIN)
    place.client.update_function_code(FunctionName=name, ZipFile=saying("2"))
    place.functions.wait_updated(name)
    place.again(end)
    assert len(place.extracted()) == 2
    assert place.functions.invoke(name, Qualifier="1").value() == "1"
    place.client.delete_function(FunctionName=other)
    place.again(end)
    assert place.functions.invoke(name, Qualifier="1").value() == "1"
    place.client.delete_function(FunctionName=name, Qualifier="1")
    # Invocations that still run may yet read it, so it stays for a while, or until the next start.
    place.again(end)
    place.until_there_are(1)
    assert place.functions.invoke(name).value() == "2"
    place.client.delete_function(FunctionName=name)
    place.again(end)
    place.until_there_are(0)


def test_code_goes_from_a_running_service_with_the_last_version_that_uses_it(place):
    name = place.functions.create(saying("1"), **MAIN, Publish=True)
    other = place.functions.create(saying("1"), **MAIN)
    place.client.update_function_code(FunctionName=name, ZipFile=saying("2"))
    place.functions.wait_updated(name)
    place.client.delete_function(FunctionName=name, Qualifier="1")
    assert len(place.extracted()) == 2
    assert place.functions.invoke(other).value() == "1"
    # It never ran with the first code, so nothing can be reading that.
    place.client.update_function_code(FunctionName=other, ZipFile=saying("3"))
    place.functions.wait_updated(other)
    place.client.delete_function(FunctionName=name)
    place.until_there_are(2)
    assert place.functions.invoke(other).value() == "3"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_layers_go_with_the_last_function_that_has_them(place, end):
    arns = [
        place.client.publish_layer_version(LayerName=layer, Content={"ZipFile": archive({layer: ""})})[
            "LayerVersionArn"
        ]
        for layer in ("one", "two")
    ]
    name = place.functions.create(LISTS_LAYERS, **MAIN, Layers=arns)
    for layer in ("one", "two"):
        place.client.delete_layer_version(LayerName=layer, VersionNumber=1)
    place.again(end)
    # What the layers are together is kept beside them.
    assert len(place.extracted()) == 4
    assert place.functions.invoke(name).value() == ["one", "two"]
    place.functions.configure(name, Layers=[])
    place.again(end)
    place.until_there_are(1)
    assert place.functions.invoke(name).value() == []
    place.client.delete_function(FunctionName=name)
    place.again(end)
    place.until_there_are(0)
