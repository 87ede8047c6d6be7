"""chat: who reconnects with the last event he saw misses nothing and sees nothing twice."""

import json
import threading
import time

from chat import Chat
from waiting import PATIENCE, wait_until

RATE = 500  # messages a second


class Writer:
    """Writes numbered messages at a steady rate until it is stopped; retries what was not taken."""

    def __init__(self, chat, to):
        self.chat, self.to = chat, to
        self.sent = 0
        self.order = []  # of the numbers, as they were accepted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        begin = time.monotonic()
        while not self._stop.is_set():
            due = int((time.monotonic() - begin) * RATE)
            while self.sent < due:
                self._send(self.sent, f"w{self.sent}")
                self.sent += 1
            time.sleep(0.005)

    def _send(self, number, id):
        self.chat.send("new", {"chatId": self.to, "message": str(number),
                               "clientMessageId": f"m{number}"}, id=id)

    def finish(self):
        """Stops; answers when every message was answered and what was refused was sent again."""
        self._stop.set()
        self._thread.join()
        pending = {f"w{number}": number for number in range(self.sent)}
        attempt = 0
        while pending:
            answers = {}
            wait_until(lambda: len(self._answered(pending, answers)) == len(pending),
                       "everything is answered", 3 * PATIENCE)
            refused = [number for id, number in pending.items() if "error" in answers[id]]
            self.order += [number for id, number in pending.items() if "error" not in answers[id]]
            assert all(answer["error"]["retry_after_ms"] for answer in answers.values()
                       if "error" in answer)
            attempt += 1
            pending = {f"w{number}-{attempt}": number for number in refused}
            for id, number in pending.items():
                self._send(number, id)

    def _answered(self, pending, answers):
        for message in list(self.chat.client.arrived):
            if message["type"] == "response" and message["id"] in pending:
                answers[message["id"]] = message
        return answers


def reconnect(stack, user, seen, turns, between=None):
    """Connects again and again, each time from the last event seen; returns the last connection."""
    for turn in range(turns):
        reader = Chat(stack, user, gateway=turn % 2, subscribe=None)
        last = seen[-1]["id"] if seen else 0
        answer = reader.response(reader.send("subscribe", {"lastEventId": last}), 3 * PATIENCE)
        assert "error" not in answer and "resync" not in answer["payload"], answer
        assert answer["payload"]["count"] == answer["payload"]["lastEventId"] - last
        goal = answer["payload"]["lastEventId"] + RATE // 10
        if between:
            between(turn)
        wait_until(lambda: reader.last_event() >= goal or reader.client.close_code,
                   f"event {goal}", 3 * PATIENCE)
        if turn % 3 == 2:
            reader.close()
        else:
            reader.client.abort()
        seen += reader.events()
        assert_answered_first(reader)
    return reader


def assert_answered_first(reader):
    kinds = [message["type"] for message in reader.client.arrived
             if message["type"] == "response" or "id" in message]
    assert kinds.index("response") == 0


def catch_up(stack, user, seen, count):
    reader = Chat(stack, user, subscribe=None)
    last = seen[-1]["id"]
    answer = reader.response(reader.send("subscribe", {"lastEventId": last}), 3 * PATIENCE)
    assert "error" not in answer, answer
    wait_until(lambda: len(new_ones(seen + reader.events())) >= count or reader.client.close_code,
               lambda: f"{count} new ones, not {len(new_ones(seen + reader.events()))}, the last of "
               f"them {reader.last_event()}, after {answer}", 3 * PATIENCE)
    assert reader.client.close_code is None
    return seen + reader.events()


def new_ones(events):
    return [event["payload"]["message"] for event in events if event["eventType"] == "new"]


def assert_complete(events, count):
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert sorted(map(int, new_ones(events))) == list(range(count))
    messages = [event["payload"]["messageId"] for event in events if event["eventType"] == "new"]
    assert messages == sorted(set(messages))


def test_resume_under_load(new_stack):
    stack = new_stack(auth=False)
    alice, bob = stack.users("alice", "bob")
    writer = Writer(Chat(stack, alice), bob)
    seen = []
    reconnect(stack, bob, seen, 12)
    writer.finish()
    events = catch_up(stack, bob, seen, writer.sent)
    assert_complete(events, writer.sent)
    # Nobody reordered anything either; what was refused, with too much open, was sent again later.
    assert new_ones(events) == [str(number) for number in writer.order]


def test_resume_while_the_router_is_killed(new_stack):
    stack = new_stack(auth=False, lease_ms=1000)
    alice, bob = stack.users("alice", "bob")
    writer = Writer(Chat(stack, alice), bob)
    seen = []

    def kill(turn):
        if turn in (2, 5):
            router = next(process for process in stack.processes
                          if process.name.startswith("router") and process.is_alive())
            router.kill()
            stack.add_router()

    reconnect(stack, bob, seen, 8, kill)
    writer.finish()
    assert_complete(catch_up(stack, bob, seen, writer.sent), writer.sent)


