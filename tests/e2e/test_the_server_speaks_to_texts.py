"""What the HTTP API sends reaches messaging and simple: to a user, and to everybody."""

import pytest

from api import KEYS, Api
from messenger import Messenger, Roommate


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on", api_keys=KEYS)


def test_to_a_user(stack):
    bob, carol = stack.users("bob", "carol")
    messenger = Messenger(stack, bob, gateway=1)
    roommate = Roommate(stack, carol, gateway=1, username=carol)
    attachments = [{"type": "file", "url": "https://x"}]
    for user in (bob, carol):
        Api(stack).done("publish", {"user": user, "message": "hi", "attachments": attachments,
                                    "id": f"to {user}"})
    messenger.await_texts("hi")
    assert messenger.messages() == [{"id": f"to {bob}", "sid": "SERVER", "rid": bob, "text": "hi",
                                     "attachments": attachments}]
    message = roommate.take("message_sent")
    assert message["username"] is None
    assert (message["message"], message["to"]) == ("hi\nhttps://x", carol)


def test_to_everybody(stack):
    bob, carol = stack.users("bob", "carol")
    messenger = Messenger(stack, bob)
    roommate = Roommate(stack, carol, gateway=1, username=carol)
    Api(stack).done("publish", {"everybody": True, "message": "to all", "id": "all"})
    messenger.await_texts("to all")
    assert messenger.messages() == [{"id": "all", "sid": "SERVER", "rid": "*", "text": "to all"}]
    message = roommate.take("message_sent", message="to all")
    assert message["username"] is None
    assert "to" not in message


def test_a_user_s_connections_are_ended(stack):
    bob, carol = stack.users("bob", "carol")
    clients = [Messenger(stack, bob, gateway=1), Roommate(stack, bob, username=bob)]
    Api(stack).done("disconnect", {"user": bob})
    assert [client.await_close() for client in clients] == [1000, 1000]
    Roommate(stack, carol, username=carol)
