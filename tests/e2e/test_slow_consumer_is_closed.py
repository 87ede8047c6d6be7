"""Who does not read is closed with 4008; what was durable comes when he is back."""

import pytest

from waiting import wait_until

LARGE = "x" * 16000


@pytest.fixture
def stack(new_stack):
    return new_stack(auth=False, stall_ms=2000)


def slow_consumers(stack, gateway):
    counters = stack.redis.command("HGETALL", f"trunkline:process:{stack.gateways[gateway].name}")
    return int(counters["slow_consumers"])


def numbers(client):
    return [data["payload"]["n"] for data in client.of_type("DirectMessage")]


def test_direct_messages_wait_for_him(stack):
    slow = stack.connect("bob", gateway=1, reading=False, receive_buffer=4096)
    sender = stack.connect("alice")
    count = 300
    for n in range(count):
        answer = sender.direct("bob", {"n": n, "text": LARGE})
        assert answer["type"] == "Ack" or answer["data"]["details"]["queued"], answer
    wait_until(lambda: slow_consumers(stack, 1) == 1, "the slow connection is closed")
    slow.read()
    assert slow.await_close() in (4008, 1006)  # the close frame may not get through
    seen = numbers(slow)
    assert seen == list(range(len(seen)))

    again = stack.connect("bob")
    wait_until(lambda: set(numbers(slow) + numbers(again)) == set(range(count)), "all has come")
    assert numbers(again) == sorted(set(numbers(again)))


def test_a_topic_goes_on_without_him(stack):
    slow = stack.connect("slow", gateway=1, reading=False, receive_buffer=4096)
    slow.send("Subscribe", {"topics": ["news"]})
    reader, sender = stack.connect("reader", gateway=1), stack.connect("publisher")
    reader.subscribe("news")

    def recipients_of(payload):
        return sender.broadcast("news", payload)["data"]["recipients"]

    def heard():
        return [data["payload"]["n"] for data in reader.of_type("Broadcast")
                if data["payload"]["n"] >= 0]

    wait_until(lambda: recipients_of({"n": -1}) == 2, "both listen")
    for n in range(600):
        sender.broadcast("news", {"n": n, "text": LARGE})
        if n % 20 == 19:  # or the reader, too, has more on its way than he may
            wait_until(lambda: len(heard()) > n - 20 or reader.close_code, "the reader keeps up")
    wait_until(lambda: len(heard()) >= 600 or reader.close_code, "the reader has all")
    assert heard() == list(range(600))
    wait_until(lambda: slow_consumers(stack, 1) == 1, "the slow connection is closed")
    wait_until(lambda: recipients_of({"n": -1}) == 1, "one is left")
