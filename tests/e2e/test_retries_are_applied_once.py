"""The same id with the same content from the same user is answered as before, and done once."""


def test_direct_message(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    first = sender.direct(bob, {"n": 1}, id="retry")
    assert [sender.direct(bob, {"n": 1}, id="retry") for _ in range(3)] == [first] * 3
    sender.direct(bob, {"n": 2})
    deliveries = receiver.await_count("DirectMessage", 2)
    assert [data["payload"]["n"] for data in deliveries] == [1, 2]


def test_direct_message_on_another_connection_and_gateway(stack):
    alice, bob = stack.users("alice", "bob")
    first, receiver = stack.connect(alice), stack.connect(bob)
    answer = first.direct(bob, 1, id="retry")
    first.abort()
    second = stack.connect(alice, gateway=1)
    assert second.direct(bob, 1, id="retry") == answer
    second.direct(bob, 2)
    assert [data["payload"] for data in receiver.await_count("DirectMessage", 2)] == [1, 2]


def test_queued_message(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    first = sender.direct(bob, 1, id="retry")
    assert first["data"]["details"]["queued"] is True
    assert sender.direct(bob, 1, id="retry") == first
    receiver = stack.connect(bob, gateway=1)
    sender.direct(bob, 2)
    assert [data["payload"] for data in receiver.await_count("DirectMessage", 2)] == [1, 2]


def test_broadcast(stack):
    topic, publisher, user = stack.users("topic", "publisher", "reader")
    reader, sender = stack.connect(user, gateway=1), stack.connect(publisher)
    reader.subscribe(topic)
    first = sender.broadcast(topic, 1, id="retry")
    assert sender.broadcast(topic, 1, id="retry") == first
    sender.broadcast(topic, 2)
    assert [data["payload"] for data in reader.await_count("Broadcast", 2)] == [1, 2]


def test_same_id_with_other_content_is_new(stack):
    """As clients do that count from 1 after a reload."""
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    for n in range(3):
        answer = sender.direct(bob, n, id="msg_1")
        assert (answer["type"], answer["id"]) == ("Ack", "msg_1")
    assert [data["payload"] for data in receiver.await_count("DirectMessage", 3)] == [0, 1, 2]


def test_same_id_of_another_user_is_new(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    receiver = stack.connect(carol, gateway=1)
    for user in (alice, bob):
        assert stack.connect(user).direct(carol, "same", id="msg_1")["type"] == "Ack"
    assert [data["from_user"] for data in receiver.await_count("DirectMessage", 2)] == [alice, bob]
