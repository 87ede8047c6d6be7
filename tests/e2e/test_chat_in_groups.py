"""chat: groups, which the callie protocol makes, are chats like others, with marks of each member."""

import pytest

from callie import CallieClient, open_callie
from chat import Chat


@pytest.fixture
def group(stack):
    """Alice's group with Bob and Carol, all of them on chat; and the callie client who made it."""
    alice, bob, carol = stack.users("alice", "bob", "carol")
    owner = open_callie(stack, alice)
    members = [Chat(stack, user, gateway=number % 2)
               for number, user in enumerate((alice, bob, carol))]
    made = owner.done("CREATE_GROUP", name="Tea", members=[bob, carol])
    chat = f"group:{made['groupID'].removeprefix('group:')}"
    return owner, chat, members
