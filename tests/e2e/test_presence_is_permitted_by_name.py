"""Presence of one user, of everybody, and of users with odd names, as the token's sub_topics allow."""

import pytest

from client import Client
from harness import sign_token


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False)


def connect_with(stack, user, **claims):
    client = Client(stack.url(token=sign_token(stack.secret, sub=user, **claims)), user=user)
    client.welcome()
    return client


def subscribe_to(client, topic):
    """The code of the Error, 0 when it is permitted."""
    answer = client.answer(client.send("Subscribe", {"topics": [topic]}))
    return 0 if answer["type"] == "Ack" else answer["data"]["code"]


@pytest.mark.parametrize("permitted, topics", [
    (["presence.bob"], {"presence.bob": 0, "presence.carol": 403, "presence.*": 403, "a": 403}),
    (["presence.*"], {"presence.bob": 0, "presence.*": 0, "presence.**": 0, "a": 403}),
    (["a.*"], {"presence.bob": 403, "presence.*": 403, "a.b": 0}),
    (None, {"presence.bob": 0, "presence.*": 0, "$all": 403}),
    ([], {"presence.bob": 403, "a": 403}),
])
def test_sub_topics(here, permitted, topics):
    alice, = here.users("alice")
    client = connect_with(here, alice, sub_topics=permitted)
    assert {topic: subscribe_to(client, topic) for topic in topics} == topics


def test_nobody_publishes_presence(here):
    client = connect_with(here, *here.users("alice"), pub_topics=["presence.*"])
    answer = client.broadcast("presence.bob", "online")
    assert (answer["type"], answer["data"]["code"]) == ("Error", 403)


def test_an_odd_name_is_percent_encoded(here):
    alice, = here.users("alice")
    odd = f"Jürgen M. {alice}/*"
    name = "presence." + "".join(chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b"_-"
                                 else f"%{byte:02X}" for byte in odd.encode())
    watcher = here.connect(alice, gateway=1)
    watcher.subscribe(name)
    assert watcher.take("Presence")["status"] == "offline"
    client = here.connect(odd)
    data = watcher.take("Presence")
    assert (data["user_id"], data["status"]) == (odd, "online")
    client.close()
