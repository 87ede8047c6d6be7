"""messaging: channels are topics, as realtime's; rid "*" is everybody on the endpoint."""

import pytest

from harness import sign_token
from messenger import Messenger


@pytest.fixture(scope="module")
def open_stack(module_stack):
    return module_stack(auth=False, open_identity="on")


@pytest.fixture(scope="module")
def closed_stack(module_stack):
    return module_stack(auth=False)


def test_a_channel_reaches_its_subscribers_on_both_gateways(open_stack):
    alice, bob, carol, channel = open_stack.users("alice", "bob", "carol", "channel")
    sender = Messenger(open_stack, alice)
    readers = [Messenger(open_stack, user, gateway=n) for n, user in enumerate((bob, carol))]
    for reader in readers:
        assert reader.subscribe(channel) == {"subscribed": [channel]}
    sender.send({"id": 1, "channel": channel, "sid": alice, "text": "hi"})
    assert sender.sent(1) == {"id": 1, "status": "delivered"}
    for reader in readers:
        reader.await_texts("hi")
        assert reader.messages() == [{"id": 1, "channel": channel, "sid": alice, "text": "hi"}]


def test_the_sender_gets_no_copy(open_stack):
    alice, channel = open_stack.users("alice", "channel")
    client = Messenger(open_stack, alice)
    client.subscribe(channel)
    client.send({"id": 1, "channel": channel, "text": "hi"})
    client.sent(1)
    client.await_texts()


def test_patterns_and_leaving(open_stack):
    alice, bob, channel = open_stack.users("alice", "bob", "channel")
    sender, reader = Messenger(open_stack, alice), Messenger(open_stack, bob, gateway=1)
    reader.subscribe(f"{channel}.*", f"{channel}.a")
    sender.send({"id": 1, "channel": f"{channel}.a", "text": "once"})
    reader.await_texts("once")
    sender.send({"id": 2, "channel": f"{channel}.b", "text": "b"})
    reader.await_texts("once", "b")
    assert reader.unsubscribe(f"{channel}.*", "never.had") == {"unsubscribed": [f"{channel}.*"]}
    sender.send({"id": 3, "channel": f"{channel}.b", "text": "gone"},
                {"id": 4, "channel": f"{channel}.a", "text": "a"})
    for id in (3, 4):
        sender.sent(id)
    reader.await_texts("once", "b", "a")
    assert reader.unsubscribe("never.had") == {"unsubscribed": []}


def test_channels_are_shared_with_realtime(open_stack):
    alice, bob, topic = open_stack.users("alice", "bob", "topic")
    one, other = Messenger(open_stack, alice), open_stack.connect(bob, gateway=1)
    one.subscribe(topic)
    other.subscribe(topic)
    one.send({"id": 1, "channel": topic, "text": "to realtime", "n": 1.5,
              "attachments": [{"url": "u"}]})
    delivery = other.take("Broadcast")
    assert (delivery["topic"], delivery["payload"]) == (
        topic, {"message": "to realtime", "attachments": [{"url": "u"}], "n": 1.5})
    other.broadcast(topic, {"message": "to messaging", "n": 2, "id": "lost"}, id="b1")
    one.await_texts("to messaging")
    assert one.messages() == [
        {"id": "b1", "sid": bob, "channel": topic, "text": "to messaging", "n": 2}]


@pytest.mark.parametrize("channel", ["", "a b", "a..b", "a.*", "presence.bob", "x" * 257, "$all",
                                     "$messaging"])
def test_what_is_no_channel_to_send_to(open_stack, channel):
    alice, = open_stack.users("alice")
    client = Messenger(open_stack, alice)
    client.send({"id": 1, "channel": channel, "text": "hi"})
    (error,) = client.errors()
    assert (error["section"], error["id"]) == ("send", 1)
    assert error["code"] in (400, 403)


@pytest.mark.parametrize("channel", ["", "a b", "a..b", "a.**.b", "presence.*", "presence.bob", 7,
                                     None, [], "$messaging", "x" * 257])
def test_what_is_no_channel_to_subscribe_to(open_stack, channel):
    alice, good = open_stack.users("alice", "good")
    client = Messenger(open_stack, alice)
    assert client.subscribe(channel, good) == {"subscribed": [good]}
    (error,) = client.errors()
    assert error["section"] == "subscribe"
    assert error["code"] == (403 if channel == "$messaging" else 400)


def test_a_connection_has_a_limit_of_channels(open_stack):
    alice, name = open_stack.users("alice", "name")
    client = Messenger(open_stack, alice)
    answer = client.subscribe(*(f"{name}.{n}" for n in range(101)))
    assert len(answer["subscribed"]) == 100
    (error,) = client.errors()
    assert (error["id"], error["code"]) == (f"{name}.100", 400)


def test_permissions_are_those_of_the_token(closed_stack):
    alice, bob, topic = closed_stack.users("alice", "bob", "topic")
    token = sign_token(closed_stack.secret, sub=alice, sub_topics=[f"{topic}.in"],
                       pub_topics=[f"{topic}.out"])
    client = Messenger(closed_stack, alice, token=token, settled=False)
    assert client.subscribe(f"{topic}.in", f"{topic}.out") == {"subscribed": [f"{topic}.in"]}
    assert [error["code"] for error in client.errors()] == [403]
    reader = Messenger(closed_stack, bob, gateway=1, token=closed_stack.token(bob))
    reader.subscribe(f"{topic}.*")
    client.send({"id": 1, "channel": f"{topic}.in", "text": "no"},
                {"id": 2, "channel": f"{topic}.out", "text": "yes"})
    assert [(error["id"], error["code"]) for error in client.errors()] == [(1, 403)]
    reader.await_texts("yes")


# ---- everybody ----------------------------------------------------------------------------------

def test_everybody_but_the_sender_gets_it(new_stack):
    stack = new_stack(auth=False, open_identity="on")
    clients = [Messenger(stack, user, gateway=n % 2)
               for n, user in enumerate(("alice", "bob", "carol", "dave"))]
    other = stack.connect("erin")
    clients[0].send({"id": 1, "rid": "*", "sid": "alice", "text": "all"})
    assert clients[0].sent(1) == {"id": 1, "rid": "*", "status": "delivered"}
    for client in clients[1:]:
        client.await_texts("all")
        assert client.messages() == [{"id": 1, "rid": "*", "sid": "alice", "text": "all"}]
    clients[0].await_texts()
    other.ping()
    assert not [message for message in other.arrived if message["type"] == "Broadcast"]


def test_without_open_identity_only_an_admin_may(closed_stack):
    alice, bob = closed_stack.users("alice", "bob")
    client = Messenger(closed_stack, alice, token=closed_stack.token(alice))
    client.send({"id": 1, "rid": "*", "text": "all"})
    (error,) = client.errors()
    assert (error["id"], error["code"]) == (1, 403)
    admin = Messenger(closed_stack, bob, gateway=1,
                      token=sign_token(closed_stack.secret, sub=bob, admin=True))
    admin.send({"id": 2, "rid": "*", "text": "all"})
    client.await_texts("all")
