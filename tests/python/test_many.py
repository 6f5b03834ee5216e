"""Many environments: more functions than there may be environments, many at once, many callers of one."""

import collections
import json
import os
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.functions import PYTHON, Functions, archive
from support.waiting import until

# As many environments at once; 1000 is AWS's default quota.
AT_ONCE = int(os.environ.get("HOTHOUSE_TEST_AT_ONCE") or 60)

# Each of as many functions is invoked, and so often.
FUNCTIONS, BUDGET = 60, 10

# Each of 32 callers does its share of these.
CALLERS, INVOCATIONS = 32, int(os.environ.get("HOTHOUSE_TEST_INVOCATIONS") or 2000)

ECHO = """
import os, time
seen = []
def handler(event, context):
    seen.append(event["number"])
    print("seen", event["number"])
    time.sleep(event.get("seconds", 0))
    return {"number": event["number"], "environment": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "seen": len(seen)}
"""


def told(service):
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/environments", timeout=20) as response:
        return json.load(response)


def metrics(service):
    with urllib.request.urlopen(f"{service.endpoint}/_hothouse/metrics", timeout=20) as response:
        return response.read().decode()


def admitted(service):
    """Invocations that were let in and not answered yet."""
    found = re.findall(r"^hothouse_account_concurrent_executions\{.*\} (\d+)$", metrics(service), re.MULTILINE)
    return sum(map(int, found))


def create(functions, **settings):
    return functions.create(archive({"main.py": ECHO}), Runtime=PYTHON, Handler="main.handler", **settings)


def patient(service, connections):
    """Functions by a client that does nothing twice."""
    return Functions(
        service.client(max_pool_connections=connections, retries={"total_max_attempts": 1}, read_timeout=300)
    )


def test_functions_in_turn_have_no_more_environments_than_the_budget(start_service):
    service = start_service("--max-environments", str(BUDGET))
    functions = patient(service, 10)
    names = [create(functions) for _ in range(FUNCTIONS)]
    for number, name in enumerate(names):
        assert functions.invoke(name, {"number": number}).value()["seen"] == 1
    until(lambda: len(told(service)["environments"]) == BUDGET, what="the end of those that gave way")
    left = {one["functionName"] for one in told(service)["environments"]}
    assert left == set(names[-BUDGET:])
    # Whoever was used last is warm; the first has given way, and takes the place of the least recently used.
    assert functions.invoke(names[-BUDGET], {"number": 0}).value()["seen"] == 2
    assert functions.invoke(names[0], {"number": 0}).value()["seen"] == 1
    left = {one["functionName"] for one in told(service)["environments"] if one["status"] == "ready"}
    assert names[-BUDGET] in left and names[1 - BUDGET] not in left
    budget = told(service)["budget"]
    assert (budget["limit"], budget["evicted"], budget["waiting"]) == (BUDGET, FUNCTIONS - BUDGET + 1, 0)
    assert f"hothouse_environments_limit {BUDGET}\n" in metrics(service)


def test_who_finds_no_room_waits_for_it(start_service):
    service = start_service("--max-environments", "2")
    functions = patient(service, 12)
    names = [create(functions, Timeout=60) for _ in range(3)]

    def invoke(number):
        return functions.invoke(names[number % 3], {"number": number, "seconds": 0.2}).value()["number"]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(invoke, range(24))) == list(range(24))


def test_provisioned_environments_do_not_give_way(start_service):
    service = start_service("--max-environments", "2")
    functions = patient(service, 2)
    names = [create(functions) for _ in range(4)]
    kept = names[0]
    functions.client.publish_version(FunctionName=kept)
    functions.client.put_provisioned_concurrency_config(
        FunctionName=kept, Qualifier="1", ProvisionedConcurrentExecutions=1
    )

    def ready():
        answer = functions.client.get_provisioned_concurrency_config(FunctionName=kept, Qualifier="1")
        return answer["Status"] == "READY"

    until(ready, what="what is provisioned")
    for number, name in enumerate(names[1:] * 3):
        functions.invoke(name, {"number": number}).value()
    ready_ones = [one for one in told(service)["environments"] if one["functionName"] == kept]
    assert [one["initializationType"] for one in ready_ones] == ["provisioned-concurrency"]
    assert functions.invoke(kept, {"number": 0}, Qualifier="1").value()["seen"] == 1


@pytest.mark.timeout(120 + AT_ONCE)
def test_many_environments_at_once(start_service):
    service = start_service("--max-environments", str(AT_ONCE))
    functions = patient(service, AT_ONCE)
    name = create(functions, Timeout=120)
    # Each stays until all have been asked for: none serves two.
    seconds = 2 + AT_ONCE / 25

    def invoke(number):
        return functions.invoke(name, {"number": number, "seconds": seconds}).value()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(invoke, range(AT_ONCE)))
    assert [answer["number"] for answer in answers] == list(range(AT_ONCE))
    assert len({answer["environment"] for answer in answers}) == AT_ONCE
    # All of them end at once, and another function's start does not wait for them.
    functions.client.delete_function(FunctionName=name)
    other = create(functions)
    assert functions.invoke(other, {"number": 1}).value()["seen"] == 1
    until(lambda: len(told(service)["environments"]) == 1, seconds=60 + AT_ONCE / 10, what="their ends")


@pytest.mark.timeout(120 + INVOCATIONS / 20)
def test_each_event_of_many_callers_is_worked_on_once(start_service):
    service = start_service("--max-environments", "4")
    functions = patient(service, CALLERS)
    names = [create(functions, Timeout=60), create(functions, Timeout=60)]

    def caller(index):
        answers = []
        for number in range(index, INVOCATIONS, CALLERS):
            # One caller in eight is another function's.
            answers.append(functions.invoke(names[index % 8 == 0], {"number": number}).value())
        return answers

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [answer for each in pool.map(caller, range(CALLERS)) for answer in each]
    assert sorted(answer["number"] for answer in answers) == list(range(INVOCATIONS))
    # What environments counted is what was answered: nothing was worked on twice.
    seen = collections.Counter(answer["environment"] for answer in answers)
    counted = collections.defaultdict(int)
    for answer in answers:
        counted[answer["environment"]] = max(counted[answer["environment"]], answer["seen"])
    assert seen == counted


def test_callers_of_one_function_are_served_in_the_order_in_which_they_came(start_service):
    service = start_service("--max-environments", "1")
    functions = patient(service, CALLERS + 1)
    name = create(functions, Timeout=60)
    functions.invoke(name, {"number": "warm"}).value()

    def invoke(number):
        return functions.invoke(name, {"number": number, "seconds": 5 if number == 0 else 0}).value()

    with ThreadPoolExecutor(CALLERS) as pool:
        # While the first is worked on, the others come one after the other.
        answers = [pool.submit(invoke, 0)]
        until(lambda: admitted(service) == 1, what="the first")
        for number in range(1, CALLERS):
            answers.append(pool.submit(invoke, number))
            until(lambda number=number: admitted(service) > number or answers[0].done(), what=f"number {number}")
    assert [answer.result()["seen"] for answer in answers] == list(range(2, CALLERS + 2))
