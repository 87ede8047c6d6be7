"""Over a rate limit a request gets a 429 with retry_after_ms and has no effect; all goes on."""

import json

import pytest

from callie import callie
from chat import Chat
from waiting import wait_until


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, rate_limits="on")


def split(answers):
    """Those that were done, and those refused with a proper 429."""
    refused = [answer for answer in answers if answer["type"] == "Error"]
    for answer in refused:
        assert answer["data"]["code"] == 429, answer
        assert 0 < answer["data"]["details"]["retry_after_ms"] <= 60000
    return [answer for answer in answers if answer["type"] == "Ack"], refused


def test_broadcasts(stack):
    topic, publisher, user = stack.users("topic", "publisher", "reader")
    reader, sender = stack.connect(user, gateway=1), stack.connect(publisher)
    reader.subscribe(topic)
    ids = sender.send_at_once("Broadcast", ({"topic": topic, "payload": n} for n in range(180)))
    done, refused = split([sender.answer(id) for id in ids])
    assert len(done) >= 100, "the burst"
    assert refused
    deliveries = reader.await_count("Broadcast", len(done))
    assert ([data["metadata"]["message_id"] for data in deliveries]
            == [answer["data"]["message_id"] for answer in done])
    wait_until(lambda: sender.broadcast(topic, "later")["type"] == "Ack", "it recovers")


def test_direct_messages_of_a_user_on_several_connections(stack):
    alice, bob = stack.users("alice", "bob")
    clients = [stack.connect(alice) for _ in range(4)]
    receiver = stack.connect(bob, gateway=1)
    sent = [(client, id) for client in clients for id in client.send_at_once(
        "DirectMessage", ({"target_user": bob, "payload": n} for n in range(180)))]
    done, refused = split([client.answer(id) for client, id in sent])
    assert len(done) >= 400, "the burst"
    assert refused
    receiver.await_count("DirectMessage", len(done))
    for client in clients:
        client.ping()


def test_subscriptions(stack):
    client = stack.connect(stack.users("reader")[0], settled=False)
    ids = client.send_at_once("Subscribe", ({"topics": [f"t.{n}"]} for n in range(40)))
    done, refused = split([client.answer(id) for id in ids])
    assert len(done) >= 20
    assert refused
    last = max(data["details"]["active_subscriptions"] for data in client.of_type("Status")
               if data["status"] == "subscribed")
    assert last == len(done)


def test_anything_on_one_connection(stack):
    client = stack.connect(stack.users("noisy")[0], settled=False)  # settling would count
    client.send_at_once("Ping", ({"timestamp": n} for n in range(500)))
    wait_until(lambda: len(client.of_type("Pong")) + len(client.of_type("Error")) == 500,
               "each is answered")
    assert len(client.of_type("Pong")) >= 200
    assert {data["code"] for data in client.of_type("Error")} == {429}


def test_one_user_does_not_slow_another(stack):
    noisy, quiet = stack.users("noisy", "quiet")
    loud, soft = stack.connect(noisy), stack.connect(quiet)
    loud.send_at_once("Ping", ({"timestamp": n} for n in range(400)))
    assert soft.direct(quiet, 1)["type"] == "Ack"


def share(answers):
    """How many were done and how many refused, of 270 that a user's three connections asked."""
    assert len(answers) == 270 and set(answers) <= {None, 429}, set(answers)
    return answers.count(None), answers.count(429)


def test_reads_of_a_user_on_several_connections(stack):
    alice, bob = stack.users("alice", "bob")
    devices = [Chat(stack, alice) for _ in range(3)]
    devices[0].new(bob, "one")
    ids = [f"r{n}" for n in range(90)]
    for device in devices:
        device.client.send_texts(json.dumps({
            "type": "request", "timestamp": 1, "id": id, "payloadType": "getMessages",
            "payload": {"chatId": bob, "count": 1}}) for id in ids)
    answers = [device.response(id) for device in devices for id in ids]
    done, refused = share([answer.get("error", {}).get("code") for answer in answers])
    assert done >= 150 and refused, "the burst, but for what subscribing took"
    assert all(0 < answer["error"]["retry_after_ms"] <= 60000
               for answer in answers if "error" in answer)
    other = Chat(stack, bob)
    assert other.ask("getMessages", {"chatId": alice, "count": 1})[0]["message"] == "one"
    devices[0].new(bob, "two")
    wait_until(lambda: "error" not in devices[0].response(devices[0].send("getChats")),
               "it recovers")


def test_questions_of_commands(stack):
    carol, = stack.users("carol")
    devices = [callie(stack, carol) for _ in range(3)]
    codes = []
    for _ in range(10):  # nine at once: so many may be open
        asked = [(device, [device.payload("SERVER", "CMD", {
            "command": "GET_STATUS", "parameters": {"username": carol}}) for _ in range(9)])
            for device in devices]
        for device, payloads in asked:
            device.send_texts(map(json.dumps, payloads))
        codes += [device.system(payload_id=payload["payloadID"])["content"]["code"]
                  for device, payloads in asked for payload in payloads]
    done, refused = share([{"COMMAND_OK": None, "RATE_LIMITED": 429}.get(code, code)
                           for code in codes])
    assert done >= 200 and refused


def test_histories(stack):
    client = stack.connect(stack.users("reader")[0], settled=False)
    ids = client.send_at_once("Subscribe", (
        {"topics": [f"history.{n % 3}.{topic}" for topic in range(30)], "history": 1}
        for n in range(12)))
    done, refused = split([client.answer(id) for id in ids])
    assert 7 <= len(done) < 12 and refused


def test_as_many_are_asked_at_once_as_the_operator_says(new_stack):
    stack = new_stack(auth=False, gateways=1, queries=1)
    alice, bob = stack.users("alice", "bob")
    device = Chat(stack, alice)
    device.new(bob, "one")
    sent = [device.send("getMessages", {"chatId": bob, "count": 1}) for _ in range(100)]
    assert all(device.response(id)["payload"][0]["message"] == "one" for id in sent)
