"""A refresh token is exchanged once; spent ones end the login; logout revokes what was given out."""

import hashlib

import pytest

from auth_alone import auth_alone, claims_of
from waiting import wait_until


@pytest.fixture(scope="module")
def alone():
    with auth_alone(refresh_ttl=3) as alone:
        yield alone


@pytest.fixture(scope="module")
def lasting():
    with auth_alone() as alone:
        yield alone


def login(alone, user):
    alone.auth.post("/register", {"username": user, "password": "correct horse battery"})
    status, answer = alone.login(user)
    assert status == 200
    return answer


def refresh(alone, token):
    return alone.auth.post("/refresh", {"refresh_token": token})


def id_of(answer):
    return claims_of(answer["token"])["jti"]


def test_each_gives_the_next(lasting):
    answers = [login(lasting, "alice")]
    for _ in range(3):
        status, answer = refresh(lasting, answers[-1]["refresh_token"])
        assert (status, answer["user"]) == (200, "alice")
        answers.append(answer)
    assert len({id_of(answer) for answer in answers}) == 4
    assert len({answer["refresh_token"] for answer in answers}) == 4


def test_redis_has_only_the_hash(lasting):
    token = login(lasting, "hashed")["refresh_token"]
    stored, = lasting.redis.command("HGETALL", "trunkline:auth:logins:hashed").values()
    assert hashlib.sha256(token.encode()).hexdigest() in stored
    assert not any(part in stored for part in token.split(".")[1:])


def test_a_spent_one_ends_the_login(lasting):
    first, other = login(lasting, "bob"), login(lasting, "bob")
    _, second = refresh(lasting, first["refresh_token"])
    status, answer = refresh(lasting, first["refresh_token"])
    assert (status, answer["error"]["code"]) == (401, "invalid_refresh_token")
    assert refresh(lasting, second["refresh_token"])[0] == 401
    assert id_of(second) in lasting.revoked()
    assert refresh(lasting, other["refresh_token"])[0] == 200, "another login is not concerned"


def test_a_spent_one_revokes_the_whole_family(lasting):
    """All tokens that this login was ever given, as far as they are alive."""
    answers = [login(lasting, "family")]
    for _ in range(4):
        answers.append(refresh(lasting, answers[-1]["refresh_token"])[1])
    assert not {id_of(answer) for answer in answers} & lasting.revoked()
    assert refresh(lasting, answers[1]["refresh_token"])[0] == 401
    assert {id_of(answer) for answer in answers} <= lasting.revoked()
    for answer in answers:
        assert refresh(lasting, answer["refresh_token"])[0] == 401


def test_a_login_has_so_many_live_tokens(lasting):
    answers = [login(lasting, "busy")]
    for _ in range(18):
        answers.append(refresh(lasting, answers[-1]["refresh_token"])[1])
    ids = [id_of(answer) for answer in answers]
    revoked = lasting.revoked()
    assert [token for token in ids if token in revoked] == ids[:3], "the oldest make room"
    assert lasting.auth.post("/logout", {"refresh_token": answers[-1]["refresh_token"]})[0] == 204
    assert set(ids) <= lasting.revoked()


def test_logout_revokes_and_says_so_on_the_bus(lasting):
    answer = login(lasting, "carol")
    assert lasting.auth.post("/logout", {"refresh_token": answer["refresh_token"]},
                             token=answer["token"])[0] == 204
    assert id_of(answer) in lasting.revoked()
    event, = [event for event in lasting.events("revoked") if event["token_id"] == id_of(answer)]
    assert event["user"] == "carol"
    assert int(event["expires_at"]) == answer["expires_at"]
    assert refresh(lasting, answer["refresh_token"])[0] == 401


def test_logout_with_either_alone(lasting):
    bearer, refreshing = login(lasting, "dave"), login(lasting, "dave")
    assert lasting.auth.post("/logout", {}, token=bearer["token"])[0] == 204
    assert id_of(bearer) in lasting.revoked()
    assert refresh(lasting, bearer["refresh_token"])[0] == 200
    assert lasting.auth.post("/logout", {"refresh_token": refreshing["refresh_token"]})[0] == 204
    assert id_of(refreshing) in lasting.revoked()
    assert refresh(lasting, refreshing["refresh_token"])[0] == 401


def test_logout_refuses_what_does_not_fit(lasting):
    mine, other = login(lasting, "erin"), login(lasting, "frank")
    for body, token, expected in (
            ({}, None, 401), ({}, "garbage", 401), ({}, mine["token"][:-8] + "AAAAAAAA", 401),
            ({"refresh_token": 7}, mine["token"], 400),
            ({"refresh_token": "garbage"}, mine["token"], 401),
            ({"refresh_token": other["refresh_token"]}, mine["token"], 401)):
        assert lasting.auth.post("/logout", body, token=token)[0] == expected, body
    assert not {id_of(mine), id_of(other)} & lasting.revoked()
    assert refresh(lasting, other["refresh_token"])[0] == 200


def test_a_user_has_so_many_logins(lasting):
    answers = [login(lasting, "grace") for _ in range(33)]
    assert lasting.redis.command("HLEN", "trunkline:auth:logins:grace") == 32
    statuses = [refresh(lasting, answer["refresh_token"])[0] for answer in answers]
    assert statuses.count(200) == 32


def test_they_expire(alone):
    token = login(alone, "alice")["refresh_token"]
    wait_until(lambda: not alone.redis.command("EXISTS", "trunkline:auth:logins:alice"),
               "the login is forgotten")
    assert refresh(alone, token)[0] == 401


@pytest.mark.parametrize("token", ["", "x", "..", "a.b.c", "x" * 5000,
                                   f"{'0' * 32}.{'A' * 43}.YWxpY2U", f"{'0' * 32}.A.U0VSVkVS"])
def test_what_never_was_one(lasting, token):
    assert refresh(lasting, token)[0] == 401
