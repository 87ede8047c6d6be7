"""A topic with history: what was missed comes first, then what is live, nothing lost or twice."""

import re

import pytest

from client import Refused
from publishing import Publishing, check_dense, places
from waiting import wait_until


def follow(client, topics, **wish):
    """Subscribes; returns what the Status says of histories."""
    id = client.send("Subscribe", {"topics": topics, **wish})
    answer = client.answer(id)
    assert answer["type"] == "Ack", answer
    return client.take("Status", id=id)["details"]["history"]


def refused(client, data):
    answer = client.answer(client.send("Subscribe", data))
    assert answer["type"] == "Error", answer
    assert answer["data"]["code"] == 400
    return answer["data"]["details"]["field"]


def payloads(client, count):
    return [data["payload"] for data in client.await_count("Broadcast", count)]


def test_the_last_ones_then_live_ones(stack):
    name, publisher = stack.users("log", "publisher")
    topic = f"history.{name}"
    sender = stack.connect(publisher)
    for n in range(5):
        assert sender.broadcast(topic, n)["data"]["recipients"] == 0
    reader = stack.connect(stack.users("reader")[0], gateway=1)
    told = follow(reader, [topic], history=3)
    assert told[topic]["offset"] == 5 and told[topic]["recovered"] is True
    sender.broadcast(topic, 5)
    assert payloads(reader, 4) == [2, 3, 4, 5]
    check_dense(reader, first=3)
    metadata = reader.of_type("Broadcast")[0]["metadata"]
    assert metadata["epoch"] == told[topic]["epoch"]


def test_each_of_several_in_a_row_is_told_where_it_is(stack):
    name, publisher = stack.users("log", "publisher")
    topics = [f"history.{name}.{n}" for n in range(3)]
    sender, reader = stack.connect(publisher), stack.connect(*stack.users("reader"), gateway=1)
    for topic in topics:
        for n in range(4):
            sender.broadcast(topic, n)
    ids = [reader.send("Subscribe", {"topics": names, "history": history})
           for names, history in ((topics, 1), (topics[:1], 2), (topics[1:], 4))]
    for id in ids:
        for place in reader.take("Status", id=id)["details"]["history"].values():
            assert place["epoch"] > 0 and (place["offset"], place["recovered"]) == (4, True)
    # Where one was done before the next came, that began anew.
    for topic, expected in zip(topics, ([2, 3], [0, 1, 2, 3], [0, 1, 2, 3])):
        wait_until(lambda: [data["payload"] for data in reader.of_type("Broadcast")
                            if data["topic"] == topic][-len(expected):] == expected,
                   f"the end of {topic}")


def test_a_topic_named_twice_is_told_once(stack):
    name, = stack.users("log")
    reader = stack.connect(*stack.users("reader"))
    topic = f"history.{name}"
    id = reader.send("Subscribe", {"topics": [topic, topic], "history": 1})
    status = reader.text_of(reader.take_where(
        lambda message: message["type"] == "Status" and message.get("id") == id, "Status"))
    assert status.count(f'"{topic}":') == 1


def test_since_a_place(stack):
    name, publisher = stack.users("log", "publisher")
    topics = [f"history.{name}.{n}" for n in range(3)]
    sender = stack.connect(publisher)
    for topic in topics:
        for n in range(4):
            sender.broadcast(topic, n)
    first = stack.connect(stack.users("reader")[0])
    epochs = {topic: told["epoch"] for topic, told in follow(first, topics, history=0).items()}
    reader = stack.connect(stack.users("reader")[0], gateway=1)
    told = follow(reader, topics, since={topics[0]: {"epoch": epochs[topics[0]], "offset": 3},
                                         topics[1]: {"epoch": 5, "offset": 3}})
    assert {topic: place["recovered"] for topic, place in told.items()} == {
        topics[0]: True, topics[1]: False, topics[2]: True}
    came = reader.await_count("Broadcast", 5)
    assert [data["payload"] for data in came if data["topic"] == topics[0]] == [3]
    assert [data["payload"] for data in came if data["topic"] == topics[1]] == [0, 1, 2, 3]
    again = stack.connect(stack.users("reader")[0])
    told = follow(again, topics[:1], since={"epoch": epochs[topics[0]], "offset": 4})
    assert told == {topics[0]: {"epoch": epochs[topics[0]], "offset": 4, "recovered": True}}
    sender.broadcast(topics[0], 4)
    assert payloads(again, 1) == [4]
    assert first.await_count("Broadcast", 1)[0]["payload"] == 4


