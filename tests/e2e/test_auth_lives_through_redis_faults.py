"""An emptied Redis gets the public keys again, one that is away means 503, keys outlive auth."""

import os
import stat

import pytest

from auth_alone import PASSWORD, auth_alone, http
from waiting import wait_until


@pytest.fixture
def alone():
    with auth_alone() as alone:
        yield alone


def published(alone):
    return alone.redis.command("HGETALL", "trunkline:auth:keys")


def test_keys_come_back_to_an_emptied_redis(alone):
    before = published(alone)
    assert len(before) == 1
    alone.redis.command("FLUSHALL")
    wait_until(lambda: published(alone) == before, "the keys are there again")
    wait_until(lambda: alone.events("keys"), "gateways are told")


def test_without_redis_it_waits(alone):
    alone.auth.register("alice")
    alone.redis.stop()
    wait_until(lambda: alone.auth.get("/readyz")[0] == 503, "it knows")
    assert alone.auth.get("/healthz")[0] == 200
    for path in ("/register", "/login"):
        status, answer = alone.auth.post(path, {"username": "bob", "password": PASSWORD})
        assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert http("POST", alone.auth.url + "/guest")[0] == 503
    alone.redis.start()
    wait_until(lambda: alone.auth.get("/readyz")[0] == 200, "it is back")
    assert alone.login("alice")[0] == 200


def test_the_key_is_made_once_and_private(alone):
    directory = os.path.join(alone.directory, "keys")
    name, = [name for name in os.listdir(directory) if name.endswith(".pem")]
    files = sorted([name, "box.key"])  # of signatures, and of passwords on the bus
    assert sorted(os.listdir(directory)) == files
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    for file in files:
        assert stat.S_IMODE(os.stat(os.path.join(directory, file)).st_mode) == 0o600
    keys = alone.auth.get("/.well-known/jwks.json")
    alone.auth.stop()
    alone.start_auth()
    assert alone.auth.get("/.well-known/jwks.json") == keys
    assert sorted(os.listdir(directory)) == files
    assert [key["kid"] for key in keys[1]["keys"]] == list(published(alone))
