"""callie: whatever a client sends is answered by a SYS that says what is wrong, and nothing is done."""

import json

import pytest

from callie import callie

TEXT, BINARY = 1, 2

BAD_TEXTS = {
    "empty": "",
    "not JSON": "hello",
    "half of it": '{"type":"PING","sender":"clumsy"',
    "two in one": "{}{}",
    "null": "null",
    "array": "[]",
    "number": "17",
    "huge number": "1" * 5000,
    "string": '"PING"',
    "brackets": "[" * 10000,
    "closed brackets": "[" * 10000 + "]" * 10000,
    "braces": '{"a":' * 10000,
    "NUL": '{"type":"PING\\u0000"}',
    "raw NUL": '{"type":"PING\0"}',
    "lone surrogate": '{"type":"\\ud800"}',
    "duplicate key": '{"type":"PING","type":"PING"}',
    "comment": "{} // hello",
    "empty object": "{}",
}
# The field that is to blame: values it must not have.
BAD_FIELDS = {
    "token": [None, 7, [], {}, ""],
    "sender": [None, [], {}, True, "", "*", "SERVER", "a\0b", "x" * 129],
    "recipient": [None, [], {}, True, "", "*", "group:", "a\nb", "x" * 129, "group:" + "x" * 129,
                  "SERVER"],
    "timestamp": [None, 1795260153444, [], "", "now", "2026-11-21", "2026-13-01T00:00:00.000Z",
                  "2026-11-21T11:22:33Z", "2026-11-21T11:22:33.444+00:00"],
    "type": [None, 7, [], {}, "", "msg", "AUTHENTICATE", "NONSENSE"],
    "content": [None, [], "hello", 7],
    "metadata": [None, [], "hello", 7],
    "payloadID": [None, 7, [], {}, "", "a\0b", "x" * 129],
    "payloadVersion": [None, 1.0, "1", "1.1", "2.0", []],
}
BAD_CONTENTS = [
    ("content.messageID", {"text": "hi"}),
    *[("content.messageID", {"messageID": id, "text": "hi"})
      for id in (None, 7, [], {}, "", "a\0b", "x" * 129)],
    ("content.text", {"messageID": "m"}),
    *[("content.text", {"messageID": "m", "text": text}) for text in (None, 7, [], {})],
    *[("content.attachments", {"messageID": "m", "text": "", "attachments": list})
      for list in (None, {}, "a", [None], ["http://x/"])],
    *[("content.attachments.type", {"messageID": "m", "text": "", "attachments": [
        {"type": type, "url": "http://x/"}]}) for type in (None, "audio", "IMAGE", 7)],
    *[("content.attachments.url", {"messageID": "m", "text": "", "attachments": [
        {"type": "file", "url": url}]})
      for url in (None, 7, "", "x", "file:///etc/passwd", "javascript:alert(1)", "http://",
                  "http://a b", "data:,hello", "https://" + "x" * 2048)],
    *[("content.attachments.metadata", {"messageID": "m", "text": "", "attachments": [
        {"type": "file", "url": "http://x/", "metadata": metadata}]}) for metadata in (None, 7)],
]


@pytest.fixture(scope="module")
def client(module_stack):
    """One connection for all cases: each must leave it as it was."""
    return callie(module_stack(auth=False, gateways=1), "clumsy")


def assert_refused(client, code="INVALID_PAYLOAD"):
    answer = client.system()
    assert answer["content"]["code"] == code
    assert answer["content"]["description"]
    client.beat()
    assert not client.messages()
    return answer["metadata"]


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_text_that_is_no_payload(client, name):
    client.send_text(BAD_TEXTS[name])
    assert assert_refused(client)["payloadID"] is None


@pytest.mark.parametrize("field, value", [
    pytest.param(field, value, id=f"{field} {json.dumps(value)[:30]}")
    for field, values in BAD_FIELDS.items() for value in values])
def test_field_that_does_not_fit(client, field, value):
    payload = client.payload("clumsy", "MSG", {"messageID": "m", "text": "hi"})
    payload[field] = value
    client.send_text(json.dumps(payload))
    metadata = assert_refused(client)
    assert metadata["field"] == field
    assert metadata["payloadID"] == (None if field == "payloadID" else payload["payloadID"])


@pytest.mark.parametrize("field", [field for field in BAD_FIELDS
                                   if field not in ("token", "metadata")])
def test_field_that_is_missing(client, field):
    payload = client.payload("clumsy", "MSG", {"messageID": "m", "text": "hi"})
    del payload[field]
    client.send_text(json.dumps(payload))
    assert assert_refused(client)["field"] == field


