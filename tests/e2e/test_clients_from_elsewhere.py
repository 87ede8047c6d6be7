"""Clients that were not written for us: Node's ws, and the TypeScript client of the source."""

import hashlib
import json
import os
import subprocess

import pytest

from harness import ROOT, sign_token
from waiting import PATIENCE

CLIENTS = os.path.join(ROOT, "tests", "e2e", "clients")

SOURCE_SHA256 = "4513430d7f34e11429f4eb8c34da8eaba7419a15be9084125b4e85b177d10c7a"


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False)


def run_node(script, *arguments):
    """Runs a script that prints what it saw as one line of JSON."""
    environment = {**os.environ, "NODE_PATH": "/usr/share/nodejs:/usr/lib/nodejs"}
    result = subprocess.run(["node", script, *arguments], env=environment, capture_output=True,
                            text=True, timeout=2 * PATIENCE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("way", ["query", "header", "subprotocol"])
def test_node(stack, way):
    alice, bob = stack.users("alice", "bob")
    tokens = [sign_token(stack.secret, sub=user, padding="x" * 1000) for user in (alice, bob)]
    seen = run_node(f"{CLIENTS}/node_ws.js", way, stack.url(0), stack.url(1), *tokens, bob)
    assert seen["ack"]["data"]["delivered_to"] == [seen["connection_id"]]
    assert seen["delivery"]["data"]["from_user"] == alice
    assert seen["delivery"]["data"]["payload"] == {"message": "héllo 🎈"}
    if way == "subprotocol":
        assert seen["subprotocol"] == f"access_token.{tokens[0]}"
    assert seen["close_code"] == 1000


@pytest.fixture(scope="module")
def open_stack(module_stack):
    return module_stack(auth=False, open_identity="on")


def run_texts(stack, protocol, *names):
    addresses = [f"ws://{gateway.address}" for gateway in stack.gateways]
    return run_node(f"{CLIENTS}/node_texts.js", protocol, *addresses, *names)


def test_node_speaks_messaging(open_stack):
    seen = run_texts(open_stack, "messaging", "21", "31")
    messages = [message for frame in seen["first"] for message in frame["messages"]]
    assert messages == [{"id": 11, "rid": 31, "sid": 21, "text": "hello"},
                        {"id": 12, "rid": 31, "sid": 21, "url": "https://web.com/pic.png"}]
    assert seen["again"] == [{"messages": messages[1:]}]
    assert seen["sender"] == []


def test_node_speaks_simple(open_stack):
    seen = run_texts(open_stack, "simple", "alice", "bob")
    assert [frame["type"] for frame in seen["sender"]] == [
        "user_connected", "user_connected", "message_sent", "reply"]
    assert seen["sender"][3] == {"type": "reply", "payload_id": "1", "error": None}
    assert [(frame["type"], frame["username"]) for frame in seen["receiver"]] == [
        ("user_connected", "bob"), ("user_connected", "alice"), ("message_sent", "alice")]


def test_typescript_client_of_the_source(stack, tmp_path):
    alice, bob = stack.users("alice", "bob")
    subprocess.run(["tsc", "--target", "es2020", "--lib", "es2020,dom",
                    "--outDir", str(tmp_path), f"{CLIENTS}/source_client.ts"],
                   check=True, timeout=4 * PATIENCE)
    seen = run_node(f"{CLIENTS}/drive_source_client.js", str(tmp_path / "source_client.js"),
                    stack.url(0), stack.url(1), stack.token(alice), stack.token(bob), bob)
    assert seen["subscribe"]["message_id"] == "msg_1"
    assert seen["broadcast"] == {"message_id": "msg_2", "status": "delivered", "recipients": 1}
    assert seen["direct"]["message_id"] == "msg_3"
    assert len(seen["direct"]["delivered_to"]) == 1
    assert seen["received"]["Broadcast"]["payload"] == {"message": "Hello, subscribers!"}
    assert seen["received"]["DirectMessage"]["from_user"] == alice


def test_the_copy_is_the_one_printed_in_the_source():
    """Its fingerprint, so that nobody repairs the client in place of the server."""
    with open(f"{CLIENTS}/source_client.ts", "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == SOURCE_SHA256
