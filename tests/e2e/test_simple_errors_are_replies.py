"""simple: whatever a client sends is answered by a reply, with its payload_id if it has one."""

import json

import pytest

from harness import sign_token
from messenger import Roommate

TEXT, BINARY = 1, 2

UNREADABLE = {
    "empty": "",
    "not JSON": "hello",
    "truncated": '{"type":"send_message","payload_id":"1","message":"x"',
    "two in one": '{"type":"send_message","payload_id":"1","message":"x"}{}',
    "null": "null",
    "number": "17",
    "string": '"send_message"',
    "array": "[]",
    "empty object": "{}",
    "brackets": "[" * 10000,
    "closed brackets": "[" * 10000 + "]" * 10000,
    "duplicate type": '{"type":"a","type":"send_message","payload_id":"1","message":"x"}',
    "duplicate message": '{"type":"send_message","payload_id":"1","message":"x","message":"y"}',
    "lone surrogate": '{"type":"send_message","payload_id":"1","message":"\\ud800"}',
    "no payload_id": '{"type":"send_message","message":"x"}',
    "payload_id is null": '{"type":"send_message","payload_id":null,"message":"x"}',
    "payload_id is a number": '{"type":"send_message","payload_id":1e400,"message":"x"}',
    "payload_id is an object": '{"type":"send_message","payload_id":{},"message":"x"}',
    "unknown type without an id": '{"type":"nonsense"}',
}

MALFORMED = {
    "no type": {"message": "x"},
    "type is null": {"type": None, "message": "x"},
    "type is a number": {"type": 9007199254740993, "message": "x"},
    "type is a list": {"type": ["send_message"], "message": "x"},
    "no message": {},
    **{f"message is {json.dumps(message)}": {"message": message}
       for message in (None, 1, True, [], {}, ["x"])},
    **{f"to is {json.dumps(to)[:20]}": {"message": "x", "to": to}
       for to in (None, True, [], {}, "", "*", "SERVER", "group:x", "x" * 129, "a\u0000b")},
}


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on")


@pytest.fixture(scope="module")
def client(stack):
    return Roommate(stack, "clumsy", username="clumsy")


@pytest.fixture(scope="module")
def witness(stack):
    """Hears what should not have been said."""
    return Roommate(stack, "witness", gateway=1, username="witness")


def assert_unharmed(client, witness):
    client.say("still here")
    witness.take("message_sent", message="still here")
    assert set(witness.texts()) == {"still here"}


@pytest.mark.parametrize("name", UNREADABLE)
def test_without_an_id_that_can_be_read(client, witness, name):
    client.client.send_text(UNREADABLE[name])
    reply = client.take("reply", error="malformed_payload")
    assert reply["payload_id"] is None
    assert_unharmed(client, witness)


@pytest.mark.parametrize("name", MALFORMED)
def test_with_its_id(client, witness, name):
    payload = {"payload_id": "my id", **MALFORMED[name]}
    payload.setdefault("type", "send_message")
    if name == "no type":
        del payload["type"]
    client.client.send_text(json.dumps(payload))
    reply = client.take("reply", payload_id="my id")
    assert reply["error"] == "malformed_payload"
    assert_unharmed(client, witness)


@pytest.mark.parametrize("type", ["nonsense", "", "SEND_MESSAGE", "message_sent", "reply",
                                  "user_connected"])
def test_unknown_types(client, witness, type):
    assert client.ask(type=type, message="x")["error"] == "unknown_type"
    assert_unharmed(client, witness)


def test_a_long_id_is_echoed_and_refused(client, witness):
    assert client.ask(message="x", payload_id="x" * 129)["error"] == "malformed_payload"
    assert_unharmed(client, witness)


@pytest.mark.parametrize("id", ["", " ", "x" * 128, "a\u0000b", "\u00e9\"\n", "9007199254740993"])
def test_ids_are_freeform(client, witness, id):
    assert client.ask(message="still here", payload_id=id)["error"] is None
    assert_unharmed(client, witness)


def test_a_number_names_the_user_of_its_digits(stack):
    alice, = stack.users("alice")
    sender = Roommate(stack, alice, username=alice)
    receiver = Roommate(stack, "4711", gateway=1, username="4711")
    sender.say("hi", to=4711)
    receiver.take("message_sent", message="hi", to="4711")


def test_binary_messages(client, witness):
    client.client.send_frame(BINARY, b"\x00\x01")
    reply = client.take("reply", error="malformed_payload")
    assert reply["payload_id"] is None
    assert_unharmed(client, witness)


@pytest.mark.parametrize("text", [b"\xff", b'{"type":"\xc3("}', b"\xed\xa0\x80"])
def test_invalid_utf8_closes_with_1007(stack, text):
    user, = stack.users("alice")
    client = Roommate(stack, user, username=user)
    client.client.send_frame(TEXT, text)
    assert client.await_close() == 1007


def test_over_long_messages_close_with_1009(stack):
    payload = '{"type":"send_message","payload_id":"1","message":"%s"}'
    user, = stack.users("alice")
    client = Roommate(stack, user, username=user)
    client.client.send_text(payload % ("x" * (65536 - len(payload) + 2)))
    assert client.take("reply")["error"] is None
    client.client.send_frame(TEXT, (payload % ("x" * (65537 - len(payload) + 2))).encode())
    assert client.await_close() == 1009


def test_over_the_rate_limit(new_stack):
    stack = new_stack(auth=False, open_identity="on", rate_limits="on")
    alice, bob = (Roommate(stack, name, gateway=n, username=name)
                  for n, name in enumerate(("alice", "bob")))
    replies = []
    alice.client.send_texts('{"type":"send_message","payload_id":"%d","message":"%d"}' % (n, n)
                            for n in range(180))
    for n in range(180):
        replies.append(alice.take("reply", payload_id=str(n)))
    done = [reply["payload_id"] for reply in replies if reply["error"] is None]
    limited = [reply for reply in replies if reply["error"] == "rate_limited"]
    assert len(done) >= 100 and limited and len(done) + len(limited) == 180
    assert all(0 < reply["retry_after_ms"] <= 60000 for reply in limited)
    bob.await_texts(*done)


def test_the_room_needs_a_token_that_permits_it(new_stack):
    stack = new_stack(auth=False, gateways=1)
    for user, topics, error in (("alice", ["chat.**"], "forbidden"), ("bob", ["$simple"], None),
                                ("carol", None, None)):
        client = Roommate(stack, user, token=sign_token(stack.secret, sub=user, pub_topics=topics))
        assert client.ask(message="to the room")["error"] == error
        assert client.ask(message="to one", to="bob")["error"] is None


def test_a_full_mailbox_is_unavailable(new_stack):
    stack = new_stack(auth=False, open_identity="on", mailbox_messages=2)
    alice = Roommate(stack, "alice", username="alice")
    answers = [alice.ask(message=str(n), to="bob")["error"] for n in range(3)]
    assert answers == [None, None, "unavailable"]
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    bob.await_texts("0", "1")