@pytest.mark.parametrize("field, content", [
    pytest.param(field, content, id=f"{field} {json.dumps(content)[:60]}")
    for field, content in BAD_CONTENTS])
def test_content_that_does_not_fit(client, field, content):
    client.send_payload("clumsy", "MSG", content)
    assert assert_refused(client)["field"] == field


@pytest.mark.parametrize("kind, recipient", [
    ("CMD", "clumsy"), ("CMD", "BROADCAST"), ("CMD", "group:a"), ("PING", "BROADCAST"),
    ("PING", "group:a"), ("MSG", "SERVER")])
def test_type_that_does_not_go_there(client, kind, recipient):
    client.send_payload(recipient, kind, {"messageID": "m", "text": "hi", "command": "GET_STATUS"})
    assert assert_refused(client)["field"] == "recipient"


def test_nothing_of_a_bad_payload_is_done(client):
    client.send_payload("clumsy", "MSG", {"messageID": "m", "text": "hi", "attachments": [
        {"type": "file", "url": "http://x/"}, {"type": "file", "url": "x"}]})
    assert_refused(client)


def test_the_servers_own_type_is_forbidden(client):
    client.send_payload("clumsy", "SYS", {"code": "AUTH_OK", "description": "ha"})
    assert_refused(client, "FORBIDDEN_TYPE")


def test_unknown_commands_are_told(client):
    client.send_payload("SERVER", "CMD", {"command": "FORMAT_DISK", "parameters": {}})
    assert_refused(client, "UNKNOWN_COMMAND")
    for content in ({}, {"command": None}, {"command": 7, "parameters": {}}):
        client.send_payload("SERVER", "CMD", content)
        assert assert_refused(client)["field"] == "content.command"
    client.send_payload("SERVER", "CMD", {"command": "LIST_USERS", "parameters": []})
    assert assert_refused(client)["field"] == "content.parameters"


def test_numbers_keep_their_digits(client):
    payload = json.dumps(client.payload("clumsy", "MSG", {"messageID": "m-n", "text": "hi"}))
    numbers = "[1e400,9007199254740993,1.0,-0]"
    client.send_text('{"own":%s,%s' % (numbers, payload[1:]))
    received = client.message("hi")
    assert numbers in client.text_of(received)
    client.forget(lambda message: message == received)


def test_binary_is_no_payload(client):
    client.send_frame(BINARY, b"\0\1\2")
    assert_refused(client)


@pytest.mark.parametrize("text", [b"\xff", b'{"type":"\xc3("}', b"\xed\xa0\x80"])
def test_invalid_utf8_closes_with_1007(stack, text):
    client = callie(stack, stack.users("alice")[0], settled=False)
    client.send_frame(TEXT, text)
    assert client.await_close() == 1007


def test_64_kib_and_no_more(stack):
    user, = stack.users("alice")
    client = callie(stack, user)
    payload = json.dumps(client.payload(user, "MSG", {"messageID": "m", "text": "*"}))
    client.send_text(payload.replace("*", "x" * (65536 - len(payload) + 1)))
    client.message()
    client.send_text(payload.replace("*", "x" * (65536 - len(payload) + 2)))
    assert client.await_close() == 1009
    client = callie(stack, user, settled=False)
    client.send_payload(user, "MSG", {"messageID": "x" * (1 << 20), "text": "hi"})
    assert client.await_close() == 1009


def test_rate_limits_are_told(new_stack):
    stack = new_stack(auth=False, gateways=1, rate_limits="on")
    client = callie(stack, "alice")
    payload = json.dumps(client.payload("alice", "MSG", {"messageID": "m", "text": "hi"}))
    client.send_texts([payload] * 400)
    answer = client.system("RATE_LIMITED")
    assert answer["metadata"]["retry_after_ms"] > 0
    assert answer["metadata"]["payloadID"] == json.loads(payload)["payloadID"]
    assert client.close_code is None


def test_groups_are_made_at_a_slower_rate(new_stack):
    """Their members are not asked, and each group is in their lists of chats."""
    alice = callie(new_stack(auth=False, gateways=1, rate_limits="on"), "alice")
    made = [alice.payload("SERVER", "CMD", {
        "command": "CREATE_GROUP", "parameters": {"name": "g", "members": ["bob"]}})
        for _ in range(60)]
    alice.send_texts(map(json.dumps, made))
    answers = [alice.system(payload_id=payload["payloadID"]) for payload in made]
    codes = [answer["content"]["code"] for answer in answers]
    assert codes[:20] == ["COMMAND_OK"] * 20 and "RATE_LIMITED" in codes
    assert alice.messages() == []
