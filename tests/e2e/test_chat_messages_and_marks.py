"""chat: messages, edits, deletions and marks, each told to whom it concerns."""

import json
import time

import pytest

from chat import Chat


@pytest.fixture
def pair(stack):
    alice, bob = stack.users("alice", "bob")
    return Chat(stack, alice), Chat(stack, bob, gateway=1)


def test_the_conversation_of_the_source(stack):
    """The sequence diagram of sources/chat.md, step by step."""
    one, two = stack.users("User1", "User2")
    user1 = Chat(stack, one, subscribe=None)
    user2 = Chat(stack, two, gateway=1, subscribe=None)
    assert user1.subscribe(0) == {"lastEventId": 0, "count": 0}
    assert user2.ask("subscribe") == {"lastEventId": 0, "count": 0}
    user1.event_out("typing", {"chatId": two})
    assert user2.event("typing")["payload"] == {"userId": one, "chatId": one}
    image = [{"type": "image", "url": "https://example.org/cat.png"}]
    sent = user1.ask("new", {"chatId": two, "message": "Hi from User1!", "attachments": image})
    assert sent == {"messageId": 1}
    event = user2.event("new")
    assert event["id"] == 1
    assert event["payload"] == {"chatId": one, "userId": one, "messageId": 1,
                                "message": "Hi from User1!", "attachments": image}
    assert user2.ask("dlvrd", {"chatId": one, "messageId": 1}) == {"chatId": one, "messageId": 1}
    delivered = user1.event("dlvrd")
    assert delivered["payload"] == {"chatId": two, "messageId": 1,
                                    "timestamp": delivered["timestamp"]}
    assert abs(delivered["timestamp"] - time.time()) < 60
    assert user2.ask("read", {"chatId": one, "messageId": 1}) == {
        "chatId": one, "messageId": 1, "missed": 0}
    assert user1.event("read", messageId=1)["payload"]["chatId"] == two
    assert user1.ask("delete", {"chatId": two, "messageId": 1}) is None
    assert user2.event("delete")["payload"] == {"chatId": one, "messageId": 1}


def test_event_ids_count_up_by_one(stack):
    alice, bob = (Chat(stack, user, gateway, echo=True)
                  for gateway, user in enumerate(stack.users("alice", "bob")))
    for number in range(1, 21):
        assert alice.new(bob.user, f"message {number}") == number
    bob.ask("read", {"chatId": alice.user, "messageId": 20})
    alice.event("read")
    bob.await_event(20)
    for client, count in ((alice, 21), (bob, 20)):
        assert [event["id"] for event in client.events()] == list(range(1, count + 1))
    assert [event["payload"]["message"] for event in bob.events("new")] == [
        f"message {number}" for number in range(1, 21)]


def test_other_devices_see_what_one_does(stack, pair):
    """Its answers tell the one what it has done: events do not, unless it asked for an echo."""
    alice, bob = pair
    devices = [Chat(stack, alice.user, gateway=gateway) for gateway in (0, 1)]
    wall = Chat(stack, alice.user, gateway=1, echo=True)
    message = wall.new(bob.user, "hi", clientMessageId="c-1")
    wall.ask("edit", {"chatId": bob.user, "messageId": message, "message": "ho"})
    wall.ask("delete", {"chatId": bob.user, "messageId": message})
    for device in (alice, *devices, wall):
        device.await_event(3)
        assert [event["eventType"] for event in device.events()] == ["new", "edit", "delete"]
        assert device.events()[0]["payload"] == {
            "chatId": bob.user, "userId": alice.user, "messageId": message, "message": "hi",
            "clientMessageId": "c-1"}
    message = alice.new(bob.user, "mine")
    alice.ask("edit", {"chatId": bob.user, "messageId": message, "message": "ours"})
    alice.ask("delete", {"chatId": bob.user, "messageId": message})
    bob.new(alice.user, "yours")
    for device in (alice, *devices, wall):
        device.await_event(7)
    assert [event["id"] for event in alice.events()] == [1, 2, 3, 7]
    for device in (*devices, wall):
        assert [event["id"] for event in device.events()] == list(range(1, 8))
    bob.await_event(6)
    assert [event["id"] for event in bob.events()] == list(range(1, 7))


def test_what_was_done_before_is_read_again(stack, pair):
    """The log has it, for every device: who says that he has seen less gets it."""
    alice, bob = pair
    alice.new(bob.user, "mine")
    bob.await_event(1)
    again = Chat(stack, alice.user, gateway=1)
    again.await_event(1)
    assert alice.ask("getEvents", {"fromEventId": 1}) == again.events()
    assert alice.subscribe() == {"lastEventId": 1, "count": 1}
    alice.await_event(1)
    assert alice.events() == again.events()


def test_an_echo_ends_with_the_next_subscribe(stack, pair):
    alice, bob = pair
    assert alice.subscribe(0, echo=True) == {"lastEventId": 0, "count": 0}
    alice.new(bob.user, "one")
    alice.await_event(1)
    assert alice.subscribe(1) == {"lastEventId": 1, "count": 0}
    alice.new(bob.user, "two")
    bob.new(alice.user, "three")
    alice.await_event(3)
    assert [event["id"] for event in alice.events()] == [1, 3]


