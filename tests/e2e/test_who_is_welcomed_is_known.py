"""
A welcome waits until the user's partition knows the connection: who writes to him then, by whichever
gateway, reaches him. A partition that does not answer holds it up for a second.
"""

import os
import signal
import time

import pytest

from callie import callie
from waiting import wait_until


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False)


def test_a_message_right_behind_it_is_delivered(stack):
    alice, = stack.users("alice")
    sender = stack.connect(alice, gateway=1)
    for user in stack.users(*["bob"] * 150):
        receiver = stack.connect(user, settled=False)
        answer = sender.direct(user, "now")
        assert answer["type"] == "Ack" and answer["data"]["status"] == "delivered", answer
        assert receiver.connection_id in answer["data"]["delivered_to"]
        receiver.abandon()


def test_callie_discards_nothing_behind_it(stack):
    alice, = stack.users("alice")
    sender = callie(stack, alice, gateway=1)
    for user in stack.users(*["bob"] * 100):
        receiver = callie(stack, user, settled=False)
        sender.say(user, "now")
        assert receiver.message("now")
        receiver.abandon()
    assert not sender.systems("RECIPIENT_OFFLINE")


def test_a_silent_partition_delays_it(new_stack):
    stack = new_stack(auth=False, gateways=1)
    alice, bob = stack.users("alice", "bob")
    os.kill(stack.router._process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    client = stack.connect(alice, settled=False)
    assert time.monotonic() - begun > 0.9
    client.ping()
    # Nor does an answer overtake it.
    other = stack.open("realtime", bob)
    other.ping()
    assert other.arrived[0]["data"]["status"] == "connected"
    os.kill(stack.router._process.pid, signal.SIGCONT)
    wait_until(lambda: client.direct(bob, 1)["type"] == "Ack", "the partition answers")
