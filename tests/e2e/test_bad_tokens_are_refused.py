"""A missing, malformed, expired, forged or revoked token is a 401 on the upgrade."""

import base64
import json
import time

import pytest

from client import Client, Refused
from harness import base64url, sign_token
from waiting import wait_until


def status_with(stack, token, gateway=0):
    """The status of an upgrade with this token; 101 when it is accepted."""
    try:
        Client(stack.url(gateway, token=token)).close()
    except Refused as refusal:
        return refusal.status
    return 101


def parts_of(token):
    """Header, claims and signature."""
    header, claims, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
               for part in (header, claims)]
    return (*decoded, signature)


def join(header, claims, signature):
    return ".".join([*(base64url(json.dumps(part).encode()) for part in (header, claims)),
                     signature])


def test_a_good_one_is_accepted(stack):
    assert status_with(stack, stack.token(stack.users("alice")[0])) == 101


def test_no_token(stack):
    with pytest.raises(Refused) as refusal:
        Client(stack.url())
    assert refusal.value.status == 401


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "..", "eyJhbGciOiJSUzI1NiJ9..", "%00",
                                   "x" * 6000])
def test_malformed(stack, token):
    assert status_with(stack, token) == 401


def test_forged(stack):
    alice, bob = stack.users("alice", "bob")
    header, claims, signature = parts_of(stack.token(alice))
    assert status_with(stack, join(header, {**claims, "sub": bob}, signature)) == 401
    flipped = ("A" if signature[10] != "A" else "B").join([signature[:10], signature[11:]])
    assert status_with(stack, join(header, claims, flipped)) == 401
    assert status_with(stack, join(header, claims, "")) == 401


def test_algorithm_of_the_token_is_not_believed(stack):
    header, claims, signature = parts_of(stack.token(stack.users("alice")[0]))
    for algorithm in ("none", "None", "HS256", "RS512", "", 1):
        for signed in (signature, ""):
            assert status_with(stack, join({**header, "alg": algorithm}, claims, signed)) == 401


def test_public_key_as_shared_secret(stack):
    """The oldest attack: HS256 with the public key, which everybody has, as its secret."""
    _, keys = stack.auth.get("/.well-known/jwks.json")
    for secret in (json.dumps(keys), keys["keys"][0].get("n", "x")):
        assert status_with(stack, sign_token(secret, sub="alice")) == 401


def test_expired(stack):
    alice, = stack.users("alice")
    stack.auth.register(alice)
    token = stack.auth.login(alice, ttl=1)["token"]
    wait_until(lambda: status_with(stack, token) == 401, "the token has expired")


def test_revoked(stack):
    alice, = stack.users("alice")
    stack.auth.register(alice)
    login = stack.auth.login(alice)
    stack.auth.logout(login)
    wait_until(lambda: status_with(stack, login["token"]) == 401
               and status_with(stack, login["token"], gateway=1) == 401, "both gateways know")
    assert status_with(stack, stack.auth.login(alice)["token"]) == 101


@pytest.mark.parametrize("claims", [{"sub": None}, {"sub": ""}, {"sub": "x" * 129}, {"exp": None},
                                    {"exp": "soon"}, {"exp": 1}, {"sub": "SERVER"}, {"sub": "*"},
                                    {"sub": "group:x"}, {"sub": "a\nb"},
                                    {"nbf": int(time.time()) + 900}])
def test_claims_that_do_not_do(signing_stack, claims):
    good = {"sub": "alice"}
    assert status_with(signing_stack, sign_token(signing_stack.secret, **good)) == 101
    bad = {**good, **claims}
    assert status_with(signing_stack, sign_token(signing_stack.secret, **bad)) == 401


@pytest.fixture(scope="module")
def signing_stack(module_stack):
    return module_stack(auth=False, gateways=1)
