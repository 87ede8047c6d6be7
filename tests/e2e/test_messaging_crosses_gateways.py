"""messaging as its source says: messages to many receivers, read marks, whichever gateway."""

import pytest

from messenger import Messenger


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on")


def test_the_example_of_the_source(stack):
    """client_ids are numbers in the URL, sid and rid numbers in JSON: they name the same users."""
    sender = Messenger(stack, "21")
    receivers = [Messenger(stack, user, gateway=1) for user in ("31", "32")]
    sender.send({"id": 11, "rid": 31, "sid": 21, "text": "hello"},
                {"id": 12, "rid": 32, "sid": 21, "url": "https://web.com/pic.png"})
    assert sender.sent(11) == {"id": 11, "rid": 31, "status": "delivered"}
    assert sender.sent(12) == {"id": 12, "rid": 32, "status": "delivered"}
    assert receivers[0].client.take_where(lambda frame: "messages" in frame, "messages") == {
        "messages": [{"id": 11, "rid": 31, "sid": 21, "text": "hello"}]}
    assert receivers[1].client.take_where(lambda frame: "messages" in frame, "messages") == {
        "messages": [{"id": 12, "rid": 32, "sid": 21, "url": "https://web.com/pic.png"}]}


def test_without_acks_nothing_is_answered(stack):
    alice, bob = stack.users("alice", "bob")
    receiver = Messenger(stack, bob, gateway=1)
    sender = Messenger(stack, alice, acks=None, settled=False)
    sender.send({"id": 1, "rid": bob, "sid": alice, "text": "hi"})
    receiver.await_texts("hi")
    sender.ping()
    assert [frame.keys() for frame in sender.client.arrived] == [{"errors"}]  # the ping's own


def test_fields_come_as_they_were_sent(stack):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    entry = ('{ "id" : "m\\u0031" ,"rid":"%s", "n": 9007199254740993, "f":1.0,"e":1e400,'
             '"deep":{"a":[null,true, "\\ud83d\\ude00"]},"sid":"%s","send":[],"channel":"x" }'
             % (bob, alice))
    sender.client.send_text('{"send":[%s]}' % entry)
    sender.sent("m1")
    receiver.client.take_where(lambda frame: "messages" in frame, "messages")
    assert '{"messages":[%s]}' % entry in receiver.client.texts


@pytest.mark.parametrize("id", [7, "7", "seven", 9007199254740993, 1.5, "x" * 128])
def test_ids_are_answered_as_they_were_sent(stack, id):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    assert sender.write(bob, "hi", id=id)["id"] == id
    assert receiver.client.take_where(lambda frame: "messages" in frame, "messages")[
        "messages"][0]["id"] == id


def test_a_missing_sid_is_filled_in(stack):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    sender.send({"id": 1, "rid": bob, "text": "hi"})
    receiver.await_texts("hi")
    assert receiver.messages() == [{"id": 1, "rid": bob, "text": "hi", "sid": alice}]


def test_anothers_sid_is_an_error_and_the_others_are_sent(stack):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    sender.send({"id": 1, "rid": bob, "sid": alice, "text": "one"},
                {"id": 2, "rid": bob, "sid": bob, "text": "two"},
                {"id": 3, "rid": bob, "sid": alice, "text": "three"})
    (error,) = sender.errors()
    assert (error["section"], error["id"], error["code"]) == ("send", 2, 403)
    receiver.await_texts("one", "three")


def test_messages_to_oneself(stack):
    alice, = stack.users("alice")
    client = Messenger(stack, alice)
    assert client.write(alice, "note")["status"] == "delivered"
    client.await_texts("note")


def test_messages_to_nobody_wait(stack):
    alice, nobody = stack.users("alice", "nobody")
    sender = Messenger(stack, alice)
    assert sender.write(nobody, "hello?")["status"] == "queued"
    Messenger(stack, nobody, gateway=1).await_texts("hello?")


def test_each_receiver_gets_only_its_own_in_order(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    sender = Messenger(stack, alice)
    receivers = {user: Messenger(stack, user, gateway=1) for user in (bob, carol)}
    sender.send(*({"id": n, "rid": (bob, carol)[n % 2], "sid": alice, "text": str(n)}
                  for n in range(300)))
    receivers[bob].await_texts(*(str(n) for n in range(0, 300, 2)))
    receivers[carol].await_texts(*(str(n) for n in range(1, 300, 2)))


def test_unknown_sections_are_ignored(stack):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    sender.say(nonsense=[1], messages=[{"id": 1}], sent=None, errors={}, send=[
        {"id": 1, "rid": bob, "sid": alice, "text": "hi"}])
    receiver.await_texts("hi")
    sender.say(nonsense="alone")
    sender.say()
    sender.ping()
    assert not [frame for frame in sender.client.arrived if "errors" in frame
                and not str(frame["errors"][0]["id"]).startswith("ping")]


def test_empty_texts_and_long_ones(stack):
    alice, bob = stack.users("alice", "bob")
    receiver, sender = Messenger(stack, bob, gateway=1), Messenger(stack, alice)
    sender.write(bob, "")
    sender.write(bob, "x" * 60000)
    receiver.await_texts("", "x" * 60000)
