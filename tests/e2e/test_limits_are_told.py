"""A full mailbox, too many connections, topics that are not permitted: told to who asked."""

import pytest

from client import Client, Refused
from harness import sign_token
from test_offline_messages_wait_in_order import fill_mailbox
from waiting import wait_until


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, mailbox_messages=10, user_connections=3, connections=40,
                        ping_after_ms=300)


def test_full_mailbox(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    fill_mailbox(sender, bob, 10)
    refused = sender.direct(bob, "too much")
    assert refused["data"]["code"] == 404
    assert refused["data"]["details"]["queued"] is False
    receiver = stack.connect(bob, gateway=1)
    wait_until(lambda: sender.direct(bob, "fits again")["type"] == "Ack", "there is room again")
    deliveries = receiver.await_count("DirectMessage", 11)
    assert [data["payload"] for data in deliveries] == [*range(10), "fits again"]


def test_too_many_connections_of_a_user(stack):
    alice, = stack.users("alice")
    clients = [stack.connect(alice, gateway=n % 2) for n in range(3)]
    surplus = stack.connect(alice, settled=False)
    assert surplus.await_close() == 1008
    for client in clients:
        client.ping()
    clients[0].close()
    assert stack.connect(alice).direct(alice, 1)["type"] == "Ack"


def test_too_many_connections_of_a_gateway(stack):
    clients = []
    with pytest.raises(Refused) as refusal:
        for n in range(41):
            clients.append(stack.connect(f"user-{n}", settled=False))
    assert refusal.value.status == 503
    stack.abandon_clients()


def test_topics_of_the_token(stack):
    alice, = stack.users("alice")
    token = sign_token(stack.secret, sub=alice, sub_topics=["news.*"], pub_topics=["chat.**"])
    client = Client(stack.url(gateway=1, token=token), user=alice)
    client.welcome()
    assert client.subscribe("news.sport")["active_subscriptions"] == 1
    assert client.broadcast("chat.a.b", 1)["type"] == "Ack"
    for answer in (client.answer(client.send("Subscribe", {"topics": ["chat.a"]})),
                   client.answer(client.send("Subscribe", {"topics": ["news.**"]})),
                   client.broadcast("news.sport", 1)):
        assert (answer["type"], answer["data"]["code"]) == ("Error", 403)


def test_the_silent_are_pinged(stack):
    client = stack.connect(stack.users("alice")[0])
    assert isinstance(client.take("Ping")["timestamp"], int)
    client.send("Pong", {"timestamp": 1}, id=None)
    client.ping()
