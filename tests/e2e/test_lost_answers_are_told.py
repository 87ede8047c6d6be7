"""
A gateway that was taken for dead announces itself anew. What was answered meanwhile is gone with
its output: who asked is told so at once, and asks again; nothing is done twice.
"""

import json
import os
import signal
import threading

import pytest

from api import KEYS, Api
from callie import CallieClient
from chat import Chat
from waiting import wait_until

SETTINGS = {"auth": False, "gateways": 3, "heartbeat_ms": 200, "gateway_death_ms": 1500,
            "lease_ms": 10000, "api_keys": KEYS}


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(**SETTINGS)


def pause(process):
    pid = process._process.pid
    os.kill(pid, signal.SIGSTOP)

    def is_stopped():
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"
    wait_until(is_stopped, f"{process.name} is stopped")


def go_on(process):
    os.kill(process._process.pid, signal.SIGCONT)


def has_gone_in(stack, word):
    keys = stack.redis.command("KEYS", "trunkline:{*}:in")
    return any(word in json.dumps(stack.redis.command("XRANGE", key, "-", "+")) for key in keys)


def is_forgotten(stack, gateway):
    return not stack.redis.command("KEYS", f"trunkline:{{*}}:out:{gateway.name}-*")


def lose_answers(stack, ask, *words):
    """Does what ask() asks of the first gateway, so that its answers are lost."""
    gateway = stack.gateways[0]
    pause(stack.router)
    ask()
    for word in words:
        wait_until(lambda: has_gone_in(stack, word), f"{word} is on its way")
    pause(gateway)
    # Its read, which waits in Redis, is answered with this, not with what routers say next.
    stack.redis.command("XADD", "trunkline:auth:events", "*", "kind", "none")
    go_on(stack.router)
    wait_until(lambda: is_forgotten(stack, gateway), "the gateway is taken for dead")
    go_on(gateway)


def test_each_protocol_has_a_word_for_it(stack):
    alice, bob, carol, dora, emil, fred = stack.users(*"alice bob carol dora emil fred".split())
    receiver = stack.connect(bob, gateway=1)
    direct = stack.connect(alice)
    messaging = stack.open("messaging", carol, query={"acks": 1})
    hidden, shown = Chat(stack, dora, subscribe=None), Chat(stack, fred, subscribe=None)
    simple = stack.open("simple", emil)
    callie = CallieClient(callie_url(stack, alice), user=alice)
    callie.system("AUTH_OK")
    simple.take_where(lambda message: message["type"] == "user_connected", "himself")
    six = json.dumps(callie.payload(bob, "MSG", {"messageID": "lost-6", "text": "six"},
                                    payloadID="p-six"))
    said = []

    def ask():
        direct.send_direct(bob, "one", id="lost-1")
        direct.send_broadcast("nobody.here", "two", id="lost-2")
        messaging.send_text(json.dumps({"send": [{"id": "lost-3", "rid": bob, "text": "three"}]}))
        said.append(hidden.send("new", {"chatId": bob, "message": "four",
                                        "clientMessageId": "lost-4"}))
        said.append(shown.send("subscribe", {"lastEventId": 0}))
        simple.send_text(json.dumps({"type": "send_message", "payload_id": "lost-5", "to": bob,
                                     "message": "five"}))
        callie.send_text(six)
        backend.start()

    answers = []
    backend = threading.Thread(target=lambda: answers.append(Api(stack).post(
        "publish", {"user": bob, "id": "lost-7", "payload": {"message": "seven"}})))
    lose_answers(stack, ask, *(f"lost-{n}" for n in (1, 2, 3, 4, 5, 6, 7)))

    for id in ("lost-1", "lost-2"):
        error = direct.answer(id)
        assert error["type"] == "Error" and error["data"]["code"] == 503, error
        assert error["data"]["details"]["retry_after_ms"] == 1000
    error, = messaging.take_where(lambda frame: "errors" in frame, "an error")["errors"]
    assert (error["section"], error["id"], error["code"]) == ("send", "lost-3", 503)
    for client, id in ((hidden, said[0]), (shown, said[1])):
        assert client.response(id, timeout=5)["error"]["code"] == 503
    answer = simple.take_where(lambda message: message.get("payload_id") == "lost-5", "a reply")
    assert answer["error"] == "unavailable"
    assert callie.system(payload_id="p-six")["content"]["code"] == "UNAVAILABLE"
    assert callie.await_close() == simple.await_close() == 1012  # they may have missed messages
    backend.join()
    assert answers[0][0] == 504, answers

    wait_until(lambda: stack.gateways[0].is_ready(), "the gateway is back")
    assert direct.direct(bob, "one", id="lost-1")["type"] == "Ack"
    messaging.send_text(json.dumps({"send": [{"id": "lost-3", "rid": bob, "text": "three"}]}))
    assert messaging.take_where(lambda frame: "sent" in frame, "sent")["sent"][0]["id"] == "lost-3"
    hidden.new(bob, "four", clientMessageId="lost-4")
    assert shown.subscribe()["lastEventId"] == 0
    again = CallieClient(callie_url(stack, alice), user=alice)
    again.send_text(six)
    again.send_text(six.replace("six", "eight"))
    receiver.take_where(lambda message: "eight" in json.dumps(message), "what came behind it")
    Api(stack).done("publish", {"user": bob, "id": "lost-7", "payload": {"message": "seven"}})
    direct.direct(bob, "last")
    receiver.take_where(lambda message: message["type"] == "DirectMessage"
                        and message["data"]["payload"] == "last", "the last message")
    texts = [message["payload"]["message"] if isinstance(message["payload"], dict)
             else message["payload"] for message in receiver.of_type("DirectMessage")]
    assert sorted(texts) == sorted(["one", "three", "four", "five", "six", "seven", "eight", "last"])


def callie_url(stack, user):
    return f"ws://{stack.gateways[0].address}/callie?token={stack.token(user)}"
