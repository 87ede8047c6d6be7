"""Text, attachments and other fields go from realtime, messaging and simple to each other."""

import pytest

from messenger import Messenger, Roommate


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on")


ATTACHMENTS = [{"type": "image", "url": "https://x.y/1.png"}, {"type": "file", "url": "u\u00e9"}]


def test_realtime_to_messaging(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), Messenger(stack, bob, gateway=1)
    sender.direct(bob, {"message": "hi", "attachments": ATTACHMENTS, "n": 1.0, "id": 5}, id="m1")
    receiver.await_texts("hi")
    assert receiver.messages() == [{"id": "m1", "sid": alice, "rid": bob, "text": "hi",
                                    "attachments": ATTACHMENTS, "n": 1.0}]


@pytest.mark.parametrize("payload", [17, None, [1, {"a": 2}], True])
def test_a_payload_that_is_no_object(stack, payload):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), Messenger(stack, bob, gateway=1)
    sender.direct(bob, payload, id="m1")
    receiver.await_texts(None)
    assert receiver.messages() == [{"id": "m1", "sid": alice, "rid": bob, "payload": payload}]


def test_a_payload_that_is_a_string_is_text(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), Messenger(stack, bob, gateway=1)
    sender.direct(bob, "just text")
    receiver.await_texts("just text")


def test_messaging_to_realtime(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), stack.connect(bob, gateway=1)
    sender.write(bob, "hi", attachments=ATTACHMENTS, n=9007199254740993, message="mine", id=7)
    delivery = receiver.take("DirectMessage")
    assert delivery["payload"] == {"message": "hi", "attachments": ATTACHMENTS,
                                   "n": 9007199254740993}
    assert (delivery["from_user"], delivery["metadata"]["message_id"]) == (alice, "7")


def test_messaging_to_simple(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Roommate(stack, bob, gateway=1, username=bob)
    sender.write(bob, "look:", attachments=ATTACHMENTS, n=1)
    message = receiver.take("message_sent")
    assert (message["username"], message["to"]) == (alice, bob)
    assert message["message"] == "look:\nhttps://x.y/1.png\nu\u00e9"
    sender.write(bob, "", attachments=ATTACHMENTS[:1])
    assert receiver.take("message_sent")["message"] == "https://x.y/1.png"


def test_simple_to_messaging_and_realtime(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    sender = Roommate(stack, alice, username=alice)
    receiver, other = Messenger(stack, bob, gateway=1), stack.connect(carol, gateway=1)
    sender.say("hi \u00e9", to=bob, payload_id="p1")
    receiver.await_texts("hi \u00e9")
    assert receiver.messages() == [{"id": "p1", "sid": alice, "rid": bob, "text": "hi \u00e9"}]
    sender.say("ho", to=carol)
    assert other.take("DirectMessage")["payload"] == {"message": "ho"}


def test_realtime_to_simple(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), Roommate(stack, bob, gateway=1, username=bob)
    sender.direct(bob, {"message": "hi", "n": 1})
    assert receiver.take("message_sent")["message"] == "hi"


def test_one_user_on_all_three(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    realtime = stack.connect(bob)
    messaging = Messenger(stack, bob, gateway=1)
    simple = Roommate(stack, bob, username=bob)
    sender.write(bob, "to all of you")
    assert realtime.take("DirectMessage")["payload"] == {"message": "to all of you"}
    assert simple.take("message_sent")["message"] == "to all of you"
    messaging.await_texts("to all of you")
