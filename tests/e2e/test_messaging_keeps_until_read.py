"""messaging: what is unread comes at each connect, until its receiver marks it as read."""

import itertools

import pytest

from messenger import Messenger


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on")


def again(stack, user, *texts, gateway=0, **query):
    """Connects anew and expects these at once, and nothing else."""
    client = Messenger(stack, user, gateway=gateway, **query)
    client.await_texts(*texts)
    return client


def test_unread_messages_come_again_sent_or_not(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    again(stack, bob).close()  # he has been there once
    sender.write(bob, "while away")
    receiver = again(stack, bob, "while away")
    assert sender.write(bob, "while here")["status"] == "delivered"
    receiver.await_texts("while away", "while here")
    receiver.close()
    again(stack, bob, "while away", "while here", gateway=1).close()
    again(stack, bob, "while away", "while here")


def test_no_frame_when_there_are_none(stack):
    bob, = stack.users("bob")
    receiver = again(stack, bob)
    assert not [frame for frame in receiver.client.arrived if "messages" in frame]


def test_read_messages_are_gone(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob, gateway=1)
    for n in range(1, 6):
        sender.write(bob, str(n), id=n)
    receiver.await_texts("1", "2", "3", "4", "5")
    receiver.read(2, 4)
    receiver.settle()
    receiver.close()
    receiver = again(stack, bob, "1", "3", "5")
    receiver.read(1, 3, 5)
    receiver.settle()
    receiver.close()
    again(stack, bob, gateway=1)


def test_what_came_while_away_can_be_read_too(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    Messenger(stack, bob).close()
    for n in range(3):
        sender.write(bob, str(n), id=f"m{n}")
    receiver = again(stack, bob, "0", "1", "2")
    receiver.read("m1")
    receiver.settle()
    receiver.close()
    again(stack, bob, "0", "2")


def test_an_unknown_id_is_no_error(stack):
    bob, = stack.users("bob")
    receiver = Messenger(stack, bob)
    receiver.read(4711, "never")
    receiver.ping()
    assert not [error for frame in receiver.client.arrived if "errors" in frame
                for error in frame["errors"] if error["section"] == "read"]


def test_only_the_readers_own_mailbox_is_read(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    sender = Messenger(stack, alice)
    receivers = [Messenger(stack, user, gateway=1) for user in (bob, carol)]
    sender.send({"id": 1, "rid": bob, "sid": alice, "text": "bob's"},
                {"id": 1, "rid": carol, "sid": alice, "text": "carol's"})
    receivers[0].await_texts("bob's")
    receivers[1].await_texts("carol's")
    receivers[0].read(1)
    receivers[0].settle()
    for receiver in receivers:
        receiver.close()
    again(stack, bob)
    again(stack, carol, "carol's")


def test_sid_narrows_what_is_read(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    receiver = Messenger(stack, carol)
    Messenger(stack, alice).write(carol, "of alice", id=1)
    Messenger(stack, bob, gateway=1).write(carol, "of bob", id=1)
    receiver.await_texts("of alice", "of bob")
    receiver.say(read=[{"id": 1, "sid": alice}])
    receiver.settle()
    receiver.close()
    receiver = again(stack, carol, "of bob", gateway=1)
    receiver.say(read=[{"id": 1}])
    receiver.settle()
    receiver.close()
    again(stack, carol)


def test_numbers_and_strings_of_the_same_digits_are_the_same_id(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob)
    sender.write(bob, "number", id=7)
    sender.write(bob, "string", id="8")
    receiver.await_texts("number", "string")
    receiver.read("7", 8)
    receiver.settle()
    receiver.close()
    again(stack, bob)


def test_a_message_is_read_as_it_comes_whole(stack):
    """A read entry may be the message itself: the source says "array of messages"."""
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob)
    sender.write(bob, "hi")
    receiver.await_texts("hi")
    receiver.say(read=receiver.messages())
    receiver.settle()
    receiver.close()
    again(stack, bob)


def test_read_comes_before_send_in_one_frame(stack):
    """A message to oneself with the id that is read in the same frame stays unread."""
    alice, = stack.users("alice")
    client = Messenger(stack, alice)
    client.write(alice, "first", id=1)
    client.await_texts("first")
    client.say(send=[{"id": 1, "rid": alice, "sid": alice, "text": "second"}], read=[{"id": 1}])
    client.await_texts("first", "second")
    client.close()
    again(stack, alice, "second")


def test_a_retry_while_unread_is_kept_once(stack):
    alice, bob = stack.users("alice", "bob")
    Messenger(stack, bob).close()
    for gateway in (0, 1, 0):
        Messenger(stack, alice, gateway=gateway).write(bob, "once", id="retry")
    again(stack, bob, "once")


def test_a_mailbox_comes_in_frames_of_256_in_order(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    Messenger(stack, bob).close()
    for begin in range(0, 1000, 100):
        sender.send(*({"id": n, "rid": bob, "sid": alice, "text": str(n)}
                      for n in range(begin, begin + 100)))
    for n in range(1000):
        sender.sent(n)
    receiver = again(stack, bob, *map(str, range(1000)), gateway=1)
    sizes = [len(frame["messages"]) for frame in receiver.client.arrived if "messages" in frame]
    assert max(sizes) <= 256
    assert len(sizes) < 20, "they are gathered"


def test_all_devices_get_everything_and_each_gets_it_again(stack):
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    devices = [Messenger(stack, bob, gateway=n % 2, device_id=f"d{n}") for n in range(3)]
    sender.write(bob, "one", id=1)
    sender.write(bob, "two", id=2)
    for device in devices:
        device.await_texts("one", "two")
    devices[0].read(1)
    devices[0].settle()
    devices[1].close()
    again(stack, bob, "two", device_id="d1")


def test_messages_of_other_protocols_are_kept_until_read(stack):
    alice, bob = stack.users("alice", "bob")
    Messenger(stack, bob).close()
    stack.connect(alice, gateway=1).direct(bob, {"message": "hi"}, id="dm 1")
    for gateway in (0, 1):
        receiver = again(stack, bob, "hi", gateway=gateway)
        assert receiver.messages() == [{"id": "dm 1", "sid": alice, "rid": bob, "text": "hi"}]
        receiver.close()
    receiver = again(stack, bob, "hi")
    receiver.read("dm 1")
    receiver.settle()
    receiver.close()
    again(stack, bob)


def test_none_is_lost_at_the_seam_of_old_and_new(stack):
    """A device that connects while messages come gets each once, in order."""
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    Messenger(stack, bob).close()
    numbers = itertools.count()
    for _ in range(300):
        sender.send({"id": next(numbers), "rid": bob, "sid": alice, "text": "x"})
    receivers = []
    for n in range(10):
        receivers.append(Messenger(stack, bob, gateway=n % 2, device_id=f"d{n}", settled=False))
        for _ in range(30):
            sender.send({"id": next(numbers), "rid": bob, "sid": alice, "text": "x"})
    total = next(numbers)
    for receiver in receivers:
        receiver.await_messages(total)
        assert [message["id"] for message in receiver.messages()] == list(range(total))


def test_a_mailbox_of_many_megabytes_comes_whole(stack):
    """Far more than the send budget: the next page leaves when the one before was taken."""
    alice, bob = stack.users("alice", "bob")
    sender = Messenger(stack, alice)
    Messenger(stack, bob).close()
    for n in range(200):
        sender.write(bob, "x" * 50000, id=n)
    for gateway in (0, 1):
        receiver = Messenger(stack, bob, gateway=gateway, settled=False)
        receiver.await_messages(200)
        assert [message["id"] for message in receiver.messages()] == list(range(200))
        assert max(len(text) for text in receiver.client.texts) < 300000
        receiver.close()


def test_other_content_under_a_read_id_is_a_new_message(stack):
    """A client that counts from 1 again after a reload."""
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob, gateway=1)
    sender.write(bob, "before", id=1)
    receiver.await_texts("before")
    receiver.read(1)
    receiver.settle()
    sender.write(bob, "after", id=1)
    receiver.await_texts("before", "after")
