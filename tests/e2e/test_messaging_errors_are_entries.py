"""messaging: whatever a client sends, it gets entries of the errors section and stays connected."""

import json

import pytest

from messenger import Messenger

TEXT, BINARY = 1, 2

BAD_FRAMES = {
    "empty": "",
    "not JSON": "hello",
    "truncated": '{"send":[{"id":1,"rid":2',
    "two in one": '{"send":[]}{}',
    "null": "null",
    "number": "17",
    "string": '"send"',
    "array": "[]",
    "array of frames": '[{"send":[]}]',
    "brackets": "[" * 10000,
    "closed brackets": "[" * 10000 + "]" * 10000,
    "brackets in a message": '{"send":[{"id":1,"rid":"b","x":' + "[" * 10000 + "]" * 10000 + "}]}",
    "braces": '{"a":' * 10000,
    "duplicate section": '{"send":[],"send":[]}',
    "duplicate id": '{"send":[{"id":1,"id":2,"rid":"b"}]}',
    "duplicate key deep inside": '{"send":[{"id":1,"rid":"b","x":{"a":1,"a":2}}]}',
    "lone surrogate": '{"send":[{"id":1,"rid":"b","text":"\\ud800"}]}',
    "lone surrogate in the id": '{"send":[{"id":"\\udc00","rid":"b"}]}',
    "comment": '{"send":[]} // hello',
    "single quotes": "{'send':[]}",
    "NaN": '{"send":[{"id":NaN,"rid":"b"}]}',
}

BAD_SECTIONS = [None, 1, "x", {}, True, {"id": 1, "rid": "b"}]

BAD_MESSAGES = {
    "null": None, "number": 7, "string": "x", "list": [], "empty": {},
    "no id": {"rid": "b"},
    "no rid": {"id": "i"},
    **{f"id is {json.dumps(id)[:20]}": {"id": id, "rid": "b"}
       for id in (None, True, [], {}, "", "x" * 129, "a\u0000b", "a\nb")},
    **{f"rid is {json.dumps(rid)[:20]}": {"id": "i", "rid": rid}
       for rid in (None, False, [], ["b"], {}, "", "x" * 129, "a\u0000b", "SERVER", "BROADCAST",
                   "group:x")},
    **{f"sid is {json.dumps(sid)[:20]}": {"id": "i", "rid": "b", "sid": sid}
       for sid in (None, True, [], {}, "", "another", 0)},
    **{f"channel is {json.dumps(channel)[:20]}": {"id": "i", "channel": channel}
       for channel in (None, 1, [], {}, "")},
}


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, open_identity="on")


@pytest.fixture(scope="module")
def client(stack):
    """One connection for all cases: each must leave it as it was."""
    return Messenger(stack, "clumsy")


@pytest.fixture(scope="module")
def witness(stack):
    """Gets what should not have been sent."""
    return Messenger(stack, "b", gateway=1)


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_frames_that_cannot_be_read(client, witness, name):
    client.client.send_text(BAD_FRAMES[name])
    (error,) = client.errors()
    assert (error["section"], error["id"], error["code"]) == (None, None, 400)
    assert isinstance(error["message"], str)
    client.ping()
    witness.await_texts()


def test_binary_messages(client):
    client.client.send_frame(BINARY, b"\x00\x01")
    (error,) = client.errors()
    assert (error["section"], error["id"], error["code"]) == (None, None, 400)
    client.ping()


@pytest.mark.parametrize("section", ["send", "read", "subscribe", "unsubscribe"])
@pytest.mark.parametrize("value", BAD_SECTIONS, ids=str)
def test_sections_that_are_no_list(client, section, value):
    client.say(**{section: value})
    (error,) = client.errors()
    assert (error["section"], error["id"], error["code"]) == (section, None, 400)
    client.ping()


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_messages_that_do_not_fit(client, witness, name):
    message = BAD_MESSAGES[name]
    client.say(send=[message])
    (error,) = client.errors()
    expected = message["id"] if isinstance(message, dict) and message.get("id") == "i" else None
    assert (error["section"], error["id"]) == ("send", expected)
    assert error["code"] == (403 if isinstance(message, dict)
                             and message.get("sid") in ("another", "") or name == "sid is 0" else 400)
    client.ping()
    witness.await_texts()


@pytest.mark.parametrize("entry", [None, 1, "x", [], {}, {"id": None}, {"id": ""}, {"id": []},
                                   {"id": "x" * 129}, {"id": "a\u0000b"}, {"id": 1, "sid": None},
                                   {"id": 1, "sid": []}, {"id": 1, "sid": ""},
                                   {"id": 1, "sid": "a\u0000b"}], ids=str)
def test_read_entries_that_do_not_fit(client, entry):
    client.say(read=[entry])
    (error,) = client.errors()
    assert (error["section"], error["code"]) == ("read", 400)
    client.ping()


