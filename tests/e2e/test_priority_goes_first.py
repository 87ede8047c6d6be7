"""metadata.priority "high" goes before others that wait for a slow receiver; all come once."""

import socket
import struct

from api import KEYS, Api
from waiting import PATIENCE, wait_until

COUNT = 3000
FILLER = "x" * 1000


def test_it_passes_those_that_wait(new_stack):
    stack = new_stack(auth=False, stall_ms=60000)
    sender = stack.connect("sender")
    receiver = stack.connect("receiver", gateway=1, reading=False, receive_buffer=4096)
    ids = [sender.send_direct("receiver", {"number": n, "filler": FILLER}) for n in range(COUNT)]
    for id in ids:
        sender.answer(id)
    for n in (COUNT, COUNT + 1):
        sender.answer(sender.send_direct("receiver", {"number": n}, metadata={"priority": "high"}))
    sender.answer(sender.send_direct("receiver", {"number": COUNT + 2}))
    receiver.read()
    wait_until(lambda: len(receiver.of_type("DirectMessage")) >= COUNT + 3, "all have come")
    numbers = [data["payload"]["number"] for data in receiver.of_type("DirectMessage")]
    assert sorted(numbers) == list(range(COUNT + 3))
    # What the kernels held went before; most of the rest waited.
    assert numbers.index(COUNT) < numbers.index(COUNT + 1) < COUNT / 2
    rest = [number for number in numbers if number not in (COUNT, COUNT + 1)]
    assert rest == sorted(rest)


def slow_subscriber(stack, topic):
    """Reads nothing until it is told to; subscribed to a topic."""
    receiver = stack.connect("receiver", gateway=1, reading=False, receive_buffer=4096)
    receiver.send("Subscribe", {"topics": [topic]})
    sender = stack.connect("sender")
    wait_until(lambda: sender.broadcast(topic, "probe")["data"]["recipients"] == 1, "subscribed")
    return sender, receiver


def numbers_of(receiver, count):
    def numbers():
        return [data["payload"]["number"] for data in receiver.of_type("Broadcast")
                if data["payload"] != "probe"]
    receiver.read()
    wait_until(lambda: len(numbers()) >= count, "all have come")
    return numbers()


BIG = "x" * 60000
MANY = 60


def fill(sender, topic):
    for n in range(MANY):
        assert sender.broadcast(topic, {"number": n, "filler": BIG})["data"]["recipients"] == 1


def test_of_broadcasts_too(new_stack):
    """By a client, and by the API; both come before what waits in the receiver's queue."""
    stack = new_stack(auth=False, stall_ms=60000, send_budget=2**30, api_keys=KEYS)
    sender, receiver = slow_subscriber(stack, "news")
    fill(sender, "news")
    sender.answer(sender.send_broadcast("news", {"number": MANY}, metadata={"priority": "high"}))
    Api(stack).done("publish", {"topic": "news", "payload": {"number": MANY + 1},
                                "priority": "high"})
    sender.answer(sender.send("X-alarm", {"topic": "news"}, metadata={"priority": "high"}))
    sender.broadcast("news", {"number": MANY + 2})
    numbers = numbers_of(receiver, MANY + 3)
    assert sorted(numbers) == list(range(MANY + 3))
    assert numbers.index(MANY) < numbers.index(MANY + 1) < MANY / 2
    rest = [number for number in numbers if number not in (MANY, MANY + 1)]
    assert rest == sorted(rest)
    order = [message["type"] for message in receiver.arrived]
    assert order.index("X-alarm") < len(order) / 2


def test_topics_with_history_keep_their_order(new_stack):
    stack = new_stack(auth=False, stall_ms=60000, send_budget=2**30)
    sender, receiver = slow_subscriber(stack, "history.news")
    fill(sender, "history.news")
    sender.answer(sender.send_broadcast("history.news", {"number": MANY},
                                        metadata={"priority": "high"}))
    assert numbers_of(receiver, MANY + 1) == list(range(MANY + 1))


def connect_deaf(stack, user):
    """A connection that is welcomed, and reads what it is told to."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(PATIENCE)
    host, port = stack.gateways[1].address.split(":")
    deaf.connect((host, int(port)))
    deaf.sendall(f"GET /ws?token={stack.token(user)} HTTP/1.1\r\nHost: x\r\n"
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    read_to(deaf, b"connection_id")
    return deaf


def read_to(connection, mark):
    seen = b""
    while mark not in seen:
        part = connection.recv(4096)
        assert part
        seen = seen[-100:] + part


def test_what_is_passed_is_not_taken(new_stack):
    """Direct messages that others went before come again when the connection dies between."""
    stack = new_stack(auth=False, stall_ms=60000, send_budget=2**30, api_keys=KEYS)
    api, sender = Api(stack), stack.connect("sender")
    deaf = connect_deaf(stack, "receiver")
    wait_until(lambda: sender.direct("receiver", 0)["type"] == "Ack", "he is there")
    for n in range(MANY // 3):
        api.done("publish", {"everybody": True, "payload": BIG})
    for n in range(1, 10):
        sender.direct("receiver", n)
    for n in range(MANY):
        api.done("publish", {"everybody": True, "priority": "high",
                             "payload": {"urgent": n, "filler": BIG}})
    # More bytes than stood before the direct messages when they were queued.
    read_to(deaf, b'"urgent": 40,')
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deaf.close()
    again = stack.connect("receiver", settled=False)
    wait_until(lambda: again.of_type("DirectMessage")[-1:] and
               again.of_type("DirectMessage")[-1]["payload"] == 9, "the last has come")
    assert [data["payload"] for data in again.of_type("DirectMessage")][-9:] == list(range(1, 10))
