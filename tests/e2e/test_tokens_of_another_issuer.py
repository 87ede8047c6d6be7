"""TRUNKLINE_TOKEN_KEYS_FILE: tokens of another issuer count beside auth's own; SIGHUP reads it again."""

import os
import time

import pytest

from harness import Stack
from issuer import Issuer
from test_bad_tokens_are_refused import status_with
from waiting import wait_until


def claims(user="alice", **more):
    now = int(time.time())
    return {"sub": user, "iat": now, "exp": now + 60, **more}


@pytest.fixture(scope="module")
def issuers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("issuers")
    return {(algorithm, kid): Issuer(str(directory), algorithm, kid)
            for algorithm in ("RS256", "ES256") for kid in (None, "theirs")}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory):
    return os.path.join(tmp_path_factory.mktemp("keys"), "keys")


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


@pytest.fixture(scope="module")
def foreign(module_stack, keys_file, issuers):
    write(keys_file, issuers["RS256", "theirs"].jwks())
    return module_stack(gateways=1, token_keys_file=keys_file)


def reload(stack):
    gateway = stack.gateways[0]
    lines = gateway.log().count("another issuer")
    gateway.reload()
    wait_until(lambda: gateway.log().count("another issuer") > lines, "the keys are read")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("form", ["jwks", "jwks without kid", "pem"])
def test_each_form_of_keys(foreign, keys_file, issuers, algorithm, form):
    named, nameless = issuers[algorithm, "theirs"], issuers[algorithm, None]
    write(keys_file, {"jwks": named.jwks(), "jwks without kid": nameless.jwks(),
                      "pem": nameless.pem}[form])
    reload(foreign)
    good, other = (named, nameless) if form == "jwks" else (nameless, named)
    assert status_with(foreign, good.sign(claims())) == 101
    assert status_with(foreign, other.sign(claims())) == 401
    if form != "jwks":
        assert status_with(foreign, good.sign(claims(), kid="whatever they call it")) == 101
    assert status_with(foreign, good.sign(claims(), alg="HS256")) == 401
    assert status_with(foreign, good.sign(claims(exp=int(time.time()) - 1))) == 401
    assert status_with(foreign, foreign.token(foreign.users("own")[0])) == 101, "auth's count too"


def test_a_bad_file_changes_nothing(foreign, keys_file, issuers):
    issuer = issuers["ES256", None]
    write(keys_file, issuer.pem)
    reload(foreign)
    write(keys_file, "garbage")
    reload(foreign)
    assert "stay as they were" in foreign.gateways[0].log()
    assert status_with(foreign, issuer.sign(claims())) == 101


def test_beside_a_secret(new_stack, keys_file, issuers):
    write(keys_file, issuers["RS256", "theirs"].jwks())
    stack = new_stack(auth=False, gateways=1, token_keys_file=keys_file)
    token = stack.token("alice")
    assert status_with(stack, token) == 101
    assert status_with(stack, issuers["RS256", "theirs"].sign(claims())) == 101
    write(keys_file, "garbage")
    reload(stack)
    assert status_with(stack, token) == 101


def test_a_bad_file_at_the_start_says_why(keys_file):
    write(keys_file, "{\"keys\":[]}")
    stack = Stack(auth=False, gateways=1, token_keys_file=keys_file)
    try:
        stack.redis.start()
        wait_until(stack.redis.is_ready, "Redis answers")
        gateway = stack.gateways[0]
        gateway.start()
        gateway.await_exit(1)
        gateway.expected_alive = False
        assert "TRUNKLINE_TOKEN_KEYS_FILE" in gateway.log() and keys_file in gateway.log()
    finally:
        stack.close()
