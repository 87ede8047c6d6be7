"""Event logs and dialogs over killed routers and gateways: without gaps, in one order for both."""

import itertools
import json
import os
import subprocess

import pytest

from waiting import PATIENCE, wait_until

_ids = itertools.count(1)


class Talker:
    """One connection of chat."""

    def __init__(self, stack, user, gateway=0, after=None):
        self.user = user
        self.client = stack.open("chat", user, gateway)
        self.followed = None if after is None else self.follow(after)

    def start(self, kind, **payload):
        id = f"e{next(_ids)}"
        self.client.send_text(json.dumps({"type": "request", "timestamp": 1, "id": id,
                                          "payloadType": kind, "payload": payload}))
        return id

    def answer(self, id):
        return self.client.take_where(
            lambda message: message.get("type") == "response" and message["id"] == id,
            f"response to {id}")

    def request(self, kind, **payload):
        return self.answer(self.start(kind, **payload))

    def follow(self, after):
        return self.request("subscribe", lastEventId=after, echo=True)["payload"]

    def write(self, chat, text):
        return self.request("new", chatId=chat, message=text)["payload"]["messageId"]

    def write_many(self, chat, texts):
        """A hundred at a time: a connection may have so many open requests, and no more."""
        for at in range(0, len(texts), 100):
            ids = [self.start("new", chatId=chat, message=text) for text in texts[at:at + 100]]
            for id in ids:
                assert "payload" in self.answer(id)

    def events(self):
        """All that have an id, in the order they came."""
        return [message for message in list(self.client.arrived)
                if message.get("type") == "event" and "id" in message]

    def await_events(self, last):
        def has_all():
            events = self.events()
            return events and events[-1]["id"] >= last
        wait_until(has_all, f"event {last} for {self.user}")
        return self.events()


def ids(events):
    return [event["id"] for event in events]


def news(events):
    return [(event["payload"]["messageId"], event["payload"]["message"])
            for event in events if event["eventType"] == "new"]


INSPECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults", "inspect")


@pytest.fixture(name="stack")
def short_leases(new_stack):
    """At the end, at rest, all keys are what they must be."""
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200,
                      gateway_death_ms=2000)
    yield stack
    run = subprocess.run([INSPECT, "--redis", stack.redis.url,
                          "--patience", str(PATIENCE)],
                         capture_output=True, text=True, check=False, timeout=4 * PATIENCE)
    assert run.stdout + run.stderr == ""


def test_both_logs_have_one_order_over_killed_routers(stack):
    alice, bob = stack.users("alice", "bob")
    first = Talker(stack, alice, 0, after=0)
    second = Talker(stack, bob, 1, after=0)
    for _ in range(3):
        waiting = []
        for n in range(40):
            waiting.append((first, first.start("new", chatId=bob, message=f"a{n}")))
            waiting.append((second, second.start("new", chatId=alice, message=f"b{n}")))
        stack.router.kill()
        stack.add_router()
        for talker, id in waiting:
            assert "payload" in talker.answer(id)
    of_alice, of_bob = first.await_events(240), second.await_events(240)
    assert ids(of_alice) == ids(of_bob) == list(range(1, 241))
    assert news(of_alice) == news(of_bob)
    assert [message for message, _ in news(of_bob)] == list(range(1, 241))


def test_changes_and_marks_go_on_after_a_router_was_killed(stack):
    alice, bob = stack.users("alice", "bob")
    first, second = Talker(stack, alice, 0, after=0), Talker(stack, bob, 1, after=0)
    for n in range(3):
        first.write(bob, f"text {n}")
    assert second.request("delete", chatId=alice, messageId=2)["error"]["code"] == 403
    stack.router.kill()
    stack.add_router()
    assert second.request("edit", chatId=alice, messageId=1, message="forged")["error"][
        "code"] == 403
    assert first.request("edit", chatId=bob, messageId=9, message="nothing")["error"]["code"] == 404
    assert "error" not in first.request("edit", chatId=bob, messageId=1, message="changed")
    assert "error" not in first.request("delete", chatId=bob, messageId=2)
    assert first.request("edit", chatId=bob, messageId=2, message="gone")["error"]["code"] == 404
    assert "error" not in second.request("read", chatId=alice, messageId=3)
    assert "error" not in second.request("read", chatId=alice, messageId=2)
    kinds = [event["eventType"] for event in first.await_events(6)]
    assert kinds == ["new", "new", "new", "edit", "delete", "read"]
    assert [event["eventType"] for event in second.await_events(5)] == kinds[:5]


def test_one_who_comes_back_gets_what_he_missed_while_a_router_is_killed(stack):
    alice, bob = stack.users("alice", "bob")
    first = Talker(stack, alice, 0, after=0)
    Talker(stack, bob, 1, after=0).client.close()
    first.write_many(bob, [f"m{n}" for n in range(700)])
    second = Talker(stack, bob, 1)
    followed = second.start("subscribe", lastEventId=100)
    stack.router.kill()
    stack.add_router()
    # What was answered to alice may still be on its way to bob's log.
    answer = second.answer(followed)["payload"]
    assert answer["lastEventId"] - answer["count"] == 100
    assert ids(second.await_events(700)) == list(range(101, 701))
    first.write(bob, "live")
    assert ids(second.await_events(701))[-1] == 701


def test_one_whose_gateway_is_killed_goes_on_elsewhere(stack):
    alice, bob = stack.users("alice", "bob")
    first = Talker(stack, alice, 0, after=0)
    second = Talker(stack, bob, 1, after=0)
    pending = [first.start("new", chatId=bob, message=f"m{n}") for n in range(150)]
    second.await_events(10)
    stack.gateways[1].kill()
    second.client.await_close()
    seen = ids(second.events())
    again = Talker(stack, bob, 0, after=seen[-1])
    for id in pending:
        assert "payload" in first.answer(id)
    first.write(bob, "the last")
    assert seen + ids(again.await_events(151)) == list(range(1, 152))


def test_what_waited_becomes_events_at_the_first_follow(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    for n in range(300):
        sender.send_direct(bob, {"message": f"m{n}"})
    stack.redis_holds_for(bob, 300)
    second = Talker(stack, bob, 1)
    second.start("subscribe", lastEventId=0)
    stack.router.kill()
    stack.add_router()
    assert [text for _, text in news(second.await_events(300))] == [f"m{n}" for n in range(300)]
    reader = stack.connect(bob)
    sender.direct(bob, {"message": "both"})
    assert reader.take("DirectMessage")["payload"]["message"] == "both"
    assert reader.of_type("DirectMessage")[0]["payload"]["message"] == "both"
    assert news(second.await_events(301))[-1] == (301, "both")
