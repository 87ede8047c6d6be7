"""Subscribe and Unsubscribe are answered by the Status of the source, and with an id by an Ack."""


def test_status_and_ack(stack):
    client = stack.connect(stack.users("reader")[0])
    topics = ["notifications", "chat.general", "updates.*"]
    client.send("Subscribe", {"topics": topics}, id="s1")
    assert client.take("Status", id="s1") == {
        "status": "subscribed", "details": {"topics": topics, "active_subscriptions": 3}}
    acknowledgement = client.answer("s1")
    assert acknowledgement["data"]["message_id"] == "s1"
    assert isinstance(acknowledgement["data"]["status"], str)

    client.send("Unsubscribe", {"topics": ["chat.general"]}, id="s2")
    assert client.take("Status", id="s2") == {
        "status": "unsubscribed",
        "details": {"topics": ["chat.general"], "active_subscriptions": 2}}
    assert client.answer("s2")["type"] == "Ack"


def test_without_id_only_the_status_comes(stack):
    client = stack.connect(stack.users("reader")[0])
    client.send("Subscribe", {"topics": ["a.b"]}, id=None)
    assert client.take("Status")["status"] == "subscribed"
    client.send("Unsubscribe", {"topics": ["a.b"]}, id=None)
    assert client.take("Status")["status"] == "unsubscribed"
    client.ping()
    assert client.of_type("Ack") == []


def test_subscribing_again_changes_nothing(stack):
    client = stack.connect(stack.users("reader")[0])
    assert client.subscribe("a.b", "a.c", "a.b")["active_subscriptions"] == 2
    assert client.subscribe("a.b")["active_subscriptions"] == 2
    assert client.unsubscribe("never.there")["active_subscriptions"] == 2
    assert client.unsubscribe("a.b", "a.c")["active_subscriptions"] == 0


def test_one_bad_topic_refuses_all(stack):
    topic, user = stack.users("chat", "reader")
    client = stack.connect(user)
    id = client.send("Subscribe", {"topics": [topic, "not a topic"]})
    answer = client.answer(id)
    assert (answer["type"], answer["data"]["code"]) == ("Error", 400)
    assert client.subscribe("a.b")["active_subscriptions"] == 1
    assert stack.connect(user, gateway=1).broadcast(topic, 1)["data"]["recipients"] == 0


def test_subscriptions_have_a_limit(stack):
    client = stack.connect(stack.users("reader")[0])
    assert client.subscribe(*(f"t.{n}" for n in range(100)))["active_subscriptions"] == 100
    answer = client.answer(client.send("Subscribe", {"topics": ["one.more"]}))
    assert answer["type"] == "Error", answer
    client.unsubscribe("t.0")
    assert client.subscribe("one.more")["active_subscriptions"] == 100
