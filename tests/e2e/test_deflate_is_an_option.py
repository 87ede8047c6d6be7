"""permessage-deflate (TRUNKLINE_DEFLATE): for clients that offer it, bounded, and nobody else notices."""

import zlib

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from client import Client
from harness import http
from waiting import wait_until

PLAIN = {"compression": None}
DEFLATED = {"compression": "deflate"}
TEXT = "over and over " * 300  # 4,200 bytes that shrink


@pytest.fixture(scope="module")
def deflating(module_stack):
    return module_stack(auth=False, deflate="on")


def connect(stack, user, gateway=0, **options):
    return stack.connect(user, gateway, **options)


def bytes_sent(stack, gateway):
    with_total = [line for line in str(http("GET", f"http://{stack.gateways[gateway].address}/metrics")
                                       [1]).splitlines()
                  if line.startswith("trunkline_bytes_sent_total{")]
    return int(with_total[0].rsplit(" ", 1)[1])


def test_messages_arrive_both_ways_and_are_smaller(deflating):
    alice, bob, carol = deflating.users("alice", "bob", "carol")
    sender = connect(deflating, alice, 0, **DEFLATED)
    small, large = connect(deflating, bob, 1, **DEFLATED), connect(deflating, carol, 1, **PLAIN)
    for client in (small, large):
        client.subscribe("deflate.all")
    before = bytes_sent(deflating, 1)
    for number in range(50):
        sender.broadcast("deflate.all", {"number": number, "text": TEXT})
    for client in (small, large):
        got = client.await_count("Broadcast", 50)
        assert [message["payload"]["number"] for message in got] == list(range(50))
        assert all(message["payload"]["text"] == TEXT for message in got)
    sent = bytes_sent(deflating, 1) - before
    assert 50 * len(TEXT) < sent < 50 * len(TEXT) * 1.3  # one in full, one deflated


def test_direct_messages_that_shrink_are_confirmed(deflating):
    alice, bob = deflating.users("alice", "bob")
    sender = connect(deflating, alice)
    receiver = connect(deflating, bob, 1, **DEFLATED)
    for number in range(20):
        sender.direct(bob, {"number": number, "text": TEXT})
    assert len(receiver.await_count("DirectMessage", 20)) == 20
    wait_until(lambda: not any(TEXT[:100] in str(deflating.redis.command("XRANGE", key, "-", "+"))
                               for key in deflating.redis.command("KEYS", "*:out:*")),
               "what the client's TCP has taken is confirmed, and leaves Redis")


def test_a_bomb_is_too_big(deflating):
    """64 KiB is the limit of what a message inflates to, not of what it is on the wire."""
    (alice,) = deflating.users("alice")
    client = connect(deflating, alice, **DEFLATED)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(b" " * (200 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 1 << 19
    client.send_raw(deflated_frame(bomb[:-4]))
    assert client.await_close() == 1009


def test_deflated_nonsense_is_no_text(deflating):
    (alice,) = deflating.users("alice")
    client = connect(deflating, alice, **DEFLATED)
    client.send_raw(deflated_frame(b"\xff" * 100))
    assert client.await_close() == 1007


def deflated_frame(payload):
    """One masked text frame with RSV1; the mask is zero."""
    length = len(payload)
    size = bytes([0x80 | 127]) + length.to_bytes(8, "big") if length > 65535 else (
        bytes([0x80 | 126]) + length.to_bytes(2, "big") if length > 125 else bytes([0x80 | length]))
    return b"\xc1" + size + b"\0\0\0\0" + payload


@pytest.mark.parametrize("options", [
    {}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True},
    {"client_max_window_bits": 10}])
def test_offers_of_many_kinds_are_taken(deflating, options):
    (alice,) = deflating.users("alice")
    client = connect(deflating, alice, extensions=[ClientPerMessageDeflateFactory(**options)])
    client.direct(alice, TEXT)
    assert client.take("DirectMessage")["payload"] == TEXT


def test_an_offer_with_a_window_of_ours_is_passed_over(deflating):
    (alice,) = deflating.users("alice")
    client = connect(deflating, alice,
                     extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=9)])
    assert client._socket.extensions == []
    client.ping()


def test_without_the_setting_nothing_is_negotiated(stack):
    (alice,) = stack.users("alice")
    client = stack.connect(alice, **DEFLATED)
    assert client._socket.extensions == []
    client.ping()
