"""A connection lives as long as its token: logout and expiry close it, Auth gives it a new one."""

import time

import pytest

from client import Client
from waiting import SLOWNESS


def connect(stack, token, gateway=0):
    client = Client(stack.url(gateway, token=token))
    client.welcome()
    return client


@pytest.fixture
def alice(stack):
    name, = stack.users("alice")
    stack.auth.register(name)
    return name


def test_logout_closes_live_connections(stack, alice):
    leaving, staying = stack.auth.login(alice), stack.auth.login(alice)
    clients = [connect(stack, leaving["token"], gateway) for gateway in (0, 1)]
    other = connect(stack, staying["token"])
    stack.auth.logout(leaving)
    for client in clients:
        assert client.await_close(timeout=1 * SLOWNESS) == 4401
    other.ping()


def test_expiry_is_announced_and_closes(stack, alice):
    begun = time.time()
    answer = stack.auth.login(alice, ttl=4)
    client = connect(stack, answer["token"])
    warning = client.take("AuthStatus")
    assert warning == {"status": "token_expiring", "expires_at": answer["expires_at"],
                       "refresh_required": True}
    assert time.time() - begun > 2, "75 % of four seconds are three"
    assert client.take("AuthStatus")["status"] == "token_expired"
    assert client.await_close() == 4401
    assert time.time() - begun > 3, "closed before its time"


def test_auth_replaces_the_token_in_place(stack, alice):
    longer, short = stack.auth.login(alice)["token"], stack.auth.login(alice, ttl=8)["token"]
    renewed, clock = connect(stack, short), connect(stack, short)
    renewed.take("AuthStatus")
    renewed.send("Auth", {"token": longer}, id="new")
    assert renewed.answer("new")["type"] == "Ack"
    assert clock.await_close() == 4401
    renewed.ping()
    assert "token_expired" not in [data["status"] for data in renewed.of_type("AuthStatus")]


def test_auth_refuses_what_does_not_fit(stack, alice):
    bob, = stack.users("bob")
    client = connect(stack, stack.auth.login(alice)["token"])
    for token, code in ((stack.token(bob), 403), ("garbage", 401)):
        answer = client.answer(client.send("Auth", {"token": token}))
        assert (answer["type"], answer["data"]["code"]) == ("Error", code), token
    client.ping()
