"""Bytes of four types reach topics and users, with their sender's name; the sender gets a checksum."""

import hashlib
import itertools
import os

import pytest

TYPES = {"broadcast": 1, "direct_message": 2, "file_transfer": 3, "stream_data": 4}
_topics = (f"bytes.t{number}" for number in itertools.count(1))


def address(text):
    return len(text.encode()).to_bytes(2, "big") + text.encode()


def frame(kind, payload):
    return bytes([TYPES[kind]]) + len(payload).to_bytes(4, "big") + payload


def take_bytes(client):
    return client.take("(binary)")


def received(client):
    return client.take_where(lambda message: message["type"] == "Status" and
                             message["data"]["status"] == "binary_received",
                             "binary_received")["data"]["details"]


@pytest.mark.parametrize("kind", ["broadcast", "stream_data"])
def test_to_a_topic(stack, kind):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    topic, body = next(_topics), os.urandom(5000)
    receiver.subscribe(topic)
    payload = address(topic) + body
    sender.send_bytes(frame(kind, payload))
    details = received(sender)
    assert (details["size"], details["type"], details["recipients"]) == (len(payload), kind, 1)
    assert details["checksum"] == "sha256:" + hashlib.sha256(payload).hexdigest()
    assert take_bytes(receiver) == frame(kind, address(alice) + payload)


@pytest.mark.parametrize("kind", ["direct_message", "file_transfer"])
def test_to_a_user(stack, kind):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    payload = address(bob) + bytes(range(256))
    sender.send_bytes(frame(kind, payload))
    details = received(sender)
    assert details["type"] == kind and details["queued"] is False
    assert details["delivered_to"] == [receiver.connection_id]
    assert take_bytes(receiver) == frame(kind, address(alice) + payload)


def test_they_wait_for_who_is_away(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    payload = address(bob) + b"\x00\xff"
    sender.send_bytes(frame("file_transfer", payload))
    assert received(sender)["queued"] is True
    assert take_bytes(stack.connect(bob)) == frame("file_transfer", address(alice) + payload)


def test_a_frame_of_almost_a_mebibyte(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    payload = address(bob) + os.urandom(2**20 - 5 - 2 - len(bob))
    assert len(frame("file_transfer", payload)) == 2**20
    sender.send_bytes(frame("file_transfer", payload))
    assert received(sender)["size"] == len(payload)
    assert take_bytes(receiver) == frame("file_transfer", address(alice) + payload)


def test_bytes_keep_their_order_among_messages(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    for n in range(20):
        sender.send_direct(bob, n)
        sender.send_bytes(frame("direct_message", address(bob) + bytes([n])))
    receiver.await_count("DirectMessage", 20)
    receiver.await_count("(binary)", 20)
    order = [message["data"]["payload"] if message["type"] == "DirectMessage"
             else message["data"][-1] for message in receiver.arrived
             if message["type"] in ("DirectMessage", "(binary)")]
    assert order == [n for n in range(20) for _ in range(2)]


@pytest.mark.parametrize("message, field", [
    (b"", "type"), (b"\x00\x00\x00\x00\x00", "type"), (b"\x05\x00\x00\x00\x00", "type"),
    (b"\x01\x00\x00", "length"), (b"\x01\x00\x00\x00\x09\x00\x01a", "length"),
    (b"\x01\x00\x00\x00\x00", "address"), (b"\x02\x00\x00\x00\x03\x00\x09a", "address"),
    (b"\x01\x00\x00\x00\x05\x00\x03a.*", "address")])
def test_a_wrong_one_is_error_400(stack, message, field):
    client = stack.connect(*stack.users("alice"))
    client.send_bytes(message)
    error = client.take("Error")
    assert (error["code"], error["details"]) == (400, {"field": field})
    client.ping()
