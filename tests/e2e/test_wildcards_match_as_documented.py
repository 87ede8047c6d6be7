"""`*` stands for one segment at any place, `**` at the end for one or more."""

import pytest

CASES = {
    # pattern: (topics that match, topics that do not)
    "a.b": (["a.b"], ["a", "a.b.c", "a.c", "A.b"]),
    "a.*": (["a.b", "a.c"], ["a", "a.b.c", "b.a"]),
    "*.b": (["a.b", "c.b"], ["b", "a.b.c"]),
    "a.*.c": (["a.b.c", "a.x.c"], ["a.c", "a.b.b.c", "a.b.d"]),
    "*": (["a", "b"], ["a.b"]),
    "*.*": (["a.b", "x.y"], ["a", "a.b.c"]),
    "a.**": (["a.b", "a.b.c", "a.b.c.d.e"], ["a", "b.a"]),
    "*.b.**": (["a.b.c", "x.b.c.d"], ["a.b", "a.c.b"]),
    "a.*.**": (["a.b.c", "a.b.c.d"], ["a.b", "a"]),
    "a-1_Z.*": (["a-1_Z.x"], ["a-1_z.x"]),
}


@pytest.fixture(scope="module")
def stack(module_stack):
    """Nobody else subscribes here."""
    return module_stack(auth=False)


@pytest.fixture
def subscribed(stack, pattern):
    """A client with this subscription, and nobody with it afterwards."""
    client = stack.connect("reader", gateway=1)
    client.subscribe(pattern)
    yield client
    client.unsubscribe(pattern)


@pytest.mark.parametrize("pattern", CASES)
def test_pattern(stack, subscribed, pattern):
    matching, others = CASES[pattern]
    sender = stack.connect("publisher")
    for topic in others:
        assert sender.broadcast(topic, topic)["data"]["recipients"] == 0, topic
    for topic in matching:
        assert sender.broadcast(topic, topic)["data"]["recipients"] == 1, topic
    received = [data["payload"] for data in subscribed.await_count("Broadcast", len(matching))]
    assert sorted(received) == sorted(matching)


@pytest.mark.parametrize("topic", ["", ".", "a..b", ".a", "a.", "a b", "a.**.b", "**.a", "a*",
                                   "a.*b", "ä", "a/b", "a.b.c.d.e.f.g.h.i", "x" * 257, "a.***"])
def test_malformed_pattern_is_refused(stack, topic):
    client = stack.connect(stack.users("reader")[0])
    answer = client.answer(client.send("Subscribe", {"topics": [topic]}))
    assert (answer["type"], answer["data"]["code"]) == ("Error", 400)


@pytest.mark.parametrize("topic", ["a.*", "**", "*", "", "a b", "x" * 257])
def test_malformed_topic_is_not_published(stack, topic):
    client = stack.connect(stack.users("publisher")[0])
    answer = client.broadcast(topic, 1)
    assert (answer["type"], answer["data"]["code"]) == ("Error", 400)
