"""A direct message goes to every connection of its user, whichever gateway holds it."""

import time


def test_answer_names_the_receiving_connection(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    answer = sender.direct(bob, {"message": "Private message", "attachments": []}, id="dm_789012")
    assert answer == {"type": "Ack", "id": "dm_789012", "data": {
        "message_id": "dm_789012", "status": "delivered",
        "delivered_to": [receiver.connection_id]}}


def test_delivery_has_the_fields_of_the_source(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    sender.direct(bob, {"message": "Private message", "attachments": []}, id="dm_789012")
    delivery = receiver.take("DirectMessage")
    assert abs(delivery["metadata"].pop("sent_at") - time.time()) < 60
    assert delivery == {
        "from_user": alice, "payload": {"message": "Private message", "attachments": []},
        "metadata": {"message_id": "dm_789012"}}


def test_all_connections_of_a_user_get_it(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    receivers = [stack.connect(bob, gateway=n % 2) for n in range(4)]
    answer = sender.direct(bob, "to each of you")
    assert (sorted(answer["data"]["delivered_to"])
            == sorted(receiver.connection_id for receiver in receivers))
    for receiver in receivers:
        assert receiver.take("DirectMessage")["payload"] == "to each of you"


def test_without_an_id_one_is_made(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    sender.send_direct(bob, 1, id=None)
    acknowledged = sender.take("Ack")["message_id"]
    assert acknowledged.startswith("dm_")
    assert receiver.take("DirectMessage")["metadata"]["message_id"] == acknowledged


def test_a_user_may_write_to_himself(stack):
    alice, = stack.users("alice")
    client = stack.connect(alice)
    assert client.direct(alice, "note")["data"]["delivered_to"] == [client.connection_id]
    assert client.take("DirectMessage")["from_user"] == alice


def test_metadata_of_the_sender_is_passed_on(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    metadata = {"priority": "high", "encryption": "aes256", "mood": ["good", None]}
    sender.direct(bob, "x", metadata=metadata)
    receiver.take("DirectMessage", metadata=metadata)
