"""chat: groups, which the callie protocol makes, are chats like others, with marks of each member."""

import pytest

from callie import callie
from chat import Chat
from waiting import wait_until


@pytest.fixture
def tea(stack):
    """Alice's group with Bob and Carol, all of them on chat: its owner on callie, chatId, members."""
    alice, bob, carol = stack.users("alice", "bob", "carol")
    owner = callie(stack, alice)
    members = [Chat(stack, user, gateway=number % 2)
               for number, user in enumerate((alice, bob, carol))]
    made = owner.done("CREATE_GROUP", name="Tea", members=[bob, carol])
    group = "group:" + made["groupID"].removeprefix("group:")
    for member in members:
        wait_until(lambda member=member: [chat["id"] for chat in member.ask("getChats")] == [group],
                   "the group is among the chats")
    return owner, group, members


def test_all_members_get_what_is_written(tea):
    _, group, (alice, bob, carol) = tea
    bob.subscribe(0, echo=True)
    assert bob.new(group, "hi all", clientMessageId="c-1") == 1
    for member in (alice, bob, carol):
        event = member.event("new")
        assert event["id"] == 1
        assert event["payload"] == {"chatId": group, "userId": bob.user, "messageId": 1,
                                    "message": "hi all", "clientMessageId": "c-1"}
    bob.ask("edit", {"chatId": group, "messageId": 1, "message": "hello all"})
    bob.ask("delete", {"chatId": group, "messageId": 1})
    for member in (alice, bob, carol):
        assert member.event("edit")["payload"] == {"chatId": group, "messageId": 1,
                                                   "message": "hello all"}
        assert member.event("delete")["payload"] == {"chatId": group, "messageId": 1}
        assert [event["id"] for event in member.events()] == [1, 2, 3]
    alice.new(group, "hi Bob")
    carol.new(group, "hi both")
    for member in (bob, carol, alice):
        member.event("new", message="hi both" if member is not carol else "hi Bob")
    assert [event["id"] for event in alice.events()] == [1, 2, 3, 5]
    assert [event["id"] for event in carol.events()] == [1, 2, 3, 4]


def test_each_member_marks_for_himself(tea):
    _, group, (alice, bob, carol) = tea
    alice.new(group, "hi")
    assert bob.ask("dlvrd", {"chatId": group, "messageId": 1}) == {"chatId": group, "messageId": 1}
    assert carol.ask("read", {"chatId": group, "messageId": 1}) == {
        "chatId": group, "messageId": 1, "missed": 0}
    delivered, read = alice.event("dlvrd"), alice.event("read")
    assert delivered["payload"]["userId"] == bob.user
    assert read["payload"] == {"chatId": group, "userId": carol.user, "messageId": 1,
                               "timestamp": read["timestamp"]}
    message = bob.ask("getMessage", {"chatId": group, "messageId": 1})
    marks = {entry["userId"]: entry for entry in message["delivering"]}
    assert marks.keys() == {bob.user, carol.user}
    assert marks[bob.user].keys() == {"userId", "dlvrd"}
    assert marks[carol.user] == {"userId": carol.user, "dlvrd": read["timestamp"],
                                 "read": read["timestamp"]}
    assert "dlvrd" not in message and "read" not in message
    assert alice.ask("getMessages", {"chatId": group, "count": 5}) == [message]


def test_a_group_is_a_chat_among_others(tea):
    _, group, (alice, bob, carol) = tea
    assert bob.ask("getChats") == [{"id": group, "type": "group", "name": "Tea", "missed": 0}]
    alice.new(bob.user, "only you")
    bob.event("new")
    alice.new(group, "hi")
    bob.event("new", chatId=group)
    chats = bob.ask("getChats")
    assert [chat["id"] for chat in chats] == [group, alice.user]
    assert chats[0]["lastMessage"]["message"] == "hi"
    assert (chats[0]["lastId"], chats[0]["missed"]) == (1, 1)
    assert bob.ask("getChat", {"chatId": group}) == chats[0]
    assert carol.ask("getChats")[0] == chats[0]


def test_strangers_stay_outside(stack, tea):
    _, group, (alice, *_) = tea
    alice.new(group, "secret")
    eve = Chat(stack, stack.users("eve")[0])
    one = {"chatId": group, "messageId": 1}
    for kind, payload in (("new", {"chatId": group, "message": "hi"}), ("dlvrd", one),
                          ("read", one), ("edit", {**one, "message": "x"}), ("delete", one),
                          ("getMessage", one), ("getMessages", {"chatId": group, "count": 1}),
                          ("getChat", {"chatId": group}), ("typing", {"chatId": group})):
        assert eve.error(kind, payload) == 403, kind
    assert eve.error("getMessages", {"chatId": "group:none", "count": 1}) == 404
    eve.event_out("typing", {"chatId": group})
    assert eve.ask("getChats") == []
    assert not alice.others("typing")


def test_typing_reaches_the_other_members(tea):
    _, group, (alice, bob, carol) = tea
    alice.event_out("typing", {"chatId": group})
    for member in (bob, carol):
        assert member.event("typing")["payload"] == {"userId": alice.user, "chatId": group}
    assert alice.ask("typing", {"chatId": group}) is None
    assert not alice.others("typing")


def test_members_see_each_other_come_and_go(stack, tea):
    _, group, (alice, bob, carol) = tea
    alice.new(group, "hi")
    carol.event("new")
    carol.close()
    again = Chat(stack, carol.user, gateway=1)
    online = {again.event("online")["payload"]["userId"] for _ in range(2)}
    assert online == {alice.user, bob.user}


def test_who_joins_later_sees_what_follows(stack, tea):
    owner, group, (alice, bob, _) = tea
    alice.new(group, "before")
    dave = Chat(stack, stack.users("dave")[0], gateway=1)
    owner.done("ADD_MEMBER", groupID=group.removeprefix("group:"), username=dave.user)
    alice.new(group, "after")
    assert dave.event("new")["payload"]["messageId"] == 2
    assert [message["message"] for message in
            dave.ask("getMessages", {"chatId": group, "count": 10})] == ["after"]
    assert dave.error("getMessage", {"chatId": group, "messageId": 1}) == 404
    assert dave.ask("getChat", {"chatId": group})["missed"] == 1
    assert [entry["userId"] for entry in
            alice.ask("getMessage", {"chatId": group, "messageId": 1})["delivering"]] == []
    bob.ask("read", {"chatId": group, "messageId": 2})
    assert alice.event("read")["payload"]["messageId"] == 2


def test_a_deleted_group_is_gone(tea):
    owner, group, (alice, bob, _) = tea
    alice.new(group, "hi")
    bob.event("new")
    owner.done("DELETE_GROUP", groupID=group.removeprefix("group:"))
    assert bob.error("new", {"chatId": group, "message": "hi"}) == 404
    assert bob.error("getMessages", {"chatId": group, "count": 1}) == 404
    wait_until(lambda: not bob.ask("getChats"), "the group is gone from the chats")


def test_callie_and_chat_share_a_group(tea):
    owner, group, (alice, bob, _) = tea
    payload, message_id = owner.say(group, "from callie",
                                    content={"attachments": [
                                        {"type": "image", "url": "https://example.org/a.png"}]})
    event = bob.event("new")
    assert event["payload"]["message"] == "from callie"
    assert event["payload"]["attachments"] == [
        {"type": "image", "url": "https://example.org/a.png"}]
    bob.new(group, "from chat")
    assert owner.message("from chat")["sender"] == bob.user
    assert alice.event("new", message="from chat")
    assert payload and message_id
