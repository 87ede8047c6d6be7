"""Disconnecting and revoking over HTTP, and what a backend reads."""

import pytest

from api import KEYS, Api
from client import Closed, Refused
from harness import sign_token
from waiting import wait_until


@pytest.fixture(scope="module")
def here(module_stack):
    return module_stack(auth=False, api_keys=KEYS)


def test_a_user_is_disconnected_everywhere(here):
    bob, carol = here.users("bob", "carol")
    clients = [here.connect(bob, gateway=n) for n in (0, 1, 1)]
    other = here.connect(carol)
    answer = Api(here).done("disconnect", {"user": bob})
    assert sorted(answer["disconnected"]) == sorted(client.connection_id for client in clients)
    assert [client.await_close() for client in clients] == [1000] * 3
    other.ping()
    wait_until(lambda: Api(here).done("disconnect", {"user": bob}) == {"disconnected": []},
               "nobody is left")
    here.connect(bob).ping()


@pytest.mark.parametrize("gateway", [0, 1])
def test_one_connection_is_disconnected(here, gateway):
    bob, = here.users("bob")
    clients = [here.connect(bob, gateway=n) for n in (0, 1)]
    answer = Api(here).done("disconnect", {"connection_id": clients[gateway].connection_id})
    assert answer == {"disconnected": [clients[gateway].connection_id]}
    assert clients[gateway].await_close() == 1000
    clients[1 - gateway].ping()


@pytest.mark.parametrize("id", ["", "nonsense", "00000000-0000-8000-8000-000000000000"])
def test_an_unknown_connection_is_nobody(here, id):
    assert Api(here).done("disconnect", {"connection_id": id}) == {"disconnected": []}


def test_a_token_is_revoked(here):
    bob, = here.users("bob")
    tokens = [sign_token(here.secret, sub=bob, jti=f"jti-{bob}-{n}") for n in (0, 1)]
    clients = []
    for n, token in enumerate(tokens):
        here._tokens[bob] = token
        clients.append(here.connect(bob, gateway=n))
    Api(here).done("revoke", {"token_id": f"jti-{bob}-1"})
    assert clients[1].await_close() == 4401
    clients[0].ping()
    wait_until(lambda: refused(here, bob), "the revoked token is refused")


def refused(stack, user):
    try:
        stack.connect(user, settled=False).close()
    except Refused as refusal:
        return refusal.status == 401
    except Closed:  # let in, and sent away when the gateway heard of it
        pass
    return False


def test_all_of_a_users_tokens_are_revoked(new_stack):
    stack = new_stack(api_keys=KEYS)
    bob, carol = stack.users("bob", "carol")
    clients = [stack.connect(bob, gateway=n) for n in (0, 1)]
    other = stack.connect(carol)
    login = stack.auth.login(bob)
    Api(stack).done("revoke", {"user": bob})
    assert [client.await_close() for client in clients] == [4401] * 2
    other.ping()
    for gateway in (0, 1):
        with pytest.raises(Refused) as refusal:
            stack.connect(bob, gateway=gateway)
        assert refusal.value.status == 401
    status, _ = stack.auth.post("/refresh", {"refresh_token": login["refresh_token"]})
    assert status == 401

    def logs_in_again():
        stack._tokens[bob] = stack.auth.login(bob)["token"]
        return not refused(stack, bob)

    wait_until(logs_in_again, "a token of a later second is good")


def test_it_survives_a_gateways_restart(here):
    bob, = here.users("bob")
    here._tokens[bob] = sign_token(here.secret, sub=bob)
    Api(here).done("revoke", {"user": bob})
    here.gateways[1].kill()
    here.gateways[1].start()
    wait_until(here.gateways[1].is_ready, "the gateway is ready")
    with pytest.raises(Refused):
        here.connect(bob, gateway=1)


def test_presence(here):
    bob, = here.users("bob ü/+")
    path = "presence/" + "".join(f"%{byte:02x}" for byte in bob.encode())
    assert Api(here).get(path)[1] == {"user": bob, "status": "offline", "last_seen": None,
                                      "metadata": {}}
    client = here.connect(bob)
    client.send("Presence", {"status": "busy", "metadata": {"device": "web"}}, id="p1")
    client.answer("p1")

    def is_busy():
        status, answer = Api(here, gateway=1).get(path)
        assert status == 200
        return answer["status"] == "busy" and answer

    answer = wait_until(is_busy, "presence is busy")
    assert answer["metadata"] == {"device": "web"} and answer["last_seen"] > 1.7e9


def test_history(here):
    name, = here.users("log")
    topic = f"history.{name}"
    assert Api(here).get(f"history/{topic}")[1] == {"topic": topic, "epoch": 0, "offset": 0,
                                                    "messages": []}
    sender = here.connect(name)
    for n in range(5):
        sender.broadcast(topic, {"n": n}, id=f"m{n}")
    api = Api(here, gateway=1)

    def page(query):
        status, answer = api.get(f"history/{topic}{query}")
        assert status == 200 and answer["offset"] == 5
        return [(message["offset"], message["payload"]["n"]) for message in answer["messages"]]

    assert page("") == [(n + 1, n) for n in range(5)]
    assert page("?limit=2") == [(4, 3), (5, 4)]
    assert page("?after=2&limit=2") == [(3, 2), (4, 3)]
    assert page("?after=5") == []
    first = api.get(f"history/{topic}?limit=1&after=0")[1]["messages"][0]
    assert (first["id"], first["from"]) == ("m0", name) and first["sent_at"] > 1.7e9
    for query in ("?limit=0", "?limit=101", "?limit=x", "?after=-1"):
        assert api.get(f"history/{topic}{query}")[0] == 400
    assert api.get("history/a.*")[0] == 404


def test_info(here):
    here.connect(*here.users("bob"))
    status, answer = Api(here).get("info")
    assert status == 200
    assert answer["name"] == "gateway-1" and answer["ready"] is True
    assert answer["partitions"] == answer["partitions_answering"] == 16
    assert answer["connections"] >= 1 and answer["protocols"]["realtime"] == "/ws"
