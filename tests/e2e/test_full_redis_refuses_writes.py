"""
Redis at its maxmemory: clients' requests are refused with 503 or done, never lost; what frees memory
still gets in, so that users who come and fetch their mail heal it; with more memory all goes on.
"""

import itertools

import pytest

from test_offline_messages_wait_in_order import mailbox_of
from waiting import wait_until

_numbers = itertools.count()


def fill(stack):
    """No memory from now on."""
    stack.redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    stack.redis.command("CONFIG", "SET", "maxmemory", "1")


def empty(stack):
    stack.redis.command("CONFIG", "SET", "maxmemory", "0")


def code_of(answer):
    return answer["data"]["code"] if answer["type"] == "Error" else 0


def send_until(sender, to, accepted, code):
    """Sends numbers until one is answered with the code; keeps those that were accepted."""
    def answered():
        number = next(_numbers)
        answer = sender.direct(to, number)
        if code_of(answer) != 503:
            assert answer["type"] == "Ack", answer
            accepted.append(number)
        return code_of(answer) == code

    wait_until(answered, f"an answer with {code}")


def payloads(client):
    return [data["payload"] for data in client.of_type("DirectMessage")]


@pytest.fixture
def own_stack(new_stack):
    return new_stack(auth=False, heartbeat_ms=200)


def test_requests_are_refused_and_nothing_accepted_is_lost(own_stack):
    alice, bob = own_stack.users("alice", "bob")
    sender, receiver = own_stack.connect(alice), own_stack.connect(bob, gateway=1)
    receiver.subscribe("news.*")
    receiver.settle()
    accepted = []
    send_until(sender, bob, accepted, 0)
    fill(own_stack)
    send_until(sender, bob, accepted, 503)
    for kind, data in (("Broadcast", {"topic": "news.a", "payload": 1}),
                       ("Subscribe", {"topics": ["a.b"]}),
                       ("Presence", {"status": "away"})):
        answer = sender.answer(sender.send(kind, data))
        assert code_of(answer) == 503, answer
        assert answer["data"]["details"]["retry_after_ms"] > 0
    sender.ping()
    empty(own_stack)
    send_until(sender, bob, accepted, 0)
    wait_until(lambda: payloads(receiver) == accepted, "what was accepted, in order, and no more")
    assert receiver.unsubscribe("news.*")["active_subscriptions"] == 0
    assert not own_stack.redis.command("KEYS", "*:dead")


def test_what_frees_memory_gets_in(own_stack):
    alice, bob, carol, dave = own_stack.users("alice", "bob", "carol", "dave")
    sender, other = own_stack.connect(alice), own_stack.connect(carol)
    receiver = own_stack.connect(bob, gateway=1, query={"ack": 1})
    receiver.subscribe("news.*")
    ids = [sender.send_direct(bob, n) for n in range(3)]
    for id in ids:
        sender.answer(id)
    wait_until(lambda: len(payloads(receiver)) == 3, "three messages")
    assert mailbox_of(own_stack, bob)
    for n in range(3):
        assert code_of(sender.direct(dave, n)) == 404
    fill(own_stack)
    send_until(other, alice, [], 503)
    send_until(receiver, alice, [], 503)
    for id in ids:
        receiver.send("Ack", {"message_id": id}, id=None)
    wait_until(lambda: not mailbox_of(own_stack, bob), "the mailbox is empty")
    assert receiver.unsubscribe("news.*")["active_subscriptions"] == 0
    assert len(receiver.of_type("Error")) == 1  # that of send_until
    visitor = own_stack.connect(dave, settled=False)
    wait_until(lambda: payloads(visitor) == [0, 1, 2], "who comes gets what waits for him")
    wait_until(lambda: not mailbox_of(own_stack, dave), "and his mailbox is empty")
    empty(own_stack)


def test_timers_go_on(own_stack):
    """Graces end while there is no memory, and are none that wait for ever."""
    alice, bob = own_stack.users("alice", "bob")
    watcher, leaver = own_stack.connect(alice), own_stack.connect(bob, gateway=1)
    watcher.subscribe(f"presence.{bob}")
    watcher.settle()

    def states():
        return [data["status"] for data in watcher.of_type("Presence")]

    wait_until(lambda: states() == ["online"], "bob is there")
    fill(own_stack)
    leaver.close()
    wait_until(lambda: states() == ["online", "offline"], "his grace is over")
    empty(own_stack)
