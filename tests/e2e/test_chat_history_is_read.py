"""chat: messages, chats and events are read as they stand."""

import pytest

from chat import Chat
from waiting import wait_until


@pytest.fixture
def pair(stack):
    alice, bob = stack.users("alice", "bob")
    return Chat(stack, alice), Chat(stack, bob, gateway=1)


def with_echo(stack):
    return [Chat(stack, user, gateway, echo=True)
            for gateway, user in enumerate(stack.users("alice", "bob"))]


def ids(messages):
    return [message["messageId"] for message in messages]


def test_messages_come_newest_last_up_to_an_id(pair):
    alice, bob = pair
    for number in range(1, 31):
        alice.new(bob.user, f"text {number}")
    chat = {"chatId": alice.user}
    assert ids(bob.ask("getMessages", {**chat, "count": 5})) == [26, 27, 28, 29, 30]
    assert ids(bob.ask("getMessages", {**chat, "count": 3, "endId": 7})) == [5, 6, 7]
    assert ids(bob.ask("getMessages", {**chat, "count": 100, "endId": 2})) == [1, 2]
    assert ids(bob.ask("getMessages", {**chat, "count": 100})) == list(range(1, 31))
    assert ids(bob.ask("getMessages", {**chat, "count": 2, "endId": 1000})) == [29, 30]
    assert bob.ask("getMessages", {"chatId": "nobody-yet", "count": 10}) == []


def test_a_message_shows_what_became_of_it(pair):
    alice, bob = pair
    attachments = [{"type": "file", "url": "https://example.org/a"}]
    alice.new(bob.user, "hi", attachments=attachments, clientMessageId="c")
    message = bob.ask("getMessage", {"chatId": alice.user, "messageId": 1})
    created = message["createdAt"]
    assert message == {"messageId": 1, "sender": alice.user, "message": "hi",
                       "attachments": attachments, "createdAt": created}
    bob.ask("dlvrd", {"chatId": alice.user, "messageId": 1})
    alice.ask("edit", {"chatId": bob.user, "messageId": 1, "message": "ho"})
    for client, peer in ((alice, bob), (bob, alice)):
        message = client.ask("getMessage", {"chatId": peer.user, "messageId": 1})
        assert message == {"messageId": 1, "sender": alice.user, "message": "ho",
                           "attachments": attachments, "createdAt": created,
                           "updatedAt": message["updatedAt"], "dlvrd": message["dlvrd"]}


def test_the_first_mark_that_covers_a_message_counts(pair):
    alice, bob = pair
    for number in range(6):
        alice.new(bob.user, str(number))
    bob.ask("dlvrd", {"chatId": alice.user, "messageId": 2})
    bob.ask("read", {"chatId": alice.user, "messageId": 4})
    messages = alice.ask("getMessages", {"chatId": bob.user, "count": 6})
    marked = [(message["messageId"], "dlvrd" in message, "read" in message)
              for message in messages]
    assert marked == [(1, True, True), (2, True, True), (3, True, True), (4, True, True),
                      (5, False, False), (6, False, False)]


def a_little_later(stack):
    """Chats are ordered by milliseconds of Redis, as each partition knows them."""
    def now_ms():
        seconds, micros = map(int, stack.redis.command("TIME"))
        return seconds * 1000 + micros // 1000

    begin = now_ms()
    wait_until(lambda: now_ms() > begin + 3, "three milliseconds have passed")


def test_chats_come_latest_first(stack):
    names = stack.users("alice", "bob", "carol", "dave")
    alice, *others = [Chat(stack, name, gateway=index % 2) for index, name in enumerate(names)]
    for other in others:
        a_little_later(stack)
        alice.new(other.user, f"hi {other.user}")
        other.event("new")
    a_little_later(stack)
    others[0].new(alice.user, "late")
    alice.event("new", message="late")
    chats = alice.ask("getChats")
    assert [chat["id"] for chat in chats] == [names[1], names[3], names[2]]
    assert chats[0] == {"id": names[1], "type": "dialog", "lastId": 2, "missed": 1,
                        "lastMessage": alice.ask("getMessage",
                                                 {"chatId": names[1], "messageId": 2})}
    assert chats[1]["missed"] == 0
    assert alice.ask("getChat", {"chatId": names[3]}) == chats[1]
    assert alice.error("getChat", {"chatId": "nobody-at-all"}) == 404
    assert Chat(stack, stack.users("eve")[0]).ask("getChats") == []


def test_events_are_read_as_they_were_pushed(pair):
    alice, bob = pair
    for number in range(3):
        alice.new(bob.user, str(number))
    alice.ask("edit", {"chatId": bob.user, "messageId": 1, "message": "x"})
    alice.ask("delete", {"chatId": bob.user, "messageId": 2})
    bob.await_event(5)
    assert bob.ask("getEvents", {"fromEventId": 1}) == bob.events()
    assert bob.ask("getEvents", {"fromEventId": 4}) == bob.events()[3:]
    assert bob.ask("getEvents", {"fromEventId": 6}) == []
    assert bob.ask("getEvent", {"eventId": 2}) == bob.events()[1]
    assert bob.error("getEvent", {"eventId": 6}) == 404


