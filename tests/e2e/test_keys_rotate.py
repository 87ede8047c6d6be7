"""A new signing key takes over while gateways go on, tokens of the old one live on until they expire."""

import json
import base64
import os
import time

import pytest

from harness import http
from test_bad_tokens_are_refused import status_with
from waiting import wait_until


def header_of(token):
    part = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def kids(stack):
    return set(stack.redis.command("HKEYS", "trunkline:auth:keys"))


def key_files(stack):
    directory = os.path.join(stack.directory, "keys")
    return sorted(os.path.join(directory, name) for name in os.listdir(directory)
                  if name.endswith(".pem"))


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_rotation_breaks_no_live_token(new_stack, algorithm):
    stack = new_stack(gateways=2, token_algorithm=algorithm, token_ttl=600)
    alice, = stack.users("alice")
    client = stack.connect(alice)
    old = stack.token(alice)
    assert header_of(old)["alg"] == algorithm
    age(key_files(stack)[0], 1000)
    stack.auth.command("rotate-keys")
    wait_until(lambda: len(kids(stack)) == 2, "both keys are published")
    assert header_of(stack.auth.login(alice)["token"])["kid"] == header_of(old)["kid"], \
        "it does not sign before all know it"
    age(key_files(stack)[1], 20)
    stack.auth.command("rotate-keys")  # so that the directory is read again
    wait_until(lambda: len(kids(stack)) == 3, "all are published")
    new = stack.auth.login(alice)["token"]
    assert header_of(new)["kid"] != header_of(old)["kid"]
    for gateway in (0, 1):
        assert status_with(stack, new, gateway) == 101
        assert status_with(stack, old, gateway) == 101
    client.ping()
    # The tokens of the first have all expired when the second signs for longer than they live.
    age(key_files(stack)[1], 2000)
    stack.auth.command("rotate-keys")
    wait_until(lambda: header_of(old)["kid"] not in kids(stack), "the old key is withdrawn")
    wait_until(lambda: status_with(stack, old) == 401, "and no gateway believes in it")
    assert status_with(stack, stack.auth.login(alice)["token"]) == 101


def test_keys_are_renewed_by_age(new_stack):
    stack = new_stack(gateways=1, token_key_days=1)
    first, = key_files(stack)
    age(first, 90000)
    os.utime(os.path.dirname(first))
    wait_until(lambda: len(kids(stack)) == 2, "there is a new key")
    assert len(key_files(stack)) == 2
    assert status_with(stack, stack.token(stack.users("alice")[0])) == 101


def test_another_algorithm_is_another_key(new_stack):
    stack = new_stack(gateways=1)
    alice, = stack.users("alice")
    old = stack.token(alice)
    assert header_of(old)["alg"] == "RS256"
    stack.auth.stop()
    age(key_files(stack)[0], 100)
    stack.auth.set(token_algorithm="ES256")
    stack.auth.start()
    wait_until(stack.auth.is_ready, "auth is ready")
    age(key_files(stack)[1], 20)
    stack.auth.command("rotate-keys")
    wait_until(lambda: header_of(stack.auth.login(alice)["token"])["alg"] == "ES256",
               "tokens are ES256")
    assert status_with(stack, stack.auth.login(alice)["token"]) == 101
    assert status_with(stack, old) == 101
    _, jwks = http("GET", f"{stack.auth.url}/.well-known/jwks.json")
    assert {key["kty"] for key in jwks["keys"]} == {"RSA", "EC"}
