"""Kills at random moments, under load: no accepted event is lost, nor what is told of it to queues."""

import os
import random
import threading

import pytest
from support.crashes import Account, Queues, Sender, make
from support.service import Service
from support.waiting import until

SEED = int(os.environ.get("HOTHOUSE_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("HOTHOUSE_TEST_KILLS") or 8)
# How long a moment may take to come, and how long the last events may take to end.
MOMENT, END = 60, 120 + 3 * KILLS


@pytest.mark.timeout(300 + 20 * KILLS)
def test_no_accepted_event_is_lost(moto, data_home, tmp_path):
    chance = random.Random(SEED)
    queues, account = Queues(moto), Account()
    service = Service(
        *("--data-dir", str(tmp_path / "data"), "--aws-endpoint", moto, "--retry-base-delay", "50ms"),
        home=data_home,
        ephemeral=False,
    )
    client = service.client(connect_timeout=5, read_timeout=20)
    service.start()
    try:
        names = make(client, queues)
        for round_number in range(KILLS):
            senders = [
                Sender(client, names, account, queues, random.Random(chance.randrange(1 << 32)), chance.randint(2, 8))
                for _ in range(4)
            ]
            moment = chance.choice([after_a_while, after_answers, after_runs])
            reached = moment(chance, account, queues, sum(sender.count for sender in senders))
            for sender in senders:
                sender.start()
            reached()
            service.kill()
            for sender in senders:
                sender.join(30)
                assert not sender.is_alive() and sender.refused is None, sender.refused
            assert "panicked" not in service.log, service.log[-4000:]
            service.start()
        until(lambda: not account.missing(queues), seconds=END, what="the end of all events")
    except AssertionError as error:
        lost = {name: events[:20] for name, events in account.missing(queues).items()}
        raise AssertionError(f"seed {SEED}: {error}; missing: {lost}\n{service.log[-3000:]}") from error
    finally:
        service.stop()
    account.check(queues)
    print(f"seed {SEED}: {KILLS} kills; {account.told(queues)}")
    # Nothing is left for another start.
    service.start()
    service.stop()
    assert "going on with events" not in "\n".join(service.lines[-50:])


def after_a_while(chance, account, queues, count):
    """A moment of which nothing is known: perhaps nothing has begun yet."""
    seconds = chance.uniform(0.0, 1.0)
    return lambda: threading.Event().wait(seconds)


def after_answers(chance, account, queues, count):
    """The moment when so many more events were accepted."""
    wanted = len(account.accepted) + chance.randint(1, count)
    return lambda: until(lambda: len(account.accepted) >= wanted, seconds=MOMENT, what=f"{wanted} answers")


def after_runs(chance, account, queues, count):
    """The moment when functions have told of so many more runs; one run of each event that was sent is certain."""
    wanted = queues.runs() + chance.randint(1, count)
    return lambda: until(lambda: queues.runs() >= wanted, seconds=MOMENT, what=f"{wanted} runs")
