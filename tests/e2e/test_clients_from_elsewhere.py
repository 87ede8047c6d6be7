"""Clients that were not written for us: Node's ws, the TypeScript client of the source, curl, a browser."""

import hashlib
import json
import os
import subprocess
import urllib.parse

import pytest

from browser import Browser, needs_browser
from harness import ENDPOINTS, ROOT, sign_token
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


# ---- curl, for the handshakes ------------------------------------------------------------------

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


def curl(url, *options, headers=()):
    """The status and the headers, by their lower-case names, of each answer in one list."""
    command = ["curl", "-sS", "-m", str(PATIENCE), "-o", "/dev/null", "-D", "-", *options]
    for header in headers:
        command += ["-H", header]
    with subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True) as process:
        answers = []
        for line in iter(process.stdout.readline, ""):
            name, _, value = line.strip().partition(": ")
            if line.startswith("HTTP/"):
                answers += [int(line.split()[1]), {}]
            elif name:
                head = answers[-1]
                head[name.lower()] = ", ".join(filter(None, (head.get(name.lower()), value)))
            elif answers[-2] == 101:
                break  # only frames follow
        process.kill()
    return answers


@pytest.mark.parametrize("protocol", ["realtime", "messaging", "chat", "simple", "callie"])
def test_handshakes(stack, protocol):
    user, = stack.users("curl")
    path, naming = ENDPOINTS[protocol]
    url = f"http://{stack.gateways[0].address}{path}"
    named = f"{url}?" + urllib.parse.urlencode(naming(user))
    good = f"access_token.{stack.token(user)}"
    for options, headers, status in (
            ((), (), 426), (("-I",), (), 426), (("-X", "OPTIONS"), (), 405),
            (("-d", "{}"), (), 405), ((), (*UPGRADE[:2], *UPGRADE[3:]), 426),
            ((), UPGRADE[:3], 400), (("--http1.0",), UPGRADE, 426),
            ((), (*UPGRADE, "Authorization: Bearer wrong"), 401),
            ((), (*UPGRADE, "Sec-WebSocket-Protocol: access_token.wrong"), 401)):
        assert curl(named, *options, headers=headers)[0] == status, (options, headers)
    status, head = curl(url, headers=UPGRADE)
    assert status == (101 if protocol == "callie" else 401)
    assert head.get("www-authenticate", "").startswith("Basic ") == (protocol == "simple")
    assert curl(f"{url}s", headers=UPGRADE)[0] == 404
    status, head = curl(named, headers=(*UPGRADE, f"Sec-WebSocket-Protocol: other, {good}"))
    assert (status, head["sec-websocket-protocol"]) == (101, good)
    assert head["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    user, = stack.users("curl")
    named = f"{url}?" + urllib.parse.urlencode(naming(user))
    status, head = curl(named, headers=(*UPGRADE, f"Authorization: Bearer {stack.token(user)}"))
    assert status == 101 and "sec-websocket-protocol" not in head


def test_who_waits_for_a_challenge_is_asked_for_name_and_password(open_stack):
    user, = open_stack.users("curl")
    url = f"http://{open_stack.gateways[0].address}/simple"
    first, head, second, _ = curl(url, "--anyauth", "-u", f"{user}:secret", headers=UPGRADE)
    assert (first, second) == (401, 101)
    assert head["www-authenticate"].endswith(", Bearer")
    head = curl(f"{url}?token=wrong", headers=UPGRADE)[1]
    assert head["www-authenticate"] == "Bearer"


# ---- each endpoint, by Node and by a browser ----------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A function that runs a scenario in the one page of a browser."""
    browser = Browser(tmp_path_factory.mktemp("browser"))
    with open(f"{CLIENTS}/endpoints.js", encoding="utf-8") as file:
        browser.run(file.read())
    yield lambda scenario, where: browser.run(f"scenarios.{scenario}({where})")
    browser.close()


@pytest.fixture(params=["node", pytest.param("browser", marks=needs_browser)])
def client(request):
    if request.param == "browser":
        return request.getfixturevalue("page")
    return lambda scenario, where: run_node(f"{CLIENTS}/node_endpoints.js", scenario, where)


def play(client, stack, scenario):
    users = stack.users("alice", "bob")
    where = {"bases": [f"ws://{gateway.address}" for gateway in stack.gateways], "users": users,
             "tokens": [stack.token(user) for user in users]}
    return (*users, client(scenario, json.dumps(where)))


def test_a_page_speaks_realtime(client, stack):
    alice, _, seen = play(client, stack, "realtime")
    assert seen["delivery"]["data"]["from_user"] == alice
    assert seen["delivery"]["data"]["payload"] == {"message": "héllo 🎈"}
    assert seen["ack"]["data"]["status"] == "delivered"
    assert seen["code"] == 1000


def test_a_page_speaks_messaging(client, stack, open_stack):
    alice, bob, seen = play(client, open_stack, "messaging")
    assert seen["delivery"] == {
        "messages": [{"id": 11, "rid": bob, "sid": alice, "text": "hello"}]}
    assert seen["again"] == seen["delivery"]
    assert seen["code"] == 4001
    _, _, seen = play(client, stack, "messagingWithTokens")
    assert seen["delivery"]["messages"][0]["text"] == "hello"


def test_a_page_speaks_chat(client, stack):
    alice, _, seen = play(client, stack, "chat")
    assert seen["response"]["payload"] == {"messageId": 1}
    assert seen["event"]["id"] == 1
    assert seen["event"]["payload"] == {
        "chatId": alice, "userId": alice, "messageId": 1, "message": "Hi!"}


def test_a_page_speaks_simple(client, stack, open_stack):
    alice, _, seen = play(client, open_stack, "simple")
    assert seen["reply"] == {"type": "reply", "payload_id": "1", "error": None}
    assert (seen["delivery"]["username"], seen["delivery"]["message"]) == (alice, "hello")
    assert seen["gone"]["username"] == alice
    alice, _, seen = play(client, stack, "simpleWithTokens")
    assert seen["delivery"]["username"] == alice


def test_a_page_speaks_callie(client, stack):
    alice, bob, seen = play(client, stack, "callie")
    assert (seen["delivery"]["sender"], seen["delivery"]["recipient"]) == (alice, bob)
    assert seen["delivery"]["content"] == {"messageID": "m1", "text": "hello"}
    assert "token" not in seen["delivery"]
    assert seen["offline"]["metadata"] == {"payloadID": "p2", "messageID": "m2"}


def test_a_page_is_refused(client, stack):
    assert play(client, stack, "refused")[2] == [1006] * 5
