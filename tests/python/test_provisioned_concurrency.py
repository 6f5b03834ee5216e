"""Provisioned concurrency: environments that are there before anyone comes."""

import threading

import pytest
from support.functions import PYTHON, Functions, archive, error_of
from support.service import Service
from support.waiting import until

MAIN = {"Runtime": PYTHON, "Handler": "main.handler", "Timeout": 20}
KIND = """
import os, time

def handler(event, context):
    time.sleep((event or {}).get("seconds", 0))
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
PROVISIONED, ON_DEMAND = "provisioned-concurrency", "on-demand"


def config(client, name, qualifier):
    config = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    del config["ResponseMetadata"]
    return config


def provision(client, name, qualifier, count):
    answer = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answer["Status"], answer["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", count)


def settled(client, name, qualifier):
    until(lambda: config(client, name, qualifier)["Status"] != "IN_PROGRESS", what="an end of IN_PROGRESS")
    return config(client, name, qualifier)


def counts(config):
    return [config[f"{which}ProvisionedConcurrentExecutions"] for which in ("Requested", "Allocated", "Available")]


@pytest.fixture
def published(client, functions):
    """A function with version 1 that says how its environment came to be."""
    name = functions.create(archive({"main.py": KIND}), **MAIN)
    client.publish_version(FunctionName=name)
    return name


def test_the_version_has_its_environments(client, functions, published):
    provision(client, published, "1", 3)
    ready = settled(client, published, "1")
    assert (ready["Status"], counts(ready)) == ("READY", [3, 3, 3])
    assert functions.invoke(published, Qualifier="1").value() == PROVISIONED
    assert functions.invoke(published).value() == ON_DEMAND
    client.delete_provisioned_concurrency_config(FunctionName=published, Qualifier="1")
    gone = error_of(client.get_provisioned_concurrency_config, FunctionName=published, Qualifier="1")
    assert tuple(gone)[:2] == ("ProvisionedConcurrencyConfigNotFoundException", 404)
    until(
        lambda: functions.invoke(published, Qualifier="1").value() == ON_DEMAND,
        what="an environment that was not provisioned",
    )


def test_who_finds_them_busy_gets_one_on_demand(client, functions, published):
    provision(client, published, "1", 1)
    settled(client, published, "1")
    started, said = threading.Event(), []

    def stay():
        started.set()
        said.append(functions.invoke(published, {"seconds": 5}, Qualifier="1").value())

    thread = threading.Thread(target=stay)
    thread.start()
    started.wait()
    until(lambda: functions.invoke(published, Qualifier="1").value() == ON_DEMAND, what="one on demand")
    thread.join()
    assert said == [PROVISIONED]
    assert functions.invoke(published, Qualifier="1").value() == PROVISIONED


def test_they_go_where_their_alias_goes(client, functions, published):
    client.update_function_code(FunctionName=published, ZipFile=archive({"main.py": KIND + "# 2\n"}))
    functions.wait_updated(published)
    client.publish_version(FunctionName=published)
    client.create_alias(FunctionName=published, Name="live", FunctionVersion="1")
    provision(client, published, "live", 2)
    assert settled(client, published, "live")["Status"] == "READY"
    assert functions.invoke(published, Qualifier="live").value() == PROVISIONED
    client.update_alias(FunctionName=published, Name="live", FunctionVersion="2")
    assert settled(client, published, "live")["Status"] == "READY"
    reply = functions.invoke(published, Qualifier="live")
    assert (reply.version, reply.value()) == ("2", PROVISIONED)
    listed = client.list_provisioned_concurrency_configs(FunctionName=published)["ProvisionedConcurrencyConfigs"]
    assert [config["FunctionArn"].rsplit(":", 1)[1] for config in listed] == ["live"]


def test_code_that_cannot_start_fails(client, functions):
    name = functions.create(archive({"main.py": "raise Exception('no')\n"}), **MAIN)
    client.publish_version(FunctionName=name)
    provision(client, name, "1", 1)
    failed = settled(client, name, "1")
    assert (failed["Status"], failed["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
    assert counts(failed) == [1, 0, 0]


def test_what_is_reserved_is_not_on_demand_if_it_is_provisioned(client, functions, published):
    provision(client, published, "1", 2)
    settled(client, published, "1")
    low = error_of(client.put_function_concurrency, FunctionName=published, ReservedConcurrentExecutions=1)
    assert low.message == (
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    )
    client.put_function_concurrency(FunctionName=published, ReservedConcurrentExecutions=2)
    throttled = error_of(client.invoke, FunctionName=published)
    assert tuple(throttled)[:2] == ("TooManyRequestsException", 429)
    assert functions.invoke(published, Qualifier="1").value() == PROVISIONED


def test_they_are_there_again_after_a_crash(tmp_path, data_home):
    def start():
        return Service("--data-dir", str(tmp_path / "data"), home=data_home, ephemeral=False).start()

    service = start()
    try:
        functions = Functions(service.client())
        name = functions.create(archive({"main.py": KIND}), **MAIN)
        functions.client.publish_version(FunctionName=name)
        provision(functions.client, name, "1", 2)
        settled(functions.client, name, "1")
        service.kill()
        service = start()
        functions = Functions(service.client())
        assert counts(settled(functions.client, name, "1")) == [2, 2, 2]
        assert functions.invoke(name, Qualifier="1").value() == PROVISIONED
    finally:
        service.stop()
    assert "panicked" not in service.log
