"""A token is taken from the Authorization header, the query or a subprotocol, in this order."""

import pytest

from client import Client, Refused
from harness import sign_token


@pytest.fixture(scope="module")
def stack(module_stack):
    return module_stack(auth=False, gateways=1)


def bearer(token):
    return {"extra_headers": {"Authorization": f"Bearer {token}"}}


def subprotocol(token):
    return {"subprotocols": [f"access_token.{token}"]}


def is_user(stack, client, user):
    """Whether a message to this user arrives there."""
    client.take("Status")
    client.send_direct(user, "who are you")
    return client.take("DirectMessage")["from_user"] == user


def test_query(stack):
    alice, = stack.users("alice")
    for name in ("token", "access_token"):
        assert is_user(stack, Client(stack.url(**{name: stack.token(alice)})), alice)


def test_header(stack):
    alice, = stack.users("alice")
    assert is_user(stack, Client(stack.url(), **bearer(stack.token(alice))), alice)


@pytest.mark.parametrize("padding", [0, 1000, 2000])
def test_subprotocol_is_echoed(stack, padding):
    alice, = stack.users("alice")
    token = sign_token(stack.secret, sub=alice, padding="x" * padding)
    client = Client(stack.url(), **subprotocol(token))
    assert client.subprotocol == f"access_token.{token}"
    assert is_user(stack, client, alice)


def test_header_counts_before_query_before_subprotocol(stack):
    alice, bob, carol = stack.users("alice", "bob", "carol")
    query, offered = stack.url(token=stack.token(bob)), subprotocol(stack.token(carol))
    assert is_user(stack, Client(query, **bearer(stack.token(alice)), **offered), alice)
    assert is_user(stack, Client(query, **offered), bob)


def test_a_bad_header_is_not_rescued_by_the_query(stack):
    alice, = stack.users("alice")
    with pytest.raises(Refused) as refusal:
        Client(stack.url(token=stack.token(alice)), **bearer("garbage"))
    assert refusal.value.status == 401


def test_a_header_of_8000_characters(stack):
    alice, = stack.users("alice")
    token = sign_token(stack.secret, sub=alice, padding="x" * 5500)
    assert is_user(stack, Client(stack.url(), **bearer(token)), alice)