def test_what_has_expired_does_not_come_again(stack):
    """metadata.ttl of a broadcast: who is there gets it; from the history it comes until then."""
    topic = f"history.{stack.users('log')[0]}"
    sender, live = (stack.connect(user) for user in stack.users("publisher", "reader"))
    live.subscribe(topic)
    for n, ttl in enumerate([None, 0, 0.001, 3600]):
        fields = {"metadata": {"ttl": ttl}} if ttl is not None else {}
        assert sender.answer(sender.send_broadcast(topic, n, **fields))["type"] == "Ack"
    assert payloads(live, 4) == [0, 1, 2, 3]
    late = stack.connect(stack.users("reader")[0], gateway=1)
    assert follow(late, [topic], history=10)[topic]["offset"] == 4
    sender.broadcast(topic, 4)
    assert payloads(late, 3) == [0, 3, 4]


def test_a_topic_without_history_is_live_only(stack):
    topic, publisher = stack.users("plain", "publisher")
    sender, reader = stack.connect(publisher), stack.connect(stack.users("reader")[0], gateway=1)
    sender.broadcast(topic, 0)
    assert follow(reader, [topic], history=5) == {
        topic: {"epoch": 0, "offset": 0, "recovered": False}}
    sender.broadcast(topic, 1)
    assert payloads(reader, 1) == [1]
    assert "offset" not in reader.of_type("Broadcast")[0]["metadata"]


@pytest.mark.parametrize("data, field", [
    ({"topics": ["history.*"], "history": 3}, "topics"),
    ({"topics": ["presence.bob"], "history": 3}, "topics"),
    ({"topics": ["history.a"], "history": -1}, "history"),
    ({"topics": ["history.a"], "history": 1.5}, "history"),
    ({"topics": ["history.a"], "history": "3"}, "history"),
    ({"topics": ["history.a"], "history": None}, "history"),
    ({"topics": ["history.a"], "history": 3, "since": {"epoch": 1, "offset": 1}}, "since"),
    ({"topics": ["history.a"], "since": 7}, "since"),
    ({"topics": ["history.a"], "since": {"epoch": 1}}, "since"),
    ({"topics": ["history.a"], "since": {"epoch": 1, "offset": -1}}, "since"),
    ({"topics": ["history.a", "history.b"], "since": {"epoch": 1, "offset": 1}}, "since"),
    ({"topics": ["history.a"], "since": {"history.b": {"epoch": 1, "offset": 1}}}, "since"),
])
def test_bad_wishes_are_answered(stack, data, field):
    client = stack.connect(stack.users("reader")[0])
    assert refused(client, data) == field
    assert client.subscribe("plain.topic")["active_subscriptions"] == 1


def come(stack, user, gateway):
    """Connects as soon as a router answers again: without one an upgrade is a 503."""
    def try_it():
        try:
            return stack.connect(user, gateway=gateway, settled=False)
        except Refused as refusal:
            assert refusal.status == 503
            return None
    return wait_until(try_it, f"{user} is connected")


def come_and_go(stack, topic, publishing, rounds, disturb):
    """A reader that leaves and comes again with its last place: in all it gets each message once."""
    place = {"epoch": 1, "offset": 0}
    expected = 1
    for round_ in range(rounds):
        user, other = stack.users("reader", "newcomer")
        reader = come(stack, user, round_ % 2)
        told = follow(reader, [topic], since=place)[topic]
        newcomer = come(stack, other, (round_ + 1) % 2)
        assert follow(newcomer, [topic], history=300)[topic]["recovered"]
        assert told["recovered"] or round_ == 0
        disturb(round_)
        publishing.await_more(150)
        wait_until(lambda: len(places(reader)) > 100 and len(places(newcomer)) > 100,
                   "messages come")
        reader.abandon()
        newcomer.abandon()
        came = places(reader)
        check_dense(newcomer)
        check_dense(reader, first=expected)
        expected = came[-1][0] + 1
        place = {"epoch": told["epoch"], "offset": came[-1][0]}
    return expected, place


