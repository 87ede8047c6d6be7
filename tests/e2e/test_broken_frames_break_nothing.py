"""
Whatever bytes clients send, on whichever endpoint: nothing dies, nothing hangs, and the next
client is served. Seeded; FUZZ_ROUNDS and FUZZ_SEED ask for more, best on a build with sanitizers.
"""

import json
import os
import random
import select
import socket
import struct
import time
import zlib

import pytest

from harness import ENDPOINTS
from waiting import PATIENCE

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
NOW = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


def callie(recipient, kind, content, **more):
    return {"sender": "fuzz", "recipient": recipient, "timestamp": NOW, "type": kind,
            "content": content, "payloadID": "p1", "payloadVersion": "1.0", **more}


def command(name, /, **parameters):
    return callie("SERVER", "CMD", {"command": name, "parameters": parameters})


def chat(kind, **payload):
    return {"type": "request", "timestamp": 1, "id": "r1", "payloadType": kind, "payload": payload}


def binary(kind, address, body=b"body"):
    payload = struct.pack(">H", len(address)) + address + body
    return struct.pack(">BI", kind, len(payload)) + payload


SEEDS = {
    "realtime": [
        {"type": "Ping", "data": {"timestamp": 1}},
        {"type": "Subscribe", "id": "s", "data": {"topics": ["a.b", "*", "presence.bob", "**"]}},
        {"type": "Subscribe", "data": {"topics": ["history.a"], "history": 5}},
        {"type": "Subscribe", "data": {"topics": ["history.a"],
                                       "since": {"history.a": {"epoch": 1, "offset": 2}}}},
        {"type": "Unsubscribe", "data": {"topics": ["a.b"]}},
        {"type": "Broadcast", "id": "b", "data": {"topic": "history.a", "payload": {"a": [1.50]}},
         "metadata": {"echo": True}},
        {"type": "DirectMessage", "id": "d", "data": {"target_user": "bob", "payload": "\u00e9"},
         "metadata": {"ttl": 1.5, "priority": "high"}},
        {"type": "Presence", "data": {"status": "away", "metadata": {"a": "b"}}},
        {"type": "Auth", "data": {"token": "a.b.c"}},
        {"type": "Ack", "data": {"message_id": "m"}},
        {"type": "X-Own", "id": "x", "data": {"topic": "a.b", "v": 1}, "metadata": {"k": 1}},
        {"type": "X-Own", "data": {"target_user": "bob"}},
        {"type": "X-Own", "data": {}},
        {"type": "Notification", "data": {"message": "m", "topic": "a", "actions": []}},
        binary(1, b"a.b"), binary(2, b"bob"), binary(3, b"bob", b""), binary(4, b"history.a"),
    ],
    "messaging": [
        {"send": [{"id": 1, "sid": "fuzz", "rid": "bob", "text": "t", "attachments": [{"a": 1}]}],
         "read": [{"id": 1, "sid": "bob"}]},
        {"send": [{"id": "a", "rid": "*", "text": "t"}, {"id": 1.5, "channel": "a.b", "x": {}}]},
        {"subscribe": ["a.b", "*"], "unsubscribe": ["a.b"]},
        {"read": [{"id": n} for n in range(20)]},
    ],
    "chat": [
        chat("subscribe", lastEventId=0),
        chat("new", chatId="bob", message="hi", clientMessageId="c", attachments=[{"url": "x"}]),
        chat("new", chatId="group:g", message="hi"),
        chat("edit", chatId="bob", messageId=1, message="ho"),
        chat("delete", chatId="bob", messageId=2),
        chat("dlvrd", chatId="bob", messageId=1), chat("read", chatId="bob", messageId=1),
        chat("getMessage", chatId="bob", messageId=1),
        chat("getMessages", chatId="bob", endId=9007199254740991, count=100),
        chat("getChat", chatId="bob"), chat("getChats"),
        chat("getEvent", eventId=1), chat("getEvents", fromEventId=0),
        chat("typing", chatId="bob"), chat("offline"),
        {"type": "event", "timestamp": 1, "eventType": "typing", "payload": {"chatId": "bob"}},
    ],
    "simple": [
        {"type": "send_message", "payload_id": "p", "message": "hi"},
        {"type": "send_message", "payload_id": "", "message": "\\u0000\n", "to": "bob"},
    ],
    "callie": [
        callie("bob", "MSG", {"messageID": "m1", "text": "t", "attachments": [
            {"type": "image", "url": "http://a/b", "metadata": {"size": 1}}]}),
        callie("group:g", "MSG", {"messageID": "m2", "text": "t"}, metadata={"data": {"a": 1}}),
        callie("BROADCAST", "MSG", {"messageID": "m3", "text": "t"}),
        callie("SERVER", "PING", {}), callie("bob", "PONG", {}),
        {"type": "AUTH", "token": "a.b.c", "payloadID": "p"},
        command("CREATE_GROUP", name="g", members=["bob", 7]), command("LIST_GROUPS"),
        command("JOIN_GROUP", groupID="g"), command("ADD_MEMBER", groupID="g", username="bob"),
        command("LIST_MEMBERS", groupID="g"), command("LIST_USERS"),
        command("EDIT_MESSAGE", messageID="m1", text="u"), command("DELETE_MESSAGE", messageID="m1"),
        command("SET_STATUS", status="away"), command("GET_STATUS", username="bob"),
    ],
}
VALUES = [None, True, 0, -1, 1e400, 2 ** 53, 2 ** 64, 1.5, "", "a", "\n", "\0", "%", "|", "{1}:",
          "group:", "group:g", "guest:x", "SERVER", "*", "$all", "presence.**", "**", "x" * 129,
          "\ud800", "\u2028", [], {}, [[]], [{}], {"": ""}, ["a"] * 200, {"id": 1}]


