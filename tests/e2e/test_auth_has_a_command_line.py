"""trunkline-auth: accounts, sessions, tokens and keys from the shell."""

import time

import pytest

from auth_alone import PASSWORD, auth_alone, claims_of
from waiting import wait_until

OTHER = "another battery"


@pytest.fixture(scope="module")
def alone():
    with auth_alone() as alone:
        yield alone


def refused(alone, *words, text="", status=1):
    done = alone.auth.try_command(*words, text=text)
    assert done.returncode == status, done
    assert done.stdout == "" and done.stderr.startswith(("trunkline-auth: ", "usage: ")), done
    return done.stderr


def login(alone, user, password=PASSWORD):
    return alone.auth.post("/login", {"username": user, "password": password})


def test_help_names_all(alone):
    text = alone.auth.command("--help")
    for command in ("add-user", "set-password", "remove-user", "list-sessions", "revoke",
                    "revoke-token", "make-token", "rotate-keys", "TRUNKLINE_REDIS"):
        assert command in text
    assert alone.auth.try_command().returncode == 2
    refused(alone, "no-such-command", status=2)


def test_add_user(alone):
    assert login(alone, "ann")[0] == 401
    alone.auth.command("add-user", "ann", text=f"{PASSWORD}\n")
    assert login(alone, "ann")[0] == 200
    assert "already" in refused(alone, "add-user", "ann", text=f"{PASSWORD}\n")
    assert "bytes" in refused(alone, "add-user", "bea", text="short\n")
    assert "bytes" in refused(alone, "add-user", "bea", text="")
    refused(alone, "add-user", "bea", text="x" * 9000)
    refused(alone, "add-user", "group:x", text=f"{PASSWORD}\n", status=2)
    refused(alone, "add-user", status=2)
    refused(alone, "add-user", "bea", PASSWORD, status=2)
    assert login(alone, "bea")[0] == 401


def test_set_password_ends_sessions(alone):
    alone.auth.command("add-user", "cat", text=PASSWORD)
    _, before = login(alone, "cat")
    assert alone.auth.command("set-password", "cat", text=f"{OTHER}\r\n") == "1 sessions ended\n"
    assert login(alone, "cat")[0] == 401
    assert login(alone, "cat", OTHER)[0] == 200
    assert claims_of(before["token"])["jti"] in alone.revoked()
    assert alone.auth.post("/refresh", {"refresh_token": before["refresh_token"]})[0] == 401
    assert "no user" in refused(alone, "set-password", "nobody", text=OTHER)


def test_remove_user(alone):
    alone.auth.command("add-user", "dan", text=PASSWORD)
    _, before = login(alone, "dan")
    alone.auth.command("remove-user", "dan")
    assert login(alone, "dan")[0] == 401
    assert claims_of(before["token"])["jti"] in alone.revoked()
    assert "no user" in refused(alone, "remove-user", "dan")


def test_sessions_are_listed_and_ended(alone):
    alone.auth.command("add-user", "eve", text=PASSWORD)
    assert alone.auth.command("list-sessions", "eve") == ""
    answers = [login(alone, "eve")[1] for _ in range(3)]
    lines = alone.auth.command("list-sessions", "eve").splitlines()
    assert len(lines) == 3
    sessions = {line.split()[-1]: line.split()[0] for line in lines}
    first, second, third = (claims_of(answer["token"])["jti"] for answer in answers)
    assert set(sessions) == {first, second, third}
    alone.auth.command("revoke", "eve", sessions[second])
    assert second in alone.revoked() and not {first, third} & alone.revoked()
    assert alone.auth.post("/refresh", {"refresh_token": answers[1]["refresh_token"]})[0] == 401
    refused(alone, "revoke", "eve", sessions[second])
    assert alone.auth.command("revoke", "eve") == "2 sessions ended\n"
    assert {first, third} <= alone.revoked()
    assert {event["token_id"] for event in alone.events("revoked")} >= {first, second, third}
    assert alone.auth.command("list-sessions", "eve") == ""


def test_make_token_and_revoke_it(alone):
    token = alone.auth.command("make-token", "fay", "60").strip()
    claims = claims_of(token)
    assert claims["sub"] == "fay" and claims["exp"] <= time.time() + 61
    for seconds in ("0", "-1", "x", "", "3601", "99999999999999999999"):
        refused(alone, "make-token", "fay", seconds)
    alone.auth.command("revoke-token", text=f"{token}\n")
    assert claims["jti"] in alone.revoked()
    refused(alone, "revoke-token", text="garbage\n")
    refused(alone, "revoke-token", text="")


def test_rotate_keys(alone):
    before = alone.auth.get("/.well-known/jwks.json")[1]["keys"]
    alone.auth.command("rotate-keys")
    wait_until(lambda: len(alone.auth.get("/.well-known/jwks.json")[1]["keys"])
               == len(before) + 1, "both keys are there")


def test_redis_away_is_said(alone):
    alone.redis.stop()
    try:
        assert "TRUNKLINE_REDIS" in refused(alone, "list-sessions", "ann")
        assert alone.auth.command("make-token", "ann"), "needs none"
    finally:
        alone.redis.start()
        wait_until(alone.redis.is_ready, "Redis answers again")
