"""simple: everybody in the room hears everybody, across gateways, and who comes and goes."""

import time

import pytest

from messenger import Roommate
from waiting import wait_until


@pytest.fixture
def stack(new_stack):
    return new_stack(auth=False, open_identity="on")


def test_a_message_reaches_everybody_and_its_sender_first(stack):
    alice = Roommate(stack, "alice", username="alice")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    alice.say("hello", payload_id="1")
    assert [frame["type"] for frame in list(alice.client.arrived)
            if frame["type"] != "user_connected"] == ["message_sent", "reply"]
    for member in (alice, bob):
        message = member.take("message_sent")
        assert abs(message.pop("timestamp") - time.time()) < 60
        assert message == {"type": "message_sent", "username": "alice", "message": "hello"}


def test_the_reply_has_the_fields_of_the_source(stack):
    alice = Roommate(stack, "alice", username="alice")
    assert alice.ask(message="hi", payload_id="my id") == {
        "type": "reply", "payload_id": "my id", "error": None}
    assert alice.ask(message="hi", payload_id="") == {
        "type": "reply", "payload_id": "", "error": None}


def test_who_comes_is_told_to_everybody_and_who_is_there_to_him(stack):
    alice = Roommate(stack, "alice", username="alice")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    connected = alice.take("user_connected", username="bob")
    assert abs(connected["timestamp"] - time.time()) < 60
    assert connected.keys() == {"type", "username", "timestamp"}
    bob.take("user_connected", username="alice")
    carol = Roommate(stack, "carol", username="carol")
    for name in ("alice", "bob"):
        carol.take("user_connected", username=name)
    for member in (alice, bob):
        member.take("user_connected", username="carol")
    assert carol.names("user_connected")[0] == "carol"
    assert sorted(carol.names("user_connected")) == ["alice", "bob", "carol"]
    assert alice.names("user_connected") == ["alice", "bob", "carol"]


def test_who_goes_is_told(stack):
    alice = Roommate(stack, "alice", username="alice")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    bob.client.close()
    gone = alice.take("user_disconnected", username="bob")
    assert abs(gone["timestamp"] - time.time()) < 60
    assert gone.keys() == {"type", "username", "timestamp"}
    Roommate(stack, "bob", username="bob")
    wait_until(lambda: alice.names("user_connected") == ["alice", "bob", "bob"], "bob is back")


def test_nobody_gets_what_was_said_before_he_came(stack):
    alice = Roommate(stack, "alice", username="alice")
    alice.say("early")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    alice.say("late")
    bob.take("message_sent")
    assert bob.texts() == ["late"]


def test_messages_come_in_the_same_order_to_all(stack):
    members = [Roommate(stack, name, gateway=n % 2, username=name)
               for n, name in enumerate(("alice", "bob", "carol"))]
    for n in range(30):
        members[n % 3].client.send_text(
            '{"type":"send_message","payload_id":"%d","message":"%d"}' % (n, n))
    wait_until(lambda: all(len(member.texts()) == 30 for member in members), "30 messages each")
    assert members[0].texts() == members[1].texts() == members[2].texts()


def test_text_comes_as_it_was_sent(stack):
    alice = Roommate(stack, "alice", username="alice")
    for text in ('"\\u00e9\\ud83d\\ude00\\n"', '""', '"\\u0000"', '"%s"' % ("x" * 60000)):
        alice.client.send_text('{"type":"send_message","payload_id":"1","message":%s}' % text)
        alice.take("reply")
        said = alice.client.text_of(alice.take("message_sent"))
        assert said.endswith('"message":%s}' % text)


def test_a_message_to_one(stack):
    alice = Roommate(stack, "alice", username="alice")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    carol = Roommate(stack, "carol", username="carol")
    alice.say("psst", to="bob")
    message = bob.take("message_sent")
    assert abs(message.pop("timestamp") - time.time()) < 60
    assert message == {"type": "message_sent", "username": "alice", "message": "psst", "to": "bob"}
    alice.say("all")
    carol.take("message_sent", message="all")
    assert (alice.texts(), carol.texts()) == (["all"], ["all"])


def test_a_message_to_oneself(stack):
    alice = Roommate(stack, "alice", username="alice")
    alice.say("note", to="alice")
    alice.take("message_sent", to="alice", message="note")


def test_a_message_to_one_who_is_away_waits(stack):
    alice = Roommate(stack, "alice", username="alice")
    alice.say("later", to="bob")
    bob = Roommate(stack, "bob", gateway=1, username="bob")
    bob.take("message_sent", message="later", to="bob")


def test_a_retry_is_answered_and_not_said_again(stack):
    alice = Roommate(stack, "alice", username="alice")
    for _ in range(3):
        alice.say("once", payload_id="7")
    alice.say("twice", payload_id="7")
    assert alice.texts() == ["once", "twice"]
