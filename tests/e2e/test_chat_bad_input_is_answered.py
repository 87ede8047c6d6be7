"""chat: whatever a client sends is answered with an error, and the connection goes on."""

import json

import pytest

from chat import Chat

TEXT, BINARY = 1, 2

BAD_TEXTS = {
    "empty": "",
    "not JSON": "hello",
    "half of it": '{"type":"request","id":"a","payloadType":"getChats"',
    "two in one": '{"type":"request","id":"a","payloadType":"getChats"}{}',
    "null": "null",
    "array": "[]",
    "number": "17",
    "huge number": "1e400",
    "string": '"new"',
    "brackets": "[" * 10000,
    "closed brackets": "[" * 10000 + "]" * 10000,
    "braces": '{"a":' * 10000,
    "deep attachments": '{"type":"request","id":"a","payloadType":"new","payload":'
                        '{"chatId":"bob","message":"a","attachments":'
                        + "[" * 10000 + "]" * 10000 + "}}",
    "duplicate id": '{"type":"request","id":"a","id":"b","payloadType":"getChats"}',
    "duplicate in payload": '{"type":"request","id":"a","payloadType":"new","payload":'
                            '{"chatId":"bob","message":"a","message":"b"}}',
    "lone surrogate": '{"type":"request","id":"a","payloadType":"new","payload":'
                      '{"chatId":"bob","message":"\\ud800"}}',
    "NUL in the id": '{"type":"request","id":"a\\u0000b","payloadType":"getChats"}',
    "no id": '{"type":"request","payloadType":"getChats"}',
    "id is null": '{"type":"request","id":null,"payloadType":"getChats"}',
    "id is a number": '{"type":"request","id":7,"payloadType":"getChats"}',
    "id is too long": '{"type":"request","id":"%s","payloadType":"getChats"}' % ("x" * 129),
    "no object": '[{"type":"request","id":"a","payloadType":"getChats"}]',
    "an empty object": "{}",
}

BAD_REQUESTS = [
    ("nonsense", {}), ("New", {}), ("", {}), ("new", None), ("new", {}),
    ("new", {"chatId": "bob"}), ("new", {"message": "hi"}),
    ("new", {"chatId": None, "message": "hi"}), ("new", {"chatId": [], "message": "hi"}),
    ("new", {"chatId": "", "message": "hi"}), ("new", {"chatId": "*", "message": "hi"}),
    ("new", {"chatId": "b\u0000b", "message": "hi"}), ("new", {"chatId": "bob", "message": ""}),
    ("new", {"chatId": "x" * 129, "message": "hi"}), ("new", {"chatId": "bob", "message": 7}),
    ("new", {"chatId": "group:", "message": "hi"}),
    ("new", {"chatId": "bob", "message": "hi", "attachments": "none"}),
    ("new", {"chatId": "bob", "message": "hi", "clientMessageId": "x" * 129}),
    ("edit", {"chatId": "bob", "messageId": "1", "message": "hi"}),
    ("edit", {"chatId": "bob", "messageId": 1.5, "message": "hi"}),
    ("edit", {"chatId": "bob", "messageId": 9007199254740993, "message": "hi"}),
    ("edit", {"chatId": "bob", "messageId": 1}), ("delete", {"chatId": "bob", "messageId": -1}),
    ("dlvrd", {"chatId": "bob", "messageId": None}), ("read", {"chatId": "bob"}),
    ("subscribe", {"echo": "true"}), ("subscribe", {"echo": None}),
    ("subscribe", {"lastEventId": "1"}), ("subscribe", {"lastEventId": -1}),
    ("getMessage", {"messageId": 1}), ("getMessages", {"chatId": "bob", "count": 101}),
    ("getMessages", {"chatId": "bob", "count": 0}), ("getMessages", {"chatId": "bob"}),
    ("getChat", {"chatId": {}}), ("getEvent", {"eventId": "1"}), ("getEvents", {}),
    ("typing", {}), ("subscribe", 7), ("getChats", []),
]


@pytest.fixture(scope="module")
def client(module_stack):
    """One connection for all cases: each must leave it as it was."""
    return Chat(module_stack(auth=False, gateways=1), "clumsy")


def assert_alive(client):
    assert client.ask("getChats") == []
    assert client.last_event() == 0


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_text_that_is_no_request(client, name):
    client.client.send_text(BAD_TEXTS[name])
    answer = client.response(None)
    assert answer["error"]["code"] == 400
    assert answer.keys() == {"type", "timestamp", "id", "payloadType", "error"}
    assert_alive(client)


@pytest.mark.parametrize("kind, payload", BAD_REQUESTS,
                         ids=[f"{kind} {json.dumps(payload)[:40]}" for kind, payload in BAD_REQUESTS])
def test_requests_that_do_not_fit(client, kind, payload):
    answer = client.response(client.send(kind, payload))
    assert answer["error"]["code"] == 400
    assert answer["payloadType"] == kind
    assert_alive(client)


def test_the_type_must_be_request_or_event(client):
    for kind in ("response", "", None, 7):
        assert client.response(client.send("getChats", type=kind))["error"]["code"] == 400
    assert_alive(client)


def test_oneself_is_no_chat(client):
    assert client.error("new", {"chatId": client.user, "message": "hi"}) == 400
    assert_alive(client)


def test_binary_is_refused(client):
    client.client.send_frame(BINARY, b"\0\1\2")
    assert client.response(None)["error"]["code"] == 400
    assert_alive(client)


@pytest.mark.parametrize("text", [b"\xff", b'{"type":"\xc3("}', b"\xed\xa0\x80"])
def test_invalid_utf8_closes_with_1007(stack, text):
    client = Chat(stack, stack.users("alice")[0]).client
    client.send_frame(TEXT, text)
    assert client.await_close() == 1007


def test_over_long_messages_close_with_1009(stack):
    user, = stack.users("alice")
    longest = Chat(stack, user)
    longest.client.send_text(
        '{"type":"request","timestamp":1,"id":"long","payloadType":"getChats"}'.ljust(65536))
    longest.response("long")
    for length in (65537, 1 << 20):
        client = Chat(stack, user).client
        client.send_frame(TEXT, b" " * length)
        assert client.await_close() == 1009


def test_rate_limits_are_answered(new_stack):
    stack = new_stack(auth=False, gateways=1, rate_limits="on")
    alice, bob = stack.users("alice", "bob")
    client = Chat(stack, alice)
    client.client.send_texts(json.dumps({
        "type": "request", "timestamp": 1, "id": f"n{number}", "payloadType": "new",
        "payload": {"chatId": bob, "message": str(number)}}) for number in range(600))
    answers = [client.response(f"n{number}") for number in range(600)]
    refused = [answer["error"] for answer in answers if "error" in answer]
    assert refused and all(error["code"] == 429 and error["retry_after_ms"] > 0
                           for error in refused)
    reader = Chat(stack, bob)
    reader.await_event(600 - len(refused))
    assert len(reader.events("new")) == 600 - len(refused)


def test_a_token_is_needed(stack):
    from client import Client, Refused  # pylint: disable=import-outside-toplevel
    with pytest.raises(Refused) as refusal:
        Client(f"ws://{stack.gateways[0].address}/chat")
    assert refusal.value.status == 401
    with pytest.raises(Refused) as refusal:
        Client(f"ws://{stack.gateways[0].address}/chat?token=nonsense")
    assert refusal.value.status == 401
