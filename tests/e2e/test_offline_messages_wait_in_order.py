"""Messages to a user who is not connected are queued, and come on connect: in order, once."""

import time

import pytest

from waiting import wait_until


def fill_mailbox(sender, to, count):
    """Sends the numbers below count; returns their ids when all are queued."""
    ids = [sender.send_direct(to, n) for n in range(count)]
    for id in ids:
        answer = sender.answer(id)
        assert answer["type"] == "Error", answer
        assert answer["data"]["code"] == 404
        assert answer["data"]["details"] == {"message_id": id, "queued": True}
    return ids


def mailbox_of(stack, user):
    return stack.redis.command("KEYS", f"trunkline:*:mailbox:{user}")


# One message, more than the window of 256, and several pages of it.
@pytest.mark.parametrize("count", [1, 300, 2000])
def test_queued_messages_come_on_connect(stack, count):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    ids = fill_mailbox(sender, bob, count)
    receiver = stack.connect(bob, gateway=1)
    receiver.await_count("DirectMessage", count)
    sender.direct(bob, "live")
    deliveries = receiver.await_count("DirectMessage", count + 1)
    assert [delivery["payload"] for delivery in deliveries] == [*range(count), "live"]
    assert [delivery["metadata"]["message_id"] for delivery in deliveries[:-1]] == ids


def test_live_messages_follow_the_queued_ones(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    fill_mailbox(sender, bob, 600)
    receiver = stack.connect(bob, gateway=1)
    ids = [sender.send_direct(bob, n) for n in range(600, 1200)]
    deliveries = receiver.await_count("DirectMessage", 1200)
    assert [delivery["payload"] for delivery in deliveries] == list(range(1200))
    assert all(sender.answer(id)["type"] == "Ack" for id in ids)


def test_what_was_delivered_does_not_come_again(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    fill_mailbox(sender, bob, 300)
    first = stack.connect(bob)
    first.await_count("DirectMessage", 300)
    wait_until(lambda: not mailbox_of(stack, bob), "all is confirmed")
    first.close()
    second = stack.connect(bob, gateway=1)
    sender.direct(bob, "new")
    assert second.take("DirectMessage")["payload"] == "new"


def test_an_expired_message_does_not_come(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    sender.direct(bob, "short", metadata={"ttl": 1})
    sender.direct(bob, "long", metadata={"ttl": 600})
    expired = time.time() + 1.5
    wait_until(lambda: time.time() > expired, "the short one has expired")
    receiver = stack.connect(bob)
    assert receiver.take("DirectMessage")["payload"] == "long"
