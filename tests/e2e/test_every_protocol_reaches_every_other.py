"""
Five protocols and a sixth that is one file of the tests: a user of any reaches a user of any other, on
another gateway, online and offline; what he says arrives as far as the receiver's protocol has words
for it (decisions.md, "Crossing protocols").
"""

import pytest

from tongues import RICH, TONGUES
from waiting import wait_until

PICTURE = [{"type": "image", "url": "https://example.org/a.png"}]
ALL = list(TONGUES)


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, gateway_binary="tests/telegram-gateway")


def come(stack, protocol, user, gateway):
    client = stack.open(protocol, user, gateway)
    TONGUES[protocol].settle(client)
    return client


def hear(protocol, client):
    tongue = TONGUES[protocol]
    return tongue.read(client.take_where(
        lambda message: tongue.is_message(message) and tongue.read(message).sender != client.user,
        f"message by {protocol}"))


def await_known(stack, user):
    """What is not kept reaches only who is known to be there."""
    wait_until(lambda: any(stack.redis.command("HGET", key, "status") == "online"
                           for key in stack.redis.command("KEYS", f"*:user:{user}")),
               f"{user} is known to be there")


@pytest.mark.parametrize("sending", ALL)
@pytest.mark.parametrize("receiving", ALL)
def test_a_message_reaches_a_user_who_is_there(stack, sending, receiving):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = come(stack, sending, alice, 0), come(stack, receiving, bob, 1)
    for protocol, user in ((receiving, alice), (sending, bob)):
        if not TONGUES[protocol].keeps:
            await_known(stack, user)
    TONGUES[receiving].write(receiver, alice, "are you there?")  # known to the bus from now on
    assert hear(sending, sender).text == "are you there?"
    TONGUES[sending].write(sender, bob, "yes \u2014 \"quoted\" \U0001f600", PICTURE, {"mood": 9007199254740993})
    said = hear(receiving, receiver)
    assert said.sender == alice
    if receiving in RICH and sending in RICH:
        assert said.text == "yes \u2014 \"quoted\" \U0001f600"
        assert said.attachments == PICTURE
        assert said.other == {"mood": 9007199254740993}
    else:
        assert said.text.splitlines()[0] == "yes \u2014 \"quoted\" \U0001f600"
        assert (PICTURE[0]["url"] in said.text) == (sending in RICH)


@pytest.mark.parametrize("sending", [name for name in ALL if TONGUES[name].keeps])
@pytest.mark.parametrize("receiving", ALL)
def test_a_message_waits_for_a_user_who_is_away(stack, sending, receiving):
    alice, bob = stack.users("alice", "bob")
    sender = come(stack, sending, alice, 0)
    for number in range(3):
        TONGUES[sending].write(sender, bob, f"message {number}")
    stack.redis_holds_for(bob, 3)
    receiver = come(stack, receiving, bob, 1)
    texts = []
    while len(texts) < 3:
        message = receiver.take_where(
            TONGUES[receiving].is_message, f"messages by {receiving}, after {texts}")
        texts += texts_of(receiving, message)
    assert texts == [f"message {number}" for number in range(3)]


def texts_of(protocol, message):
    """messaging gathers several in one frame."""
    entries = [{"messages": [entry]} for entry in message["messages"]] \
        if protocol == "messaging" else [message]
    return [TONGUES[protocol].read(entry).text for entry in entries]


def test_callie_tells_the_sender_that_nobody_is_there(stack):
    alice, bob = stack.users("alice", "bob")
    sender = come(stack, "callie", alice, 0)
    TONGUES["callie"].write(sender, bob, "anybody?")
    sender.take_where(lambda message: message["type"] == "SYS"
                      and message["content"]["code"] == "RECIPIENT_OFFLINE", "RECIPIENT_OFFLINE")
