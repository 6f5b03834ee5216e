"""What was acknowledged is there after a restart, however the service ended; nothing is half made."""

import os
import random
import threading
import urllib.request

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from support.functions import PYTHON, Functions, archive, unique
from support.service import Service

SEED = int(os.environ.get("HOTHOUSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
ROUNDS = 6


@pytest.fixture
def durable(tmp_path, data_home):
    """Starts the service on one data directory, again and again."""
    services = []

    def start():
        services.append(
            Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()
        )
        return services[-1]

    yield start
    for service in services:
        service.stop()
        assert "panicked" not in service.log, service.log[-4000:]


def saying(text):
    return archive({"main.py": f"handler = lambda event, context: {text!r}\n"})


MAIN = {"Runtime": PYTHON, "Handler": "main.handler"}


def test_everything_survives_a_restart(durable):
    service = durable()
    functions = Functions(service.client())
    name = functions.create(
        saying("one"), **MAIN, Description="kept", Tags={"a": "b"}, Environment={"Variables": {"KEY": "v"}}
    )
    client = functions.client
    client.publish_version(FunctionName=name)
    client.update_function_code(FunctionName=name, ZipFile=saying("two"))
    functions.wait_updated(name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.invoke(name)
    shown = client.get_function(FunctionName=name)
    aliases = client.list_aliases(FunctionName=name)["Aliases"]
    service.stop()

    service = durable()
    functions = Functions(service.client())
    again = functions.client.get_function(FunctionName=name)
    assert again["Configuration"] == shown["Configuration"]
    assert again["Tags"] == {"a": "b"}
    assert functions.client.list_aliases(FunctionName=name)["Aliases"] == aliases
    assert functions.invoke(name).value() == "two"
    assert functions.invoke(name, Qualifier="live").value() == "one"
    with urllib.request.urlopen(again["Code"]["Location"], timeout=20) as response:
        assert response.read() == saying("two")
    groups = service.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert len(groups) == 1


def test_what_was_deleted_stays_deleted(durable):
    service = durable()
    functions = Functions(service.client())
    gone, stays = functions.create(saying("x"), **MAIN), functions.create(saying("x"), **MAIN)
    functions.client.delete_function(FunctionName=gone)
    service.kill()
    names = [one["FunctionName"] for one in durable().client().list_functions()["Functions"]]
    assert names == [stays]


def test_two_services_do_not_share_a_directory(durable, tmp_path, data_home):
    durable()
    second = Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start(wait=False)
    said = second.refusal()
    assert "in use" in said
    assert "hint" in said and "--data-dir" in said


class Writer(threading.Thread):
    """Makes and changes functions until the service is gone, and keeps account of what was acknowledged."""

    def __init__(self, service, chance):
        super().__init__(daemon=True)
        # No retries, so that each change is sent once.
        self.client = service.client(connect_timeout=5, read_timeout=20)
        self.chance = chance
        # Per function the last acknowledged description and number of versions, and what may have come after it.
        self.acknowledged, self.attempted, self.deleted = {}, {}, {}

    def run(self):
        try:
            for number in range(10_000):
                self.change(number)
        except BotoCoreError:
            pass  # The service is gone, which is the point.

    def change(self, number):
        kind = self.chance.random()
        if not self.acknowledged or kind < 0.4:
            name = unique("kill")
            self.attempt(name, f"made {number}", 0)
            self.client.create_function(
                FunctionName=name,
                Role="arn:aws:iam::000000000000:role/test",
                Code={"ZipFile": saying(name)},
                Description=f"made {number}",
                **MAIN,
            )
            self.settle(name)
            return
        name = self.chance.choice(list(self.acknowledged))
        description, versions = self.acknowledged[name]
        try:
            if kind < 0.75:
                self.attempt(name, f"changed {number}", versions)
                self.client.update_function_configuration(FunctionName=name, Description=f"changed {number}")
                self.settle(name)
            elif kind < 0.9:
                self.attempt(name, description, versions + 1)
                answer = self.client.publish_version(FunctionName=name)
                self.attempt(name, description, int(answer["Version"]))
                self.settle(name)
            else:
                self.deleted[name] = False
                self.client.delete_function(FunctionName=name)
                self.deleted[name] = True
                del self.acknowledged[name]
        except ClientError as error:
            # Another update is still under way: that is an answer, and nothing changed.
            assert error.response["Error"]["Code"] == "ResourceConflictException", error
            self.attempted.pop(name, None)
            self.deleted.pop(name, None)

    def attempt(self, name, description, versions):
        self.attempted[name] = (description, versions)

    def settle(self, name):
        self.acknowledged[name] = self.attempted.pop(name)


@pytest.mark.timeout(240)
def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(durable):
    chance = random.Random(SEED)
    expected, uncertain, deleted = {}, {}, {}
    for round_number in range(ROUNDS):
        service = durable()
        check(service, expected, uncertain, deleted, f"seed {SEED}, round {round_number}")
        writers = [Writer(service, random.Random(chance.randrange(1 << 32))) for _ in range(3)]
        for writer in writers:
            writer.start()
        # The moment is random on purpose; nothing is expected of what was reached by then.
        threading.Event().wait(chance.uniform(0.05, 0.8))
        service.kill()
        for writer in writers:
            writer.join(30)
            assert not writer.is_alive()
            expected.update(writer.acknowledged)
            uncertain.update(writer.attempted)
            deleted.update(writer.deleted)
            for name in (name for name, done in writer.deleted.items() if done):
                expected.pop(name, None)
    service = durable()
    check(service, expected, uncertain, deleted, f"seed {SEED}, at the end")
    functions = Functions(service.client())
    for name in chance.sample(sorted(set(expected) - set(deleted)), min(5, len(expected))):
        assert functions.invoke(name).value() == name
    assert expected, "the rounds were too short to make anything"


def check(service, expected, uncertain, deleted, about):
    """Everything acknowledged is there; what was not acknowledged is there as a whole or not at all."""
    client = service.client()
    functions = Functions(client)
    found = {
        one["FunctionName"]: one
        for page in client.get_paginator("list_functions").paginate()
        for one in page["Functions"]
    }
    for name, done in deleted.items():
        assert not (done and name in found), f"{about}: {name} came back"
    missing = {name for name in expected if name not in found and name not in deleted}
    assert not missing, f"{about}: {missing} lost\n{service.log[-2000:]}"
    strangers = set(found) - set(expected) - set(uncertain)
    assert not strangers, f"{about}: {strangers} appeared"
    for name, one in found.items():
        versions = client.list_versions_by_function(FunctionName=name)["Versions"]
        state = (one["Description"], len(versions) - 1)
        allowed = [state for state in (expected.get(name), uncertain.get(name)) if state]
        assert state in allowed, f"{about}: {name} is {state}, not one of {allowed}"
        # Whole: it becomes usable by itself, and its code is there.
        functions.wait_active(name)
        functions.wait_updated(name)
        location = client.get_function(FunctionName=name)["Code"]["Location"]
        with urllib.request.urlopen(location, timeout=20) as response:
            assert response.read() == saying(name), f"{about}: {name} has other code"
        # From now on this is its state.
        expected[name] = state
        uncertain.pop(name, None)
        deleted.pop(name, None)
