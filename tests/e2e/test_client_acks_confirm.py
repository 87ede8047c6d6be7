"""With ?ack=1 a message is done when the client says so: until then it comes again."""

from test_offline_messages_wait_in_order import mailbox_of
from waiting import wait_until


def connect(stack, user, gateway):
    return stack.connect(user, gateway=gateway, query={"ack": 1})


def mailbox_length(stack, user):
    return sum(stack.redis.command("XLEN", key) for key in mailbox_of(stack, user))


def acknowledge(client, delivery):
    client.send("Ack", {"message_id": delivery["metadata"]["message_id"]}, id=None)


def test_what_was_not_acknowledged_comes_again(stack):
    alice, bob = stack.users("alice", "bob")
    sender, first = stack.connect(alice), connect(stack, bob, 1)
    ids = [sender.direct(bob, n)["id"] for n in range(5)]
    deliveries = first.await_count("DirectMessage", 5)
    for delivery in deliveries[:3]:
        acknowledge(first, delivery)
    wait_until(lambda: mailbox_length(stack, bob) == 2, "the acknowledgements are in force")
    first.close()

    second = connect(stack, bob, 0)
    sender.direct(bob, "live")
    again = second.await_count("DirectMessage", 3)
    assert [data["payload"] for data in again] == [3, 4, "live"]
    assert [data["metadata"]["message_id"] for data in again[:2]] == ids[3:]
    for delivery in again:
        acknowledge(second, delivery)
    wait_until(lambda: not mailbox_of(stack, bob), "the mailbox is empty")


def test_reading_is_not_enough(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    sender.direct(bob, "keep")
    for gateway in (0, 1, 0):
        client = connect(stack, bob, gateway)
        assert client.take("DirectMessage")["payload"] == "keep"
        client.close()
    plain = stack.connect(bob)
    assert plain.take("DirectMessage")["payload"] == "keep"
    wait_until(lambda: not mailbox_of(stack, bob), "a plain connection takes it")


def test_an_unknown_id_changes_nothing(stack):
    client = connect(stack, stack.users("bob")[0], 0)
    client.send("Ack", {"message_id": "never sent"}, id=None)
    client.ping()
    assert client.of_type("Error") == []