# ---- broken messages ------------------------------------------------------------------------


def places(value, at=()):
    """The paths of all values inside."""
    inside = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    yield at
    for name, part in inside:
        yield from places(part, (*at, name))


def changed(dice, value, at, to):
    if not at:
        return to
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(at) == 1 and dice.random() < 0.2:
        del copy[at[0]]
    else:
        copy[at[0]] = changed(dice, copy[at[0]], at[1:], to)
    return copy


def bend(dice, message):
    """Still JSON, but not what it should be."""
    for _ in range(dice.randrange(1, 3)):
        message = changed(dice, message, dice.choice(list(places(message))), dice.choice(VALUES))
    return message


def break_bytes(dice, payload):
    payload = bytearray(payload)
    for _ in range(dice.randrange(0, 4)):
        kind, at = dice.randrange(4), dice.randrange(len(payload) + 1)
        if kind == 0:
            payload[at:at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del payload[at:at + dice.randrange(1, 20)]
        elif kind == 2:
            payload[at:at] = dice.choice([b'"', b"[", b"{", b"\\", b"\\u0000", b",", b"\xc3",
                                          b"\x00", b"[" * 200, b"9" * 400])
        else:
            payload[at:at] = payload[:dice.randrange(len(payload) + 1)][-300:]
    return bytes(payload[:60000])


def broken(dice, protocol):
    """An opcode and a payload."""
    seed = dice.choice(SEEDS[protocol])
    if isinstance(seed, bytes):
        return BINARY, break_bytes(dice, seed)
    if dice.random() < 0.5:
        seed = bend(dice, seed)
    payload = json.dumps(seed).encode()
    return TEXT, break_bytes(dice, payload) if dice.random() < 0.5 else payload


# ---- frames ---------------------------------------------------------------------------------


def frame(dice, opcode, payload, first=0x80):
    mask = dice.randbytes(4)
    size = len(payload)
    length = (bytes([0x80 | size]) if size < 126 else
              b"\xfe" + struct.pack(">H", size) if size < 65536 else
              b"\xff" + struct.pack(">Q", size))
    masked = (int.from_bytes(payload, "little") ^
              int.from_bytes((mask * (size // 4 + 1))[:size], "little")).to_bytes(size, "little")
    return bytes([first | opcode]) + length + mask + masked


def in_pieces(dice, opcode, payload):
    cuts = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.randrange(1, 4)))
    pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)])]
    for n, piece in enumerate(pieces):
        yield frame(dice, 0 if n else opcode, piece, 0x80 if n == len(pieces) - 1 else 0)
        if dice.random() < 0.3:
            yield frame(dice, PING, b"in between")


def deflated(dice, opcode, payload):
    deflate = zlib.compressobj(dice.choice([0, 1, 9]), zlib.DEFLATED, -15)
    packed = deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(b"\0\0\xff\xff")
    if dice.random() < 0.3:
        packed = break_bytes(dice, packed)
    return frame(dice, opcode, packed, 0xc0)


def on_the_wire(dice, protocol):
    opcode, payload = broken(dice, protocol)
    kind = dice.random()
    if kind < 0.6:
        return frame(dice, opcode, payload)
    if kind < 0.75:
        return b"".join(in_pieces(dice, opcode, payload))
    if kind < 0.9:
        return deflated(dice, opcode, payload)
    if kind < 0.95:  # control frames, and opcodes that there are not
        return frame(dice, dice.randrange(16), payload[:dice.choice([0, 1, 2, 125, 126])])
    return break_bytes(dice, frame(dice, opcode, payload, dice.randrange(16) << 4))


