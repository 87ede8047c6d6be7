"""Whatever a client sends, it gets an Error with its code, and the connection goes on."""

import json

import pytest

TEXT, BINARY = 1, 2

BAD_TEXTS = {
    "empty": "",
    "not JSON": "hello",
    "half of it": '{"type":"Ping","data":{"timestamp":1}',
    "two in one": '{"type":"Ping","data":{"timestamp":1}}{}',
    "null": "null",
    "number": "17",
    "huge number": "1" * 5000,
    "string": '"Ping"',
    "array": "[]",
    "array of messages": '[{"type":"Ping","data":{"timestamp":1}}]',
    "empty object": "{}",
    "no type": '{"data":{}}',
    "type is null": '{"type":null,"data":{}}',
    "type is a number": '{"type":5,"data":{}}',
    "type is an object": '{"type":{},"data":{}}',
    "unknown type": '{"type":"Nonsense","data":{}}',
    "type in another case": '{"type":"broadcast","data":{"topic":"a","payload":1}}',
    "server's own type": '{"type":"Status","data":{"status":"connected"}}',
    "brackets": "[" * 10000,
    "closed brackets": "[" * 10000 + "]" * 10000,
    "braces": '{"a":' * 10000,
    "brackets in the payload":
        '{"type":"Broadcast","data":{"topic":"a","payload":' + "[" * 10000 + "]" * 10000 + "}}",
    "duplicate type": '{"type":"Ping","type":"Broadcast","data":{"timestamp":1}}',
    "duplicate in data": '{"type":"Broadcast","data":{"topic":"a","topic":"b","payload":1}}',
    "NUL in the topic": '{"type":"Broadcast","data":{"topic":"a\\u0000b","payload":1}}',
    "lone surrogate": '{"type":"Broadcast","data":{"topic":"a","payload":"\\ud800"}}',
    "comment": '{"type":"Ping","data":{"timestamp":1}} // hello',
    "single quotes": "{'type':'Ping','data':{'timestamp':1}}",
    "id is an object": '{"type":"Broadcast","id":{},"data":{"topic":"a","payload":1}}',
    "metadata is a list": '{"type":"Broadcast","metadata":[1],"data":{"topic":"a","payload":1}}',
}

BAD_DATA = {
    "Subscribe": [None, [], "a", 1, {}, {"topics": None}, {"topics": "a"}, {"topics": [1]},
                  {"topics": [None]}, {"topics": {}}, {"topics": [["a"]]}],
    "Unsubscribe": [None, {}, {"topics": "a"}, {"topics": [7]}],
    "Broadcast": [None, [], {}, {"topic": "a"}, {"payload": 1}, {"topic": None, "payload": 1},
                  {"topic": 1, "payload": 1}, {"topic": ["a"], "payload": 1}],
    "DirectMessage": [None, {}, {"target_user": "bob"}, {"payload": 1},
                      {"target_user": None, "payload": 1}, {"target_user": "", "payload": 1},
                      {"target_user": [], "payload": 1}, {"target_user": "*", "payload": 1},
                      {"target_user": "x" * 129, "payload": 1},
                      {"target_user": "a\nb", "payload": 1}],
    "Auth": [None, {}, {"token": None}, {"token": 5}],
}


@pytest.fixture(scope="module")
def client(module_stack):
    """One connection for all cases: each must leave it as it was."""
    return module_stack(auth=False, gateways=1).connect("clumsy")


def assert_refused(client):
    error = client.take("Error")
    assert error["code"] == 400
    assert isinstance(error["message"], str)
    client.ping()
    assert not [message for message in client.arrived if message["type"] == "Ack"]


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_text_that_is_no_message(client, name):
    client.send_text(BAD_TEXTS[name])
    assert_refused(client)


@pytest.mark.parametrize("kind, data", [
    pytest.param(kind, data, id=f"{kind} {json.dumps(data)[:40]}")
    for kind, rows in BAD_DATA.items() for data in rows])
def test_data_that_does_not_fit(client, kind, data):
    client.send(kind, data, id="bad")
    answer = client.answer("bad")
    assert (answer["type"], answer["data"]["code"]) == ("Error", 400)
    client.ping()


@pytest.mark.parametrize("kind, data", [
    ("Broadcast", {"topic": "a", "payload": 1}), ("X-own", {"topic": "a"}),
    ("DirectMessage", {"target_user": "bob", "payload": 1}), ("X-own", {"target_user": "bob"})])
@pytest.mark.parametrize("ttl", [None, True, -1, "1", [], {}])
def test_ttl_is_a_number_of_seconds(client, kind, data, ttl):
    client.send(kind, data, id="bad", metadata={"ttl": ttl})
    answer = client.answer("bad")["data"]
    assert (answer["code"], answer["details"]["field"]) == (400, "metadata.ttl")


def test_the_field_is_named(client):
    client.send("Broadcast", {"topic": "a b", "payload": 1})
    assert client.take("Error")["details"]["field"] == "topic"


def test_numbers_keep_their_digits(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = stack.connect(alice), stack.connect(bob, gateway=1)
    numbers = "[9007199254740993,1.0,0.1000000000000000055511151231257827,1E400,-0]"
    sender.send_text('{"type":"DirectMessage","data":{"target_user":"%s","payload":%s}}'
                     % (bob, numbers))
    received = receiver.take_where(lambda message: message["type"] == "DirectMessage", "message")
    assert numbers in receiver.text_of(received)


@pytest.mark.parametrize("timestamp", ["1234567890", "1.0", "9007199254740993", "-1", '"now"'])
def test_pong_has_the_timestamp_of_the_ping(client, timestamp):
    client.send_text('{"type":"Ping","data":{"timestamp":%s}}' % timestamp)
    pong = client.take_where(lambda message: message["type"] == "Pong", "Pong")
    assert f'"timestamp":{timestamp}' in client.text_of(pong).replace(": ", ":")


@pytest.mark.parametrize("text", [b"\xff", b'{"type":"\xc3("}', b"\xed\xa0\x80",
                                  b"\xf5\x80\x80\x80"])
def test_invalid_utf8_closes_with_1007(stack, text):
    client = stack.connect(stack.users("alice")[0])
    client.send_frame(TEXT, text)
    assert client.await_close() == 1007


def test_over_long_messages_close_with_1009(stack):
    user, = stack.users("alice")
    longest = stack.connect(user)
    longest.send_text('{"type":"Ping","data":{"timestamp":1}}'.ljust(65536))
    longest.take("Pong")
    for opcode, length in ((TEXT, 65537), (TEXT, 900000), (BINARY, 1048577)):
        client = stack.connect(user)
        client.send_frame(opcode, b" " * length)
        assert client.await_close() == 1009, (opcode, length)
