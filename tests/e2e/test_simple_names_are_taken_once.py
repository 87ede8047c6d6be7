"""simple: who a connection is, before the upgrade is answered."""

import base64
import time

import pytest

from client import Client, Refused
from harness import PASSWORD, sign_token
from messenger import Messenger, Roommate
from waiting import wait_until


def basic(user, password="anything"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def refused(stack, **arguments):
    with pytest.raises(Refused) as refusal:
        Roommate(stack, "nobody", joined=False, **arguments)
    return refusal.value.status


@pytest.fixture(scope="module")
def open_stack(module_stack):
    return module_stack(auth=False, open_identity="on")


@pytest.fixture(scope="module")
def closed_stack(module_stack):
    return module_stack()


# ---- open identity ------------------------------------------------------------------------------

@pytest.mark.parametrize("password", ["", "anything", "with:colons", "x" * 1000, "\u00e9"])
def test_basic_names_are_believed(open_stack, password):
    user, = open_stack.users("alice")
    Roommate(open_stack, user, headers=basic(user, password))


def test_a_name_in_the_url_is_believed(open_stack):
    user, = open_stack.users("zo\u00eb d'arc")
    Roommate(open_stack, user, username=user)


def test_a_token_names_its_user(open_stack):
    user, other = open_stack.users("alice", "other")
    Roommate(open_stack, user, token=open_stack.token(user))
    assert refused(open_stack, token=open_stack.token(user), username=other) == 403
    assert refused(open_stack, token=open_stack.token(user), headers=basic(other)) == 403
    assert refused(open_stack, token="nonsense", username=user) == 401


def test_without_a_name_401(open_stack):
    assert refused(open_stack) == 401


@pytest.mark.parametrize("headers", [
    {"Authorization": "Basic"}, {"Authorization": "Basic "}, {"Authorization": "Basic !!!"},
    {"Authorization": "Basic YQ=="}, {"Authorization": "Basic " + "A" * 5000},
    basic(""), basic("*"), basic("SERVER"), basic("x" * 129),
    basic("a\nb"), {"Authorization": "Basic //46YQ=="}])
def test_bad_names_401(open_stack, headers):
    assert refused(open_stack, headers=headers) == 401


@pytest.mark.parametrize("name", ["", "group:x", "guest:x", "BROADCAST", "x" * 129, "a\x00b"])
def test_bad_names_in_the_url_401(open_stack, name):
    assert refused(open_stack, username=name) == 401


def test_a_name_in_use_403_and_the_first_one_stays(open_stack):
    user, = open_stack.users("alice")
    first = Roommate(open_stack, user, username=user)
    for gateway in (0, 1):
        assert refused(open_stack, username=user, gateway=gateway) == 403
    first.say("still here")
    first.client.close()
    # Free at once, not after some time.
    wait_until(lambda: not is_taken(open_stack, user), "the name is free again")


def is_taken(stack, user):
    try:
        Roommate(stack, user, gateway=1, username=user)
        return False
    except Refused as refusal:
        assert refusal.status == 403
        return True


def test_other_protocols_leave_the_name_free(open_stack):
    user, = open_stack.users("alice")
    open_stack.connect(user)
    Roommate(open_stack, user, username=user)


# ---- without it ---------------------------------------------------------------------------------

def test_passwords_are_checked(closed_stack):
    user, = closed_stack.users("alice")
    closed_stack.token(user)  # registered
    assert refused(closed_stack, headers=basic(user, "wrong")) == 401
    Roommate(closed_stack, user, headers=basic(user, PASSWORD))
    assert refused(closed_stack, gateway=1, headers=basic(user, PASSWORD)) == 403


def test_unknown_users_401(closed_stack):
    assert refused(closed_stack, headers=basic("nobody-at-all", PASSWORD)) == 401


def test_names_alone_401(closed_stack):
    user, = closed_stack.users("alice")
    assert refused(closed_stack, username=user) == 401


def test_tokens_as_ever(closed_stack):
    user, = closed_stack.users("alice")
    Roommate(closed_stack, user, token=closed_stack.token(user))


def test_the_browser_s_way(closed_stack):
    """A page cannot set the header, but offer a subprotocol."""
    user, = closed_stack.users("alice")
    stack = closed_stack
    client = Client(f"ws://{stack.gateways[0].address}/simple", user=user,
                    subprotocols=[f"access_token.{stack.token(user)}"])
    stack._clients.append(client)
    assert client.subprotocol == f"access_token.{stack.token(user)}"
    client.take_where(lambda frame: frame["type"] == "user_connected", "user_connected")


def test_a_connection_ends_with_its_token(open_stack):
    user, = open_stack.users("alice")
    token = sign_token(open_stack.secret, sub=user, exp=int(time.time()) + 4)
    assert Roommate(open_stack, user, token=token).await_close() == 4401


def test_logging_out_ends_connections(closed_stack):
    user, = closed_stack.users("alice")
    closed_stack.token(user)  # registered
    login = closed_stack.auth.login(user)
    clients = [Roommate(closed_stack, user, token=login["token"]),
               Messenger(closed_stack, user, gateway=1, token=login["token"])]
    closed_stack.auth.logout(login)
    assert [client.await_close() for client in clients] == [4401, 4401]