@pytest.fixture
def busy(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200,
                      history="history.**:100000", gateways=3)
    topic = "history.busy"
    publishing = Publishing(stack.connect("publisher", gateway=2), topic)
    publishing.await_more(200)
    return stack, topic, publishing


def check_end(stack, topic, publishing, expected, place):
    """A last reader gets all the rest, and it ends with the last message published."""
    total = publishing.finish()
    reader = stack.connect("last")
    told = follow(reader, [topic], since=place)[topic]
    assert told["offset"] == total and told["recovered"]
    wait_until(lambda: len(places(reader)) >= total - expected + 1, "the rest has come")
    check_dense(reader, first=expected)
    assert len(places(reader)) == total - expected + 1


def test_the_seam_under_a_thousand_a_second(busy):
    stack, topic, publishing = busy
    expected, place = come_and_go(stack, topic, publishing, 12, lambda _: None)
    check_end(stack, topic, publishing, expected, place)


def test_the_seam_while_routers_are_killed(busy):
    stack, topic, publishing = busy
    routers = [stack.router]

    def kill(round_):
        if round_ % 2:
            routers[-1].kill()
            routers.append(stack.add_router())

    expected, place = come_and_go(stack, topic, publishing, 6, kill)
    check_end(stack, topic, publishing, expected, place)


# In one step: the router may add an entry at any moment.
BEHIND_THE_LAST = """
local stream = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #stream, 2 do
    if stream[i] == 'last-generated-id' then
        local number, index = string.match(stream[i + 1], '(%d+)-(%d+)')
        return redis.call('XADD', KEYS[1], string.format('%s-%.0f', number, index + 1), 'e', 'what?')
    end
end"""


def out_of_step(stack, topic):
    """
    The readers' gateways find something in their output that they cannot read, and announce
    themselves. Not the publisher's: answers to requests may be lost by that.
    """
    key, = stack.redis.command("KEYS", f"*:topic:{topic}")
    prefix = key.split(":topic:")[0]
    for output in stack.redis.command("KEYS", f"{prefix}:out:gateway-[12]-*"):
        stack.redis.command("EVAL", BEHIND_THE_LAST, 1, output)


def bad_entries(gateway):
    metrics = gateway.get("/metrics")[1]
    return int(re.search(r"^trunkline_\w*bad_entries\S* (\d+)", metrics, re.M).group(1))


def test_a_gateway_out_of_step_makes_up_for_what_it_missed(busy):
    stack, topic, publishing = busy
    readers = [stack.connect(f"reader-{n}", gateway=n % 2) for n in range(4)]
    for reader in readers[:2]:
        follow(reader, [topic], history=10)
    for reader in readers[2:]:
        reader.subscribe(topic)
    # The second time soon after the first: announcements are half a second apart, and what is
    # published meanwhile is missed.
    for time in range(6):
        if time % 2 == 0:
            publishing.await_more(300)
        out_of_step(stack, topic)
        wait_until(lambda: all(bad_entries(gateway) > time for gateway in stack.gateways[:2]),
                   "the gateways have seen it")
        before = [len(places(reader)) for reader in readers]
        wait_until(lambda: all(len(places(reader)) > count
                               for reader, count in zip(readers, before)), "more comes")
    publishing.await_more(300)
    total = publishing.finish()
    for reader in readers:
        wait_until(lambda: places(reader) and places(reader)[-1][0] >= total, "the last has come")
        check_dense(reader)
        assert reader.close_code is None


def test_offsets_count_anew_in_an_emptied_redis(new_stack):
    stack = new_stack(auth=False, lease_ms=1000, renew_ms=200, heartbeat_ms=200)
    topic = "history.lost"
    sender = stack.connect("publisher")
    for n in range(3):
        sender.broadcast(topic, n)
    reader = stack.connect("reader")
    place = follow(reader, [topic], history=3)[topic]
    stack.redis.command("FLUSHALL")
    stack.restart_redis()
    assert reader.await_close() == 1012
    stack.await_ready()
    sender = stack.connect("publisher")
    wait_until(lambda: sender.broadcast(topic, "new")["type"] == "Ack", "it is published")
    again = stack.connect("reader")
    told = follow(again, [topic], since=place)[topic]
    assert told["epoch"] > place["epoch"] and not told["recovered"]
    assert payloads(again, 1) == ["new"]
