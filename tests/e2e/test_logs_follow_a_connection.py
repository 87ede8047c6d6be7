"""At level debug one connection id finds a client's frames in every process; no log has a token."""

import json

import pytest

from waiting import wait_until


@pytest.fixture(scope="module")
def talkative_stack(module_stack):
    return module_stack(log="json:debug")


def lines(process):
    return [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]


def texts(process, connection):
    return [line["text"] for line in lines(process) if connection in line["text"]]


def test_the_connection_id_of_the_welcome_is_in_every_process(talkative_stack):
    stack = talkative_stack
    alice, bob = stack.users("alice", "bob")
    receiver, sender = stack.connect(bob, 1), stack.connect(alice, 0)
    sender.direct(bob, "hello")
    receiver.await_count("DirectMessage", 1)
    near, far = stack.gateways
    assert any("to partition" in text and "DIRECT_MESSAGE" in text
               for text in texts(near, sender.connection_id))
    assert any("from partition" in text and "DIRECT_REPLY" in text
               for text in texts(near, sender.connection_id))
    assert any("applied in partition" in text and "DIRECT_MESSAGE" in text
               for text in texts(stack.router, sender.connection_id))
    wait_until(lambda: any("MESSAGE_DELIVERY" in text
                           for text in texts(far, receiver.connection_id)),
               "the receiver's gateway names the connection")


def test_no_log_has_a_token_or_a_password(talkative_stack):
    stack = talkative_stack
    (carol,) = stack.users("carol")
    token = stack.token(carol)
    client = stack.connect(carol)
    client.send("Auth", {"token": token})
    client.ping()
    for process in stack.processes:
        log = process.log()
        assert token not in log, process.name
        assert token.split(".")[2] not in log, process.name
        assert "correct horse" not in log, process.name
