"""chat: who shares a chat sees who is online, and who is typing."""

import pytest

from chat import Chat
from waiting import wait_until


@pytest.fixture(scope="module")
def quick(module_stack):
    return module_stack(auth=False, presence_grace_ms=200)


@pytest.fixture
def friends(quick):
    """Two who have written to each other; nobody is connected."""
    alice, bob = quick.users("alice", "bob")
    witness = quick.connect(quick.users("witness")[0])
    witness.subscribe(f"presence.{alice}", f"presence.{bob}")
    clients = [Chat(quick, alice), Chat(quick, bob, gateway=1)]
    clients[0].new(bob, "hi")
    clients[1].event("new")
    for client in clients:
        witness.take_where(lambda message, user=client.user: message["type"] == "Presence"
                           and message["data"]["user_id"] == user
                           and message["data"]["status"] == "online", "online")
        client.close()
        witness.take_where(lambda message, user=client.user: message["type"] == "Presence"
                           and message["data"]["user_id"] == user and message["data"]["last_seen"]
                           and message["data"]["status"] == "offline", "offline")
    return alice, bob


def test_on_subscribing_one_hears_of_those_online(quick, friends):
    alice, bob = friends
    first = Chat(quick, alice)
    first.settle()
    assert not first.others("online") and not first.others("offline")
    second = Chat(quick, bob, gateway=1)
    assert second.event("online")["payload"] == {"userId": alice}
    assert first.event("online")["payload"] == {"userId": bob}
    second.close()
    gone = first.event("offline")
    assert gone["payload"] == {"userId": bob, "lastSeen": gone["payload"]["lastSeen"]}
    assert abs(gone["payload"]["lastSeen"] - gone["timestamp"]) < 60
    assert "id" not in gone


def test_only_subscribe_makes_a_user_online(quick, friends):
    alice, bob = friends
    watcher = Chat(quick, alice)
    hidden = Chat(quick, bob, gateway=1, subscribe=None)
    hidden.settle()
    watcher.settle()
    assert not watcher.others("online")
    hidden.subscribe()
    watcher.event("online", userId=bob)


def test_a_client_says_that_it_is_offline(quick, friends):
    alice, bob = friends
    watcher, shy = Chat(quick, alice), Chat(quick, bob, gateway=1)
    watcher.event("online")
    shy.event_out("offline")
    watcher.event("offline", userId=bob)
    # Events come all the same.
    watcher.new(bob, "still there?")
    shy.event("new", message="still there?")
    watcher.event_out("typing", {"chatId": bob})
    watcher.new(bob, "and?")
    shy.event("new", message="and?")
    assert not shy.others("typing")
    shy.subscribe(shy.last_event())
    watcher.event("online", userId=bob)


def test_a_new_chat_has_new_people(quick):
    alice, bob = quick.users("alice", "bob")
    first, second = Chat(quick, alice), Chat(quick, bob, gateway=1)
    first.new(bob, "hi")
    assert first.event("online")["payload"] == {"userId": bob}
    assert second.event("online")["payload"] == {"userId": alice}
    second.close()
    first.event("offline", userId=bob)


def test_strangers_hear_nothing(quick, friends):
    alice, bob = friends
    stranger = Chat(quick, quick.users("eve")[0])
    watcher, other = Chat(quick, alice), Chat(quick, bob)
    watcher.event("online")
    other.close()
    watcher.event("offline")
    stranger.settle()
    assert not stranger.others("online") and not stranger.others("offline")


def test_typing_reaches_those_who_are_there(quick, friends):
    alice, bob = friends
    writer = Chat(quick, alice)
    hidden = Chat(quick, bob, gateway=1, subscribe=None)
    phones = [Chat(quick, bob, gateway=number) for number in (0, 1)]
    writer.event_out("typing", {"chatId": bob})
    for phone in phones:
        assert phone.event("typing")["payload"] == {"userId": alice, "chatId": alice}
    assert writer.ask("typing", {"chatId": bob}) is None
    for phone in phones:
        phone.event("typing")
    hidden.settle()
    assert not hidden.others("typing") and not writer.others("typing")
    # Nothing of it is kept.
    assert all(event["eventType"] != "typing"
               for event in phones[0].ask("getEvents", {"fromEventId": 0}))


def test_realtime_users_are_online_too(quick, friends):
    alice, bob = friends
    watcher = Chat(quick, alice)
    connection = quick.connect(bob)
    watcher.event("online", userId=bob)
    connection.close()
    watcher.event("offline", userId=bob)


def test_a_gap_is_made_up_for(quick, friends):
    """Who went while the router was away is offline afterwards."""
    alice, bob = friends
    watcher, other = Chat(quick, alice), Chat(quick, bob, gateway=1)
    watcher.event("online")
    quick.router.kill()
    other.client.abort()
    quick.add_router()
    wait_until(lambda: watcher.others("offline"), "bob is offline")