def test_a_live_reader_is_not_disturbed_by_a_kill(new_stack):
    stack = new_stack(auth=False, lease_ms=1000)
    alice, bob = stack.users("alice", "bob")
    reader = Chat(stack, bob, gateway=1)
    writer = Writer(Chat(stack, alice), bob)
    reader.await_event(RATE // 2)
    stack.router.kill()
    stack.add_router()
    goal = reader.last_event() + RATE
    wait_until(lambda: reader.last_event() >= goal, "events go on", 3 * PATIENCE)
    writer.finish()
    wait_until(lambda: len(new_ones(reader.events())) >= writer.sent, "all", 3 * PATIENCE)
    assert_complete(reader.events(), writer.sent)


def test_what_came_while_nobody_was_there(stack):
    alice, bob = stack.users("alice", "bob")
    first = Chat(stack, bob)
    writer = Chat(stack, alice, gateway=1)
    writer.new(bob, "one")
    first.event("new")
    first.close()
    for text in ("two", "three"):
        writer.new(bob, text)
    back = Chat(stack, bob, gateway=1, subscribe=1)
    assert back.subscribed == {"lastEventId": 3, "count": 2}
    back.await_event(3)
    assert new_ones(back.events()) == ["two", "three"]
    assert Chat(stack, bob, subscribe=3).subscribed == {"lastEventId": 3, "count": 0}
    again = Chat(stack, bob)
    again.await_event(3)
    assert again.events() == first.events() + back.events()


def test_subscribing_twice_on_one_connection(stack):
    alice, bob = stack.users("alice", "bob")
    writer, reader = Chat(stack, alice), Chat(stack, bob, gateway=1)
    for text in ("one", "two", "three"):
        writer.new(bob, text)
    reader.await_event(3)
    assert reader.subscribe(1) == {"lastEventId": 3, "count": 2}
    wait_until(lambda: len(reader.events()) == 5, "two events again")
    writer.new(bob, "four")
    wait_until(lambda: len(reader.events()) >= 6, "and the next one")
    assert [event["id"] for event in reader.events()] == [1, 2, 3, 2, 3, 4]


def test_what_the_log_has_no_more_is_resynced(new_stack):
    stack = new_stack(auth=False, events=10)
    alice, bob = stack.users("alice", "bob")
    reader = Chat(stack, bob)
    reader.close()
    writer = Chat(stack, alice)
    for number in range(25):
        writer.new(bob, str(number))
    back = Chat(stack, bob, gateway=1, subscribe=5)
    assert back.subscribed["lastEventId"] == 25
    assert back.subscribed["resync"] is True
    oldest = back.subscribed["oldestEventId"]
    assert back.subscribed["count"] == 25 - oldest + 1
    back.await_event(25)
    assert [event["id"] for event in back.events()] == list(range(oldest, 26))
    assert len(back.ask("getMessages", {"chatId": alice, "count": 100})) == 25
    # An id that was never given out, as after a loss of Redis.
    ahead = Chat(stack, bob, subscribe=1000)
    assert ahead.subscribed["resync"] is True and ahead.subscribed["lastEventId"] == 25
    writer.new(bob, "live")
    assert ahead.event("new")["id"] == 26


def test_a_slow_reader_gets_all(stack):
    """Pages follow each other as they are written; a reader who lingers is not closed for it."""
    alice, bob = stack.users("alice", "bob")
    Chat(stack, bob).close()
    writer = Chat(stack, alice)
    count = 40
    for number in range(count):
        writer.new(bob, f"{number} " + "x" * 50000)
    reader = stack.open("chat", bob, gateway=1, reading=False, receive_buffer=65536)
    reader.send_text(json.dumps({"type": "request", "timestamp": 1, "id": "s",
                                 "payloadType": "subscribe", "payload": {"lastEventId": 0}}))
    writer.settle()
    reader.read()
    wait_until(lambda: len([m for m in reader.arrived if m["type"] == "event" and "id" in m])
               == count or reader.close_code, "all events")
    ids = [message["id"] for message in reader.arrived
           if message["type"] == "event" and "id" in message]
    assert ids == list(range(1, count + 1))


def test_resume_while_gateways_are_killed(new_stack):
    stack = new_stack(auth=False, gateway_death_ms=3000)
    alice, bob = stack.users("alice", "bob")
    writer = Writer(Chat(stack, alice), bob)
    reader = Chat(stack, bob, gateway=1)
    reader.await_event(RATE // 2)
    stack.gateways[1].kill()
    reader.client.await_close()
    seen = reader.events()
    stack.gateways[1].start()
    reconnect(stack, bob, seen, 1)
    wait_until(stack.gateways[1].is_ready, "the gateway is back")
    reconnect(stack, bob, seen, 4)
    writer.finish()
    assert_complete(catch_up(stack, bob, seen, writer.sent), writer.sent)


def test_resume_over_a_restart_of_redis(new_stack):
    stack = new_stack(auth=False)
    alice, bob = stack.users("alice", "bob")
    reader = Chat(stack, bob, gateway=1)
    writer = Writer(Chat(stack, alice), bob)
    reader.await_event(RATE // 2)
    stack.restart_redis()
    goal = reader.last_event() + RATE // 2
    wait_until(lambda: reader.last_event() >= goal or reader.client.close_code,
               "events go on", 3 * PATIENCE)
    writer.finish()
    events = catch_up(stack, bob, reader.events(), writer.sent)
    assert_complete(events, writer.sent)