def test_good_entries_beside_bad_ones_count(stack):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob, gateway=1)
    sender.say(send=[None, {"id": 1, "rid": bob, "text": "one"}, {"id": 2}, 7,
                     {"id": 3, "rid": bob, "text": "two"}], read="x")
    errors = sender.errors()
    assert [(error["section"], error["id"]) for error in errors] == [
        ("read", None), ("send", None), ("send", 2), ("send", None)]
    receiver.await_texts("one", "two")


def test_errors_of_a_frame_have_an_end(client):
    client.say(send=[0] * 20000)
    assert len(client.errors()) == 64
    client.ping()
    client.say(send=[{"id": n} for n in range(600)])
    ids = []
    while len(ids) < 600:
        errors = client.errors()
        assert len(errors) <= 256
        ids += [error["id"] for error in errors]
    assert ids == list(range(600))
    client.ping()


@pytest.mark.parametrize("number", ["1e400", "9007199254740993", "-0", "1.0", "1" * 128])
def test_numbers_keep_their_digits(stack, number):
    alice, bob = stack.users("alice", "bob")
    sender, receiver = Messenger(stack, alice), Messenger(stack, bob, gateway=1)
    sender.client.send_text('{"send":[{"id":%s,"rid":"%s","sid":"%s","n":%s}]}'
                            % (number, bob, alice, number))
    sent = sender.client.take_where(lambda frame: "sent" in frame, "sent")
    assert f'"id":{number},' in sender.client.text_of(sent)
    received = receiver.client.take_where(lambda frame: "messages" in frame, "messages")
    assert receiver.client.text_of(received) == (
        '{"messages":[{"id":%s,"rid":"%s","sid":"%s","n":%s}]}' % (number, bob, alice, number))


@pytest.mark.parametrize("text", [b"\xff", b'{"send":"\xc3("}', b"\xed\xa0\x80"])
def test_invalid_utf8_closes_with_1007(stack, text):
    client = Messenger(stack, stack.users("alice")[0], settled=False)
    client.client.send_frame(TEXT, text)
    assert client.await_close() == 1007


def test_over_long_messages_close_with_1009(stack):
    alice, bob = stack.users("alice", "bob")
    receiver = Messenger(stack, bob, gateway=1)
    frame = json.dumps({"send": [{"id": 1, "rid": bob, "sid": alice, "text": "hi"}]})
    Messenger(stack, alice, device_id="1").client.send_text(frame.ljust(65536))
    receiver.await_texts("hi")
    for text in (frame.ljust(65537),
                 json.dumps({"send": [{"id": "x" * (1 << 20), "rid": bob, "text": "no"}]})):
        client = Messenger(stack, alice, device_id="2", settled=False)
        client.client.send_frame(TEXT, text.encode())
        assert client.await_close() == 1009
    receiver.await_texts("hi")


def test_a_full_mailbox_is_an_error_entry(new_stack):
    stack = new_stack(auth=False, open_identity="on", mailbox_messages=3)
    sender = Messenger(stack, "alice")
    for n in range(3):
        assert sender.write("bob", str(n))["status"] == "queued"
    sender.send({"id": "over", "rid": "bob", "text": "3"})
    (error,) = sender.errors()
    assert (error["section"], error["id"], error["code"]) == ("send", "over", 507)
    Messenger(stack, "bob", gateway=1).await_texts("0", "1", "2")


def test_a_rate_limited_frame_has_no_effect(new_stack):
    stack = new_stack(auth=False, open_identity="on", rate_limits="on")
    receiver = Messenger(stack, "bob", gateway=1)
    sender = Messenger(stack, "alice", settled=False)  # settling would count
    accepted, limited = [], []
    sender.client.send_texts(json.dumps({"send": [{"id": n, "rid": "bob", "text": str(n)}]})
                             for n in range(400))
    while len(accepted) + len(limited) < 400:
        frame = sender.client.take_where(lambda frame: "sent" in frame or "errors" in frame, "")
        for error in frame.get("errors", ()):
            assert (error["section"], error["id"], error["code"]) == (None, None, 429)
            assert 0 < error["retry_after_ms"] <= 60000
            limited.append(error)
        accepted += [entry["id"] for entry in frame.get("sent", ())]
    assert limited and len(accepted) >= 200
    receiver.await_messages(len(accepted))
    assert receiver.texts() == [str(id) for id in accepted]


def test_a_big_frame_passes_and_is_paid_for(new_stack):
    stack = new_stack(auth=False, open_identity="on", rate_limits="on")
    sender, receiver = Messenger(stack, "alice"), Messenger(stack, "bob", gateway=1)
    sender.send(*({"id": n, "rid": "bob", "text": "x"} for n in range(1000)))
    sender.send({"id": "too soon", "rid": "bob", "text": "y"})
    (error,) = sender.errors()
    assert error["code"] == 429
    assert 1000 < error["retry_after_ms"] <= 3010  # 600 are owed, at 200 a second
    for n in range(1000):
        sender.sent(n)
    receiver.await_messages(1000)
    assert len(receiver.messages()) == 1000
