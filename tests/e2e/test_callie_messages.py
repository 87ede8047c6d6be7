"""callie: messages between users: as they were, to all of the user's connections, or discarded and told."""

import json

import pytest

from callie import callie, timestamp
from harness import sign_token


@pytest.fixture(scope="module")
def module(module_stack):
    return module_stack(auth=False)


@pytest.fixture
def pair(module):
    alice, bob = module.users("alice", "bob")
    yield callie(module, alice), callie(module, bob, gateway=1)
    module.abandon_clients()


def test_a_message_arrives_as_it_was_but_for_its_token(module, pair):
    alice, bob = pair
    text = json.dumps(alice.payload(bob.user, "MSG", {
        "messageID": "m1", "text": "# *Markdown* `code` é €",
        "attachments": [{"type": "image", "url": "https://example.org/a.png",
                         "metadata": {"filename": "a.png", "size": 204800,
                                      "filetype": "image/png"}}]},
        metadata={"flag": True}, own=[1.0, 9007199254740993]))
    alice.send_text('{"token":"%s",%s' % (module.token(alice.user), text[1:]))
    received = bob.message()
    assert received == json.loads(text)
    came = bob.text_of(received)
    assert "token" not in came
    assert "9007199254740993" in came and "1.0" in came


def test_it_goes_to_every_connection_of_the_user(module, pair):
    alice, bob = pair
    other = callie(module, bob.user)
    alice.say(bob.user, "hello")
    assert bob.message("hello") == other.message("hello")


def test_order_is_kept(pair):
    alice, bob = pair
    for n in range(100):
        alice.say(bob.user, f"{n}")
    bob.message("99")
    assert [m["content"]["text"] for m in bob.messages()] == [f"{n}" for n in range(100)]


def test_to_oneself(pair):
    alice, _ = pair
    alice.say(alice.user, "note")
    assert alice.message("note")["recipient"] == alice.user


def test_empty_text_is_a_message(pair):
    alice, bob = pair
    alice.say(bob.user, "")
    assert bob.message()["content"]["text"] == ""


def test_a_number_names_the_user_of_the_same_digits(module):
    user, = module.users("4711")
    number = user.replace("-", "")
    sender, receiver = callie(module, module.users("alice")[0]), callie(module, number, gateway=1)
    sender.send_payload(int(number), "MSG", {"messageID": "m1", "text": "hi"})
    assert receiver.message("hi")["recipient"] == int(number)


def assert_discarded(alice, name):
    payload_id, message_id = alice.say(name, "hello")
    answer = alice.system("RECIPIENT_OFFLINE", payload_id)
    assert answer["metadata"] == {"payloadID": payload_id, "messageID": message_id}
    assert (answer["sender"], answer["recipient"]) == ("SERVER", alice.user)
    assert "token" not in answer
    return answer


def test_to_a_user_who_was_never_there_it_is_discarded_and_told(pair):
    alice, bob = pair
    assert_discarded(alice, f"nobody-{bob.user}")


def test_to_a_user_who_is_offline_it_is_discarded_and_told(module, pair):
    alice, bob = pair
    unknown = assert_discarded(alice, f"nobody-{bob.user}")
    bob.close()
    watcher = module.connect(module.users("watcher")[0])
    watcher.subscribe(f"presence.{bob.user}")
    watcher.take_where(lambda m: m["type"] == "Presence" and m["data"]["status"] == "offline",
                       f"{bob.user} is offline")
    offline = assert_discarded(alice, bob.user)
    assert offline["content"] == unknown["content"]  # names cannot be probed
    again = callie(module, bob.user, settled=False)
    again.settle()
    alice.say(bob.user, "now")
    again.message("now")
    assert [m["content"]["text"] for m in again.messages()] == ["now"]


def test_the_same_payload_again_is_delivered_once(pair):
    alice, bob = pair
    text = json.dumps(alice.payload(bob.user, "MSG", {"messageID": "m1", "text": "once"}))
    for _ in range(3):
        alice.send_text(text)
    alice.say(bob.user, "end")
    bob.message("end")
    assert [m["content"]["text"] for m in bob.messages()] == ["once", "end"]


def test_store_keeps_it(new_stack):
    stack = new_stack(auth=False, callie_offline="store")
    alice = callie(stack, "alice")
    alice.say("bob", "for later")
    alice.beat()
    stack.redis_holds_for("bob", 1)
    assert callie(stack, "bob", gateway=1, settled=False).message("for later")
    assert not alice.systems("RECIPIENT_OFFLINE")