def test_one_who_writes_first_sees_the_other_come(pair, stack):
    """Whom a dialog begins with is followed from the answer on."""
    alice, _ = pair
    carol = stack.users("carol")[0]
    alice.new(carol, "are you there?")
    other = Chat(stack, carol, gateway=1)
    assert alice.event("online")["payload"] == {"userId": carol}
    other.close()


def test_marks_are_cumulative_and_told_once(pair):
    alice, bob = pair
    for number in range(5):
        alice.new(bob.user, str(number))
    bob.ask("read", {"chatId": alice.user, "messageId": 3})
    assert alice.event("read")["payload"]["messageId"] == 3
    assert bob.ask("read", {"chatId": alice.user, "messageId": 2})["missed"] == 2
    assert bob.ask("dlvrd", {"chatId": alice.user, "messageId": 3})
    first = alice.ask("getMessage", {"chatId": bob.user, "messageId": 2})
    assert first["dlvrd"] == first["read"]
    assert bob.ask("read", {"chatId": alice.user, "messageId": 5})["missed"] == 0
    assert alice.event("read")["payload"]["messageId"] == 5
    assert alice.ask("getMessage", {"chatId": bob.user, "messageId": 2}) == first
    assert len(alice.events("read")) == 2 and not alice.events("dlvrd")
    assert bob.ask("delivered", {"chatId": alice.user, "messageId": 5})


def test_what_is_missed_are_messages_of_others(pair):
    alice, bob = pair
    for number in range(4):
        alice.new(bob.user, str(number))
        bob.new(alice.user, "me too")
    assert bob.ask("read", {"chatId": alice.user, "messageId": 1})["missed"] == 3
    assert bob.ask("getChat", {"chatId": alice.user})["missed"] == 3
    assert alice.ask("read", {"chatId": bob.user, "messageId": 8})["missed"] == 0


def test_only_the_author_changes_a_message(pair):
    alice, bob = pair
    message = alice.new(bob.user, "hi")
    of_alice = {"chatId": alice.user, "messageId": message}
    assert bob.error("edit", {**of_alice, "message": "ho"}) == 403
    assert bob.error("delete", of_alice) == 403
    for kind in ("edit", "delete", "dlvrd", "read", "getMessage"):
        payload = {"chatId": bob.user, "messageId": 99, "message": "ho"}
        assert alice.error(kind, payload) == 404, kind
        assert alice.error(kind, {**payload, "chatId": "nobody-at-all"}) == 404, kind
        assert alice.error(kind, {**payload, "chatId": "group:none"}) == 404, kind
    assert alice.error("new", {"chatId": "group:none", "message": "hi"}) == 404
    alice.ask("delete", {"chatId": bob.user, "messageId": message})
    assert alice.error("edit", {"chatId": bob.user, "messageId": message, "message": "x"}) == 404
    tombstone = bob.ask("getMessage", of_alice)
    assert tombstone["deletedAt"] >= tombstone["createdAt"]
    assert "message" not in tombstone and "attachments" not in tombstone
    assert tombstone["sender"] == alice.user


def test_a_client_message_id_is_taken_once(stack, pair):
    alice, bob = pair
    first = {"chatId": bob.user, "message": "hi", "clientMessageId": "c-1"}
    answer = alice.ask("new", first)
    assert answer == {"messageId": 1, "clientMessageId": "c-1"}
    again = Chat(stack, alice.user, gateway=1)
    assert again.ask("new", first) == answer
    # Other content under the same id is another message: the client counts anew.
    assert alice.ask("new", {**first, "message": "ho"})["messageId"] == 2
    bob.await_event(2)
    bob.settle()
    assert len(bob.events("new")) == 2


def test_a_duplicate_request_is_answered_as_before(pair):
    alice, bob = pair
    payload = {"chatId": bob.user, "message": "hi"}
    first = alice.response(alice.send("new", payload, id="same"))
    assert alice.response(alice.send("new", payload, id="same")) == first
    assert alice.response(alice.send("getChats", id="same")) == first
    assert alice.new(bob.user, "next") == 2
    bob.await_event(2)
    assert len(bob.events("new")) == 2


def test_numbers_and_texts_arrive_as_they_were_sent(pair):
    alice, bob = pair
    body = ('"message":"\\u0068\\u00e9\\u0000 \\ud83d\\ude00","data":{"n":9007199254740993,'
            '"one":1.0,"big":1E400}')
    alice.client.send_text('{"type":"request","timestamp":1e400,"id":"n","payloadType":"new",'
                           '"payload":{"chatId":"%s",%s}}' % (bob.user, body))
    alice.response("n")
    assert body in bob.client.text_of(bob.event("new"))
    id = bob.send("getMessage", {"chatId": alice.user, "messageId": 1})
    assert body in bob.client.text_of(bob.response(id))


def test_times_are_unix_seconds(pair):
    alice, bob = pair
    alice.new(bob.user, "hi")
    event = bob.event("new")
    message = bob.ask("getMessage", {"chatId": alice.user, "messageId": 1})
    assert abs(message["createdAt"] - time.time()) < 60
    assert event["timestamp"] == message["createdAt"]


def test_a_long_message_arrives(pair):
    alice, bob = pair
    text = "x" * 65000
    alice.new(bob.user, text)
    assert bob.event("new")["payload"]["message"] == text
    assert len(json.dumps(bob.ask("getMessages", {"chatId": alice.user, "count": 100}))) > 65000
