"""A broadcast reaches each subscriber once, on every gateway, and its answer counts them."""

from waiting import wait_until


def subscribers(stack, topic, *gateways):
    clients = [stack.connect(stack.users("reader")[0], gateway=n) for n in gateways]
    for client in clients:
        client.subscribe(topic)
    return clients


def test_recipients_are_exact(stack):
    topic, publisher = stack.users("chat", "publisher")
    readers = subscribers(stack, topic, 0, 0, 1, 1, 1)
    sender = stack.connect(publisher)
    answer = sender.broadcast(topic, {"message": "Hello everyone!"}, id="msg_123456")
    assert answer == {"type": "Ack", "id": "msg_123456", "data": {
        "message_id": "msg_123456", "status": "delivered", "recipients": 5}}
    for reader in readers:
        delivery = reader.take("Broadcast")
        assert isinstance(delivery["metadata"].pop("sent_at"), int)
        assert delivery == {"topic": topic, "payload": {"message": "Hello everyone!"},
                            "metadata": {"message_id": "msg_123456"}}


def test_nobody_listens(stack):
    topic, publisher = stack.users("chat", "publisher")
    answer = stack.connect(publisher).broadcast(topic, 1)
    assert answer["type"] == "Ack"
    assert answer["data"]["recipients"] == 0


def test_overlapping_subscriptions_deliver_once(stack):
    topic, publisher, reader = stack.users("chat", "publisher", "reader")
    overlapping = stack.connect(reader, gateway=1)
    overlapping.subscribe(f"{topic}.general", f"{topic}.*", f"{topic}.**", "*.general")
    wildcard = stack.connect(reader)
    wildcard.subscribe(f"{topic}.*", f"{topic}.**")
    sender = stack.connect(publisher)
    for n in range(3):
        assert sender.broadcast(f"{topic}.general", n)["data"]["recipients"] == 2
    for client in (overlapping, wildcard):
        deliveries = client.await_count("Broadcast", 3)
        assert [delivery["payload"] for delivery in deliveries] == [0, 1, 2]


def test_the_publisher_is_left_out_unless_it_asks(stack):
    topic, publisher = stack.users("chat", "publisher")
    sender, other = stack.connect(publisher), stack.connect(publisher, gateway=1)
    for client in (sender, other):
        client.subscribe(topic)
    assert sender.broadcast(topic, "quiet")["data"]["recipients"] == 1
    assert sender.broadcast(topic, "echo", metadata={"echo": True})["data"]["recipients"] == 2
    assert sender.take("Broadcast")["payload"] == "echo"
    assert [data["payload"] for data in other.await_count("Broadcast", 2)] == ["quiet", "echo"]


def test_unsubscribing_ends_it(stack):
    first, second, publisher, user = stack.users("first", "second", "publisher", "reader")
    reader, sender = stack.connect(user, gateway=1), stack.connect(publisher)
    reader.subscribe(first, second)
    assert sender.broadcast(first, "before")["data"]["recipients"] == 1
    assert reader.unsubscribe(first) == {"topics": [first], "active_subscriptions": 1}
    assert sender.broadcast(first, "after")["data"]["recipients"] == 0
    assert sender.broadcast(second, "other")["data"]["recipients"] == 1
    assert [data["payload"] for data in reader.await_count("Broadcast", 2)] == ["before", "other"]


def test_one_subscription_of_two_remains(stack):
    topic, publisher, user = stack.users("chat", "publisher", "reader")
    reader, sender = stack.connect(user, gateway=1), stack.connect(publisher)
    reader.subscribe(topic, f"{topic}.a", f"{topic}.*")
    reader.unsubscribe(f"{topic}.a")
    assert sender.broadcast(f"{topic}.a", 1)["data"]["recipients"] == 1
    reader.unsubscribe(f"{topic}.*")
    assert sender.broadcast(f"{topic}.a", 2)["data"]["recipients"] == 0


def test_a_closed_connection_is_not_counted(stack):
    topic, publisher = stack.users("chat", "publisher")
    staying, leaving = subscribers(stack, topic, 0, 1)
    sender = stack.connect(publisher)
    assert sender.broadcast(topic, 1)["data"]["recipients"] == 2
    leaving.close()
    wait_until(lambda: sender.broadcast(topic, 2)["data"]["recipients"] == 1,
               "only one is counted")
    assert staying.take("Broadcast")["payload"] == 1


def test_order_of_one_publisher_is_kept(stack):
    topic, publisher = stack.users("chat", "publisher")
    readers = subscribers(stack, topic, 0, 1)
    sender = stack.connect(publisher)
    for n in range(500):
        sender.send_broadcast(topic, n)
    for reader in readers:
        deliveries = reader.await_count("Broadcast", 500)
        assert [delivery["payload"] for delivery in deliveries] == list(range(500))
