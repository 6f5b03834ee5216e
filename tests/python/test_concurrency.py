"""Environments: one event at a time each, more when events meet, the last one used first."""

import collections
from concurrent.futures import ThreadPoolExecutor

from support.functions import NODE_PROBE, probe
from support.waiting import until

AT_ONCE = 8


def at_once(functions, name, count, event):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: functions.invoke(name, event), range(count)))


def test_invocations_that_meet_run_in_environments_of_their_own(functions):
    name = functions.create()
    replies = at_once(functions, name, AT_ONCE, {"do": "sleep", "seconds": 1.5})
    seen = {reply.value()["environment"] for reply in replies}
    assert len(seen) == AT_ONCE
    assert all(reply.value()["calls"] == 1 for reply in replies)


def test_the_same_for_node(functions):
    name = functions.create(probe("node"), **NODE_PROBE)
    replies = at_once(functions, name, 4, {"do": "sleep", "seconds": 1.5})
    assert len({reply.value()["environment"] for reply in replies}) == 4


def test_one_after_the_other_stays_in_one_environment(functions):
    name = functions.create()
    replies = [functions.invoke(name, {"do": "identify"}).value() for _ in range(20)]
    assert len({reply["environment"] for reply in replies}) == 1
    assert [reply["calls"] for reply in replies] == list(range(1, 21))


def test_the_last_environment_used_is_used_first(functions):
    """Two environments, released one after the other: the later one must answer."""
    name = functions.create()
    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(functions.invoke, name, {"do": "sleep", "seconds": 1.0})
        late = pool.submit(functions.invoke, name, {"do": "sleep", "seconds": 2.0})
        early, late = early.result().value()["environment"], late.result().value()["environment"]
    assert early != late
    again = [functions.invoke(name, {"do": "identify"}).value()["environment"] for _ in range(5)]
    assert set(again) == {late}


def test_many_callers_get_each_their_own_answer(functions):
    name = functions.create()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(lambda number: (number, functions.invoke(name, number).value()), range(400)))
    assert all(sent == received for sent, received in replies)


def test_an_update_retires_warm_environments(client, functions):
    name = functions.create()
    before = functions.invoke(name, {"do": "identify"}).value()["environment"]
    functions.configure(name, Environment={"Variables": {"NEW": "1"}})
    after = functions.invoke(name, {"do": "identify"}).value()["environment"]
    assert before != after


def test_a_running_invocation_ends_on_the_code_it_began_with(service, functions):
    name = functions.create()
    before = functions.invoke(name, {"do": "identify"}).value()["environment"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.invoke, name, {"do": "sleep", "seconds": 1.5})
        until(lambda: "invoking" in service.states(name), what="the running invocation")
        functions.configure(name, Environment={"Variables": {"NEW": "1"}})
        assert functions.invoke(name, {"do": "environment"}).value()["NEW"] == "1"
        assert running.result().value()["environment"] == before


def test_idle_environments_leave_after_the_keep_alive(start_service):
    from support.functions import Functions

    service = start_service(environment={"LAMBDA_KEEPALIVE_MS": "300"})
    functions = Functions(service.client())
    name = functions.create()
    first = functions.invoke(name, {"do": "identify"}).value()["environment"]
    until(lambda: service.states(name) == [], what="the end of the idle environment")
    assert functions.invoke(name, {"do": "identify"}).value()["environment"] != first


def test_a_caller_that_goes_away_does_not_stop_the_function(service, functions):
    import socket

    from support import raw

    name = functions.create()
    functions.invoke(name, 1)
    body = b'{"do": "sleep", "seconds": 0.5}'
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = (
            f"POST /2015-03-31/functions/{name}/invocations HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
            f"Authorization: {raw.authorization()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)

    def counted():
        replies = at_once(functions, name, 2, {"do": "identify"})
        calls = collections.Counter()
        for reply in replies:
            value = reply.value()
            calls[value["environment"]] = max(calls[value["environment"]], value["calls"])
        return max(calls.values()) >= 3

    until(counted, what="the run that nobody waited for")
