"""Messages between chat and realtime: text, attachments and other fields find their places."""

from chat import Chat

FILE = [{"type": "file", "url": "https://example.org/a"}]


def test_realtime_to_chat(stack):
    alice, bob = stack.users("alice", "bob")
    sender, reader = stack.connect(alice), Chat(stack, bob, gateway=1)
    sender.direct(bob, {"message": "hi", "attachments": FILE, "mood": 1.0}, id="rt-1")
    event = reader.event("new")
    assert event["payload"] == {"chatId": alice, "userId": alice, "messageId": 1, "message": "hi",
                                "attachments": FILE, "data": {"mood": 1.0}}
    assert '"mood":1.0' in reader.client.text_of(event)
    message = reader.ask("getMessage", {"chatId": alice, "messageId": 1})
    assert message["sender"] == alice and message["message"] == "hi"
    assert message["attachments"] == FILE and message["data"] == {"mood": 1.0}


def test_chat_to_realtime(stack):
    alice, bob = stack.users("alice", "bob")
    reader, sender = stack.connect(bob), Chat(stack, alice, gateway=1)
    sender.new(bob, "hi", attachments=FILE)
    message = reader.take("DirectMessage")
    assert message["from_user"] == alice
    assert message["payload"]["message"] == "hi"
    assert message["payload"]["attachments"] == FILE


def test_chat_to_an_offline_realtime_user(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Chat(stack, alice)
    for text in ("one", "two"):
        sender.new(bob, text)
    reader = stack.connect(bob, gateway=1)
    assert [reader.take("DirectMessage")["payload"]["message"] for _ in range(2)] == ["one", "two"]


def test_what_waited_in_the_mailbox_comes_as_events(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    for text in ("one", "two", "three"):
        sender.direct(bob, {"message": text})
    reader = Chat(stack, bob, gateway=1)
    reader.await_event(3)
    assert [event["payload"]["message"] for event in reader.events("new")] == [
        "one", "two", "three"]
    assert reader.ask("getChats")[0]["missed"] == 3
    # And it does not wait twice.
    again = stack.connect(bob)
    reader.settle()
    again.ping()
    assert not again.of_type("DirectMessage")
    back = stack.users("back")[0]
    assert reader.new(back, "hi") == 1


def test_a_chat_client_answers_a_realtime_one(stack):
    alice, bob = stack.users("alice", "bob")
    chatter, other = Chat(stack, bob), stack.connect(alice, gateway=1)
    other.direct(bob, {"message": "hi"})
    chatter.event("new")
    assert chatter.new(alice, "ho") == 2
    assert other.take("DirectMessage")["payload"]["message"] == "ho"
    assert [message["message"] for message in
            chatter.ask("getMessages", {"chatId": alice, "count": 10})] == ["hi", "ho"]