def test_pages_have_an_end(pair):
    alice, bob = pair
    for number in range(105):
        alice.send("new", {"chatId": bob.user, "message": str(number)})
    bob.await_event(105)
    assert [event["id"] for event in bob.ask("getEvents", {"fromEventId": 1})] == list(
        range(1, 101))
    assert ids(bob.ask("getMessages", {"chatId": alice.user, "count": 100})) == list(range(6, 106))


def test_what_was_written_together_is_read_alone(stack):
    """Messages that come at once share entries of the logs (router/journal.h)."""
    alice, bob = with_echo(stack)
    for number in range(1, 61):
        sender, to = (bob, alice) if number % 3 == 0 else (alice, bob)
        sender.send("new", {"chatId": to.user, "message": f"{number}"})
    bob.await_event(60)
    events = bob.events()
    assert ids([event["payload"] for event in events]) == list(range(1, 61))
    texts = {event["payload"]["messageId"]: event["payload"]["message"] for event in events}
    chat = {"chatId": alice.user}
    for number in (1, 2, 31, 59, 60):
        message = bob.ask("getMessage", {**chat, "messageId": number})
        assert message["message"] == texts[number]
        assert bob.ask("getEvent", {"eventId": number}) == events[number - 1]
        assert bob.ask("getEvents", {"fromEventId": number}) == events[number - 1:]
        found = bob.ask("getMessages", {**chat, "count": 10, "endId": number})
        assert ids(found) == list(range(max(1, number - 9), number + 1))
    others = [event["payload"]["messageId"] for event in events
              if event["payload"]["userId"] == alice.user]
    assert bob.ask("getChat", chat)["missed"] == len(others)
    bob.ask("read", {**chat, "messageId": others[20]})
    assert bob.ask("getChat", chat)["missed"] == len(others) - 21


def test_much_comes_in_smaller_pages(pair):
    """A page is never so big that a connection is closed for it: it goes on where it ended."""
    alice, bob = pair
    for _ in range(20):
        alice.new(bob.user, "x" * 60000)
    bob.await_event(20)
    seen, end = [], None
    while not seen or seen[0] > 1:
        page = bob.ask("getMessages", {"chatId": alice.user, "count": 100,
                                       **({"endId": end} if end else {})})
        assert page
        seen, end = ids(page) + seen, page[0]["messageId"] - 1
    assert seen == list(range(1, 21))
    events = bob.ask("getEvents", {"fromEventId": 1})
    assert 1 < len(events) < 20 and events[0]["id"] == 1


def test_many_long_chats_come_without_their_last_messages(stack):
    alice, *others = stack.users("alice", *[f"peer{number}" for number in range(12)])
    client = Chat(stack, alice)
    for other in others:
        a_little_later(stack)
        client.new(other, "x" * 50000)
    wait_until(lambda: len(client.ask("getEvents", {"fromEventId": 12})) == 1, "all is logged")
    chats = client.ask("getChats")
    assert [chat["id"] for chat in chats] == others[::-1]
    assert all((chat["lastId"], chat["missed"]) == (1, 0) for chat in chats)
    assert 4 <= sum("lastMessage" in chat for chat in chats) <= 6


def test_own_messages_are_never_missed(stack):
    alice, bob = with_echo(stack)
    for number in range(60):
        (alice if number % 3 else bob).send(
            "new", {"chatId": (bob if number % 3 else alice).user, "message": str(number)})
        if number % 3 == 0:
            bob.await_event(number + 1)
    alice.await_event(60)
    bob.await_event(60)
    assert alice.ask("getChat", {"chatId": bob.user})["missed"] == 20
    assert bob.ask("getChat", {"chatId": alice.user})["missed"] == 40
    last = max(event["payload"]["messageId"] for event in bob.events()
               if event["payload"]["userId"] == alice.user)
    assert bob.ask("read", {"chatId": alice.user, "messageId": last})["missed"] == 0


def test_more_questions_than_may_be_open_are_all_answered(pair):
    alice, bob = pair
    alice.new(bob.user, "hi")
    ids_of = [bob.send(kind, payload) for _ in range(20) for kind, payload in (
        ("getChats", None), ("getMessages", {"chatId": alice.user, "count": 5}),
        ("getEvents", {"fromEventId": 0}))]
    for id in ids_of:
        assert "error" not in bob.response(id)


def test_strangers_see_nothing(stack, pair):
    alice, bob = pair
    alice.new(bob.user, "secret")
    eve = Chat(stack, stack.users("eve")[0])
    assert eve.ask("getMessages", {"chatId": alice.user, "count": 10}) == []
    assert eve.error("getMessage", {"chatId": bob.user, "messageId": 1}) == 404
    assert eve.ask("getChats") == []