def test_broadcast_reaches_every_connection_but_the_senders_own(module, pair):
    alice, bob = pair
    others = [callie(module, user, gateway=n % 2)
              for n, user in enumerate(module.users("carol", "dave"))]
    alice.say("BROADCAST", f"all-{alice.user}")
    for client in (bob, *others):
        received = client.message(f"all-{alice.user}")
        assert received["recipient"] == "BROADCAST" and received["sender"] == alice.user
    alice.beat()
    assert not [m for m in alice.messages() if m["recipient"] == "BROADCAST"]


def test_broadcast_needs_a_token_that_permits_it(module):
    user, = module.users("alice")
    module._tokens[user] = sign_token(module.secret, sub=user, pub_topics=["chat.**"])
    alice = callie(module, user)
    payload_id, _ = alice.say("BROADCAST", "no")
    assert alice.system(payload_id=payload_id)["content"]["code"] == "FORBIDDEN"


def test_status_needs_a_token_that_permits_it(module):
    user, friend, other = module.users("alice", "bob", "carol")
    module._tokens[user] = sign_token(module.secret, sub=user, sub_topics=[f"presence.{friend}"])
    alice = callie(module, user)
    for name, code in ((friend, "COMMAND_OK"), (user, "COMMAND_OK"), (other, "FORBIDDEN")):
        payload_id = alice.send_payload("SERVER", "CMD", {
            "command": "GET_STATUS", "parameters": {"username": name}})
        assert alice.system(payload_id=payload_id)["content"]["code"] == code


def test_ping_to_the_server_is_answered(pair):
    alice, _ = pair
    payload_id = alice.send_payload("SERVER", "PING", {})
    pong = alice.take_where(lambda m: m["type"] == "PONG", "PONG")
    assert pong["sender"] == "SERVER" and pong["recipient"] == alice.user
    assert pong["metadata"] == {"payloadID": payload_id} and pong["content"] == {}


def test_ping_to_a_user_is_passed_on(module, pair):
    alice, bob = pair
    alice.send_payload(bob.user, "PING", {}, token=module.token(alice.user), payloadID="p-ping")
    ping = bob.take_where(lambda m: m["type"] == "PING", "PING")
    assert ping["sender"] == alice.user and ping["payloadID"] == "p-ping" and "token" not in ping
    bob.send_payload(alice.user, "PONG", {}, metadata={"payloadID": "p-ping"})
    pong = alice.take_where(lambda m: m["type"] == "PONG", "PONG")
    assert pong["sender"] == bob.user and pong["metadata"] == {"payloadID": "p-ping"}


def test_the_server_pings_in_silence(new_stack):
    stack = new_stack(auth=False, gateways=1, ping_after_ms=1000, silence_max_ms=20000)
    alice = callie(stack, "alice")
    ping = alice.take_where(lambda m: m["type"] == "PING", "PING")
    assert (ping["sender"], ping["recipient"], ping["content"]) == ("SERVER", "alice", {})
    alice.send_payload("SERVER", "PONG", {})
    alice.beat()


def test_both_forms_of_a_timestamp_are_read(pair):
    alice, bob = pair
    alice.say(bob.user, "colon", timestamp=timestamp())
    alice.say(bob.user, "dot", timestamp=timestamp(form="%Y-%m-%dT%H:%M.%S"))
    bob.message("colon")
    bob.message("dot")


@pytest.mark.parametrize("offset_s, code", [(290, None), (310, "TIMESTAMP_REJECTED"),
                                            (-3590, None), (-3610, "TIMESTAMP_REJECTED")])
def test_timestamps_have_a_window(pair, offset_s, code):
    alice, bob = pair
    payload_id, _ = alice.say(bob.user, "hello", timestamp=timestamp(offset_s))
    if code:
        assert alice.system(payload_id=payload_id)["content"]["code"] == code
        alice.say(bob.user, "end")
        bob.message("end")
        assert len(bob.messages()) == 1
    else:
        bob.message("hello")


def test_a_callie_client_and_a_realtime_one_talk(module):
    alice, bob = module.users("alice", "bob")
    here, there = callie(module, alice), module.connect(bob, gateway=1)
    there.direct(alice, {"message": "hi", "attachments": [{"type": "file", "url": "http://x/a"}],
                         "n": 1})
    received = here.message("hi")
    assert received["sender"] == bob and received["recipient"] == alice
    assert received["content"]["attachments"] == [{"type": "file", "url": "http://x/a"}]
    assert received["metadata"]["data"] == {"n": 1}
    assert received["payloadID"] == received["content"]["messageID"]
    here.say(bob, "ho", metadata={"data": {"n": 2}})
    assert there.take("DirectMessage")["payload"] == {"message": "ho", "n": 2}
