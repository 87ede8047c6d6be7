"""X- types: to a topic, to a user, or into the stream that a backend reads; each acknowledged."""

import json


def test_to_a_topic(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    receiver.subscribe("board.one")
    id = sender.send("X-Draw", {"topic": "board.one", "x": 1.5}, metadata={"from_user": "mallory"},
                     more=[1])
    assert sender.answer(id)["data"] == {"message_id": id, "status": "delivered", "recipients": 1}
    message = receiver.take_where(lambda message: message["type"] == "X-Draw", "X-Draw")
    assert message == {"type": "X-Draw", "data": {"topic": "board.one", "x": 1.5}, "id": id,
                       "more": [1], "metadata": {"from_user": alice}}


def test_to_a_user_who_comes_later(stack):
    alice, bob = stack.users("alice", "bob")
    sender = stack.connect(alice)
    id = sender.send("X-Poke", {"target_user": bob})
    error = sender.answer(id)["data"]
    assert (error["code"], error["details"]["queued"]) == (404, True)
    message = stack.connect(bob).take_where(lambda message: message["type"] == "X-Poke", "X-Poke")
    assert message["metadata"] == {"from_user": alice}


def entries_of(stack, user):
    entries = (dict(zip(fields[::2], fields[1::2]))
               for _, fields in stack.redis.command("XRANGE", "trunkline:extensions", "-", "+"))
    return [entry for entry in entries if entry["user"] == user]


def test_to_a_backend(stack):
    alice, = stack.users("alice")
    sender = stack.connect(alice)
    for _ in range(2):  # a retry is acknowledged and put there once
        sender.send("X-CustomAction", {"action": "special_operation", "parameters": {}}, id="x1")
        assert sender.answer("x1")["data"] == {"message_id": "x1", "status": "accepted"}
    sender.send("X-CustomAction", {"action": "another"}, id="x1")
    assert sender.answer("x1")["type"] == "Ack"
    first, second = entries_of(stack, alice)
    assert (first["type"], first["id"]) == ("X-CustomAction", "x1")
    assert first["connection"] == sender.connection_id
    assert json.loads(first["message"]) == {
        "type": "X-CustomAction", "data": {"action": "special_operation", "parameters": {}},
        "id": "x1", "metadata": {"from_user": alice}}
    assert json.loads(second["message"])["data"] == {"action": "another"}


def test_to_a_backend_with_any_data_and_no_id(stack):
    alice, = stack.users("alice")
    sender = stack.connect(alice)
    for data in ("text", [1.0], None, True):
        sender.send("X-CustomAction", data, id=None)
        answer = sender.take("Ack")
        entry = entries_of(stack, alice)[-1]
        assert answer == {"message_id": entry["id"], "status": "accepted"}
        assert json.loads(entry["message"])["data"] == data
    sender.send_text('{"type":"X-CustomAction"}')
    assert sender.take("Error")["details"] == {"field": "data"}
    sender.send("X-CustomAction", {}, id="a\0b")
    assert sender.answer("a\0b")["data"]["message_id"] == "a\0b"


def test_the_stream_has_an_end(new_stack):
    stack = new_stack(auth=False, gateways=1, extensions=100)
    sender = stack.connect(*stack.users("alice"))
    for n in range(400):
        sender.send("X-Log", {"n": n}, id=f"x{n}")
    sender.answer("x399")
    assert 100 <= stack.redis.command("XLEN", "trunkline:extensions") < 400


def test_other_types_are_unknown(stack):
    sender = stack.connect(*stack.users("alice"))
    for kind in ("X-", "x-own", "Y-Own"):
        error = sender.answer(sender.send(kind, {"topic": "a"}))["data"]
        assert (error["code"], error["details"]) == (400, {"field": "type"})
