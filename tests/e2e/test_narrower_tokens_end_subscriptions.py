"""A token that replaces another in place and permits less ends the subscriptions it does not permit."""

import pytest

from client import Client
from harness import sign_token


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False)


def token(stack, user, *topics):
    """One that permits to subscribe to these topics; without any, to all."""
    return sign_token(stack.secret, sub=user, sub_topics=list(topics) or None)


def connect(stack, user, *topics):
    client = Client(stack.url(token=token(stack, user, *topics)), user=user)
    stack._clients.append(client)
    client.welcome()
    return client


def refresh(stack, client, *topics):
    answer = client.answer(client.send("Auth", {"token": token(stack, client.user, *topics)}))
    assert answer["data"]["status"] == "token_refreshed", answer


def ended(client):
    """The details of the Status by which subscriptions end that nobody unsubscribed."""
    status = client.take_where(lambda message: message["type"] == "Status"
                               and message["data"]["status"] == "unsubscribed",
                               "Status unsubscribed")
    assert "id" not in status
    return status["data"]["details"]


def test_what_is_not_permitted_any_more_ends(stack):
    alice, bob = stack.users("alice", "bob")
    reader, sender = connect(stack, alice), stack.connect(bob, gateway=1)
    reader.subscribe("news.a", "news.b", "chat.*", "history.a", f"presence.{bob}", "presence.*")
    reader.await_count("Presence", 1)
    refresh(stack, reader, "news.a", "presence.*", "chat.x")
    details = ended(reader)
    assert sorted(details.pop("topics")) == ["chat.*", "history.a", "news.b"]
    assert details == {"active_subscriptions": 3, "reason": "not_permitted"}
    for topic, count in (("news.a", 1), ("news.b", 0), ("chat.x", 0), ("history.a", 0)):
        assert sender.broadcast(topic, topic)["data"]["recipients"] == count, topic
    assert reader.take("Broadcast")["topic"] == "news.a"
    assert reader.answer(reader.send("Subscribe", {"topics": ["news.b"]}))["data"]["code"] == 403
    reader.subscribe("chat.x")
    assert sender.broadcast("chat.x", 1)["data"]["recipients"] == 1


def test_presence_ends_by_the_name_it_was_asked_by(stack):
    alice, bob = stack.users("alice", "böb ♥")
    reader = connect(stack, alice)
    reader.subscribe("presence.b%C3%B6b%20%E2%99%A5-" + bob.rpartition("-")[2], "presence.*")
    refresh(stack, reader, "news.**")
    details = ended(reader)
    assert details["active_subscriptions"] == 0
    assert sorted(details["topics"]) == [
        "presence.*", "presence.b%C3%B6b%20%E2%99%A5-" + bob.rpartition("-")[2]]
    stack.connect(bob, gateway=1)
    reader.ping()
    assert not [data for data in reader.of_type("Presence") if data["status"] == "online"
                and data["user_id"] == bob]


def test_what_is_on_its_way_in_ends_behind_it(stack):
    alice, = stack.users("alice")
    reader = connect(stack, alice)
    reader.send("Subscribe", {"topics": ["late.a"]}, id="in")
    refresh(stack, reader, "news.**")
    assert ended(reader)["topics"] == ["late.a"]
    kinds = [data["status"] for data in reader.of_type("Status")]
    assert kinds.index("subscribed") < kinds.index("unsubscribed")


def test_what_is_permitted_stays(stack):
    alice, bob = stack.users("alice", "bob")
    reader, sender = connect(stack, alice, "other.*"), stack.connect(bob, gateway=1)
    reader.subscribe("other.a", "other.*")
    refresh(stack, reader, "other.**")
    refresh(stack, reader)
    assert sender.broadcast("other.a", 1)["data"]["recipients"] == 1
    assert reader.take("Broadcast")["payload"] == 1
    assert [data["status"] for data in reader.of_type("Status")] == ["connected", "subscribed"]
