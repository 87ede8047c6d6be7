"""callie over killed routers and gateways: what was accepted arrives once, or its sender is told."""

import itertools
import threading

import pytest

from callie import callie
from waiting import PATIENCE, wait_until


@pytest.fixture
def stack(new_stack):
    return new_stack(auth=False, lease_ms=1000, renew_ms=200, gateway_death_ms=3000, heartbeat_ms=500)


def fates(alice, bob, sent):
    """Of each message: whether it came, and whether its sender was told that it did not."""
    came = [message["content"]["messageID"] for message in bob.messages()]
    told = [answer["metadata"]["messageID"] for answer in alice.systems("RECIPIENT_OFFLINE")]
    assert len(came) == len(set(came)), "a message came twice"
    return {id: (id in came, id in told) for id in sent}


def test_messages_over_a_killed_router(stack):
    alice, bob = callie(stack, "alice"), callie(stack, "bob", gateway=1)
    sent = []
    for n in range(200):
        if n == 100:
            stack.router.kill()
            stack.add_router()
        sent.append(alice.say("bob", f"{n}")[1])
    alice.say("bob", "end")
    bob.message("end", timeout=3 * PATIENCE)
    assert [m["content"]["messageID"] for m in bob.messages()][:-1] == sent


def test_a_killed_gateway_of_the_receiver(stack):
    """Discarded with his connections: each of the messages came, or was told not to have come."""
    alice, bob = callie(stack, "alice"), callie(stack, "bob", gateway=1)
    ids, stop = [], threading.Event()

    def talk():
        for n in itertools.count():
            if stop.is_set():
                return
            ids.append(alice.say("bob", f"{n}")[1])
            alice.beat()

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        wait_until(lambda: len(bob.messages()) > 50, "messages come")
        stack.gateways[1].kill()
        killed = len(ids)
        wait_until(lambda: len(ids) > killed + 400, "more are sent")
    finally:
        stop.set()
        talker.join()
    bob.await_close()
    assert not alice.systems("UNAVAILABLE")
    wait_until(lambda: all(came or told for came, told in fates(alice, bob, ids).values()),
               "all are accounted for", timeout=3 * PATIENCE)