class Socket:
    """Says what it likes and reads without looking; connects again when it is cut off."""

    def __init__(self, stack, protocol):
        path, naming = ENDPOINTS[protocol]
        query = "&".join(f"{name}={value}" for name, value in
                         {"token": stack.token("fuzz"), **naming("fuzz")}.items())
        host, port = self._address = stack.gateways[0].address.split(":")
        self._head = (f"GET {path}?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                      "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + "A" * 22 + "==\r\n"
                      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").encode()
        self._socket = None

    def connect(self):
        self.close()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:  # simple's name may still be in use
            self._socket = socket.create_connection(self._address, timeout=PATIENCE)
            self._socket.sendall(self._head)
            answer = self._socket.recv(65536)
            if answer.startswith(b"HTTP/1.1 101"):
                return
            self._socket.close()
            assert answer.startswith(b"HTTP/1.1 403"), answer
        raise AssertionError("not let in again")

    def close(self):
        if self._socket:
            self._socket.close()
        self._socket = None

    def send(self, data, dice):
        """At times with an end in the middle of it."""
        if self._socket is None:
            self.connect()
        try:
            if dice.random() < 0.02:
                self._socket.sendall(data[:dice.randrange(len(data) + 1)])
                self.close()
                return
            self._socket.sendall(data)
            while select.select([self._socket], [], [], 0)[0]:
                if not self._socket.recv(65536):
                    self.close()
                    return
        except OSError:
            self.close()


# ---- tests ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzzed(module_stack):
    return module_stack(auth=False, gateways=1, deflate="on")


@pytest.mark.parametrize("protocol", SEEDS)
def test_messages_and_frames(fuzzed, protocol):
    dice = random.Random(f"{SEED} {protocol}")
    endpoint = Socket(fuzzed, protocol)
    for _ in range(ROUNDS):
        endpoint.send(on_the_wire(dice, protocol), dice)
    endpoint.close()
    witness = fuzzed.connect("witness")
    witness.send_direct("witness", "still there")
    assert witness.take("DirectMessage")["payload"] == "still there"
    witness.close()
    fuzzed.check()


# ---- before there is a WebSocket ------------------------------------------------------------

KEY = "backend:publish,notify,read,admin:" + "k" * 32
HEADS = [
    b"GET /ws?token=a.b.c&ack=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"GET /simple?username=a%20b HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpi\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /api/v1/presence/%41lice HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer K\r\n\r\n",
    b"GET /api/v1/history/history.a?last=5 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer K\r\n\r\n",
]
BODIES = [
    ("publish", {"topic": "history.a", "payload": {"a": 1}, "id": "i", "metadata": {}}),
    ("publish", {"user": "bob", "payload": "x", "ttl": 1, "priority": "high", "from": "alice"}),
    ("publish", {"group": "g", "payload": "x"}),
    ("notify", {"user": "bob", "level": "info", "message": "m", "actions": [{"label": "l", "url": "u"}]}),
    ("disconnect", {"user": "bob"}), ("disconnect", {"connection_id": "a"}),
    ("revoke", {"user": "bob"}),
]
PROXY = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY TCP6 ::1 ::2 1 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x27" + bytes(39),
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
]


def a_request(dice):
    if dice.random() < 0.5:
        return dice.choice(HEADS).replace(b"Bearer K", b"Bearer " + b"k" * 32)
    action, body = dice.choice(BODIES)
    if dice.random() < 0.7:
        body = bend(dice, body)
    body = json.dumps(body).encode()
    length = len(body) + (dice.choice([-1, 1, 10 ** 9]) if dice.random() < 0.1 else 0)
    return (f"POST /api/v1/{action} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {'k' * 32}\r\nContent-Length: {length}\r\n\r\n").encode() + body


def knock(address, data, dice):
    """Says it in one or two pieces and leaves, at times without a word of goodbye."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        cut = dice.randrange(len(data) + 1)
        try:
            connection.sendall(data[:cut])
            connection.sendall(data[cut:])
            if dice.random() < 0.3:
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(0.05)
                connection.recv(65536)
            elif dice.random() < 0.3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass


@pytest.mark.parametrize("proxied", [False, True])
def test_heads_and_bodies(new_stack, proxied):
    stack = new_stack(auth=False, gateways=1, api_keys=KEY, console="on", open_identity="on",
                      proxy_protocol="on" if proxied else "off")
    dice = random.Random(f"{SEED} heads {proxied}")
    for _ in range(ROUNDS):
        data = a_request(dice)
        if proxied:
            head = dice.choice(PROXY)
            data = (break_bytes(dice, head) if dice.random() < 0.7 else head) + data
        knock(stack.gateways[0].address, break_bytes(dice, data) if dice.random() < 0.6 else data,
              dice)
    assert stack.gateways[0].get("/healthz")[0] == 200
    stack.check()
