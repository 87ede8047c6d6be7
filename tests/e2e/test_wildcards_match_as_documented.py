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


@pytest.mark.parametrize("pattern", CASES)
def test_pattern(stack, pattern):
    matching, others = CASES[pattern]
    reader, publisher = stack.users("reader", "publisher")
    # Under a prefix of its own, or the patterns of one case would see another's topics.
    prefix = reader if not pattern.startswith("*") else None
    client, sender = stack.connect(reader, gateway=1), stack.connect(publisher)

    def named(topic):
        return f"{prefix}.{topic}" if prefix else topic

    client.subscribe(named(pattern))
    for topic in others:
        assert sender.broadcast(named(topic), topic)["data"]["recipients"] == 0, topic
    for topic in matching:
        assert sender.broadcast(named(topic), topic)["data"]["recipients"] == 1, topic
    received = [data["payload"] for data in client.await_count("Broadcast", len(matching))]
    assert sorted(received) == sorted(matching)
    client.close()


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
