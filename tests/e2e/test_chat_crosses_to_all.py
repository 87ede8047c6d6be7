"""Messages between chat and every other protocol: text, attachments, other fields, edits."""

import json

from callie import callie
from chat import Chat

FILE = [{"type": "file", "url": "https://example.org/a"}]


def test_other_fields_go_there_and_back(stack):
    """What is beside text and attachments stands in `data` here, in the payload of realtime."""
    alice, bob = stack.users("alice", "bob")
    chat, realtime = Chat(stack, alice), stack.connect(bob, gateway=1)
    chat.new(bob, "hi", data={"mood": 1.5, "n": 9007199254740993})
    payload = realtime.take("DirectMessage")["payload"]
    assert payload == {"message": "hi", "mood": 1.5, "n": 9007199254740993}
    realtime.direct(alice, payload)
    assert chat.event("new", userId=bob)["payload"] == {
        "chatId": bob, "userId": bob, "messageId": 2, "message": "hi",
        "data": {"mood": 1.5, "n": 9007199254740993}}


def test_messaging(stack):
    alice, bob = stack.users("alice", "bob")
    chat, other = Chat(stack, alice), stack.open("messaging", bob, gateway=1)
    other.send_text(json.dumps({"send": [{"rid": alice, "id": 1, "text": "hi", "mood": "good",
                                          "attachments": FILE}]}))
    payload = chat.event("new")["payload"]
    assert (payload["message"], payload["attachments"]) == ("hi", FILE)
    assert payload["data"]["mood"] == "good"
    assert chat.new(bob, "ho", attachments=FILE, data={"mood": "bad"}) == 2
    message = other.take_where(lambda message: "messages" in message, "messages")["messages"][0]
    assert (message["sid"], message["text"], message["mood"]) == (alice, "ho", "bad")
    assert message["attachments"] == FILE


def test_messaging_to_one_who_is_away(stack):
    """Offline on messaging: kept until it is read."""
    alice, bob = stack.users("alice", "bob")
    stack.open("messaging", bob).close()
    Chat(stack, alice).new(bob, "later")
    other = stack.open("messaging", bob, gateway=1)
    message = other.take_where(lambda message: "messages" in message, "messages")["messages"][0]
    assert message["text"] == "later"


def test_callie(stack):
    alice, bob = stack.users("alice", "bob")
    chat, other = Chat(stack, alice), callie(stack, bob, gateway=1)
    other.say(alice, "hi")
    assert chat.event("new")["payload"]["message"] == "hi"
    message = chat.new(bob, "ho", attachments=[{"type": "image", "url": "https://example.org/i"}])
    came = other.message("ho")
    assert came["sender"] == alice
    assert came["content"]["attachments"][0]["url"] == "https://example.org/i"
    chat.ask("edit", {"chatId": bob, "messageId": message, "message": "hey"})
    edited = other.system("MESSAGE_EDITED")
    assert "hey" in json.dumps(edited)
    chat.ask("delete", {"chatId": bob, "messageId": message})
    other.system("MESSAGE_DELETED")


def test_callie_edits_reach_chat(stack):
    alice, bob = stack.users("alice", "bob")
    chat, other = Chat(stack, alice), callie(stack, bob, gateway=1)
    _, message_id = other.say(alice, "hi")
    number = chat.event("new")["payload"]["messageId"]
    other.done("EDIT_MESSAGE", messageID=message_id, text="ho")
    assert chat.event("edit")["payload"] == {"chatId": bob, "messageId": number, "message": "ho"}
    assert chat.ask("getMessage", {"chatId": bob, "messageId": number})["message"] == "ho"
    other.done("DELETE_MESSAGE", messageID=message_id)
    assert chat.event("delete")["payload"] == {"chatId": bob, "messageId": number}
    assert "deletedAt" in chat.ask("getMessage", {"chatId": bob, "messageId": number})


def test_simple(stack):
    alice, bob = stack.users("alice", "bob")
    chat, other = Chat(stack, alice), stack.open("simple", bob, gateway=1)
    other.take_where(lambda message: message["type"] == "user_connected", "welcome")
    other.send_text(json.dumps({"type": "send_message", "payload_id": "p1",
                                "message": "hi", "to": alice}))
    assert chat.event("new")["payload"]["message"] == "hi"
    chat.new(bob, "ho", attachments=FILE)
    came = other.take_where(lambda message: message["type"] == "message_sent"
                            and message.get("to") == bob, "message_sent")
    assert "ho" in json.dumps(came) and FILE[0]["url"] in json.dumps(came)


def test_binary_messages_are_attachments(stack):
    alice, bob = stack.users("alice", "bob")
    chat, other = Chat(stack, alice), stack.connect(bob, gateway=1)
    address = alice.encode()
    payload = len(address).to_bytes(2, "big") + address + b"\0\1\2"
    other.send_frame(2, b"\x02" + len(payload).to_bytes(4, "big") + payload)
    event = chat.event("new")
    assert event["payload"]["message"] == ""
    assert event["payload"]["attachments"] == [{"type": "file", "data": "AAEC"}]
    assert chat.ask("getMessage", {"chatId": bob, "messageId": 1})["attachments"] == [
        {"type": "file", "data": "AAEC"}]
