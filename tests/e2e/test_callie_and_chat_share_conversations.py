"""What callie says to people on chat, and they to it, is one conversation: messages, edits, deletes, groups."""

import itertools
import json
import time

import pytest

from callie import callie

_ids = itertools.count(1)


class Chat:
    """As much of chat as is needed here."""

    def __init__(self, stack, user, gateway=0):
        self.client = stack.open("chat", user, gateway=gateway)
        self.user = user
        self.ask("subscribe", {"lastEventId": 0})

    def ask(self, kind, payload):
        id = f"r{next(_ids)}"
        self.client.send_text(json.dumps({"type": "request", "timestamp": int(time.time()), "id": id,
                                          "payloadType": kind, "payload": payload}))
        answer = self.client.take_where(lambda m: m.get("id") == id and m["type"] == "response",
                                        f"answer to {kind}")
        assert "error" not in answer, answer
        return answer.get("payload")

    def event(self, kind, **fields):
        return self.client.take_where(
            lambda m: m.get("eventType") == kind and fields.items() <= m["payload"].items(),
            f"{kind} {fields}")["payload"]


@pytest.fixture(scope="module")
def module(module_stack):
    return module_stack(auth=False)


@pytest.fixture
def pair(module):
    """alice on callie, bob on chat, on different gateways."""
    alice, bob = module.users("alice", "bob")
    yield callie(module, alice), Chat(module, bob, gateway=1)
    module.abandon_clients()


def test_a_direct_message_is_edited_and_deleted_as_an_event(pair):
    alice, bob = pair
    _, message_id = alice.say(bob.user, "first")
    new = bob.event("new", chatId=alice.user, message="first")
    alice.done("EDIT_MESSAGE", messageID=message_id, text="second")
    bob.event("edit", chatId=alice.user, messageId=new["messageId"], message="second")
    alice.done("DELETE_MESSAGE", messageID=message_id)
    bob.event("delete", chatId=alice.user, messageId=new["messageId"])


def test_at_once(pair):
    alice, bob = pair
    for n in range(20):
        _, message_id = alice.say(bob.user, f"first {n}")
        alice.done("EDIT_MESSAGE", messageID=message_id, text=f"second {n}")
        new = bob.event("new", message=f"first {n}")
        bob.event("edit", messageId=new["messageId"], message=f"second {n}")


def test_what_chat_edits_is_told(pair):
    alice, bob = pair
    number = bob.ask("new", {"chatId": alice.user, "message": "first"})["messageId"]
    message = alice.message("first")
    assert message["sender"] == bob.user and message["recipient"] == alice.user
    bob.ask("edit", {"chatId": alice.user, "messageId": number, "message": "second"})
    told = alice.system("MESSAGE_EDITED")["metadata"]
    assert told == {"messageID": message["content"]["messageID"], "username": bob.user,
                    "text": "second"}
    bob.ask("delete", {"chatId": alice.user, "messageId": number})
    assert alice.system("MESSAGE_DELETED")["metadata"]["messageID"] == told["messageID"]


def test_a_group_is_the_same_group(pair):
    alice, bob = pair
    group = alice.done("CREATE_GROUP", name="Both", members=[bob.user])["groupID"]
    alice.say(group, "from callie")
    bob.event("new", chatId=f"group:{group}", message="from callie", userId=alice.user)
    bob.ask("new", {"chatId": f"group:{group}", "message": "from chat"})
    message = alice.message("from chat")
    assert message["recipient"] == f"group:{group}" and message["sender"] == bob.user
    chat = bob.ask("getChat", {"chatId": f"group:{group}"})
    assert (chat["type"], chat["name"]) == ("group", "Both")
    assert alice.done("LIST_MEMBERS", groupID=group)["result"] == [alice.user, bob.user]


def test_away_from_chat_is_offline(module, pair):
    """Whatever its receiver's protocol keeps: a message by callie is discarded, and its sender told."""
    alice, bob = pair
    bob.client.close()
    watcher = module.connect(module.users("watcher")[0])
    watcher.subscribe(f"presence.{bob.user}")
    watcher.take_where(lambda m: m["type"] == "Presence" and m["data"]["status"] == "offline",
                       "offline")
    payload_id, message_id = alice.say(bob.user, "for later")
    assert alice.system("RECIPIENT_OFFLINE")["metadata"] == {"payloadID": payload_id,
                                                             "messageID": message_id}


def test_a_group_keeps_it_for_chat(module, pair):
    alice, bob = pair
    group = alice.done("CREATE_GROUP", name="Both", members=[bob.user])["groupID"]
    alice.system("GROUP_CREATED")
    bob.client.close()
    alice.say(group, "for later")
    Chat(module, bob.user).event("new", message="for later", chatId=f"group:{group}")
