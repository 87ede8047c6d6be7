"""messaging: while processes are killed nothing is lost, and nothing comes twice on a connection."""

import pytest

from client import Closed
from messenger import Messenger
from waiting import PATIENCE, wait_until

FAST = {"auth": False, "open_identity": "on", "lease_ms": 500, "renew_ms": 100,
        "heartbeat_ms": 200, "gateway_death_ms": 1500}


def send_all(sender, receiver, numbers, unanswered=()):
    """Each, and those sent before, with a retry of what was refused meanwhile."""
    open_ones = {*numbers, *unanswered}
    looked_at = 0
    for n in numbers:
        sender.send({"id": n, "rid": receiver, "sid": sender.user, "text": str(n)})

    def are_all():
        nonlocal looked_at
        frames = list(sender.client.arrived)[looked_at:]
        looked_at += len(frames)
        for frame in frames:
            open_ones.difference_update(entry["id"] for entry in frame.get("sent", ()))
            for error in frame.get("errors", ()):
                if error["code"] == 503 and error["id"] in open_ones:
                    sender.send({"id": error["id"], "rid": receiver, "text": str(error["id"])})
        return not open_ones

    wait_until(are_all, "all are accepted", 4 * PATIENCE)


def assert_all_once(receiver, numbers):
    wait_until(lambda: len(receiver.messages()) >= len(numbers), f"{len(numbers)} messages",
               4 * PATIENCE)
    receiver.ping()
    assert sorted(message["id"] for message in receiver.messages()) == list(numbers)


def test_a_router_is_killed(new_stack):
    stack = new_stack(**FAST)
    sender, receiver = Messenger(stack, "alice"), Messenger(stack, "bob", gateway=1)
    for n in range(100):
        sender.send({"id": n, "rid": "bob", "sid": "alice", "text": str(n)})
    stack.add_router()
    stack.router.kill()
    send_all(sender, "bob", range(100, 200), unanswered=range(100))
    assert_all_once(receiver, range(200))
    unread = [message["id"] for message in receiver.messages() if message["id"] % 2]
    receiver.read(*range(0, 200, 2))
    receiver.settle()
    receiver.close()
    assert_all_once_of(Messenger(stack, "bob"), unread)


def assert_all_once_of(receiver, numbers):
    wait_until(lambda: len(receiver.messages()) >= len(numbers), f"{len(numbers)} messages",
               4 * PATIENCE)
    receiver.ping()
    assert [message["id"] for message in receiver.messages()] == list(numbers)


def test_the_receivers_gateway_is_killed(new_stack):
    stack = new_stack(**FAST)
    sender, receiver = Messenger(stack, "alice"), Messenger(stack, "bob", gateway=1)
    send_all(sender, "bob", range(100))
    stack.gateways[1].kill()
    send_all(sender, "bob", range(100, 150))
    with pytest.raises(Closed):
        receiver.client.take_where(lambda frame: False, "nothing")
    again = Messenger(stack, "bob")
    assert_all_once_of(again, range(150))


def test_redis_is_restarted(new_stack):
    stack = new_stack(**FAST)
    sender, receiver = Messenger(stack, "alice"), Messenger(stack, "bob", gateway=1)
    send_all(sender, "bob", range(50))
    stack.restart_redis()
    send_all(sender, "bob", range(50, 100))
    assert_all_once(receiver, range(100))
    receiver.close()
    # What was refused at first came later.
    assert_all_once_of(Messenger(stack, "bob"), [message["id"] for message in receiver.messages()])


def test_a_gateway_ends_in_order(new_stack):
    stack = new_stack(**FAST)
    sender, receiver = Messenger(stack, "alice"), Messenger(stack, "bob", gateway=1)
    send_all(sender, "bob", range(50))
    stack.gateways[1].stop()
    assert receiver.await_close() == 1012
    assert_all_once_of(Messenger(stack, "bob"), range(50))
