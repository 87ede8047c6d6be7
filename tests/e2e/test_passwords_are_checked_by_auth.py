"""HTTP Basic on /simple: auth checks the password, which Redis never has in the clear."""

import base64
import glob
import os

import pytest

from client import Client, Refused
from harness import PASSWORD


def status_of(stack, user, password, gateway=0):
    """The status of an upgrade with these; 101 when it is accepted."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        Client(f"ws://{stack.gateways[gateway].address}/simple",
               extra_headers={"Authorization": f"Basic {word}"}).close()
    except Refused as refusal:
        return refusal.status
    return 101


@pytest.fixture(scope="module")
def strict(module_stack):
    return module_stack(rate_limits="on")


def test_right_and_wrong_ones(strict):
    alice, bob = strict.users("alice", "bob")
    strict.auth.register(alice)
    assert status_of(strict, alice, PASSWORD) == 101
    assert status_of(strict, alice, "wrong", gateway=1) == 401
    assert status_of(strict, alice, "", gateway=1) == 401
    assert status_of(strict, bob, PASSWORD) == 401


def test_redis_and_its_file_never_have_it(strict):
    user, = strict.users("secret")
    password = "a very long password that would be seen"
    strict.auth.command("add-user", user, text=password)
    assert status_of(strict, user, password) == 101
    assert strict.redis.command("XLEN", "trunkline:auth:asks") > 0
    strict.redis.command("BGREWRITEAOF")
    for path in glob.glob(os.path.join(strict.directory, "**"), recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                assert password.encode() not in file.read(), path


def test_what_is_no_question_is_passed_over(strict):
    for fields in (("q", "1"), ("g", "g1"), ("g", "g1", "n", "1"), ("n", "1", "box", "x"),
                   ("g", "x" * 200, "n", "1", "box", "x"), ("g", "g1", "n", "1", "box", "x" * 2000)):
        strict.redis.command("XADD", "trunkline:auth:asks", "*", *fields)
    test_right_and_wrong_ones(strict)


def test_guessing_is_limited(strict):
    user, = strict.users("guessed")
    strict.auth.register(user)
    statuses = [status_of(strict, user, f"guess {n}", gateway=n % 2) for n in range(15)]
    assert statuses[:10] == [401] * 10
    assert 429 in statuses[10:]
    strict.auth.guess_in_vain(user)
    assert status_of(strict, user, PASSWORD) == 429, "the right one waits, too"
    assert strict.auth.post("/login", {"username": user, "password": PASSWORD})[0] == 429


def test_without_auth_503(new_stack):
    stack = new_stack(gateways=1)
    stack.auth.stop()
    assert status_of(stack, "alice", PASSWORD) == 503
